package dataverse

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Identity is who sends, as the service sees it.
type Identity struct {
	UserID         schema.GUID `json:"UserId"`
	BusinessUnitID schema.GUID `json:"BusinessUnitId"`
	OrganizationID schema.GUID `json:"OrganizationId"`
}

// WhoAmI asks who sends. It is the request to begin with: it checks address and
// sign-in, brings x-ms-dop-hint to pace, and from then on a missing right of ours is
// told from one of a record's owner.
func (c *Client) WhoAmI(ctx context.Context) (Identity, error) {
	var who Identity
	if err := c.get(ctx, "WhoAmI", "WhoAmI", "", &who); err != nil {
		return Identity{}, c.stranger(err)
	}
	if who.UserID.IsZero() {
		return Identity{}, (&request{name: "WhoAmI"}).fail(Setup, nil, "the answer names no user: is %s the address of a Dataverse environment?", c.base)
	}
	c.known.caller.Store(&who.UserID)
	return who, nil
}

// Version is the service's version, 9.2.24051.00153.
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct{ Version string }
	err := c.get(ctx, "RetrieveVersion", "RetrieveVersion()", "", &v)
	return v.Version, c.stranger(err)
}

// Language is the language that the environment was made with, a Windows LCID: how it compares
// texts follows from it (schema.Collation). 0: the environment does not say.
func (c *Client) Language(ctx context.Context) (int, error) {
	code := 0
	err := c.rows(ctx, "organizations", Query{Select: []string{"languagecode"}}, func(row json.RawMessage) error {
		var organization struct{ LanguageCode int }
		err := json.Unmarshal(row, &organization)
		code = organization.LanguageCode
		return err
	})
	return code, err
}

// stranger adds to an error of what every environment answers that this may be none: another
// server's page, a redirect to somewhere.
func (c *Client) stranger(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Kind != Setup || e.Code != 0 || strings.HasSuffix(e.Message, "?") {
		return err
	}
	asked := *e
	asked.Message = strings.TrimSpace(asked.Message) + ": is " + c.base + " the address of a Dataverse environment?"
	return &asked
}

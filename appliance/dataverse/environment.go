package dataverse

import (
	"context"
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

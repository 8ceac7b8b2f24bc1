package dataverse

import (
	"context"
	"net/url"
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
		return Identity{}, err
	}
	if who.UserID.IsZero() {
		return Identity{}, (&request{name: "WhoAmI"}).fail(Setup, nil, "the answer names no user: is %s a Dataverse environment?", c.base)
	}
	c.known.caller.Store(&who.UserID)
	return who, nil
}

// Version is the service's version, 9.2.24051.00153.
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct{ Version string }
	err := c.get(ctx, "RetrieveVersion", "RetrieveVersion()", "", &v)
	return v.Version, err
}

// Counts are the numbers of records in tables, by logical name, from a snapshot of
// the service that may be a day old (dataverse-web-api.md 10.4): for estimates, not
// for verification.
func (c *Client) Counts(ctx context.Context, tables []string) (map[string]int64, error) {
	names := `["` + strings.Join(tables, `","`) + `"]`
	var v struct {
		EntityRecordCountCollection struct {
			Keys   []string
			Values []int64
		}
	}
	query := "@p1=" + url.QueryEscape(names)
	if err := c.get(ctx, "RetrieveTotalRecordCount", "RetrieveTotalRecordCount(EntityNames=@p1)", query, &v); err != nil {
		return nil, err
	}
	all := v.EntityRecordCountCollection
	counts := make(map[string]int64, len(all.Keys))
	for i, name := range all.Keys {
		if i < len(all.Values) {
			counts[name] = all.Values[i]
		}
	}
	return counts, nil
}

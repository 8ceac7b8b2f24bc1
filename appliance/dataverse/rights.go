package dataverse

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Depth is how far a privilege reaches; a greater one includes the lesser.
type Depth uint8

// The depths, in the service's order.
const (
	NoDepth Depth = iota
	Basic         // the user's own records
	Local         // those of the user's business unit
	Deep          // and of the units below
	Global        // all records of the organization
)

var depths = map[string]Depth{"Basic": Basic, "Local": Local, "Deep": Deep, "Global": Global}

// Privileges are the rights that a user has by all roles together, by the privilege's
// name in small letters: prvcreateaccount (dataverse-web-api.md 12.8, 14.4).
func (c *Client) Privileges(ctx context.Context, user schema.GUID) (map[string]Depth, error) {
	var v struct {
		RolePrivileges []struct{ PrivilegeName, Depth string }
	}
	path := recordPath("systemusers", user) + actionSpace + "RetrieveUserPrivileges()"
	if err := c.get(ctx, "RetrieveUserPrivileges", path, "", &v); err != nil {
		return nil, err
	}
	all := make(map[string]Depth, len(v.RolePrivileges))
	for _, p := range v.RolePrivileges {
		name := strings.ToLower(p.PrivilegeName)
		all[name] = max(all[name], depths[p.Depth])
	}
	return all, nil
}

// TablePrivileges are the names of the privileges that a table's records need, by
// kind: Create, Read, Write, Append, AppendTo, Assign. Several tables may share one
// (all activities do, and the lines of an order its own). A table that is not there is
// left out; where the service does not name its privileges, they are empty.
func (c *Client) TablePrivileges(ctx context.Context, tables []string) (map[string]map[string]string, error) {
	names, err := c.tablePrivileges(ctx, tables, "LogicalName", "Privileges")
	if KindOf(err) == Setup { // which tables are there is worth knowing too
		return c.tablePrivileges(ctx, tables, "LogicalName")
	}
	return names, err
}

func (c *Client) tablePrivileges(ctx context.Context, tables []string, properties ...string) (map[string]map[string]string, error) {
	names := make(map[string]map[string]string, len(tables))
	for part := range slices.Chunk(tables, 50) {
		q := Query{Select: properties, Filter: "LogicalName eq '" + strings.Join(part, "' or LogicalName eq '") + "'"}
		err := c.rows(ctx, "EntityDefinitions", q, func(row json.RawMessage) error {
			var t struct {
				LogicalName string
				Privileges  []struct{ Name, PrivilegeType string }
			}
			if err := json.Unmarshal(row, &t); err != nil {
				return fmt.Errorf("read EntityDefinitions: %w", err)
			}
			names[t.LogicalName] = make(map[string]string, len(t.Privileges))
			for _, p := range t.Privileges {
				names[t.LogicalName][p.PrivilegeType] = p.Name
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// User is a user as the environment knows it.
type User struct {
	Name          string   `json:"fullname"`
	ApplicationID string   `json:"applicationid"` // of an application user
	Disabled      bool     `json:"isdisabled"`
	Roles         []string `json:"-"` // of its own; those of its teams are not among them
}

// User reads a user with the names of its roles.
func (c *Client) User(ctx context.Context, id schema.GUID) (User, error) {
	var u User
	path := recordPath("systemusers", id)
	if err := c.get(ctx, "Read", path, Query{Select: []string{"fullname", "applicationid", "isdisabled"}}.encode(), &u); err != nil {
		return User{}, err
	}
	err := c.rows(ctx, path+"/systemuserroles_association", Query{Select: []string{"name"}}, func(row json.RawMessage) error {
		var role struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(row, &role); err != nil {
			return fmt.Errorf("read roles: %w", err)
		}
		u.Roles = append(u.Roles, role.Name)
		return nil
	})
	slices.Sort(u.Roles)
	return u, err
}

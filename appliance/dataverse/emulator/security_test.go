package emulator

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

const (
	appID   = "aaaaaaaa-0000-4000-8000-000000000001"
	otherID = "aaaaaaaa-0000-4000-8000-000000000002"
)

// office has two application users, a person and a team, and two roles: one that may
// work with accounts and one that may only read them.
func office(t *testing.T) *env {
	tables := worldTables()
	for _, table := range tables {
		switch table.LogicalName {
		case "systemuser":
			table.Columns = append(table.Columns, col("applicationid", schema.UniqueID))
			table.ManyToOne = append(table.ManyToOne, rel("businessunitid", "businessunit", "businessunitid", "business_unit_system_users", "Restrict"))
		case "team":
			table.Columns = append(table.Columns, col("isdefault", schema.YesNo))
			table.ManyToOne = append(table.ManyToOne, rel("businessunitid", "businessunit", "businessunitid", "business_unit_teams", "Restrict"))
		}
	}
	s, err := schema.New(tables, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := start(t, func(o *Options) {
		o.Schema = s
		o.RolePrivileges = map[string][]string{"Loader": {"prv*Account", "prvReadContact", "prvAppendToContact"}, "Reader": {"prvReadAccount"}}
	})
	e.want(204, "", "POST", "systemusers", `{"systemuserid":"`+gid(3, 1)+`","applicationid":"`+appID+`","lastname":"App","businessunitid@odata.bind":"businessunits(`+BusinessUnitID.String()+`)"}`)
	e.want(204, "", "POST", "systemusers", `{"systemuserid":"`+gid(3, 2)+`","lastname":"Ann","businessunitid@odata.bind":"businessunits(`+BusinessUnitID.String()+`)"}`)
	e.want(204, "", "POST", "teams", `{"teamid":"`+gid(4, 1)+`","name":"Sales","teamtype":0,"businessunitid@odata.bind":"businessunits(`+BusinessUnitID.String()+`)"}`)
	return e
}

func (e *env) role(name, unit string) string {
	e.t.Helper()
	g, err := schema.ParseGUID(unit)
	if err != nil {
		e.t.Fatal(err)
	}
	return `{"@odata.id":"` + e.url + `/roles(` + roleID(name, g).String() + `)"}`
}

// TestPrivileges: what an application user may do is what its roles say, its teams'
// among them (14.2, 14.4, 1.8).
func TestPrivileges(t *testing.T) {
	e := office(t)
	app := []string{"Authorization", "Bearer emulator-" + appID}
	unit := BusinessUnitID.String()
	e.want(403, "0x80072560", "GET", "accounts", "", "Authorization", "Bearer emulator-"+otherID)
	e.has(e.want(200, "", "GET", "WhoAmI", "", app...), gid(3, 1))
	a := e.want(403, "0x80040220", "POST", "accounts", `{"name":"x"}`, app...)
	e.has(a, "Principal user (Id="+gid(3, 1)+", type=8, roleCount=0", "is missing prvCreateAccount privilege", "for entity 'account'")

	assign := "systemusers(" + gid(3, 1) + ")/systemuserroles_association/$ref"
	e.want(204, "", "POST", assign, e.role("Loader", unit))
	e.want(412, "0x80040237", "POST", assign, e.role("Loader", unit))
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","name":"x"}`, app...)
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"name":"y"}`, app...)
	e.want(403, "0x80040220", "POST", "contacts", `{"lastname":"x"}`, app...)
	e.want(403, "0x80040220", "GET", "tasks", "", app...)
	e.want(204, "", "POST", "contacts", `{"contactid":"`+con1+`","lastname":"x"}`)
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"primarycontactid@odata.bind":"contacts(`+con1+`)"}`, app...)
	a = e.want(403, "0x80040220", "PATCH", "contacts("+con1+")", `{"lastname":"y"}`, app...)
	e.has(a, "prvWriteContact")
	e.want(403, "0x80040220", "POST", "accounts", `{"name":"x"}`, append(app, "MSCRM.BypassBusinessLogicExecution", "CustomSync")...)
	e.want(204, "", "POST", "accounts", `{"name":"x"}`, "MSCRM.BypassBusinessLogicExecution", "CustomSync")
	a = e.want(403, "0x80040220", "GET", "accounts", "", append(app, "MSCRMCallerID", gid(3, 2))...)
	e.has(a, "prvActOnBehalfOfAnotherUser")

	// The owner must be able to read what it is given.
	owned := func(set, id string) string { return `{"name":"x","ownerid@odata.bind":"` + set + `(` + id + `)"}` }
	e.want(403, "0x80040231", "POST", "accounts", owned("systemusers", gid(3, 2)), app...)
	e.want(403, "0x80040231", "POST", "accounts", owned("teams", gid(4, 1)), app...)
	e.want(204, "", "POST", "teams("+gid(4, 1)+")/teamroles_association/$ref", e.role("Reader", unit))
	e.want(204, "", "POST", "accounts", owned("teams", gid(4, 1)), app...)
	a = e.want(403, "0x80040220", "POST", "contacts", `{"lastname":"x","ownerid@odata.bind":"teams(`+gid(4, 1)+`)"}`)
	e.has(a, "Principal team (Id="+gid(4, 1)+", type=9", "prvReadContact")

	// A member of the team has the team's roles.
	e.want(204, "", "POST", "teams("+gid(4, 1)+")/Microsoft.Dynamics.CRM.AddMembersTeam", `{"Members":[{"@odata.type":"Microsoft.Dynamics.CRM.systemuser","systemuserid":"`+gid(3, 2)+`"}]}`)
	e.want(204, "", "POST", "accounts", owned("systemusers", gid(3, 2)), app...)
	e.has(e.want(200, "", "GET", "systemusers("+gid(3, 2)+")/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()", ""), `"prvReadAccount"`)
	e.want(204, "", "POST", "teams("+gid(4, 1)+")/Microsoft.Dynamics.CRM.RemoveMembersTeam", `{"Members":[{"systemuserid":"`+gid(3, 2)+`"}]}`)
	if a := e.want(200, "", "GET", "systemusers("+gid(3, 2)+")/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()", ""); strings.Contains(a.body, "prvReadAccount") {
		t.Error("one who left the team still has its role")
	}
	e.want(204, "", "PATCH", "systemusers("+gid(3, 2)+")", `{"isdisabled":true}`)
	e.want(400, "0x8004022B", "POST", "accounts", owned("systemusers", gid(3, 2)))
}

// TestBusinessUnits: a new unit has its team and its copies of the roles; a user that
// moves there loses the roles it had and may only get that unit's (14.2, 14.3).
func TestBusinessUnits(t *testing.T) {
	e := office(t)
	unit := gid(2, 1)
	e.want(204, "", "POST", "businessunits", `{"businessunitid":"`+unit+`","name":"EU"}`)
	e.has(e.want(200, "", "GET", "teams?$filter=_businessunitid_value%20eq%20"+unit, ""), `"name":"EU"`, `"isdefault":true`)
	e.has(e.want(200, "", "GET", "roles?$filter=_businessunitid_value%20eq%20"+unit+"%20and%20name%20eq%20'Loader'", ""), `"_parentrootroleid_value":"`+roleID("Loader", BusinessUnitID).String())
	assign := "systemusers(" + gid(3, 2) + ")/systemuserroles_association/$ref"
	e.want(400, "0x80041409", "POST", assign, e.role("Loader", unit))
	e.want(204, "", "POST", assign, e.role("Loader", BusinessUnitID.String()))
	e.want(204, "", "PATCH", "systemusers("+gid(3, 2)+")", `{"businessunitid@odata.bind":"businessunits(`+unit+`)"}`)
	if n := e.srv.Stats().Links["systemuserroles_association"]; n != 1 {
		t.Errorf("%d role assignments, want the administrator's alone", n)
	}
	e.want(204, "", "POST", assign, e.role("Loader", unit))
	e.want(400, "0x8004140D", "POST", "teams("+gid(4, 1)+")/teamroles_association/$ref", e.role("Reader", unit))
}

// TestRolePrivileges reads what a role holds, as tools ask before they give it to a loader
// (section 14.2). The function is not a bound one.
func TestRolePrivileges(t *testing.T) {
	e := office(t)
	names := func(role string) []string {
		var got struct {
			RolePrivileges []struct{ PrivilegeName, Depth string }
		}
		a := e.want(200, "", "GET", "RetrieveRolePrivilegesRole(RoleId="+roleID(role, BusinessUnitID).String()+")", "")
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, p := range got.RolePrivileges {
			all = append(all, p.PrivilegeName)
		}
		return all
	}
	if got := names("Reader"); len(got) != 1 || got[0] != "prvReadAccount" {
		t.Errorf("Reader: %v", got)
	}
	if got := names("Loader"); len(got) != 10 || !slices.Contains(got, "prvAppendToContact") {
		t.Errorf("Loader: %v", got)
	}
	if got := names(administrator); !slices.Contains(got, "prvActOnBehalfOfAnotherUser") || !slices.Contains(got, "prvDeleteContact") {
		t.Errorf("administrator: %v", got)
	}
	e.want(404, "0x80040217", "GET", "RetrieveRolePrivilegesRole(RoleId=@r)?@r="+gid(9, 9), "")
	e.want(400, "0x80040203", "GET", "RetrieveRolePrivilegesRole(RoleId=1)", "")
	e.want(404, "", "GET", "roles("+roleID("Reader", BusinessUnitID).String()+")/Microsoft.Dynamics.CRM.RetrieveRolePrivilegesRole()", "")
}

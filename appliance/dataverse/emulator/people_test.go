package emulator

import (
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// TestPeopleRules: what the service refuses of users, teams and business units, and
// what it does by itself (2, 14.1, 14.3).
func TestPeopleRules(t *testing.T) {
	e := office(t)
	root := "businessunits(" + BusinessUnitID.String() + ")"
	e.want(400, "0x8004F511", "POST", "systemusers", `{"applicationid":"`+appID+`","lastname":"Again","businessunitid@odata.bind":"`+root+`"}`)
	e.want(400, "0x80040800", "DELETE", "systemusers("+gid(3, 2)+")", "")
	unit, team := gid(2, 1), defaultTeam(mustGUID(t, gid(2, 1))).String()
	e.want(204, "", "POST", "businessunits", `{"businessunitid":"`+unit+`","name":"EU"}`)
	e.want(400, "0x8004830C", "DELETE", "teams("+team+")", "")
	e.want(400, "0x8004830C", "PATCH", "teams("+team+")", `{"name":"Other"}`)
	e.want(400, "0x8004830B", "POST", "teams("+team+")/teammembership_association/$ref", `{"@odata.id":"`+e.url+`/systemusers(`+gid(3, 2)+`)"}`)
	members := "teams(" + team + ")/teammembership_association?$select=systemuserid"
	for _, c := range []struct {
		unit string
		in   bool
	}{{unit, true}, {BusinessUnitID.String(), false}} {
		e.want(204, "", "PATCH", "systemusers("+gid(3, 2)+")", `{"businessunitid@odata.bind":"businessunits(`+c.unit+`)"}`)
		if a := e.want(200, "", "GET", members, ""); strings.Contains(a.body, gid(3, 2)) != c.in {
			t.Errorf("14.3: in unit %s the members of its team are %s", c.unit, a.body)
		}
	}
	app := []string{"Authorization", "Bearer emulator-" + appID}
	e.want(200, "", "GET", "WhoAmI", "", app...)
	e.want(204, "", "PATCH", "systemusers("+gid(3, 1)+")", `{"isdisabled":true}`)
	e.want(403, "0x80040225", "GET", "WhoAmI", "", app...)
	e.want(403, "0x80040225", "GET", "WhoAmI", "", "MSCRMCallerID", gid(3, 1))
}

func mustGUID(t *testing.T, text string) schema.GUID {
	t.Helper()
	g, err := schema.ParseGUID(text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestBypass: custom plug-ins are skipped by a request that says so, and only three
// steps may be named (section 9).
func TestBypass(t *testing.T) {
	e := start(t, func(o *Options) { o.Faults = []Fault{rule(t, "kind=plugin,column=name")} })
	e.want(400, "0x80040265", "POST", "accounts", `{"name":"x"}`)
	e.want(400, "0x80040265", "POST", "accounts", `{"name":"x"}`, "MSCRM.BypassBusinessLogicExecution", "CustomAsync")
	e.want(204, "", "POST", "accounts", `{"name":"x"}`, "MSCRM.BypassBusinessLogicExecution", "CustomSync,CustomAsync")
	e.want(204, "", "POST", "accounts", `{"name":"x"}`, "MSCRM.BypassCustomPluginExecution", "true")
	steps := strings.TrimSuffix(strings.Repeat(gid(8, 8)+",", 4), ",")
	e.want(400, "0x80040203", "POST", "accounts", `{}`, "MSCRM.BypassBusinessLogicExecutionStepIds", steps)
	// In a $batch the headers of the request do not reach its parts.
	a := e.do("POST", "$batch", batch(part("POST accounts", `{"name":"x"}`)), "Content-Type", batchType, "MSCRM.BypassCustomPluginExecution", "true")
	e.has(a, "0x80040265")
}

// TestClosedStates: which states only a message sets, and what a closed row refuses
// (4.5, trap 12).
func TestClosedStates(t *testing.T) {
	status := func(states ...schema.Option) []*schema.Column { return stateColumns(states...) }
	option := func(state int32, label string, reason int32) schema.Option {
		return schema.Option{Value: state, Label: label, DefaultStatus: ptr(reason)}
	}
	opportunity := tableOf("opportunity", "Opportunity", "opportunities", "opportunityid", "name", join([]*schema.Column{text("name", 300)}, ownerColumns(),
		status(option(0, "Open", 1), option(1, "Won", 3), option(2, "Lost", 4)))...)
	closeOf := tableOf("opportunityclose", "OpportunityClose", "opportunitycloses", "activityid", "subject", text("subject", 200), lookup("opportunityid", "opportunity"))
	closeOf.Kind = schema.Activity
	closeOf.ManyToOne = []schema.Relationship{rel("opportunityid", "opportunity", "opportunityid", "Opportunity_OpportunityClose", "Cascade")}
	invoice := tableOf("invoice", "Invoice", "invoices", "invoiceid", "name", join([]*schema.Column{text("name", 300)}, ownerColumns(),
		status(option(0, "Active", 1), option(2, "Paid", 100001), option(3, "Canceled", 100003)))...)
	e := start(t, func(o *Options) {
		o.Schema, _ = schema.New(append(worldTables(), opportunity, closeOf, invoice), nil)
	})
	row := "opportunities(" + acc1 + ")"
	e.want(204, "", "POST", "opportunities", `{"opportunityid":"`+acc1+`","name":"x"}`)
	e.has(e.want(400, "0x80100005", "PATCH", row, `{"statecode":1,"statuscode":3}`), "to won, use the won message")
	e.want(400, "0x80100005", "PATCH", row, `{"statecode":2}`)
	e.want(204, "", "POST", "WinOpportunity", `{"Status":3,"OpportunityClose":{"subject":"won","opportunityid@odata.bind":"`+row+`"}}`)
	e.want(400, "0x80040230", "PATCH", row, `{"name":"y"}`)
	e.want(204, "", "PATCH", row, `{"statecode":0,"statuscode":1}`)
	e.want(204, "", "PATCH", row, `{"name":"y"}`)

	row = "invoices(" + acc1 + ")"
	e.want(400, "0x80048408", "POST", "invoices", `{"statecode":2,"statuscode":100001}`)
	e.want(204, "", "POST", "invoices", `{"invoiceid":"`+acc1+`","statecode":2}`)
	e.has(e.do("GET", row+"?$select=statecode", ""), `"statecode":0`)
	e.want(204, "", "PATCH", row, `{"statecode":2,"statuscode":100001}`)
	e.want(400, "0x80040230", "PATCH", row, `{"name":"y"}`)
}

// TestCascadeAssign: a new owner takes along what the relationship says (5.4).
func TestCascadeAssign(t *testing.T) {
	for behaviour, want := range map[string][3]bool{"NoCascade": {}, "Cascade": {true, true, true}, "Active": {true, false, true}, "UserOwned": {true, true, false}} {
		tables := worldTables()
		for _, table := range tables {
			if table.LogicalName == "contoso_order" {
				table.ManyToOne[0].Cascade["Assign"] = behaviour
			}
		}
		e := start(t, func(o *Options) { o.Schema, _ = schema.New(tables, nil) })
		for i := range 2 {
			e.want(204, "", "POST", "systemusers", `{"systemuserid":"`+gid(3, 5+i)+`","lastname":"x"}`)
		}
		e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`"}`)
		order := func(n int) string { return "contoso_orders(" + gid(4, n) + ")" }
		for i, more := range []string{``, `,"statecode":1`, `,"ownerid@odata.bind":"systemusers(` + gid(3, 5) + `)"`} {
			e.want(204, "", "POST", "contoso_orders", `{"contoso_orderid":"`+gid(4, i)+`","contoso_AccountId@odata.bind":"accounts(`+acc1+`)"`+more+`}`)
		}
		e.want(204, "", "PATCH", "accounts("+acc1+")", `{"ownerid@odata.bind":"systemusers(`+gid(3, 6)+`)"}`)
		for i := range 3 {
			a := e.do("GET", order(i)+"?$select=_ownerid_value", "")
			if strings.Contains(a.body, gid(3, 6)) != want[i] {
				t.Errorf("%s: order %d is %s", behaviour, i, a.body)
			}
		}
	}
}

// TestRowThrottledInABatch: a row that the store behind elastic tables throttles is an
// error of its part; the other parts are answered.
func TestRowThrottledInABatch(t *testing.T) {
	e := elastic(t, func(o *Options) { o.Faults = []Fault{rule(t, "kind=row-429,nth=1")} })
	body := batch(part("POST accounts", `{}`), part("POST "+bulkEvents+"CreateMultiple", eventTargets(`"contoso_n":1`)), part("POST accounts", `{}`))
	a := e.do("POST", "$batch", body, "Content-Type", batchType, "Prefer", "odata.continue-on-error")
	if a.status != 200 || strings.Count(a.body, "HTTP/1.1 204") != 2 || !strings.Contains(a.body, "HTTP/1.1 429") {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

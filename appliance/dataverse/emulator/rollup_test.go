package emulator

import (
	"fmt"
	"testing"
)

// TestRollup asks for a rollup as section 4.11 has it.
func TestRollup(t *testing.T) {
	e := orgChart(t)
	ask := func(target, field string) string {
		return "CalculateRollupField(Target=@t,FieldName=@f)?" + query("@t", target, "@f", "'"+field+"'")
	}
	e.has(e.want(200, "", "GET", "accounts("+gid(1, 1)+")?$select=contoso_open_state", ""), `"contoso_open_state":null`)
	for _, target := range []string{`{'@odata.id':'accounts(` + gid(1, 1) + `)'}`, `{"@odata.id":"accounts(accountnumber='A-1')"}`} {
		e.has(e.want(200, "", "GET", ask(target, "contoso_open"), ""), `"@odata.type":"#Microsoft.Dynamics.CRM.account"`, `"contoso_open":null`, `"contoso_open_date":"20`, `"contoso_open_state":1`)
	}
	e.has(e.want(200, "", "GET", "accounts("+gid(1, 1)+")?$select=contoso_open_state", ""), `"contoso_open_state":1`)
	e.want(204, "", "PATCH", "accounts("+gid(1, 1)+")", `{"contoso_open":5,"contoso_open_state":0}`) // ignored
	e.has(e.want(200, "", "GET", "accounts("+gid(1, 1)+")?$select=contoso_open,contoso_open_state", ""), `"contoso_open":null`, `"contoso_open_state":1`)
	e.want(404, "0x80040217", "GET", ask(`{"@odata.id":"accounts(`+gid(1, 99)+`)"}`, "contoso_open"), "")
	e.want(400, "0x80040203", "GET", ask(`{"@odata.id":"accounts(`+gid(1, 1)+`)"}`, "name"), "")
	e.want(400, "0x80041103", "GET", ask(`{"@odata.id":"accounts(`+gid(1, 1)+`)"}`, "nothing"), "")
	e.want(400, "0x80060888", "GET", ask("1", "contoso_open"), "")
	e.want(400, "0x80060888", "GET", "CalculateRollupField(FieldName='contoso_open')", "")
}

// TestRollupValues sums up what Options.Rollups names.
func TestRollupValues(t *testing.T) {
	rollups := func(r ...Rollup) func(*Options) { return func(o *Options) { o.Rollups = r } }
	children := Rollup{Table: "account", Column: "contoso_open", Function: "count", From: "account", Lookup: "parentaccountid"}
	for _, c := range []struct {
		name   string
		rollup Rollup
		want   string
	}{
		{"count", children, "2"},
		{"sum", Rollup{"account", "contoso_open", "sum", "account", "parentaccountid", "numberofemployees"}, "30"},
		{"an average is rounded to a whole number", Rollup{"account", "contoso_open", "avg", "account", "parentaccountid", "contoso_rating"}, "3"},
		{"max", Rollup{"account", "contoso_open", "max", "account", "parentaccountid", "numberofemployees"}, "20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t, rollups(c.rollup))
			e.want(204, "", "POST", "accounts", `{"accountid":"`+gid(1, 1)+`"}`)
			for i, rating := range []string{"2.5", "3.25"} {
				e.want(204, "", "POST", "accounts", fmt.Sprintf(`{"numberofemployees":%d,"contoso_rating":%s,"parentaccountid@odata.bind":"accounts(%s)"}`, 10*(i+1), rating, gid(1, 1)))
			}
			e.has(e.want(200, "", "GET", "accounts("+gid(1, 1)+")?$select=contoso_open", ""), `"contoso_open":null`)
			got := e.want(200, "", "GET", "CalculateRollupField(Target=@t,FieldName=@f)?"+query("@t", `{"@odata.id":"accounts(`+gid(1, 1)+`)"}`, "@f", "'contoso_open'"), "")
			e.has(got, `"contoso_open":`+c.want+`,`, `"contoso_open_state":1`)
			e.want(204, "", "PATCH", "accounts("+gid(1, 1)+")", `{"contoso_open":99}`) // read-only: ignored
			e.has(e.want(200, "", "GET", "accounts("+gid(1, 1)+")?$select=contoso_open", ""), `"contoso_open":`+c.want+`,`)
		})
	}
	for _, bad := range []Rollup{
		{"account", "name", "count", "account", "parentaccountid", ""}, {"account", "contoso_open", "count", "account", "primarycontactid", ""},
		{"account", "contoso_open", "median", "account", "parentaccountid", "revenue"}, {"account", "contoso_open", "sum", "account", "parentaccountid", "name"},
		{"account", "contoso_open", "sum", "account", "parentaccountid", "nothing"},
	} {
		if _, err := New(Options{Schema: world(t), Rollups: []Rollup{bad}}); err == nil {
			t.Errorf("the rollup %v was taken", bad)
		}
	}
}

// TestEnvironmentProbes are the reads of section 12.8 that need no table in the schema.
func TestEnvironmentProbes(t *testing.T) {
	e := start(t)
	visible := e.list("solutions?" + query("$select", "uniquename,version,ismanaged", "$filter", "isvisible eq true")).Value
	if len(visible) != 1 || visible[0]["uniquename"] != "Default" || visible[0]["ismanaged"] != false || visible[0]["solutionid"] == nil {
		t.Errorf("solutions: %v", visible)
	}
	e.has(e.want(200, "", "GET", "publishers?$select=customizationprefix", ""), `"customizationprefix":"new"`)
	e.want(404, "0x80040217", "GET", "accounts?savedQuery="+gid(9, 1), "")
	e.want(400, "0x80040203", "GET", "accounts?userQuery=x", "")
}

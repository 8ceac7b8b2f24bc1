package emulator

import (
	"net/url"
	"strings"
	"testing"
)

// TestDuplicateDetection: off unless a write asks for it, on for one that does (15.3).
func TestDuplicateDetection(t *testing.T) {
	e := start(t, func(o *Options) { o.DuplicateRules = []DuplicateRule{{"contact", []string{"lastname", "firstname"}}} })
	ask := []string{"MSCRM.SuppressDuplicateDetection", "false"}
	ann := `{"contactid":"` + con1 + `","firstname":"Ann","lastname":"Ek"}`
	e.want(204, "", "POST", "contacts", ann, ask...)
	e.want(412, "0x80040333", "POST", "contacts", `{"firstname":"ANN","lastname":"ek "}`, ask...)
	e.want(204, "", "POST", "contacts", `{"firstname":"Ann"}`, ask...)
	e.want(204, "", "PATCH", "contacts("+con1+")", `{"firstname":"Ann","emailaddress1":"a@b.c"}`, ask...)
	e.want(204, "", "POST", "contacts", `{"contactid":"`+con2+`","firstname":"Ann","lastname":"Ek"}`)
	e.want(412, "0x80040333", "PATCH", "contacts("+con1+")", `{"emailaddress1":"x@b.c"}`, ask...)
	e.want(204, "", "PATCH", "contacts("+con2+")", `{"lastname":"Roth"}`, ask...)
	e.want(204, "", "PATCH", "contacts("+con1+")", `{"emailaddress1":"x@b.c"}`, ask...)
	e.want(400, "0x80060888", "GET", "contacts(lastname='Ek',firstname='Ann')", "")
	if _, err := New(Options{Schema: world(t), DuplicateRules: []DuplicateRule{{"contact", []string{"nothing"}}}}); err == nil {
		t.Error("a rule on a column that is not there was taken")
	}
}

// TestRetrieveDuplicates asks which rows the rules find like one that exists, and like one
// that does not (15.3).
func TestRetrieveDuplicates(t *testing.T) {
	e := start(t, func(o *Options) {
		o.DuplicateRules = []DuplicateRule{{"contact", []string{"lastname", "firstname"}}, {"contact", []string{"emailaddress1"}}}
	})
	for n, row := range []string{`"firstname":"Ann","lastname":"Ek"`, `"firstname":"ann","lastname":"EK","emailaddress1":"a@b.c"`, `"firstname":"Bo","emailaddress1":"A@B.C"`, `"lastname":"Ek"`} {
		e.want(204, "", "POST", "contacts", `{"contactid":"`+gid(2, n+1)+`",`+row+`}`)
	}
	ask := func(entity, table, paging string) string {
		return "RetrieveDuplicates(BusinessEntity=@p1,MatchingEntityName=@p2,PagingInfo=@p3)?@p1=" + url.QueryEscape(entity) + "&@p2=" + url.QueryEscape("'"+table+"'") + "&@p3=" + url.QueryEscape(paging)
	}
	const contact = `"@odata.type":"Microsoft.Dynamics.CRM.contact",`
	for _, c := range []struct{ entity, table, paging, want string }{
		{`"contactid":"` + gid(2, 1) + `"`, "contact", `{"PageNumber":1,"Count":50}`, "2"},
		{`"contactid":"` + gid(2, 2) + `"`, "contact", `{"PageNumber":1,"Count":50}`, "1,3"},
		{`"contactid":"` + gid(2, 2) + `"`, "contact", `{"PageNumber":2,"Count":1}`, "3"},
		{`"contactid":"` + gid(2, 2) + `"`, "contact", `{"PageNumber":9,"Count":1}`, ""},
		{`"firstname":"Ann","lastname":"Ek"`, "contact", `{}`, "1,2"},
		{`"lastname":"Ek"`, "contact", `{"PageNumber":1,"Count":50}`, ""},
		{`"firstname":"Ann","lastname":"Ek"`, "account", `{"PageNumber":1,"Count":50}`, ""},
	} {
		a := e.want(200, "", "GET", ask("{"+contact+c.entity+"}", c.table, c.paging), "")
		var got []string
		for n := range 4 {
			if strings.Contains(a.body, gid(2, n+1)) {
				got = append(got, string(rune('1'+n)))
			}
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("duplicates of %s in %s, %s: %v, want %s", c.entity, c.table, c.paging, got, c.want)
		}
	}
	e.want(400, "0x80041102", "GET", ask("{"+contact+`"lastname":"x"}`, "nothing", "{}"), "")
	e.want(400, "0x80048d19", "GET", ask(`{"@odata.type":"Microsoft.Dynamics.CRM.nothing"}`, "contact", "{}"), "")
	e.want(400, "0x80048d19", "GET", ask("{"+contact+`"nothing":1}`, "contact", "{}"), "")
	e.want(400, "0x80060888", "GET", ask("x", "contact", "{}"), "")
	e.want(400, "0x80040203", "GET", "RetrieveDuplicates(MatchingEntityName='contact')", "")
}

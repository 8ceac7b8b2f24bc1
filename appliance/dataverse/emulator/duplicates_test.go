package emulator

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/schema"
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

// TestBulkDetectDuplicates is the job that section 15.3 advises after a load: it goes
// through its states and writes down the pairs that a rule finds.
func TestBulkDetectDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found := tableOf("duplicaterecord", "DuplicateRecord", "duplicaterecords", "duplicateid", "", lookup("asyncoperationid", "asyncoperation"), lookup("baserecordid", "contact"), lookup("duplicaterecordid", "contact"))
		found.Ownership = schema.NotOwned
		found.ManyToOne = []schema.Relationship{rel("baserecordid", "contact", "baserecordid_contact", "contact_DuplicateBaseRecord", "Cascade"), rel("duplicaterecordid", "contact", "duplicaterecordid_contact", "contact_DuplicateMatchingRecord", "Cascade")}
		s, err := schema.New(append(worldTables(), found), world(t).ManyToMany)
		if err != nil {
			t.Fatal(err)
		}
		second := time.Second
		srv, err := New(Options{Schema: s, DuplicateRules: []DuplicateRule{{"contact", []string{"lastname"}}}, Cost: Cost{Rules: []CostRule{{Action: "BulkDetectDuplicates", Record: &second}}}})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		for n, name := range []string{"Ek", "ek", "Roth"} {
			direct(srv, "POST", "contacts", `{"contactid":"`+gid(2, n+1)+`","lastname":"`+name+`"}`)
		}
		const query = `"Query":{"@odata.type":"Microsoft.Dynamics.CRM.QueryExpression","EntityName":"contact"}`
		for body, want := range map[string]int{`{"JobName":"x"}`: 400, `{` + query + `,"RecurrencePattern":"FREQ=DAILY"}`: 501, `{"Query":{"EntityName":"nothing"}}`: 400} {
			if a := direct(srv, "POST", "BulkDetectDuplicates", body); a.status != want {
				t.Errorf("%s: answered %d %s", body, a.status, a.body)
			}
		}
		a := direct(srv, "POST", "BulkDetectDuplicates", `{`+query+`,"JobName":"after the load","SendEmailNotification":false,"TemplateId":"00000000-0000-0000-0000-000000000000","ToRecipients":[],"CCRecipients":[],"RecurrencePattern":"","RecurrenceStartTime":"2000-01-01T00:00:00Z"}`)
		var made struct{ JobId string }
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != 200 {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
		synctest.Wait()
		job := func() string {
			return direct(srv, "GET", "asyncoperations("+made.JobId+")?$select=name,statecode,statuscode,operationtype", "").body
		}
		if got := job(); !strings.Contains(got, `"name":"after the load","statecode":2,"statuscode":20,"operationtype":8`) {
			t.Errorf("under way: %s", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := job(); !strings.Contains(got, `"statecode":3,"statuscode":30`) {
			t.Errorf("over: %s", got)
		}
		pairs := direct(srv, "GET", "duplicaterecords?$select=_baserecordid_value,_duplicaterecordid_value", "").body
		for _, want := range []string{`"_baserecordid_value":"` + gid(2, 1) + `","_duplicaterecordid_value":"` + gid(2, 2), `"_baserecordid_value":"` + gid(2, 2) + `","_duplicaterecordid_value":"` + gid(2, 1)} {
			if !strings.Contains(pairs, want) || strings.Contains(pairs, gid(2, 3)) {
				t.Errorf("pairs %s, want %s", pairs, want)
			}
		}
	})
}

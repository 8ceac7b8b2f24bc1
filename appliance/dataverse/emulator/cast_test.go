package emulator

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// withPointer gives the world the table that all kinds of activity share.
func withPointer(t testing.TB) func(*Options) {
	return func(o *Options) {
		task, email := *o.Schema.Table("task"), *o.Schema.Table("email")
		whole := tableOf("activitypointer", "ActivityPointer", "activitypointers", "activityid", "subject", text("subject", 200), lookup("regardingobjectid", "account"), text("activitytypecode", 64))
		whole.Kind = schema.Activity
		shared := rel("regardingobjectid", "account", "regardingobjectid_account", "Account_ActivityPointers", "Cascade")
		whole.ManyToOne = []schema.Relationship{shared}
		task.ManyToOne = append(task.ManyToOne[:2:2], shared)
		email.Columns = append(email.Columns[:len(email.Columns):len(email.Columns)], lookup("regardingobjectid", "account"))
		email.ManyToOne = []schema.Relationship{rel("regardingobjectid", "account", "regardingobjectid_account_email", "Account_Emails", "Cascade"), shared}
		var tables []*schema.Table
		for _, old := range o.Schema.Tables {
			if old.LogicalName != "task" && old.LogicalName != "email" {
				tables = append(tables, old)
			}
		}
		var err error
		if o.Schema, err = schema.New(append(tables, &task, whole, &email), o.Schema.ManyToMany); err != nil {
			t.Fatal(err)
		}
	}
}

// versionless puts a star in place of row versions.
func versionless(body string) string {
	return regexp.MustCompile(`W/\\"\d+\\"`).ReplaceAllString(body, `W/\"*\"`)
}

// TestCasts are type-cast segments: what derives from activitypointer and principal is
// section 12.6's.
func TestCasts(t *testing.T) {
	e := start(t, withPointer(t))
	a, b, task, email, team := gid(1, 1), gid(1, 2), gid(2, 1), gid(2, 2), gid(3, 1)
	e.want(204, "", "POST", "teams", `{"teamid":"`+team+`","name":"Sales"}`)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+a+`","name":"A"}`)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+b+`","name":"B","ownerid@odata.bind":"teams(`+team+`)","parentaccountid@odata.bind":"accounts(`+a+`)"}`)
	e.want(204, "", "POST", "tasks", `{"activityid":"`+task+`","subject":"call","regardingobjectid_account_task@odata.bind":"accounts(`+a+`)"}`)
	e.want(204, "", "POST", "emails", `{"activityid":"`+email+`","subject":"mail","regardingobjectid_account_email@odata.bind":"accounts(`+a+`)"}`)
	const typ = "Microsoft.Dynamics.CRM."
	for path, want := range map[string]string{
		"activitypointers/" + typ + "task?$select=subject":                                                                 `#activitypointers/` + typ + `task(subject)","value":[{"@odata.etag":"W/\"*\"","subject":"call","activityid":"` + task + `"}]`,
		"activitypointers/" + typ + "email/$count":                                                                         "1",
		"activitypointers(" + task + ")/" + typ + "task?$select=subject":                                                   `#activitypointers/` + typ + `task(subject)/$entity"`,
		"activitypointers/" + typ + "task(" + task + ")/subject/$value":                                                    "call",
		"accounts/" + typ + "account?$select=name&$filter=" + url.QueryEscape("name eq 'A'"):                               `"name":"A"`,
		"accounts(" + a + ")/Account_ActivityPointers/" + typ + "email?$select=subject":                                    `"value":[{"@odata.etag":"W/\"*\"","subject":"mail","activityid":"` + email + `"}]`,
		"accounts(" + a + ")/ownerid/" + typ + "systemuser?$select=fullname":                                               `"systemuserid":"` + UserID.String() + `"`,
		"accounts(" + b + ")/ownerid/" + typ + "team/name":                                                                 `"value":"Sales"`,
		"accounts(" + a + ")?$select=name&$expand=Account_ActivityPointers/" + typ + "task($select=subject)":               `"Account_ActivityPointers":[{"@odata.etag":"W/\"*\"","subject":"call","activityid":"` + task + `"}]`,
		"accounts(" + b + ")?$select=name&$expand=ownerid/" + typ + "team($select=name)":                                   `#accounts(name,ownerid/` + typ + `team(name))/$entity"`,
		"accounts(" + a + ")?$select=name&$expand=ownerid/" + typ + "team($select=name)":                                   `"ownerid":null`,
		"accounts?$select=name&$filter=" + url.QueryEscape("ownerid/"+typ+"team/name eq 'Sales'"):                          `"value":[{"@odata.etag":"W/\"*\"","name":"B","accountid":"` + b + `"}]`,
		"activitypointers?$select=subject&$filter=" + url.QueryEscape(typ+"task/statecode eq 0"):                           `"value":[{"@odata.etag":"W/\"*\"","subject":"call","activityid":"` + task + `"}]`,
		"accounts?$select=name&$filter=" + url.QueryEscape("Account_ActivityPointers/"+typ+"email/any(m:m/subject ne '')"): `"value":[{"@odata.etag":"W/\"*\"","name":"A","accountid":"` + a + `"}]`,
		"accounts?$select=name&$top=1&$orderby=" + url.QueryEscape("ownerid/"+typ+"team/name desc"):                        `"name":"B"`,
	} {
		if got := e.want(200, "", "GET", path, "").body; !strings.Contains(versionless(got), want) {
			t.Errorf("GET %s:\n%s\nwant %s", path, got, want)
		}
	}
	e.want(404, "0x80040217", "GET", "activitypointers("+email+")/"+typ+"task", "")
	groups := e.want(200, "", "GET", "accounts?$apply="+url.QueryEscape("groupby((ownerid/"+typ+"team/name),aggregate($count as n))"), "")
	e.has(groups, `"n":1,"team_name":"Sales"`)
	e.want(400, "0x80060888", "GET", "activitypointers?$apply="+url.QueryEscape("aggregate("+typ+"task/statecode with max as m)"), "")
	e.want(204, "", "GET", "accounts("+a+")/ownerid/"+typ+"team", "")
	e.want(204, "", "PATCH", "activitypointers("+task+")/"+typ+"task", `{"subject":"called"}`, "If-Match", "*")
	e.has(e.want(200, "", "GET", "tasks("+task+")?$select=subject", ""), `"called"`)
	for _, path := range []string{"accounts/" + typ + "contact", "tasks/" + typ + "activitypointer", "accounts?$expand=ownerid/" + typ + "contact",
		"accounts?$filter=" + url.QueryEscape("ownerid/"+typ+"account/name eq 'x'"), "accounts?$expand=primarycontactid/foo"} {
		e.want(400, "0x80060888", "GET", path, "")
	}
	e.want(404, "", "GET", "accounts/"+typ+"Nothing", "")

	page := e.list("activitypointers/"+typ+"task?$select=subject", "Prefer", "odata.maxpagesize=1")
	e.want(204, "", "POST", "tasks", `{"subject":"two"}`)
	page = e.list("activitypointers/"+typ+"task?$select=subject", "Prefer", "odata.maxpagesize=1")
	if next := e.list(page.Next, "Prefer", "odata.maxpagesize=1"); len(page.Value) != 1 || len(next.Value) != 1 || next.Next != "" {
		t.Errorf("pages of a cast: %v, %v", page, next)
	}
}

// TestPrincipal is what may be selected of an owner: section 12.6's principal has its id.
func TestPrincipal(t *testing.T) {
	e := start(t)
	a := gid(1, 1)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+a+`","name":"A"}`)
	e.want(400, "0x80060888", "GET", "accounts?$expand=ownerid($select=fullname)", "")
	got := e.want(200, "", "GET", "accounts("+a+")?$select=name&$expand=ownerid($select=ownerid)", "")
	e.has(got, `#accounts(name,ownerid(ownerid))/$entity"`, `"@odata.type":"#Microsoft.Dynamics.CRM.systemuser"`, `"ownerid":"`+UserID.String()+`"`)
}

// TestLongPaths go over more than one navigation property, as OData has it for paths.
func TestLongPaths(t *testing.T) {
	e := start(t)
	a, b, p := gid(1, 1), gid(1, 2), gid(2, 1)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+a+`","name":"A"}`)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+b+`","name":"B","parentaccountid@odata.bind":"accounts(`+a+`)","primarycontactid":{"contactid":"`+p+`","lastname":"Ek"}}`)
	e.want(204, "", "POST", "accounts("+a+")/contact_customer_accounts/$ref", `{"@odata.id":"contacts(`+p+`)"}`)
	for path, want := range map[string]string{
		"accounts(" + b + ")/primarycontactid/parentcustomerid_account/name/$value":                           "A",
		"accounts(" + b + ")/parentaccountid/contact_customer_accounts?$select=lastname":                      `"lastname":"Ek"`,
		"accounts(" + b + ")/parentaccountid/contact_customer_accounts/$count":                                "1",
		"accounts(" + b + ")/parentaccountid/contact_customer_accounts(" + p + ")/lastname":                   `"value":"Ek"`,
		"accounts(" + a + ")/contact_customer_accounts(" + p + ")/parentcustomerid_account?$select=name":      `"name":"A"`,
		"accounts(" + b + ")/parentaccountid/transactioncurrencyid/$ref":                                      `"@odata.id"`,
		"accounts(" + b + ")/parentaccountid/createdby?$select=fullname":                                      `#systemusers(fullname)/$entity"`,
		"accounts(" + b + ")/primarycontactid/parentcustomerid_account/contact_customer_accounts?$count=true": `"@odata.count":1`,
	} {
		if got := e.want(200, "", "GET", path, "").body; !strings.Contains(got, want) {
			t.Errorf("GET %s:\n%s\nwant %s", path, got, want)
		}
	}
	e.want(204, "", "GET", "accounts("+a+")/parentaccountid/createdby/fullname", "")
	e.want(404, "0x80060888", "GET", "accounts("+b+")/parentaccountid/nothing", "")
	e.want(404, "0x80040217", "GET", "accounts("+b+")/contact_customer_accounts("+p+")/lastname", "")
}

package emulator

import (
	"regexp"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

var (
	acc1, acc2 = gid(1, 1), gid(1, 2)
	con1, con2 = gid(2, 1), gid(2, 2)
	tsk1       = gid(3, 1)
	ord1       = gid(4, 1)
)

// seeded is an environment with two accounts, two contacts, a task and an order.
func seeded(t testing.TB, more ...func(*Options)) *env {
	t.Helper()
	e := start(t, more...)
	for _, r := range []struct{ set, body string }{
		{"accounts", `{"accountid":"` + acc1 + `","name":"One","accountnumber":"A-1"}`},
		{"accounts", `{"accountid":"` + acc2 + `","name":"Two","accountnumber":"O'Two"}`},
		{"contacts", `{"contactid":"` + con1 + `","firstname":"Ann","lastname":"Ek","parentcustomerid_account@odata.bind":"/accounts(` + acc1 + `)"}`},
		{"contacts", `{"contactid":"` + con2 + `","lastname":"Roth"}`},
		{"tasks", `{"activityid":"` + tsk1 + `","subject":"Call"}`},
		{"contoso_orders", `{"contoso_orderid":"` + ord1 + `","contoso_code":"C1","contoso_no":7,"contoso_AccountId@odata.bind":"` + e.url + `/accounts(accountnumber='A-1')"}`},
	} {
		e.want(204, "", "POST", r.set, r.body)
	}
	return e
}

// TestFullNameHasNoBlanksOfItsParts: as exports of real environments have it, where first and
// last names with blanks at their ends stand beside full names without.
func TestFullNameHasNoBlanksOfItsParts(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "contacts", `{"contactid":"`+gid(2, 1)+`","firstname":"Dianna ","lastname":" Lancaster "}`)
	if a := e.want(200, "", "GET", "contacts("+gid(2, 1)+")?$select=fullname,firstname", ""); !strings.Contains(a.body, `"fullname":"Dianna Lancaster"`) || !strings.Contains(a.body, `"firstname":"Dianna "`) {
		t.Error(a.body)
	}
}

func TestWrites(t *testing.T) {
	acc := "accounts(" + acc1 + ")"
	none := gid(9, 9)
	for _, c := range []struct {
		name               string
		method, path, body string
		headers            []string
		status             int
		code, text         string
	}{
		{"3.2 an update answers 204", "PATCH", acc, `{"name":"x"}`, []string{"If-Match", "*"}, 204, "", ""},
		{"3.2 If-Match: * does not create", "PATCH", "accounts(" + none + ")", `{"name":"x"}`, []string{"If-Match", "*"}, 404, "0x80040217", "account With Id = " + none + " Does Not Exist"},
		{"3.3 without If-Match a row is created", "PATCH", "accounts(" + none + ")", `{"name":"x"}`, nil, 204, "", ""},
		{"3.3 If-None-Match: * does not update", "PATCH", acc, `{"name":"x"}`, []string{"If-None-Match", "*"}, 412, "0x80040237", "A record with matching key values already exists."},
		{"1.3 If-None-Match: null is ignored", "PATCH", acc, `{"name":"x"}`, []string{"If-None-Match", "null"}, 204, "", ""},
		{"3.7 a stale etag is refused", "PATCH", acc, `{"name":"x"}`, []string{"If-Match", `W/"1"`}, 412, "0x80060882", "The version of the existing record doesn't match the RowVersion property provided."},
		{"3.7 a stale etag is refused on delete", "DELETE", acc, "", []string{"If-Match", `W/"1"`}, 412, "0x80060882", ""},
		{"3.3 an upsert that creates answers 201 with the row", "PATCH", "accounts(" + none + ")?$select=name", `{"name":"x"}`, []string{"Prefer", "return=representation"}, 201, "", `"name":"x"`},
		{"3.3 an upsert that updates answers 200 with the row", "PATCH", acc + "?$select=name", `{"name":"x"}`, []string{"Prefer", "return=representation"}, 200, "", `"name":"x"`},
		{"3.4 a missing key with If-Match is not found", "PATCH", "accounts(accountnumber='none')", `{"name":"x"}`, []string{"If-Match", "*"}, 404, "0x80060891", ""},
		{"3.4 a quote in a key is doubled", "PATCH", "accounts(accountnumber='O%27%27Two')", `{"name":"x"}`, []string{"If-Match", "*"}, 204, "", ""},
		{"3.4 names that are no key are refused", "GET", "accounts(name='One')", "", nil, 400, "0x80060888", "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.account'. Ensure that the names and number of key properties match"},
		{"3.4 a lookup in a key goes by its value name", "PATCH", "contoso_orders(_contoso_accountid_value=" + acc1 + ",contoso_no=7)", `{"contoso_name":"x"}`, []string{"If-Match", "*"}, 204, "", ""},
		{"3.4 some characters break a key in a URL even when encoded", "GET", "accounts(accountnumber='A%2B1')", "", nil, 400, "0x80060888", "A potentially dangerous Request.Path value was detected from the client (+)."},
		{"3.4 a slash in a key does too", "GET", "accounts(accountnumber='A%2F1')", "", nil, 400, "0x80060888", "(/)"},
		{"trap 38: braces are refused", "GET", "accounts({" + acc1 + "})", "", nil, 400, "0x80060888", ""},
		{"trap 38: an id of zeros is refused", "GET", "accounts(00000000-0000-0000-0000-000000000000)", "", nil, 400, "0x80040203", ""},
		{"1.8 an alternate key is unique", "PATCH", "accounts(" + acc2 + ")", `{"accountnumber":"A-1"}`, nil, 412, "0x80060892", "The entity key contoso_AccNo requires that this set of attributes contains unique values."},
		{"3.4 case and trailing blanks do not make a key unique", "PATCH", "accounts(" + acc2 + ")", `{"accountnumber":"a-1  "}`, nil, 412, "0x80060892", ""},
		{"a row keeps its own key", "PATCH", acc, `{"accountnumber":"a-1"}`, nil, 204, "", ""},
		{"the body's id must be the row's", "PATCH", acc, `{"accountid":"` + acc2 + `"}`, nil, 400, "0x80040203", "Entity Id must be the same as the value set in property bag."},
		{"3.2 the owner cannot be cleared", "PATCH", acc, `{"ownerid@odata.bind":null}`, nil, 400, "0x80040200", ""},
		{"5.3 a nested row is refused on update", "PATCH", acc, `{"primarycontactid":{"lastname":"x"}}`, nil, 400, "0x80048d19", "Deep update"},
		{"3.5 a delete answers 204", "DELETE", "contacts(" + con2 + ")", "", nil, 204, "", ""},
		{"3.5 a missing row is not deleted", "DELETE", "contacts(" + none + ")", "", nil, 404, "0x80040217", ""},
		{"5.4 Restrict keeps the parent", "DELETE", acc, "", nil, 405, "0x80040227", "The object you tried to delete is associated with another object and cannot be deleted."},
		{"3.6 a property is read", "GET", acc + "/name", "", nil, 200, "", `"value":"One"`},
		{"3.6 a raw property is read", "GET", acc + "/name/$value", "", nil, 200, "", "One"},
		{"3.6 a null property answers 204", "GET", acc + "/description", "", nil, 204, "", ""},
		{"3.6 a property is written", "PUT", acc + "/name", `{"value":"x"}`, nil, 204, "", ""},
		{"3.6 a property is checked", "PUT", acc + "/accountcategorycode", `{"value":9}`, nil, 400, "0x8004431A", ""},
		{"3.6 a property is cleared", "DELETE", acc + "/name", "", nil, 204, "", ""},
		{"1.8 an unknown set is not found", "GET", "Accounts", "", nil, 404, "0x80060888", "Resource not found for the segment 'Accounts'."},
		{"1.2 a collection takes no PATCH", "PATCH", "accounts", `{}`, nil, 405, "0x80060888", ""},
		{"1.9 a function takes no POST", "POST", "WhoAmI", `{}`, nil, 404, "", "No HTTP resource was found that matches the request URI"},
		{"1.6 another content type is refused", "POST", "accounts", `<a/>`, []string{"Content-Type", "text/xml"}, 415, "0x80060888", ""},
		{"trap 36: an intersect table has no create", "POST", "contoso_account_contactset", `{"accountid":"` + acc1 + `"}`, nil, 400, "0x80040800", ""},
		{"4.5 both state and status", "PATCH", acc, `{"statecode":1,"statuscode":2}`, nil, 204, "", ""},
		{"4.5 a status of another state alone is refused", "PATCH", acc, `{"statuscode":2}`, nil, 400, "0x80048408", "2 is not a valid status code for state code AccountState.Active on account with Id " + acc1},
		{"4.5 a pair that does not match is refused", "PATCH", acc, `{"statecode":1,"statuscode":1}`, nil, 400, "0x80048408", "State code is invalid or state code is valid but status code is invalid for a specified state code."},
		{"4.5 a task is not created closed", "POST", "tasks", `{"subject":"x","statecode":1,"statuscode":5}`, nil, 400, "0x80048408", "5 is not a valid status code for state code TaskState.Open on task with Id"},
		{"4.5 a state alone is overridden on a new task", "POST", "tasks", `{"subject":"x","statecode":1}`, nil, 204, "", ""},
		{"4.13 a creation in the future is refused", "POST", "accounts", `{"overriddencreatedon":"2999-01-01T00:00:00Z"}`, nil, 400, "0x80040203", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := seeded(t)
			a := e.want(c.status, c.code, c.method, c.path, c.body, c.headers...)
			e.has(a, c.text)
		})
	}
}

func TestRowVersion(t *testing.T) {
	e := seeded(t)
	acc := "accounts(" + acc1 + ")?$select=name"
	tag := regexp.MustCompile(`"@odata.etag":"W/\\"(\d+)\\""`)
	first := tag.FindStringSubmatch(e.do("GET", acc, "").body)
	if first == nil {
		t.Fatal("the row has no etag")
	}
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"name":"One"}`, "If-Match", `W/"`+first[1]+`"`)
	second := tag.FindStringSubmatch(e.do("GET", acc, "").body)
	if second[1] == first[1] {
		t.Error("trap 16: an update with equal values left the version as it was")
	}
	if a := e.do("GET", acc, "", "If-None-Match", `W/"`+second[1]+`"`); a.status != 304 || a.body != "" {
		t.Errorf("3.7: a conditional read answered %d %s", a.status, a.body)
	}
}

func TestUpsertByKey(t *testing.T) {
	e := seeded(t)
	a := e.want(204, "", "PATCH", "accounts(accountnumber='NEW')", `{"name":"n"}`)
	if got, want := a.header.Get("OData-EntityId"), e.url+"/accounts(accountnumber='NEW')"; got != want {
		t.Errorf("3.3: OData-EntityId is %s, want the key form %s", got, want)
	}
	e.has(e.do("GET", "accounts(accountnumber='new')?$select=name,accountnumber", ""), `"name":"n"`, `"accountnumber":"NEW"`)
	e.want(204, "", "PATCH", "accounts(accountnumber='NEW')", `{"name":"m","accountnumber":"OTHER"}`)
	e.has(e.do("GET", "accounts(accountnumber='NEW')?$select=name", ""), `"name":"m"`)
	e.want(204, "", "PATCH", "accounts(accountnumber='URL')", `{"accountnumber":"BODY"}`)
	e.want(404, "0x80060891", "GET", "accounts(accountnumber='URL')", "")
	e.want(200, "", "GET", "accounts(accountnumber='BODY')", "")
	e.has(e.want(201, "", "PATCH", "accounts(accountnumber='URL2')?$select=accountnumber", `{"accountnumber":"BODY2"}`, "Prefer", "return=representation"), `"accountnumber":"BODY2"`)
}

func TestRepresentation(t *testing.T) {
	e := start(t)
	a := e.want(201, "", "POST", "accounts?$select=name", `{"name":"x"}`, "Prefer", "return=representation")
	e.has(a, `"@odata.etag":"W/\"`, `"name":"x"`, `"accountid":"`)
	if a.header.Get("OData-EntityId") != "" {
		t.Error("3.1: OData-EntityId came with the representation")
	}
	if a.header.Get("Preference-Applied") != "return=representation" {
		t.Errorf("1.3: Preference-Applied is %q", a.header.Get("Preference-Applied"))
	}
}

func TestCreatedOnSwap(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","overriddencreatedon":"2019-02-03T04:05:06Z"}`)
	a := e.do("GET", "accounts("+acc1+")?$select=createdon,overriddencreatedon", "")
	e.has(a, `"createdon":"2019-02-03T04:05:06Z"`)
	if strings.Contains(a.body, `"overriddencreatedon":"2019`) || strings.Contains(a.body, `"overriddencreatedon":null`) {
		t.Errorf("4.13: overriddencreatedon does not hold the real time: %s", a.body)
	}
}

func TestAutoNumber(t *testing.T) {
	e := start(t)
	form := regexp.MustCompile(`"contoso_name":"SO-0100[01]-[A-Z0-9]{4}-\d{8}"`)
	for range 2 {
		a := e.do("POST", "contoso_orders?$select=contoso_name", `{}`, "Prefer", "return=representation")
		if !form.MatchString(a.body) {
			t.Errorf("4.10: %s", a.body)
		}
	}
	a := e.do("POST", "contoso_orders?$select=contoso_name", `{"contoso_name":"SO-1"}`, "Prefer", "return=representation")
	e.has(a, `"contoso_name":"SO-1"`)
}

func TestClosedActivity(t *testing.T) {
	e := seeded(t)
	task := "tasks(" + tsk1 + ")"
	e.want(204, "", "PATCH", task, `{"statecode":1,"statuscode":5}`)
	e.want(400, "0x80040230", "PATCH", task, `{"subject":"late"}`)
	e.want(204, "", "PATCH", task, `{"statecode":0,"statuscode":2,"subject":"open again"}`)
	e.want(204, "", "PATCH", task, `{"subject":"fine"}`)
}

func TestDeleteCascades(t *testing.T) {
	e := seeded(t)
	e.want(204, "", "DELETE", "contoso_orders("+ord1+")", "")
	e.want(204, "", "PATCH", "accounts("+acc2+")", `{"parentaccountid@odata.bind":"accounts(`+acc1+`)"}`)
	e.want(204, "", "POST", "accounts("+acc1+")/contoso_account_contact/$ref", `{"@odata.id":"`+e.url+`/contacts(`+con2+`)"}`)
	e.want(204, "", "DELETE", "accounts("+acc1+")", "")
	e.want(404, "0x80040217", "GET", "contacts("+con1+")", "")
	e.has(e.do("GET", "accounts("+acc2+")?$select=_parentaccountid_value", ""), `"_parentaccountid_value":null`)
	if n := e.srv.store.links[0][0].n; n != 0 {
		t.Errorf("5.4: %d links of a deleted row are left", n)
	}
}

func TestReferences(t *testing.T) {
	e := seeded(t)
	link := "accounts(" + acc1 + ")/contoso_account_contact/$ref"
	body := `{"@odata.id":"` + e.url + `/contacts(` + con2 + `)"}`
	e.want(204, "", "POST", link, body)
	e.want(412, "0x80040237", "POST", link, body)
	e.want(412, "0x80040237", "POST", "contacts("+con2+")/contoso_account_contact/$ref", `{"@odata.id":"accounts(`+acc1+`)"}`)
	e.want(404, "0x80040217", "POST", link, `{"@odata.id":"contacts(`+gid(9, 9)+`)"}`)
	e.want(404, "0x80060888", "POST", link, `{"@odata.id":"accounts(`+acc2+`)"}`)
	e.want(204, "", "DELETE", "accounts("+acc1+")/contoso_account_contact("+con2+")/$ref", "")
	e.want(404, "0x80040217", "DELETE", link+"?$id="+e.url+"/contacts("+con2+")", "")
	e.want(204, "", "POST", "contacts("+con1+")/contoso_friends_one/$ref", `{"@odata.id":"contacts(`+con2+`)"}`)
	e.want(204, "", "POST", "contacts("+con2+")/contoso_friends_one/$ref", `{"@odata.id":"contacts(`+con1+`)"}`)
	if n := e.srv.store.links[1][0].n; n != 2 {
		t.Errorf("5.1: direction does not matter in a self-referencing relationship: %d links, want 2", n)
	}
	single := "contacts(" + con2 + ")/parentcustomerid_account/$ref"
	e.want(204, "", "PUT", single, `{"@odata.id":"accounts(`+acc2+`)"}`)
	e.has(e.do("GET", "contacts("+con2+")?$select=_parentcustomerid_value", ""), acc2)
	e.want(204, "", "DELETE", single, "")
	e.has(e.do("GET", "contacts("+con2+")?$select=_parentcustomerid_value", ""), `"_parentcustomerid_value":null`)
	e.want(204, "", "POST", "accounts("+acc2+")/contact_customer_accounts/$ref", `{"@odata.id":"contacts(`+con2+`)"}`)
	e.has(e.do("GET", "contacts("+con2+")?$select=_parentcustomerid_value", ""), acc2)
}

func TestDeepInsert(t *testing.T) {
	e := seeded(t)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+gid(1, 5)+`","primarycontactid":{"lastname":"Boss"},
		"contact_customer_accounts":[{"lastname":"A"},{"lastname":"B","email`+`address1":"b@x"}],
		"contoso_account_contact@odata.bind":["contacts(`+con1+`)","contacts(`+con2+`)"]}`)
	rows := e.srv.Stats()
	if rows.Rows["contact"] != 5 || rows.Links["contoso_account_contact"] != 2 {
		t.Errorf("5.3: %v %v", rows.Rows, rows.Links)
	}
	e.want(412, "0x80060892", "POST", "accounts", `{"primarycontactid":{"lastname":"Lost"},"accountnumber":"A-1"}`)
	e.want(404, "0x80040217", "POST", "accounts", `{"contact_customer_accounts":[{"lastname":"Lost","ownerid@odata.bind":"teams(`+gid(9, 9)+`)"}]}`)
	if after := e.srv.Stats(); after.Rows["contact"] != 5 || after.Rows["account"] != 3 {
		t.Errorf("5.3: a deep insert that failed left rows: %v", after.Rows)
	}
}

func TestActivityParties(t *testing.T) {
	e := seeded(t)
	id := gid(5, 1)
	e.want(204, "", "POST", "emails", `{"activityid":"`+id+`","subject":"Hi","email_activity_parties":[
		{"partyid_systemuser@odata.bind":"systemusers(`+UserID.String()+`)","participationtypemask":1},{"addressused":"x@y.z","participationtypemask":2}]}`)
	e.want(204, "", "PUT", "emails("+id+")/email_activity_parties", `{"value":[{"partyid_contact@odata.bind":"contacts(`+con1+`)","participationtypemask":2}]}`)
	if n := e.srv.Stats().Rows["activityparty"]; n != 1 {
		t.Errorf("4.8: %d parties after replacing them, want 1", n)
	}
	e.want(400, "0x80040800", "POST", "activityparties", `{"participationtypemask":1}`)
}

func TestAutoNumberSeed(t *testing.T) {
	e := start(t)
	column := `"EntityName":"contoso_order","AttributeName":"contoso_name"`
	e.want(204, "", "POST", "SetAutoNumberSeed", `{`+column+`,"Value":10000}`)
	e.has(e.do("POST", "GetNextAutoNumberValue", `{`+column+`}`), `"NextAutoNumberValue":10000`)
	e.has(e.do("POST", "contoso_orders?$select=contoso_name", `{}`, "Prefer", "return=representation"), `"contoso_name":"SO-10000`)
	e.want(400, "0x80041103", "POST", "SetAutoNumberSeed", `{"EntityName":"account","AttributeName":"name","Value":1}`)
}

func TestImpersonation(t *testing.T) {
	e := start(t)
	ann := gid(8, 1)
	e.want(204, "", "POST", "systemusers", `{"systemuserid":"`+ann+`","firstname":"Ann"}`)
	a := e.do("POST", "accounts?$select=_createdby_value,_createdonbehalfby_value,_ownerid_value", `{}`, "Prefer", "return=representation", "MSCRMCallerID", ann)
	e.has(a, `"_createdby_value":"`+ann+`"`, `"_createdonbehalfby_value":"`+UserID.String()+`"`, `"_ownerid_value":"`+ann+`"`)
	e.want(403, "0x80072560", "POST", "accounts", `{}`, "MSCRMCallerID", gid(9, 9))
}

func TestOwners(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "systemusers", `{"systemuserid":"`+gid(8, 1)+`","isdisabled":true}`)
	e.want(204, "", "POST", "teams", `{"teamid":"`+gid(8, 2)+`","teamtype":1}`)
	e.want(400, "0x8004022B", "POST", "accounts", `{"ownerid@odata.bind":"systemusers(`+gid(8, 1)+`)"}`)
	e.want(400, "0x80040229", "POST", "accounts", `{"ownerid@odata.bind":"teams(`+gid(8, 2)+`)"}`)
}

func TestStateTransitions(t *testing.T) {
	e := start(t, func(o *Options) {
		order := o.Schema.Table("contoso_order")
		order.StateTransitions = true
		order.Column("statuscode").Options[1].Next = []int32{3} // from Inactive only to a status that Active lacks
	})
	e.want(204, "", "POST", "contoso_orders", `{"contoso_orderid":"`+ord1+`","statecode":1}`)
	e.want(400, "0x8004F00E", "PATCH", "contoso_orders("+ord1+")", `{"statecode":0}`)
}

func TestBodyTooLarge(t *testing.T) {
	e := start(t, func(o *Options) { o.MaxBody = 100 })
	e.want(413, "0x8004418A", "POST", "accounts", `{"description":"`+strings.Repeat("x", 100)+`"}`)
}

func TestBaseFollowsTheCurrency(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "transactioncurrencies", `{"transactioncurrencyid":"`+gid(7, 1)+`","exchangerate":2}`)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","revenue":10}`)
	e.has(e.do("GET", "accounts("+acc1+")?$select=revenue_base", ""), `"revenue_base":10.0000`)
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"transactioncurrencyid@odata.bind":"transactioncurrencies(`+gid(7, 1)+`)"}`)
	e.has(e.do("GET", "accounts("+acc1+")?$select=revenue,revenue_base", ""), `"revenue":10.0000`, `"revenue_base":5.0000`)
}

func TestActivityPointers(t *testing.T) {
	e := seeded(t, func(o *Options) {
		pointer := tableOf("activitypointer", "ActivityPointer", "activitypointers", "activityid", "subject", text("subject", 200), col("activitytypecode", schema.TableName))
		pointer.Kind = schema.Activity
		o.Schema, _ = schema.New(append(worldTables(), pointer), nil)
	})
	e.want(204, "", "POST", "emails", `{"activityid":"`+gid(3, 2)+`","subject":"Hi"}`)
	a := e.want(200, "", "GET", "activitypointers?$select=subject,activitytypecode", "")
	e.has(a, `"subject":"Call","activitytypecode":"task"`, `"subject":"Hi","activitytypecode":"email"`)
	e.has(e.want(200, "", "GET", "activitypointers("+gid(3, 2)+")?$select=subject", ""), `"subject":"Hi"`)
	e.want(400, "0x80040800", "POST", "activitypointers", `{"subject":"x"}`)
	e.want(400, "0x80040800", "DELETE", "activitypointers("+gid(3, 2)+")", "")
	e.want(400, "0x80040800", "PATCH", "activitypointers("+gid(3, 2)+")", `{"subject":"x"}`, "If-Match", "*")
}

func TestClosingActions(t *testing.T) {
	e := start(t, func(o *Options) {
		incident := tableOf("incident", "Incident", "incidents", "incidentid", "title", join([]*schema.Column{text("title", 200)}, ownerColumns(),
			stateColumns(schema.Option{Value: 0, Label: "Active", DefaultStatus: ptr(int32(1))}, schema.Option{Value: 1, Label: "Resolved", DefaultStatus: ptr(int32(5))}))...)
		resolution := tableOf("incidentresolution", "IncidentResolution", "incidentresolutions", "activityid", "subject", text("subject", 200), lookup("incidentid", "incident"))
		resolution.Kind = schema.Activity
		resolution.ManyToOne = []schema.Relationship{rel("incidentid", "incident", "incidentid", "Incident_IncidentResolutions", "Cascade")}
		o.Schema, _ = schema.New(append(worldTables(), incident, resolution), nil)
	})
	row := "incidents(" + acc1 + ")"
	e.want(204, "", "POST", "incidents", `{"incidentid":"`+acc1+`","title":"x"}`)
	e.want(400, "0x80040203", "PATCH", row, `{"statecode":1,"statuscode":5}`)
	e.want(400, "0x80048408", "POST", "CloseIncident", `{"Status":1,"IncidentResolution":{"incidentid@odata.bind":"/`+row+`"}}`)
	e.want(204, "", "POST", "CloseIncident", `{"Status":5,"IncidentResolution":{"subject":"done","incidentid@odata.bind":"/`+row+`"}}`)
	e.has(e.do("GET", row+"?$select=statecode,statuscode", ""), `"statecode":1`, `"statuscode":5`)
	if n := e.srv.Stats().Rows["incidentresolution"]; n != 1 {
		t.Errorf("%d resolutions, want the one of the close that was taken", n)
	}
	e.want(404, "", "POST", "WinOpportunity", `{"Status":3}`) // no such table here
}

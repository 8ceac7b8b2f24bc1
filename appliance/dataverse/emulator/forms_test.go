package emulator

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestWaysToTheService are addresses as clients make them of an environment's URL.
func TestWaysToTheService(t *testing.T) {
	e := seeded(t)
	org, _, _ := strings.Cut(e.url, apiPrefix)
	for _, c := range []struct {
		path   string
		status int
		code   string
	}{
		{"//api/data/v9.2/WhoAmI", 200, ""}, {"/API/Data/V9.2/WhoAmI", 200, ""}, {"/api/data/v9.0/WhoAmI", 200, ""}, {"/api/data/v8.2/WhoAmI()", 200, ""},
		{"/api/data/v9.2//accounts", 200, ""}, {"/api/data/v9.2/accounts/", 200, ""}, {"/api/data/v9.2", 200, ""}, {"/api/data/v9.2/", 200, ""},
		{"/api/data/v9.2//accounts(" + acc1 + ")//name", 200, ""},
		{"/api/data/v9.3/WhoAmI", 404, ""}, {"/api/data/v7.0/WhoAmI", 404, ""}, {"/api/data/", 404, ""}, {"/api", 404, ""}, {"/", 404, ""},
		{"/api/data/v9.2/whoami", 404, "0x80060888"}, {"/api/data/v9.2/$metadata/x", 404, "0x80060888"}, {"/api/data/v9.2/$batch/x", 404, "0x80060888"},
	} {
		t.Run(c.path, func(t *testing.T) {
			(&env{t, e.srv, org}).want(c.status, c.code, "GET", strings.TrimPrefix(c.path, "/"), "")
		})
	}
}

// TestEntityIDIsAURL: the key of an upsert comes back in OData-EntityId, encoded as a URL
// needs it (section 3.3).
func TestEntityIDIsAURL(t *testing.T) {
	e := start(t)
	for sent, want := range map[string]string{"A-1": "A-1", "A%201": "A%201", "a b": "a%20b", "P%231": "P%231", "%C3%BC": "%C3%BC", "O%27%27B": "O''B", "a,b(c)": "a,b(c)", "%7Bx%7D": "%7Bx%7D"} {
		a := e.want(204, "", "PATCH", "accounts(accountnumber='"+strings.ReplaceAll(sent, " ", "%20")+"')", `{"name":"x"}`)
		id := a.header.Get("OData-EntityId")
		if id != e.url+"/accounts(accountnumber='"+want+"')" {
			t.Errorf("%s: OData-EntityId %s, want %s in it", sent, id, want)
		}
		if _, err := url.Parse(id); err != nil {
			t.Error(err)
		}
		e.want(200, "", "GET", strings.TrimPrefix(id, e.url+"/")+"?$select=name", "")
	}
}

// TestNothingOfACollection asks for no rows.
func TestNothingOfACollection(t *testing.T) {
	e := seeded(t)
	for path, want := range map[string]string{
		"accounts?$top=0&$count=true": `"@odata.count":2,"value":[]}`, "accounts?$top=0&$orderby=name": `"value":[]}`,
		"sdkmessages?$top=0": `"value":[]}`, "contacts?$top=0&$filter=lastname%20eq%20'Ek'": `"value":[]}`,
	} {
		if a := e.want(200, "", "GET", path, ""); !strings.HasSuffix(a.body, want) {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

// TestSelectOfALookup: the lookup's navigation property stands for the lookup.
func TestSelectOfALookup(t *testing.T) {
	e := seeded(t)
	for nav, want := range map[string]string{
		"parentcustomerid_account": `"_parentcustomerid_value":"` + acc1 + `"`, "_parentcustomerid_value": `"_parentcustomerid_value":"` + acc1 + `"`,
		"ownerid": `"_ownerid_value":"` + UserID.String() + `"`, "contact_customer_contacts": `"contactid":"` + con1 + `"`,
	} {
		a := e.want(200, "", "GET", "contacts("+con1+")?$select="+nav, "")
		if e.has(a, want); strings.Contains(a.body, "firstname") {
			t.Errorf("$select=%s brings more: %s", nav, a.body)
		}
	}
}

// TestHeadersAreSpelt: names of headers are those of the service also where they are text,
// for clients that compare them as they stand.
func TestHeadersAreSpelt(t *testing.T) {
	e := seeded(t)
	a := e.want(200, "", "POST", "$batch", batch(part("GET accounts("+acc1+")?$select=name", "")), "Content-Type", batchType)
	e.has(a, "\r\nETag: W/", "\r\nOData-Version: 4.0\r\n")
}

// TestWhatIsJSON are content types of a write, and values as $value answers them.
func TestWhatIsJSON(t *testing.T) {
	e := seeded(t)
	for typ, status := range map[string]int{
		"application/json": 204, "application/json; charset=utf-8": 204, "Application/JSON;IEEE754Compatible=true": 204, "application/json ; type=entry": 204,
		"application/jsonx": 415, "text/json": 415, "application/atom+xml": 415,
	} {
		e.want(status, map[int]string{415: "0x80060888"}[status], "POST", "accounts", `{"name":"x"}`, "Content-Type", typ)
	}
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"revenue":1000.5,"contoso_rating":1.25,"numberofemployees":7}`)
	for column, want := range map[string]string{"revenue": "1000.5000", "contoso_rating": "1.25", "numberofemployees": "7", "name": "One", "creditonhold": "false"} {
		if a := e.want(200, "", "GET", "accounts("+acc1+")/"+column+"/$value", ""); a.body != want {
			t.Errorf("%s/$value answers %s, want %s", column, a.body, want)
		}
	}
}

// TestParametersInline are objects and lists between a function's brackets, where most
// clients use an alias (section 1.5).
func TestParametersInline(t *testing.T) {
	e := seeded(t)
	for path, want := range map[string]string{
		`RetrieveMetadataChanges(Query={"Criteria":{"FilterOperator":"And","Conditions":[{"ConditionOperator":"Equals","PropertyName":"LogicalName","Value":{"Type":"System.String","Value":"account"}}]},"Properties":{"AllProperties":false,"PropertyNames":["LogicalName","EntitySetName"]}},ClientVersionStamp=null)`: `"EntitySetName":"accounts"`,
		`RetrieveTotalRecordCount(EntityNames=["account","contact"])`: `"Values":[2,2]`,
		`RetrieveTotalRecordCount(EntityNames=['account'])`:           `"Values":[2]`,
	} {
		e.has(e.want(200, "", "GET", url.PathEscape(path), ""), want)
	}
}

// TestPostToACollection makes a row at the other end of a collection.
func TestPostToACollection(t *testing.T) {
	e := seeded(t)
	acc := "accounts(" + acc1 + ")"
	new1, new2 := gid(5, 1), gid(5, 2)
	a := e.want(204, "", "POST", acc+"/contact_customer_accounts", `{"contactid":"`+new1+`","lastname":"Child"}`)
	if got := a.header.Get("OData-EntityId"); got != e.url+"/contacts("+new1+")" {
		t.Errorf("OData-EntityId %s", got)
	}
	e.has(e.want(200, "", "GET", "contacts("+new1+")?$select=lastname,_parentcustomerid_value", ""), `"_parentcustomerid_value":"`+acc1+`"`)
	a = e.want(201, "", "POST", acc+"/contoso_account_contact?$select=lastname", `{"contactid":"`+new2+`","lastname":"Linked"}`, "Prefer", "return=representation")
	e.has(a, `#contacts(lastname)/$entity`, `"lastname":"Linked"`)
	e.has(e.want(200, "", "GET", acc+"/contoso_account_contact?$select=lastname", ""), `"Linked"`)
	e.want(404, "0x80040217", "POST", "accounts("+gid(9, 9)+")/contact_customer_accounts", `{"lastname":"x"}`)
	e.want(400, "0x80048d19", "POST", acc+"/contact_customer_accounts", `{"name":"x"}`)
	e.want(405, "0x80060888", "POST", acc+"/primarycontactid", `{"lastname":"x"}`)
	e.want(405, "0x80060888", "POST", acc+"/contact_customer_accounts("+con1+")", `{"lastname":"x"}`)
}

// TestActionsBodies: what is wrong with a body is said in the service's words.
func TestActionsBodies(t *testing.T) {
	e := seeded(t)
	for _, c := range []struct{ action, body, code, text string }{
		{"GrantAccess", `{"Target":5}`, "0x80048d19", "reading the value of property 'Target'"},
		{"GrantAccess", `{`, "0x80048d19", "Invalid JSON."}, {"GrantAccess", `{"Target":{}} x`, "0x80048d19", "More than one value"},
		{"InitializeFileBlocksUpload", `{"FileAttributeName":"x"}`, "0x80040203", "'Target' is missing"}, {"SetAutoNumberSeed", `{"Value":"x"}`, "0x80048d19", "property 'Value'"},
		{"EntityDefinitions", `[]`, "0x80048d19", "property 'value'"}, {"BulkDelete", `{"QuerySet":{}}`, "0x80048d19", "property 'QuerySet'"},
	} {
		a := e.want(400, c.code, "POST", c.action, c.body)
		if e.has(a, c.text); strings.Contains(a.body, "json:") || strings.Contains(a.body, "emulator.") {
			t.Errorf("%s %s: %s", c.action, c.body, a.body)
		}
	}
}

// TestContextOfExpand: the context of an answer names what is expanded in it.
func TestContextOfExpand(t *testing.T) {
	e := seeded(t)
	e.has(e.want(200, "", "GET", "EntityDefinitions?$select=LogicalName&$expand=Keys($select=SchemaName,KeyAttributes),Attributes($select=LogicalName)", ""),
		`#EntityDefinitions(LogicalName,Keys(SchemaName,KeyAttributes),Attributes(LogicalName))"`)
}

// TestErrorAnnotations: an error has the annotations that were asked for, and no others
// (section 1.7).
func TestErrorAnnotations(t *testing.T) {
	e := start(t)
	all := []string{"HelpLink", "TraceText", "InnerError.Message"}
	for asked, want := range map[string][]string{
		"*": all, "Microsoft.PowerApps.CDS.*": all, "Microsoft.PowerApps.CDS.HelpLink": {"HelpLink"}, "Microsoft.PowerApps.CDS.ErrorDetails.*": nil,
		"OData.Community.Display.V1.FormattedValue": nil, "Microsoft.PowerApps.CDS.TraceText,Microsoft.PowerApps.CDS.InnerError.*": {"TraceText", "InnerError.Message"},
	} {
		a := e.want(404, "0x80040217", "GET", "accounts("+gid(9, 9)+")", "", "Prefer", `odata.include-annotations="`+asked+`"`)
		for _, name := range all {
			if strings.Contains(a.body, `"@Microsoft.PowerApps.CDS.`+name+`"`) != slices.Contains(want, name) {
				t.Errorf("%s was asked for: %s", asked, a.body)
			}
		}
	}
}

// TestOrderOfChecks: a body that cannot be parsed is refused as such, wherever in it that
// shows; then comes the first value that is not valid; then what the store says.
func TestOrderOfChecks(t *testing.T) {
	e := seeded(t)
	long := `"name":"` + strings.Repeat("x", 161) + `"`
	nobody := `"primarycontactid@odata.bind":"contacts(` + gid(9, 9) + `)"`
	for _, c := range []struct{ body, code, text string }{
		{`{` + long + `,"nosuch":1}`, "0x80048d19", "nosuch"}, {`{` + long + `,"numberofemployees":"x"}`, "0x80048d19", "Edm.Int32"},
		{`{"accountcategorycode":99,` + long + `}`, "0x8004431A", "accountcategorycode"}, {`{` + long + `,"accountcategorycode":99}`, "0x80044331", "'name'"},
		{`{` + long, "0x80048d19", "Invalid JSON."}, {`{` + long + `} x`, "0x80048d19", "More than one value"}, {`{` + long + `,` + nobody + `}`, "0x80044331", "'name'"},
		{`{"ownerid@odata.bind":null,"nosuch":1}`, "0x80048d19", "nosuch"}, {`{"contact_customer_accounts":[{"lastname":"` + strings.Repeat("x", 51) + `"}],"nosuch":1}`, "0x80048d19", "nosuch"},
	} {
		for _, path := range []string{"POST accounts", "PATCH accounts(" + acc1 + ")"} {
			method, set, _ := strings.Cut(path, " ")
			if method == "PATCH" && strings.Contains(c.body, "contact_customer_accounts") {
				continue
			}
			e.has(e.want(400, c.code, method, set, c.body), c.text)
		}
	}
	const typed = `"@odata.type":"Microsoft.Dynamics.CRM.account",`
	e.has(e.want(400, "0x80048d19", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[{`+typed+long+`},{`+typed+`"nosuch":1}]}`), "nosuch")
	e.has(e.want(400, "0x80044331", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[{`+typed+`"name":"x"},{`+typed+long+`}]}`), "'name'")
	e.want(400, "0x80044331", "PUT", "accounts("+acc1+")/name", `{"value":"`+strings.Repeat("x", 161)+`"}`)
	e.want(400, "0x80040200", "DELETE", "contacts("+con1+")/ownerid/$ref", "")
	e.want(404, "0x80040217", "POST", "accounts", `{"name":"x",`+nobody+`}`)
}

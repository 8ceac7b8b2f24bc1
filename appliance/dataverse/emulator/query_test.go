package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// orgChart fills an environment with five accounts (A1 to A5), three contacts and
// what links them.
func orgChart(t testing.TB) *env {
	t.Helper()
	e := start(t)
	post := func(set, body string) { e.want(204, "", "POST", set, body) }
	post("contacts", `{"contactid":"`+gid(2, 1)+`","firstname":"Ann","lastname":"Ek","emailaddress1":"ann@x.io"}`)
	post("contacts", `{"contactid":"`+gid(2, 2)+`","firstname":"Bo","lastname":"Roth","emailaddress1":"bo@x.io"}`)
	post("contacts", `{"contactid":"`+gid(2, 3)+`","firstname":"Cy","lastname":"O'Neil","emailaddress1":"cy@x.io"}`)
	rows := []string{
		`"name":"Alpha","accountnumber":"A-1","numberofemployees":10,"revenue":100.5,"accountcategorycode":1,"creditonhold":true,"contoso_founded":"2000-01-31","contoso_seen":"2024-05-31T22:00:00Z","contoso_rating":1.5,"contoso_tags":"100000000,100000002","primarycontactid@odata.bind":"contacts(` + gid(2, 1) + `)"`,
		`"name":"beta","accountnumber":"A-2","numberofemployees":20,"revenue":200,"accountcategorycode":2,"contoso_founded":"2010-06-01","contoso_seen":"2024-06-01T00:00:00Z","contoso_rating":2,"contoso_tags":"100000001","primarycontactid@odata.bind":"contacts(` + gid(2, 2) + `)"`,
		`"name":"Gamma","accountnumber":"A-3","numberofemployees":30,"accountcategorycode":2,"contoso_big":9007199254740993`,
		`"name":"O'Delta","accountnumber":"A-4","address1_latitude":47.5`,
		`"accountnumber":"A-5","parentaccountid@odata.bind":"accounts(` + gid(1, 1) + `)"`,
	}
	for i, r := range rows {
		post("accounts", `{"accountid":"`+gid(1, i+1)+`",`+r+`}`)
	}
	e.want(204, "", "PATCH", "contacts("+gid(2, 1)+")", `{"parentcustomerid_account@odata.bind":"accounts(`+gid(1, 1)+`)"}`)
	e.want(204, "", "PATCH", "contacts("+gid(2, 2)+")", `{"parentcustomerid_account@odata.bind":"accounts(`+gid(1, 1)+`)"}`)
	e.want(204, "", "POST", "accounts("+gid(1, 1)+")/contoso_account_contact/$ref", `{"@odata.id":"`+e.url+`/contacts(`+gid(2, 3)+`)"}`)
	return e
}

type collection struct {
	Context   string           `json:"@odata.context"`
	Count     *int             `json:"@odata.count"`
	Next      string           `json:"@odata.nextLink"`
	Delta     string           `json:"@odata.deltaLink"`
	More      bool             `json:"@Microsoft.Dynamics.CRM.morerecords"`
	Cookie    string           `json:"@Microsoft.Dynamics.CRM.fetchxmlpagingcookie"`
	Value     []map[string]any `json:"value"`
	Exceeded  *bool            `json:"@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"`
	TotalRows *int             `json:"@Microsoft.Dynamics.CRM.totalrecordcount"`
}

func (e *env) list(path string, headers ...string) collection {
	e.t.Helper()
	a := e.want(200, "", "GET", path, "", headers...)
	var c collection
	if err := json.Unmarshal([]byte(a.body), &c); err != nil {
		e.t.Fatalf("GET %s: %v\n%s", path, err, a.body)
	}
	return c
}

// numbers lists the account numbers of the answer's rows, less their "A-".
func (c collection) numbers() string {
	var b strings.Builder
	for _, r := range c.Value {
		n, _ := r["accountnumber"].(string)
		b.WriteString(strings.TrimPrefix(n, "A-"))
	}
	return b.String()
}

func query(options ...string) string {
	var parts []string
	for i := 0; i < len(options); i += 2 {
		parts = append(parts, options[i]+"="+escapeOption(options[i+1]))
	}
	return strings.Join(parts, "&")
}

// TestFilter tries the grammar of section 10.1.
func TestFilter(t *testing.T) {
	e := orgChart(t)
	for _, c := range []struct{ filter, want string }{
		{"accountnumber eq 'A-2'", "2"},
		{"name eq 'BETA'", "2"},    // without regard to case
		{"name eq 'Alpha  '", "1"}, // and trailing blanks
		{"name eq 'O''Delta'", "4"},
		{"name ne 'Alpha'", "2345"}, // ne takes null along
		{"name eq null", "5"},
		{"name ne null", "1234"},
		{"numberofemployees gt 10", "23"},
		{"numberofemployees ge 10 and numberofemployees lt 30", "12"},
		{"numberofemployees le 10 or numberofemployees gt 20", "13"},
		{"30 eq numberofemployees", "3"},
		{"numberofemployees gt 15.5", "23"},
		{"not (numberofemployees gt 10)", "145"},
		{"not(numberofemployees gt 10)", "145"},
		{"not contains(name,'a')", "5"},
		{"contains(name,'ET')", "2"},
		{"contains(name,'elt')", "4"},
		{"startswith(name,'al') or endswith(name,'MA')", "13"},
		{"creditonhold eq true", "1"},
		{"creditonhold", "1"},
		{"accountcategorycode eq 2", "23"},
		{"revenue gt 100.50", "2"},
		{"revenue eq 100.5", "1"},
		{"contoso_rating eq 2.0000", "2"},
		{"contoso_big eq 9007199254740993", "3"},
		{"contoso_big eq 9007199254740992", ""},
		{"address1_latitude gt 47.4", "4"},
		{"contoso_founded lt 2005-01-01", "1"},
		{"contoso_seen ge 2024-06-01", "2"},
		{"contoso_seen eq 2024-06-01T00:00:00+02:00", "1"},
		{"createdon gt 2020-01-01T00:00:00Z", "12345"},
		{"statecode eq 0 and statuscode eq 1", "12345"},
		{"accountid eq " + gid(1, 3), "3"},
		{"accountid eq " + gid(1, 3) + " or accountid eq " + gid(1, 1) + " or accountid eq " + gid(1, 3), "13"},
		{"accountid eq " + strings.ToUpper(gid(1, 3)), "3"},
		{"_primarycontactid_value eq " + gid(2, 2), "2"},
		{"_primarycontactid_value ne null", "12"},
		{"primarycontactid/contactid eq " + gid(2, 2), "2"},
		{"primarycontactid/firstname eq 'ann'", "1"},
		{"primarycontactid/fullname eq 'Bo Roth'", "2"},
		{"primarycontactid/firstname eq null", "345"},
		{"_ownerid_value eq " + UserID.String(), "12345"},
		{"ownerid/ownerid eq " + UserID.String(), "12345"},
		{"Microsoft.Dynamics.CRM.In(PropertyName='accountnumber',PropertyValues=['A-1','A-9','a-3'])", "13"},
		{`Microsoft.Dynamics.CRM.In(PropertyName="accountnumber",PropertyValues=["A-1","A-3"])`, "13"},
		{"Microsoft.Dynamics.CRM.In(PropertyName='accountid',PropertyValues=['" + gid(1, 2) + "','" + gid(1, 5) + "'])", "25"},
		{"Microsoft.Dynamics.CRM.In(PropertyName='numberofemployees',PropertyValues=['10','30'])", "13"},
		{"Microsoft.Dynamics.CRM.NotIn(PropertyName='numberofemployees',PropertyValues=['10','30'])", "245"},
		{"Microsoft.Dynamics.CRM.Between(PropertyName='numberofemployees',PropertyValues=['10','20'])", "12"},
		{"Microsoft.Dynamics.CRM.NotBetween(PropertyName='numberofemployees',PropertyValues=['10','20'])", "3"},
		{"Microsoft.Dynamics.CRM.ContainValues(PropertyName='contoso_tags',PropertyValues=['100000002','100000001'])", "12"},
		{"Microsoft.Dynamics.CRM.DoesNotContainValues(PropertyName='contoso_tags',PropertyValues=['100000002'])", "2345"},
		{"Microsoft.Dynamics.CRM.EqualUserId(PropertyName='ownerid')", "12345"},
		{"Microsoft.Dynamics.CRM.EqualUserId(PropertyName='_ownerid_value')", "12345"},
		{"Microsoft.Dynamics.CRM.In(PropertyName='primarycontactid',PropertyValues=['" + gid(2, 2) + "'])", "2"},
		{"Microsoft.Dynamics.CRM.EqualBusinessId(PropertyName='owningbusinessunit')", "12345"},
		{"Microsoft.Dynamics.CRM.EqualUserTeams(PropertyName='ownerid')", ""},
		{"Microsoft.Dynamics.CRM.EqualUserOrUserTeams(PropertyName='ownerid')", "12345"},
		{"Microsoft.Dynamics.CRM.EqualUserOrUserHierarchyAndTeams(PropertyName='ownerid')", "12345"},
		{"Microsoft.Dynamics.CRM.NotUnder(PropertyName='accountid',PropertyValue='" + gid(1, 1) + "')", "1234"},
		{"Microsoft.Dynamics.CRM.ThisFiscalYear(PropertyName='createdon')", "12345"},
		{"Microsoft.Dynamics.CRM.NextFiscalPeriod(PropertyName='createdon')", ""},
		{"Microsoft.Dynamics.CRM.InFiscalPeriodAndYear(PropertyName='contoso_seen',PropertyValue1=2,PropertyValue2=2024)", "12"},
		{"Microsoft.Dynamics.CRM.InOrBeforeFiscalPeriodAndYear(PropertyName='contoso_founded',PropertyValue1=1,PropertyValue2=2000)", "1"},
		{"Microsoft.Dynamics.CRM.InFiscalYear(PropertyName='contoso_founded',PropertyValue=2010)", "2"},
		{"contact_customer_accounts/any(c:Microsoft.Dynamics.CRM.In(PropertyName='firstname',PropertyValues=['Bo']))", "1"},
		{"contact_customer_accounts/any(c:(c/Microsoft.Dynamics.CRM.In(PropertyName='firstname',PropertyValues=['Bo'])))", "1"},
		{"Microsoft.Dynamics.CRM.Today(PropertyName='createdon')", "12345"},
		{"Microsoft.Dynamics.CRM.LastXDays(PropertyName='createdon',PropertyValue=3)", "12345"},
		{"Microsoft.Dynamics.CRM.OlderThanXMonths(PropertyName='contoso_seen',PropertyValue=1)", "12"},
		{"Microsoft.Dynamics.CRM.OnOrAfter(PropertyName='contoso_seen',PropertyValue='2024-06-01')", "2"},
		{"Microsoft.Dynamics.CRM.On(PropertyName='contoso_seen',PropertyValue='2024-05-31')", "1"},
		{"Microsoft.Dynamics.CRM.Under(PropertyName='accountid',PropertyValue='" + gid(1, 1) + "')", "5"},
		{"Microsoft.Dynamics.CRM.AboveOrEqual(PropertyName='accountid',PropertyValue='" + gid(1, 5) + "')", "15"},
		{"contact_customer_accounts/any(c:c/firstname eq 'Ann')", "1"},
		{"contact_customer_accounts/any()", "1"},
		{"not contact_customer_accounts/any()", "2345"},
		{"contact_customer_accounts/all(c:c/firstname eq 'Ann')", "2345"},
		{"contoso_account_contact/any(o:contains(o/lastname,'neil'))", "1"},
		{"accountnumber eq 'A-1' and name eq 'beta'", ""},
		{"(accountnumber eq 'A-1' or accountnumber eq 'A-2') and numberofemployees gt 10", "2"},
	} {
		t.Run(c.filter, func(t *testing.T) {
			e := &env{t, e.srv, e.url}
			if c.want == "!" {
				e.want(400, "0x80060888", "GET", "accounts?"+query("$filter", c.filter), "")
			} else if got := e.list("accounts?" + query("$select", "accountnumber", "$filter", c.filter)).numbers(); got != c.want {
				t.Errorf("answers accounts %q, want %q", got, c.want)
			}
		})
	}
}

func TestFilterAliases(t *testing.T) {
	e := orgChart(t)
	q := query("$select", "accountnumber", "$filter", "Microsoft.Dynamics.CRM.In(PropertyName=@p,PropertyValues=@v) and name ne @none") +
		"&@p='accountnumber'&@v=" + url.PathEscape(`["A-1","A-5"]`)
	if got := e.list("accounts?" + q).numbers(); got != "1" {
		t.Errorf("10.1 an alias without a value is null: answers %q", got)
	}
}

// TestQueryRefuses has what the service refuses, and how (sections 1.9, 10).
func TestQueryRefuses(t *testing.T) {
	e := orgChart(t)
	for _, c := range []struct{ query, text string }{
		{query("$select", "Name"), "Could not find a property named 'Name' on type 'Microsoft.Dynamics.CRM.account'."},
		{query("$select", "primarycontactidname"), "Could not find a property named 'primarycontactidname'"},
		{query("$filter", "Name eq 'x'"), "Could not find a property named 'Name' on type 'Microsoft.Dynamics.CRM.account'."},
		{query("$filter", "primarycontactid eq "+gid(2, 1)), "Could not find a property named 'primarycontactid'"},
		{query("$filter", "primarycontactid/parentcustomerid_account/name eq 'x'"), "not supported"},
		{query("$filter", "numberofemployees eq '10'"), "A binary operator with incompatible types was detected. Found operand types 'Edm.Int32' and 'Edm.String' for operator kind 'Equal'."},
		{query("$filter", "accountid eq '"+gid(1, 1)+"'"), "Found operand types 'Edm.Guid' and 'Edm.String'"},
		{query("$filter", "name eq 5"), "incompatible types"},
		{query("$filter", "tolower(name) eq 'x'"), "An unknown function with name 'tolower'"},
		{query("$filter", "accountid in ("+gid(1, 1)+")"), "Syntax error"},
		{query("$filter", "name eq 'x"), "unterminated string literal"},
		{query("$filter", "name eq"), "Syntax error"},
		{query("$filter", "(name eq 'x'"), "Syntax error"},
		{query("$filter", "name eq 'x' name"), "Syntax error"},
		{query("$filter", strings.Repeat("(", 500)), "Recursion depth"},
		{query("$filter", "Microsoft.Dynamics.CRM.Nonsense(PropertyName='name')"), "not supported"},
		{query("$filter", "contact_customer_accounts/any(c:firstname eq 'Ann')"), "does not begin with its variable"},
		{query("$orderby", "Name"), "Could not find a property named 'Name'"},
		{query("$orderby", "name up"), "Syntax error"},
		{query("$expand", "nothing"), "Could not find a property named 'nothing'"},
		{query("$expand", "contact_customer_accounts/$ref"), "Expand with $ref is only supported on lookup type navigation property."},
		{query("$expand", "primarycontactid($skip=1)"), "$skip"},
		{query("$expand", "primarycontactid($levels=1)"), "$levels"},
		{query("$skip", "10"), "Skip"},
		{query("$search", "x"), "$search"},
		{query("$format", "json"), "$format"},
		{query("$Select", "name"), "$Select"},
		{query("$top", "-1"), "$top"},
		{query("$top", "x"), "$top"},
		{query("$count", "yes"), "$count"},
		{query("$skiptoken", "<nonsense"), "Paging Cookie"},
		{query("$select", "name", "$select", "name"), "more than once"},
		{query("$expand", strings.Repeat("primarycontactid,", 15)+"primarycontactid"), "maximum of 15"},
	} {
		name, _ := url.PathUnescape(c.query)
		t.Run(clip(name), func(t *testing.T) {
			e := &env{t, e.srv, e.url}
			e.has(e.want(400, "0x80060888", "GET", "accounts?"+c.query, ""), c.text)
		})
	}
}

func TestOrderAndTop(t *testing.T) {
	e := orgChart(t)
	for _, c := range []struct{ order, want string }{
		{"name", "51234"},
		{"name desc", "43215"},
		{"accountcategorycode desc,name desc", "32145"},
		{"numberofemployees desc", "32145"},
		{"primarycontactid/lastname desc", "21345"},
		{"contoso_seen", "34512"},
		{"accountid,name desc", "12345"},
		{"accountid desc", "54321"},
		{"accountcategorycode desc,accountid desc,name", "32154"},
		{"", "12345"},
	} {
		got := e.list("accounts?" + query("$select", "accountnumber", "$orderby", or(c.order, "accountid"))).numbers()
		if got != c.want {
			t.Errorf("$orderby=%s: %s, want %s", c.order, got, c.want)
		}
		// The same in pages of two, each link used as it came (10.2).
		paged, link := "", "accounts?"+query("$select", "accountnumber", "$orderby", or(c.order, "accountid"))
		for link != "" {
			page := e.list(link, "Prefer", "odata.maxpagesize=2")
			if len(page.Value) > 2 {
				t.Errorf("a page has %d rows", len(page.Value))
			}
			paged, link = paged+page.numbers(), page.Next
		}
		if paged != c.want {
			t.Errorf("$orderby=%s in pages: %s, want %s", c.order, paged, c.want)
		}
	}
	top := e.list("accounts?" + query("$select", "accountnumber", "$orderby", "name", "$top", "2"))
	if top.numbers() != "51" || top.Next != "" {
		t.Errorf("$top=2: %s, nextLink %q", top.numbers(), top.Next)
	}
	both := e.list("accounts?"+query("$select", "accountnumber", "$top", "2"), "Prefer", "odata.maxpagesize=3")
	if both.numbers() != "123" || both.Next == "" {
		t.Errorf("10.1 $top is ignored with maxpagesize: %s, nextLink %q", both.numbers(), both.Next)
	}
}

// TestOrderByKeyIsFree: rows stand in the order of their keys, so a page of them costs the same of many rows as of few, also
// where that order is asked for. To look at a row takes an allocation at least.
func TestOrderByKeyIsFree(t *testing.T) {
	e := start(t)
	e.want(200, "", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", string(bulkBody(0, 1000)))
	page := func(options ...string) float64 {
		r := httptest.NewRequest("GET", "/api/data/v9.2/accounts?"+query(append(options, "$select", "name")...), nil)
		r.Header.Set("Authorization", "Bearer t")
		r.Header.Set("Prefer", "odata.maxpagesize=10")
		return testing.AllocsPerRun(10, func() {
			w := httptest.NewRecorder()
			if e.srv.ServeHTTP(w, r); w.Code != 200 {
				t.Fatal(w.Body.String())
			}
		})
	}
	plain, byKey, byName := page(), page("$orderby", "accountid"), page("$orderby", "name")
	if byKey > plain+100 || byName < plain+1000 {
		t.Errorf("a page of 10 of 1000 rows takes %.0f allocations, %.0f by the key, %.0f by another column", plain, byKey, byName)
	}
}

func TestPaging(t *testing.T) {
	e := start(t)
	for i := range 23 {
		e.want(204, "", "POST", "contacts", `{"contactid":"`+gid(2, 1000-i)+`","lastname":"P`+strconv.Itoa(i%3)+`"}`)
	}
	seen := map[any]bool{}
	link, pages := "contacts?"+query("$select", "lastname", "$filter", "lastname ne 'P0'", "$count", "true"), 0
	for link != "" {
		p := e.list(link, "Prefer", "odata.maxpagesize=4")
		for _, r := range p.Value {
			if seen[r["contactid"]] {
				t.Errorf("row %v comes twice", r["contactid"])
			}
			seen[r["contactid"]] = true
		}
		if *p.Count != 15 {
			t.Errorf("@odata.count is %d on page %d", *p.Count, pages)
		}
		if link = p.Next; link != "" && (!strings.HasPrefix(link, e.url) || !strings.Contains(link, "$skiptoken=%3Ccookie")) {
			t.Errorf("10.2 nextLink is absolute and carries a cookie: %s", link)
		}
		pages++
	}
	if len(seen) != 15 || pages != 4 {
		t.Errorf("%d rows in %d pages, want 15 in 4", len(seen), pages)
	}
}

func TestCount(t *testing.T) {
	e := orgChart(t)
	if a := e.want(200, "", "GET", "accounts/$count", ""); a.body != "5" || a.header.Get("Content-Type") != "text/plain" {
		t.Errorf("$count: %+v", a)
	}
	if a := e.want(200, "", "GET", "accounts/$count?"+query("$filter", "numberofemployees gt 10"), ""); a.body != "2" {
		t.Errorf("$count with $filter: %+v", a)
	}
	c := e.list("accounts?"+query("$count", "true", "$top", "1"), "Prefer", `odata.include-annotations="Microsoft.Dynamics.CRM.totalrecordcount,Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"`)
	if *c.Count != 5 || *c.TotalRows != 5 || *c.Exceeded {
		t.Errorf("10.4: %+v", c)
	}
	c = e.list("accounts?"+query("$top", "1"), "Prefer", `odata.include-annotations="*"`)
	if c.Count != nil || *c.TotalRows != -1 {
		t.Errorf("10.4 totalrecordcount is -1 when $count is not asked for: %+v", c)
	}
}

// TestRowShape has the form of a row (sections 1.5, 4.6, 10.3).
func TestRowShape(t *testing.T) {
	e := orgChart(t)
	a := e.want(200, "", "GET", "accounts("+gid(1, 1)+")?"+query("$select", "name,revenue,_primarycontactid_value,accountcategorycode,contoso_tags,creditonhold,contoso_seen,numberofemployees"), "",
		"Prefer", `odata.include-annotations="*"`)
	e.has(a, `{"@odata.context":"`+e.url+`/$metadata#accounts(name,revenue,_primarycontactid_value,accountcategorycode,contoso_tags,creditonhold,contoso_seen,numberofemployees)/$entity","@odata.etag":"W/\"`,
		`"accountid":"`+gid(1, 1)+`"`, `"revenue":100.5000`, `"_transactioncurrencyid_value":`,
		`"revenue@OData.Community.Display.V1.FormattedValue":"$100.50"`,
		`"_primarycontactid_value@OData.Community.Display.V1.FormattedValue":"Ann Ek"`,
		`"_primarycontactid_value@Microsoft.Dynamics.CRM.associatednavigationproperty":"primarycontactid"`,
		`"_primarycontactid_value@Microsoft.Dynamics.CRM.lookuplogicalname":"contact"`,
		`"accountcategorycode@OData.Community.Display.V1.FormattedValue":"Preferred"`,
		`"contoso_tags@OData.Community.Display.V1.FormattedValue":"A; C","contoso_tags":"100000000,100000002"`,
		`"creditonhold@OData.Community.Display.V1.FormattedValue":"Yes"`,
		`"contoso_seen@OData.Community.Display.V1.FormattedValue":"5/31/2024 10:00 PM","contoso_seen":"2024-05-31T22:00:00Z"`)
	if !json.Valid([]byte(a.body)) {
		t.Errorf("not JSON: %s", a.body)
	}
	tag := a.header.Get("ETag")
	e.want(304, "", "GET", "accounts("+gid(1, 1)+")?$select=name", "", "If-None-Match", tag)
	e.want(200, "", "GET", "accounts("+gid(1, 1)+")?$select=name", "", "If-None-Match", "null")
	e.want(200, "", "GET", "accounts("+gid(1, 1)+")?$select=name&$expand=primarycontactid", "", "If-None-Match", tag)
	e.want(404, "0x80040217", "GET", "accounts("+gid(1, 99)+")", "")
	all := e.want(200, "", "GET", "accounts(accountnumber='A-4')", "")
	e.has(all, `"name":"O'Delta"`, `"revenue":null`, `"_ownerid_value":"`+UserID.String()+`"`, `"versionnumber":`)
	var odd map[string]any
	if err := json.Unmarshal([]byte(all.body), &odd); err != nil || len(odd) < 30 {
		t.Errorf("1.5 without $select every column comes: %v %d", err, len(odd))
	}
}

func TestExpand(t *testing.T) {
	e := orgChart(t)
	row := func(path string) map[string]any {
		var m map[string]any
		a := e.want(200, "", "GET", path, "")
		if err := json.Unmarshal([]byte(a.body), &m); err != nil {
			t.Fatalf("%v: %s", err, a.body)
		}
		return m
	}
	m := row("accounts(" + gid(1, 1) + ")?$select=name&$expand=primarycontactid($select=fullname;$expand=parentcustomerid_account($select=name)),ownerid($select=ownerid)," +
		"contact_customer_accounts($select=firstname;$orderby=firstname%20desc;$top=1),contoso_account_contact($select=lastname;$filter=lastname%20ne%20'x'),createdby($select=fullname)")
	parent := m["primarycontactid"].(map[string]any)
	if parent["fullname"] != "Ann Ek" || parent["parentcustomerid_account"].(map[string]any)["name"] != "Alpha" || parent["@odata.etag"] == nil {
		t.Errorf("single, nested: %v", parent)
	}
	if o := m["ownerid"].(map[string]any); o["@odata.type"] != "#Microsoft.Dynamics.CRM.systemuser" || o["ownerid"] != UserID.String() {
		t.Errorf("owner: %v", o)
	}
	if by := m["createdby"].(map[string]any); by["systemuserid"] != UserID.String() || by["ownerid"] != UserID.String() {
		t.Errorf("10.3 createdby has systemuserid and ownerid: %v", by)
	}
	children := m["contact_customer_accounts"].([]any)
	if len(children) != 1 || children[0].(map[string]any)["firstname"] != "Bo" {
		t.Errorf("collection with options: %v", children)
	}
	if nn := m["contoso_account_contact"].([]any); len(nn) != 1 || nn[0].(map[string]any)["lastname"] != "O'Neil" {
		t.Errorf("N:N: %v", nn)
	}
	link, _ := m["contoso_account_contact@odata.nextLink"].(string)
	if next := e.list(link); len(next.Value) != 0 {
		t.Errorf("10.3 the nextLink of a complete collection leads to an empty one: %v", next)
	}
	if m := row("accounts(" + gid(1, 3) + ")?$select=name&$expand=primarycontactid"); m["primarycontactid"] != nil {
		t.Errorf("an empty lookup expands to null: %v", m)
	}
	if m := row("accounts(" + gid(1, 2) + ")?$select=name&$expand=primarycontactid/$ref"); m["primarycontactid"].(map[string]any)["@odata.id"] != e.url+"/contacts("+gid(2, 2)+")" {
		t.Errorf("$ref: %v", m)
	}
}

func TestRelated(t *testing.T) {
	e := orgChart(t)
	a1 := "accounts(" + gid(1, 1) + ")/"
	if got := e.list(a1 + "contact_customer_accounts?$select=firstname&$orderby=firstname%20desc"); len(got.Value) != 2 || got.Value[0]["firstname"] != "Bo" {
		t.Errorf("1:N: %v", got)
	}
	if got := e.list(a1 + "contoso_account_contact?$select=lastname"); len(got.Value) != 1 {
		t.Errorf("N:N: %v", got)
	}
	if a := e.want(200, "", "GET", a1+"contact_customer_accounts/$count", ""); a.body != "2" {
		t.Errorf("$count: %+v", a)
	}
	e.has(e.want(200, "", "GET", a1+"contoso_account_contact/$ref", ""), `{"@odata.id":"`+e.url+`/contacts(`+gid(2, 3)+`)"}`)
	e.has(e.want(200, "", "GET", a1+"primarycontactid?$select=lastname", ""), `"lastname":"Ek"`)
	e.has(e.want(200, "", "GET", a1+"primarycontactid/$ref", ""), `"@odata.id":"`+e.url+`/contacts(`+gid(2, 1)+`)"`)
	e.want(204, "", "GET", "accounts("+gid(1, 3)+")/primarycontactid", "")
	e.has(e.want(200, "", "GET", a1+"primarycontactid/lastname", ""), `#contacts(`+gid(2, 1)+`)/lastname","value":"Ek"}`)
	if a := e.want(200, "", "GET", a1+"primarycontactid/lastname/$value", ""); a.body != "Ek" {
		t.Errorf("the raw value of a parent's column: %q", a.body)
	}
	e.want(204, "", "GET", "accounts("+gid(1, 3)+")/primarycontactid/lastname", "")
	e.want(404, "0x80060888", "GET", a1+"primarycontactid/nothing", "")
	e.has(e.want(200, "", "GET", a1+"contact_customer_accounts("+gid(2, 2)+")?$select=firstname", ""), `#contacts(firstname)/$entity`, `"firstname":"Bo"`)
	e.want(404, "0x80040217", "GET", a1+"contact_customer_accounts("+gid(2, 3)+")", "")
	e.want(404, "0x80040217", "GET", "accounts("+gid(1, 77)+")/contact_customer_accounts", "")
	// 5.1: an intersect table is read as a set of its own.
	pairs := e.list("contoso_account_contactset?$select=accountid,contactid")
	if len(pairs.Value) != 1 || pairs.Value[0]["accountid"] != gid(1, 1) || pairs.Value[0]["contactid"] != gid(2, 3) {
		t.Errorf("5.1 intersect rows: %v", pairs.Value)
	}
}

func TestApply(t *testing.T) {
	e := orgChart(t)
	for _, c := range []struct {
		apply string
		want  []map[string]any
	}{
		{"aggregate($count as n,numberofemployees with sum as s,numberofemployees with average as a,numberofemployees with max as x,accountcategorycode with countdistinct as d)",
			[]map[string]any{{"n": 5.0, "s": 60.0, "a": 20.0, "x": 30.0, "d": 2.0}}},
		{"groupby((accountcategorycode),aggregate($count as n,revenue with sum as total))",
			[]map[string]any{{"accountcategorycode": 1.0, "n": 1.0, "total": 100.5}, {"accountcategorycode": 2.0, "n": 2.0, "total": 200.0}, {"n": 2.0, "total": nil}}},
		{"groupby((primarycontactid/fullname),aggregate(revenue with sum as total))",
			[]map[string]any{{"contact_fullname": "Ann Ek", "total": 100.5}, {"contact_fullname": "Bo Roth", "total": 200.0}, {"total": nil}}},
		{"filter(numberofemployees gt 10)/aggregate($count as n)", []map[string]any{{"n": 2.0}}},
		{"filter(numberofemployees gt 1000)/aggregate($count as n)", []map[string]any{{"n": 0.0}}},
		{"groupby((statecode))", []map[string]any{{"statecode": 0.0}}},
	} {
		if d := cmp.Diff(c.want, e.list("accounts?"+query("$apply", c.apply)).Value); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.apply, d)
		}
	}
	sorted := e.list("accounts?" + query("$apply", "groupby((accountcategorycode),aggregate($count as n))", "$filter", "accountcategorycode ne null", "$orderby", "accountcategorycode desc"))
	if sorted.Value[0]["accountcategorycode"] != 2.0 || !strings.HasSuffix(sorted.Context, "$metadata#accounts") {
		t.Errorf("$orderby a group: %v", sorted)
	}
	byAlias := e.want(400, "0x80060888", "GET", "accounts?"+query("$apply", "groupby((accountcategorycode),aggregate($count as n))", "$orderby", "n desc"), "")
	e.has(byAlias, "The query node SingleValueOpenPropertyAccess is not supported.")
	for _, bad := range []string{"groupby((createdon))", "aggregate(name with sum as s)", "aggregate(nothing with sum as s)", "topcount(1,name)", "groupby((name)", "aggregate($count)"} {
		if a := e.do("GET", "accounts?"+query("$apply", bad), ""); a.status != 400 {
			t.Errorf("%s answers %d", bad, a.status)
		}
	}
}

// TestQueryLimits has the caps of section 8.6: 5,000 a page and for a count, 50,000 for
// an aggregate.
func TestQueryLimits(t *testing.T) {
	var seed strings.Builder
	for i := range maxAggregate + 1 {
		fmt.Fprintf(&seed, `{"contactid":"%s","lastname":"L%d"}`+"\n", gid(2, i+1), i%10)
	}
	e := start(t, seedOf("contact", seed.String()))
	if p := e.list("contacts?$select=lastname&$count=true", "Prefer", `odata.maxpagesize=9000,odata.include-annotations="Microsoft.Dynamics.CRM.*"`); len(p.Value) != 5000 || *p.Count != 5000 || !*p.Exceeded {
		t.Errorf("page of %d, count %d", len(p.Value), *p.Count)
	}
	if a := e.want(200, "", "GET", "contacts/$count", ""); a.body != "5000" {
		t.Errorf("$count is %s", a.body)
	}
	e.want(400, "0x8004E023", "GET", "contacts?"+query("$apply", "aggregate($count as n)"), "")
	if got := e.list("contacts?" + query("$apply", "filter(lastname eq 'L3')/aggregate($count as n)")); got.Value[0]["n"] != 5000.0 {
		t.Errorf("a slice: %v", got.Value)
	}
	fetch := `<fetch aggregate="true"><entity name="contact"><attribute name="contactid" aggregate="count" alias="n"/></entity></fetch>`
	e.want(400, "0x8004E023", "GET", "contacts?"+query("fetchXml", fetch), "")
	e.want(400, "0x8004430A", "GET", "contacts?"+query("fetchXml", `<fetch page="11" count="5000"><entity name="contact"/></fetch>`), "")
	// 500 ids at a time come from the index, in primary-key order.
	var ids []string
	for i := range 500 {
		ids = append(ids, "'"+gid(2, 50000-i*7)+"'")
	}
	p := e.list("contacts?" + query("$select", "contactid", "$filter", "Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=["+strings.Join(ids, ",")+"])"))
	if len(p.Value) != 500 || p.Value[499]["contactid"] != gid(2, 50000) {
		t.Errorf("In answers %d rows", len(p.Value))
	}
}

func seedOf(table, lines string) func(*Options) {
	return func(o *Options) { o.Seed = map[string]io.Reader{table: strings.NewReader(lines)} }
}

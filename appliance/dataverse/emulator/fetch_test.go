package emulator

import (
	"encoding/xml"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fetchOf(inner string, attrs ...string) string {
	return "accounts?" + query("fetchXml", `<fetch `+strings.Join(attrs, " ")+`><entity name="account">`+inner+`</entity></fetch>`)
}

// TestFetchConditions tries the operators of FetchXML (section 10.6).
func TestFetchConditions(t *testing.T) {
	e := orgChart(t)
	one := func(attribute, operator, value string) string {
		return `<condition attribute="` + attribute + `" operator="` + operator + `" value="` + value + `"/>`
	}
	for _, c := range []struct{ conditions, want string }{
		{one("accountnumber", "eq", "a-2"), "2"},
		{one("name", "ne", "Alpha"), "2345"},
		{`<condition attribute="name" operator="null"/>`, "5"},
		{`<condition attribute="name" operator="not-null"/>`, "1234"},
		{one("numberofemployees", "gt", "10"), "23"},
		{one("name", "like", "%a"), "123" + "4"},
		{one("name", "like", "_'d%"), "4"},
		{one("name", "not-like", "%a%"), "5"},
		{one("name", "begins-with", "al"), "1"},
		{one("name", "ends-with", "MA"), "3"},
		{`<condition attribute="accountnumber" operator="in"><value>A-1</value><value>A-4</value></condition>`, "14"},
		{`<condition attribute="numberofemployees" operator="not-in"><value>10</value></condition>`, "2345"},
		{`<condition attribute="numberofemployees" operator="between"><value>10</value><value>20</value></condition>`, "12"},
		{one("primarycontactid", "eq", "{"+strings.ToUpper(gid(2, 1))+"}"), "1"},
		{one("creditonhold", "eq", "1"), "1"},
		{one("contoso_seen", "on", "2024-05-31"), "1"},
		{one("contoso_seen", "on-or-after", "2024-06-01"), "2"},
		{one("createdon", "last-x-days", "2"), "12345"},
		{one("contoso_seen", "olderthan-x-months", "1"), "12"},
		{`<condition attribute="createdon" operator="today"/>`, "12345"},
		{`<condition attribute="ownerid" operator="eq-userid"/>`, "12345"},
		{one("numberofemployees", "eq", "10") + `<condition attribute="name" operator="eq" valueof="name"/>`, "1"},
		{`<condition attribute="createdon" operator="eq" valueof="modifiedon"/>`, "12345"},
		{`<condition attribute="owningbusinessunit" operator="eq-businessid"/>`, "12345"},
		{`<condition attribute="ownerid" operator="eq-useroruserteams"/>`, "12345"},
		{one("accountid", "under", gid(1, 1)), "5"},
		{one("accountid", "eq-or-above", gid(1, 5)), "15"},
		{`<condition attribute="createdon" operator="this-fiscal-year"/>`, "12345"},
		{`<condition attribute="contoso_seen" operator="in-fiscal-period-and-year"><value>2</value><value>2024</value></condition>`, "12"},
		{`<link-entity name="contact" from="parentcustomerid" to="accountid" link-type="any"><filter><condition attribute="firstname" operator="eq" value="bo"/></filter></link-entity>`, "1"},
		{`<link-entity name="contact" from="parentcustomerid" to="accountid" link-type="not any"/>`, "2345"},
		{`<link-entity name="contact" from="parentcustomerid" to="accountid" link-type="all"><filter><condition attribute="firstname" operator="eq" value="zoe"/></filter></link-entity>`, "1"},
		{`<link-entity name="contact" from="parentcustomerid" to="accountid" link-type="all"><filter><condition attribute="firstname" operator="eq" value="bo"/></filter></link-entity>`, ""},
		{`<link-entity name="contact" from="parentcustomerid" to="accountid" link-type="not all"><filter><condition attribute="firstname" operator="eq" value="bo"/></filter></link-entity>`, "1"},
		{`<condition attribute="contoso_tags" operator="contain-values"><value>100000002</value></condition>`, "1"},
	} {
		got := e.list(fetchOf(`<attribute name="accountnumber"/><order attribute="accountnumber"/><filter>` + c.conditions + `</filter>`)).numbers()
		if got != c.want {
			t.Errorf("%s answers %q, want %q", c.conditions, got, c.want)
		}
	}
	or := `<filter type="or">` + one("accountnumber", "eq", "A-1") + `<filter>` + one("numberofemployees", "gt", "10") + one("numberofemployees", "lt", "30") + `</filter></filter>`
	if got := e.list(fetchOf(`<attribute name="accountnumber"/>` + or)).numbers(); got != "12" {
		t.Errorf("or of and: %q", got)
	}
}

func TestFetchJoins(t *testing.T) {
	e := orgChart(t)
	inner := e.list(fetchOf(`<attribute name="name"/><attribute name="primarycontactid"/>
		<link-entity name="contact" from="contactid" to="primarycontactid" alias="c"><attribute name="lastname"/><filter><condition attribute="firstname" operator="eq" value="ann"/></filter></link-entity>`))
	if len(inner.Value) != 1 || inner.Value[0]["c.lastname"] != "Ek" || inner.Value[0]["_primarycontactid_value"] != gid(2, 1) || inner.Value[0]["accountid"] != gid(1, 1) {
		t.Errorf("N:1: %v", inner.Value)
	}
	outer := e.list(fetchOf(`<attribute name="accountnumber"/><order attribute="accountnumber" descending="true"/>
		<link-entity name="contact" from="parentcustomerid" to="accountid" link-type="outer" alias="c"><attribute name="firstname"/><order attribute="firstname"/></link-entity>`))
	if outer.numbers() != "543211" || outer.Value[5]["c.firstname"] != "Bo" || outer.Value[0]["c.firstname"] != nil {
		t.Errorf("1:N outer: %v", outer.Value)
	}
	without := e.list(fetchOf(`<attribute name="accountnumber"/><filter><condition entityname="c" attribute="contactid" operator="null"/></filter>
		<link-entity name="contact" from="parentcustomerid" to="accountid" link-type="outer" alias="c"/>`))
	if without.numbers() != "2345" {
		t.Errorf("rows without children: %v", without.Value)
	}
	nn := e.list(fetchOf(`<attribute name="name"/><link-entity name="contoso_account_contact" from="accountid" to="accountid" intersect="true">
		<link-entity name="contact" from="contactid" to="contactid" alias="c"><attribute name="lastname"/></link-entity></link-entity>`))
	if len(nn.Value) != 1 || nn.Value[0]["c.lastname"] != "O'Neil" {
		t.Errorf("N:N: %v", nn.Value)
	}
	byText := e.list(fetchOf(`<attribute name="accountnumber"/><link-entity name="account" from="accountnumber" to="accountnumber" alias="twin"><attribute name="name"/></link-entity>`))
	if len(byText.Value) != 5 {
		t.Errorf("a join by text: %v", byText.Value)
	}
	for kind, want := range map[string]string{"exists": "1", "in": "1", "inner": "11", "matchfirstrowusingcrossapply": "1"} {
		got := e.list(fetchOf(`<attribute name="accountnumber"/><link-entity name="contact" from="parentcustomerid" to="accountid" link-type="` + kind + `"/>`)).numbers()
		if got != want {
			t.Errorf("link-type %s: %q, want %q", kind, got, want)
		}
	}
	across := e.list(fetchOf(`<attribute name="accountnumber"/><filter><condition attribute="name" operator="gt" valueof="c.firstname"/></filter>
		<link-entity name="contact" from="parentcustomerid" to="accountid" alias="c"><attribute name="firstname"/></link-entity>`))
	if len(across.Value) != 0 { // Alpha is not after Ann or Bo
		t.Errorf("valueof another table: %v", across.Value)
	}
	labels := `<attribute name="accountnumber"/><order attribute="accountcategorycode" descending="true"/><order attribute="accountnumber"/>`
	if got := e.list(fetchOf(labels)).numbers(); got != "23145" { // Standard, Preferred, none
		t.Errorf("a choice sorts by its label: %s", got)
	}
	if got := e.list(fetchOf(`<attribute name="accountnumber"/><order attribute="primarycontactid" descending="true"/><order attribute="accountnumber"/>`)).numbers(); got != "21345" {
		t.Errorf("a lookup sorts by the name it shows: %s", got)
	}
	byLink := e.list(fetchOf(`<attribute name="accountnumber"/><order entityname="c" attribute="firstname" descending="true"/>
		<link-entity name="contact" from="parentcustomerid" to="accountid" alias="c"><attribute name="firstname"/></link-entity>`))
	if byLink.Value[0]["c.firstname"] != "Bo" {
		t.Errorf("an order of the entity by a link's column: %v", byLink.Value)
	}
	if got := e.list(fetchOf(`<no-attrs/>`)).Value[0]; len(got) != 2 { // etag and id
		t.Errorf("no-attrs: %v", got)
	}
	distinct := e.list(fetchOf(`<attribute name="statecode"/>`, `distinct="true"`))
	if len(distinct.Value) != 1 {
		t.Errorf("distinct: %v", distinct.Value)
	}
}

func TestFetchAggregates(t *testing.T) {
	e := orgChart(t)
	got := e.list(fetchOf(`<attribute name="accountcategorycode" groupby="true" alias="cat"/><attribute name="accountid" aggregate="count" alias="n"/>
		<attribute name="name" aggregate="countcolumn" alias="named"/><attribute name="numberofemployees" aggregate="sum" alias="s"/>
		<attribute name="numberofemployees" aggregate="avg" alias="a"/><order alias="cat" descending="true"/>`, `aggregate="true"`)).Value
	want := []map[string]any{
		{"cat": 2.0, "n": 2.0, "named": 2.0, "s": 50.0, "a": 25.0},
		{"cat": 1.0, "n": 1.0, "named": 1.0, "s": 10.0, "a": 10.0},
		{"n": 2.0, "named": 1.0, "s": nil, "a": nil},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("groups (-want +got):\n%s", d)
	}
	years := e.list(fetchOf(`<attribute name="contoso_founded" groupby="true" dategrouping="year" alias="y"/><attribute name="accountid" aggregate="count" alias="n"/>
		<filter><condition attribute="contoso_founded" operator="not-null"/></filter><order alias="y"/>`, `aggregate="true"`)).Value
	if len(years) != 2 || years[0]["y"] != 2000.0 {
		t.Errorf("by year: %v", years)
	}
	distinct := e.list(fetchOf(`<attribute name="accountcategorycode" aggregate="countcolumn" distinct="true" alias="d"/>`, `aggregate="true"`)).Value
	if distinct[0]["d"] != 2.0 {
		t.Errorf("distinct: %v", distinct)
	}
	e.want(400, "0x8004E023", "GET", fetchOf(`<attribute name="accountid" aggregate="count" alias="n"/>`, `aggregate="true"`, `aggregatelimit="4"`), "")
}

// TestFetchPaging uses the cookie as section 10.6 says: decoded twice, escaped
// once, put on <fetch>.
func TestFetchPaging(t *testing.T) {
	e := orgChart(t)
	for order, want := range map[string]string{"": "12345", `<order attribute="name"/>`: "51234"} {
		cookie, page, got := "", 1, ""
		for {
			attrs := []string{`count="2"`, `page="` + intValue(int64(page)).String() + `"`}
			if cookie != "" {
				attrs = append(attrs, `paging-cookie="`+cookie+`"`)
			}
			p := e.list(fetchOf(`<attribute name="accountnumber"/>`+order, attrs...), "Prefer", `odata.include-annotations="*"`)
			got += p.numbers()
			if !p.More {
				break
			}
			var outer struct {
				Inner string `xml:"pagingcookie,attr"`
			}
			if err := xml.Unmarshal([]byte(p.Cookie), &outer); err != nil {
				t.Fatal(err)
			}
			text := outer.Inner
			for range 2 {
				var err error
				if text, err = url.QueryUnescape(text); err != nil {
					t.Fatal(err)
				}
			}
			var b strings.Builder
			if err := xml.EscapeText(&b, []byte(text)); err != nil {
				t.Fatal(err)
			}
			cookie = b.String()
			page++
		}
		if got != want {
			t.Errorf("order %q: pages bring %s, want %s", order, got, want)
		}
	}
}

func TestFetchRefuses(t *testing.T) {
	e := orgChart(t)
	for _, c := range []struct{ path, code string }{
		{"contacts?" + query("fetchXml", `<fetch><entity name="account"/></fetch>`), "0x80060888"},
		{"accounts?" + query("fetchXml", `<fetch><entity name="account"`), "0x80041104"},
		{"accounts?" + query("fetchXml", `<fetch/>`), "0x80041104"},
		{fetchOf(`<attribute name="nothing"/>`), "0x80041103"},
		{fetchOf(`<filter><condition attribute="nothing" operator="null"/></filter>`), "0x80041103"},
		{fetchOf(`<filter><condition attribute="name" operator="sounds-like" value="x"/></filter>`), "0x80041104"},
		{fetchOf(`<filter><condition attribute="numberofemployees" operator="eq" value="x"/></filter>`), "0x80040203"},
		{fetchOf(`<link-entity name="nothing" from="a" to="b"/>`), "0x80041102"},
		{fetchOf(`<link-entity name="contact" from="nothing" to="accountid"/>`), "0x80041103"},
		{fetchOf(`<filter><condition entityname="zz" attribute="name" operator="null"/></filter>`), "0x80041104"},
		{fetchOf(strings.Repeat(`<link-entity name="contact" from="contactid" to="primarycontactid"/>`, 16)), "0x8004430D"},
		{fetchOf(strings.Repeat(`<filter>`, 100) + strings.Repeat(`</filter>`, 100)), "0x80041104"},
		{fetchOf("", `count="9000"`), "0x80041104"},
		{fetchOf(`<link-entity name="contact" from="parentcustomerid" to="accountid" link-type="sideways"/>`), "0x80041104"},
		{fetchOf(`<filter><link-entity name="contact" from="parentcustomerid" to="accountid" link-type="inner"/></filter>`), "0x80041104"},
		{fetchOf(`<filter><condition attribute="name" operator="eq" valueof="numberofemployees"/></filter>`), "0x80040203"},
		{fetchOf(`<filter><condition attribute="name" operator="eq" valueof="zz.name"/></filter>`), "0x80041104"},
	} {
		e.want(400, c.code, "GET", c.path, "")
	}
}

func FuzzParseFetch(f *testing.F) {
	f.Add(`<fetch count="2"><entity name="account"><attribute name="name"/><filter><condition attribute="name" operator="eq" value="x"/></filter><link-entity name="contact" from="contactid" to="primarycontactid"/></entity></fetch>`)
	f.Add(`<fetch aggregate="true"><entity name="account"><attribute name="name" aggregate="count" alias="n"/></entity></fetch>`)
	srv, err := New(Options{Schema: world(f)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := parseFetch(text)
		if err != nil {
			return
		}
		c := &call{srv: srv, table: srv.model.byName["account"]}
		if q, err := c.bindFetch(x); err == nil {
			if _, err := q.window(); err != nil {
				return
			}
		}
	})
}

// TestFetchIndex requires that FetchXML finds rows by key without a scan, and that a
// condition an index cannot answer hides none.
func TestFetchIndex(t *testing.T) {
	e := orgChart(t)
	for _, c := range []struct {
		filter string
		want   int // rows that are looked at; -1 for all
	}{
		{`<filter><condition attribute="accountid" operator="eq" value="{` + gid(1, 1) + `}"/></filter>`, 1},
		{`<filter><condition attribute="accountnumber" operator="in"><value>A-1</value><value>A-2</value></condition><condition attribute="name" operator="like" value="b%"/></filter>`, 2},
		{`<filter type="or"><condition attribute="accountnumber" operator="eq" value="A-1"/><condition attribute="primarycontactid" operator="eq" value="` + gid(2, 2) + `"/></filter>`, 2},
		{`<filter type="or"><condition attribute="accountnumber" operator="eq" value="A-1"/><condition attribute="name" operator="like" value="b%"/></filter>`, -1},
		{`<filter type="or"><condition attribute="accountnumber" operator="eq" value="A-1"/><link-entity name="contact" from="parentcustomerid" to="accountid" link-type="any"/></filter>`, -1},
		{`<filter><condition attribute="name" operator="eq" value="x"/></filter>`, -1},
	} {
		f, err := parseFetch(`<fetch><entity name="account">` + c.filter + `</entity></fetch>`)
		if err != nil {
			t.Fatal(err)
		}
		q, err := (&call{srv: e.srv, table: e.srv.model.byName["account"]}).bindFetch(f)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := q.indexed()
		if err != nil || (ids == nil) != (c.want < 0) || ids != nil && len(ids) != c.want {
			t.Errorf("%s: looks at %v, %v, want %d", c.filter, ids, err, c.want)
		}
	}
}

// TestDistinctText: rows that differ in case or trailing blanks alone are not distinct
// for the server's collation (section 3.4).
func TestDistinctText(t *testing.T) {
	e := start(t)
	for _, city := range []string{"Bonn", "bonn", "BONN ", "Ulm"} {
		e.want(204, "", "POST", "accounts", `{"address1_city":"`+city+`"}`)
	}
	if got := e.list(fetchOf(`<attribute name="address1_city"/>`, `distinct="true"`)).Value; len(got) != 2 {
		t.Errorf("distinct cities: %v", got)
	}
	if got := e.list(fetchOf(`<attribute name="address1_city"/><attribute name="accountid"/>`, `distinct="true"`)).Value; len(got) != 4 {
		t.Errorf("distinct with the key: %v", got)
	}
}

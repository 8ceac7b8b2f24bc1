package emulator

import (
	"encoding/json"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// TestMetadataLevel asks for the same rows at each level of control information.
func TestMetadataLevel(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "contacts", `{"contactid":"`+con1+`","lastname":"Ek, \"@odata.x\":1"}`)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","name":"A","contoso_big":7,"contoso_rating":1.5,"contoso_founded":"2020-01-02","numberofemployees":3,"primarycontactid@odata.bind":"contacts(`+con1+`)"}`)
	const path = "accounts?$select=name,contoso_big,contoso_rating,contoso_founded,numberofemployees&$count=true&$expand=primarycontactid($select=lastname)"
	const accept = "application/json;odata.metadata="

	none := e.want(200, "", "GET", path, "", "Accept", accept+"none", "Prefer", "odata.maxpagesize=1")
	want := `{"@odata.count":1,"value":[{"name":"A","contoso_big":7,"contoso_rating":1.5,"contoso_founded":"2020-01-02","numberofemployees":3,"accountid":"` + acc1 +
		`","primarycontactid":{"lastname":"Ek, \"@odata.x\":1","contactid":"` + con1 + `"}}]}`
	if none.body != want || none.header.Get("Content-Type") != "application/json; odata.metadata=none; odata.streaming=true" {
		t.Errorf("none: %s\n%s\nwant %s", none.header.Get("Content-Type"), none.body, want)
	}
	e.want(204, "", "POST", "accounts", `{"name":"B"}`)
	more := e.want(200, "", "GET", "accounts?$select=name", "", "Accept", accept+"none", "Prefer", "odata.maxpagesize=1")
	e.has(more, `"@odata.nextLink":"`)
	formatted := e.want(200, "", "GET", "accounts("+acc1+")?$select=numberofemployees", "", "Accept", accept+"none", "Prefer", `odata.include-annotations="*"`)
	e.has(formatted, `"numberofemployees@OData.Community.Display.V1.FormattedValue":"3"`)

	full := e.want(200, "", "GET", path, "", "Accept", "text/plain, "+accept+"full")
	e.has(full, `"@odata.type":"#Microsoft.Dynamics.CRM.account","@odata.id":"`+e.url+`/accounts(`+acc1+`)","@odata.etag":"W/`, `"@odata.editLink":"accounts(`+acc1+`)"`,
		`"contoso_big@odata.type":"#Int64","contoso_big":7`, `"contoso_rating@odata.type":"#Decimal"`, `"contoso_founded@odata.type":"#Date"`, `"accountid@odata.type":"#Guid"`,
		`"@odata.type":"#Microsoft.Dynamics.CRM.contact"`)
	for _, not := range []string{"name@odata.type", "numberofemployees@odata.type", "navigationLink"} {
		if strings.Contains(full.body, not) {
			t.Errorf("full has %s:\n%s", not, full.body)
		}
	}
	whole := e.want(200, "", "GET", "accounts("+acc1+")", "", "Accept", accept+"full")
	e.has(whole, `"primarycontactid@odata.navigationLink":"`+e.url+`/accounts(`+acc1+`)/primarycontactid"`, `"createdon@odata.type":"#DateTimeOffset"`)
	fetched := e.want(200, "", "GET", "accounts?fetchXml="+escapeOption(`<fetch><entity name="account"><attribute name="name"/></entity></fetch>`), "", "Accept", accept+"full")
	e.has(fetched, `"@odata.editLink":"accounts(`)
	for _, a := range []answer{none, more, formatted, full, whole, fetched} {
		if !json.Valid([]byte(a.body)) {
			t.Errorf("not JSON: %s", a.body)
		}
	}
	plain := e.want(200, "", "GET", path, "", "Accept", "application/json")
	if plain.header.Get("Allow") != "OPTIONS,GET,HEAD,POST" || plain.header.Get("Public") != "OPTIONS,GET,HEAD,POST" || !strings.HasPrefix(plain.header.Get("Content-Type"), "application/json; odata.metadata=minimal") {
		t.Errorf("headers %v", plain.header)
	}
}

// TestDefinitionValue reads properties of metadata as JSON and as text.
func TestDefinitionValue(t *testing.T) {
	e := start(t)
	for path, want := range map[string]string{"EntitySetName": "accounts", "IsActivity": "false"} {
		a := e.want(200, "", "GET", "EntityDefinitions(LogicalName='account')/"+path+"/$value", "")
		if a.body != want || a.header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s: %q %s", path, a.body, a.header.Get("Content-Type"))
		}
	}
	e.want(404, "0x80060888", "GET", "EntityDefinitions(LogicalName='account')/LogicalName/x", "")
	typed := e.want(200, "", "GET", "EntityDefinitions(LogicalName='account')?$select=LogicalName", "", "Accept", "application/json;odata.metadata=full")
	e.has(typed, `"@odata.type":"#Microsoft.Dynamics.CRM.EntityMetadata"`)
}

// TestOrganizationSettings has the settings of section 12.8 whatever the schema says.
func TestOrganizationSettings(t *testing.T) {
	const path = "organizations?$select=languagecode,_basecurrencyid_value,isauditenabled,maxuploadfilesize,blockedattachments,expirechangetrackingindays,plugintracelogsetting"
	want := []string{`"languagecode":1033`, `"_basecurrencyid_value":"` + CurrencyID.String() + `"`, `"isauditenabled":false`, `"maxuploadfilesize":5242880`,
		`"blockedattachments":"exe;`, `"expirechangetrackingindays":7`, `"plugintracelogsetting":0`}
	e := start(t)
	e.has(e.want(200, "", "GET", path, ""), want...)
	bare := tableOf("organization", "Organization", "organizations", "organizationid", "name", text("name", 160))
	bare.Ownership = schema.NotOwned
	s, err := schema.New(append(worldTables(), bare), nil)
	if err != nil {
		t.Fatal(err)
	}
	e = start(t, func(o *Options) { o.Schema = s })
	e.has(e.want(200, "", "GET", path, ""), want...)
	if len(bare.Columns) != 2 {
		t.Error("the caller's schema was changed")
	}
}

package emulator

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

const newTable = `{"@odata.type":"Microsoft.Dynamics.CRM.EntityMetadata","SchemaName":"contoso_Asset","OwnershipType":"UserOwned",
"Attributes":[{"@odata.type":"Microsoft.Dynamics.CRM.StringAttributeMetadata","SchemaName":"contoso_Name","IsPrimaryName":true,"MaxLength":50}]}`

const newColumn = `{"@odata.type":"Microsoft.Dynamics.CRM.IntegerAttributeMetadata","SchemaName":"contoso_N","MaxValue":10}`

// TestSchemaWritesKeepRows changes the schema under rows of every kind: no value,
// lookup, link, key or number is lost, also where rows must be encoded anew.
func TestSchemaWritesKeepRows(t *testing.T) {
	e := seeded(t)
	e.want(204, "", "POST", "contoso_orders", `{"contoso_code":"Q1","contoso_AccountId@odata.bind":"accounts(`+acc1+`)"}`)
	e.want(204, "", "POST", "accounts("+acc1+")/contoso_account_contact/$ref", `{"@odata.id":"`+e.url+`/contacts(`+con1+`)"}`)
	export := func() string {
		var b bytes.Buffer
		for _, name := range []string{"account", "contact", "contoso_order", "systemuser"} {
			if err := e.srv.Export(&b, name); err != nil {
				t.Fatal(err)
			}
		}
		return b.String()
	}
	before := export()
	e.want(204, "", "POST", "EntityDefinitions", newTable)
	e.want(204, "", "POST", "EntityDefinitions(LogicalName='account')/Attributes", newColumn)
	// A column in the middle goes: the rows of its table are encoded anew.
	e.want(204, "", "DELETE", "EntityDefinitions(LogicalName='account')/Attributes(LogicalName='contoso_rating')", "")
	e.want(204, "", "DELETE", "RelationshipDefinitions(SchemaName='contoso_friends')", "")
	if after := export(); after != before {
		t.Errorf("the rows changed:\n%s\n%s", before, after)
	}
	e.want(412, "0x80060892", "POST", "contoso_orders", `{"contoso_code":"q1"}`)
	e.want(412, "0x80040237", "POST", "accounts("+acc1+")/contoso_account_contact/$ref", `{"@odata.id":"`+e.url+`/contacts(`+con1+`)"}`)
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"contoso_n":7}`)
	e.want(400, "0x80044330", "PATCH", "accounts("+acc1+")", `{"contoso_n":11}`)
	e.want(204, "", "POST", "EntityDefinitions(LogicalName='account')/Keys", `{"SchemaName":"contoso_NKey","KeyAttributes":["contoso_n"]}`)
	e.has(e.want(200, "", "GET", "accounts(contoso_n=7)?$select=name", ""), acc1)
	e.want(204, "", "DELETE", "EntityDefinitions(LogicalName='contoso_asset')", "")
	e.want(404, "0x80060888", "GET", "contoso_assets", "")
}

func TestSchemaWritesRefused(t *testing.T) {
	e := start(t)
	e.want(400, "0x80044363", "POST", "EntityDefinitions", `{"SchemaName":"asset"}`)
	e.want(400, "0x80048d19", "POST", "EntityDefinitions", `{`)
	e.want(400, "0x80044153", "POST", "EntityDefinitions(LogicalName='account')/Attributes", strings.Replace(newColumn, "contoso_N", "Name", 1))
	e.want(400, "0x80044363", "POST", "EntityDefinitions(LogicalName='account')/Attributes", `{"@odata.type":"Microsoft.Dynamics.CRM.LookupAttributeMetadata","SchemaName":"contoso_L"}`)
	e.want(404, "0x80041102", "POST", "EntityDefinitions(LogicalName='nothing')/Attributes", newColumn)
	body := batch(changeSet(part("POST EntityDefinitions", newTable, contentID(1))))
	if a := e.do("POST", "$batch", body, "Content-Type", batchType); a.status != 400 {
		t.Errorf("a schema write in a change set: %d", a.status)
	}
	e.want(200, "", "POST", "$batch", batch(part("POST EntityDefinitions", newTable), part("POST contoso_assets", `{"contoso_name":"a"}`)), "Content-Type", batchType)
}

// TestSchemaWritesAmongOthers runs reads and writes while the schema changes; the
// race detector looks on.
func TestSchemaWritesAmongOthers(t *testing.T) {
	e := start(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				e.want(204, "", "POST", "accounts", `{"name":"a"}`)
				e.want(200, "", "GET", "accounts?$top=1", "")
				e.srv.Stats()
			}
		})
	}
	e.want(204, "", "POST", "EntityDefinitions", newTable)
	for _, name := range []string{"A", "B", "C"} {
		e.want(204, "", "POST", "EntityDefinitions(LogicalName='account')/Attributes", strings.Replace(newColumn, "contoso_N", "contoso_"+name, 1))
	}
	wg.Wait()
	if n := e.srv.Stats().Rows["account"]; n != 80 {
		t.Errorf("%d accounts, want 80", n)
	}
}

// TestWhatIsNotDeleted: what came with the environment stays, and what others need.
func TestWhatIsNotDeleted(t *testing.T) {
	e := start(t)
	e.want(204, "", "POST", "EntityDefinitions", newTable)
	e.want(204, "", "POST", "RelationshipDefinitions", `{"@odata.type":"Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata","SchemaName":"contoso_asset_account","ReferencedEntity":"contoso_asset","ReferencingEntity":"account",
		"Lookup":{"@odata.type":"Microsoft.Dynamics.CRM.LookupAttributeMetadata","SchemaName":"contoso_AssetId"}}`)
	const account, asset = "EntityDefinitions(LogicalName='account')", "EntityDefinitions(LogicalName='contoso_asset')"
	for _, c := range []struct{ path, code, text string }{
		{account, "0x8004F032", "name='Account'"}, {asset, "0x8004F01F", "referenced by 1 other components"},
		{account + "/Attributes(LogicalName='accountid')", "0x80047002", "Primary UI"}, {account + "/Attributes(LogicalName='name')", "0x80047002", "Primary UI"},
		{account + "/Attributes(LogicalName='revenue_base')", "0x80048cfe", "base money"}, {account + "/Attributes(LogicalName='telephone1')", "0x8004F032", "managed property"},
	} {
		e.has(e.want(400, c.code, "DELETE", c.path, ""), c.text)
	}
	e.want(204, "", "DELETE", account+"/Attributes(LogicalName='contoso_assetid')", "")
	e.want(204, "", "DELETE", asset, "")
	e.want(200, "", "GET", "accounts?$select=name,telephone1", "")
}

// TestDependencies: what a refused DELETE refers to tells what is in its way.
func TestDependencies(t *testing.T) {
	e := start(t)
	of := func(id string, kind int) []map[string]any {
		return e.list(fmt.Sprintf("RetrieveDependenciesForDelete(ObjectId=%s,ComponentType=%d)", id, kind)).Value
	}
	table := metadataID("entity", "account").String()
	leading := of(table, 1)
	if len(leading) == 0 || !slices.ContainsFunc(leading, func(d map[string]any) bool {
		return d["dependentcomponentobjectid"] == metadataID("attribute", "contact", "parentcustomerid").String() && d["dependentcomponenttype"] == 2.0 && d["requiredcomponentobjectid"] == table
	}) {
		t.Errorf("account: %v", leading)
	}
	keys := of(metadataID("attribute", "account", "accountnumber").String(), 2)
	if len(keys) != 1 || keys[0]["dependentcomponentobjectid"] != metadataID("key", "account", "contoso_accno").String() {
		t.Errorf("account.accountnumber: %v", keys)
	}
	if got := of(metadataID("attribute", "account", "name").String(), 2); len(got) != 0 {
		t.Errorf("account.name: %v", got)
	}
	aliased := e.list("RetrieveDependenciesForDelete(ObjectId=@o,ComponentType=@c)?@o=" + table + "&@c=1").Value
	if len(aliased) != len(leading) {
		t.Errorf("with aliases: %v", aliased)
	}
	e.want(400, "0x80040203", "GET", "RetrieveDependenciesForDelete(ComponentType=1)", "")
}

// TestKeyBuild: a key whose values are not unique is made, but its index fails, and the key
// addresses nothing until ReactivateEntityKey finds them unique (section 3.4). An elastic
// table has no key but its own (section 6.3).
func TestKeyBuild(t *testing.T) {
	e := start(t)
	for n, phone := range []string{`"1"`, `"1 "`, `null`, `null`} {
		e.want(204, "", "POST", "accounts", `{"accountid":"`+gid(1, n+1)+`","telephone1":`+phone+`}`)
	}
	status := func(want string) {
		t.Helper()
		e.has(e.want(200, "", "GET", "EntityDefinitions(LogicalName='account')/Keys?$select=EntityKeyIndexStatus&$filter="+url.QueryEscape("LogicalName eq 'contoso_phone'"), ""), `"EntityKeyIndexStatus":"`+want+`"`)
	}
	e.want(204, "", "POST", "EntityDefinitions(LogicalName='account')/Keys", `{"@odata.type":"Microsoft.Dynamics.CRM.EntityKeyMetadata","SchemaName":"contoso_Phone","KeyAttributes":["telephone1"]}`)
	status("Failed")
	e.want(400, "0x80060888", "GET", "accounts(telephone1='1')", "")
	again := `{"EntityLogicalName":"account","EntityKeyLogicalName":"contoso_phone"}`
	e.want(204, "", "POST", "ReactivateEntityKey", again)
	status("Failed")
	e.want(204, "", "PATCH", "accounts("+gid(1, 2)+")", `{"telephone1":"2"}`)
	e.want(204, "", "POST", "ReactivateEntityKey", again)
	status("Active")
	e.want(200, "", "GET", "accounts(telephone1='1')", "")
	e.want(412, "0x80060892", "POST", "accounts", `{"telephone1":"2"}`)
	e.want(404, "0x80040217", "POST", "ReactivateEntityKey", `{"EntityLogicalName":"account","EntityKeyLogicalName":"nothing"}`)
	e.want(400, "0x80041102", "POST", "ReactivateEntityKey", `{"EntityLogicalName":"nothing"}`)
	e.want(204, "", "POST", "EntityDefinitions", strings.Replace(newTable, `"OwnershipType"`, `"TableType":"Elastic","OwnershipType"`, 1))
	e.want(400, "0x80044363", "POST", "EntityDefinitions(LogicalName='contoso_asset')/Keys", `{"SchemaName":"contoso_K","KeyAttributes":["contoso_name"]}`)
}

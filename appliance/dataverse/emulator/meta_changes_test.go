package emulator

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// TestRetrieveMetadataChanges asks for two tables with some properties, then again
// with the stamp: nothing until the schema changes (12.7).
func TestRetrieveMetadataChanges(t *testing.T) {
	e := start(t)
	query := `{"Criteria":{"FilterOperator":"And","Conditions":[{"ConditionOperator":"In","PropertyName":"LogicalName","Value":{"Type":"System.String[]","Value":"[\"account\",\"contact\"]"}}]},
"Properties":{"AllProperties":false,"PropertyNames":["EntitySetName","Attributes","Keys"]},
"AttributeQuery":{"Properties":{"AllProperties":false,"PropertyNames":["AttributeType"]},"Criteria":{"Conditions":[{"ConditionOperator":"Equals","PropertyName":"AttributeType","Value":{"Type":"System.String","Value":"Money"}}]}}}`
	ask := func(stamp string) (answer, struct {
		ServerVersionStamp string
		EntityMetadata     []struct {
			LogicalName, EntitySetName string
			Attributes, Keys           []struct{ LogicalName, AttributeType string }
			SchemaName                 *string
		}
	}) {
		path := "RetrieveMetadataChanges(Query=@p1)?@p1=" + url.QueryEscape(query)
		if stamp != "" {
			path = "RetrieveMetadataChanges(Query=@p1,ClientVersionStamp=@p2)?@p1=" + url.QueryEscape(query) + "&@p2=" + url.QueryEscape("'"+stamp+"'")
		}
		a := e.want(200, "", "GET", path, "")
		var out struct {
			ServerVersionStamp string
			EntityMetadata     []struct {
				LogicalName, EntitySetName string
				Attributes, Keys           []struct{ LogicalName, AttributeType string }
				SchemaName                 *string
			}
		}
		if err := json.Unmarshal([]byte(a.body), &out); err != nil {
			t.Fatal(err)
		}
		return a, out
	}
	_, first := ask("")
	if len(first.EntityMetadata) != 2 || first.EntityMetadata[0].EntitySetName != "accounts" || first.EntityMetadata[0].SchemaName != nil {
		t.Fatalf("answered %+v", first)
	}
	if a := first.EntityMetadata[0].Attributes; len(a) != 2 || a[0].LogicalName != "revenue" || a[0].AttributeType != "Money" {
		t.Errorf("the columns are %+v", a)
	}
	if k := first.EntityMetadata[0].Keys; len(k) != 2 || k[0].LogicalName != "contoso_accno" {
		t.Errorf("the keys are %+v", k)
	}
	if _, again := ask(first.ServerVersionStamp); len(again.EntityMetadata) != 0 {
		t.Error("the same stamp got tables")
	}
	e.want(204, "", "POST", "EntityDefinitions(LogicalName='account')/Attributes", newColumn)
	if _, again := ask(first.ServerVersionStamp); len(again.EntityMetadata) != 2 || again.ServerVersionStamp == first.ServerVersionStamp {
		t.Error("a changed schema has nothing new")
	}
	e.want(400, "0x80044352", "GET", "RetrieveMetadataChanges(Query=@p1,ClientVersionStamp=@p2)?@p1="+url.QueryEscape(strings.TrimSpace(query))+"&@p2='old'", "")
}

package emulator

import (
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// TestRealMetadata runs environments made of real $metadata documents: lookups can
// be written, bulk actions are there but for the tables of section 6.2.
func TestRealMetadata(t *testing.T) {
	for _, name := range []string{"bcgov-jag-lcrb-2020.xml.gz", "simple-odata-crm_schema.xml.gz"} {
		f, err := os.Open(filepath.Join("..", "..", "..", "..", "shared", "data", "metadata", name))
		if errors.Is(err, os.ErrNotExist) {
			t.Skip("no real metadata beside the repository")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := schema.ReadCSDL(z)
		if err != nil {
			t.Fatal(err)
		}
		e := start(t, func(o *Options) { o.Schema, o.AssumeBulk, o.AssumeTracking = s, true, true })
		e.want(204, "", "POST", "contacts", `{"contactid":"`+con1+`","lastname":"Ek"}`)
		e.want(200, "", "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"`+acc1+`","name":"A","revenue":5,
			"primarycontactid@odata.bind":"contacts(`+con1+`)"}]}`)
		e.want(204, "", "POST", "tasks/Microsoft.Dynamics.CRM.UpsertMultiple", `{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.task","subject":"T","regardingobjectid_account_task@odata.bind":"accounts(`+acc1+`)"}]}`)
		e.has(e.want(200, "", "GET", "accounts("+acc1+")?$select=name,revenue_base&$expand=primarycontactid($select=fullname),Account_Tasks($select=subject)", ""),
			`"_transactioncurrencyid_value":"0e0`, `"subject":"T"`)
		e.want(400, "0x80040203", "POST", "teams/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[]}`)
		e.want(204, "", "POST", "transactioncurrencies", `{"transactioncurrencyid":"`+gid(7, 1)+`","isocurrencycode":"EUR","currencyname":"Euro","exchangerate":0.5,"currencyprecision":2}`)
		e.has(e.want(201, "", "POST", "accounts?$select=revenue_base,exchangerate", `{"revenue":100,"transactioncurrencyid@odata.bind":"transactioncurrencies(`+gid(7, 1)+`)"}`, "Prefer", "return=representation"),
			`"revenue_base":200.0000`, `"exchangerate":0.5`)
		e.has(e.want(201, "", "POST", "systemusers?$select=isdisabled,accessmode", `{"domainname":"a@b.c","lastname":"x"}`, "Prefer", "return=representation"), `"isdisabled":false`, `"accessmode":0`)
		e.has(e.want(200, "", "GET", "accounts?$select=name", "", "Prefer", "odata.track-changes"), `"@odata.deltaLink"`)
		e.has(e.want(200, "", "GET", "EntityDefinitions(LogicalName='account')?$select=ChangeTrackingEnabled", ""), `"ChangeTrackingEnabled":true`)
		e.has(e.want(200, "", "GET", "sdkmessagefilters?$select=primaryobjecttypecode&$filter=sdkmessageid/name%20eq%20'CreateMultiple'%20and%20primaryobjecttypecode%20eq%20'account'", ""), `"account"`)
	}
}

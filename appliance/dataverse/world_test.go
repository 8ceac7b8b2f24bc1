package dataverse_test

import (
	"crypto/rand"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

func newID() schema.GUID {
	var g schema.GUID
	_, _ = rand.Read(g[:])
	g[6], g[8] = g[6]&0x0f|0x40, g[8]&0x3f|0x80
	return g
}

func ptr[T any](v T) *T { return &v }

// world is a small environment that has every type of column, with all that the
// metadata tells of it.
func world(t testing.TB) *schema.Schema {
	t.Helper()
	s, err := schema.New([]*schema.Table{accountTable(), contactTable(), sensorTable(), linkTable()}, []schema.ManyToMany{{
		SchemaName: "contoso_Account_Contact", Intersect: "contoso_account_contact",
		Table1: "account", Column1: "accountid", Nav1: "contoso_Account_Contact",
		Table2: "contact", Column2: "contactid", Nav2: "contoso_Account_Contact",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func accountTable() *schema.Table {
	return &schema.Table{
		LogicalName: "account", SchemaName: "Account", EntitySet: "accounts", DisplayName: "Account", ObjectTypeCode: 1,
		PrimaryID: "accountid", PrimaryName: "name", PrimaryImage: "entityimage", Kind: schema.Standard, Ownership: schema.OrganizationOwned,
		StateTransitions: true, ChangeTracking: true, OptimisticConcurrency: true, HasNotes: true, Bulk: []string{"create", "update", "upsert"},
		Keys: []schema.Key{
			{LogicalName: "contoso_number", SchemaName: "contoso_Number", Columns: []string{"accountnumber"}},
		},
		ManyToOne: []schema.Relationship{{
			SchemaName: "account_primary_contact", Column: "primarycontactid", Target: "contact", Nav: "primarycontactid", Collection: "account_primary_contact",
			Cascade: map[string]string{"Assign": "NoCascade", "Delete": "RemoveLink", "Archive": "NoCascade", "Merge": "NoCascade", "Reparent": "NoCascade",
				"Share": "NoCascade", "Unshare": "NoCascade", "RollupView": "NoCascade"},
		}},
		Columns: []*schema.Column{
			{LogicalName: "accountid", SchemaName: "AccountId", Type: schema.UniqueID, NoUpdate: true, Required: schema.SystemRequired},
			{LogicalName: "accountnumber", SchemaName: "AccountNumber", Type: schema.Text, MaxLength: 20, Format: "Text", AutoNumber: "A-{SEQNUM:5}"},
			{LogicalName: "description", SchemaName: "Description", DisplayName: "Description", Type: schema.Memo, MaxLength: 2000, Format: "TextArea"},
			{LogicalName: "entityimage", SchemaName: "EntityImage", Type: schema.Image, MaxSizeKB: 10240},
			{LogicalName: "name", SchemaName: "Name", DisplayName: "Account Name", Type: schema.Text, MaxLength: 160, Format: "Text", Required: schema.ApplicationRequired},
			{LogicalName: "numberofemployees", SchemaName: "NumberOfEmployees", Type: schema.Integer, Min: ptr(0.0), Max: ptr(1e9), Format: "None"},
			{LogicalName: "contoso_kind", SchemaName: "contoso_Kind", Type: schema.Choice, GlobalChoice: "contoso_kinds", Default: ptr[int32](2),
				Options: []schema.Option{{Value: 1, Label: "Big"}, {Value: 2, Label: "Small"}}},
			{LogicalName: "contoso_paper", SchemaName: "contoso_Paper", Type: schema.File, MaxSizeKB: 32768},
			{LogicalName: "contoso_rate", SchemaName: "contoso_Rate", Type: schema.Decimal, Min: ptr(-5.0), Max: ptr(5.5), Precision: ptr(3)},
			{LogicalName: "contoso_secret", SchemaName: "contoso_Secret", Type: schema.Text, MaxLength: 10, Format: "Email", Secured: true},
			{LogicalName: "contoso_since", SchemaName: "contoso_Since", Type: schema.DateTime, DateBehavior: schema.DateOnly, Format: "DateOnly"},
			{LogicalName: "contoso_tags", SchemaName: "contoso_Tags", Type: schema.Choices,
				Options: []schema.Option{{Value: 100000000, Label: "Red"}, {Value: 100000001, Label: "Blue"}}},
			{LogicalName: "contoso_weight", SchemaName: "contoso_Weight", Type: schema.Float, Min: ptr(0.0), Max: ptr(10.0), Precision: ptr(5)},
			{LogicalName: "contoso_vip", SchemaName: "contoso_Vip", Type: schema.YesNo, Default: ptr[int32](1),
				Options: []schema.Option{{Value: 0, Label: "No"}, {Value: 1, Label: "Yes"}}},
			{LogicalName: "primarycontactid", SchemaName: "PrimaryContactId", Type: schema.Lookup, Targets: []string{"contact"}},
			{LogicalName: "primarycontactidname", SchemaName: "PrimaryContactIdName", Type: schema.Text, MaxLength: 100, Format: "Text",
				PartOf: "primarycontactid", NoCreate: true, NoUpdate: true, NoWebAPI: true},
			{LogicalName: "statecode", SchemaName: "StateCode", Type: schema.State, Required: schema.SystemRequired, NoCreate: true, Options: []schema.Option{
				{Value: 0, Label: "Active", DefaultStatus: ptr[int32](1)}, {Value: 1, Label: "Inactive", DefaultStatus: ptr[int32](2)}}},
			{LogicalName: "statuscode", SchemaName: "StatusCode", Type: schema.Status, Options: []schema.Option{
				{Value: 1, Label: "Active", State: ptr[int32](0), Next: []int32{2}}, {Value: 2, Label: "Inactive", State: ptr[int32](1)}}},
			{LogicalName: "versionnumber", SchemaName: "VersionNumber", Type: schema.BigInt, NoCreate: true, NoUpdate: true},
		},
	}
}

func contactTable() *schema.Table {
	return &schema.Table{
		LogicalName: "contact", SchemaName: "Contact", EntitySet: "contacts", DisplayName: "Contact", ObjectTypeCode: 2,
		PrimaryID: "contactid", PrimaryName: "fullname", Kind: schema.Standard, Ownership: schema.OrganizationOwned,
		Bulk: []string{"create", "update", "upsert"},
		Columns: []*schema.Column{
			{LogicalName: "contactid", SchemaName: "ContactId", Type: schema.UniqueID, NoUpdate: true, Required: schema.SystemRequired},
			{LogicalName: "fullname", SchemaName: "FullName", Type: schema.Text, MaxLength: 160, Format: "Text", NoCreate: true, NoUpdate: true},
			{LogicalName: "lastname", SchemaName: "LastName", Type: schema.Text, MaxLength: 50, Format: "Text", Required: schema.Recommended},
		},
	}
}

func sensorTable() *schema.Table {
	return &schema.Table{
		LogicalName: "contoso_sensor", SchemaName: "contoso_Sensor", EntitySet: "contoso_sensors", DisplayName: "Sensor", ObjectTypeCode: 10001, Custom: true,
		PrimaryID: "contoso_sensorid", PrimaryName: "contoso_name", Kind: schema.Elastic, Ownership: schema.OrganizationOwned,
		Bulk: []string{"create", "update", "upsert", "delete"},
		Keys: []schema.Key{{LogicalName: "keyfornosqlentitywithpkpartitionid", SchemaName: "KeyForNoSqlEntityWithPKPartitionId", Columns: []string{"contoso_sensorid", "partitionid"}}},
		Columns: []*schema.Column{
			{LogicalName: "contoso_sensorid", SchemaName: "contoso_SensorId", Type: schema.UniqueID, NoUpdate: true},
			{LogicalName: "contoso_name", SchemaName: "contoso_Name", Type: schema.Text, MaxLength: 100, Format: "Text"},
			{LogicalName: "partitionid", SchemaName: "PartitionId", Type: schema.Text, MaxLength: 100, Format: "Text"},
		},
	}
}

func linkTable() *schema.Table {
	return &schema.Table{
		LogicalName: "contoso_account_contact", SchemaName: "contoso_Account_Contact", EntitySet: "contoso_account_contactset", ObjectTypeCode: 10002, Custom: true,
		PrimaryID: "contoso_account_contactid", Kind: schema.Intersect, Ownership: schema.NotOwned,
		Columns: []*schema.Column{
			{LogicalName: "accountid", SchemaName: "accountid", Type: schema.UniqueID, NoCreate: true, NoUpdate: true},
			{LogicalName: "contactid", SchemaName: "contactid", Type: schema.UniqueID, NoCreate: true, NoUpdate: true},
			{LogicalName: "contoso_account_contactid", SchemaName: "contoso_account_contactid", Type: schema.UniqueID, NoCreate: true, NoUpdate: true},
		},
	}
}

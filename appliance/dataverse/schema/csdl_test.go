package schema

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const csdlSample = `<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EntityType Name="crmbaseentity" Abstract="true" />
<EntityType Name="principal" BaseType="mscrm.crmbaseentity" Abstract="true"><Key><PropertyRef Name="ownerid" /></Key>
 <Property Name="ownerid" Type="Edm.Guid" />
 <NavigationProperty Name="owner_accounts" Type="Collection(mscrm.account)" Partner="ownerid" /></EntityType>
<EntityType Name="systemuser" BaseType="mscrm.principal"><Key><PropertyRef Name="ownerid" /></Key>
 <Property Name="systemuserid" Type="Edm.Guid" />
 <NavigationProperty Name="teammembership_association" Type="Collection(mscrm.team)" Partner="teammembership_association" /></EntityType>
<EntityType Name="team" BaseType="mscrm.principal"><Key><PropertyRef Name="ownerid" /></Key>
 <Property Name="teamid" Type="Edm.Guid" />
 <NavigationProperty Name="teammembership_association" Type="Collection(mscrm.systemuser)" Partner="teammembership_association" /></EntityType>
<EntityType Name="teammembership" BaseType="mscrm.crmbaseentity"><Key><PropertyRef Name="teammembershipid" /></Key>
 <Property Name="teammembershipid" Type="Edm.Guid" /><Property Name="teamid" Type="Edm.Guid" /><Property Name="systemuserid" Type="Edm.Guid" />
 <Property Name="versionnumber" Type="Edm.Int64" /></EntityType>
<EntityType Name="account" BaseType="mscrm.crmbaseentity"><Key><PropertyRef Name="accountid" /></Key>
 <Property Name="accountid" Type="Edm.Guid" />
 <Property Name="name" Type="Edm.String" Unicode="false" />
 <Property Name="accountnumber" Type="Edm.String" Unicode="false" />
 <Property Name="revenue" Type="Edm.Decimal" Scale="Variable" /><Property Name="revenue_base" Type="Edm.Decimal" Scale="Variable" />
 <Property Name="exchangerate" Type="Edm.Decimal" Scale="Variable" />
 <Property Name="score" Type="Edm.Decimal" Scale="Variable"><Annotation Term="Org.OData.Core.V1.Computed" Bool="true" /></Property>
 <Property Name="founded" Type="Edm.Date" />
 <Property Name="statecode" Type="Edm.Int32" /><Property Name="statuscode" Type="Edm.Int32" />
 <Property Name="versionnumber" Type="Edm.Int64" ConcurrencyMode="Fixed"><Annotation Term="Org.OData.Core.V1.Permissions"><EnumMember>Org.OData.Core.V1.PermissionType/Read</EnumMember></Annotation></Property>
 <Property Name="entityimage" Type="Edm.Binary" /><Property Name="entityimage_url" Type="Edm.String" Unicode="false" />
 <Property Name="_ownerid_value" Type="Edm.Guid" />
 <Property Name="_contoso_customerid_value" Type="Edm.Guid" />
 <Property Name="_modifiedbyexternalparty_value" Type="Edm.Guid" />
 <NavigationProperty Name="ownerid" Type="mscrm.principal" Nullable="false" Partner="owner_accounts"><ReferentialConstraint Property="_ownerid_value" ReferencedProperty="ownerid" /></NavigationProperty>
 <NavigationProperty Name="contoso_CustomerId_account" Type="mscrm.account" Nullable="false" Partner="contoso_account_customers"><ReferentialConstraint Property="_contoso_customerid_value" ReferencedProperty="accountid" /></NavigationProperty>
 <NavigationProperty Name="contoso_CustomerId_contact" Type="mscrm.contact" Nullable="false" />
 <NavigationProperty Name="contoso_account_customers" Type="Collection(mscrm.account)" Partner="contoso_CustomerId_account" />
 <Annotation Term="OData.Community.Keys.V1.AlternateKeys"><Collection><Record Type="OData.Community.Keys.V1.AlternateKey"><PropertyValue Property="Key"><Collection>
  <Record Type="OData.Community.Keys.V1.PropertyRef"><PropertyValue Property="Alias" String="accountnumber" /><PropertyValue Property="Name" PropertyPath="accountnumber" /></Record>
  <Record Type="OData.Community.Keys.V1.PropertyRef"><PropertyValue Property="Alias" String="_contoso_customerid_value" /><PropertyValue Property="Name" PropertyPath="_contoso_customerid_value" /></Record>
 </Collection></PropertyValue></Record></Collection></Annotation></EntityType>
<EntityType Name="contact" BaseType="mscrm.crmbaseentity"><Key><PropertyRef Name="contactid" /></Key><Property Name="contactid" Type="Edm.Guid" /></EntityType>
<EntityType Name="activitypointer" BaseType="mscrm.crmbaseentity" Abstract="true"><Key><PropertyRef Name="activityid" /></Key>
 <Property Name="activityid" Type="Edm.Guid" /><Property Name="subject" Type="Edm.String" Unicode="false" /><Property Name="_regardingobjectid_value" Type="Edm.Guid" />
 <NavigationProperty Name="regardingobjectid_account" Type="mscrm.account" Nullable="false" Partner="Account_ActivityPointers"><ReferentialConstraint Property="_regardingobjectid_value" ReferencedProperty="accountid" /></NavigationProperty>
 <NavigationProperty Name="regardingobjectid_contact" Type="mscrm.contact" Nullable="false" Partner="Contact_ActivityPointers" /></EntityType>
<EntityType Name="task" BaseType="mscrm.activitypointer"><Property Name="percentcomplete" Type="Edm.Int32" />
 <NavigationProperty Name="regardingobjectid_account_task" Type="mscrm.account" Nullable="false" Partner="Account_Tasks" />
 <NavigationProperty Name="activityid_activitypointer" Type="mscrm.activitypointer" Nullable="false" Partner="activity_pointer_task" /></EntityType>
<EntityType Name="MetadataBase" BaseType="mscrm.crmmodelbaseentity" Abstract="true"><Key><PropertyRef Name="MetadataId" /></Key></EntityType>
<EntityContainer Name="System">
 <EntitySet Name="accounts" EntityType="Microsoft.Dynamics.CRM.account"><NavigationPropertyBinding Path="ownerid" Target="owners" />
  <Annotation Term="Org.OData.Capabilities.V1.ChangeTracking"><Record><PropertyValue Property="Supported" Bool="true" /></Record></Annotation></EntitySet>
 <EntitySet Name="contacts" EntityType="Microsoft.Dynamics.CRM.contact" />
 <EntitySet Name="systemusers" EntityType="Microsoft.Dynamics.CRM.systemuser" /><EntitySet Name="teams" EntityType="Microsoft.Dynamics.CRM.team" />
 <EntitySet Name="teammemberships" EntityType="Microsoft.Dynamics.CRM.teammembership" />
 <EntitySet Name="activitypointers" EntityType="Microsoft.Dynamics.CRM.activitypointer" /><EntitySet Name="tasks" EntityType="Microsoft.Dynamics.CRM.task" />
</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>`

// TestReadCSDL reads one small document that has each construct of
// dataverse-web-api.md 12.6.
func TestReadCSDL(t *testing.T) {
	s, err := ReadCSDL(strings.NewReader(csdlSample))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"systemuser", "team", "teammembership", "account", "contact", "activitypointer", "task"}
	if d := cmp.Diff(want, s.TableNames()); d != "" {
		t.Errorf("tables (-want +got):\n%s", d)
	}
	a := s.Table("account")
	if a.PrimaryID != "accountid" || a.EntitySet != "accounts" || a.Ownership != UserOwned || !a.ChangeTracking || !a.OptimisticConcurrency || a.Kind != Standard {
		t.Errorf("account: %+v", a)
	}
	if got := s.Table("systemuser").PrimaryID; got != "systemuserid" {
		t.Errorf("primary id of systemuser is %s, its key is ownerid of principal", got)
	}
	columns := []struct {
		name    string
		typ     ColumnType
		partOf  string
		create  bool
		update  bool
		targets []string
	}{
		{name: "accountid", typ: UniqueID, create: true},
		{name: "name", typ: Text, create: true, update: true},
		{name: "revenue", typ: Money, create: true, update: true},
		{name: "revenue_base", typ: Money},
		{name: "exchangerate", typ: Decimal},
		{name: "score", typ: Decimal},
		{name: "founded", typ: DateTime, create: true, update: true},
		{name: "statecode", typ: State, create: true, update: true},
		{name: "statuscode", typ: Status, create: true, update: true},
		{name: "versionnumber", typ: BigInt},
		{name: "entityimage", typ: Image, create: true, update: true},
		{name: "entityimage_url", typ: Text, partOf: "entityimage"},
		{name: "ownerid", typ: Owner, create: true, update: true, targets: []string{"systemuser", "team"}},
		{name: "contoso_customerid", typ: Customer, create: true, update: true, targets: []string{"account", "contact"}},
		{name: "modifiedbyexternalparty", typ: Lookup, create: true, update: true},
	}
	for _, w := range columns {
		c := a.Column(w.name)
		if c == nil {
			t.Errorf("account has no column %s", w.name)
			continue
		}
		if c.Type != w.typ || c.PartOf != w.partOf || c.Writable(false) != w.create || c.Writable(true) != w.update || cmp.Diff(w.targets, c.Targets) != "" {
			t.Errorf("column %s: %+v", w.name, c)
		}
		if c.ASCII {
			t.Errorf("column %s: Unicode=\"false\" was taken at its word", w.name)
		}
	}
	wantKeys := []Key{{LogicalName: "accountnumber_contoso_customerid", Columns: []string{"accountnumber", "contoso_customerid"}}}
	if d := cmp.Diff(wantKeys, a.Keys); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	if r := a.Relationship("contoso_customerid", "contact"); r == nil || r.Nav != "contoso_CustomerId_contact" {
		t.Errorf("a navigation property without a constraint finds its column by name: %+v", r)
	}
	if r := a.Relationship("ownerid", "owner"); r == nil || r.Nav != "ownerid" || r.SchemaName != "owner_accounts" {
		t.Errorf("owner: %+v", r)
	}
}

func TestReadCSDLActivity(t *testing.T) {
	s, err := ReadCSDL(strings.NewReader(csdlSample))
	if err != nil {
		t.Fatal(err)
	}
	task := s.Table("task")
	if task.Kind != Activity || task.PrimaryID != "activityid" || task.Column("subject") == nil {
		t.Errorf("task does not inherit from activitypointer: %+v", task)
	}
	want := []Relationship{
		{SchemaName: "Account_Tasks", Column: "regardingobjectid", Target: "account", Nav: "regardingobjectid_account_task", Collection: "Account_Tasks"},
		{SchemaName: "Contact_ActivityPointers", Column: "regardingobjectid", Target: "contact", Nav: "regardingobjectid_contact", Collection: "Contact_ActivityPointers"},
	}
	if d := cmp.Diff(want, task.ManyToOne); d != "" {
		t.Errorf("lookups of task (-want +got):\n%s", d)
	}
}

func TestReadCSDLManyToMany(t *testing.T) {
	s, err := ReadCSDL(strings.NewReader(csdlSample))
	if err != nil {
		t.Fatal(err)
	}
	want := []ManyToMany{{
		SchemaName: "teammembership_association", Intersect: "teammembership",
		Table1: "systemuser", Column1: "systemuserid", Nav1: "teammembership_association",
		Table2: "team", Column2: "teamid", Nav2: "teammembership_association",
	}}
	if d := cmp.Diff(want, s.ManyToMany); d != "" {
		t.Errorf("N:N (-want +got):\n%s", d)
	}
	if got := s.Table("teammembership").Kind; got != Intersect {
		t.Errorf("teammembership is %s", got)
	}
}

// TestReadCSDLRates: a record's exchange rate is set by the service, a currency's is not.
func TestReadCSDLRates(t *testing.T) {
	s, err := ReadCSDL(strings.NewReader(`<Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="crmbaseentity" Abstract="true"/>
		<EntityType Name="transactioncurrency" BaseType="mscrm.crmbaseentity"><Key><PropertyRef Name="transactioncurrencyid"/></Key><Property Name="transactioncurrencyid" Type="Edm.Guid"/><Property Name="exchangerate" Type="Edm.Decimal"/></EntityType>
		<EntityType Name="account" BaseType="mscrm.crmbaseentity"><Key><PropertyRef Name="accountid"/></Key><Property Name="accountid" Type="Edm.Guid"/><Property Name="exchangerate" Type="Edm.Decimal"/></EntityType>
		<EntityContainer Name="System"><EntitySet Name="accounts" EntityType="Microsoft.Dynamics.CRM.account"/><EntitySet Name="transactioncurrencies" EntityType="Microsoft.Dynamics.CRM.transactioncurrency"/></EntityContainer></Schema>`))
	if err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]bool{"account": false, "transactioncurrency": true} {
		c := s.Table(table).Column("exchangerate")
		if c.Writable(false) != want || c.Writable(true) != want {
			t.Errorf("exchangerate of %s: %+v", table, c)
		}
	}
}

func TestReadCSDLRefuses(t *testing.T) {
	wrap := func(inner string) string {
		return `<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm">` + inner + `</Schema>`
	}
	cases := map[string]string{
		"an empty document":             "",
		"another XML document":          "<html><body>Sign in</body></html>",
		"a document cut short":          csdlSample[:len(csdlSample)/2],
		"a type twice":                  wrap(`<EntityType Name="a"/><EntityType Name="a"/>`),
		"a type without a name":         wrap(`<EntityType/>`),
		"a property without a name":     wrap(`<EntityType Name="a"><Property/></EntityType>`),
		"elements nested without bound": wrap(`<EntityType Name="a">` + strings.Repeat("<x>", 100)),
	}
	for name, doc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadCSDL(strings.NewReader(doc)); !errors.Is(err, errCSDL) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestReadCSDLReal reads the metadata of two real organisations. The figures were
// counted in the documents by other means: entity sets less the four of the
// metadata itself, pairs of partnered collections. The N:N relationships without
// an intersect table are those of campaign and list, which share campaignitem and
// listmember.
func TestReadCSDLReal(t *testing.T) {
	cases := []struct {
		file             string
		tables, nn, pair int
	}{
		{"bcgov-jag-lcrb-2020.xml.gz", 390, 44, 33},
		{"simple-odata-crm_schema.xml.gz", 248, 35, 25},
	}
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			doc := openMetadata(t, c.file)
			s, err := ReadCSDL(doc)
			if err != nil {
				t.Fatal(err)
			}
			paired := 0
			for _, m := range s.ManyToMany {
				if m.Intersect != "" {
					paired++
				}
			}
			if len(s.Tables) != c.tables || len(s.ManyToMany) != c.nn || paired != c.pair {
				t.Errorf("tables %d, N:N %d, with intersect table %d, want %+v", len(s.Tables), len(s.ManyToMany), paired, c)
			}
			checkRealTables(t, s)
			var file bytes.Buffer
			if err := s.Write(&file); err != nil {
				t.Fatal(err)
			}
			again, err := Read(&file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(s.TableNames(), again.TableNames()); d != "" {
				t.Error(d)
			}
		})
	}
}

// checkRealTables checks facts that hold in every organisation.
func checkRealTables(t *testing.T, s *Schema) {
	t.Helper()
	for _, name := range []string{"crmbaseentity", "principal", "EntityMetadata"} {
		if s.Table(name) != nil {
			t.Errorf("%s is not a table", name)
		}
	}
	if c := s.Set("accounts"); c == nil || c.LogicalName != "account" || c.PrimaryID != "accountid" || c.Ownership != UserOwned {
		t.Errorf("accounts: %+v", c)
	}
	contact := s.Table("contact")
	if c := contact.Column("parentcustomerid"); c == nil || c.Type != Customer {
		t.Errorf("contact.parentcustomerid: %+v", c)
	}
	if r := contact.Relationship("parentcustomerid", "account"); r == nil || r.Nav != "parentcustomerid_account" || r.Collection != "contact_customer_accounts" {
		t.Errorf("contact.parentcustomerid to account: %+v", r)
	}
	for _, name := range []string{"primarycontactid", "parentaccountid", "transactioncurrencyid"} {
		if c := s.Table("account").Column(name); c == nil || !c.Writable(false) || !c.Writable(true) {
			t.Errorf("account.%s is a lookup that can be written: %+v", name, c)
		}
	}
	if c := contact.Column("createdby"); c == nil || c.Writable(false) {
		t.Errorf("contact.createdby is the service's: %+v", c)
	}
	if c := contact.Column("creditlimit"); c == nil || c.Type != Money {
		t.Errorf("contact.creditlimit: %+v", c)
	}
	task := s.Table("task")
	if r := task.Relationship("regardingobjectid", "account"); r == nil || r.Nav != "regardingobjectid_account_task" {
		t.Errorf("task.regardingobjectid to account: %+v", r)
	}
	if m := s.Link("teammembership"); m == nil || m.Column1 == "" || m.Column2 == "" || m.Nav1 != "teammembership_association" {
		t.Errorf("teammembership: %+v", m)
	}
	for _, table := range s.Tables {
		if table.PrimaryID == "" || table.Column(table.PrimaryID) == nil {
			t.Errorf("table %s: primary id %q is no column", table.LogicalName, table.PrimaryID)
		}
		if table.EntitySet == "" {
			t.Errorf("table %s has no entity set", table.LogicalName)
		}
		for _, r := range table.ManyToOne {
			if c := table.Column(r.Column); c == nil || !c.Type.IsLookup() {
				t.Errorf("table %s: relationship %s is on %s, no lookup", table.LogicalName, r.SchemaName, r.Column)
			}
			if s.Table(r.Target) == nil && r.Target != "owner" {
				t.Errorf("table %s: relationship %s leads to %s, no table", table.LogicalName, r.SchemaName, r.Target)
			}
		}
	}
}

func openMetadata(t testing.TB, file string) io.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "..", "shared", "data", "metadata", file))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no %s beside the repository (../shared/data/metadata): %v", file, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func FuzzReadCSDL(f *testing.F) {
	f.Add([]byte(csdlSample))
	f.Add([]byte(`<Schema><EntityType Name="a" BaseType="x.crmbaseentity"><Property Name="_a_value"/></EntityType></Schema>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := ReadCSDL(bytes.NewReader(doc))
		if err != nil {
			if !errors.Is(err, errCSDL) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		var file bytes.Buffer
		if err := s.Write(&file); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&file); err != nil {
			t.Fatalf("what ReadCSDL made does not read back: %v", err)
		}
	})
}

func BenchmarkReadCSDL(b *testing.B) {
	doc, err := io.ReadAll(openMetadata(b, "bcgov-jag-lcrb-2020.xml.gz"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := ReadCSDL(bytes.NewReader(doc)); err != nil {
			b.Fatal(err)
		}
	}
}

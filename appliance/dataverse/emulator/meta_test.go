package emulator

import (
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
)

// startWith runs an emulator of a schema that the test has changed.
func startWith(t testing.TB, change func(*schema.Schema)) *env {
	t.Helper()
	s := world(t)
	change(s)
	again, err := schema.New(s.Tables, s.ManyToMany)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, func(o *Options) { o.Schema = again })
}

func (e *env) object(path string) map[string]any {
	e.t.Helper()
	var m map[string]any
	a := e.want(200, "", "GET", path, "")
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		e.t.Fatalf("GET %s: %v\n%s", path, err, a.body)
	}
	return m
}

func (e *env) values(path string) []any {
	e.t.Helper()
	v, _ := e.object(path)["value"].([]any)
	return v
}

// TestEntityDefinitions has section 12.1.
func TestEntityDefinitions(t *testing.T) {
	e := start(t)
	m := e.object("EntityDefinitions(LogicalName='account')?$select=LogicalName,SchemaName,EntitySetName,PrimaryIdAttribute,PrimaryNameAttribute,OwnershipType,IsActivity,IsIntersect,TableType,IsOptimisticConcurrencyEnabled,ChangeTrackingEnabled,EnforceStateTransitions,IsCustomEntity,PrimaryImageAttribute")
	want := map[string]any{
		"@odata.context": e.url + "/$metadata#EntityDefinitions(LogicalName,SchemaName,EntitySetName,PrimaryIdAttribute,PrimaryNameAttribute,OwnershipType,IsActivity,IsIntersect,TableType,IsOptimisticConcurrencyEnabled,ChangeTrackingEnabled,EnforceStateTransitions,IsCustomEntity,PrimaryImageAttribute)/$entity",
		"LogicalName":    "account", "SchemaName": "Account", "EntitySetName": "accounts", "PrimaryIdAttribute": "accountid", "PrimaryNameAttribute": "name",
		"OwnershipType": "UserOwned", "IsActivity": false, "IsIntersect": false, "TableType": "Standard", "IsOptimisticConcurrencyEnabled": true,
		"ChangeTrackingEnabled": true, "EnforceStateTransitions": false, "IsCustomEntity": false, "PrimaryImageAttribute": nil,
		"MetadataId": metadataID("entity", "account").String(),
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("account (-want +got):\n%s", d)
	}
	if again := e.object("EntityDefinitions(" + want["MetadataId"].(string) + ")?$select=LogicalName"); again["LogicalName"] != "account" {
		t.Errorf("by MetadataId: %v", again)
	}
	if all := e.values("EntityDefinitions?$select=LogicalName"); len(all) != len(worldTables()) {
		t.Errorf("%d tables", len(all))
	}
	for filter, n := range map[string]int{
		"IsIntersect eq true":          1,
		"LogicalName eq 'account'":     1,
		"IsActivity eq true":           2,
		"ChangeTrackingEnabled":        1,
		"IsCustomEntity ne true":       len(worldTables()) - 1,
		"ObjectTypeCode gt 0":          0,
		"PrimaryNameAttribute eq null": 2,
		"OwnershipType eq Microsoft.Dynamics.CRM.OwnershipTypes'UserOwned'":                                        5,
		"CanCreateAttributes/Value eq false":                                                                       1,
		"LogicalName eq 'account' or LogicalName eq 'contact'":                                                     2,
		"Microsoft.Dynamics.CRM.In(PropertyName='LogicalName',PropertyValues=[\"account\",\"contact\",\"email\"])": 3,
	} {
		if got := e.values("EntityDefinitions?" + query("$select", "LogicalName", "$filter", filter)); len(got) != n {
			t.Errorf("$filter=%s: %d tables, want %d", filter, len(got), n)
		}
	}
	e.has(e.want(404, "0x80041102", "GET", "EntityDefinitions(LogicalName='nothing')", ""), "Could not find an entity with specified LogicalName")
	for _, bad := range []string{"EntityDefinitions?$select=logicalname", "EntityDefinitions?$top=1", "EntityDefinitions?$orderby=LogicalName", "EntityDefinitions?$filter=Nothing%20eq%201", "EntityDefinitions?$expand=Nothing", "EntityDefinitions(17)"} {
		e.want(400, "0x80060888", "GET", bad, "")
	}
}

// TestAttributes has section 12.2: common properties at the base, a type's own
// behind a cast.
func TestAttributes(t *testing.T) {
	e := startWith(t, func(s *schema.Schema) {
		a := s.Table("account")
		a.Columns = append(a.Columns,
			&schema.Column{LogicalName: "primarycontactidname", Type: schema.Text, PartOf: "primarycontactid", MaxLength: 100},
			&schema.Column{LogicalName: "contoso_doc", Type: schema.File, MaxSizeKB: 32768},
			&schema.Column{LogicalName: "entityimage", Type: schema.Image, MaxSizeKB: 10240})
		a.Column("name").Required = schema.ApplicationRequired
		a.Column("name").DisplayName = "Account Name"
	})
	base := "EntityDefinitions(LogicalName='account')/Attributes"
	byName := map[string]map[string]any{}
	for _, v := range e.values(base + "?$select=LogicalName,AttributeType,AttributeTypeName,RequiredLevel,IsValidForCreate,IsValidForUpdate,IsPrimaryId,IsPrimaryName,AttributeOf,SourceType,IsLogical,IsValidODataAttribute") {
		m := v.(map[string]any)
		byName[m["LogicalName"].(string)] = m
	}
	for name, want := range map[string][3]string{
		"accountid": {"UniqueIdentifier", "Uniqueidentifier", "UniqueidentifierType"}, "name": {"String", "String", "StringType"},
		"description": {"Memo", "Memo", "MemoType"}, "contoso_tags": {"MultiSelectPicklist", "Virtual", "MultiSelectPicklistType"},
		"ownerid": {"Lookup", "Owner", "OwnerType"}, "statecode": {"State", "State", "StateType"}, "revenue": {"Money", "Money", "MoneyType"},
		"creditonhold": {"Boolean", "Boolean", "BooleanType"}, "contoso_seen": {"DateTime", "DateTime", "DateTimeType"},
		"contoso_doc": {"File", "Virtual", "FileType"}, "entityimage": {"Image", "Virtual", "ImageType"}, "address1_latitude": {"Double", "Double", "DoubleType"},
	} {
		m := byName[name]
		if m["@odata.type"] != "#Microsoft.Dynamics.CRM."+want[0]+"AttributeMetadata" || m["AttributeType"] != want[1] || m["AttributeTypeName"].(map[string]any)["Value"] != want[2] {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := byName["name"]; m["IsPrimaryName"] != true || m["RequiredLevel"].(map[string]any)["Value"] != "ApplicationRequired" || m["AttributeOf"] != nil {
		t.Errorf("name: %v", m)
	}
	if m := byName["primarycontactidname"]; m["AttributeOf"] != "primarycontactid" || m["IsValidForCreate"] != false || m["IsValidForUpdate"] != false || m["IsLogical"] != true || m["IsValidODataAttribute"] != false {
		t.Errorf("a derived column: %v", m)
	}
	if m := byName["revenue_base"]; m["IsValidForCreate"] != false || m["AttributeOf"] != nil {
		t.Errorf("a base column: %v", m)
	}
	cast := func(typ, selected string) []any {
		return e.values(base + "/Microsoft.Dynamics.CRM." + typ + "?$select=" + selected)
	}
	if v := cast("StringAttributeMetadata", "LogicalName,MaxLength,FormatName,AutoNumberFormat"); !slices.ContainsFunc(v, func(x any) bool {
		m := x.(map[string]any)
		return m["LogicalName"] == "name" && m["MaxLength"] == 160.0 && m["FormatName"].(map[string]any)["Value"] == "Text" && m["@odata.type"] == nil
	}) {
		t.Errorf("strings: %v", v)
	}
	if v := cast("LookupAttributeMetadata", "LogicalName,Targets"); len(v) < 5 {
		t.Errorf("lookups: %v", v)
	}
	if v := cast("MoneyAttributeMetadata", "LogicalName,Precision,PrecisionSource,MinValue,MaxValue,IsBaseCurrency,CalculationOf"); v[1].(map[string]any)["CalculationOf"] != "revenue" || v[0].(map[string]any)["MaxValue"] != 1e9 {
		t.Errorf("money: %v", v)
	}
	if v := cast("DateTimeAttributeMetadata", "LogicalName,Format,DateTimeBehavior"); v[0].(map[string]any)["DateTimeBehavior"].(map[string]any)["Value"] != "DateOnly" {
		t.Errorf("dates: %v", v)
	}
	if v := cast("FileAttributeMetadata", "MaxSizeInKB"); v[0].(map[string]any)["MaxSizeInKB"] != 32768.0 {
		t.Errorf("files: %v", v)
	}
	e.has(e.want(400, "0x80060888", "GET", base+"?$select=MaxLength", ""), "Could not find a property named 'MaxLength' on type 'Microsoft.Dynamics.CRM.AttributeMetadata'.")
	e.want(404, "0x80060888", "GET", base+"/Microsoft.Dynamics.CRM.EnumAttributeMetadata", "")
	one := e.object(base + "(LogicalName='name')/Microsoft.Dynamics.CRM.StringAttributeMetadata?$select=MaxLength")
	if one["MaxLength"] != 160.0 {
		t.Errorf("one column by cast: %v", one)
	}
	label := e.object(base + "(LogicalName='name')/DisplayName")
	if label["UserLocalizedLabel"].(map[string]any)["Label"] != "Account Name" {
		t.Errorf("a property: %v", label)
	}
}

// TestOptionSets has section 12.3.
func TestOptionSets(t *testing.T) {
	e := startWith(t, func(s *schema.Schema) {
		c := s.Table("account").Column("accountcategorycode")
		c.GlobalChoice = "contoso_tier"
		s.Table("account").Column("statuscode").Options[0].Next = []int32{2}
	})
	base := "EntityDefinitions(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM."
	pick := e.values(base + "PicklistAttributeMetadata?$select=LogicalName&$expand=OptionSet($select=Options,IsGlobal,Name),GlobalOptionSet($select=Options,Name)")
	global, local := pick[0].(map[string]any), pick[1].(map[string]any)
	if g := global["GlobalOptionSet"].(map[string]any); g["Name"] != "contoso_tier" || len(g["Options"].([]any)) != 3 {
		t.Errorf("global: %v", global)
	}
	option := local["OptionSet"].(map[string]any)["Options"].([]any)[0].(map[string]any)
	if local["GlobalOptionSet"] != nil || option["Value"] != 1.0 || option["Label"].(map[string]any)["UserLocalizedLabel"].(map[string]any)["Label"] != "Any" {
		t.Errorf("local: %v", local)
	}
	first := func(cast string) map[string]any {
		v := e.values(base + cast + "?$select=LogicalName&$expand=OptionSet")
		return v[0].(map[string]any)["OptionSet"].(map[string]any)
	}
	status := first("StatusAttributeMetadata")["Options"].([]any)
	if s := status[0].(map[string]any); s["State"] != 0.0 || !strings.Contains(s["TransitionData"].(string), `tostatusid="2"`) || status[1].(map[string]any)["TransitionData"] != nil {
		t.Errorf("status: %v", status)
	}
	if s := first("StateAttributeMetadata")["Options"].([]any)[1].(map[string]any); s["DefaultStatus"] != 2.0 || s["InvariantName"] != "Inactive" {
		t.Errorf("state: %v", s)
	}
	if s := first("BooleanAttributeMetadata"); s["TrueOption"].(map[string]any)["Value"] != 1.0 || s["FalseOption"].(map[string]any)["Value"] != 0.0 {
		t.Errorf("yes/no: %v", s)
	}
	if g := e.object("GlobalOptionSetDefinitions(Name='contoso_tier')"); g["OptionSetType"] != "Picklist" || g["IsGlobal"] != true || g["@odata.type"] != "#Microsoft.Dynamics.CRM.OptionSetMetadata" {
		t.Errorf("GlobalOptionSetDefinitions: %v", g)
	}
	if all := e.values("GlobalOptionSetDefinitions"); len(all) != 1 {
		t.Errorf("%d global choices", len(all))
	}
}

// TestRelationships has sections 12.4 and 12.5.
func TestRelationships(t *testing.T) {
	e := start(t)
	contact := "EntityDefinitions(LogicalName='contact')/"
	mto := e.values(contact + "ManyToOneRelationships?$select=SchemaName,ReferencingAttribute,ReferencingEntityNavigationPropertyName,ReferencedEntity,ReferencedAttribute,ReferencedEntityNavigationPropertyName,ReferencingEntity,CascadeConfiguration")
	m := mto[0].(map[string]any)
	if m["ReferencingAttribute"] != "parentcustomerid" || m["ReferencingEntityNavigationPropertyName"] != "parentcustomerid_account" || m["ReferencedEntity"] != "account" ||
		m["ReferencedAttribute"] != "accountid" || m["ReferencedEntityNavigationPropertyName"] != "contact_customer_accounts" || m["CascadeConfiguration"].(map[string]any)["Delete"] != "Cascade" || m["@odata.type"] != nil {
		t.Errorf("many to one: %v", m)
	}
	if otm := e.values("EntityDefinitions(LogicalName='account')/OneToManyRelationships?$select=SchemaName"); len(otm) != 4 {
		t.Errorf("one to many: %v", otm)
	}
	nn := e.values(contact + "ManyToManyRelationships?$select=SchemaName,IntersectEntityName,Entity1LogicalName,Entity1IntersectAttribute,Entity1NavigationPropertyName,Entity2LogicalName,Entity2IntersectAttribute,Entity2NavigationPropertyName")
	if m := nn[0].(map[string]any); m["IntersectEntityName"] != "contoso_account_contact" || m["Entity1IntersectAttribute"] != "accountid" || m["Entity2NavigationPropertyName"] != "contoso_account_contact" {
		t.Errorf("many to many: %v", m)
	}
	if m := e.object("RelationshipDefinitions(SchemaName='contoso_friends')/Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata"); m["Entity2LogicalName"] != "contact" {
		t.Errorf("by name: %v", m)
	}
	if all := e.values("RelationshipDefinitions/Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata"); len(all) != 2 {
		t.Errorf("%d N:N relationships", len(all))
	}
	if all := e.values("RelationshipDefinitions?$select=SchemaName"); all[0].(map[string]any)["@odata.type"] != "#Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata" {
		t.Errorf("relationships: %v", all)
	}
	k := e.values("EntityDefinitions(LogicalName='account')/Keys?$select=LogicalName,SchemaName,KeyAttributes,EntityKeyIndexStatus,EntityLogicalName")
	want := map[string]any{"LogicalName": "contoso_accno", "SchemaName": "contoso_AccNo", "EntityLogicalName": "account", "KeyAttributes": []any{"accountnumber"},
		"EntityKeyIndexStatus": "Active", "MetadataId": metadataID("key", "account", "contoso_accno").String()}
	if d := cmp.Diff(want, k[0]); d != "" {
		t.Errorf("key (-want +got):\n%s", d)
	}
	all := e.object("EntityDefinitions(LogicalName='account')?$select=LogicalName&$expand=Attributes($select=LogicalName),Keys($select=KeyAttributes),ManyToOneRelationships,OneToManyRelationships($select=SchemaName),ManyToManyRelationships")
	for _, nav := range []string{"Attributes", "Keys", "ManyToOneRelationships", "OneToManyRelationships", "ManyToManyRelationships"} {
		if v, _ := all[nav].([]any); len(v) == 0 {
			t.Errorf("$expand=%s brings nothing", nav)
		}
	}
}

// TestMessageFilters has the queries of section 6.2.
func TestMessageFilters(t *testing.T) {
	e := start(t)
	ask := func(message, table string) int {
		return len(e.values("sdkmessagefilters?$select=sdkmessagefilterid&$filter=sdkmessageid/name%20eq%20@m%20and%20primaryobjecttypecode%20eq%20@t&@m='" + message + "'&@t='" + table + "'"))
	}
	for _, c := range []struct {
		message, table string
		want           int
	}{{"CreateMultiple", "contoso_order", 1}, {"UpsertMultiple", "contact", 0}, {"UpdateMultiple", "contact", 1}, {"CreateMultiple", "team", 0}, {"Create", "team", 1}, {"CreateMultiple", "nothing", 0}} {
		if got := ask(c.message, c.table); got != c.want {
			t.Errorf("%s of %s: %d rows, want %d", c.message, c.table, got, c.want)
		}
	}
	all := e.values("sdkmessagefilters?$select=primaryobjecttypecode&$expand=sdkmessageid($select=name)&$filter=sdkmessageid/name%20eq%20'CreateMultiple'")
	if len(all) != 3 || all[0].(map[string]any)["sdkmessageid"].(map[string]any)["name"] != "CreateMultiple" {
		t.Errorf("all at once: %v", all)
	}
}

// TestProbes has section 12.8 and the totals of 10.4.
func TestProbes(t *testing.T) {
	e := start(t, func(o *Options) { o.DopHint = 4 })
	a := e.want(200, "", "GET", "WhoAmI", "")
	e.has(a, `{"@odata.context":"`+e.url+`/$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse","BusinessUnitId":"`+BusinessUnitID.String()+`","UserId":"`+UserID.String()+`","OrganizationId":"`+OrganizationID.String()+`"}`)
	if a.header.Get("x-ms-dop-hint") != "4" {
		t.Errorf("no hint: %v", a.header)
	}
	e.has(e.want(200, "", "GET", "RetrieveVersion()", ""), `"Version":"9.2.`)
	e.has(e.want(404, "", "POST", "WhoAmI", ""), "No HTTP resource was found that matches the request URI")
	e.want(204, "", "POST", "contacts", `{"lastname":"x"}`)
	m := e.object(`RetrieveTotalRecordCount(EntityNames=@p1)?@p1=["account","contact"]`)
	want := map[string]any{"Count": 2.0, "IsReadOnly": false, "Keys": []any{"account", "contact"}, "Values": []any{0.0, 1.0}}
	if d := cmp.Diff(want, m["EntityRecordCountCollection"]); d != "" {
		t.Errorf("totals (-want +got):\n%s", d)
	}
	e.has(e.want(200, "", "GET", "RetrieveCurrentOrganization(AccessType=Microsoft.Dynamics.CRM.EndpointAccessType'Default')", ""), `"OrganizationId":"`+OrganizationID.String())
	e.has(e.want(200, "", "GET", "systemusers("+UserID.String()+")/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()", ""), `"PrivilegeName":"prvCreateAccount"`, `"Depth":"Global"`)
	org := e.values("organizations?$select=languagecode,maxuploadfilesize,expirechangetrackingindays")
	if len(org) != 1 || org[0].(map[string]any)["languagecode"] != 1033.0 {
		t.Errorf("organizations: %v", org)
	}
	sets := e.values("")
	if d := cmp.Diff(map[string]any{"name": "accounts", "kind": "EntitySet", "url": "accounts"}, sets[0]); d != "" {
		t.Errorf("1.1 service document: %v", sets)
	}
}

// TestMetadataDocument reads $metadata back with the schema's own reader (12.6).
func TestMetadataDocument(t *testing.T) {
	e := start(t)
	a := e.want(200, "", "GET", "$metadata?annotations=true", "")
	if a.header.Get("Content-Type") != "application/xml" {
		t.Errorf("content type %s", a.header.Get("Content-Type"))
	}
	checkDocument(t, a.body, world(t))
	e.has(a, `<EntityType Name="account" BaseType="mscrm.crmbaseentity"><Key><PropertyRef Name="accountid" /></Key>`,
		`<Property Name="name" Type="Edm.String" Unicode="false" />`, `<Property Name="_primarycontactid_value" Type="Edm.Guid" />`,
		`<NavigationProperty Name="primarycontactid" Type="mscrm.contact" Nullable="false" Partner="account_primary_contact"><ReferentialConstraint Property="_primarycontactid_value" ReferencedProperty="contactid" /></NavigationProperty>`,
		`<EntityType Name="systemuser" BaseType="mscrm.principal"`, `<NavigationPropertyBinding Path="primarycontactid" Target="contacts" />`,
		`<FunctionImport Name="WhoAmI" Function="Microsoft.Dynamics.CRM.WhoAmI" />`, `<Action Name="CreateMultiple" IsBound="true">`)
}

// TestMetadataDocumentReal serves the schema of a real organisation and reads it
// back.
func TestMetadataDocumentReal(t *testing.T) {
	s := realSchema(t, "simple-odata-crm_schema.xml.gz")
	e := start(t, func(o *Options) { o.Schema = s })
	checkDocument(t, e.want(200, "", "GET", "$metadata?annotations=true", "").body, s)
	if got := e.values("EntityDefinitions?$select=LogicalName&$expand=Attributes($select=LogicalName),Keys,ManyToOneRelationships,ManyToManyRelationships"); len(got) != len(s.Tables) {
		t.Errorf("%d definitions of %d tables", len(got), len(s.Tables))
	}
}

func realSchema(t testing.TB, file string) *schema.Schema {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "..", "shared", "data", "metadata", file))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no %s beside the repository (../shared/data/metadata): %v", file, err)
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
	return s
}

// checkDocument checks that a document is well-formed and names what the schema names.
func checkDocument(t *testing.T, doc string, want *schema.Schema) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(doc)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
	got, err := schema.ReadCSDL(strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	names := slices.DeleteFunc(got.TableNames(), func(name string) bool { // what every environment has
		return want.Table(name) == nil && slices.ContainsFunc(madeSets, func(s madeSet) bool { return s.typ == name })
	})
	if d := cmp.Diff(want.TableNames(), names); d != "" {
		t.Fatalf("tables (-want +got):\n%s", d)
	}
	for _, w := range want.Tables {
		g := got.Table(w.LogicalName)
		if g.EntitySet != w.EntitySet || g.PrimaryID != w.PrimaryID || (g.Kind == schema.Activity) != (w.Kind == schema.Activity) || g.ChangeTracking != w.ChangeTracking {
			t.Errorf("table %s comes back as %+v", w.LogicalName, g)
		}
		if d := cmp.Diff(columnSet(w), columnSet(g)); d != "" {
			t.Errorf("columns of %s (-want +got):\n%s", w.LogicalName, d)
		}
		if len(w.Keys) != len(g.Keys) {
			t.Errorf("%s: %d keys, want %d", w.LogicalName, len(g.Keys), len(w.Keys))
		}
		for _, r := range w.ManyToOne {
			if back := g.Relationship(r.Column, r.Target); back == nil || w.Relationship(r.Column, r.Target).Nav != back.Nav {
				t.Errorf("%s: relationship %+v comes back as %+v", w.LogicalName, r, back)
			}
		}
	}
	if len(got.ManyToMany) != len(want.ManyToMany) {
		t.Errorf("%d N:N relationships, want %d", len(got.ManyToMany), len(want.ManyToMany))
	}
}

// columnSet lists the columns that $metadata can have, and whether each is a lookup.
func columnSet(t *schema.Table) []string {
	var names []string
	for _, c := range t.Columns {
		name := c.LogicalName
		if c.Type.IsLookup() {
			name = "_" + name + "_value"
		}
		if c.Type != schema.PartyList {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestAsManyDigitsAreKeptAsMetadataSay: also where the schema, as one read from a $metadata document, does not say how
// many there are. A client that pulls it rounds as told; were fewer kept, what it loaded would differ.
func TestAsManyDigitsAreKeptAsMetadataSay(t *testing.T) {
	for _, typ := range []schema.ColumnType{schema.Money, schema.Decimal, schema.Float} {
		c := &column{Column: &schema.Column{LogicalName: "x", Type: typ}}
		var said int
		for _, f := range attributeDetails(nil, c) {
			if f.name == "Precision" {
				said = f.value.(int)
			}
		}
		check := c.checkDecimal
		if typ == schema.Float {
			check = c.checkFloat
		}
		v, err := check(jsonLiteral{kind: 'n', text: "1.12121212121212"})
		if err != nil {
			t.Fatal(err)
		}
		if _, kept, _ := strings.Cut(v.String(), "."); said == 0 || len(kept) != said {
			t.Errorf("%s: %d digits said, %s kept", typ, said, v.String())
		}
	}
}

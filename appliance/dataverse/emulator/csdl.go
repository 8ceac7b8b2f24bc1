package emulator

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// getMetadata answers the CSDL of the schema (section 12.6). With
// ?annotations=true it says which columns are read-only and which tables track
// changes; alternate keys are in it always.
func (c *call) getMetadata() error {
	annotated, _ := c.option("annotations")
	w := &csdl{m: c.srv.model, annotated: annotated == "true"}
	w.document()
	c.res.status, c.res.body = http.StatusOK, w.b.Bytes()
	c.set("Content-Type", "application/xml")
	return nil
}

// csdl writes the document. Elements are written as they come: attr takes pairs
// of name and value, and leaves out those without a value.
type csdl struct {
	m         *model
	b         bytes.Buffer
	annotated bool
}

func (w *csdl) open(name string, attrs ...string)  { w.tag(name, ">", attrs) }
func (w *csdl) empty(name string, attrs ...string) { w.tag(name, " />", attrs) }
func (w *csdl) close(name string)                  { w.b.WriteString("</" + name + ">") }

func (w *csdl) tag(name, end string, attrs []string) {
	w.b.WriteString("<" + name)
	for i := 0; i < len(attrs); i += 2 {
		if attrs[i+1] != "" {
			w.b.WriteString(" " + attrs[i] + `="`)
			xml.EscapeText(&w.b, []byte(attrs[i+1])) // into a buffer: cannot fail
			w.b.WriteByte('"')
		}
	}
	w.b.WriteString(end)
}

func (w *csdl) document() {
	w.b.WriteString(`<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">`)
	for _, v := range [][2]string{{"OData.Community.Keys.V1", "Keys"}, {"OData.Community.Display.V1", "Display"}} {
		w.open("edmx:Reference", "Uri", "http://vocabularies.odata.org/"+v[0]+".xml")
		w.empty("edmx:Include", "Namespace", v[0], "Alias", v[1])
		w.empty("edmx:IncludeAnnotations", "TermNamespace", v[0])
		w.close("edmx:Reference")
	}
	w.b.WriteString(`<edmx:DataServices><Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm">`)
	w.empty("EntityType", "Name", "crmbaseentity", "Abstract", "true")
	if w.hasPrincipal() {
		w.open("EntityType", "Name", "principal", "BaseType", "mscrm.crmbaseentity", "Abstract", "true")
		w.key("ownerid")
		w.empty("Property", "Name", "ownerid", "Type", "Edm.Guid")
		w.ownerCollections()
		w.close("EntityType")
	}
	if w.m.byName[pointer] == nil && slices.ContainsFunc(w.m.tables, (*table).isActivity) {
		w.open("EntityType", "Name", pointer, "BaseType", "mscrm.crmbaseentity", "Abstract", "true")
		w.key("activityid")
		w.empty("Property", "Name", "activityid", "Type", "Edm.Guid")
		w.close("EntityType")
	}
	for _, t := range w.m.tables {
		w.entityType(t)
	}
	w.operations()
	w.container()
	w.b.WriteString(`</Schema></edmx:DataServices></edmx:Edmx>`)
}

func (w *csdl) hasPrincipal() bool {
	return w.m.byName["systemuser"] != nil || w.m.byName["team"] != nil
}

func (w *csdl) key(name string) {
	w.open("Key")
	w.empty("PropertyRef", "Name", name)
	w.close("Key")
}

// base is the type a table derives from. An activity derives from
// activitypointer, which is written with nothing but its key where the schema
// lacks it.
func (w *csdl) base(t *table) string {
	switch {
	case t.isPrincipal():
		return "mscrm.principal"
	case t.isActivity() && t.LogicalName != pointer:
		return "mscrm." + pointer
	}
	return "mscrm.crmbaseentity"
}

const pointer = "activitypointer"

// inherits reports whether the activity has a column from activitypointer.
func (w *csdl) inherits(t *table, c *column) bool {
	if !t.isActivity() || t.LogicalName == pointer {
		return false
	}
	if p := w.m.byName[pointer]; p != nil {
		return p.byName[c.LogicalName] != nil
	}
	return c == t.id
}

func (w *csdl) inheritsNav(t *table, nav string) bool {
	p := w.m.byName[pointer]
	return t.isActivity() && p != nil && p != t && p.navs[nav] != nil
}

func (w *csdl) entityType(t *table) {
	abstract, key := "", t.PrimaryID
	if t.LogicalName == pointer {
		abstract = "true"
	}
	if t.isPrincipal() {
		key = "ownerid"
	}
	w.open("EntityType", "Name", t.LogicalName, "BaseType", w.base(t), "Abstract", abstract)
	w.key(key)
	for _, c := range t.cols {
		w.property(t, c)
	}
	for _, r := range t.ManyToOne {
		w.parent(t, r)
	}
	w.collections(t)
	for _, l := range w.m.links {
		for side, nav := range []string{l.Nav1, l.Nav2} {
			if l.tables[side] == t && nav != "" {
				w.empty("NavigationProperty", "Name", nav, "Type", "Collection(mscrm."+l.tables[1-side].LogicalName+")", "Partner", [2]string{l.Nav2, l.Nav1}[side])
			}
		}
	}
	w.alternateKeys(t)
	w.close("EntityType")
}

// property writes a column, unless a base type has it.
func (w *csdl) property(t *table, c *column) {
	if c.hidden() || t.isPrincipal() && c.LogicalName == "ownerid" || w.inherits(t, c) {
		return
	}
	edm, unicode, scale, concurrency := edmType(c), "", "", ""
	switch {
	case c.Type == schema.ManagedProp:
		edm = "mscrm.BooleanManagedProperty"
	case edm == "Edm.String":
		unicode = "false" // on every string of the service
	case edm == "Edm.Decimal":
		scale = "Variable"
	}
	if c == t.versionNumber && t.OptimisticConcurrency {
		concurrency = "Fixed"
	}
	attrs := []string{"Name", c.wire, "Type", edm, "Unicode", unicode, "Scale", scale, "ConcurrencyMode", concurrency}
	if !w.annotated || c.Writable(false) || c.Writable(true) {
		w.empty("Property", attrs...)
		return
	}
	w.open("Property", attrs...)
	if c.SourceType != 0 {
		w.empty("Annotation", "Term", "Org.OData.Core.V1.Computed", "Bool", "true")
	}
	w.open("Annotation", "Term", "Org.OData.Core.V1.Permissions")
	w.b.WriteString("<EnumMember>Org.OData.Core.V1.PermissionType/Read</EnumMember>")
	w.close("Annotation")
	w.close("Property")
}

// parent writes a lookup's navigation property.
func (w *csdl) parent(t *table, r schema.Relationship) {
	c := t.byName[r.Column]
	target, key := r.Target, ""
	if r.Target == "owner" {
		target, key = "principal", "ownerid"
	} else if of := w.m.byName[r.Target]; of != nil {
		key = of.PrimaryID
	}
	if c == nil || key == "" || r.Nav == "" || r.Target == "owner" && !w.hasPrincipal() || w.inheritsNav(t, r.Nav) {
		return
	}
	w.open("NavigationProperty", "Name", r.Nav, "Type", "mscrm."+target, "Nullable", "false", "Partner", r.Collection)
	w.empty("ReferentialConstraint", "Property", c.wire, "ReferencedProperty", key)
	w.close("NavigationProperty")
}

// collections writes the 1:N collections of a table.
func (w *csdl) collections(t *table) {
	for _, rel := range t.incoming {
		if rel.Collection != "" && t.collections[rel.Collection] == rel {
			w.empty("NavigationProperty", "Name", rel.Collection, "Type", "Collection(mscrm."+rel.from.LogicalName+")", "Partner", rel.Nav)
		}
	}
}

func (w *csdl) ownerCollections() {
	seen := map[string]bool{}
	for _, t := range w.m.tables {
		for _, r := range t.ManyToOne {
			if r.Target == "owner" && r.Collection != "" && !seen[r.Collection] {
				seen[r.Collection] = true
				w.empty("NavigationProperty", "Name", r.Collection, "Type", "Collection(mscrm."+t.LogicalName+")", "Partner", r.Nav)
			}
		}
	}
}

func (w *csdl) alternateKeys(t *table) {
	if len(t.Table.Keys) == 0 {
		return
	}
	w.open("Annotation", "Term", "OData.Community.Keys.V1.AlternateKeys")
	w.open("Collection")
	for _, k := range t.keys[:len(t.Table.Keys)] {
		w.open("Record", "Type", "OData.Community.Keys.V1.AlternateKey")
		w.open("PropertyValue", "Property", "Key")
		w.open("Collection")
		for _, c := range k.cols {
			w.open("Record", "Type", "OData.Community.Keys.V1.PropertyRef")
			w.empty("PropertyValue", "Property", "Alias", "String", c.wire)
			w.empty("PropertyValue", "Property", "Name", "PropertyPath", c.wire)
			w.close("Record")
		}
		w.b.WriteString("</Collection></PropertyValue></Record>")
	}
	w.b.WriteString("</Collection></Annotation>")
}

// container writes the entity sets, with where their navigation properties lead.
func (w *csdl) container() {
	w.open("EntityContainer", "Name", "System")
	for _, t := range w.m.tables {
		if t.EntitySet == "" {
			continue
		}
		w.open("EntitySet", "Name", t.EntitySet, "EntityType", namespace+t.LogicalName)
		bind := func(nav string, to *table) {
			if nav != "" && to != nil && to.EntitySet != "" {
				w.empty("NavigationPropertyBinding", "Path", nav, "Target", to.EntitySet)
			}
		}
		for _, r := range t.ManyToOne {
			if r.Target == "owner" && r.Nav != "" && w.hasPrincipal() {
				w.empty("NavigationPropertyBinding", "Path", r.Nav, "Target", "owners")
			}
			bind(r.Nav, w.m.byName[r.Target])
		}
		for _, rel := range t.incoming {
			if t.collections[rel.Collection] == rel {
				bind(rel.Collection, rel.from)
			}
		}
		for _, l := range w.m.links {
			for side, nav := range []string{l.Nav1, l.Nav2} {
				if l.tables[side] == t {
					bind(nav, l.tables[1-side])
				}
			}
		}
		if w.annotated {
			w.open("Annotation", "Term", "Org.OData.Capabilities.V1.ChangeTracking")
			w.open("Record")
			w.empty("PropertyValue", "Property", "Supported", "Bool", map[bool]string{true: "true", false: "false"}[t.ChangeTracking])
			w.b.WriteString("</Record></Annotation>")
		}
		w.close("EntitySet")
	}
	for _, o := range csdlOperations {
		if !o.bound {
			w.empty(o.kind+"Import", "Name", o.name, o.kind, namespace+o.name)
		}
	}
	w.close("EntityContainer")
}

// csdlOperation is an operation as the document declares it. Parameters and
// results are "Name Type", separated by commas.
type csdlOperation struct {
	kind, name string
	bound      bool
	parameters string
	result     string // properties of its response type; empty for none
}

// csdlOperations are the unbound operations of the emulator, and the bound ones
// that belong to one table.
var csdlOperations = []csdlOperation{
	{"Function", "WhoAmI", false, "", "BusinessUnitId Edm.Guid,UserId Edm.Guid,OrganizationId Edm.Guid"},
	{"Function", "RetrieveVersion", false, "", "Version Edm.String"},
	{"Function", "RetrieveTotalRecordCount", false, "EntityNames Collection(Edm.String)", "EntityRecordCountCollection mscrm.EntityRecordCountCollection"},
	{"Function", "RetrieveCurrentOrganization", false, "AccessType mscrm.EndpointAccessType", "Detail mscrm.OrganizationDetail"},
	{"Function", "CalculateRollupField", false, "Target mscrm.crmbaseentity,FieldName Edm.String", ""},
	{"Function", "RetrieveUserPrivileges", true, "entity mscrm.systemuser", "RolePrivileges Collection(mscrm.RolePrivilege)"},
	{"Action", "BulkDelete", false, "QuerySet Collection(mscrm.QueryExpression),JobName Edm.String,SendEmailNotification Edm.Boolean,RecurrencePattern Edm.String,StartDateTime Edm.DateTimeOffset,RunNow Edm.Boolean", "JobId Edm.Guid"},
	{"Action", "InitializeFileBlocksUpload", false, "Target mscrm.crmbaseentity,FileName Edm.String,FileAttributeName Edm.String", "FileContinuationToken Edm.String"},
	{"Action", "UploadBlock", false, "BlockId Edm.String,BlockData Edm.Binary,FileContinuationToken Edm.String", ""},
	{"Action", "CommitFileBlocksUpload", false, "FileName Edm.String,MimeType Edm.String,BlockList Collection(Edm.String),FileContinuationToken Edm.String", "FileId Edm.Guid,FileSizeInBytes Edm.Int64"},
}

func (w *csdl) operations() {
	w.b.WriteString(`<ComplexType Name="BooleanManagedProperty"><Property Name="Value" Type="Edm.Boolean" Nullable="false" /><Property Name="CanBeChanged" Type="Edm.Boolean" Nullable="false" /><Property Name="ManagedPropertyLogicalName" Type="Edm.String" Unicode="false" /></ComplexType>` +
		`<ComplexType Name="EntityRecordCountCollection"><Property Name="Count" Type="Edm.Int32" Nullable="false" /><Property Name="IsReadOnly" Type="Edm.Boolean" Nullable="false" /><Property Name="Keys" Type="Collection(Edm.String)" Unicode="false" /><Property Name="Values" Type="Collection(Edm.Int64)" Nullable="false" /></ComplexType>` +
		`<ComplexType Name="OrganizationDetail"><Property Name="OrganizationId" Type="Edm.Guid" Nullable="false" /><Property Name="FriendlyName" Type="Edm.String" Unicode="false" /></ComplexType>` +
		`<ComplexType Name="RolePrivilege"><Property Name="Depth" Type="Edm.String" Unicode="false" /><Property Name="PrivilegeId" Type="Edm.Guid" Nullable="false" /><Property Name="BusinessUnitId" Type="Edm.Guid" Nullable="false" /><Property Name="PrivilegeName" Type="Edm.String" Unicode="false" /></ComplexType>` +
		`<ComplexType Name="QueryExpression" OpenType="true" />` +
		`<EnumType Name="EndpointAccessType"><Member Name="Default" Value="0" /><Member Name="Internet" Value="1" /><Member Name="Intranet" Value="2" /></EnumType>`)
	for _, o := range csdlOperations {
		if o.bound && !w.hasPrincipal() {
			continue
		}
		w.operation(o, "")
	}
	for _, t := range w.m.tables {
		for _, b := range []struct{ action, name, result string }{
			{"create", "CreateMultiple", "Ids Collection(Edm.Guid)"}, {"update", "UpdateMultiple", ""},
			{"upsert", "UpsertMultiple", ""}, {"delete", "DeleteMultiple", ""},
		} {
			if t.CanBulk(b.action) {
				of := "Collection(mscrm." + t.LogicalName + ")"
				w.operation(csdlOperation{"Action", b.name, true, "entityset " + of + ",Targets " + of, b.result}, t.LogicalName)
			}
		}
	}
}

// operation writes one operation after the type of its response. of tells apart
// the overloads that are bound to tables.
func (w *csdl) operation(o csdlOperation, of string) {
	response := o.name + of + "Response"
	if o.result != "" {
		w.open("ComplexType", "Name", response)
		w.typed("Property", o.result, "")
		w.close("ComplexType")
	}
	w.open(o.kind, "Name", o.name, "IsBound", map[bool]string{true: "true"}[o.bound])
	if o.parameters != "" {
		w.typed("Parameter", o.parameters, "false")
	}
	if o.result != "" {
		w.empty("ReturnType", "Type", "mscrm."+response, "Nullable", "false")
	}
	w.close(o.kind)
}

func (w *csdl) typed(element, list, nullable string) {
	for item := range strings.SplitSeq(list, ",") {
		name, typ, _ := strings.Cut(item, " ")
		unicode := ""
		if strings.Contains(typ, "Edm.String") {
			unicode = "false"
		}
		w.empty(element, "Name", name, "Type", typ, "Nullable", nullable, "Unicode", unicode)
	}
}

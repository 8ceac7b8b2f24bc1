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
	for _, s := range w.m.made() {
		w.madeType(s)
	}
	w.definitions()
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
	var keys [][]string
	for _, k := range t.addressing() {
		var names []string
		for _, name := range k.Columns {
			names = append(names, t.byName[name].wire)
		}
		keys = append(keys, names)
	}
	w.alternateKeys(keys)
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

// ownedBy reports whether a relationship is one of those of an owner's lookup that name
// users or teams instead of what they derive from.
func (w *csdl) ownedBy(t *table, r schema.Relationship) bool {
	c := t.byName[r.Column]
	return c != nil && c.Type == schema.Owner && r.Target != "owner" && w.hasPrincipal()
}

// parent writes a lookup's navigation property.
func (w *csdl) parent(t *table, r schema.Relationship) {
	c := t.byName[r.Column]
	target, key := r.Target, ""
	if w.ownedBy(t, r) {
		if slices.ContainsFunc(t.ManyToOne, func(o schema.Relationship) bool {
			return o.Nav == r.Nav && (o.Target == "owner" || o.Target < r.Target)
		}) {
			return // the same property: it leads to what users and teams derive from
		}
		r.Target = "owner"
	}
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
		if rel.Collection != "" && t.collections[rel.Collection] == rel && !w.ownedBy(rel.from, rel.Relationship) {
			w.empty("NavigationProperty", "Name", rel.Collection, "Type", "Collection(mscrm."+rel.from.LogicalName+")", "Partner", rel.Nav)
		}
	}
}

func (w *csdl) ownerCollections() {
	seen := map[string]bool{}
	for _, t := range w.m.tables {
		for _, r := range t.ManyToOne {
			if (r.Target == "owner" || w.ownedBy(t, r)) && r.Collection != "" && !seen[r.Collection] && !w.inheritsNav(t, r.Nav) {
				seen[r.Collection] = true
				w.empty("NavigationProperty", "Name", r.Collection, "Type", "Collection(mscrm."+t.LogicalName+")", "Partner", r.Nav)
			}
		}
	}
}

func (w *csdl) alternateKeys(keys [][]string) {
	if len(keys) == 0 {
		return
	}
	w.open("Annotation", "Term", "OData.Community.Keys.V1.AlternateKeys")
	w.open("Collection")
	for _, names := range keys {
		w.open("Record", "Type", "OData.Community.Keys.V1.AlternateKey")
		w.open("PropertyValue", "Property", "Key")
		w.open("Collection")
		for _, name := range names {
			w.open("Record", "Type", "OData.Community.Keys.V1.PropertyRef")
			w.empty("PropertyValue", "Property", "Alias", "String", name)
			w.empty("PropertyValue", "Property", "Name", "PropertyPath", name)
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
		owned := false
		for _, r := range t.ManyToOne {
			if r.Target != "owner" && !w.ownedBy(t, r) {
				bind(r.Nav, w.m.byName[r.Target])
			} else if r.Nav != "" && w.hasPrincipal() && !owned {
				owned = true
				w.empty("NavigationPropertyBinding", "Path", r.Nav, "Target", "owners") // which the service does not declare either
			}
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
	for _, s := range w.m.made() {
		w.madeSet(s)
	}
	for _, s := range definitionSets {
		w.definitionSet(s.name, s.typ, s.bindings)
	}
	for _, o := range csdlOperations {
		if !o.bound && w.knows(o) {
			w.empty(o.kind+"Import", "Name", o.name, o.kind, namespace+o.name)
		}
	}
	w.close("EntityContainer")
}

// operation writes one operation after the type of its response. of tells apart
// the overloads that are bound to tables.
func (w *csdl) operation(o csdlOperation, of string) {
	response := o.name + of + "Response"
	rows := strings.HasPrefix(o.result, "Collection(")
	if o.result != "" && !rows {
		w.open("ComplexType", "Name", response)
		w.typed("Property", o.result, "")
		w.close("ComplexType")
	}
	w.open(o.kind, "Name", o.name, "IsBound", map[bool]string{true: "true"}[o.bound])
	if o.parameters != "" {
		w.typed("Parameter", o.parameters, "false")
	}
	switch {
	case rows:
		w.empty("ReturnType", "Type", o.result, "Nullable", "false")
	case o.result != "":
		w.empty("ReturnType", "Type", "mscrm."+response, "Nullable", "false")
	case o.kind == "Function":
		w.empty("ReturnType", "Type", "mscrm.crmbaseentity", "Nullable", "false")
	}
	w.close(o.kind)
}

func (w *csdl) typed(element, list, nullable string) {
	for item := range strings.SplitSeq(list, ",") {
		name, typ, _ := strings.Cut(strings.TrimSpace(item), " ")
		nullable, unicode := nullable, ""
		if bare, may := strings.CutSuffix(typ, "?"); may {
			typ, nullable = bare, ""
		}
		if strings.Contains(typ, "Edm.String") {
			unicode = "false"
		}
		w.empty(element, "Name", name, "Type", typ, "Nullable", nullable, "Unicode", unicode)
	}
}

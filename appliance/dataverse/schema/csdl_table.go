package schema

import (
	"slices"
	"strings"
)

// The abstract types of the service's own model (dataverse-web-api.md 12.6).
const (
	csdlRoot      = "crmbaseentity"
	csdlPrincipal = "principal"
	csdlActivity  = "activitypointer"
)

// csdlReadOnly names the columns that the service sets itself in every table
// (dataverse-web-api.md 4.3, 4.7, 4.12), for documents without annotations.
var csdlReadOnly = []string{
	"createdon", "createdby", "createdonbehalfby", "modifiedon", "modifiedby", "modifiedonbehalfby",
	"versionnumber", "owninguser", "owningteam", "exchangerate",
}

// csdlCreateOnly names the columns that are taken on create only (4.12, 4.13).
var csdlCreateOnly = []string{"importsequencenumber", "overriddencreatedon"}

func (d *csdlDoc) build() (*Schema, error) {
	var tables []*Table
	for _, t := range d.types {
		set := d.sets[t.name]
		if !d.isTable(t) || t.abstract && set == nil {
			continue
		}
		tables = append(tables, d.table(t, set))
	}
	links := d.links(tables)
	return New(tables, links)
}

// isTable tells the tables from the types of the metadata itself.
func (d *csdlDoc) isTable(t *csdlType) bool {
	for range csdlMaxDepth { // a base chain of the service has three links at most
		if t.base == csdlRoot {
			return true
		}
		if t = d.byName[t.base]; t == nil {
			return false
		}
	}
	return false
}

// chain lists the type and its bases below crmbaseentity, nearest first.
func (d *csdlDoc) chain(t *csdlType) []*csdlType {
	var chain []*csdlType
	for t != nil && t.name != csdlRoot && len(chain) < csdlMaxDepth {
		chain = append(chain, t)
		t = d.byName[t.base]
	}
	return chain
}

func (d *csdlDoc) table(t *csdlType, set *csdlSet) *Table {
	out := &Table{LogicalName: t.name, Kind: Standard, Custom: strings.Contains(t.name, "_")}
	if set != nil {
		out.EntitySet, out.ChangeTracking = set.name, set.track
	}
	chain := d.chain(t)
	for _, of := range chain {
		if of.name == csdlActivity {
			out.Kind = Activity
		}
		if out.PrimaryID == "" && len(of.key) > 0 {
			out.PrimaryID = of.key[0]
		}
	}
	// systemuser and team take their key, ownerid, from principal; the table's own
	// primary id is the same value under its own name (12.6, 14.2).
	own := func(name string) bool {
		return slices.ContainsFunc(t.props, func(p csdlProperty) bool { return p.name == name })
	}
	if out.PrimaryID == "ownerid" && own(t.name+"id") {
		out.PrimaryID = t.name + "id"
	}
	d.columns(out, chain)
	d.lookups(out, chain)
	for _, key := range t.keys {
		if k := alternateKey(key); out.hasAll(k.Columns) {
			out.Keys = append(out.Keys, k)
		}
	}
	out.Ownership = out.ownership()
	if out.has("partitionid") && out.has("ttlinseconds") {
		out.Kind = Elastic
	}
	return out
}

// columns turns the properties into columns, own before inherited.
func (d *csdlDoc) columns(out *Table, chain []*csdlType) {
	out.byColumn = map[string]*Column{}
	for _, of := range chain {
		if of.name == csdlPrincipal {
			continue
		}
		names := map[string]csdlProperty{}
		for _, p := range of.props {
			names[p.name] = p
		}
		for _, p := range of.props {
			out.OptimisticConcurrency = out.OptimisticConcurrency || p.fixed
			c := column(p, names, out.PrimaryID)
			if out.byColumn[c.LogicalName] == nil {
				out.byColumn[c.LogicalName] = c
				out.Columns = append(out.Columns, c)
			}
		}
	}
}

// column types one property by its EDM type, its name and its companions.
func column(p csdlProperty, siblings map[string]csdlProperty, primary string) *Column {
	has := func(name string) bool { return siblings[name].name != "" }
	// `_x_value` is read-only in itself, and so annotated: the lookup is written
	// through its navigation property (4.6).
	fixed := (p.computed || p.readOnly) && !isLookupValue(p.name)
	c := &Column{LogicalName: p.name, Type: edmType[p.typ], NoCreate: fixed, NoUpdate: fixed}
	if c.Type == "" {
		c.Type = Other
	}
	stem, isBase := strings.CutSuffix(p.name, "_base")
	switch {
	case isLookupValue(p.name):
		c.LogicalName, c.Type = p.name[1:len(p.name)-len("_value")], Lookup
	case p.name == "statecode":
		c.Type = State
	case p.name == "statuscode":
		c.Type = Status
	case p.typ == "Edm.Date":
		c.DateBehavior = DateOnly
	case p.typ == "Edm.Decimal" && isBase && has(stem):
		c.Type, c.CalculationOf, c.NoCreate, c.NoUpdate = Money, stem, true, true
	case p.typ == "Edm.Decimal" && has(p.name+"_base"):
		c.Type = Money
	case p.typ == "Edm.Guid" && p.name != primary && has(p.name+"_name"):
		c.Type, c.NoCreate, c.NoUpdate = File, true, true // set by upload only (4.1)
	case p.typ == "Edm.Binary" && has(p.name+"_url"):
		c.Type = Image
	}
	for _, suffix := range []string{"_url", "_timestamp", "id", "_name"} {
		of, ok := strings.CutSuffix(p.name, suffix)
		if s := siblings[of]; ok && (s.typ == "Edm.Binary" && suffix != "_name" || s.typ == "Edm.Guid" && suffix == "_name" && of != primary) {
			c.PartOf, c.NoCreate, c.NoUpdate = of, true, true
		}
	}
	if slices.Contains(csdlReadOnly, c.LogicalName) && primary != "transactioncurrencyid" { // whose rate is its own
		c.NoCreate, c.NoUpdate = true, true
	}
	if p.name == primary {
		c.NoCreate, c.NoUpdate, c.Required = false, true, SystemRequired
	}
	if slices.Contains(csdlCreateOnly, p.name) {
		c.NoCreate, c.NoUpdate = false, true
	}
	return c
}

// edmType maps the types of 4.1 to what is sure of them.
var edmType = map[string]ColumnType{
	"Edm.String": Text, "Edm.Int32": Integer, "Edm.Int16": Integer, "Edm.Int64": BigInt,
	"Edm.Decimal": Decimal, "Edm.Double": Float, "Edm.Boolean": YesNo, "Edm.Guid": UniqueID,
	"Edm.DateTimeOffset": DateTime, "Edm.Date": DateTime, "mscrm.BooleanManagedProperty": ManagedProp,
	"Microsoft.Dynamics.CRM.BooleanManagedProperty": ManagedProp,
}

func isLookupValue(name string) bool {
	return len(name) > len("__value") && name[0] == '_' && strings.HasSuffix(name, "_value")
}

// lookups turns the single-valued navigation properties into relationships, own
// before inherited: task has regardingobjectid_account_task of its own and
// inherits regardingobjectid_account, and the first is the one to bind.
func (d *csdlDoc) lookups(out *Table, chain []*csdlType) {
	seen := map[[2]string]bool{}
	for _, of := range chain {
		for _, n := range of.navs {
			c := out.lookupColumn(n)
			if n.collection || c == nil {
				continue
			}
			if key := [2]string{c.LogicalName, n.target}; !seen[key] {
				seen[key] = true
				out.ManyToOne = append(out.ManyToOne, relationship(out, c, n))
				c.Targets = append(c.Targets, d.targets(n.target)...)
			}
			if strings.EqualFold(n.name, c.LogicalName) {
				c.SchemaName = n.name
			}
		}
	}
	for _, c := range out.Columns {
		slices.Sort(c.Targets)
		switch {
		case c.Type != Lookup:
		case c.LogicalName == "ownerid":
			c.Type = Owner
		case slices.Equal(c.Targets, []string{"account", "contact"}):
			c.Type = Customer
		}
	}
}

// lookupColumn finds the lookup a navigation property reads: by its
// ReferentialConstraint, or, where the service leaves that out (as it does for
// lookups that an activity inherits), by the longest column name it begins with.
func (t *Table) lookupColumn(n csdlNav) *Column {
	if isLookupValue(n.property) {
		return t.byColumn[n.property[1:len(n.property)-len("_value")]]
	}
	var best *Column
	name := strings.ToLower(n.name)
	for _, c := range t.Columns {
		rest, ok := strings.CutPrefix(name, strings.ToLower(c.LogicalName))
		if c.Type == Lookup && ok && (rest == "" || rest[0] == '_') && (best == nil || len(c.LogicalName) > len(best.LogicalName)) {
			best = c
		}
	}
	return best
}

// targets lists the tables a navigation property leads to: principal stands for
// the types that derive from it, systemuser and team.
func (d *csdlDoc) targets(name string) []string {
	t := d.byName[name]
	if t == nil || d.sets[name] != nil || !t.abstract {
		return []string{name}
	}
	var names []string
	for _, sub := range d.types {
		if sub.base == name {
			names = append(names, sub.name)
		}
	}
	slices.Sort(names)
	return names
}

// relationship names the target as EntityDefinitions does, where an owner lookup
// has one relationship, to "owner".
func relationship(t *Table, c *Column, n csdlNav) Relationship {
	r := Relationship{SchemaName: n.partner, Column: c.LogicalName, Target: n.target, Nav: n.name, Collection: n.partner}
	if n.target == csdlPrincipal {
		r.Target = "owner"
	}
	if r.SchemaName == "" {
		r.SchemaName = t.LogicalName + "_" + n.name
	}
	return r
}

func alternateKey(properties []string) Key {
	k := Key{Columns: make([]string, len(properties))}
	for i, p := range properties {
		if k.Columns[i] = p; isLookupValue(p) {
			k.Columns[i] = p[1 : len(p)-len("_value")]
		}
	}
	k.LogicalName = strings.Join(k.Columns, "_")
	return k
}

func (t *Table) has(column string) bool { return t.byColumn[column] != nil }

func (t *Table) hasAll(columns []string) bool {
	for _, c := range columns {
		if !t.has(c) {
			return false
		}
	}
	return len(columns) > 0
}

// ownership tells by the owner columns who owns the records (14.4).
func (t *Table) ownership() Ownership {
	owner := t.byColumn["ownerid"]
	switch {
	case owner != nil && owner.Type == Owner:
		return UserOwned
	case t.has("organizationid") && t.PrimaryID != "organizationid":
		return OrganizationOwned
	case t.has("owningbusinessunit"):
		return BusinessOwned
	}
	return NotOwned
}

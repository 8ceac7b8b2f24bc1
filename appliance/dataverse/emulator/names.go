package emulator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// model is the schema made ready for look-ups by every name the API uses. It is
// read-only after New.
type model struct {
	schema *schema.Schema
	// choices are global choices that no column has (alter.go).
	choices []*schema.Column
	base    []byte        // with a state file: the layout at the start of the emulator
	kept    []byte        // with a state file: its record of the altered schema (stateschema.go)
	failed  []schema.GUID // metadata ids of the keys whose index could not be built (alter_key.go)
	tables  []*table
	byName  map[string]*table
	bySet   map[string]*table
	links   []*manyToMany
	texts   *collation // how the database compares texts; one for all tables
}

// table is a schema table with what the emulator needs beside it. The record
// storage of a table is in store.tables[t.idx].
type table struct {
	*schema.Table
	idx    int
	cols   []*column // by column.idx, in schema order
	byName map[string]*column
	id     *column // the primary key; never nil

	props       map[string]property  // what may stand in a write body
	navs        map[string]*relation // single-valued navigation properties of this table
	collections map[string]*relation // collection navigation properties: rows of relation.from that point here
	nn          map[string]linkEnd   // N:N collection navigation properties
	incoming    []*relation          // lookups of all tables that point here
	keys        []*altKey
	bulk        []string    // the bulk actions it takes
	activities  []*table    // of activitypointer: the tables whose rows it shows
	intersect   *manyToMany // when this is the intersect table of an N:N relationship
	texts       *collation

	// Well-known columns, nil where the schema has none.
	state, status, owner, currency, exchangeRate          *column
	createdOn, modifiedOn, createdBy, modifiedBy          *column
	createdOnBehalf, modifiedOnBehalf, versionNumber      *column
	overriddenCreatedOn, owningUser, owningTeam, owningBU *column
	firstName, lastName, fullName, organization           *column
	activityType                                          *column

	defaults              []assign // of choices and yes/no, on create
	openState, openStatus int32    // what a new row starts with
	initialStateOnly      bool     // a new row always starts open (section 4.5)
	closeByMessage        bool     // an opportunity is not won or lost by a plain write
	closed                []int64  // states in which a row's columns cannot be changed (trap 12)
	autoNumbers           []*column
	money                 []*column
	ttl                   *column   // of an elastic table
	body                  *column   // of a note or attachment
	files, images         []*column // file and image columns
	parties               *relation // of an activity: its activityparty rows
}

// column is a schema column with its place in a row.
type column struct {
	*schema.Column
	idx     int
	t       *table
	storage storage
	targets []*table // of a lookup, in schema order; those the schema lacks are left out
	base    *column  // of a computed <col>_base: the money column
	derived derivation
	wire    string // the property's name in JSON: name, or _name_value
	system  bool   // set by the service alone: a value in a body is ignored
	rollup  *rollup
}

// relation is one lookup column's relationship to one target.
type relation struct {
	schema.Relationship
	from   *table
	col    *column
	target *table // nil for ownerid: any of col.targets, the value says which
}

// manyToMany is one N:N relationship. Links are kept in store.links[idx].
type manyToMany struct {
	schema.ManyToMany
	idx    int
	tables [2]*table
	rows   *table // the intersect table, when the schema has it
}

// linkEnd is one side of an N:N relationship: side 0 means the navigation starts
// at Table1's record.
type linkEnd struct {
	m    *manyToMany
	side int
}

// altKey is an alternate key.
type altKey struct {
	schema.Key
	rule bool // no key: the index of a duplicate detection rule
	t    *table
	idx  int
	cols []*column
}

// property is what a name in a write body stands for. Exactly one field is set.
type property struct {
	col        *column   // a plain column
	readOnly   *column   // _x_value, read-only
	nav        *relation // single-valued navigation
	collection *relation // 1:N collection
	link       *linkEnd  // N:N collection
}

// newModel compiles the schema. A relationship whose tables or column the schema
// lacks is left out; a key naming an unknown column is an error.
func newModel(s *schema.Schema, o *Options, choices ...*schema.Column) (*model, error) {
	m := &model{schema: s, choices: choices, texts: newCollation(cmp.Or(o.Language, schema.DefaultLanguage)), byName: map[string]*table{}, bySet: map[string]*table{}}
	for _, st := range append(slices.Clip(s.Tables), closingTables(s)...) {
		t := &table{Table: st, idx: len(m.tables), texts: m.texts, bulk: bulkOf(st, o.AssumeBulk), byName: map[string]*column{}, props: map[string]property{},
			navs: map[string]*relation{}, collections: map[string]*relation{}, nn: map[string]linkEnd{}}
		m.tables = append(m.tables, t)
		m.byName[st.LogicalName] = t
		if st.EntitySet != "" {
			m.bySet[st.EntitySet] = t
		}
	}
	for _, t := range m.tables {
		if err := m.addColumns(t); err != nil {
			return nil, err
		}
	}
	for _, t := range m.tables {
		m.addRelations(t)
	}
	m.addLinks()
	m.addParties()
	m.addActivities()
	for _, t := range m.tables {
		t.nameWellKnown()
		if err := t.addKeys(); err != nil {
			return nil, err
		}
	}
	if t := m.byName["opportunity"]; t != nil {
		t.closeByMessage = !o.PlainClose
	}
	if err := m.addRollups(o.Rollups); err != nil {
		return nil, err
	}
	return m, m.addDuplicateRules(o.DuplicateRules)
}

// noBulk names tables that take no bulk actions although others of their kind do
// (section 6.2, traps 36, 37, 42).
var noBulk = []string{"activityparty", "activitypointer", "asyncoperation", "bulkdeleteoperation", "businessunit", "fileattachment", "organization", "queue", "role", "systemuser", "team"}

// bulkOf lists the bulk actions of a table: what the schema says; all four where the
// table is elastic; with assume, what section 6.2 lets expect where it says nothing.
func bulkOf(t *schema.Table, assume bool) []string {
	switch {
	case t.Kind == schema.Elastic:
		return []string{"create", "update", "upsert", "delete"}
	case len(t.Bulk) > 0 || !assume || t.Kind == schema.Intersect || t.Kind == schema.Virtual || slices.Contains(noBulk, t.LogicalName):
		return t.Bulk
	}
	return []string{"create", "update", "upsert"}
}

// canBulk reports whether the table takes a bulk action.
func (t *table) canBulk(action string) bool { return slices.Contains(t.bulk, action) }

func (m *model) addColumns(t *table) error {
	for _, sc := range t.Table.Columns {
		c := &column{Column: sc, idx: len(t.cols), t: t, storage: storageOf(sc), wire: sc.LogicalName}
		t.cols = append(t.cols, c)
		t.byName[sc.LogicalName] = c
		if sc.NoWebAPI || sc.Type == schema.PartyList {
			continue // not in $metadata
		}
		if !sc.Type.IsLookup() {
			t.props[sc.LogicalName] = property{col: c}
			continue
		}
		c.wire = "_" + sc.LogicalName + "_value"
		t.props[c.wire] = property{readOnly: c}
		names := sc.Targets
		if sc.Type == schema.Owner {
			names = []string{"systemuser", "team"} // the schema may say owner, the type both derive from
		}
		for _, name := range names {
			if target := m.byName[name]; target != nil {
				c.targets = append(c.targets, target)
			}
		}
	}
	t.id = t.byName[t.PrimaryID]
	if t.id == nil {
		return fmt.Errorf("table %s: its primary key column %q is not among its columns", t.LogicalName, t.PrimaryID)
	}
	t.id.storage = storeNothing
	return nil
}

func (m *model) addRelations(t *table) {
	for _, r := range t.ManyToOne {
		c, target := t.byName[r.Column], m.byName[r.Target]
		if c == nil || c.Type == schema.Owner || target == nil {
			continue
		}
		if !slices.Contains(c.targets, target) {
			c.targets = append(c.targets, target)
		}
		rel := &relation{Relationship: r, from: t, col: c, target: target}
		target.incoming = append(target.incoming, rel)
		if r.Nav != "" {
			t.navs[r.Nav] = rel
			t.props[r.Nav] = property{nav: rel}
		}
		// What activities inherit is the collection of activitypointer (section 12.6).
		if have := target.collections[r.Collection]; r.Collection != "" && (have == nil || have.from.LogicalName != pointer) {
			target.collections[r.Collection] = rel
			target.props[r.Collection] = property{collection: rel}
		}
	}
}

// addOwner gives the owner column its navigation property: one for users and teams.
func (t *table) addOwner() {
	if t.owner == nil {
		return
	}
	rel := &relation{Relationship: schema.Relationship{Column: t.owner.LogicalName, Target: "owner", Nav: t.owner.LogicalName}, from: t, col: t.owner}
	t.navs[rel.Nav] = rel
	t.props[rel.Nav] = property{nav: rel}
}

func (m *model) addParties() {
	for _, t := range m.tables {
		if !t.isActivity() {
			continue
		}
		for _, r := range t.collections {
			if r.from.LogicalName == "activityparty" && r.col.LogicalName == "activityid" {
				t.parties = r
			}
		}
	}
}

// addActivities gives activitypointer the tables that derive from it (section 12.6).
func (m *model) addActivities() {
	p := m.byName[pointer]
	if p == nil {
		return
	}
	for _, t := range m.tables {
		if t.isActivity() && t != p {
			p.activities = append(p.activities, t)
		}
	}
}

func (m *model) addLinks() {
	for _, sm := range m.schema.ManyToMany {
		a, b := m.byName[sm.Table1], m.byName[sm.Table2]
		if a == nil || b == nil {
			continue
		}
		l := &manyToMany{ManyToMany: sm, idx: len(m.links), tables: [2]*table{a, b}, rows: m.byName[sm.Intersect]}
		m.links = append(m.links, l)
		if l.rows != nil {
			l.rows.intersect = l
		}
		for side, nav := range []string{sm.Nav1, sm.Nav2} {
			if nav == "" {
				continue
			}
			end := linkEnd{l, side}
			t := l.tables[side]
			t.nn[nav] = end
			t.props[nav] = property{link: &end}
		}
	}
}

func (t *table) nameWellKnown() {
	for name, at := range map[string]**column{
		"statecode": &t.state, "statuscode": &t.status, "ownerid": &t.owner,
		"transactioncurrencyid": &t.currency, "exchangerate": &t.exchangeRate,
		"createdon": &t.createdOn, "modifiedon": &t.modifiedOn, "createdby": &t.createdBy, "modifiedby": &t.modifiedBy,
		"createdonbehalfby": &t.createdOnBehalf, "modifiedonbehalfby": &t.modifiedOnBehalf,
		"versionnumber": &t.versionNumber, "overriddencreatedon": &t.overriddenCreatedOn,
		"owninguser": &t.owningUser, "owningteam": &t.owningTeam, "owningbusinessunit": &t.owningBU,
		"firstname": &t.firstName, "lastname": &t.lastName, "fullname": &t.fullName,
		"organizationid":   &t.organization,
		"activitytypecode": &t.activityType,
	} {
		*at = t.byName[name]
	}
	if t.owner != nil && t.owner.Type != schema.Owner {
		t.owner = nil
	}
	t.addOwner()
	t.nameDerived()
	t.nameDefaults()
}

// closedStates are those of the business tables that have them (sections 4.5, 1.8): a
// row in one is read-only, and no row can be created in any but the first state.
var closedStates = map[string][]int64{
	"opportunity": {1, 2},    // won, lost
	"incident":    {1, 2},    // resolved, canceled
	"quote":       {2, 3},    // won, closed
	"salesorder":  {2, 3, 4}, // canceled, fulfilled, invoiced
	"invoice":     {2, 3},    // paid, canceled
}

// nameDefaults notes what a create fills in, and which columns the service alone sets.
func (t *table) nameDefaults() {
	for _, c := range []*column{t.createdOn, t.modifiedOn, t.createdBy, t.modifiedBy, t.createdOnBehalf, t.modifiedOnBehalf,
		t.versionNumber, t.owningUser, t.owningTeam, t.owningBU, t.activityType, t.organization, t.exchangeRate} {
		if c != nil && (c != t.exchangeRate || t.LogicalName != "transactioncurrency") {
			c.system = true
		}
	}
	if c := t.byName["isdisabled"]; t.LogicalName == "systemuser" && c != nil && c.Type == schema.YesNo && c.Default == nil {
		t.defaults = append(t.defaults, assign{c, boolValue(false)})
	}
	if c := t.byName["accessmode"]; t.LogicalName == "systemuser" && c != nil && (c.Type == schema.Integer || c.Type == schema.Choice) && c.Default == nil {
		t.defaults = append(t.defaults, assign{c, intValue(0)})
	}
	for _, c := range t.cols {
		switch {
		case c.AutoNumber != "":
			t.autoNumbers = append(t.autoNumbers, c)
		case c.Type == schema.File:
			t.files = append(t.files, c)
		case c.Type == schema.Image:
			t.images = append(t.images, c)
		case c.Type == schema.Money && c.derived == notDerived:
			t.money = append(t.money, c)
		case c.Default == nil || c.system || !c.Writable(false):
		case c.Type == schema.YesNo:
			t.defaults = append(t.defaults, assign{c, boolValue(*c.Default != 0)})
		case c.Type == schema.Choice && (len(c.Options) == 0 || c.Option(*c.Default) != nil):
			t.defaults = append(t.defaults, assign{c, intValue(int64(*c.Default))})
		}
	}
	switch {
	case closedStates[t.LogicalName] != nil:
		t.initialStateOnly, t.closed = true, closedStates[t.LogicalName]
	case t.isActivity() && !t.Custom:
		t.initialStateOnly, t.closed = true, []int64{1, 2} // an appointment's 3 is scheduled
	}
	if t.isElastic() && t.modifiedOn != nil {
		t.ttl = t.byName["ttlinseconds"]
	}
	t.body = map[string]*column{"annotation": t.byName["documentbody"], "activitymimeattachment": t.byName["body"]}[t.LogicalName]
	t.openState, t.openStatus = 0, 1
	if t.status != nil {
		t.openStatus = t.defaultStatus(0)
	}
}

// defaultStatus is the status reason a row gets with a state.
func (t *table) defaultStatus(state int32) int32 {
	if t.state != nil {
		if o := t.state.Option(state); o != nil && o.DefaultStatus != nil {
			return *o.DefaultStatus
		}
	}
	for _, o := range t.status.Options {
		if o.State != nil && *o.State == state {
			return o.Value
		}
	}
	return state + 1
}

// nameDerived marks the columns whose value is computed when read.
func (t *table) nameDerived() {
	for _, c := range t.cols {
		switch {
		case c == t.versionNumber:
			c.derived, c.storage = fromVersion, storeNothing
		case t.owner != nil && (c == t.owningUser || c == t.owningTeam || c == t.owningBU):
			c.derived, c.storage = fromOwner, storeNothing
		case c == t.fullName && t.firstName != nil && t.lastName != nil:
			c.derived, c.storage = fromNames, storeNothing
		case c.Type == schema.Money && baseOf(t, c) != nil:
			c.base, c.derived, c.storage = baseOf(t, c), fromMoney, storeNothing
		}
	}
}

// baseOf finds the money column that a <col>_base column is computed from.
func baseOf(t *table, c *column) *column {
	if c.CalculationOf != "" {
		return t.byName[c.CalculationOf]
	}
	if name, ok := strings.CutSuffix(c.LogicalName, "_base"); ok {
		if m := t.byName[name]; m != nil && m.Type == schema.Money {
			return m
		}
	}
	return nil
}

func (t *table) addKeys() error {
	for _, sk := range t.Table.Keys {
		k := &altKey{Key: sk, t: t, idx: len(t.keys)}
		for _, name := range sk.Columns {
			c := t.byName[name]
			if c == nil {
				return fmt.Errorf("table %s: key %s names column %q, which the table does not have", t.LogicalName, sk.LogicalName, name)
			}
			k.cols = append(k.cols, c)
		}
		t.keys = append(t.keys, k)
	}
	return nil
}

// find returns the column that a property name on the wire stands for (name, or
// _name_value for a lookup); nil when there is none. Case-sensitive.
func (t *table) find(wire string) *column {
	p := t.props[wire]
	if p.readOnly != nil {
		return p.readOnly
	}
	return p.col
}

func (t *table) isActivity() bool { return t.Kind == schema.Activity }

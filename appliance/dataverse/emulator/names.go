package emulator

import (
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// model is the schema made ready for look-ups by every name the API uses. It is
// read-only after New.
type model struct {
	schema *schema.Schema
	tables []*table
	byName map[string]*table
	bySet  map[string]*table
	links  []*manyToMany
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
	intersect   *manyToMany // when this is the intersect table of an N:N relationship

	// Well-known columns, nil where the schema has none.
	state, status, owner, currency, exchangeRate           *column
	createdOn, modifiedOn, createdBy, modifiedBy           *column
	createdOnBehalf, modifiedOnBehalf, versionNumber       *column
	overriddenCreatedOn, owningUser, owningTeam, owningBU  *column
	firstName, lastName, fullName, organization, partition *column
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
}

// relation is one lookup column's relationship to one target.
type relation struct {
	schema.Relationship
	from   *table
	col    *column
	target *table
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
func newModel(s *schema.Schema) (*model, error) {
	m := &model{schema: s, byName: map[string]*table{}, bySet: map[string]*table{}}
	for _, st := range s.Tables {
		t := &table{Table: st, idx: len(m.tables), byName: map[string]*column{}, props: map[string]property{},
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
	for _, t := range m.tables {
		t.nameWellKnown()
		if err := t.addKeys(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *model) addColumns(t *table) error {
	for _, sc := range t.Table.Columns {
		c := &column{Column: sc, idx: len(t.cols), t: t, storage: storageOf(sc), wire: sc.LogicalName}
		t.cols = append(t.cols, c)
		t.byName[sc.LogicalName] = c
		if !sc.Type.IsLookup() {
			t.props[sc.LogicalName] = property{col: c}
			continue
		}
		c.wire = "_" + sc.LogicalName + "_value"
		t.props[c.wire] = property{readOnly: c}
		for _, name := range sc.Targets {
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
		if c == nil || target == nil {
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
		if r.Collection != "" {
			target.collections[r.Collection] = rel
			target.props[r.Collection] = property{collection: rel}
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
		"organizationid": &t.organization, "partitionid": &t.partition,
	} {
		*at = t.byName[name]
	}
	if t.owner != nil && t.owner.Type != schema.Owner {
		t.owner = nil
	}
	t.nameDerived()
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

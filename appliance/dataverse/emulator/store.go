package emulator

import (
	"slices"
	"strings"
	"sync"

	"dvmigrate/appliance/dataverse/schema"
)

// store holds every row and link. Reading it, in short:
//
//	r, err := c.findRow(tx, c.table, c.segs[0].key) // the row of set(key), see key.go
//	s.view(func(tx *tx) error {
//		r, ok := tx.row(t, id)           // one row by primary key
//		tx.scan(t, after, func(r row) bool) // all rows after an id, in primary-key order
//		n := tx.count(t)
//		id, ok := tx.byKey(key, values)  // by alternate key; values in key.cols order
//		ids := tx.children(rel, parent)  // rows of rel.from whose lookup holds parent
//		ids := tx.linked(end, id)        // N:N: ids at the other end
//		tx.scanDeleted(t, since, fn)     // tombstones after a version
//		v := r.value(col)                // computed columns too; null is value{}
//		r.version                        // versionnumber, the etag's number
//	})
//
// Rows of intersect tables are made up from the links, and those of activitypointer
// from the activities, so row, scan and count serve them too (madeup.go). A call inside a change set carries its own tx: handlers use
// c.view, which takes that tx when there is one and the store's lock otherwise. A
// row's bytes are only valid inside view: take values out before it returns.
//
// mu protects everything below it. Whole transactions run under the write lock;
// what does not need the store (reading the body, checking types) is done before.
type store struct {
	model   *model
	now     func() int64 // seconds since 1970
	speed   float64      // Options.Speed, or 1
	discard bool         // keep only ids of the rows written

	mu       sync.RWMutex
	tables   []tableData
	links    []linkData
	version  int64
	shared   []schema.GUID // ids that many rows hold, by number (storeShared)
	sharedNo map[schema.GUID]int
	numbers  map[*column]int64 // auto-number: the last number given
	log      *stateLog         // nil without a state file
	commits  changes           // since the start
	files    map[schema.GUID]*file

	newShared []schema.GUID // shared ids not yet in the state file
	seeded    bool          // the state file has the rows that exist from the start

	// reverseMu protects the building of reverse indexes, which happens under the
	// read lock.
	reverseMu sync.Mutex
}

// tableData is the storage of one table.
type tableData struct {
	rows    sorted[sqlOrder, uint64] // id -> place in arena
	arena   arena
	keys    []keyIndex
	reverse map[*column]*sorted[pair, struct{}] // (target, row); built when first asked for
	deleted []tombstone                         // in order of version; only where changes are tracked
}

type tombstone struct {
	id      schema.GUID
	version int64
}

// linkData holds the pairs of one N:N relationship in both directions.
type linkData [2]sorted[pair, int64]

func newStore(m *model, now func() int64) *store {
	s := &store{model: m, now: now}
	s.wipe()
	return s
}

// wipe makes the store empty.
func (s *store) wipe() {
	s.tables, s.links = make([]tableData, len(s.model.tables)), make([]linkData, len(s.model.links))
	s.version, s.shared, s.newShared = 0, nil, nil
	s.sharedNo, s.numbers, s.files = map[schema.GUID]int{}, map[*column]int64{}, map[schema.GUID]*file{}
	for i, t := range s.model.tables {
		s.tables[i].keys = make([]keyIndex, len(t.keys))
	}
}

// row is one record as it lies in the store.
type row struct {
	t       *table
	id      schema.GUID
	version int64
	data    []byte
	vals    []value // of a row that is made up when read: its values, instead of data
	s       *store
}

// value returns a column's value, computed columns included.
func (r row) value(c *column) value {
	if c == r.t.id {
		return guidValue(r.id)
	}
	if r.vals != nil {
		return r.vals[c.idx]
	}
	switch c.derived {
	case notDerived:
		v := r.s.columnAt(r.t, r.data, c)
		if v.kind == kindNull && c == r.t.organization {
			return organizationValue(c)
		}
		return v
	case fromVersion:
		return intValue(r.version)
	case fromOwner:
		return r.owning(c)
	case fromNames:
		name := strings.TrimSpace(strings.TrimSpace(r.value(r.t.firstName).text) + " " + strings.TrimSpace(r.value(r.t.lastName).text))
		if name == "" {
			return value{}
		}
		return textValue(name)
	case fromMoney:
		m := r.value(c.base)
		if m.isNull() || r.t.exchangeRate == nil {
			return m
		}
		return divideMoney(m, r.value(r.t.exchangeRate))
	}
	return value{}
}

// values decodes all columns into a slice indexed by column number; computed ones
// are left null.
func (r row) values() []value {
	if r.vals != nil {
		return slices.Clone(r.vals)
	}
	vals := make([]value, len(r.t.cols))
	r.s.decodeRow(r.t, r.data, vals)
	return vals
}

func (r row) owning(c *column) value {
	owner := r.value(r.t.owner)
	if owner.isNull() {
		return value{}
	}
	isUser := owner.target.LogicalName == "systemuser"
	switch {
	case c == r.t.owningUser && isUser, c == r.t.owningTeam && !isUser:
		return refValue(owner.target, owner.guid)
	case c == r.t.owningBU:
		return r.s.unitOf(owner, c)
	}
	return value{}
}

// unitOf is the business unit of an owner.
func (s *store) unitOf(owner value, c *column) value {
	if o, ok := (&tx{s: s}).row(owner.target, owner.guid); ok {
		if bu := owner.target.byName["businessunitid"]; bu != nil {
			if v := o.value(bu); !v.isNull() {
				return v
			}
		}
	}
	if len(c.targets) == 0 {
		return guidValue(BusinessUnitID)
	}
	return refValue(c.targets[0], BusinessUnitID)
}

func organizationValue(c *column) value {
	if len(c.targets) > 0 {
		return refValue(c.targets[0], OrganizationID)
	}
	return guidValue(OrganizationID)
}

// tx is the store held still for one call. Only a tx made by update may write.
type tx struct {
	s        *store
	writable bool
	logging  bool // writes are to go to the state file
	undo     []undoStep
	log      []byte // the state record so far
	changes  changes
	newFiles []schema.GUID // files that the transaction brought
	buf      []byte        // for encoding a row
	vals     []value       // for building a row
}

// view runs fn with the store held still for reading.
func (s *store) view(fn func(*tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fn(&tx{s: s})
}

// row finds a row by primary key.
func (tx *tx) row(t *table, id schema.GUID) (row, bool) {
	if t.intersect != nil {
		return tx.intersectRow(t, id)
	}
	if t.activities != nil {
		return tx.pointerRow(t, id)
	}
	d := &tx.s.tables[t.idx]
	at, ok := d.rows.get(orderOf(id))
	if !ok {
		return row{}, false
	}
	data := d.arena.get(at)
	r := row{t: t, id: id, version: rowVersion(data), data: data, s: tx.s}
	return r, !r.expired()
}

// scan calls fn for the rows whose id comes after the given one (all rows when
// after is zero), in primary-key order, until fn returns false.
func (tx *tx) scan(t *table, after schema.GUID, fn func(row) bool) {
	if t.intersect != nil {
		tx.scanIntersect(t, after, fn)
		return
	}
	if t.activities != nil {
		tx.scanPointers(t, after, fn)
		return
	}
	d := &tx.s.tables[t.idx]
	start := orderOf(after)
	d.rows.from(start, func(k sqlOrder, at uint64) bool {
		if k == start {
			return true
		}
		data := d.arena.get(at)
		r := row{t: t, id: k.guid(), version: rowVersion(data), data: data, s: tx.s}
		return r.expired() || fn(r)
	})
}

// count returns the number of rows.
func (tx *tx) count(t *table) int {
	if t.intersect != nil {
		return tx.s.links[t.intersect.idx][0].n
	}
	if t.activities != nil {
		n := 0
		for _, a := range t.activities {
			n += tx.count(a)
		}
		return n
	}
	return tx.s.tables[t.idx].rows.n
}

// byKey finds a row by alternate key. A null among the values finds nothing.
func (tx *tx) byKey(k *altKey, vals []value) (schema.GUID, bool) {
	return tx.s.findKey(k, vals)
}

// children returns the rows of rel.from whose lookup column holds parent.
func (tx *tx) children(rel *relation, parent schema.GUID) []schema.GUID {
	if tx.s.tables[rel.from.idx].rows.n == 0 {
		return nil
	}
	var ids []schema.GUID
	start := pair{a: orderOf(parent)}
	tx.s.reverseOf(rel.col).from(start, func(p pair, _ struct{}) bool {
		if p.a != start.a {
			return false
		}
		ids = append(ids, p.b.guid())
		return true
	})
	return ids
}

// collected lists the rows that a relationship collects below a row: children, or
// where it is activitypointer's those of every kind of activity.
func (tx *tx) collected(rel *relation, parent schema.GUID) []schema.GUID {
	if rel.from.activities == nil {
		return tx.children(rel, parent)
	}
	var ids []schema.GUID
	for _, a := range rel.from.activities {
		if c := a.byName[rel.col.LogicalName]; c != nil && valueKind(c) == kindRef && c.derived == notDerived {
			ids = append(ids, tx.children(&relation{from: a, col: c}, parent)...)
		}
	}
	slices.SortFunc(ids, func(a, b schema.GUID) int {
		if orderOf(a).less(orderOf(b)) {
			return -1
		}
		return 1
	})
	return ids
}

// reverseOf returns the index from a lookup column's values to the rows that hold
// them, building it when it is asked for the first time.
func (s *store) reverseOf(c *column) *sorted[pair, struct{}] {
	s.reverseMu.Lock()
	defer s.reverseMu.Unlock()
	d := &s.tables[c.t.idx]
	if r := d.reverse[c]; r != nil {
		return r
	}
	r := new(sorted[pair, struct{}])
	d.rows.from(sqlOrder{}, func(k sqlOrder, at uint64) bool {
		if v := s.columnAt(c.t, d.arena.get(at), c); v.kind == kindRef {
			r.set(pair{orderOf(v.guid), k}, struct{}{})
		}
		return true
	})
	if d.reverse == nil {
		d.reverse = map[*column]*sorted[pair, struct{}]{}
	}
	d.reverse[c] = r
	return r
}

// linked returns the ids linked to id through one end of an N:N relationship.
func (tx *tx) linked(end linkEnd, id schema.GUID) []schema.GUID {
	var ids []schema.GUID
	start := pair{a: orderOf(id)}
	tx.s.links[end.m.idx][end.side].from(start, func(p pair, _ int64) bool {
		if p.a != start.a {
			return false
		}
		ids = append(ids, p.b.guid())
		return true
	})
	return ids
}

// scanDeleted calls fn for each deletion after a version, oldest first.
func (tx *tx) scanDeleted(t *table, since int64, fn func(id schema.GUID, version int64)) {
	for _, d := range tx.s.tables[t.idx].deleted {
		if d.version > since {
			fn(d.id, d.version)
		}
	}
}

// lastVersion is the highest row version given out.
func (tx *tx) lastVersion() int64 { return tx.s.version }

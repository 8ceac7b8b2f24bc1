package emulator

import (
	"encoding/binary"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// undoStep puts back what one write changed: a row's bytes before it, or a link.
type undoStep struct {
	t       *table // nil for a link
	id      schema.GUID
	old     []byte // nil: there was no row
	buried  bool   // a tombstone was added
	link    *manyToMany
	a, b    schema.GUID
	removed bool // the link was removed, not added
	version int64
}

// update runs fn with the store held for writing. When fn fails, or what it did
// cannot be written to the state file, everything it did is undone.
func (s *store) update(fn func(*tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := &tx{s: s, writable: true, logging: s.log != nil}
	err := fn(tx)
	if err == nil && len(tx.log) > 0 {
		err = s.appendState(tx.log)
	}
	if err != nil {
		tx.rollback(savepoint{})
		return err
	}
	s.commits.add(tx)
	s.dropFiles(tx)
	s.compact(tx)
	return nil
}

// savepoint is a place to roll back to; the zero value is the start.
type savepoint struct {
	undo, log, files int
	changes          changes
}

func (tx *tx) save() savepoint {
	return savepoint{len(tx.undo), len(tx.log), len(tx.newFiles), tx.changes}
}

// rollback undoes the writes after a savepoint, last first.
func (tx *tx) rollback(to savepoint) {
	for i := len(tx.undo) - 1; i >= to.undo; i-- {
		u := &tx.undo[i]
		switch {
		case u.link != nil && u.removed:
			tx.s.addLink(u.link, u.a, u.b, u.version)
		case u.link != nil:
			tx.s.removeLink(u.link, u.a, u.b)
		default:
			d := &tx.s.tables[u.t.idx]
			var now []byte
			if at, ok := d.rows.get(orderOf(u.id)); ok {
				now = slices.Clone(d.arena.get(at))
			}
			tx.s.swap(u.t, u.id, now, u.old)
			if u.buried {
				d.deleted = d.deleted[:len(d.deleted)-1]
			}
		}
	}
	for _, id := range tx.newFiles[to.files:] {
		delete(tx.s.files, id)
	}
	tx.undo, tx.log, tx.newFiles, tx.changes = tx.undo[:to.undo], tx.log[:to.log], tx.newFiles[:to.files], to.changes
}

// insert stores a new row, whose id must be free. vals is indexed by column number.
func (tx *tx) insert(t *table, id schema.GUID, vals []value) error {
	if tx.s.discard {
		vals = nil
	}
	for _, k := range t.keys {
		if err := tx.checkKey(k, id, vals); err != nil {
			return err
		}
	}
	tx.s.version++
	tx.buf = tx.s.appendRow(tx.buf[:0], t, tx.s.version, vals)
	tx.put(t, id, nil, tx.buf)
	tx.changes.created++
	return nil
}

// replace stores new values of an existing row.
func (tx *tx) replace(old row, vals []value) error {
	tx.s.version++
	if tx.s.discard { // a new version of what was there
		_, n := binary.Uvarint(old.data)
		tx.buf = append(binary.AppendUvarint(tx.buf[:0], uint64(tx.s.version)), old.data[n:]...)
	} else {
		for _, k := range old.t.keys {
			if err := tx.checkKey(k, old.id, vals); err != nil {
				return err
			}
		}
		tx.buf = tx.s.appendRow(tx.buf[:0], old.t, tx.s.version, vals)
	}
	tx.put(old.t, old.id, slices.Clone(old.data), tx.buf)
	tx.changes.updated++
	return nil
}

// remove takes a row away; a tombstone stays where changes are tracked.
func (tx *tx) remove(old row) {
	t := old.t
	tx.s.version++
	tx.put(t, old.id, slices.Clone(old.data), nil)
	if t.ChangeTracking {
		d := &tx.s.tables[t.idx]
		d.deleted = append(d.deleted, tombstone{old.id, tx.s.version})
		tx.undo[len(tx.undo)-1].buried = true
	}
	tx.changes.deleted++
}

func (tx *tx) put(t *table, id schema.GUID, old, data []byte) {
	if !tx.writable {
		panic("emulator: write in a read transaction")
	}
	if len(t.files) > 0 {
		tx.detach(t, old, data)
	}
	tx.undo = append(tx.undo, undoStep{t: t, id: id, old: old})
	tx.s.swap(t, id, old, data)
	if tx.logging {
		tx.log = appendPut(tx.log, t, id, data, tx.s.version)
	}
}

// swap replaces a row's bytes (nil for none) and keeps every index in step.
func (s *store) swap(t *table, id schema.GUID, old, data []byte) {
	d := &s.tables[t.idx]
	k := orderOf(id)
	for i, key := range t.keys {
		s.rehash(&d.keys[i], key, id, old, data)
	}
	for c, r := range d.reverse {
		if old != nil {
			if v := s.columnAt(t, old, c); v.kind == kindRef {
				r.remove(pair{orderOf(v.guid), k})
			}
		}
		if data != nil {
			if v := s.columnAt(t, data, c); v.kind == kindRef {
				r.set(pair{orderOf(v.guid), k}, struct{}{})
			}
		}
	}
	if old == nil {
		if data != nil {
			d.rows.set(k, d.arena.put(data))
		}
		return
	}
	at, _ := d.rows.get(k)
	if data == nil {
		d.arena.drop(at)
		d.rows.remove(k)
		return
	}
	if now := d.arena.replace(at, data); now != at {
		d.rows.set(k, now)
	}
}

func (s *store) rehash(x *keyIndex, k *altKey, id schema.GUID, old, data []byte) {
	before, was := uint64(0), false
	after, is := uint64(0), false
	if old != nil {
		before, was = hashKey(k, func(c *column) value { return s.columnAt(k.t, old, c) })
	}
	if data != nil {
		after, is = hashKey(k, func(c *column) value { return s.columnAt(k.t, data, c) })
	}
	if was && is && before == after {
		return
	}
	if was {
		x.remove(before, id)
	}
	if is {
		x.add(after, id)
	}
}

// checkKey refuses values that another row has in an alternate key.
func (tx *tx) checkKey(k *altKey, id schema.GUID, vals []value) error {
	if vals == nil { // rows are discarded
		return nil
	}
	other, found := tx.s.findKeyBy(k, func(c *column) value { return vals[c.idx] })
	if !found || other == id || k.Inactive {
		return nil
	}
	names := make([]string, len(k.cols))
	for i, c := range k.cols {
		names[i] = c.LogicalName
		if c.DisplayName != "" {
			names[i] = c.DisplayName
		}
	}
	label := k.SchemaName
	if label == "" {
		label = k.LogicalName
	}
	return errorf(412, "0x80060892", "A record that has the attribute values %s already exists. The entity key %s requires that this set of attributes contains unique values. Select unique values and try again.",
		strings.Join(names, ", "), label)
}

// link connects two rows; a pair that is there already is a duplicate.
func (tx *tx) link(end linkEnd, from, to schema.GUID) error {
	a, b := end.order(from, to)
	if _, exists := tx.s.links[end.m.idx][0].get(pair{orderOf(a), orderOf(b)}); exists {
		return errDuplicateInsert()
	}
	tx.s.version++
	tx.s.addLink(end.m, a, b, tx.s.version)
	tx.undo = append(tx.undo, undoStep{link: end.m, a: a, b: b})
	if tx.logging {
		tx.log = appendLink(tx.log, end.m, a, b, false, tx.s.version)
	}
	tx.changes.linked++
	return nil
}

// unlink parts two rows; ok is false when they were not connected.
func (tx *tx) unlink(end linkEnd, from, to schema.GUID) (ok bool) {
	a, b := end.order(from, to)
	version, exists := tx.s.links[end.m.idx][0].get(pair{orderOf(a), orderOf(b)})
	if !exists {
		return false
	}
	tx.s.version++
	tx.s.removeLink(end.m, a, b)
	tx.undo = append(tx.undo, undoStep{link: end.m, a: a, b: b, removed: true, version: version})
	if tx.logging {
		tx.log = appendLink(tx.log, end.m, a, b, true, tx.s.version)
	}
	tx.changes.unlinked++
	return true
}

// order puts two ids into the order of the relationship's tables.
func (e linkEnd) order(from, to schema.GUID) (a, b schema.GUID) {
	if e.side == 0 {
		return from, to
	}
	return to, from
}

func (s *store) addLink(m *manyToMany, a, b schema.GUID, version int64) {
	l := &s.links[m.idx]
	l[0].set(pair{orderOf(a), orderOf(b)}, version)
	l[1].set(pair{orderOf(b), orderOf(a)}, version)
}

func (s *store) removeLink(m *manyToMany, a, b schema.GUID) {
	l := &s.links[m.idx]
	l[0].remove(pair{orderOf(a), orderOf(b)})
	l[1].remove(pair{orderOf(b), orderOf(a)})
}

// share gives an id its number in the shared list.
func (s *store) share(g schema.GUID) int {
	n, ok := s.sharedNo[g]
	if !ok {
		n = len(s.shared)
		s.shared = append(s.shared, g)
		s.sharedNo[g] = n
		s.newShared = append(s.newShared, g)
	}
	return n
}

// changes counts what a transaction, or the server since its start, did to rows.
type changes struct {
	created, updated, deleted, linked, unlinked int64
}

func (c *changes) add(tx *tx) {
	c.created += tx.changes.created
	c.updated += tx.changes.updated
	c.deleted += tx.changes.deleted
	c.linked += tx.changes.linked
	c.unlinked += tx.changes.unlinked
}

// compact rewrites the arenas of the tables a transaction touched when most of one
// is dead.
func (s *store) compact(tx *tx) {
	for i := range tx.undo {
		if t := tx.undo[i].t; t != nil && s.tables[t.idx].arena.wasteful() {
			s.tables[t.idx].rewrite()
		}
	}
}

func (d *tableData) rewrite() {
	var fresh arena
	fresh.total = maxSlab // slabs of full size from the start
	for _, c := range d.rows.chunks {
		for i := range c.n {
			c.vals[i] = fresh.put(d.arena.get(c.vals[i]))
		}
	}
	fresh.total -= maxSlab
	d.arena = fresh
}

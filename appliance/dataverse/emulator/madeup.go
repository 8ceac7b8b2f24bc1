package emulator

import (
	"crypto/sha1"
	"iter"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// madeUp is a row that is not stored as such: a link as a row of its intersect
// table, an activity as a row of activitypointer.
func (tx *tx) madeUp(t *table, id schema.GUID, version int64, vals []value) row {
	vals[t.id.idx] = guidValue(id)
	if t.versionNumber != nil {
		vals[t.versionNumber.idx] = intValue(version)
	}
	return row{t: t, id: id, version: version, vals: vals, s: tx.s}
}

// pointerRow finds an activity of any kind.
func (tx *tx) pointerRow(t *table, id schema.GUID) (row, bool) {
	for _, a := range t.activities {
		if r, ok := tx.row(a, id); ok {
			return tx.makePointer(t, r), true
		}
	}
	return row{}, false
}

// makePointer shows an activity with the columns it shares with activitypointer.
func (tx *tx) makePointer(t *table, r row) row {
	vals := make([]value, len(t.cols))
	for _, c := range t.cols {
		if own := r.t.byName[c.LogicalName]; own != nil && own.Type == c.Type {
			vals[c.idx] = r.value(own)
		}
	}
	if t.activityType != nil {
		vals[t.activityType.idx] = textValue(r.t.LogicalName)
	}
	return tx.madeUp(t, r.id, r.version, vals)
}

// scanPointers merges the activity tables in primary-key order.
func (tx *tx) scanPointers(t *table, after schema.GUID, fn func(row) bool) {
	type head struct {
		row  row
		next func() (row, bool)
	}
	var heads []head
	for _, a := range t.activities {
		next, stop := iter.Pull(func(yield func(row) bool) { tx.scan(a, after, yield) })
		defer stop()
		if r, ok := next(); ok {
			heads = append(heads, head{r, next})
		}
	}
	for len(heads) > 0 {
		first := 0
		for i := range heads {
			if orderOf(heads[i].row.id).less(orderOf(heads[first].row.id)) {
				first = i
			}
		}
		if !fn(tx.makePointer(t, heads[first].row)) {
			return
		}
		r, ok := heads[first].next()
		if !ok {
			heads = slices.Delete(heads, first, first+1)
			continue
		}
		heads[first].row = r
	}
}

// intersectID makes the id of a link's row: always the same for a pair.
func intersectID(a, b schema.GUID) schema.GUID {
	sum := sha1.Sum(append(append([]byte("link"), a[:]...), b[:]...))
	g := schema.GUID(sum[:16])
	g[6], g[8] = g[6]&0x0f|0x50, g[8]&0x3f|0x80
	return g
}

func (tx *tx) makeIntersectRow(t *table, a, b schema.GUID, version int64) row {
	vals := make([]value, len(t.cols))
	for i, name := range []string{t.intersect.Column1, t.intersect.Column2} {
		if c := t.byName[name]; c != nil {
			id := [2]schema.GUID{a, b}[i]
			vals[c.idx] = guidValue(id)
			if c.Type.IsLookup() {
				vals[c.idx] = refValue(t.intersect.tables[i], id)
			}
		}
	}
	return tx.madeUp(t, intersectID(a, b), version, vals)
}

func (tx *tx) intersectRow(t *table, id schema.GUID) (found row, ok bool) {
	tx.scanIntersect(t, schema.GUID{}, func(r row) bool {
		if r.id == id {
			found, ok = r, true
		}
		return !ok
	})
	return found, ok
}

// scanIntersect lists links in the order of their ends; after is the id of the row
// the scan ended with.
func (tx *tx) scanIntersect(t *table, after schema.GUID, fn func(row) bool) {
	started := after.IsZero()
	tx.s.links[t.intersect.idx][0].from(pair{}, func(p pair, version int64) bool {
		a, b := p.a.guid(), p.b.guid()
		if !started {
			started = intersectID(a, b) == after
			return true
		}
		return fn(tx.makeIntersectRow(t, a, b, version))
	})
}

package emulator

import (
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// candidates lists the ids of the rows that may satisfy a filter, in primary-key
// order, where an index can tell: primary keys, alternate keys and lookups in eq, In
// and chains of or. ok is false when every row has to be looked at.
func (t *table) candidates(tx *tx, n node) (ids []schema.GUID, ok bool) {
	ids, ok = t.indexed(tx, n)
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids), ok
}

func (t *table) indexed(tx *tx, n node) (ids []schema.GUID, ok bool) {
	switch n := n.(type) {
	case comparison:
		return t.keyed(tx, []node{n})
	case logical:
		if !n.or {
			for _, term := range n.terms {
				if ids, ok := t.indexed(tx, term); ok {
					return ids, true
				}
			}
			return t.keyed(tx, n.terms)
		}
		for _, term := range n.terms {
			more, ok := t.indexed(tx, term)
			if !ok {
				return nil, false
			}
			ids = append(ids, more...)
		}
		return ids, true
	case crmTest:
		if n.fn != "In" || len(n.path) != 1 {
			return nil, false
		}
		col := t.column(t.wirePath(n.path)[0])
		for _, l := range n.values {
			v, fits := textFor(col, l)
			if !fits {
				continue
			}
			more, ok := t.byEqual(tx, map[*column]value{col: v})
			if !ok {
				return nil, false
			}
			ids = append(ids, more...)
		}
		return ids, len(n.values) > 0
	}
	return nil, false
}

// column is find for a name already known to be good.
func (t *table) column(wire string) *column {
	if c := t.find(wire); c != nil {
		return c
	}
	return t.id
}

// keyed uses the equalities among terms that all have to hold.
func (t *table) keyed(tx *tx, terms []node) ([]schema.GUID, bool) {
	equal := map[*column]value{}
	for _, term := range terms {
		c, ok := term.(comparison)
		if !ok || c.op != "eq" || len(c.left.path) != 1 || c.right.path != nil {
			continue
		}
		col := t.find(c.left.path[0])
		if col == nil {
			continue
		}
		if v, ok := literalFor(col, c.right.lit); ok && !v.isNull() {
			equal[col] = v
		}
	}
	return t.byEqual(tx, equal)
}

func (t *table) byEqual(tx *tx, equal map[*column]value) ([]schema.GUID, bool) {
	if v, ok := equal[t.id]; ok {
		return []schema.GUID{v.guid}, true
	}
	for _, k := range t.keys {
		vals := make([]value, len(k.cols))
		all := !k.Inactive
		for i, c := range k.cols {
			v, ok := equal[c]
			vals[i], all = v, all && ok && !v.isNull()
		}
		if !all {
			continue
		}
		if id, ok := tx.byKey(k, vals); ok {
			return []schema.GUID{id}, true
		}
		return nil, true
	}
	for c, v := range equal {
		if !c.worthIndex() {
			continue
		}
		if ids := tx.children(&relation{from: t, col: c}, v.guid); len(ids) <= maxIndexed {
			return ids, true
		}
	}
	return nil, false
}

// maxIndexed is how many rows a lookup's index may find before a scan is cheaper.
const maxIndexed = 50_000

// worthIndex reports whether equality with the lookup leaves few rows: not with an
// owner or creator, whom most rows share.
func (c *column) worthIndex() bool {
	return valueKind(c) == kindRef && c.derived == notDerived && c.Type != schema.Owner && !c.NoCreate &&
		c != c.t.currency && c.t.intersect == nil && c.t.activities == nil
}

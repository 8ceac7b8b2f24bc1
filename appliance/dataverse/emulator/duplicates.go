package emulator

import (
	"fmt"
	"net/http"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// DuplicateRule is a published duplicate detection rule: rows of the table with the
// same values in all the columns are duplicates of each other; a null is like none.
// Rules count only for a write that asks with MSCRM.SuppressDuplicateDetection: false
// (section 15.3).
type DuplicateRule struct {
	Table   string
	Columns []string
}

// addDuplicateRules indexes the rules' columns as alternate keys that nothing must be
// unique in and nobody can address.
func (m *model) addDuplicateRules(rules []DuplicateRule) error {
	for _, r := range rules {
		t := m.byName[r.Table]
		if t == nil {
			return fmt.Errorf("duplicate rule: the schema has no table %s", r.Table)
		}
		k := &altKey{Key: schema.Key{LogicalName: "duplicates", Inactive: true}, t: t, idx: len(t.keys), rule: true}
		for _, name := range r.Columns {
			c := t.byName[name]
			if c == nil || c.derived != notDerived {
				return fmt.Errorf("duplicate rule: table %s has no stored column %s", r.Table, name)
			}
			k.cols = append(k.cols, c)
		}
		t.keys = append(t.keys, k)
	}
	return nil
}

// mayDuplicate refuses a row that a rule finds another like, when the write asks.
func (w *writer) mayDuplicate(t *table, id schema.GUID, vals []value) error {
	if w.c.header.Get("MSCRM.SuppressDuplicateDetection") != "false" {
		return nil
	}
	for _, k := range t.keys {
		if k.rule && w.tx.s.hasAnother(k, id, func(c *column) value { return vals[c.idx] }) {
			return errorf(http.StatusPreconditionFailed, "0x80040333", "A record was not created or updated because a duplicate of the current record already exists.")
		}
	}
	return nil
}

// hasAnother reports whether a row but the given one has the key's values.
func (s *store) hasAnother(k *altKey, id schema.GUID, get func(*column) value) bool {
	h, ok := hashKey(k, get)
	if !ok {
		return false
	}
	x := &s.tables[k.t.idx].keys[k.idx]
	first, ok := x.ids[h]
	if !ok {
		return false
	}
	is := func(other schema.GUID) bool { return other != id && s.holdsKey(k, other, get) }
	return is(first) || slices.ContainsFunc(x.more[h], is)
}

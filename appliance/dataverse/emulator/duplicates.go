package emulator

import (
	"encoding/json"
	"fmt"
	"iter"
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
	for range s.others(k, id, get) {
		return true
	}
	return false
}

// others are the rows but the given one that have the key's values.
func (s *store) others(k *altKey, id schema.GUID, get func(*column) value) iter.Seq[schema.GUID] {
	return func(yield func(schema.GUID) bool) {
		h, ok := hashKey(k, get)
		if !ok {
			return
		}
		x := &s.tables[k.t.idx].keys[k.idx]
		first, ok := x.ids[h]
		if !ok {
			return
		}
		is := func(other schema.GUID) bool { return other == id || !s.holdsKey(k, other, get) || yield(other) }
		if is(first) {
			for _, other := range x.more[h] {
				if !is(other) {
					return
				}
			}
		}
	}
}

// retrieveDuplicates answers the rows that the rules find like a given one, which may or
// may not exist (section 15.3). A page is what PagingInfo asks for.
func (c *call) retrieveDuplicates() error {
	entity, _ := c.rawParameter("BusinessEntity")
	paging, _ := c.rawParameter("PagingInfo")
	name, given, err := c.parameter(c.segs[0], "MatchingEntityName")
	if err != nil {
		return err
	}
	for parameter, missing := range map[string]bool{"BusinessEntity": entity == "", "MatchingEntityName": !given || name.text == "", "PagingInfo": paging == ""} {
		if missing {
			return errorf(http.StatusBadRequest, "0x80040203", "Required field '%s' is missing for unbound function 'RetrieveDuplicates'.", parameter)
		}
	}
	matching := c.srv.model.byName[name.text]
	if matching == nil {
		return errNoTable(name.text)
	}
	var window pagingInfo
	var typ struct {
		Name string `json:"@odata.type"`
	}
	if json.Unmarshal([]byte(paging), &window) != nil || json.Unmarshal([]byte(entity), &typ) != nil {
		return errURL("The parameters of the function 'RetrieveDuplicates' are not valid.")
	}
	t := c.srv.model.byName[wireType(typ.Name)]
	if t == nil {
		return errPayload("", "Microsoft.OData.ODataException: A type named '"+wireType(typ.Name)+"' could not be resolved by the model.")
	}
	d := &decoder{scanner: scanner{b: []byte(entity)}, c: c}
	rec := &record{t: t}
	err = d.record(rec, 0)
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return inPayload(t.EntitySet, err)
	}
	q, err := c.bindQuery(matching, options{top: -1}, false)
	if err != nil {
		return err
	}
	return c.answerPage(q, window.cut(c.duplicatesOf(rec, matching)))
}

// pagingInfo is the page that a function is asked for; without a count it is all.
type pagingInfo struct{ PageNumber, Count int }

func (p pagingInfo) cut(ids []schema.GUID) []schema.GUID {
	if p.Count <= 0 {
		return ids
	}
	from := min(max(p.PageNumber-1, 0)*min(p.Count, maxPage), len(ids))
	return ids[from:min(from+p.Count, len(ids))]
}

// duplicatesOf lists the rows that a rule of both tables finds like the record.
func (c *call) duplicatesOf(rec *record, matching *table) []schema.GUID {
	ids := []schema.GUID{}
	if matching != rec.t { // a rule is of one table
		return ids
	}
	vals := make([]value, len(rec.t.cols))
	_ = c.view(func(tx *tx) error {
		if r, ok := tx.row(rec.t, rec.id); ok {
			for i, col := range rec.t.cols {
				vals[i] = r.value(col)
			}
		}
		for _, a := range rec.set {
			vals[a.col.idx] = a.v
		}
		for _, k := range rec.t.keys {
			if !k.rule {
				continue
			}
			for id := range tx.s.others(k, rec.id, func(col *column) value { return vals[col.idx] }) {
				if !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
		return nil
	})
	slices.SortFunc(ids, compareIDs)
	return ids
}

package emulator

import (
	"net/http"

	"dvmigrate/appliance/dataverse/schema"
)

// bulkAction is CreateMultiple, UpdateMultiple or UpsertMultiple (section 6).
type bulkAction struct {
	name   string
	action string // as schema.Table.Bulk names it
}

// post answers the action: all rows or none, one error without the row's place.
func (a bulkAction) post(c *call) error {
	t := c.table
	if c.segs[0].hasKey {
		return c.errNoOperation()
	}
	if !t.canBulk(a.action) && !(a.action == "upsert" && t.canBulk("create") && t.canBulk("update")) {
		return errorf(http.StatusBadRequest, "0x80040203", "%s is not enabled on the entity %s", a.name, t.LogicalName)
	}
	recs, err := c.decodeTargets(a)
	if err != nil {
		return inPayload(t.EntitySet, err)
	}
	c.records = rowsOf(recs)
	if err := c.warmUp(a.action); err != nil {
		return err
	}
	if t.isElastic() {
		return a.postElastic(c, recs)
	}
	ids := make([]schema.GUID, len(recs))
	err = c.change(func(w *writer) error {
		if a.action == "upsert" {
			if err := w.split(recs); err != nil {
				return err
			}
		}
		for i, rec := range recs {
			if ids[i], err = w.bulk(a.action, rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if a.action != "create" {
		return c.noContent()
	}
	return c.json(http.StatusOK, c.appendIDs(nil, a.name, ids))
}

func (c *call) appendIDs(dst []byte, name string, ids []schema.GUID) []byte {
	dst = appendString(append(dst, `{"@odata.context":`...), c.api+"/$metadata#"+namespace+name+"Response")
	dst = append(dst, `,"Ids":[`...)
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(id.Append(dst), '"')
	}
	return append(dst, "]}"...)
}

// decodeTargets reads {"Targets":[…]}.
func (c *call) decodeTargets(a bulkAction) ([]*record, error) {
	if err := c.checkContentType(); err != nil {
		return nil, err
	}
	d := c.newDecoder(a.action == "update")
	d.upsert = a.action == "upsert"
	var recs []*record
	found := false
	if err := d.expect('{'); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		more, err := d.next('}', first)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		name, err := d.name()
		if err != nil {
			return nil, err
		}
		if name != "Targets" {
			return nil, errPayload(c.table.EntitySet, "Microsoft.OData.ODataException: The parameter '"+name+"' in the request payload is not a valid parameter for the operation '"+a.name+"'.")
		}
		found = true
		if recs, err = d.records(c.table, 0); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, errorf(http.StatusBadRequest, "0x80040203", "The required parameter 'Targets' is missing from the request '%s'.", a.name)
	}
	for _, rec := range recs {
		if !rec.typed {
			return nil, errPayload(c.table.EntitySet, "Microsoft.OData.ODataException: An item of the parameter 'Targets' has no '@odata.type' annotation, and its type cannot be inferred.")
		}
	}
	return recs, d.end()
}

// rowsOf counts rows with those nested in them, which cost as much (section 16).
func rowsOf(recs []*record) int {
	n := len(recs)
	for _, rec := range recs {
		if rec.parents == nil && rec.children == nil && rec.links == nil {
			continue
		}
		for _, p := range rec.parents {
			n += rowsOf([]*record{p.rec})
		}
		for _, c := range rec.children {
			n += rowsOf(c.recs) + len(c.refs)
		}
		for _, l := range rec.links {
			n += rowsOf(l.recs) + len(l.refs)
		}
	}
	return n
}

// split tells the targets of an UpsertMultiple on a standard table that are to be
// created from those that exist, before any is written: two targets that stand for the
// same new row are both creates, of which the second fails (section 6.1).
func (w *writer) split(recs []*record) error {
	for _, rec := range recs {
		if rec.ref == "" && rec.id.IsZero() {
			continue
		}
		key, err := w.targetKey(rec)
		if err != nil {
			return err
		}
		_, err = w.tx.find(key)
		rec.fresh = err != nil
	}
	return nil
}

// targetKey is the row that a target names, by @odata.id or by its primary key.
func (w *writer) targetKey(rec *record) (rowKey, error) {
	if rec.ref == "" {
		return rowKey{t: rec.t, id: rec.id}, nil
	}
	key, err := w.c.parseRef(rec.ref)
	if err == nil && key.t != rec.t {
		err = errSegment(key.t.EntitySet)
	}
	return key, err
}

// bulk applies one target of a bulk action.
func (w *writer) bulk(action string, rec *record) (schema.GUID, error) {
	switch {
	case action == "create":
		return w.create(rec)
	case rec.ref == "" && rec.id.IsZero() && action == "upsert":
		return w.create(rec)
	case rec.ref == "" && rec.id.IsZero():
		return rec.id, errorf(http.StatusBadRequest, "0x80040203", "Entity Id must be specified for Update.")
	}
	key, err := w.targetKey(rec)
	if err != nil {
		return rec.id, err
	}
	key.inPartition(w.c, rec)
	if rec.fresh {
		return w.createAt(key, rec)
	}
	if action == "upsert" {
		id, _, err := w.upsert(key, rec)
		return id, err
	}
	old, err := w.tx.find(key)
	if action == "delete" && err == nil {
		return old.id, w.remove(old)
	}
	if err != nil {
		if key.key == nil {
			return key.id, errNoRows(rec.t, key.id)
		}
		return key.id, err
	}
	return old.id, w.update(old, rec)
}

package emulator

import (
	"net/http"

	"dvmigrate/appliance/dataverse/schema"
)

// update applies a record to an existing row (section 3.2).
func (w *writer) update(old row, rec *record) error {
	t := old.t
	if !rec.id.IsZero() && rec.id != old.id {
		return errorf(http.StatusBadRequest, "0x80040203", "Entity Id must be the same as the value set in property bag.")
	}
	if t.intersect != nil || t.activities != nil || t.LogicalName == attachmentsTable {
		return errorf(http.StatusBadRequest, "0x80040800", "The 'Update' method does not support entities of type '%s'. MessageProcessorCache returned MessageProcessor.Empty.", t.LogicalName)
	}
	if err := w.c.srv.faults.plugin(w.c, rec); err != nil {
		return err
	}
	if e := t.refusesUpdate(old, rec); e != nil {
		return e
	}
	if err := w.c.may(w.tx, "Write", t); err != nil {
		return err
	}
	if err := w.mayBind(rec); err != nil {
		return err
	}
	if err := w.hold(t, old.id); err != nil {
		return err
	}
	vals := w.tx.blank(t)
	w.tx.s.decodeRow(t, old.data, vals)
	if rec.replaces {
		w.startAnew(t, vals)
	}
	setState, setStatus, setMoney := false, false, false
	for i := range rec.set {
		c := rec.set[i].col
		vals[c.idx] = rec.set[i].v
		setState = setState || c == t.state
		setStatus = setStatus || c == t.status
		setMoney = setMoney || c.Type == schema.Money
	}
	if err := w.resolve(rec, vals); err != nil {
		return err
	}
	if err := t.changeState(old, vals, setState, setStatus, rec.closing); err != nil {
		return err
	}
	if setMoney || rec.binds != nil {
		if err := w.setCurrency(t, vals, false); err != nil {
			return err
		}
	}
	if err := w.mayDuplicate(t, old.id, vals); err != nil {
		return err
	}
	if err := w.mayBePerson(t, old, old.id, vals); err != nil {
		return err
	}
	if err := w.moved(t, old, vals); err != nil {
		return err
	}
	w.setImages(rec, old.id, vals)
	if t.body != nil && rec.sets(t.body) {
		if err := w.describeBody(t, vals); err != nil {
			return err
		}
	}
	w.stamp(t, vals)
	from, to := value{}, value{}
	if t.owner != nil {
		from, to = old.value(t.owner), vals[t.owner.idx]
	}
	if err := w.tx.replace(old, vals); err != nil {
		return err
	}
	if from.guid != to.guid {
		return w.assignBelow(t, old.id, from, to)
	}
	return nil
}

// assignBelow gives the rows below one to its new owner, as their relationships say
// (section 5.4): all, those in an open state, or those of the former owner.
func (w *writer) assignBelow(t *table, id schema.GUID, from, to value) error {
	for _, rel := range t.incoming {
		behaviour := rel.Cascade["Assign"]
		if behaviour == "" || behaviour == "NoCascade" || rel.from.owner == nil {
			continue
		}
		for _, childID := range w.tx.children(rel, id) {
			child, ok := w.tx.row(rel.from, childID)
			owner := value{}
			if ok {
				owner = child.value(rel.from.owner)
			}
			switch {
			case !ok || owner.guid == to.guid,
				behaviour == "Active" && rel.from.state != nil && child.value(rel.from.state).n != 0,
				behaviour == "UserOwned" && owner.guid != from.guid:
				continue
			}
			vals := child.values()
			vals[rel.from.owner.idx] = to
			w.stamp(rel.from, vals)
			if err := w.hold(rel.from, childID); err != nil {
				return err
			}
			if err := w.tx.replace(child, vals); err != nil {
				return err
			}
			if err := w.assignBelow(rel.from, childID, owner, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// startAnew leaves of an elastic row that an upsert replaces what the service keeps
// itself (section 3.3).
func (w *writer) startAnew(t *table, vals []value) {
	for i, c := range t.cols {
		if c.storage != storeNothing && c.takes(true) && c != t.owner && c != t.state && c != t.status && c.LogicalName != "partitionid" {
			vals[i] = value{}
		}
	}
	for _, d := range t.defaults {
		vals[d.col.idx] = d.v
	}
}

// upsert updates the row of a key or creates it (section 3.3). created tells which.
func (w *writer) upsert(key rowKey, rec *record) (id schema.GUID, created bool, err error) {
	old, err := w.tx.find(key)
	if err == nil {
		if key.key != nil {
			rec.drop(key.key)
		}
		rec.keep(true)
		rec.replaces = old.t.isElastic()
		return old.id, false, w.update(old, rec)
	}
	id, err = w.createAt(key, rec)
	return id, true, err
}

// createAt creates the row of a key that an upsert did not find.
func (w *writer) createAt(key rowKey, rec *record) (schema.GUID, error) {
	rec.keep(false)
	if key.key == nil {
		if rec.id.IsZero() {
			rec.id = key.id
		}
		if c := key.t.byName["partitionid"]; key.t.isElastic() && c != nil && key.partition != "" && !rec.sets(c) {
			rec.set = append(rec.set, assign{c, textValue(key.partition)})
		}
		return w.create(rec)
	}
	rec.fill(key, w.tx)
	return w.create(rec)
}

// drop takes the columns of a key out of the record.
func (rec *record) drop(k *altKey) {
	kept := rec.set[:0]
	for _, a := range rec.set {
		if !k.has(a.col) {
			kept = append(kept, a)
		}
	}
	rec.set = kept
	binds := rec.binds[:0]
	for _, b := range rec.binds {
		if !k.has(b.rel.col) {
			binds = append(binds, b)
		}
	}
	rec.binds = binds
}

// keep drops the columns that the write does not take: an upsert's body was read
// before it was known which it is.
func (rec *record) keep(update bool) {
	kept := rec.set[:0]
	for _, a := range rec.set {
		if a.col.takes(update) {
			kept = append(kept, a)
		}
	}
	rec.set = kept
}

func (k *altKey) has(c *column) bool {
	for _, kc := range k.cols {
		if kc == c {
			return true
		}
	}
	return false
}

// fill copies the key's values into the record where the body does not set them.
func (rec *record) fill(key rowKey, tx *tx) {
	for i, c := range key.key.cols {
		if rec.sets(c) {
			continue
		}
		v := key.vals[i]
		if v.kind == kindRef {
			for _, t := range c.targets {
				if len(c.targets) == 1 || tx.exists(t, v.guid) {
					v.target = t
					break
				}
			}
		}
		if c == c.t.id {
			rec.id = v.guid
			continue
		}
		if c.storage == storeGUID {
			v.kind = kindGUID
		}
		rec.set = append(rec.set, assign{c, v})
	}
}

func (rec *record) sets(c *column) bool {
	for i := range rec.set {
		if rec.set[i].col == c {
			return true
		}
	}
	for i := range rec.binds {
		if rec.binds[i].rel.col == c {
			return true
		}
	}
	return false
}

// remove deletes a row with what its relationships say becomes of the rows that
// point to it (section 5.4). A relationship that says nothing removes the link.
func (w *writer) remove(old row) error {
	for _, rel := range old.t.incoming {
		if rel.Cascade["Delete"] == "Restrict" && len(w.tx.children(rel, old.id)) > 0 {
			return errorf(http.StatusMethodNotAllowed, "0x80040227", "The object you tried to delete is associated with another object and cannot be deleted.")
		}
	}
	if old.vals != nil {
		return errorf(http.StatusBadRequest, "0x80040800", "The 'Delete' method does not support entities of type '%s'. MessageProcessorCache returned MessageProcessor.Empty.", old.t.LogicalName)
	}
	if err := w.mayGo(old); err != nil {
		return err
	}
	if err := w.hold(old.t, old.id); err != nil {
		return err
	}
	w.tx.remove(old)
	for _, rel := range old.t.incoming {
		behaviour := rel.Cascade["Delete"]
		if rel == old.t.parties {
			behaviour = "Cascade" // they are a part of their activity, whatever the schema knows
		}
		if behaviour == "NoCascade" {
			continue
		}
		for _, id := range w.tx.children(rel, old.id) {
			child, ok := w.tx.row(rel.from, id)
			if !ok {
				continue
			}
			if behaviour == "Cascade" {
				if err := w.remove(child); err != nil {
					return err
				}
				continue
			}
			vals := w.tx.blank(rel.from)
			w.tx.s.decodeRow(rel.from, child.data, vals)
			vals[rel.col.idx] = value{}
			if err := w.tx.replace(child, vals); err != nil {
				return err
			}
		}
	}
	for _, end := range old.t.nn {
		for _, other := range w.tx.linked(end, old.id) {
			w.tx.unlink(end, old.id, other)
		}
	}
	return nil
}

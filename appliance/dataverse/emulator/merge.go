package emulator

import (
	"encoding/json"
	"net/http"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// mergeable are the tables whose rows can be merged.
var mergeable = []string{"account", "contact", "lead", "incident"}

// merge answers the action Merge (section 3.8): the target takes UpdateContent and the
// subordinate's children and links; the subordinate is deactivated and, where the table
// has the columns, says which row is its master.
func (c *call) merge() error {
	var body struct{ Target, Subordinate, UpdateContent wireRef }
	if err := c.wire(&body); err != nil {
		return err
	}
	target, err := c.reference(body.Target, "Target")
	if err != nil {
		return err
	}
	subordinate, err := c.reference(body.Subordinate, "Subordinate")
	if err != nil {
		return err
	}
	t := target.t
	c.table, c.records = t, 2
	switch {
	case !slices.Contains(mergeable, t.LogicalName) || t.state == nil:
		return errorf(http.StatusBadRequest, "0x80040800", "The 'Merge' method does not support entities of type '%s'. MessageProcessorCache returned MessageProcessor.Empty.", t.LogicalName)
	case subordinate.t != t:
		return errorf(http.StatusBadRequest, "0x80040203", "The target and the subordinate of a merge must be of the same type.")
	}
	update, err := c.mergeContent(t, body.UpdateContent)
	if err != nil {
		return err
	}
	return c.change(func(w *writer) error {
		master, err := w.tx.find(target)
		if err != nil {
			return err
		}
		other, err := w.tx.find(subordinate)
		if err != nil {
			return err
		}
		if master.id == other.id {
			return errorf(http.StatusBadRequest, "0x80040203", "A record cannot be merged with itself.")
		}
		if master.value(t.state).n != 0 && t.LogicalName != "lead" {
			return errorf(http.StatusBadRequest, "0x80040203", "The target record of a merge must be active.")
		}
		if len(update.set)+len(update.binds) > 0 {
			if err := w.update(master, update); err != nil {
				return err
			}
		}
		if err := w.moveBelow(t, other.id, refValue(t, master.id)); err != nil {
			return err
		}
		return w.subordinate(other.id, refValue(t, master.id))
	})
}

// mergeContent reads UpdateContent, whose primary key is all zeros or the target's.
func (c *call) mergeContent(t *table, content wireRef) (*record, error) {
	if content == nil {
		return &record{t: t}, nil
	}
	delete(content, t.PrimaryID)
	text, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	inner := *c
	inner.body = text
	return inner.decodeRow(t, true)
}

// moveBelow gives a row's children and links to its master. A relationship whose Merge
// behaviour is NoCascade keeps its rows (section 5.4).
func (w *writer) moveBelow(t *table, id schema.GUID, master value) error {
	for _, rel := range t.incoming {
		if rel.Cascade["Merge"] == "NoCascade" {
			continue
		}
		for _, childID := range w.tx.children(rel, id) {
			child, ok := w.tx.row(rel.from, childID)
			if !ok || rel.from == t && childID == master.guid { // its own parent it cannot be
				continue
			}
			vals := child.values()
			vals[rel.col.idx] = master
			w.stamp(rel.from, vals)
			if err := w.hold(rel.from, childID); err != nil {
				return err
			}
			if err := w.tx.replace(child, vals); err != nil {
				return err
			}
		}
	}
	for _, end := range t.nn {
		have := w.tx.linked(end, master.guid)
		for _, to := range w.tx.linked(end, id) {
			w.tx.unlink(end, id, to)
			if slices.Contains(have, to) {
				continue
			}
			if err := w.tx.link(end, master.guid, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// subordinate deactivates the row that was merged.
func (w *writer) subordinate(id schema.GUID, master value) error {
	t := master.target
	old, _ := w.tx.row(t, id)
	rec := &record{t: t, closing: true, set: []assign{{t.state, intValue(mergedState(t))}}}
	if c := t.byName["merged"]; c != nil {
		rec.set = append(rec.set, assign{c, boolValue(true)})
	}
	if c := t.byName["masterid"]; c != nil && slices.Contains(c.targets, t) {
		rec.set = append(rec.set, assign{c, master})
	}
	if err := w.update(old, rec); err != nil {
		return err
	}
	return w.c.noContent()
}

// mergedState is the state of a row that was merged: a case is canceled, a lead
// disqualified, others are inactive.
func mergedState(t *table) int64 {
	if t.LogicalName == "incident" || t.LogicalName == "lead" {
		return 2
	}
	return 1
}

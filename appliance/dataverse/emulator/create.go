package emulator

import (
	"crypto/sha1"
	"encoding/binary"
	"net/http"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// writer applies decoded records inside one transaction.
type writer struct {
	c   *call
	tx  *tx
	now int64
	// unchecked takes lookups by id to exist: while seeding.
	unchecked bool
	// inBlocks says that a note's body came in blocks.
	inBlocks bool

	// The owner, and the currency and its rate, that were found good last:
	// rows of a bulk request mostly share them.
	owner      schema.GUID
	currency   schema.GUID
	rate       value
	currencyOK bool
}

// change runs fn in the call's transaction: that of its change set, or its own.
func (c *call) change(fn func(*writer) error) error {
	run := func(tx *tx) error { return fn(&writer{c: c, tx: tx, now: c.srv.store.now()}) }
	if c.tx != nil {
		return run(c.tx)
	}
	return c.srv.store.update(run)
}

// create makes a row and all that hangs on it (sections 3.1, 5.3).
func (w *writer) create(rec *record) (schema.GUID, error) {
	t := rec.t
	if e := t.refusesCreate(); e != nil {
		return schema.GUID{}, e
	}
	if err := w.c.srv.faults.plugin(w.c, rec); err != nil {
		return schema.GUID{}, err
	}
	if err := w.c.may(w.tx, "Create", t); err != nil {
		return schema.GUID{}, err
	}
	if err := w.mayBind(rec); err != nil {
		return schema.GUID{}, err
	}
	for _, p := range rec.parents {
		id, err := w.create(p.rec)
		if err != nil {
			return schema.GUID{}, err
		}
		rec.binds = append(rec.binds, bind{p.rel, rowKey{t: p.rel.target, id: id}})
	}
	id := rec.id
	if id.IsZero() {
		id = w.c.srv.nextID()
	} else if w.tx.exists(t, id) {
		return id, errDuplicateInsert()
	} else if t.ttl != nil {
		if r, _ := w.tx.row(t, id); r.data != nil { // it has expired
			w.tx.remove(r)
		}
	}
	vals := w.tx.blank(t)
	for _, d := range t.defaults {
		vals[d.col.idx] = d.v
	}
	for i := range rec.set {
		vals[rec.set[i].col.idx] = rec.set[i].v
	}
	if err := w.resolve(rec, vals); err != nil {
		return id, err
	}
	if err := w.complete(rec, id, vals); err != nil {
		return id, err
	}
	if err := w.mayDuplicate(t, id, vals); err != nil {
		return id, err
	}
	if err := w.mayBePerson(t, row{}, id, vals); err != nil {
		return id, err
	}
	if err := w.hold(t, id); err != nil {
		return id, err
	}
	if err := w.tx.insert(t, id, vals); err != nil {
		return id, err
	}
	if err := w.created(t, id, vals); err != nil {
		return id, err
	}
	return id, w.hang(rec, id)
}

// refusesCreate names the tables that have no Create (sections 5.1, 4.8, trap 36).
func (t *table) refusesCreate() *apiError {
	if t.intersect != nil || t.Kind == schema.Intersect || t.Kind == schema.Virtual || t.activities != nil || t.LogicalName == attachmentsTable {
		return errorf(http.StatusBadRequest, "0x80040800", "The 'Create' method does not support entities of type '%s'. MessageProcessorCache returned MessageProcessor.Empty.", t.LogicalName)
	}
	return nil
}

// complete fills in what the service sets itself (sections 4.3, 4.5, 4.7, 4.10, 4.12).
func (w *writer) complete(rec *record, id schema.GUID, vals []value) error {
	t := rec.t
	if err := t.initialState(id, vals); err != nil {
		return err
	}
	if err := w.describeBody(t, vals); err != nil {
		return err
	}
	w.setImages(rec, id, vals)
	if c := t.byName["partitionid"]; c != nil && t.isElastic() && vals[c.idx].isNull() {
		vals[c.idx] = textValue(id.String())
	}
	if t.owner != nil && vals[t.owner.idx].isNull() {
		vals[t.owner.idx] = t.owner.user(w.c.user)
	}
	if err := w.setCurrency(t, vals, true); err != nil {
		return err
	}
	for _, c := range t.autoNumbers {
		if vals[c.idx].isNull() {
			vals[c.idx] = textValue(w.tx.autoNumber(c, w.now))
		}
	}
	if c := t.activityType; c != nil && c.storage == storeText {
		vals[c.idx] = textValue(t.LogicalName)
	}
	if err := w.setCreatedOn(t, vals); err != nil {
		return err
	}
	if t.createdBy != nil {
		vals[t.createdBy.idx] = t.createdBy.user(w.c.user)
	}
	if t.createdOnBehalf != nil && w.c.user != w.c.caller {
		vals[t.createdOnBehalf.idx] = t.createdOnBehalf.user(w.c.caller)
	}
	w.stamp(t, vals)
	return nil
}

// setCreatedOn stamps the creation, swapping with overriddencreatedon (section 4.13).
func (w *writer) setCreatedOn(t *table, vals []value) error {
	now := value{kind: kindTime, n: w.now}
	given := value{}
	if t.overriddenCreatedOn != nil {
		given = vals[t.overriddenCreatedOn.idx]
	}
	if given.isNull() {
		if t.createdOn != nil {
			vals[t.createdOn.idx] = now
		}
		return nil
	}
	if t.overriddenCreatedOn.DateBehavior == schema.DateOnly {
		given = value{kind: kindTime, n: given.n * 86400}
	} else {
		vals[t.overriddenCreatedOn.idx] = now
	}
	if given.n > w.now {
		return errorf(http.StatusBadRequest, "0x80040203", "The value of overriddencreatedon must not be in the future.")
	}
	if t.createdOn != nil {
		vals[t.createdOn.idx] = given
	}
	return nil
}

// stamp sets who modified the row and when.
func (w *writer) stamp(t *table, vals []value) {
	if t.modifiedOn != nil {
		vals[t.modifiedOn.idx] = value{kind: kindTime, n: w.now}
	}
	if t.modifiedBy != nil {
		vals[t.modifiedBy.idx] = t.modifiedBy.user(w.c.user)
	}
	if t.modifiedOnBehalf != nil {
		vals[t.modifiedOnBehalf.idx] = value{}
		if w.c.user != w.c.caller {
			vals[t.modifiedOnBehalf.idx] = t.modifiedOnBehalf.user(w.c.caller)
		}
	}
}

// user is a reference to a systemuser, as the column can hold it.
func (c *column) user(id schema.GUID) value {
	for _, t := range c.targets {
		if t.LogicalName == "systemuser" {
			return refValue(t, id)
		}
	}
	if c.storage == storeGUID {
		return guidValue(id)
	}
	return value{}
}

// hang makes the rows and links below a new row (section 5.3).
func (w *writer) hang(rec *record, id schema.GUID) error {
	self := rowKey{t: rec.t, id: id}
	for _, ch := range rec.children {
		for _, child := range ch.recs {
			child.binds = append(child.binds, bind{ch.rel, self})
			if _, err := w.create(child); err != nil {
				return err
			}
		}
		for _, key := range ch.refs {
			r, err := w.tx.find(key)
			if err != nil {
				return err
			}
			if err := w.update(r, &record{t: r.t, binds: []bind{{ch.rel, self}}}); err != nil {
				return err
			}
		}
	}
	for _, l := range rec.links {
		for _, other := range l.recs {
			oid, err := w.create(other)
			if err != nil {
				return err
			}
			l.refs = append(l.refs, rowKey{t: other.t, id: oid})
		}
		for _, key := range l.refs {
			r, err := w.tx.find(key)
			if err != nil {
				return err
			}
			if err := w.tx.link(l.end, id, r.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve puts the record's binds into vals; every target must exist.
func (w *writer) resolve(rec *record, vals []value) error {
	for i := range rec.binds {
		b := &rec.binds[i]
		v := value{}
		if b.key.t != nil {
			id, err := w.target(&b.key)
			if err != nil {
				return err
			}
			v = refValue(b.key.t, id)
			if !slices.Contains(b.rel.col.targets, b.key.t) {
				v.target = b.rel.target // an activity bound as activitypointer
			}
		}
		if b.rel.col == rec.t.owner {
			if err := w.checkOwner(v); err != nil {
				return err
			}
			if err := w.ownerMay(v, rec.t); err != nil {
				return err
			}
		}
		if err := w.holdParent(b.rel.col, v); err != nil {
			return err
		}
		vals[b.rel.col.idx] = v
	}
	return nil
}

// target finds the row a lookup is bound to.
func (w *writer) target(k *rowKey) (schema.GUID, error) {
	if k.key == nil {
		if !w.unchecked && !w.tx.s.discard && !w.tx.exists(k.t, k.id) {
			return k.id, errNoRow(k.t, k.id)
		}
		return k.id, nil
	}
	id, ok := w.tx.byKey(k.key, k.vals)
	if !ok && w.tx.s.discard {
		sum := sha1.Sum([]byte(k.text))
		return schema.GUID(sum[:16]), nil
	}
	if !ok {
		return id, errNoKeyRow(k.t)
	}
	return id, nil
}

// exists reports whether a row is there; an activity also counts as activitypointer.
func (tx *tx) exists(t *table, id schema.GUID) bool {
	if t.intersect != nil {
		_, ok := tx.row(t, id)
		return ok
	}
	if _, ok := tx.s.tables[t.idx].rows.get(orderOf(id)); ok {
		if t.ttl == nil {
			return true
		}
		_, seen := tx.row(t, id)
		return seen
	}
	for _, a := range t.activities {
		if tx.exists(a, id) {
			return true
		}
	}
	return false
}

// checkOwner refuses an owner that is disabled, or a team that cannot own (14.3, 14.4).
func (w *writer) checkOwner(v value) error {
	if v.isNull() {
		return errorf(http.StatusBadRequest, "0x80040215", "The owner of the record is missing.")
	}
	if v.guid == w.owner {
		return nil
	}
	if r, ok := w.tx.row(v.target, v.guid); ok {
		if c := v.target.byName["isdisabled"]; c != nil && r.value(c).n == 1 {
			return errorf(http.StatusBadRequest, "0x8004022B", "The specified owner has been disabled.")
		}
		if c := v.target.byName["teamtype"]; c != nil && r.value(c).n == 1 {
			return errorf(http.StatusBadRequest, "0x80040229", "The owner ID is invalid or missing.")
		}
	}
	w.owner = v.guid
	return nil
}

// setCurrency gives a row with money its currency and rate (section 4.3).
func (w *writer) setCurrency(t *table, vals []value, isNew bool) error {
	if t.currency == nil {
		return nil
	}
	cur := &vals[t.currency.idx]
	if cur.isNull() && (isNew || slices.ContainsFunc(t.money, func(c *column) bool { return !vals[c.idx].isNull() })) {
		if len(t.currency.targets) == 0 || !w.tx.exists(t.currency.targets[0], CurrencyID) {
			return nil
		}
		*cur = refValue(t.currency.targets[0], CurrencyID)
	}
	if t.exchangeRate == nil || t.LogicalName == "transactioncurrency" {
		return nil
	}
	if cur.isNull() {
		vals[t.exchangeRate.idx] = value{}
		return nil
	}
	if !w.currencyOK || w.currency != cur.guid {
		w.currency, w.currencyOK, w.rate = cur.guid, true, decimalValue("1")
		if r, ok := w.tx.row(cur.target, cur.guid); ok {
			if c := cur.target.byName["exchangerate"]; c != nil && !r.value(c).isNull() {
				w.rate = r.value(c)
			}
		}
	}
	vals[t.exchangeRate.idx] = w.rate
	return nil
}

// blank returns the transaction's scratch values for a table, all null.
func (tx *tx) blank(t *table) []value {
	if cap(tx.vals) < len(t.cols) {
		tx.vals = make([]value, len(t.cols))
	}
	tx.vals = tx.vals[:len(t.cols)]
	clear(tx.vals)
	return tx.vals
}

// nextID makes an id that is last in SQL Server's order: the time in the last six
// bytes, as the service's sequential ids are (section 16).
func (s *Server) nextID() schema.GUID {
	g := newGUID()
	n := s.lastID.Add(1)
	binary.BigEndian.PutUint32(g[10:14], uint32(n>>16))
	binary.BigEndian.PutUint16(g[14:16], uint16(n))
	return g
}

package emulator

import (
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// boundQuery is options bound to a table: what is read, in what order, and how it
// is answered.
type boundQuery struct {
	t     *table
	opts  options
	proj  *projection
	match predicate // nil takes every row
	order []boundOrder
}

type boundOrder struct {
	accessor
	desc bool
}

// bindQuery checks every name in the options against the table. nested says that
// they stand inside $expand.
func (c *call) bindQuery(t *table, o options, nested bool) (*boundQuery, error) {
	q := &boundQuery{t: t, opts: o}
	var err error
	if q.proj, err = c.newProjection(t, o, nested); err != nil {
		return nil, err
	}
	if o.filter != nil {
		if q.match, err = c.binding(t).bind(o.filter); err != nil {
			return nil, err
		}
	}
	for _, item := range o.order {
		a, err := t.resolve(item.path)
		if err != nil {
			return nil, err
		}
		if !nested && t.intersect == nil && a.nav == nil && a.as == nil && a.col == t.id {
			if len(q.order) == 0 && !item.desc { // rows come so: no page has to look at all of them
				break
			}
			q.order = append(q.order, boundOrder{a, item.desc})
			break // no two rows have the same
		}
		q.order = append(q.order, boundOrder{a, item.desc})
	}
	return q, nil
}

func (c *call) binding(t *table) binding {
	return binding{t: t, user: c.user, now: c.srv.store.now()}
}

// scanStep is how many rows are looked at before other calls may have the store.
const scanStep = 20_000

// each calls fn for the matching rows after an id, in primary-key order, until fn
// returns false. Rows are found by an index where the filter allows it; otherwise
// the table is scanned in steps, between which writers get their turn. ids, when
// not nil, are the only rows to look at, in order.
func (q *boundQuery) each(c *call, ids []schema.GUID, after schema.GUID, fn func(*tx, row) bool) error {
	if ids == nil && q.opts.filter != nil {
		err := c.view(func(tx *tx) error {
			if found, ok := q.t.candidates(tx, q.opts.filter); ok {
				ids = append([]schema.GUID{}, found...)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if ids != nil {
		return c.view(func(tx *tx) error {
			for _, id := range ids {
				if r, ok := tx.row(q.t, id); ok && orderOf(after).less(orderOf(id)) && q.takes(tx, r) && !fn(tx, r) {
					return nil
				}
			}
			return nil
		})
	}
	for done := false; !done; {
		err := c.view(func(tx *tx) error {
			n := 0
			done = true
			tx.scan(q.t, after, func(r row) bool {
				n++
				after = r.id
				if q.takes(tx, r) && !fn(tx, r) {
					return false
				}
				done = n < scanStep
				return done
			})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *boundQuery) takes(tx *tx, r row) bool { return q.match == nil || q.match(tx, r) }

// sortKey is a row's place in $orderby: the values, then the id.
type sortKey struct {
	vals []value
	id   schema.GUID
}

func (q *boundQuery) keyOf(tx *tx, r row) sortKey {
	k := sortKey{id: r.id, vals: make([]value, len(q.order))}
	for i, o := range q.order {
		k.vals[i] = o.value(tx, r)
	}
	return k
}

// compare orders two keys.
func (q *boundQuery) compare(a, b sortKey) int {
	for i, o := range q.order {
		n := q.t.texts.compareNulls(a.vals[i], b.vals[i])
		if o.desc {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return compareIDs(a.id, b.id)
}

// compareNulls is compareValues with null before all else, as in SQL.
func (k *collation) compareNulls(a, b value) int {
	switch {
	case a.isNull() && b.isNull():
		return 0
	case a.isNull():
		return -1
	case b.isNull():
		return 1
	}
	return k.compareValues(a, b)
}

// among lists, in order, the rows of an expanded collection: those of ids that
// match, sorted, up to $top or a page.
func (q *boundQuery) among(tx *tx, ids []schema.GUID) []row {
	limit := maxPage
	if q.opts.top >= 0 {
		limit = min(limit, q.opts.top)
	}
	var rows []row
	for _, id := range ids {
		if r, ok := tx.row(q.t, id); ok && q.takes(tx, r) {
			rows = append(rows, r)
		}
	}
	if q.order != nil {
		slices.SortFunc(rows, func(a, b row) int { return q.compare(q.keyOf(tx, a), q.keyOf(tx, b)) })
	}
	return rows[:min(limit, len(rows))]
}

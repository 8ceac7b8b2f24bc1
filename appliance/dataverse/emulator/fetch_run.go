package emulator

import (
	"net/http"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// getFetched answers a FetchXML query (section 10.6).
func (c *call) getFetched(t *table, text string) error {
	f, err := parseFetch(text)
	if err != nil {
		return err
	}
	if f.Entity.Name != t.LogicalName {
		return errorf(http.StatusBadRequest, "0x80060888", "Entity Name specified in FetchXML does not match expected Entity Name. Entity name passed : %s, Expected entity name %s", f.Entity.Name, t.LogicalName)
	}
	q, err := c.bindFetch(f)
	if err != nil {
		return err
	}
	if isTrue(f.Aggregate) {
		return q.answerAggregate()
	}
	return q.answerRows()
}

// each calls fn for every joined row that satisfies the filters, until it returns
// false. Rows of the entity come in primary-key order after an id.
func (q *fetchQuery) each(after schema.GUID, fn func(*tx, joined) bool) error {
	base := &boundQuery{t: q.nodes[0].t}
	ids, err := q.indexed()
	if err != nil {
		return err
	}
	return base.each(q.call, ids, after, func(tx *tx, r row) bool {
		if !q.nodes[0].passes(tx, r) {
			return true
		}
		j := make(joined, len(q.nodes))
		j[0] = r
		return q.join(tx, j, 1, fn)
	})
}

// join fills in the nodes from i on.
func (q *fetchQuery) join(tx *tx, j joined, i int, fn func(*tx, joined) bool) bool {
	if i == len(q.nodes) {
		if q.filter != nil && !q.filter(tx, j) {
			return true
		}
		return fn(tx, j)
	}
	n := q.nodes[i]
	found := false
	if parent := j[n.parent]; parent.t != nil {
		for _, r := range n.matches(tx, parent.value(n.to)) {
			j[i] = r
			if n.filter != nil && !n.filter(tx, j) || !n.passes(tx, r) {
				continue
			}
			found = true
			if !q.join(tx, j, i+1, fn) {
				return false
			}
			if n.single {
				break
			}
		}
	}
	j[i] = row{}
	if found || !n.outer {
		return true
	}
	return q.join(tx, j, i+1, fn)
}

// matches lists the rows of a link whose column holds the parent's value: by
// primary key, by the index of a lookup or an N:N relationship, or by a table of
// the column's values, made once a query.
func (n *fetchNode) matches(tx *tx, v value) []row {
	if v.isNull() {
		return nil
	}
	var ids []schema.GUID
	switch {
	case n.from == n.t.id:
		ids = []schema.GUID{v.guid}
	case n.t.intersect != nil:
		return n.pairs(tx, v)
	case valueKind(n.from) == kindRef && n.from.derived == notDerived:
		ids = tx.collected(&relation{from: n.t, col: n.from}, v.guid)
	default:
		ids = n.valueIndex(tx)[n.t.texts.key(v.String())]
	}
	var rows []row
	for _, id := range ids {
		if r, ok := tx.row(n.t, id); ok {
			rows = append(rows, r)
		}
	}
	return rows
}

// pairs makes the rows of an intersect table that name a record on one side.
func (n *fetchNode) pairs(tx *tx, v value) []row {
	l := n.t.intersect
	side := 0
	if n.from.LogicalName == l.Column2 {
		side = 1
	}
	var rows []row
	for _, other := range tx.linked(linkEnd{l, side}, v.guid) {
		ends := [2]schema.GUID{v.guid, other}
		rows = append(rows, tx.makeIntersectRow(n.t, ends[side], ends[1-side], 0))
	}
	return rows
}

func (n *fetchNode) valueIndex(tx *tx) map[string][]schema.GUID {
	if n.byValue == nil {
		n.byValue = map[string][]schema.GUID{}
		tx.scan(n.t, schema.GUID{}, func(r row) bool {
			if v := r.value(n.from); !v.isNull() {
				key := n.t.texts.key(v.String())
				n.byValue[key] = append(n.byValue[key], r.id)
			}
			return true
		})
	}
	return n.byValue
}

// fetched is a row of the answer under way: its place in the order and its JSON.
type fetched struct {
	vals []value
	seq  int // as it was found
	json string
	id   schema.GUID
}

// window is which rows of the result are wanted.
type window struct {
	skip, size int
	after      schema.GUID // in place of skip, where the cookie told
}

// window reads page, count, top and the cookie. Without a cookie paging ends at
// 50,000 rows. An id in the cookie is a place only where rows come in order of
// their ids, one a record; else pages are counted off.
func (q *fetchQuery) window() (window, error) {
	w := window{size: maxPage}
	f := q.xml
	if f.Top > 0 {
		w.size = f.Top
	} else if f.Count > 0 {
		w.size = f.Count
	}
	if n := q.call.prefer.maxPageSize; n > 0 && f.Count == 0 && f.Top == 0 {
		w.size = min(w.size, n)
	}
	w.skip = f.offset + max(f.Page-1, 0)*w.size
	last, ok := readFetchCookie(f.Cookie)
	id, err := schema.ParseGUID(last)
	switch {
	case f.Cookie == "" && w.skip+w.size > maxUncookied:
		return w, errorf(http.StatusBadRequest, "0x8004430A", "Paging cookie is required when trying to retrieve a set of records on any page after 50000 records.")
	case f.Cookie != "" && (!ok || err != nil):
		return w, errURL("Malformed XML in the Paging Cookie")
	case f.Cookie != "" && q.plain():
		w.skip, w.after = 0, id
	}
	return w, nil
}

// plain reports whether the result has the entity's rows in primary-key order.
func (q *fetchQuery) plain() bool {
	return len(q.nodes) == 1 && len(q.orders) == 0 && !isTrue(q.xml.Distinct)
}

func (q *fetchQuery) answerRows() error {
	w, err := q.window()
	if err != nil {
		return err
	}
	for _, o := range q.orders {
		if o.out.col == nil {
			return errFetch("An order by alias needs an aggregate query.")
		}
	}
	rows, total, err := q.collect(w)
	if err != nil {
		return err
	}
	more := len(rows) > w.skip+w.size
	rows = rows[min(w.skip, len(rows)):min(w.skip+w.size, len(rows))]
	names := []string{}
	for _, o := range q.outputs {
		names = append(names, o.name)
	}
	c := q.call
	body := c.contextOf(c.table.EntitySet + (&projection{names: names}).context())
	if !isTrue(q.xml.TotalCount) {
		total = -1
	}
	body = c.appendTotals(body, total)
	if more && q.xml.Top == 0 && !q.xml.linked {
		if c.prefer.wants("Microsoft.Dynamics.CRM.morerecords") {
			body = append(body, `,"@Microsoft.Dynamics.CRM.morerecords":true`...)
		}
		if c.prefer.wants("Microsoft.Dynamics.CRM.fetchxmlpagingcookie") {
			last := rows[len(rows)-1].id.String()
			body = appendNamed(body, "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie", fetchCookie(max(q.xml.Page, 1), q.nodes[0].t.PrimaryID, last))
		}
	}
	body = append(body, `,"value":[`...)
	for i, r := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, r.json...)
	}
	body = append(body, ']')
	if more && q.xml.Top == 0 && q.xml.linked {
		token := fetchCookie(max(q.xml.Page, 1), q.nodes[0].t.PrimaryID, rows[len(rows)-1].id.String())
		body = appendNamed(body, "@odata.nextLink", c.nextLink("$skiptoken", token))
	}
	c.applyPreferences()
	c.records = len(rows)
	c.res.status, c.res.body = http.StatusOK, append(body, '}')
	c.set("Content-Type", c.level.streamType())
	return nil
}

// collect gathers the rows up to one beyond the window, in order. total counts on
// to one beyond what is answered, where that was asked for.
func (q *fetchQuery) collect(w window) (rows []fetched, total int, err error) {
	p := &projection{t: q.nodes[0].t, api: q.call.api,
		formats: q.call.prefer.wants("OData.Community.Display.V1.FormattedValue"),
		targets: q.call.prefer.wants("Microsoft.Dynamics.CRM.lookuplogicalname"),
		navs:    q.call.prefer.wants("Microsoft.Dynamics.CRM.associatednavigationproperty"),
		full:    q.call.level == fullMetadata}
	best := least[fetched]{n: w.skip + w.size + 1, compare: q.compare}
	seen := map[string]bool{}
	err = q.each(w.after, func(tx *tx, j joined) bool {
		r := fetched{id: j[0].id, seq: total}
		if isTrue(q.xml.Distinct) {
			key := q.distinctKey(tx, j)
			if seen[key] {
				return true
			}
			seen[key] = true
		}
		total++
		for _, o := range q.orders {
			r.vals = append(r.vals, o.value(tx, j))
		}
		if best.takes(r) {
			if r.json == "" {
				r.json = string(q.appendJoined(nil, p, tx, j))
			}
			best.add(r)
		}
		return len(q.orders) > 0 || total < best.n || isTrue(q.xml.TotalCount) && total <= maxCount
	})
	return best.sorted(), total, err
}

func (q *fetchQuery) compare(a, b fetched) int {
	for i, o := range q.orders {
		n := q.call.srv.model.texts.compareNulls(a.vals[i], b.vals[i])
		if o.desc {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return a.seq - b.seq
}

// appendJoined appends a result row: etag and primary key of the entity, unless
// the rows have to be distinct, and every output that is not null: nulls are left
// out of FetchXML results (unconfirmed).
func (q *fetchQuery) appendJoined(dst []byte, p *projection, tx *tx, j joined) []byte {
	start := len(dst)
	keyed := isTrue(q.xml.Distinct)
	if !keyed {
		dst = p.appendHead(append(dst, ','), p.t, j[0].id, j[0].version)
	}
	for _, o := range q.outputs {
		if v := o.shown(tx, j); !v.isNull() {
			dst = p.appendProperty(dst, tx, o.name, o.col, v)
		}
		keyed = keyed || o.node == 0 && o.col == q.nodes[0].t.id
	}
	if !keyed {
		dst = p.appendProperty(dst, tx, q.nodes[0].t.id.wire, q.nodes[0].t.id, guidValue(j[0].id))
	}
	if len(dst) == start {
		return append(dst, "{}"...)
	}
	dst[start] = '{' // in place of the first comma
	return append(dst, '}')
}

// shown is an output's value in a result row.
func (o fetchOutput) shown(tx *tx, j joined) value {
	switch {
	case o.below == nil:
		return o.value(j)
	case j[o.node].t != nil:
		return intValue(int64(len(tx.children(o.below, j[o.node].id))))
	}
	return value{}
}

// distinctKey is the same for rows that the database does not tell apart.
func (q *fetchQuery) distinctKey(tx *tx, j joined) string {
	var b strings.Builder
	for _, o := range q.outputs {
		v := o.shown(tx, j)
		b.WriteString(strconv.Itoa(int(v.kind)) + q.call.srv.model.texts.key(v.String()) + "\x00")
	}
	return b.String()
}

// answerAggregate answers groups. aggregatelimit may lower the limit (10.5).
func (q *fetchQuery) answerAggregate() error {
	g := newGroups(q.call.srv.model.texts, q.aggs)
	if n := q.xml.AggregateLimit; n > 0 {
		g.limit = min(n, maxAggregate)
	}
	keys, vals := make([]value, len(q.keys)), make([]value, len(q.aggs))
	var tooMany error
	err := q.each(schema.GUID{}, func(_ *tx, j joined) bool {
		for i, k := range q.keys {
			keys[i] = k.value(j)
		}
		for i, s := range q.sources {
			vals[i] = s.value(j)
		}
		tooMany = g.add(keys, vals)
		return tooMany == nil
	})
	if err == nil {
		err = tooMany
	}
	if err != nil {
		return err
	}
	if len(g.list) == 0 && len(q.keys) == 0 {
		g.list = append(g.list, &group{totals: make([]total, len(q.aggs))})
	}
	a := &appliedQuery{aggs: q.aggs, fetched: true}
	for _, k := range q.keys {
		col := k.col
		if k.grouping != "" { // a part of a date: a number
			col = &column{Column: &schema.Column{Type: schema.Choice}}
		}
		a.keys, a.names = append(a.keys, accessor{col: col}), append(a.names, k.name)
	}
	var items []orderItem
	for _, o := range q.orders {
		items = append(items, orderItem{path: path{o.name}, desc: o.desc})
	}
	if err := a.sort(g, items); err != nil {
		return err
	}
	if q.xml.Top > 0 {
		g.list = g.list[:min(q.xml.Top, len(g.list))]
	}
	return q.call.answerGroups(q.nodes[0].t, a, g)
}

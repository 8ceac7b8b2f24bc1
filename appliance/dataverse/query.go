package dataverse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// The bounds of one read.
const (
	maxPage = 5000 // rows of a page on a standard table (dataverse-web-api.md 10.1)
	// maxQuery is well below the 32 KB that an address may have (1.1).
	maxQuery = 30_000
	// maxTerms bounds the conditions of one filter: the service takes 500 (10.6,
	// unconfirmed).
	maxTerms = 250
)

// Query says which rows of a table to read. Names and values are as OData has them;
// the client escapes them.
type Query struct {
	Select   []string
	Filter   string // statecode eq 0
	OrderBy  string // accountid; "": the service's order, by primary key
	Expand   string
	Apply    string // aggregate($count as n), instead of Select, Filter and Expand
	Top      int    // 0: all
	PageSize int    // at most 5000; 0: the service's own, 5000
	Targets  bool   // each lookup comes with the table it points to: _x_value@Microsoft.Dynamics.CRM.lookuplogicalname
}

// encode writes the query for an address. A space is %20: + is not safe everywhere.
func (q Query) encode() string {
	var b strings.Builder
	add := func(name, value string) {
		if value == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(strings.ReplaceAll(url.QueryEscape(value), "+", "%20"))
	}
	add("$select", strings.Join(q.Select, ","))
	add("$filter", q.Filter)
	add("$orderby", q.OrderBy)
	add("$expand", q.Expand)
	add("$apply", q.Apply)
	if q.Top > 0 {
		add("$top", strconv.Itoa(q.Top))
	}
	return b.String()
}

// Rows calls fn with each row of a table that the query finds, as JSON, over all
// pages. The row is valid only until fn returns; an error of fn ends the reading and
// is returned. The service's numbers may be larger than a float64 holds: decode
// with UseNumber.
func (c *Client) Rows(ctx context.Context, t *schema.Table, q Query, fn func(row json.RawMessage) error) error {
	return c.rows(ctx, t.EntitySet, q, fn)
}

func (c *Client) rows(ctx context.Context, set string, q Query, fn func(row json.RawMessage) error) error {
	r := c.reading("Read", set, set, q.encode())
	if q.PageSize > 0 && q.Top == 0 { // with a page size the service ignores $top (10.1)
		r.prefer = "odata.maxpagesize=" + strconv.Itoa(min(q.PageSize, maxPage))
	}
	if q.Targets {
		r.prefer = strings.TrimPrefix(r.prefer+","+withTargets, ",")
	}
	for {
		a, err := c.send(ctx, r)
		if err != nil {
			return err
		}
		next, err := c.page(r, a, fn)
		a.release()
		if err != nil || next == "" {
			return err
		}
		if r.path, r.query, err = c.nextPage(r, next); err != nil {
			return err
		}
	}
}

// page calls fn with the rows of one page and returns the address of the next. That
// the page is whole was seen when it came, so no part of a broken one is handed on.
func (c *Client) page(r *request, a *answer, fn func(row json.RawMessage) error) (next string, err error) {
	return c.pageWith(r, a, fn, nil)
}

// pageWith is page with other members of the answer: those that more names are put there.
func (c *Client) pageWith(r *request, a *answer, fn func(row json.RawMessage) error, more map[string]json.RawMessage) (next string, err error) {
	strayed := func(err error) error {
		e := r.fail(Transient, err, "the answer is not a page of rows: %v", err)
		e.Status = a.status
		return e
	}
	found := false
	var stopped error // of fn
	body := a.body()
	err = members(body, func(name []byte, from int) (int, error) {
		if string(name) == `"value"` { // its end is seen when its rows have been
			if from >= len(body) || body[from] != '[' {
				return from, errors.New("its value is not a list")
			}
			found = true
			end, err := a.eachRow(from, fn)
			stopped = err
			return end, err
		}
		end := valueEnd(body, from)
		value := body[from:end]
		if string(name) == `"@odata.nextLink"` {
			return end, json.Unmarshal(value, &next)
		}
		if more != nil {
			member := string(name[1 : len(name)-1])
			if _, wanted := more[member]; wanted {
				more[member] = bytes.Clone(value)
			}
		}
		return end, nil
	})
	if stopped != nil {
		return "", stopped
	}
	if err != nil {
		return "", strayed(err)
	}
	if !found {
		return "", strayed(errors.New("it has no value"))
	}
	return next, nil
}

// eachRow calls fn with the elements of the list that begins at from, and tells where that
// ends.
func (a *answer) eachRow(from int, fn func(row json.RawMessage) error) (end int, err error) {
	body := a.body()
	if len(a.rows) == 0 || a.rows[0] != blanks(body, from+1) { // none, or not seen when it came
		end, err := eachElement(body[from:], func(row []byte) error { return fn(row) })
		return from + end, err
	}
	for i := 0; i < len(a.rows); i += 2 {
		end = a.rows[i+1]
		if err := fn(body[a.rows[i]:end]); err != nil {
			return end, err
		}
	}
	return blanks(body, end) + 1, nil // behind the bracket
}

// nextPage takes path and query of a next link as they are, and nothing else of it:
// the token goes to no other host.
func (c *Client) nextPage(r *request, link string) (path, query string, err error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", "", r.fail(Setup, nil, "the next page's address cannot be read")
	}
	path, ok := strings.CutPrefix(u.EscapedPath(), apiPath)
	if !ok {
		return "", "", r.fail(Setup, nil, "the next page's address %q is outside of %s", u.EscapedPath(), apiPath)
	}
	return path, u.RawQuery, nil
}

// Existing tells which of the records are there, by reading their primary keys.
//
// The filter is a chain of `or`: the service's own In function is documented for
// text values only (dataverse-web-api.md 10.1), and its `in` operator is unconfirmed.
func (c *Client) Existing(ctx context.Context, t *schema.Table, ids []schema.GUID) (map[schema.GUID]struct{}, error) {
	found := make(map[schema.GUID]struct{}, len(ids))
	key := NewSplitter([]string{t.PrimaryID})
	var f filter
	read := func() error {
		q := Query{Select: []string{t.PrimaryID}, Filter: f.take()}
		return c.Rows(ctx, t, q, func(row json.RawMessage) error {
			id, err := key.rowID(row)
			if err == nil {
				found[id] = struct{}{}
			}
			return err
		})
	}
	for _, id := range ids {
		f.term(t.PrimaryID, id)
		if f.full(1) {
			if err := read(); err != nil {
				return nil, err
			}
		}
	}
	if f.terms > 0 {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Asked is some records of a table that are looked for.
type Asked struct {
	Table *schema.Table
	IDs   []schema.GUID // at least one, and as many at most as one address takes
}

// changedAt is the column in which the service says when a record was changed last; nobody can write it.
const changedAt = "modifiedon"

// ExistingEach is Existing for some records of each of several tables, in one $batch (of one table, a plain read):
// which are there, for each table, and when they were changed last, where the table tells. Where one table may not be
// read there is only the error.
func (c *Client) ExistingEach(ctx context.Context, asked []Asked) ([]map[schema.GUID]time.Time, error) {
	found, queries, ops := make([]map[schema.GUID]time.Time, len(asked)), make([]Query, len(asked)), make([]Op, len(asked))
	for i, a := range asked {
		var f filter
		for _, id := range a.IDs {
			f.term(a.Table.PrimaryID, id)
		}
		queries[i] = Query{Select: []string{a.Table.PrimaryID}, Filter: f.take()}
		if a.Table.Column(changedAt) != nil {
			queries[i].Select = append(queries[i].Select, changedAt)
		}
		found[i], ops[i] = make(map[schema.GUID]time.Time, len(a.IDs)), readOp(a.Table.EntitySet, queries[i].encode())
	}
	take := func(i int, row json.RawMessage) error {
		id, err := NewSplitter([]string{asked[i].Table.PrimaryID}).rowID(row)
		if err != nil {
			return err
		}
		var changed struct{ ModifiedOn time.Time }
		if err := json.Unmarshal(row, &changed); err != nil {
			return fmt.Errorf("read when %v was changed: %w", id, err)
		}
		found[i][id] = changed.ModifiedOn
		return nil
	}
	if len(asked) == 1 {
		if err := c.Rows(ctx, asked[0].Table, queries[0], func(row json.RawMessage) error { return take(0, row) }); err != nil {
			return nil, err
		}
		return found, nil
	}
	for from := 0; from < len(ops); from += MaxBatch {
		part := ops[from:min(from+MaxBatch, len(ops))]
		err := c.readMany(ctx, asked[from].Table.LogicalName, part, func(i int, body []byte) error {
			var page struct{ Value []json.RawMessage }
			if err := json.Unmarshal(body, &page); err != nil {
				return err
			}
			for _, row := range page.Value {
				if err := take(from+i, row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Records reads some columns of the records that are there, under their names for reading.
// The row is valid only until fn returns.
func (c *Client) Records(ctx context.Context, t *schema.Table, ids []schema.GUID, columns []string, fn func(id schema.GUID, row json.RawMessage) error) error {
	var f filter
	key := NewSplitter([]string{t.PrimaryID})
	q := Query{Select: append([]string{t.PrimaryID}, columns...), Targets: true}
	read := func() error {
		q.Filter = f.take()
		return c.Rows(ctx, t, q, func(row json.RawMessage) error {
			id, err := key.rowID(row)
			if err != nil {
				return err
			}
			return fn(id, row)
		})
	}
	for _, id := range ids {
		f.term(t.PrimaryID, id)
		if f.full(1) {
			if err := read(); err != nil {
				return err
			}
		}
	}
	if f.terms == 0 {
		return nil
	}
	return read()
}

// or stands between a filter's conditions.
const or = " or "

// filter grows a chain of conditions up to what one address takes.
type filter struct {
	text  []byte
	terms int
	last  int // length of the last condition
}

func (f *filter) begin() int {
	at := len(f.text)
	if f.terms > 0 {
		f.text = append(f.text, or...)
	}
	f.terms++
	return at
}

func (f *filter) term(column string, id schema.GUID) {
	at := f.begin()
	f.text = id.Append(append(append(f.text, column...), " eq "...))
	f.last = len(f.text) - at
}

// full tells whether another condition of the same sort could be too much; a space
// takes three bytes in an address, so a quarter is added.
func (f *filter) full(conditions int) bool {
	return (f.terms+1)*conditions > maxTerms || (len(f.text)+f.last)*5/4 > maxQuery
}

func (f *filter) take() string {
	s := string(f.text)
	f.text, f.terms = f.text[:0], 0
	return s
}

// get reads one JSON object.
func (c *Client) get(ctx context.Context, name, path, query string, into any) error {
	r := c.reading(name, "", path, query)
	a, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer a.release()
	if err := json.Unmarshal(a.body(), into); err != nil {
		return r.fail(Transient, err, "the answer is not the JSON expected: %v", err)
	}
	return nil
}

func (c *Client) reading(name, target, path, query string) *request {
	return &request{method: http.MethodGet, name: name, target: target, path: path, query: query, header: c.read, read: true, work: 1}
}

// readMany reads several addresses in one batch and calls fn with each answer, which
// is valid until fn returns. The batch is read again as a whole when a part of it
// failed for a cause that passes.
func (c *Client) readMany(ctx context.Context, target string, ops []Op, fn func(i int, body []byte) error) error {
	all := make([]int, len(ops))
	for i := range all {
		all[i] = i
	}
	for attempt := 1; ; {
		r := &request{method: http.MethodPost, name: "Read", target: target, header: c.batchRead, read: true}
		worst, err := c.readOnce(ctx, r, ops, all, fn)
		switch {
		case err != nil || worst == nil:
			return err
		case worst.Kind == Throttled:
			c.pace.Hold(facet(worst.Code), worst.RetryAfter)
		case !passes(worst.Kind) && !worst.timedOut() || attempt >= c.attempts:
			return worst
		default:
			if err := backoff(ctx, attempt, worst, true); err != nil {
				return stopped(r.fail(Stopped, err, ""), worst)
			}
			attempt++
		}
	}
}

// readOnce sends the batch; worst is the error of a part.
func (c *Client) readOnce(ctx context.Context, r *request, ops []Op, all []int, fn func(i int, body []byte) error) (worst *Error, err error) {
	a, parts, err := c.exchange(ctx, r, ops, all)
	if err != nil {
		return nil, err
	}
	defer a.release()
	for k := range ops {
		if k >= len(parts) || !parts[k].whole {
			return r.fail(Transient, a.cut, "the answer holds %d of %d parts", len(parts), len(ops)), nil
		}
		e := c.partError(parts[k], ops[k])
		if e != nil && e.Kind == Lost {
			e.Kind = Transient
		}
		if e != nil {
			return e, nil
		}
	}
	for k := range ops {
		if err := fn(k, parts[k].body); err != nil {
			return nil, fmt.Errorf("read %s: %s: %w", r.target, ops[k].set, err)
		}
	}
	return nil, nil
}

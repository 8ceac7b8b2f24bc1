package emulator

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// maxPage is the largest page of a standard table, and maxElasticPage of an
// elastic one (section 10.1).
const (
	maxPage        = 5000
	maxElasticPage = 500
)

// position is where a page ended: what the opaque cookie carries.
type position struct {
	Page int         `json:"p"`
	ID   schema.GUID `json:"id"`
	Vals []savedVal  `json:"v,omitempty"` // of the last row's $orderby

	// Of a tracked reading (track.go): the versions it is about, whether it is a
	// delta, and the version of the page's last row.
	Since   int64 `json:"s,omitempty"`
	Until   int64 `json:"u,omitempty"`
	Delta   bool  `json:"d,omitempty"`
	Version int64 `json:"w,omitempty"`
}

// savedVal is a value in a cookie. A lookup's target is not needed to order by it.
type savedVal struct {
	Kind kind        `json:"k,omitempty"`
	N    int64       `json:"n,omitempty"`
	Text string      `json:"t,omitempty"`
	GUID schema.GUID `json:"g,omitzero"`
}

func (k sortKey) position(page int) position {
	p := position{Page: page, ID: k.id}
	for _, v := range k.vals {
		p.Vals = append(p.Vals, savedVal{v.kind, v.n, v.text, v.guid})
	}
	return p
}

func (p position) key() *sortKey {
	k := &sortKey{id: p.ID}
	for _, v := range p.Vals {
		k.vals = append(k.vals, value{kind: v.Kind, n: v.N, text: v.Text, guid: v.GUID})
	}
	return k
}

// encode makes the inner cookie.
func (p position) encode() string {
	b, _ := json.Marshal(p) // of plain fields: cannot fail
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodePosition(text string, order int) (position, error) {
	var p position
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || len(p.Vals) != order {
		return p, errURL("Malformed XML in the Paging Cookie")
	}
	return p, nil
}

// cookie makes the paging cookie in the form that $skiptoken carries (10.2).
func cookie(page int, inner string, tracking bool) string {
	flag := "False"
	if tracking {
		flag = "True"
	}
	return `<cookie pagenumber="` + intValue(int64(page)).String() + `" pagingcookie="` + inner + `" istracking="` + flag + `" />`
}

// readCookie takes the inner cookie out of a $skiptoken.
func readCookie(token string) (inner string, tracking bool, err error) {
	var c struct {
		Inner    string `xml:"pagingcookie,attr"`
		Tracking string `xml:"istracking,attr"`
	}
	if xml.Unmarshal([]byte(token), &c) != nil {
		return "", false, errURL("Malformed XML in the Paging Cookie")
	}
	return c.Inner, c.Tracking == "True", nil
}

// escapeOption percent-encodes a query option's value.
func escapeOption(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// nextLink repeats the request with a token in place of the one it had.
func (c *call) nextLink(option, token string) string {
	var b strings.Builder
	b.WriteString(c.api + "/" + c.path + "?")
	for _, p := range c.query {
		if p.name != "$skiptoken" && p.name != "$deltatoken" {
			b.WriteString(escapeName(p.name) + "=" + escapeOption(p.value) + "&")
		}
	}
	return b.String() + option + "=" + escapeOption(token)
}

func escapeName(s string) string {
	return strings.NewReplacer("%24", "$", "%40", "@").Replace(escapeOption(s))
}

// pageSize is how many rows a page has, and whether $top is what limits it: $top
// is ignored when a page size is asked for (section 10.1).
func (c *call) pageSize(t *table, top int) (size int, topped bool) {
	size = maxPage
	if t.Kind == schema.Elastic {
		size = maxElasticPage
	}
	if n := c.prefer.maxPageSize; n > 0 {
		return min(size, n), false
	}
	if top >= 0 {
		return min(size, top), true
	}
	return size, false
}

// page is what a page of a query is made of.
type page struct {
	rows []byte // the JSON of the rows, with commas between
	n    int
	next *position // nil after the last
}

// readPage reads one page: of all rows of the table, or of the rows ids names.
func (c *call) readPage(q *boundQuery, ids []schema.GUID, from position, size int) (page, error) {
	if q.order != nil {
		return c.readSorted(q, ids, from, size)
	}
	p := page{}
	last := from.ID
	err := q.each(c, ids, from.ID, func(tx *tx, r row) bool {
		if p.n == size {
			pos := sortKey{id: last}.position(max(from.Page, 1) + 1)
			p.next = &pos
			return false
		}
		p.add(q, tx, r)
		last = r.id
		return true
	})
	return p, err
}

func (p *page) add(q *boundQuery, tx *tx, r row) {
	if p.n > 0 {
		p.rows = append(p.rows, ',')
	}
	p.n++
	p.rows = q.proj.appendRow(p.rows, tx, r, nil)
}

// readSorted looks at all matching rows and keeps those of the page.
func (c *call) readSorted(q *boundQuery, ids []schema.GUID, from position, size int) (page, error) {
	var after *sortKey
	if from.Page > 0 {
		after = from.key()
	}
	best := least[sortKey]{n: size + 1, compare: q.compare}
	err := q.each(c, ids, schema.GUID{}, func(tx *tx, r row) bool {
		if k := q.keyOf(tx, r); after == nil || q.compare(k, *after) > 0 {
			best.add(k)
		}
		return true
	})
	if err != nil {
		return page{}, err
	}
	keys := best.sorted()
	p := page{}
	if len(keys) > size {
		keys = keys[:size]
		if size > 0 {
			pos := keys[size-1].position(max(from.Page, 1) + 1)
			p.next = &pos
		}
	}
	err = c.view(func(tx *tx) error {
		for _, k := range keys {
			if r, ok := tx.row(q.t, k.id); ok {
				p.add(q, tx, r)
			}
		}
		return nil
	})
	return p, err
}

// count counts the matching rows, up to most.
func (c *call) count(q *boundQuery, ids []schema.GUID, most int) (int, error) {
	n := 0
	if ids == nil && q.match == nil {
		err := c.view(func(tx *tx) error { n = tx.count(q.t); return nil })
		return min(n, most), err
	}
	err := q.each(c, ids, schema.GUID{}, func(*tx, row) bool { n++; return n < most })
	return n, err
}

// answerPage answers a collection (sections 1.5, 10.2, 10.4).
func (c *call) answerPage(q *boundQuery, ids []schema.GUID) error {
	var from position
	if q.opts.token != "" {
		inner, _, err := readCookie(q.opts.token)
		if err == nil && inner != "" {
			from, err = decodePosition(inner, len(q.order))
		}
		if err != nil {
			return err
		}
		if inner == "" { // the nextLink of a complete expanded collection
			ids = []schema.GUID{}
		}
	}
	size, topped := c.pageSize(q.t, q.opts.top)
	p, err := c.readPage(q, ids, from, size)
	if err != nil {
		return err
	}
	body := c.contextOf(c.resourceOf(q.t) + q.proj.context())
	if body, err = c.appendCounts(body, q, ids); err != nil {
		return err
	}
	body = append(body, `,"value":[`...)
	body = append(append(body, p.rows...), ']')
	if p.next != nil && !topped {
		body = appendNamed(body, "@odata.nextLink", c.nextLink("$skiptoken", cookie(p.next.Page, p.next.encode(), false)))
	}
	c.applyPreferences()
	c.records = p.n
	c.res.status, c.res.body = http.StatusOK, append(body, '}')
	c.set("Content-Type", c.level.streamType())
	return nil
}

// appendCounts appends @odata.count and the annotations about it.
func (c *call) appendCounts(body []byte, q *boundQuery, ids []schema.GUID) ([]byte, error) {
	total := -1
	if q.opts.count {
		var err error
		if total, err = c.count(q, ids, maxCount+1); err != nil {
			return nil, err
		}
		body = appendAny(append(body, `,"@odata.count":`...), min(total, maxCount))
	}
	return c.appendTotals(body, total), nil
}

// appendTotals appends the annotations about the whole result: total is how many rows
// it has, counted to one beyond the limit, or -1 when that was not asked for.
func (c *call) appendTotals(body []byte, total int) []byte {
	if c.prefer.wants("Microsoft.Dynamics.CRM.totalrecordcount") {
		body = appendAny(append(body, `,"@Microsoft.Dynamics.CRM.totalrecordcount":`...), min(total, maxCount))
	}
	if c.prefer.wants("Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded") {
		body = appendAny(append(body, `,"@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded":`...), total > maxCount)
	}
	if c.prefer.wants("Microsoft.Dynamics.CRM.globalmetadataversion") {
		body = appendNamed(body, "@Microsoft.Dynamics.CRM.globalmetadataversion", strconv.FormatInt(1000001+c.srv.schemaVersion, 10))
	}
	return body
}

// applyPreferences says which preferences were honoured.
func (c *call) applyPreferences() {
	if c.prefer.maxPageSize > 0 {
		c.applied("odata.maxpagesize=" + intValue(int64(c.prefer.maxPageSize)).String())
	}
	if c.prefer.annotations != nil {
		c.applied(`odata.include-annotations="` + strings.Join(c.prefer.annotations, ",") + `"`)
	}
}

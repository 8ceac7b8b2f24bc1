package dataverse

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// withTargets asks for the tables that lookups point to, as annotations of the rows
// (dataverse-web-api.md 1.3).
const withTargets = `odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"`

// RowsWithTargets is Rows, and each lookup of a row comes with the logical name of the
// table it points to: _x_value@Microsoft.Dynamics.CRM.lookuplogicalname.
func (c *Client) RowsWithTargets(ctx context.Context, t *schema.Table, q Query, fn func(row json.RawMessage) error) error {
	r := c.reading("Read", t.EntitySet, t.EntitySet, q.encode())
	r.prefer = withTargets
	if q.PageSize > 0 && q.Top == 0 {
		r.prefer += ",odata.maxpagesize=" + strconv.Itoa(min(q.PageSize, maxPage))
	}
	_, err := c.follow(ctx, r, fn)
	return err
}

// Changes calls fn with what changed in a table since a delta token, or with all its rows
// when there is none, and returns the token to begin with the next time
// (dataverse-web-api.md 11). A deleted record comes as its context, which ends in
// $deletedEntity, its id and reason. A token is good for some days: with an older one the
// service answers an error with the code ExpiredToken.
func (c *Client) Changes(ctx context.Context, t *schema.Table, columns []string, token string, fn func(row json.RawMessage) error) (next string, err error) {
	query := Query{Select: columns}.encode()
	if token != "" {
		query = "$deltatoken=" + url.QueryEscape(token)
		if len(columns) > 0 {
			query = Query{Select: columns}.encode() + "&" + query
		}
	}
	r := c.reading("Read changes of", t.EntitySet, t.EntitySet, query)
	r.prefer = "odata.track-changes," + withTargets
	link, err := c.follow(ctx, r, fn)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(link)
	if err != nil || u.Query().Get("$deltatoken") == "" {
		return "", r.fail(Setup, nil, "the answer has no delta link: is change tracking enabled for the table?")
	}
	return u.Query().Get("$deltatoken"), nil
}

// ExpiredToken is the service's code for a delta token that is too old.
const ExpiredToken = 0x80044352

// follow reads page after page and returns the delta link of the last.
func (c *Client) follow(ctx context.Context, r *request, fn func(row json.RawMessage) error) (delta string, err error) {
	const link = "@odata.deltaLink"
	for {
		a, err := c.send(ctx, r)
		if err != nil {
			return "", err
		}
		more := map[string]json.RawMessage{link: nil}
		next, err := c.pageWith(r, a, fn, more)
		if err == nil && more[link] != nil {
			err = json.Unmarshal(more[link], &delta)
		}
		a.release()
		if err != nil || next == "" {
			return delta, err
		}
		if r.path, r.query, err = c.nextPage(r, next); err != nil {
			return "", err
		}
	}
}

// fetchMore are the members of a page of a FetchXML query that tell of the next.
const (
	fetchMore   = "@Microsoft.Dynamics.CRM.morerecords"
	fetchCookie = "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie"
)

// Fetch calls fn with each row that a FetchXML query finds, over all pages
// (dataverse-web-api.md 10.6).
func (c *Client) Fetch(ctx context.Context, t *schema.Table, query string, fn func(row json.RawMessage) error) error {
	r := c.reading("Fetch", t.EntitySet, t.EntitySet, "")
	r.prefer = `odata.include-annotations="Microsoft.Dynamics.CRM.*"`
	cookie := ""
	for page := 1; ; page++ {
		paged, err := pagedFetch(query, page, cookie)
		if err != nil {
			return r.fail(Setup, err, "the FetchXML query cannot be read: %v", err)
		}
		r.query = "fetchXml=" + strings.ReplaceAll(url.QueryEscape(paged), "+", "%20")
		if len(r.query) > maxQuery {
			return r.fail(Setup, nil, "the FetchXML query has %d bytes in an address, which takes %d", len(r.query), maxQuery)
		}
		a, err := c.send(ctx, r)
		if err != nil {
			return err
		}
		more := map[string]json.RawMessage{fetchMore: nil, fetchCookie: nil}
		_, err = c.pageWith(r, a, fn, more)
		a.release()
		if err != nil || string(more[fetchMore]) != "true" {
			return err
		}
		if cookie, err = cookieOf(more[fetchCookie]); err != nil {
			return r.fail(Transient, err, "the next page's cookie cannot be read: %v", err)
		}
	}
}

// pagedFetch puts page and cookie into the root of a FetchXML query. A count or top of
// the query's own stays.
func pagedFetch(query string, page int, cookie string) (string, error) {
	d := xml.NewDecoder(strings.NewReader(query))
	for {
		token, err := d.Token()
		if err != nil {
			return "", err
		}
		root, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if root.Name.Local != "fetch" {
			return "", fmt.Errorf("it begins with <%s>, not with <fetch>", root.Name.Local)
		}
		has := func(name string) bool {
			return slices.ContainsFunc(root.Attr, func(a xml.Attr) bool { return a.Name.Local == name })
		}
		var b strings.Builder
		b.WriteString("<fetch")
		attr := func(name, value string) {
			b.WriteString(" " + name + `="`)
			_ = xml.EscapeText(&b, []byte(value)) // a Builder takes everything
			b.WriteString(`"`)
		}
		for _, a := range root.Attr {
			if a.Name.Local != "page" && a.Name.Local != "paging-cookie" {
				attr(a.Name.Local, a.Value)
			}
		}
		if !has("top") {
			if !has("count") {
				attr("count", strconv.Itoa(maxPage))
			}
			attr("page", strconv.Itoa(page))
			if cookie != "" {
				attr("paging-cookie", cookie)
			}
		}
		rest := query[d.InputOffset():]
		return b.String() + ">" + rest, nil
	}
}

// cookieOf takes the paging cookie out of the one that wraps it: escaped twice.
func cookieOf(member json.RawMessage) (string, error) {
	var wrapped string
	if len(member) > 0 {
		if err := json.Unmarshal(member, &wrapped); err != nil {
			return "", err
		}
	}
	if wrapped == "" {
		return "", nil // the service pages without one
	}
	var c struct {
		Cookie string `xml:"pagingcookie,attr"`
	}
	if err := xml.Unmarshal([]byte(wrapped), &c); err != nil {
		return "", err
	}
	once, err := url.QueryUnescape(c.Cookie)
	if err != nil {
		return "", err
	}
	return url.QueryUnescape(once)
}

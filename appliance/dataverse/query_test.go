package dataverse

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"dvmigrate/appliance/dataverse/schema"
)

// TestRowsFollowsPages: all pages are read, the next link is sent as it came but never
// to another host, and the page size goes with each.
func TestRowsFollowsPages(t *testing.T) {
	var asked []string
	c := newClient(t, "", transport(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Host+r.URL.RequestURI())
		if r.Header.Get("Prefer") != "odata.maxpagesize=2" {
			t.Errorf("Prefer %q", r.Header.Get("Prefer"))
		}
		switch len(asked) {
		case 1:
			return respond(200, `{"@odata.context":"c","value":[{"n":9007199254740993},{"n":2}],"@odata.nextLink":"https://evil.example/api/data/v9.2/contoso_orders?$select=n&$skiptoken=%3Ccookie%20a=%22%252c%22/%3E"}`), nil
		case 2:
			return respond(200, `{"value":[],"@odata.nextLink":"https://acme.crm4.dynamics.com/api/data/v9.2/contoso_orders?$skiptoken=3"}`), nil
		}
		return respond(200, `{"value":[{"n":3}]}`), nil
	}))
	var rows []string
	err := c.Rows(t.Context(), orders, Query{Select: []string{"n"}, PageSize: 2}, func(row json.RawMessage) error {
		rows = append(rows, string(row))
		return nil
	})
	if err != nil || strings.Join(rows, "") != `{"n":9007199254740993}{"n":2}{"n":3}` {
		t.Errorf("rows %v, %v", rows, err)
	}
	want := []string{
		"acme.crm4.dynamics.com/api/data/v9.2/contoso_orders?$select=n",
		"acme.crm4.dynamics.com/api/data/v9.2/contoso_orders?$select=n&$skiptoken=%3Ccookie%20a=%22%252c%22/%3E",
		"acme.crm4.dynamics.com/api/data/v9.2/contoso_orders?$skiptoken=3",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked\n%s", strings.Join(asked, "\n"))
	}
}

// TestRowsStops: the caller's error ends the reading and is returned as it is.
func TestRowsStops(t *testing.T) {
	c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) {
		return respond(200, `{"value":[{},{}],"@odata.nextLink":"https://acme.crm4.dynamics.com/api/data/v9.2/x"}`), nil
	}))
	enough, n := errors.New("enough"), 0
	err := c.Rows(t.Context(), orders, Query{}, func(json.RawMessage) error { n++; return enough })
	if err != enough || n != 1 {
		t.Errorf("%v after %d rows", err, n)
	}
}

// TestRowsOfBrokenPages: a page that is not whole hands on no row.
func TestRowsOfBrokenPages(t *testing.T) {
	for _, page := range []string{`{"value":[{"n":1},{"n":`, `{"value":{}}`, `[]`, `{}`, `{"value":[]} trailing`, `{"@odata.nextLink":5,"value":[]}`,
		`{"value":[],"@odata.nextLink":"https://acme.crm4.dynamics.com/elsewhere"}`} {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) { return respond(200, page), nil }))
			err := c.Rows(t.Context(), orders, Query{}, func(json.RawMessage) error { t.Errorf("a row of %s", page); return nil })
			if k := KindOf(err); k != Transient && k != Setup {
				t.Errorf("%s: %v", page, err)
			}
		})
	}
}

// TestExisting: thousands of ids are asked for in addresses below the limit, and what
// is there comes back.
func TestExisting(t *testing.T) {
	var asked []schema.GUID
	longest := 0
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		longest = max(longest, len(r.RequestURI))
		var rows []string
		for _, term := range strings.Split(r.URL.Query().Get("$filter"), " or ") {
			g, err := schema.ParseGUID(strings.TrimPrefix(term, "contoso_orderid eq "))
			if err != nil {
				t.Errorf("term %q", term)
			}
			asked = append(asked, g)
			if g[15]%2 == 0 {
				rows = append(rows, fmt.Sprintf(`{"@odata.etag":"W/\"1\"","contoso_orderid":"%s"}`, strings.ToUpper(g.String())))
			}
		}
		w.Header().Set("Content-Type", "application/json; odata.metadata=minimal; odata.streaming=true")
		fmt.Fprintf(w, `{"value":[%s]}`, strings.Join(rows, ","))
	})
	var ids []schema.GUID
	for i := range 2000 {
		ids = append(ids, schema.GUID{0: 1, 14: byte(i >> 8), 15: byte(i)})
	}
	found, err := newClient(t, s.URL, nil).Existing(t.Context(), orders, ids)
	if err != nil || len(found) != 1000 || !slices.Equal(asked, ids) || longest > 30_000 {
		t.Errorf("found %d, asked %d, longest address %d, %v", len(found), len(asked), longest, err)
	}
	for g := range found {
		if g[15]%2 != 0 {
			t.Errorf("%v is not there", g)
		}
	}
	if found, err := newClient(t, s.URL, nil).Existing(t.Context(), orders, nil); err != nil || len(found) != 0 {
		t.Errorf("none: %v, %v", found, err)
	}
}

// TestExistingEach: records of several tables are looked for in one request; a table that may not be read is an error.
func TestExistingEach(t *testing.T) {
	requests, second := 0, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"value\":[]}"
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		body, _ := io.ReadAll(r.Body)
		for _, want := range []string{"contoso_orders?$select=contoso_orderid&$filter=contoso_orderid%20eq%2001", "contacts?$select=contactid&$filter=contactid%20eq%2001"} {
			if !strings.Contains(string(body), want) {
				t.Errorf("no %s in %s", want, body)
			}
		}
		w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
		fmt.Fprintf(w, "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"value\":[{\"@odata.etag\":\"1\",\"contoso_orderid\":\"01000000-0000-0000-0000-000000000002\"}]}\r\n"+
			"--b\r\nContent-Type: application/http\r\n\r\n%s\r\n--b--\r\n", second)
	})
	ids := []schema.GUID{{0: 1, 15: 1}, {0: 1, 15: 2}}
	c := newClient(t, s.URL, nil)
	found, err := c.ExistingEach(t.Context(), []Asked{{orders, ids}, {contacts, ids}})
	if err != nil || len(found) != 2 || len(found[0]) != 1 || len(found[1]) != 0 || requests != 1 {
		t.Errorf("%v, %v, in %d requests", err, found, requests)
	}
	if _, there := found[0][ids[1]]; !there {
		t.Errorf("found %v", found[0])
	}
	second = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n\r\n{\"error\":{\"code\":\"0x80040220\",\"message\":\"no\"}}"
	if found, err := c.ExistingEach(t.Context(), []Asked{{orders, ids}, {contacts, ids}}); KindOf(err) != Setup || found != nil {
		t.Errorf("%v, %v", err, found)
	}
}

// TestFilterStaysShort: however long the column's name, the address stays below the
// limit and at least one condition goes out.
func TestFilterStaysShort(t *testing.T) {
	long := &schema.Table{LogicalName: "x", EntitySet: "xs", PrimaryID: strings.Repeat("c", 120)}
	longest, requests := 0, 0
	c := newClient(t, "", transport(func(r *http.Request) (*http.Response, error) {
		longest, requests = max(longest, len(r.URL.RequestURI())), requests+1
		return respond(200, `{"value":[]}`), nil
	}))
	ids := make([]schema.GUID, 1000)
	if _, err := c.Existing(t.Context(), long, ids); err != nil || longest > 32_000 || requests > 10 {
		t.Errorf("longest address %d in %d requests, %v", longest, requests, err)
	}
}

// TestNewLink: a relationship whose tables are not all in the schema cannot be used.
func TestNewLink(t *testing.T) {
	m := &schema.ManyToMany{SchemaName: "r", Intersect: "contoso_order_contact", Table1: "contoso_order", Table2: "contact"}
	for _, tables := range [][]*schema.Table{{orders, contacts}, {orders, pairs}, {contacts, pairs}} {
		s, err := schema.New(tables, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewLink(s, m); err == nil || !strings.Contains(err.Error(), "is not in the schema") {
			t.Errorf("error %v", err)
		}
	}
}

// FuzzCountIDs: on an answer of the documented form it counts as the decoder does,
// and on any other it stays within the answer.
func FuzzCountIDs(f *testing.F) {
	f.Add([]byte(oneID))
	f.Add([]byte(`{"Ids":[]}`))
	f.Add([]byte(`{"Ids":["a"],"x":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, whole := countIDs(body)
		if !whole && n != 0 || n > len(body)/2 {
			t.Errorf("%d ids, whole %v", n, whole)
		}
		var v map[string][]schema.GUID
		if json.Unmarshal(body, &v) == nil && len(v) == 1 && len(v["Ids"]) > 0 && !strings.Contains(string(body), `\`) {
			if !whole || n != len(v["Ids"]) {
				t.Errorf("%d ids, whole %v; the decoder finds %d", n, whole, len(v["Ids"]))
			}
		}
	})
}

// BenchmarkRows is the reading of a page of 5,000 rows with two columns.
func BenchmarkRows(b *testing.B) {
	page := `{"value":[` + strings.Repeat(`{"@odata.etag":"W/\"1\"","contoso_orderid":"`+me+`","versionnumber":123456},`, 4999) + `{}]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, page)
	}))
	defer s.Close()
	c := newClient(b, s.URL, nil)
	n := 0
	for b.Loop() {
		if err := c.Rows(b.Context(), orders, Query{}, func(json.RawMessage) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/row")
}

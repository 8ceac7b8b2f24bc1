package dataverse

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/schema"
)

// TestRequests compares the bytes of every request with a golden file; DVMIGRATE_UPDATE
// writes them anew.
func TestRequests(t *testing.T) {
	var mu sync.Mutex
	var got strings.Builder
	answer := func(http.ResponseWriter) {}
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(&got, "%s %s\n", r.Method, r.RequestURI)
		var lines []string
		for name, values := range r.Header {
			lines = append(lines, name+": "+strings.Join(values, ", "))
		}
		slices.Sort(lines)
		got.WriteString(strings.Join(lines, "\n") + "\n\n")
		body, _ := io.ReadAll(r.Body)
		got.Write(body)
		answer(w)
	})
	base, err := New(Options{URL: s.URL, Token: &tokens{}, RunID: schema.GUID{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := base.With(map[string]string{"MSCRM.BypassBusinessLogicExecution": "CustomSync,CustomAsync", "mscrm.suppresscallbackregistrationexpanderjob": "true"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, link := t.Context(), newLink(t)
	body := []byte(`{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.contoso_order"}]}`)
	one := []byte(`{"contoso_name":"ä"}`)
	ids := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"Ids":["`+me+`"]}`)
	}
	none := func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }
	rows := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"value":[],"UserId":"`+me+`"}`)
	}
	for _, test := range []struct {
		name   string
		answer func(http.ResponseWriter)
		send   func() error
	}{
		{"create_many", ids, func() error { return c.CreateMany(ctx, orders, body, 1) }},
		{"create_many_elastic", ids, func() error { return c.CreateMany(ctx, sensors, body, 1) }},
		{"update_many", none, func() error { return c.UpdateMany(ctx, orders, body, 1) }},
		{"upsert_many", none, func() error { return c.UpsertMany(ctx, orders, body, 1) }},
		{"delete_many", none, func() error { return c.DeleteMany(ctx, sensors, body, 1) }},
		{"create", none, func() error { return c.Create(ctx, orders, one) }},
		{"update", none, func() error { return c.Update(ctx, orders, id(1), one) }},
		{"delete", none, func() error { return c.Do(ctx, DeleteOp(orders, id(1))) }},
		{"associate", none, func() error { return c.Associate(ctx, link, Pair{id(1), id(2)}) }},
		{"disassociate", none, func() error { return c.Do(ctx, DisassociateOp(link, Pair{id(1), id(2)})) }},
		{"who_am_i", rows, func() error { _, err := c.WhoAmI(ctx); return err }},
		{"version", rows, func() error { _, err := c.Version(ctx); return err }},
		{"existing", rows, func() error { _, err := c.Existing(ctx, orders, []schema.GUID{id(1), id(2)}); return err }},
		{"rows", rows, func() error {
			return c.Rows(ctx, orders, Query{
				Select: []string{"contoso_name", "_contoso_customerid_value"}, Filter: "contoso_name eq 'O''Brien & Söhne #1 + 2'",
				OrderBy: "contoso_orderid", PageSize: 9000,
			}, nil)
		}},
		{"batch", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "multipart/mixed; boundary="+boundary)
			io.WriteString(w, strings.Repeat(partOK, 6)+batchEnd)
		}, func() error {
			errs, err := c.Batch(ctx, []Op{
				CreateOp(contacts, one), UpdateOp(contacts, id(1), one), UpsertOp(contacts, id(1), one),
				DeleteOp(contacts, id(2)), AssociateOp(link, Pair{id(1), id(2)}), DisassociateOp(link, Pair{id(3), id(4)}),
			})
			for _, e := range errs {
				if e != nil {
					return e
				}
			}
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mu.Lock()
			got.Reset()
			answer = test.answer
			mu.Unlock()
			c.known.requests.Store(0)
			if err := test.send(); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			text := got.String()
			mu.Unlock()
			golden(t, test.name, strings.ReplaceAll(text, s.URL, "http://127.0.0.1"))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	// Line ends are part of the promise, so they are written out.
	got = strings.ReplaceAll(got, "\r\n", "␍\n")
	path := filepath.Join("testdata", "requests", name+".golden")
	if os.Getenv("DVMIGRATE_UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

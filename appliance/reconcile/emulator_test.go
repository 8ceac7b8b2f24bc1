package reconcile

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

type token struct{}

func (token) Token(context.Context) (string, error) { return "t", nil }
func (token) Expire(string)                         {}

// environment is an emulator and a client of it.
func environment(t testing.TB, s *schema.Schema) *dataverse.Client {
	t.Helper()
	srv, err := emulator.New(emulator.Options{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	c, err := dataverse.New(dataverse.Options{URL: web.URL, Token: token{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); web.Close(); srv.Close() })
	return c
}

// insert loads the staged rows of a table the way the loader does.
func insert(t testing.TB, s stage, c *dataverse.Client, table *mapping.Table) {
	t.Helper()
	e := table.Encoder(mapping.Insert, nil)
	err := s.Scan(t.Context(), selectFrom(table.Name, e.StageColumns()), nil, func(b *column.Batch) error {
		r, err := e.Rows(b)
		if err != nil {
			return err
		}
		body := []byte(`{"Targets":[`)
		for i := range b.Rows {
			if i > 0 {
				body = append(body, ',')
			}
			body = r.AppendTarget(body, i)
		}
		return c.CreateMany(t.Context(), table.Schema, append(body, ']', '}'), b.Rows)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRoundTrip loads one value of every kind into the emulator and finds each as it
// was staged; then one of them is changed behind our back.
func TestRoundTrip(t *testing.T) {
	w := world(t)
	c := environment(t, w)
	s := stageAccounts(t, "name, accountnumber, description, employees, big, rating, latitude, revenue, debt, onhold, category, tags, founded, seen, token, fixed, parentid, overriddencreatedon",
		`'Müller "&" Söhne', 'A-1', 'a' || chr(10) || 'b\c', 42, 9007199254740993::BIGINT, -12.3456::DECIMAL(16,4), 47.6395834::DOUBLE, 922337203685.58::DECIMAL(17,2),
			12.3456::DECIMAL(19,4), true, 2, '30, 10', DATE '1999-12-31', TIMESTAMP '2024-05-31 22:00:00.999', '0f0e0d0c-0b0a-0908-0706-050403020100'::UUID, 'x',
			NULL::UUID, TIMESTAMP '2019-02-03 04:05:06'`,
		`'', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '`+id("account", 0).String()+`'::UUID, NULL`)
	table := bind(t, w, "account", "name", "accountnumber", "description", "employees", "big", "rating", "latitude", "revenue", "debt", "onhold", "category",
		"tags", "founded", "seen", "token", "fixed", "parentid", "overriddencreatedon")
	insert(t, s, c, table)
	book := entries{"account": many(loaded, 2)}
	differ(t, run(t, s, book, c, table), "source 2 target 2 missing 0 extra 0 different 0 duplicates 0 others 0")

	if err := c.Update(t.Context(), table.Schema, id("account", 0), []byte(`{"tags":"10,20","seen":"2024-05-31T22:00:01Z"}`)); err != nil {
		t.Fatal(err)
	}
	who := "different K0|" + id("account", 0).String()
	differ(t, run(t, s, book, c, table), "source 2 target 2 missing 0 extra 0 different 1 duplicates 0 others 0",
		who+"|tags|30, 10|10,20", who+"|seen|2024-05-31T22:00:00Z|2024-05-31T22:00:01Z")
}

// TestPages has more records than a page of the service, and links between some.
func TestPages(t *testing.T) {
	const n = 2*page + 1
	w := world(t)
	c := environment(t, w)
	tables := names(n)
	tables["account"] = "SELECT *, " + idSQL("account") + " AS dm_id FROM (SELECT 0::UINTEGER AS dm_seq, 'K0' AS legacy_key, 'A' AS name)"
	tables["member"] = fmt.Sprintf(`SELECT dm_seq, legacy_key, '%s'::UUID AS accountid, dm_id AS contactid, %s AS dm_id FROM (%s)`, id("account", 0), idSQL("member"), names(30)["contact"])
	s := openStage(t, tables)
	contacts, accounts, members := bind(t, w, "contact", "lastname"), bind(t, w, "account", "name"), bind(t, w, "member", "accountid", "contactid")
	insert(t, s, c, contacts)
	insert(t, s, c, accounts)
	l, err := dataverse.NewLink(w, members.Link)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(29) { // the last link is not made
		if err := c.Associate(t.Context(), l, dataverse.Pair{ID1: id("account", 0), ID2: id("contact", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Do(t.Context(), dataverse.DeleteOp(contacts.Schema, id("contact", n-2))); err != nil {
		t.Fatal(err)
	}
	book := entries{"contact": many(loaded, n), "member": many(loaded, 30)}
	differ(t, run(t, s, book, c, contacts), "source 10001 target 10000 missing 1 extra 0 different 0 duplicates 0 others 0",
		"missing K9999|"+id("contact", n-2).String()+"|||")
	got := run(t, s, book, c, members)
	if b := brief(got); b[0] != "source 30 target 29 missing 1 extra 0 different 0 duplicates 0 others 0" || !strings.HasPrefix(b[1], "missing K29|") {
		t.Errorf("links: %q", b)
	}
}

package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/ledger"
)

// stingy is a target that aggregates at most so many records at once.
type stingy struct {
	client
	most int

	mu                     sync.Mutex
	applied, refused, read int
}

func (c *stingy) Rows(ctx context.Context, t *schema.Table, q dataverse.Query, fn func(row json.RawMessage) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.Apply == "" {
		if q.Top == 0 {
			c.read++
		}
		return c.client.Rows(ctx, t, q, fn)
	}
	filter, _, _ := strings.Cut(q.Apply, "/")
	n := 0
	err := c.client.Rows(ctx, t, dataverse.Query{Apply: filter + "/aggregate($count as n)"}, func(row json.RawMessage) error {
		var r struct{ N int }
		err := json.Unmarshal(row, &r)
		n = r.N
		return err
	})
	if err != nil {
		return err
	}
	if n > c.most {
		c.refused++
		return &dataverse.Error{Kind: dataverse.RowFault, Code: tooManyToAggregate}
	}
	c.applied++
	return c.client.Rows(ctx, t, q, fn)
}

// TestQuick has the emulator count and add, in intervals that are cut until it takes them;
// a hundred records of one second are read.
func TestQuick(t *testing.T) {
	const n = 300
	w := world(t)
	c := environment(t, w)
	created := "CASE WHEN range < 100 THEN TIMESTAMP '2020-05-05 00:00:00' ELSE TIMESTAMP '2021-01-01' + INTERVAL (range) HOUR END"
	s := openStage(t, map[string]string{"account": "SELECT *, " + idSQL("account") + " AS dm_id FROM (SELECT range::UINTEGER AS dm_seq, 'K' || range AS legacy_key, 'N' || range AS name, (range - 10.25)::DECIMAL(17,2) AS revenue, " +
		"(range / 8)::DOUBLE AS latitude, CASE WHEN range % 3 = 0 THEN NULL ELSE range::INTEGER END AS employees, (1 + range % 2)::INTEGER AS category, " + created + " AS overriddencreatedon FROM range(300))"})
	table := bind(t, w, "account", "name", "revenue", "latitude", "employees", "category", "overriddencreatedon")
	insert(t, s, c, table)
	book := entries{"account": many(loaded, n)}
	rules := Rules{Sums: []string{"revenue", "latitude", "employees", "name"}, Groups: []string{"category", "name", "createdon"}}
	target := &stingy{client: c, most: 40}
	compare := func() TableResult {
		return run(t, s, book, target, table, readBackOf(book), func(o *Options) {
			o.Quick, o.Parallel, o.Rules = true, 3, func(string) Rules { return rules }
		})
	}
	got := compare()
	want := []string{"revenue sum 41775|41775 true", "revenue min -10.25|-10.25 true", "revenue max 288.75|288.75 true",
		"latitude sum 5606.25|5606.25 true", "latitude min 0|0 true", "latitude max 37.375|37.375 true",
		"employees sum 30000|30000 true", "employees min 1|1 true", "employees max 299|299 true", "category=1 150|150", "category=2 150|150"}
	sortedDiff(t, want, figureLines(got))
	if !got.Pass || brief(got)[0] != "source 300 target 300 missing 0 extra 0 different 0 duplicates 0 others 0" || !got.Quick {
		t.Errorf("%q %+v", brief(got), got.Failures)
	}
	if target.refused == 0 || target.read != 1 || target.applied < 10 {
		t.Errorf("%d aggregates, %d refused, %d intervals read", target.applied, target.refused, target.read)
	}

	if err := c.Do(t.Context(), dataverse.DeleteOp(table.Schema, id("account", 1))); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(t.Context(), table.Schema, id("account", 200), []byte(`{"revenue":0,"category":2}`)); err != nil {
		t.Fatal(err)
	}
	got = compare()
	if want := []string{"1 missing", "sum of revenue: 41775 loaded, 41594.5 in the target", "sum of latitude: 5606.25 loaded, 5606.125 in the target",
		"sum of employees: 30000 loaded, 29999 in the target", "min of employees: 1 loaded, 2 in the target", "groups of category that differ: 1"}; !slices.Equal(got.Failures, want) {
		t.Errorf("failures %q, want %q", got.Failures, want)
	}
	book["account"][200] = ledger.Entry{Action: ledger.Update, Flag: ledger.Held} // its row is held since somebody changed it
	if err := c.Create(t.Context(), table.Schema, fmt.Appendf(nil, `{"accountid":"%s","name":"N1"}`, id("account", 1))); err != nil {
		t.Fatal(err)
	}
	if got = compare(); got.Unsure != 1 || !got.Pass {
		t.Errorf("%q, unsure %d, %q", brief(got), got.Unsure, got.Failures)
	}
	if err := c.Do(t.Context(), dataverse.DeleteOp(table.Schema, id("account", 1))); err != nil {
		t.Fatal(err)
	}
	book["account"][200] = loaded
	for i := range 2 { // somebody else's: the figures say nothing any more
		if err := c.Create(t.Context(), table.Schema, fmt.Appendf(nil, `{"name":"other %d"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if got = compare(); got.Others != 1 || got.Missing != 0 || !got.Pass {
		t.Errorf("%q, %q", brief(got), got.Failures)
	}
	if got := run(t, openStage(t, names(3)), entries{"contact": many(loaded, 3)}, c, bind(t, w, "contact", "lastname"), func(o *Options) { o.Quick = true }); got.Missing != 3 {
		t.Errorf("an empty table: %q", brief(got))
	}
}

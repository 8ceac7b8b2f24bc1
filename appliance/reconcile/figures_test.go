package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// readBackOf is Options.ReadBack over a ledger of the tests.
func readBackOf(b entries) func(o *Options) {
	return func(o *Options) {
		o.ReadBack = func(table string) string {
			rows := []string{"SELECT 0::UINTEGER AS dm_seq, '' AS action, '' AS flag, '' AS pass WHERE false"}
			for seq, e := range b[table] {
				rows = append(rows, fmt.Sprintf("SELECT %d, '%s', '%s', '%s'", seq, e.Action, e.Flag, e.Pass))
			}
			return ReadBackSQL("(" + strings.Join(rows, " UNION ALL ") + ")")
		}
	}
}

// TestReadBackSQL: the SQL chooses the same entries of the ledger as expect.
func TestReadBackSQL(t *testing.T) {
	var all []ledger.Entry
	for _, a := range []ledger.Action{ledger.Nothing, ledger.Insert, ledger.Update, ledger.Delete} {
		for f := ledger.Unprocessed; f <= ledger.Held; f++ {
			for p := ledger.Main; p <= ledger.State; p++ {
				if !(p == ledger.Main && f == ledger.Success && a == ledger.Nothing) && !(a == ledger.Nothing && f != ledger.Processed) {
					all = append(all, ledger.Entry{Action: a, Flag: f, Pass: p})
				}
			}
		}
	}
	s := openStage(t, names(len(all)))
	w := &comparison{stage: s, table: bind(t, world(t), "contact", "lastname")}
	readBackOf(entries{"contact": all})(&w.o)
	chosen := map[uint32]bool{}
	err := w.scan(t.Context(), "SELECT dm_seq FROM "+w.expected(), nil, []string{"dm_seq"}, func(v []*column.Vector, rows int) error {
		for i := range rows {
			chosen[uint32(v[0].Ints[i])] = true
		}
		return nil
	})
	if err != nil || len(chosen) == 0 {
		t.Fatal(err, len(chosen))
	}
	for seq, e := range all {
		if x := expect(e); chosen[uint32(seq)] != (x.presence == present && x.values) {
			t.Errorf("%s/%s %s: the SQL says %v, expect %+v", e.Action, e.Flag, e.Pass, chosen[uint32(seq)], x)
		}
	}
}

func figureLines(r TableResult) (out []string) {
	for _, f := range r.Figures {
		out = append(out, fmt.Sprintf("%s %s %s|%s %v", f.Column, f.Kind, f.Staged, f.Target, f.Same))
	}
	for _, g := range r.Groups {
		out = append(out, fmt.Sprintf("%s=%s %d|%d", g.Column, g.Value, g.Staged, g.Target))
	}
	return out
}

func TestFigures(t *testing.T) {
	const columns = "revenue, latitude, employees, seen, name, statecode, overriddencreatedon"
	values := []string{
		"1.50::DECIMAL(17,2), 47.123456::DOUBLE, 3, TIMESTAMP '2024-05-31 22:00:00.9', 'A', 0, TIMESTAMP '2023-01-31 10:00:00'",
		"-2.25::DECIMAL(17,2), 1::DOUBLE, 3, TIMESTAMP '2024-06-01 00:00:00', 'B', 1, TIMESTAMP '2023-02-01 10:00:00'",
		"NULL::DECIMAL(17,2), NULL::DOUBLE, NULL::INTEGER, NULL::TIMESTAMP, '', 0, NULL::TIMESTAMP",
		"100.00::DECIMAL(17,2), 7::DOUBLE, 9, TIMESTAMP '2030-01-01 00:00:00', 'Z', 0, TIMESTAMP '2023-02-03 10:00:00'",
	}
	s := stageAccounts(t, columns, values...)
	at := func(seq uint32, more ...any) row { return account(seq, append([]any{"statecode", 0}, more...)...) }
	good := rows{"accounts": {
		at(0, "revenue", 1.5, "latitude", 47.12346, "employees", 3, "seen", "2024-05-31T22:00:00Z", "name", "A", "createdon", "2023-01-31T10:00:00Z"),
		at(1, "revenue", -2.25, "latitude", 1.0, "employees", 3, "seen", "2024-06-01T00:00:00Z", "name", "B", "statecode", 1, "createdon", "2023-02-01T10:00:00Z"),
		at(2, "createdon", "2026-01-01T00:00:00Z"),
		at(3, "revenue", 100, "latitude", 7, "employees", 9, "seen", "2030-01-01T00:00:00Z", "name", "Z", "createdon", "2023-02-03T10:00:00Z")}}
	book := entries{"account": many(loaded, 4)}
	table := bind(t, world(t), "account", strings.Split(columns, ", ")...)
	rules := func(o *Options) {
		o.Rules = func(string) Rules {
			return Rules{Sums: []string{"revenue", "latitude", "employees", "seen", "name"}}
		}
	}
	got := run(t, s, book, good, table, readBackOf(book), rules)
	want := []string{
		"name distinct 3|3 true",
		"revenue sum 99.25|99.25 true", "revenue min -2.25|-2.25 true", "revenue max 100|100 true", "revenue distinct 3|3 true",
		"latitude sum 55.123456|55.123456 true", "latitude min 1|1 true", "latitude max 47.123456|47.123456 true", "latitude distinct 3|3 true",
		"employees sum 15|15 true", "employees min 3|3 true", "employees max 9|9 true", "employees distinct 2|2 true",
		"seen min 2024-05-31T22:00:00Z|2024-05-31T22:00:00Z true", "seen max 2030-01-01T00:00:00Z|2030-01-01T00:00:00Z true", "seen distinct 3|3 true",
		"statecode=0 3|3", "statecode=1 1|1", "createdon=2023-02 2|2", "createdon= 1|1", "createdon=2023-01 1|1",
	}
	sortedDiff(t, want, figureLines(got))
	if !got.Pass {
		t.Errorf("%q", brief(got))
	}

	// One record less, one with another amount and state; what is yet to be updated counts on neither side.
	bad := rows{"accounts": {
		at(0, "revenue", 2.5, "statecode", 1, "createdon", "2023-01-31T10:00:00Z"),
		good["accounts"][1], at(3, "revenue", 1)}}
	book = entries{"account": {loaded, loaded, loaded, {Action: ledger.Update, Flag: ledger.Unprocessed}}}
	got = run(t, s, book, bad, table, readBackOf(book), func(o *Options) {
		o.Hide = true
		o.Rules = func(string) Rules { return Rules{Sums: []string{"revenue"}, Groups: []string{"statecode"}} }
	})
	sortedDiff(t, []string{
		"revenue sum -0.75|(not shown: 4 characters) false", "revenue min -2.25|-2.25 true", "revenue max 1.5|(not shown: 3 characters) false", "revenue distinct 2|2 true",
		"statecode=0 2|0", "statecode=1 1|2"}, figureLines(got))

	got = run(t, s, book, bad, table, readBackOf(book), rules, func(o *Options) { o.Moving = true })
	if len(got.Figures)+len(got.Groups) > 0 {
		t.Errorf("figures while a load moves: %q", figureLines(got))
	}
}

func sortedDiff(t *testing.T, want, got []string) {
	t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("figures (-want +got):\n%s", d)
	}
}

// TestSlices reads a table of the emulator in slices by its own creation times, and by
// those that were staged, and finds each record once.
func TestSlices(t *testing.T) {
	const n = 60
	w := world(t)
	for name, created := range map[string]string{"staged times": "TIMESTAMP '2020-01-01' + INTERVAL (dm_seq) DAY", "the ledger's": "NULL::TIMESTAMP"} {
		t.Run(name, func(t *testing.T) {
			c := environment(t, w)
			s := openStage(t, map[string]string{"account": "SELECT *, " + idSQL("account") + " AS dm_id FROM (SELECT range::UINTEGER AS dm_seq, 'K' || range AS legacy_key, 'N' || range AS name, range::DECIMAL(17,2) AS revenue, " +
				strings.Replace(created, "dm_seq", "range", 1) + " AS overriddencreatedon FROM range(60))"})
			columns := []string{"name", "revenue", "overriddencreatedon"}
			if name != "staged times" {
				columns = columns[:2]
			}
			table := bind(t, w, "account", columns...)
			insert(t, s, c, table)
			if err := c.Do(t.Context(), dataverse.DeleteOp(table.Schema, id("account", 7))); err != nil {
				t.Fatal(err)
			}
			book := entries{"account": many(loaded, n)}
			for i := range book["account"] {
				book["account"][i].Time = 1_700_000_000 + uint32(i) // nothing like the service's clock
			}
			counted := &counting{client: c}
			got := run(t, s, book, counted, table, readBackOf(book), func(o *Options) { o.Parallel, o.SliceRows = 3, 10 })
			if b := brief(got); b[0] != "source 60 target 59 missing 1 extra 0 different 0 duplicates 0 others 0" {
				t.Errorf("%q", b)
			}
			if f := got.Figures[0]; f.Staged != "1770" || f.Target != "1763" {
				t.Errorf("sum %+v", f)
			}
			if len(counted.filters) != 6 {
				t.Errorf("read by %q", counted.filters)
			}
		})
	}
}

// counting notes by what filters a table is read.
type counting struct {
	client
	mu      sync.Mutex
	filters []string
}

func (c *counting) Rows(ctx context.Context, t *schema.Table, q dataverse.Query, fn func(row json.RawMessage) error) error {
	c.mu.Lock()
	c.filters = append(c.filters, q.Filter)
	c.mu.Unlock()
	return c.client.Rows(ctx, t, q, fn)
}

func TestBounds(t *testing.T) {
	even := map[int64]int64{}
	for i := range int64(100) {
		even[1000+i] = 5
	}
	tests := []struct {
		name    string
		weights map[int64]int64
		n       int
		want    []string
	}{
		{"even times are parted evenly", even, 4, []string{"createdon lt 1970-01-01T00:17:05Z", "createdon ge 1970-01-01T00:17:05Z and createdon lt 1970-01-01T00:17:30Z",
			"createdon ge 1970-01-01T00:17:30Z and createdon lt 1970-01-01T00:17:55Z", "createdon ge 1970-01-01T00:17:55Z"}},
		{"one time is one slice", map[int64]int64{5: 1000}, 4, []string{""}},
		{"no time is one slice", nil, 4, []string{""}},
		{"most in one second", map[int64]int64{5: 1, 6: 1000, 7: 1}, 4, []string{"createdon lt 1970-01-01T00:00:07Z", "createdon ge 1970-01-01T00:00:07Z"}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, filtersOf(bounds(tt.weights, tt.n))); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// TestSample: so many records are read, by id, and what is wrong among them is found.
func TestSample(t *testing.T) {
	const n = 6000
	w := world(t)
	s, book := openStage(t, names(n)), entries{"contact": many(loaded, n)}
	book["contact"][4] = failed
	exec(t, s, "DELETE FROM main.contact WHERE dm_seq = 5") // gone from the source, and in the target
	var list []row
	for i := range uint32(n) {
		if i%2 == 0 { // half of them is missing
			r := contact(i)
			if i%4 == 0 {
				r["lastname"] = "wrong"
			}
			list = append(list, r)
		}
	}
	target := rows{"contacts": append(list, row{"contactid": foreign(9)})}
	table := bind(t, w, "contact", "lastname")
	for _, size := range []int64{1, 400, n - 2} {
		got := run(t, s, book, target, table, func(o *Options) { o.Sample, o.Samples, o.Parallel, o.Limit = size, 7, 3, 5 })
		if got.Sampled != size || got.Source != n-1 || got.Target+got.Missing > size || got.Target+got.Missing < size-1 || got.Others+got.Extra > 0 {
			t.Errorf("sample of %d: %q, %d sampled", size, brief(got)[0], got.Sampled)
		}
		if size > 1 && (got.Missing < size/4 || got.Different < size/8 || got.Pass || len(got.Samples) != 7) {
			t.Errorf("sample of %d: %q, %d shown", size, brief(got)[0], len(got.Samples))
		}
	}
	all := run(t, s, book, target, table, func(o *Options) { o.Sample = n })
	if all.Sampled != 0 || all.Others != 1 || all.Extra != 1 {
		t.Errorf("a sample as big as the table is the whole table: %q", brief(all)[0])
	}
}

// TestDistinctIsBounded: beyond the room that a column has its values are not counted, and
// the other figures are.
func TestDistinctIsBounded(t *testing.T) {
	f := &field{name: "employees", kind: integer}
	for room, counted := range map[int]bool{99: false, 100: true} {
		x := &tally{figure: true, seen: map[uint64]struct{}{}, room: room}
		for i := range 300 {
			x.add(f, nil, 0, fmt.Appendf(nil, "%d", i%100), false)
		}
		if (x.seen != nil) != counted || x.total(f) != "14850" || x.most != "99" {
			t.Errorf("room for %d: counted %v, sum %s, greatest %s", room, x.seen != nil, x.total(f), x.most)
		}
	}
}

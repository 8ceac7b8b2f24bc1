package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

func differ(t *testing.T, r TableResult, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, brief(r)); d != "" {
		t.Errorf("result (-want +got):\n%s", d)
	}
}

// names stages n contacts K0, K1, … whose last names are N0, N1, …
func names(n int) map[string]string {
	return map[string]string{"contact": fmt.Sprintf(`SELECT *, %s AS dm_id FROM
		(SELECT range::UINTEGER AS dm_seq, 'K' || range AS legacy_key, 'N' || range AS lastname FROM range(%d))`, idSQL("contact"), n)}
}

func contact(seq uint32) row {
	return row{"contactid": id("contact", seq), "lastname": fmt.Sprint("N", seq)}
}

func TestRecordsMissingExtraAndOthers(t *testing.T) {
	s := openStage(t, names(8))
	book := entries{"contact": {loaded, loaded, failed, held, awaiting, inFlight, inFlight, loaded}}
	target := rows{"contacts": {contact(0), contact(2), contact(4), contact(5), {"contactid": foreign(1)}, contact(7), contact(99)}}
	for _, values := range []bool{true, false} {
		got := run(t, s, book, target, bind(t, world(t), "contact", "lastname"), func(o *Options) { o.Values = values })
		differ(t, got,
			"source 3 target 6 missing 1 extra 3 different 0 duplicates 0 others 1",
			"missing K1|"+id("contact", 1).String()+"|||",
			"extra K2|"+id("contact", 2).String()+"|||",
			"extra K4|"+id("contact", 4).String()+"|||",
			"extra |"+id("contact", 99).String()+"|||") // an id of ours that the ledger does not know at all
	}
}

func TestNothingLoadedYet(t *testing.T) {
	got := run(t, openStage(t, names(2)), entries{}, rows{}, bind(t, world(t), "contact", "lastname"))
	differ(t, got, "source 0 target 0 missing 0 extra 0 different 0 duplicates 0 others 0")
	if got.Mismatches == nil {
		t.Error("mismatches is nil, which JSON shows as null")
	}
}

// TestManyGroups has the rows of several groups, in an order that is not the stage's,
// first all of them and then a few far apart.
func TestManyGroups(t *testing.T) {
	const n = 2*groupRows + 7777
	s, book := openStage(t, names(n)), entries{"contact": many(loaded, n)}
	var all, few []row
	for i := range uint32(n) {
		r := contact((i*7919 + 5) % n)
		if i%10_000 == 3 {
			r["lastname"] = "wrong"
		}
		all = append(all, r)
		if i%997 == 0 {
			few = append(few, r)
		}
	}
	var watched []int64
	got := run(t, s, book, rows{"contacts": all}, bind(t, world(t), "contact", "lastname"), func(o *Options) {
		o.Limit = 0
		o.Watch = func(_ string, done, total int64) { watched = append(watched, done, total) }
	})
	differ(t, got, "source 107777 target 107777 missing 0 extra 0 different 11 duplicates 0 others 0")
	if d := cmp.Diff([]int64{0, n, groupRows, n, 2 * groupRows, n, n, n}, watched); d != "" {
		t.Errorf("progress (-want +got):\n%s", d)
	}
	got = run(t, s, book, rows{"contacts": few}, bind(t, world(t), "contact", "lastname"), func(o *Options) { o.Limit = 0 })
	differ(t, got, "source 107777 target 109 missing 107668 extra 0 different 0 duplicates 0 others 0")
}

// TestKeptIDs has ids that only the stage knows: with a function that does not know
// them, and without one.
func TestKeptIDs(t *testing.T) {
	s := openStage(t, map[string]string{"contact": `SELECT * FROM (VALUES
		(0::UINTEGER, 'a', 'A', '` + foreign(10).String() + `'::UUID), (1::UINTEGER, 'b', 'B', '` + foreign(11).String() + `'::UUID),
		(2::UINTEGER, 'c', 'C', '` + foreign(12).String() + `'::UUID)) t(dm_seq, legacy_key, lastname, dm_id)`})
	// Row 3 was loaded once and is no longer supplied; row 4 is, and not in the target either.
	exec(t, s, `INSERT INTO dm.gone ("table", seq, dm_id, legacy_key, generation) VALUES ('contact', 3, '`+foreign(13).String()+`', 'd', 2), ('contact', 4, '`+foreign(14).String()+`', 'e', 2),
		('account', 5, '`+foreign(99).String()+`', 'x', 2)`)
	target := rows{"contacts": {
		{"contactid": foreign(10), "lastname": "A"}, {"contactid": foreign(12), "lastname": "Z"}, {"contactid": foreign(13), "lastname": "D"}, {"contactid": foreign(99)}}}
	book := entries{"contact": many(loaded, 5)}
	for _, f := range []func(string, schema.GUID) (uint32, bool){recordSeq, nil} {
		table := bind(t, world(t), "contact", "lastname", "contactid")
		if f == nil {
			table = bind(t, world(t), "contact", "lastname")
		}
		got := run(t, s, book, target, table, func(o *Options) { o.RecordSeq = f })
		differ(t, got,
			"source 5 target 3 missing 2 extra 0 different 1 duplicates 0 others 1",
			"missing b|"+foreign(11).String()+"|||",
			"missing e|"+foreign(14).String()+"|||",
			"different c|"+foreign(12).String()+"|lastname|C|Z")
	}
}

// TestGoneRow: a record of ours whose row is no longer supplied is as good as any
// other, and has nothing to be compared with.
func TestGoneRow(t *testing.T) {
	s := openStage(t, names(1))
	exec(t, s, `INSERT INTO dm.gone ("table", seq, dm_id, legacy_key, generation) VALUES ('contact', 1, '`+id("contact", 1).String()+`', 'K1', 2), ('contact', 2, '`+id("contact", 2).String()+`', 'K2', 2)`)
	got := run(t, s, entries{"contact": many(loaded, 3)}, rows{"contacts": {contact(0), contact(1)}}, bind(t, world(t), "contact", "lastname"))
	differ(t, got, "source 3 target 2 missing 1 extra 0 different 0 duplicates 0 others 0", "missing K2|"+id("contact", 2).String()+"|||")
}

func TestLimitShowsEveryKind(t *testing.T) {
	const n = 100
	s, book := openStage(t, names(n)), entries{"contact": many(loaded, n)}
	for i := 80; i < n; i++ {
		book["contact"][i] = failed
	}
	var have []row
	for i := uint32(0); i < n; i++ {
		if i < 10 {
			continue // missing
		}
		r := contact(i)
		if i < 79 {
			r["lastname"] = "wrong"
		}
		have = append(have, r)
	}
	have = append(have, contact(79))
	got := run(t, s, book, rows{"contacts": have}, bind(t, world(t), "contact", "lastname"), func(o *Options) { o.Limit = 10 })
	kinds := map[string]int{}
	for _, m := range got.Mismatches {
		kinds[m.Kind]++
	}
	if d := cmp.Diff(map[string]int{Missing: 3, Extra: 3, Duplicate: 1, Different: 3}, kinds); d != "" {
		t.Errorf("kinds shown (-want +got):\n%s", d)
	}
	if got.Missing != 10 || got.Extra != 20 || got.Different != 69 || got.Duplicates != 1 {
		t.Errorf("the limit cut the counts: %+v", brief(got)[0])
	}
}

// The JSON is what scripts read; the golden file is written anew with UPDATE_GOLDEN=1.
func TestJSON(t *testing.T) {
	s := openStage(t, names(3))
	target := rows{"contacts": {contact(0), {"contactid": id("contact", 2), "lastname": nil}, {"contactid": foreign(1)}}}
	w := world(t)
	o := Options{Tables: []*mapping.Table{bind(t, w, "contact", "lastname"), bind(t, w, "account", "name")}, Values: true, Limit: 5, RecordSeq: recordSeq}
	r, err := Run(t.Context(), s, entries{"contact": many(loaded, 3)}, target, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Tables {
		r.Tables[i].Seconds = 0
	}
	got, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", "result.json")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("JSON (-want +got):\n%s", d)
	}
}

// broken fails after some rows.
type broken struct {
	rows
	after int
	err   error
}

func (c broken) Rows(ctx context.Context, t *schema.Table, q dataverse.Query, fn func(json.RawMessage) error) error {
	n := 0
	return c.rows.Rows(ctx, t, q, func(r json.RawMessage) error {
		if n++; n > c.after {
			return c.err
		}
		return fn(r)
	})
}

// brokenStage fails at every scan.
type brokenStage struct{ err error }

func (s brokenStage) Scan(context.Context, string, []any, func(*column.Batch) error) error {
	return s.err
}

func TestErrors(t *testing.T) {
	s, w, cause := openStage(t, names(3)), world(t), errors.New("the line is down")
	book := entries{"contact": many(loaded, 3)}
	good := rows{"contacts": {contact(0), contact(1), contact(2)}}
	byContact := bind(t, w, "contact", "lastname")
	tests := []struct {
		name  string
		stage stage
		c     client
		table *mapping.Table
		want  string
	}{
		{"the target fails halfway", s, broken{good, 2, cause}, byContact, "reconcile contact: the line is down"},
		{"the stage fails", brokenStage{cause}, good, byContact, "reconcile contact: read the staged rows: the line is down"},
		{"a row has no id", s, rows{"contacts": {{"lastname": "x"}}}, byContact, "reconcile contact: read a row of the target: contactid: "},
		{"the schema lacks an intersect table", s, good, &mapping.Table{Name: "member"}, "pull the schema with it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Run(t.Context(), tt.stage, book, tt.c, Options{Tables: []*mapping.Table{tt.table}, Values: true, RecordSeq: recordSeq})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if strings.Contains(tt.want, "line is down") && !errors.Is(err, cause) {
				t.Errorf("%v does not wrap its cause", err)
			}
			if len(r.Tables) != 0 || r.Version != 1 {
				t.Errorf("an unfinished table is in the result: %+v", r)
			}
		})
	}
}

// TestWrongStage: a relation of another staging is told, not compared.
func TestWrongStage(t *testing.T) {
	s := openStage(t, map[string]string{"contact": "SELECT *, " + idSQL("contact") + " AS dm_id FROM (SELECT 0::UINTEGER AS dm_seq, 'K0' AS legacy_key, 5 AS lastname)"})
	_, err := Run(t.Context(), s, entries{"contact": {loaded}}, rows{"contacts": {contact(0)}},
		Options{Tables: []*mapping.Table{bind(t, world(t), "contact", "lastname")}, Values: true, RecordSeq: recordSeq})
	if err == nil || !strings.Contains(err.Error(), "column lastname is staged as int, not as text") {
		t.Errorf("error %v", err)
	}
}

// TestExpect goes through every state that the ledger has.
func TestExpect(t *testing.T) {
	all := expectation{present, true, true, true, true}
	there := expectation{presence: present}
	early := expectation{presence: present, values: true}
	filed := expectation{presence: present, values: true, lookups: true}
	late := expectation{presence: present, values: true, lookups: true, files: true}
	tests := []struct {
		entry string
		want  expectation
	}{
		{"N/U main", expectation{}}, {"N/P main", all},
		{"I/U main", expectation{}}, {"I/F main", expectation{presence: unsure}}, {"I/E main", expectation{}}, {"I/H main", expectation{}}, {"I/P main", all},
		{"I/S lookups", early}, {"I/F lookups", early}, {"I/E lookups", early}, {"I/H lookups", early},
		{"I/S files", filed}, {"I/F files", filed}, {"I/E files", filed},
		{"I/S state", late}, {"I/F state", late}, {"I/E state", late}, {"I/H state", late},
		{"U/U main", there}, {"U/F main", there}, {"U/E main", there}, {"U/H main", there}, {"U/P main", all}, {"U/S lookups", early}, {"U/S state", late},
		{"D/U main", there}, {"D/F main", expectation{presence: unsure}}, {"D/E main", there}, {"D/H main", there}, {"D/P main", expectation{}},
	}
	for _, tt := range tests {
		e := entryOf(tt.entry)
		if got := expect(e); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.entry, got, tt.want)
		}
	}
}

// entryOf reads "I/S lookups".
func entryOf(s string) (e ledger.Entry) {
	for _, a := range []ledger.Action{ledger.Nothing, ledger.Insert, ledger.Update, ledger.Delete} {
		if a.String() == s[:1] {
			e.Action = a
		}
	}
	for f := ledger.Unprocessed; f <= ledger.Held; f++ {
		if f.String() == s[2:3] {
			e.Flag = f
		}
	}
	for p := ledger.Main; p <= ledger.State; p++ {
		if p.String() == s[4:] {
			e.Pass = p
		}
	}
	return e
}

func TestSeqSet(t *testing.T) {
	s := newSeqSet(130)
	for _, seq := range []uint32{0, 63, 64, 129} {
		if s.has(seq) || !s.add(seq) || s.add(seq) || !s.has(seq) {
			t.Errorf("number %d is not added once", seq)
		}
	}
	if s.has(1) || s.has(65) || s.has(130) || !s.add(130) || s.has(1<<31) {
		t.Error("the set has numbers that nobody added")
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("ü", 200)
	tests := []struct{ name, want, got, want1, got1 string }{
		{"short texts stay whole", "abc", "abd", "abc", "abd"},
		{"of long texts the place of the difference is shown", long + "X" + long, long + "Y" + long,
			"…" + strings.Repeat("ü", 10) + "X" + strings.Repeat("ü", 49) + "…", "…" + strings.Repeat("ü", 10) + "Y" + strings.Repeat("ü", 49) + "…"},
		{"one text ends before the other", long, long + "!", "…" + strings.Repeat("ü", 10), "…" + strings.Repeat("ü", 10) + "!"},
		{"one text is empty", long, "", strings.Repeat("ü", 60) + "…", ""},
	}
	for _, tt := range tests {
		want, got := excerpt(tt.want, tt.got)
		if want != tt.want1 || got != tt.got1 {
			t.Errorf("%s: %q and %q, want %q and %q", tt.name, want, got, tt.want1, tt.got1)
		}
	}
}

func BenchmarkRecords(b *testing.B) {
	const n = 100_000
	s, book, w := openStage(b, names(n)), entries{"contact": many(loaded, n)}, world(b)
	var page bytes.Buffer
	for i := range uint32(n) {
		r, err := json.Marshal(contact(i))
		if err != nil {
			b.Fatal(err)
		}
		page.Write(append(r, '\n'))
	}
	table := bind(b, w, "contact", "lastname")
	for b.Loop() {
		r := run(b, s, book, lines(page.Bytes()), table)
		if r.Target != n || r.Different != 0 {
			b.Fatal(brief(r))
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// lines is a target of rows that are JSON already.
type lines []byte

func (c lines) Rows(_ context.Context, _ *schema.Table, _ dataverse.Query, fn func(json.RawMessage) error) error {
	for line := range bytes.Lines(c) {
		if err := fn(line); err != nil {
			return err
		}
	}
	return nil
}

func (c lines) Records(context.Context, *schema.Table, []schema.GUID, []string, func(schema.GUID, json.RawMessage) error) error {
	return errors.New("nobody reads single records here")
}

package appliance

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// figuresVariable turns TestSQLFigures on: how many records, such as 10000000.
const figuresVariable = "DVMIGRATE_SQL_FIGURES"

// TestSQLFigures measures what SQL over a large ledger takes: counts by flag, progress, the newest
// errors. Without the variable it does the same with few records and compares the answers only.
func TestSQLFigures(t *testing.T) {
	records := uint32(20_000)
	if text := os.Getenv(figuresVariable); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		records = uint32(n)
	}
	p := figuresProject(t, records)
	failed := 0
	for _, c := range []struct{ what, query string }{
		{"count by flag", "SELECT flag, count(*) FROM flags GROUP BY ALL ORDER BY ALL"},
		{"count by flag, of ledger with legacy keys", "SELECT flag, count(legacy_key) FROM ledger GROUP BY ALL ORDER BY ALL"},
		{"progress", "FROM progress"},
		{"newest 1,000 errors in SQL", "FROM account_error ORDER BY changed_at DESC LIMIT 1000"},
	} {
		began, busy, rows, values := time.Now(), processTime(), 0, []string{}
		err := p.SQL(t.Context(), c.query, func(_ []string, row []any) error {
			if rows++; rows < 6 && len(row) == 2 {
				values = append(values, fmt.Sprint(row))
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", c.query, err)
		}
		t.Logf("%d records: %s: %v, %v of CPU time, %d rows %v", records, c.what, time.Since(began).Round(time.Millisecond), (processTime() - busy).Round(time.Millisecond), rows, values)
		if len(values) > 0 && fmt.Sprint(values) != fmt.Sprintf("[[E %d] [P %d]]", records/200, records-records/200) {
			t.Errorf("%s: %v", c.what, values)
		}
	}
	began := time.Now()
	list, err := p.Failures(t.Context(), FailureFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	failed = int(list.Total)
	t.Logf("%d records, %d failed: the newest %d errors %v", records, failed, len(list.Errors), time.Since(began).Round(time.Millisecond))
	if failed != int(records/200) || len(list.Errors) != min(failed, 1000) || list.Errors[0].LegacyKey == "" {
		t.Errorf("%d failed, %d listed", failed, len(list.Errors))
	}
}

// figuresProject is a project with one table of that many records, one in 200 of them failed.
func figuresProject(t *testing.T, records uint32) *Project {
	t.Helper()
	ctx := t.Context()
	l, err := ledger.Open(ctx, filepath.Join(t.TempDir(), "ledger.bolt"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s, err := duckstage.OpenMemory(ctx, duckstage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, statement := range []string{
		"CREATE OR REPLACE TABLE dm.tables AS SELECT 'account' AS name, 1::USMALLINT AS number, 1::UINTEGER AS generation, " + fmt.Sprint(records) + "::BIGINT AS next_seq, 'account' AS data",
		"CREATE OR REPLACE TABLE dm.rejects (line VARCHAR)",
		fmt.Sprintf("CREATE TABLE account AS SELECT range::UINTEGER AS dm_seq, 'A-' || range AS legacy_key, uuid() AS dm_id, NULL::VARCHAR AS dm_repairs FROM range(%d)", records),
	} {
		if _, err := s.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	p := &Project{Config: &config.Config{}, stage: s, ledger: l, o: Options{Log: slog.New(slog.DiscardHandler)}}
	steps := []error{l.Define(ctx, ledger.Table{Name: "account", Number: 1, Count: records}),
		l.Plan(ctx, "account", []ledger.Planned{{Range: ledger.Range{From: 0, To: records}, Action: ledger.Insert}})}
	for from := uint32(0); from < records; from += 10_000 {
		r := ledger.Range{From: from, To: from + 10_000}
		var out []ledger.Outcome
		for seq := from; seq < r.To; seq += 200 {
			out = append(out, ledger.Outcome{Range: ledger.One(seq), Result: ledger.ResultFailed, Reason: ledger.Reason{Class: 3, HTTP: 400, Text: fmt.Sprintf("Record '%d' is refused.", seq)}},
				ledger.Outcome{Range: ledger.Range{From: seq + 1, To: seq + 200}, Result: ledger.ResultSuccess})
		}
		steps = append(steps, l.Claim(ctx, "account", ledger.Main, []ledger.Range{r}), l.Settle(ctx, "account", out))
	}
	steps = append(steps, p.registerLedger(ctx), p.createViews(ctx))
	for _, err := range steps {
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

//go:build unix

package duckstage_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/transform"
)

// benchColumns are the columns of the benchmark's file and their types.
var benchColumns = []transform.Column{
	{Name: "id", SQLType: "BIGINT"}, {Name: "number", SQLType: "VARCHAR"}, {Name: "name", SQLType: "VARCHAR"}, {Name: "email", SQLType: "VARCHAR"},
	{Name: "phone", SQLType: "VARCHAR"}, {Name: "revenue", SQLType: "DECIMAL(12,2)"}, {Name: "employees", SQLType: "INTEGER"}, {Name: "founded", SQLType: "DATE"},
	{Name: "modified", SQLType: "TIMESTAMP"}, {Name: "active", SQLType: "BOOLEAN"}, {Name: "kind", SQLType: "INTEGER"}, {Name: "notes", SQLType: "VARCHAR"},
}

const benchData = `SELECT i AS id, 'ACC-' || lpad((i*7919 %% 5000011)::VARCHAR, 8, '0') AS number, 'Customer ' || (hash(i)%%1000003) AS name,
	'user' || i || '@example' || (i%%977) || '.com' AS email, '+49 ' || (hash(i+1) %% 10000000000) AS phone,
	round((hash(i+2) %% 100000000)/100.0, 2)::DECIMAL(12,2) AS revenue, (hash(i+3)%%5000)::INT AS employees,
	DATE '1960-01-01' + (hash(i+4)%%25000)::INT AS founded, TIMESTAMP '2015-01-01' + to_seconds((hash(i+5)%%300000000)::BIGINT) AS modified,
	hash(i+6)%%2=0 AS active, 100000000+(hash(i+7)%%5)::INT AS kind,
	CASE WHEN hash(i+8)%%10 < 6 THEN 'Note "' || md5(i::VARCHAR) || '", with comma, größe ' || repeat('lorem ipsum ', (hash(i+9)%%8)::INT) ELSE 'plain ' || (i%%100) END AS notes
	FROM range(%d) t(i)`

// benchRows is how many rows the benchmarks stage; DVMIGRATE_BENCH_ROWS says otherwise.
func benchRows() int {
	if n, err := strconv.Atoi(os.Getenv("DVMIGRATE_BENCH_ROWS")); err == nil {
		return n
	}
	return 200_000
}

func benchFile(b *testing.B, rows int) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "accounts.csv")
	db, err := sql.Open("duckdb", "")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("COPY (" + fmt.Sprintf(benchData, rows) + ") TO " + duckstage.Quote(path) + " (HEADER)"); err != nil {
		b.Fatal(err)
	}
	return path
}

// effort is what a step has taken: a figure of time is worth little on a machine that
// others use too, the processor's share of it more.
type effort struct{ wall, cpu time.Duration }

func (e *effort) add(fn func()) {
	cpu, wall := processorTime(), time.Now()
	fn()
	e.wall += time.Since(wall)
	e.cpu += processorTime() - cpu
}

func processorTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// byHand is what a person would type: the file into a typed table, with nothing else.
func byHand(b *testing.B, file string) {
	b.Helper()
	db, err := sql.Open("duckdb", filepath.Join(b.TempDir(), "hand.duckdb"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var types []string
	for _, c := range benchColumns {
		types = append(types, duckstage.Quote(c.Name)+": "+duckstage.Quote(c.SQLType))
	}
	q := "CREATE TABLE a AS SELECT * FROM read_csv(" + duckstage.Quote(file) + ", header=true, columns={" + strings.Join(types, ", ") + "}); CHECKPOINT"
	if _, err := db.Exec(q); err != nil {
		b.Fatal(err)
	}
}

// bringIn and stage are what the appliance does with the same file.
func bringIn(b *testing.B, s *duckstage.Stage, file string) {
	b.Helper()
	if _, err := ingest.Run(b.Context(), s, ingest.Source{Name: "accounts", Paths: []string{file}}, nil); err != nil {
		b.Fatal(err)
	}
}

func stage(b *testing.B, s *duckstage.Stage) {
	b.Helper()
	table := transform.Table{Name: "account", SQL: "SELECT number AS legacy_key, * FROM accounts", Columns: benchColumns}
	for name, fits := range map[string]int{"name": 160, "email": 100, "phone": 50, "notes": 2000} {
		table.Checks = append(table.Checks, transform.Check{Column: name, Bad: fmt.Sprintf("length(%s) > %d", name, fits), Message: "'is too long'"})
	}
	table.Checks = append(table.Checks, transform.Check{Column: "kind", Bad: "kind NOT BETWEEN 100000000 AND 100000004", Message: "'is no option'"})
	res, err := transform.Run(b.Context(), s, nil, []transform.Table{table}, nil)
	if err != nil {
		b.Fatal(err)
	}
	if res[0].Held != 0 {
		b.Fatalf("result = %+v", res)
	}
}

func openBench(b *testing.B) *duckstage.Stage {
	b.Helper()
	s, err := duckstage.Open(b.Context(), filepath.Join(b.TempDir(), "stage.duckdb"), duckstage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkStaging compares ingest and transform with the hand-typed CREATE TABLE AS.
// Both run in turn, since a machine's speed changes with its neighbours.
func BenchmarkStaging(b *testing.B) {
	file := benchFile(b, benchRows())
	var hand, in, tr effort
	for b.Loop() {
		hand.add(func() { byHand(b, file) })
		s := openBench(b)
		in.add(func() { bringIn(b, s, file) })
		tr.add(func() { stage(b, s) })
		s.Close()
	}
	n := float64(b.N)
	b.ReportMetric(hand.wall.Seconds()/n, "hand-s")
	b.ReportMetric(hand.cpu.Seconds()/n, "hand-cpu-s")
	b.ReportMetric(in.wall.Seconds()/n, "ingest-s")
	b.ReportMetric(in.cpu.Seconds()/n, "ingest-cpu-s")
	b.ReportMetric(tr.wall.Seconds()/n, "transform-s")
	b.ReportMetric(tr.cpu.Seconds()/n, "transform-cpu-s")
	b.ReportMetric((in.wall+tr.wall).Seconds()/hand.wall.Seconds(), "ratio")
	b.ReportMetric((in.cpu+tr.cpu).Seconds()/hand.cpu.Seconds(), "cpu-ratio")
}

// BenchmarkRestaging stages a table that points to itself with little memory, once for
// the first time and once after a tenth of it has changed, in another order.
func BenchmarkRestaging(b *testing.B) {
	table := transform.Table{Name: "account", SQL: "SELECT id AS legacy_key, parent, name, amount, note FROM a",
		Columns: []transform.Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "amount", SQLType: "DECIMAL(12,2)"}, {Name: "note", SQLType: "VARCHAR"}},
		Lookups: []transform.Lookup{{Column: "parent", Targets: []transform.Target{{Table: "account", Staged: true}}}}}
	source := fmt.Sprintf(`CREATE OR REPLACE TABLE source.a AS SELECT 'K' || i AS id, CASE WHEN i %% 3 > 0 THEN 'K' || (i // 3) END AS parent,
		'Customer ' || hash(i) AS name, (i %% 100000) / 100 AS amount, md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS note FROM range(%d) r(i)`, benchRows())
	var first, again effort
	for b.Loop() {
		s, err := duckstage.Open(b.Context(), filepath.Join(b.TempDir(), "stage.duckdb"), duckstage.Options{Memory: "1GB"})
		if err != nil {
			b.Fatal(err)
		}
		run := func() []transform.Result {
			res, err := transform.Run(b.Context(), s, nil, []transform.Table{table}, nil)
			if err != nil {
				b.Fatal(err)
			}
			return res
		}
		exec := func(q string) {
			if _, err := s.Exec(b.Context(), q); err != nil {
				b.Fatal(err)
			}
		}
		exec(source)
		first.add(func() { run() })
		exec("CREATE OR REPLACE TABLE source.b AS SELECT * REPLACE (CASE WHEN hash(id) % 10 = 0 THEN 'new' ELSE note END AS note) FROM source.a ORDER BY hash(id)")
		exec("DROP TABLE source.a; ALTER TABLE source.b RENAME TO a; CHECKPOINT")
		again.add(func() {
			if res := run()[0]; res.Changed == 0 || res.Changed+res.Same != int64(benchRows()) {
				b.Fatalf("result = %+v", res)
			}
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(first.wall.Seconds()/float64(b.N), "first-s")
	b.ReportMetric(first.cpu.Seconds()/float64(b.N), "first-cpu-s")
	b.ReportMetric(again.wall.Seconds()/float64(b.N), "again-s")
	b.ReportMetric(again.cpu.Seconds()/float64(b.N), "again-cpu-s")
}

// BenchmarkScan reads twelve columns the way the loader does: as they are stored, and as
// a light relation casts them.
func BenchmarkScan(b *testing.B) {
	s := openBench(b)
	bringIn(b, s, benchFile(b, benchRows()))
	stage(b, s)
	if _, err := s.Exec(b.Context(), "CREATE TABLE main.stored AS SELECT * FROM account"); err != nil {
		b.Fatal(err)
	}
	for _, relation := range []string{"stored", "account"} {
		b.Run(relation, func(b *testing.B) {
			var rows int
			var reading effort
			for b.Loop() {
				reading.add(func() {
					err := s.Scan(b.Context(), "SELECT * FROM "+relation, nil, func(batch *column.Batch) error {
						rows += batch.Rows
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
				})
			}
			b.ReportMetric(float64(rows)/reading.wall.Seconds()/1e6, "Mrows/s")
			b.ReportMetric(float64(reading.cpu.Microseconds())/float64(rows), "cpu-us/row")
		})
	}
}

// BenchmarkRegisterTable reads rows that Go makes through SQL.
func BenchmarkRegisterTable(b *testing.B) {
	s := openBench(b)
	total := int64(benchRows()) * 10
	err := s.RegisterTable(b.Context(), duckstage.TableFunc{
		Name:    "states",
		Columns: []duckstage.ColumnInfo{{Name: "seq", SQLType: "UINTEGER"}, {Name: "action", SQLType: "UTINYINT"}, {Name: "flag", SQLType: "UTINYINT"}, {Name: "attempts", SQLType: "UTINYINT"}},
		Open:    counting(total),
	})
	if err != nil {
		b.Fatal(err)
	}
	rows := int64(0)
	for b.Loop() {
		var n, sum int64
		if err := s.Row(b.Context(), []any{&n, &sum}, "SELECT count(*), sum(seq)::BIGINT + sum(action) + sum(flag) + sum(attempts) FROM states()"); err != nil {
			b.Fatal(err)
		}
		rows += n
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

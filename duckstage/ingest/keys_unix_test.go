//go:build unix

package ingest

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// keyed is a table and the key that its ranges are to be made of.
type keyed struct {
	name   string
	create string   // with %s for its name
	key    []string // as the settings say; none: the table's own
	order  string   // of the rows, and what they are compared by
	ranges bool     // whether it is read in more than one
	notes  int
}

// testKeys reads each table by ranges on three connections, and compares every row with the
// server's own, in the order of the key.
func testKeys(t *testing.T, database Database, run func(statements string) string, tables []keyed) {
	t.Helper()
	s := newStage(t)
	for _, c := range tables {
		t.Run(c.name, func(t *testing.T) {
			run("DROP TABLE IF EXISTS keyed; " + c.create)
			of := database
			of.Table, of.Key, of.Parallel, of.rows = "keyed", c.key, 3, 300
			src := Source{Name: "keyed", Database: &of}
			d, rel := planned(t, src)
			d.close()
			if byPages := strings.Contains(rel.parts[0].label, "ctid"); byPages != d.placed() && database.Kind == Postgres {
				t.Errorf("read by %s", rel.parts[0].label)
			}
			if c.ranges != (len(rel.parts) > 4) {
				t.Errorf("%d ranges", len(rel.parts))
			}
			res := ingest(t, s, src)
			if len(res.Notes) != c.notes {
				t.Errorf("notes = %q", res.Notes)
			}
			// One connection, one range: what the server itself says.
			want := strings.Split(strings.TrimRight(run("SELECT concat_ws('|', "+c.order+") FROM keyed ORDER BY "+c.order), "\n"), "\n")
			got := table(t, s, "SELECT concat_ws('|', "+strings.ReplaceAll(c.order, "`", `"`)+") FROM source.keyed")
			if slices.Contains(c.key, "maybe") || d.placed() {
				slices.Sort(want)
				slices.Sort(got)
			}
			if !slices.Equal(want, got) { // a difference in the order of thousands takes cmp minutes
				at := 0
				for at < min(len(want), len(got)) && want[at] == got[at] {
					at++
				}
				t.Errorf("%d rows, the server has %d; from row %d on %q, want %q", len(got), len(want), at, got[at:min(at+3, len(got))], want[at:min(at+3, len(want))])
			}
		})
	}
}

// planned is a source as it is about to be read.
func planned(t *testing.T, src Source) (*dbSupply, *relation) {
	t.Helper()
	s, err := openDatabase(t.Context(), &src)
	if err != nil {
		t.Fatal(err)
	}
	relations, err := s.relations(t.Context(), &src)
	if err != nil {
		t.Fatal(err)
	}
	d := s.(*dbSupply)
	if err := errors.Join(d.begin(t.Context(), relations[0]), d.plan(t.Context(), relations[0], nil)); err != nil {
		t.Fatal(err)
	}
	return d, relations[0]
}

func TestKeysOfPostgres(t *testing.T) {
	dsn := startPostgres(t)
	run := func(statements string) string { return psql(t, dsn, "-c", statements) }
	const lines = " FROM generate_series(0, 2999) i"
	testKeys(t, Database{Kind: Postgres, DSN: dsn}, run, []keyed{
		{"two numbers", `CREATE TABLE keyed (no int, line smallint, v text, PRIMARY KEY (no, line)); INSERT INTO keyed SELECT i / 3, i % 3, 'v' || i` + lines, nil, `no, line, v`, true, 0},
		{"few values before many", `CREATE TABLE keyed (tenant int, id bigint, PRIMARY KEY (tenant, id)); INSERT INTO keyed SELECT i % 2, i * 7919` + lines, nil, `tenant, id`, true, 0},
		{"texts, dates and uuids", `CREATE TABLE keyed (t text, d date, u uuid, PRIMARY KEY (t, d, u)); INSERT INTO keyed SELECT (ARRAY['ä''\', 'Z', '', 'a b'])[1 + i % 4], date '2024-02-28' + i % 5, md5(i::text)::uuid` + lines, nil, `t, d, u`, true, 0},
		{"a key in another order than the columns, and one that includes another", `CREATE TABLE keyed ("Größe" numeric(10,2), "order" varchar(9), v int); CREATE UNIQUE INDEX ON keyed ("order", "Größe") INCLUDE (v); ALTER TABLE keyed ALTER "order" SET NOT NULL, ALTER "Größe" SET NOT NULL;
			INSERT INTO keyed SELECT i / 100.0, 'o' || i % 3, i` + lines, nil, `"order", "Größe", v`, true, 0},
		{"a key that is named, with nulls", `CREATE TABLE keyed (id int PRIMARY KEY, maybe int, also text); INSERT INTO keyed SELECT i, nullif(i % 5, 0), nullif('x' || i % 7, 'x3')` + lines, []string{"maybe", "also"}, `maybe, also, id`, true, 0},
		{"numbers far apart", `CREATE TABLE keyed (id bigint PRIMARY KEY); INSERT INTO keyed SELECT CASE WHEN i < 1500 THEN i ELSE 9000000000000 + i END` + lines, nil, `id`, true, 0},
		{"no key", `CREATE TABLE keyed (id int, v text); INSERT INTO keyed SELECT i, repeat('x', 100)` + lines, nil, `id, v`, true, 0},
		{"no key, in partitions", `CREATE TABLE keyed (id int, v text) PARTITION BY RANGE (id); CREATE TABLE keyed1 PARTITION OF keyed FOR VALUES FROM (0) TO (500); CREATE TABLE keyed2 PARTITION OF keyed DEFAULT;
			INSERT INTO keyed SELECT i, repeat('x', 100)` + lines, nil, `id, v`, true, 0},
		{"rows that lie in another order", `CREATE TABLE keyed (u uuid PRIMARY KEY, v text); INSERT INTO keyed SELECT md5(i::text)::uuid, repeat('x', 100)` + lines + `; ANALYZE keyed`, nil, `u, v`, true, 0},
		{"few rows", `CREATE TABLE keyed (a int, b int, PRIMARY KEY (a, b)); INSERT INTO keyed VALUES (1, 2)`, nil, `a, b`, false, 0},
	})
	run(`DROP TABLE IF EXISTS keyed CASCADE; CREATE TABLE keyed AS SELECT i AS id FROM generate_series(1, 3000) i; CREATE VIEW seen AS SELECT * FROM keyed`)
	if res := ingest(t, newStage(t), Source{Name: "seen", Database: &Database{Kind: Postgres, DSN: dsn, Table: "seen", Parallel: 3, rows: 100}}); res.Rows != 3000 || len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "with `key`") {
		t.Errorf("a view: %+v", res)
	}
	run("DROP VIEW seen")
}

func TestKeysOfMariaDB(t *testing.T) {
	t.Parallel()
	dsn := startMaria(t)
	run := func(statements string) string { return strings.ReplaceAll(maria(t, statements), `\\`, `\`) } // as the client writes it
	const lines = " FROM seq_0_to_2999"
	testKeys(t, Database{Kind: MySQL, DSN: dsn}, run, []keyed{
		{"two numbers", `CREATE TABLE keyed (no int, line smallint unsigned, v text, PRIMARY KEY (no, line)); INSERT INTO keyed SELECT seq DIV 3, seq % 3, concat('v', seq)` + lines, nil, `no, line, v`, true, 0},
		{"few values before many", `CREATE TABLE keyed (tenant bit(2), id bigint unsigned, PRIMARY KEY (tenant, id)); INSERT INTO keyed SELECT seq % 2, 18446744073709551615 - seq` + lines, nil, `tenant + 0, id`, true, 0},
		{"texts, dates and uuids", `CREATE TABLE keyed (t varchar(20) COLLATE utf8mb4_bin, d date, u uuid, PRIMARY KEY (t, d, u)); INSERT INTO keyed SELECT elt(1 + seq % 4, 'ä''\\', 'Z', 'z', 'a b'), '2024-02-28' + INTERVAL seq % 5 DAY, concat(left(md5(seq), 8), '-0000-1000-8000-', right(md5(seq), 12))` + lines, nil, `t, d, u`, true, 0},
		{"a unique index, one with nulls before it", "CREATE TABLE keyed (`Größe` decimal(30,2) NOT NULL, `order` varchar(9) NOT NULL, n int, UNIQUE (n), UNIQUE (`order`, `Größe`)); INSERT INTO keyed SELECT CAST('10000000000000000000000000' AS decimal(30,2)) + seq / 100.0, concat('o', seq % 3), nullif(seq, 5)" + lines, nil, "`order`, `Größe`, n", true, 0},
		{"texts whose case does not matter", "CREATE TABLE keyed (t varchar(20) COLLATE utf8mb4_general_ci NOT NULL, n int NOT NULL, PRIMARY KEY (t, n)); INSERT INTO keyed SELECT elt(1 + seq % 3, 'a', 'A', 'b'), seq" + lines, nil, "t, n", true, 0},
		{"a key that is named, with nulls", `CREATE TABLE keyed (id int PRIMARY KEY, maybe int, also varchar(9)); INSERT INTO keyed SELECT seq, nullif(seq % 5, 0), nullif(concat('x', seq % 7), 'x3')` + lines, []string{"maybe", "also"}, `maybe, also, id`, true, 0},
		{"no key", `CREATE TABLE keyed (id int, v text); INSERT INTO keyed SELECT seq, 'x'` + lines, nil, `id, v`, false, 1},
	})
}

// TestReadingByTwoColumnsGoesOn interrupts a reading by a key of two columns; it goes on with
// the ranges that are missing. A server that was written to meanwhile is told from one that was
// not, where it says so itself.
func TestReadingByTwoColumnsGoesOn(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(*testing.T) string
		run   func(t *testing.T, statements string) string
		of    Database
		lines string
		notes int
	}{
		{"PostgreSQL", startPostgres, func(t *testing.T, q string) string { return psql(t, startPostgres(t), "-c", q) }, Database{Kind: Postgres}, "SELECT i / 7, i % 7, 'name ' || i FROM generate_series(0, 44999) i", 0},
		{"MariaDB", startMaria, maria, Database{Kind: MySQL}, "SELECT seq DIV 7, seq % 7, concat('name ', seq) FROM seq_0_to_44999", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dsn := c.start(t)
			c.run(t, "DROP TABLE IF EXISTS booked; CREATE TABLE booked (no int, line int, name varchar(20), PRIMARY KEY (no, line)); INSERT INTO booked "+c.lines)
			of := c.of
			of.DSN, of.Table, of.rows, of.Parallel = dsn, "booked", 5000, 2
			src := Source{Name: "booked", Database: &of}
			path := filepath.Join(t.TempDir(), "stage.duckdb")
			interruptedRun(t, path, src, 20_000)
			s := openStage(t, path)
			res := ingest(t, s, src)
			if res.Resumed == 0 || len(res.Notes) != c.notes {
				t.Errorf("result = %+v", res)
			}
			const sums = "SELECT count(*), count(DISTINCT no * 10 + line), sum(no * 10 + line) FROM "
			want := strings.ReplaceAll(strings.TrimSpace(c.run(t, sums+"booked")), "\t", "|")
			if got := table(t, s, sums+"source.booked"); got[0] != want {
				t.Errorf("rows = %v, the server has %v", got, want)
			}
			// Fewer rows than the parts of an interrupted reading have: those that remain are
			// read, and the staging after it is as the server is.
			interruptedRun(t, filepath.Join(t.TempDir(), "other.duckdb"), src, 20_000)
			c.run(t, "DELETE FROM booked WHERE no < 100")
			ingest(t, s, src)
			if got := table(t, s, "SELECT min(no) FROM source.booked"); got[0] != "100" {
				t.Errorf("after a staging from the beginning: %v", got)
			}
		})
	}
}

// TestDeletedRowsDoNotStopAReadingThatGoesOn: what was read before the interruption has rows that
// the server no longer has. It is said, and not taken for an error again and again.
func TestDeletedRowsDoNotStopAReadingThatGoesOn(t *testing.T) {
	dsn := startMaria(t)
	maria(t, "DROP TABLE IF EXISTS shrunk; CREATE TABLE shrunk (no int, line int, PRIMARY KEY (no, line)); INSERT INTO shrunk SELECT seq DIV 7, seq % 7 FROM seq_0_to_44999")
	src := Source{Name: "shrunk", Database: &Database{Kind: MySQL, DSN: dsn, Table: "shrunk", rows: 5000}}
	path := filepath.Join(t.TempDir(), "stage.duckdb")
	interruptedRun(t, path, src, 20_000)
	maria(t, "DELETE FROM shrunk WHERE no < 100")
	s := openStage(t, path)
	if res := ingest(t, s, src); res.Resumed == 0 || len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "more than one point in time") {
		t.Errorf("result = %+v", res)
	}
	if res := ingest(t, s, src); res.Rows != 45000-700 || len(res.Notes) != 0 {
		t.Errorf("result = %+v", res)
	}
}

// TestPagesAreReadAgainInAnotherSnapshot: a table without a key is cut by its pages, in which a row
// may have moved since an interruption. It goes on only while the server says that nobody wrote.
func TestPagesAreReadAgainInAnotherSnapshot(t *testing.T) {
	dsn := startPostgres(t)
	for _, c := range []struct {
		name, meanwhile string
		resumed         bool
	}{
		{"nobody has written", "SELECT 1", true},
		{"rows have moved", "UPDATE heap SET name = 'new'", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			psql(t, dsn, "-c", "DROP TABLE IF EXISTS heap; CREATE TABLE heap AS SELECT i AS id, 'name ' || i AS name FROM generate_series(1, 45000) i")
			src := Source{Name: "heap", Database: &Database{Kind: Postgres, DSN: dsn, Table: "heap", rows: 5000}}
			path := filepath.Join(t.TempDir(), "stage.duckdb")
			interruptedRun(t, path, src, 20_000)
			psql(t, dsn, "-c", c.meanwhile)
			s := openStage(t, path)
			res := ingest(t, s, src)
			if res.Resumed > 0 != c.resumed || len(res.Notes) != 0 {
				t.Errorf("result = %+v", res)
			}
			const sums = "SELECT count(*), count(DISTINCT id), count(DISTINCT name) FROM "
			if got, want := table(t, s, sums+"source.heap"), strings.TrimSpace(psql(t, dsn, "-c", sums+"heap")); got[0] != want {
				t.Errorf("rows = %v, PostgreSQL has %v", got, want)
			}
		})
	}
}

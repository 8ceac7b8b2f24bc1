//go:build unix

package ingest

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPostgresTypes(t *testing.T) {
	dsn := startPostgres(t)
	psql(t, dsn, "-c", `DROP TABLE IF EXISTS kinds; DROP TYPE IF EXISTS mood; DROP DOMAIN IF EXISTS price; DROP TYPE IF EXISTS pair;
		CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric(10,2); CREATE TYPE pair AS (a int, b text);
		CREATE TABLE kinds (id int PRIMARY KEY, b bool, s smallint, l bigint, r real, d double precision, n numeric(12,3), u numeric, dom price, m money, t text, v varchar(10), c char(3),
			u8 uuid, raw bytea, j json, jb jsonb, day date, ts timestamp, tz timestamptz, tm time, iv interval, e mood, ai int[], at text[], an numeric[], ip inet, p pair, big numeric(38,0), small numeric(5,5));
		INSERT INTO kinds VALUES (1, true, -32768, 9223372036854775807, 1.5, -2.25, -123456789.125, 12345678901234567890.123456789, 19.90, 12.34, E'tab\tü', 'v', 'c',
			'6f9619ff-8b86-d011-b42d-00c04fc964ff', '\x00ff', '{"a": [1, 2.50]}', '{"b": null}', '0044-03-15', '1899-12-31 23:59:59.999999', '2024-06-01 12:00:00+02', '13:14:15.5', '1 day 2 hours', 'ok',
			'{1,NULL,3}', '{"a,b","c\"d",NULL}', '{1.10,2}', '10.0.0.1', '(7,"x y")', 12345678901234567890123456789012345678, 0.00001),
			(3, NULL, NULL, NULL, 'NaN', '-Infinity', 0, 'NaN', 0.10, 0, '', '', '', NULL, '', NULL, NULL, '2024-02-29', 'infinity', '-infinity', '00:00', NULL, NULL, '{}', '{}', '{}', NULL, NULL, -1, -0.5);
		INSERT INTO kinds (id) VALUES (2)`)
	s := newStage(t)
	src := Source{Name: "kinds", Database: &Database{Kind: Postgres, DSN: dsn, Table: "kinds", Key: []string{"id"}}}
	res := ingest(t, s, src)
	if res.Rows != 3 || res.Rejected != 0 || len(res.Notes) != 0 {
		t.Fatalf("result = %+v", res)
	}
	types := table(t, s, "SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index) FROM duckdb_columns() WHERE schema_name = 'source' AND table_name = 'kinds'")
	want := "id INTEGER, b BOOLEAN, s SMALLINT, l BIGINT, r FLOAT, d DOUBLE, n DECIMAL(12,3), u VARCHAR, dom DECIMAL(10,2), m DECIMAL(22,4), t VARCHAR, v VARCHAR, c VARCHAR, u8 UUID, raw BLOB, j JSON, jb JSON, day DATE, ts TIMESTAMP, tz TIMESTAMP WITH TIME ZONE, tm TIME, iv VARCHAR, e VARCHAR, ai INTEGER[], at VARCHAR[], an VARCHAR[], ip VARCHAR, p JSON, big DECIMAL(38,0), small DECIMAL(5,5), dm_created_at TIMESTAMP, dm_source VARCHAR"
	if diff := cmp.Diff(strings.Split(want, ", "), strings.Split(types[0], ", ")); diff != "" {
		t.Error(diff)
	}
	got := table(t, s, "SELECT * EXCLUDE (dm_created_at) REPLACE (hex(raw) AS raw) FROM source.kinds WHERE id = 1")
	row := "1|true|-32768|9223372036854775807|1.5|-2.25|-123456789.125|12345678901234567890.123456789|19.90|12.3400|tab\tü|v|c  |6f9619ff-8b86-d011-b42d-00c04fc964ff|00FF|{\"a\": [1, 2.50]}|{\"b\": null}|0044-03-15|1899-12-31 23:59:59.999999|2024-06-01 10:00:00+00|13:14:15.5|1 day 02:00:00|ok|[1, NULL, 3]|['a,b', 'c\"d', NULL]|[1.10, 2]|10.0.0.1|{\"a\":7,\"b\":\"x y\"}|12345678901234567890123456789012345678|.00001|kinds"
	if diff := cmp.Diff(strings.Split(row, "|"), strings.Split(got[0], "|")); diff != "" {
		t.Error(diff)
	}
	if got := table(t, s, "SELECT hex(raw), count(*) FROM source.kinds WHERE id = 1 GROUP BY ALL"); got[0] != "00FF|1" {
		t.Errorf("bytea = %v", got)
	}
	got = table(t, s, "SELECT r, d, n, u, dom, ts, tz, ai, \"at\", big, small, hex(raw) FROM source.kinds WHERE id = 3")
	if want := "nan|-inf|0.000|NaN|0.10|infinity|-infinity|[]|[]|-1|-.50000|"; got[0] != want {
		t.Errorf("odd values = %q, want %q", got, want)
	}
	if got := table(t, s, "SELECT count(*) FROM source.kinds WHERE id = 2 AND COALESCE(b::VARCHAR, n::VARCHAR, t, u8::VARCHAR, hex(raw), ai::VARCHAR, p::VARCHAR, tm::VARCHAR) IS NULL"); got[0] != "1" {
		t.Errorf("nulls = %v", got)
	}
}

func TestPostgresRangesAndErrors(t *testing.T) {
	dsn := startPostgres(t)
	psql(t, dsn, "-c", `DROP TABLE IF EXISTS many, texts; CREATE TABLE many AS SELECT i AS id, 'name ' || i AS name, i * 1.01 AS amount FROM generate_series(1, 60000) i; ALTER TABLE many ADD PRIMARY KEY (id);
		CREATE TABLE texts AS SELECT md5(i::text) AS id, i FROM generate_series(1, 60000) i; INSERT INTO texts VALUES (NULL, 0);
		CREATE TABLE IF NOT EXISTS bare (); DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 'x'`)
	s := newStage(t)
	for _, c := range []struct {
		table string
		rows  int64
	}{{"many", 60000}, {"public.texts", 60001}} {
		src := Source{Name: "t", Database: &Database{Kind: Postgres, DSN: dsn, Table: c.table, Key: []string{"id"}, Parallel: 3}}
		var last, total int64
		res, err := Run(t.Context(), s, src, func(done, all int64) { last, total = done, all })
		if err != nil || res.Rows != c.rows || last != c.rows || total != c.rows {
			t.Fatalf("%s: %+v, %v, progress %d of %d", c.table, res, err, last, total)
		}
		first := table(t, s, "SELECT md5(string_agg(id, ',')) FROM (SELECT coalesce(id::VARCHAR, '') AS id FROM source.t)")
		ingest(t, s, src)
		if again := table(t, s, "SELECT md5(string_agg(id, ',')) FROM (SELECT coalesce(id::VARCHAR, '') AS id FROM source.t)"); again[0] != first[0] {
			t.Errorf("%s: another order the second time", c.table)
		}
	}
	if got := table(t, s, "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE '%part%' AND table_name <> 'parts'"); got[0] != "0" {
		t.Errorf("left over: %v", got)
	}
	for _, c := range []struct{ name, dsn, table, query, key, want string }{
		{"a wrong password", strings.Replace(dsn, testPassword, "wrong-secret", 1), "many", "", "", `refuses the sign-in of user "mover": check user and password`},
		{"a table without columns", dsn, "bare", "", "", "postgres table bare has no columns"},
		{"no such database", strings.Replace(dsn, "/shop", "/nowhere", 1), "many", "", "", `has no database "nowhere"`},
		{"no such table", dsn, "manny", "", "", `relation "manny" does not exist; there are `},
		{"no right to read", strings.Replace(dsn, "mover:"+testPassword, "guest:x", 1), "many", "", "", `give user "guest" the right to read it (GRANT SELECT)`},
		{"no server", "postgres://mover:geheim@127.0.0.1:1/shop", "many", "", "", "cannot reach PostgreSQL at 127.0.0.1:1"},
		{"an unreadable address", "postgres://mover:geheim@127.0.0.1:port/shop", "many", "", "", "write it like postgres://"},
		{"a wrong query", dsn, "", "SELEC 1", "", "syntax error"},
		{"no such key", dsn, "many", "", "nr", `has no column "nr" to read by: its columns are amount, id, name`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Run(t.Context(), s, Source{Name: "t", Database: &Database{Kind: Postgres, DSN: c.dsn, Table: c.table, Query: c.query, Key: strings.Fields(c.key)}}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want %s", err, c.want)
			}
			for _, secret := range []string{testPassword, "wrong-secret", "geheim"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the message has the password: %v", err)
				}
			}
		})
	}
	if got := table(t, s, "SELECT count(*) FROM source.t"); got[0] != "60001" {
		t.Errorf("after failures: %v", got)
	}
}

func TestPostgresBadValuesAreSetAside(t *testing.T) {
	dsn := startPostgres(t)
	psql(t, dsn, "-c", `DROP TABLE IF EXISTS odd; CREATE TABLE odd (id int, n numeric(10,2), t text); INSERT INTO odd VALUES (1, 1, '5'), (2, 'NaN', '6'), (3, 3, 'x')`)
	s := newStage(t)
	src := Source{Name: "odd", Database: &Database{Kind: Postgres, DSN: dsn, Table: "odd", Key: []string{"id"}}, Types: map[string]string{"t": "INTEGER"}, MaxBadLines: 2}
	if res := ingest(t, s, src); res.Rows != 1 || res.Rejected != 2 {
		t.Errorf("result = %+v", res)
	}
	got := table(t, s, `SELECT "column", message FROM dm.rejects ORDER BY ALL`)
	if want := []string{"n|key 2: column n: the value is not a number (NaN or infinity); declare types: {n: VARCHAR} to have its text", `t|key 3: column t: "x" is not INTEGER`}; !cmp.Equal(got, want) {
		t.Errorf("rejects = %q", got)
	}
	src.MaxBadLines = 1
	var bad *BadLinesError
	if _, err := Run(t.Context(), s, src, nil); !errors.As(err, &bad) || bad.Count != 2 {
		t.Errorf("error = %v", err)
	}
	if got := table(t, s, "SELECT count(*) FROM source.odd"); got[0] != "1" {
		t.Errorf("after a failure: %v", got)
	}
}

// TestPostgresArraysNamesAndTexts: an array of more dimensions than its column's others is set
// aside and does not end the reading, a year before Christ stays one, and a declared text
// takes what no type of the stage can hold.
func TestPostgresArraysNamesAndTexts(t *testing.T) {
	dsn := startPostgres(t)
	psql(t, dsn, "-c", `DROP SCHEMA IF EXISTS "a.b" CASCADE; CREATE SCHEMA "a.b"; CREATE TABLE "a.b"."My ""Table" (id int, ai int[], days date[], at timestamp[], n numeric(10,2), ts timestamp);
		INSERT INTO "a.b"."My ""Table" VALUES (1, '{1,NULL}', '{"0044-03-15 BC",infinity}', '{"0044-03-15 12:00:00 BC"}', 'NaN', '294276-12-31'), (2, '{{1,2},{3,4}}', NULL, NULL, 1, NULL)`)
	s := newStage(t)
	src := Source{Name: "odd", Database: &Database{Kind: Postgres, DSN: dsn, Table: `"a.b"."My ""Table"`, Key: []string{"id"}}, Types: map[string]string{"n": "VARCHAR", "TS": "VARCHAR"}, MaxBadLines: 1}
	if res := ingest(t, s, src); res.Rows != 1 || res.Rejected != 1 {
		t.Errorf("result = %+v", res)
	}
	if got := table(t, s, "SELECT * EXCLUDE (dm_created_at, dm_source) FROM source.odd"); got[0] != "1|[1, NULL]|['0044-03-15 (BC)', infinity]|['0044-03-15 (BC) 12:00:00']|NaN|294276-12-31 00:00:00" {
		t.Errorf("got %q", got)
	}
	if got := table(t, s, "SELECT message FROM dm.rejects"); got[0] != `key 2: column ai: "[[\"1\",\"2\"],[\"3\",\"4\"]]" is not a list of INTEGER; for lists of lists declare types: {ai: JSON}` {
		t.Errorf("rejects = %q", got)
	}
	src.Types = map[string]string{"ai": "JSON", "n": "VARCHAR", "ts": "VARCHAR"}
	if res := ingest(t, s, src); res.Rows != 2 {
		t.Errorf("result = %+v", res)
	}
	src.Types = map[string]string{"ai": "TEXTT"}
	if _, err := Run(t.Context(), s, src, nil); err == nil || !strings.Contains(err.Error(), `types: ai: "TEXTT" is no type that SQL knows`) {
		t.Errorf("error = %v", err)
	}
}

// TestRowsThatPostgresHides: a table with row security gives a user fewer rows without a word.
func TestRowsThatPostgresHides(t *testing.T) {
	dsn := startPostgres(t)
	psql(t, dsn, "-c", `DROP SCHEMA IF EXISTS office CASCADE; DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN PASSWORD 'x'; CREATE SCHEMA office; GRANT USAGE ON SCHEMA office TO clerk;
		CREATE TABLE office.hiding (id int PRIMARY KEY, who text); INSERT INTO office.hiding VALUES (1, 'a'), (2, 'clerk');
		ALTER TABLE office.hiding ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON office.hiding USING (who = current_user); GRANT SELECT ON office.hiding TO clerk`)
	src := Source{Name: "hiding", Database: &Database{Kind: Postgres, DSN: dsn, Table: "office.hiding"}}
	if res := ingest(t, newStage(t), src); res.Rows != 2 || len(res.Notes) != 0 {
		t.Errorf("as the owner: %+v", res)
	}
	src.Database.DSN = strings.Replace(dsn, "mover:"+testPassword, "clerk:x", 1)
	if res := ingest(t, newStage(t), src); res.Rows != 1 || len(res.Notes) != 1 || !strings.Contains(res.Notes[0], `may hide rows from user "clerk"`) {
		t.Errorf("as another: %+v", res)
	}
	psql(t, dsn, "-c", "REVOKE USAGE ON SCHEMA office FROM clerk; ALTER ROLE clerk SET search_path TO office")
	src.Database.Table = "hiding" // of no schema, it is said to be nowhere
	if _, err := Run(t.Context(), newStage(t), src, nil); err == nil || !strings.Contains(err.Error(), "office.hiding (in a schema that the user may not use)") {
		t.Errorf("without the schema: %v", err)
	}
}

func TestNorthwind(t *testing.T) {
	dsn := startPostgres(t)
	file := filepath.Join(filepath.Dir(sharedData(t)), "northwind", "northwind.sql")
	psql(t, dsn, "-c", "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC", "-f", file)
	s := newStage(t)
	tables := strings.Fields(psql(t, dsn, "-c", "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"))
	if len(tables) != 14 {
		t.Fatalf("tables = %v", tables)
	}
	var total int64
	for _, name := range tables {
		total += ingest(t, s, Source{Name: name, Database: &Database{Kind: Postgres, DSN: dsn, Table: name}}).Rows
	}
	if total != 3362 {
		t.Errorf("%d rows", total)
	}
	got := table(t, s, "SELECT c.company_name, count(*), sum(d.unit_price::DOUBLE * d.quantity)::DECIMAL(12,2) FROM source.orders o JOIN source.customers c USING (customer_id) JOIN source.order_details d USING (order_id) GROUP BY ALL ORDER BY 3 DESC LIMIT 1")
	want := strings.TrimSpace(psql(t, dsn, "-c", "SELECT c.company_name, count(*), sum(d.unit_price::float8 * d.quantity)::numeric(12,2) FROM orders o JOIN customers c USING (customer_id) JOIN order_details d USING (order_id) GROUP BY 1 ORDER BY 3 DESC LIMIT 1"))
	if got[0] != want {
		t.Errorf("best customer = %q, PostgreSQL says %q", got[0], want)
	}
}

//go:build unix

package ingest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMariaDB(t *testing.T) {
	t.Parallel()
	dsn := startMaria(t)
	maria(t, `DROP TABLE IF EXISTS kinds, many, guids; CREATE TABLE guids (id binary(16) PRIMARY KEY); INSERT INTO guids SELECT unhex(md5(seq)) FROM seq_1_to_12000; CREATE TABLE kinds (id int unsigned PRIMARY KEY, flag tinyint(1), tiny tinyint, u8 bigint unsigned, d decimal(20,4), wide decimal(60,2), f float, x double, one bit(1), bits bit(12),
		day date, ts timestamp NULL, dt datetime(6), t time, y year, e enum('a','b'), s set('x','y'), j json, c char(3), txt text, raw varbinary(8), u uuid);
		SET time_zone = '+02:00', sql_mode = '';
		INSERT INTO kinds VALUES (4294967295, 1, -5, 18446744073709551615, -1234567890123456.7891, 1e50, 0.1, 0.1, b'1', b'100000000001', '2024-02-29', '2024-06-01 12:00:00', '1000-01-01 00:00:00.000001', '-26:00:00', 2024,
			'b', 'x,y', '{"a": 1}', 'ü', 'zwei\nZeilen', x'00ff', '6f9619ff-8b86-d011-b42d-00c04fc964ff');
		INSERT INTO kinds (id, day, dt) VALUES (1, '0000-00-00', '0000-00-00'); INSERT INTO kinds (id, flag) VALUES (2, 7); INSERT INTO kinds (id, day) VALUES (3, '2024-00-10');
		CREATE TABLE many (id int PRIMARY KEY, name varchar(30)); INSERT INTO many SELECT seq, concat('name ', seq) FROM seq_1_to_30000;
		CREATE USER IF NOT EXISTS 'guest'@'%' IDENTIFIED BY 'x'; GRANT SELECT ON shop.many TO 'guest'@'%';`)
	s := newStage(t)
	src := Source{Name: "kinds", Database: &Database{Kind: MySQL, DSN: dsn, Table: "kinds", Key: []string{"id"}}, MaxBadLines: 2}
	if res := ingest(t, s, src); res.Rows != 2 || res.Rejected != 2 {
		t.Errorf("result = %+v", res)
	}
	got := table(t, s, "SELECT * EXCLUDE (dm_created_at, raw), hex(raw) FROM source.kinds WHERE id > 1")
	want := "4294967295|true|-5|18446744073709551615|-1234567890123456.7891|100000000000000000000000000000000000000000000000000.00|0.1|0.1|true|2049|2024-02-29|2024-06-01 10:00:00+00|1000-01-01 00:00:00.000001|-26:00:00|2024|b|x,y|{\"a\": 1}|ü|zwei\nZeilen|6f9619ff-8b86-d011-b42d-00c04fc964ff|kinds|00FF"
	if diff := cmp.Diff(strings.Split(want, "|"), strings.Split(got[0], "|")); diff != "" {
		t.Error(diff)
	}
	if got := table(t, s, "SELECT typeof(id), typeof(flag), typeof(u8), typeof(d), typeof(f), typeof(bits), typeof(ts), typeof(dt), typeof(u), day IS NULL AND dt IS NULL FROM source.kinds WHERE id = 1"); got[0] !=
		"UINTEGER|BOOLEAN|UBIGINT|DECIMAL(20,4)|FLOAT|UBIGINT|TIMESTAMP WITH TIME ZONE|TIMESTAMP|UUID|true" {
		t.Errorf("types = %v", got)
	}
	rejects := table(t, s, `SELECT message FROM dm.rejects ORDER BY ALL`)
	if diff := cmp.Diff([]string{`key 2: column flag: "7" is neither 0 nor 1; the column is tinyint(1), which stands for true and false; declare types: {flag: TINYINT} to have its numbers`,
		`key 3: column day: "2024-00-10" is not a date that there is`}, rejects); diff != "" {
		t.Error(diff)
	}
	many := Source{Name: "many", Database: &Database{Kind: MySQL, DSN: dsn, Table: "many", Key: []string{"id"}, Parallel: 3}}
	if res := ingest(t, s, many); res.Rows != 30000 || len(res.Notes) != 0 {
		t.Errorf("result = %+v", res)
	}
	if got := table(t, s, "SELECT bool_and(id::BIGINT = rowid + 1) FROM (SELECT id, row_number() OVER () - 1 AS rowid FROM source.many)"); got[0] != "true" {
		t.Error("the rows are not in the order of the key")
	}
	guids := Source{Name: "guids", Database: &Database{Kind: MySQL, DSN: dsn, Table: "guids", Key: []string{"id"}, Parallel: 3}}
	if res := ingest(t, s, guids); res.Rows != 12000 {
		t.Errorf("result = %+v", res)
	}
	// Who may lock nothing reads with one connection, and is told.
	many.Database.DSN = strings.Replace(dsn, "mover:"+testPassword, "guest:x", 1)
	if res := ingest(t, s, many); res.Rows != 30000 || len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "grant RELOAD") {
		t.Errorf("result = %+v", res)
	}
	for _, c := range []struct{ name, dsn, table, want string }{
		{"a wrong password", strings.Replace(dsn, testPassword, "wrong-secret", 1), "many", `refuses the sign-in of user "mover"`},
		{"no such table", dsn, "manny", `Table 'shop.manny' doesn't exist; there are `},
		{"no right to read", many.Database.DSN, "kinds", `give user "guest" the right to read it`},
		{"no server", "mysql://mover:wrong-secret@127.0.0.1:1/shop", "many", "cannot reach MySQL at 127.0.0.1:1"},
	} {
		_, err := Run(t.Context(), s, Source{Name: "many", Database: &Database{Kind: MySQL, DSN: c.dsn, Table: c.table}}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), testPassword) || strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("%s: error = %v, want %s", c.name, err, c.want)
		}
	}
}

// TestMariaDBWritesAsItShows: a column that is declared a text has what the server shows, and a row
// is told by a key that no signed number holds.
func TestMariaDBWritesAsItShows(t *testing.T) {
	t.Parallel()
	dsn := startMaria(t)
	maria(t, `DROP TABLE IF EXISTS shown; CREATE TABLE shown (id bigint unsigned PRIMARY KEY, no int(6) unsigned zerofill, day date, raw varbinary(4)); SET sql_mode = '';
		INSERT INTO shown VALUES (18446744073709551615, 42, '2024-00-10', x'ff00'), (1, 7, '0000-00-00', NULL)`)
	t.Cleanup(func() { maria(t, "DROP TABLE shown") })
	s := newStage(t)
	src := Source{Name: "shown", Database: &Database{Kind: MySQL, DSN: dsn, Table: "shown"}, MaxBadLines: 1}
	if res := ingest(t, s, src); res.Rows != 1 || res.Rejected != 1 {
		t.Errorf("result = %+v", res)
	}
	if got := table(t, s, "SELECT message FROM dm.rejects"); got[0] != `key 18446744073709551615: column day: "2024-00-10" is not a date that there is` {
		t.Errorf("rejects = %q", got)
	}
	src.Types = map[string]string{"no": "VARCHAR", "day": "VARCHAR"}
	ingest(t, s, src)
	if diff := cmp.Diff([]string{"1|000007|0000-00-00", "18446744073709551615|000042|2024-00-10|FF00"}, table(t, s, "SELECT id, no, day, hex(raw) FROM source.shown")); diff != "" {
		t.Error(diff)
	}
}

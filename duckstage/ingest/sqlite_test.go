package ingest

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"modernc.org/sqlite"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	dir, db := newSQLite(t)
	if _, err := db.Exec(`CREATE TABLE kinds (id INTEGER PRIMARY KEY, name TEXT, amount DECIMAL(12,2), ratio REAL, active BOOLEAN, born DATE, seen DATETIME, raw BLOB);
		INSERT INTO kinds VALUES (1, 'ü', 12.5, 0.25, 1, '2024-02-29', '2024-02-29 12:00:00', x'00ff'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
			(3, 'b', 'n/a', 1, 0, '2024-01-01', '2024-01-01', x''), (4, 'c', 1, 1, 'yes', '2024-01-01', '2024-01-01', x''), (9223372036854775807, 5, '3.10', 2, 0, NULL, NULL, NULL)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	src := Source{Name: "kinds", Dir: dir, Database: &Database{Kind: SQLite, DSN: "shop.db", Table: "kinds", Key: []string{"id"}}, MaxBadLines: 2}
	if res := ingest(t, s, src); res.Rows != 3 || res.Rejected != 2 {
		t.Errorf("result = %+v", res)
	}
	got := table(t, s, "SELECT id, name, amount, ratio, active, born, seen, hex(raw), typeof(amount), typeof(seen) FROM source.kinds WHERE id <> 2 ORDER BY id")
	if diff := cmp.Diff([]string{"1|ü|12.50|0.25|true|2024-02-29|2024-02-29 12:00:00|00FF|DECIMAL(12,2)|TIMESTAMP", "9223372036854775807|5|3.10|2.0|false|DECIMAL(12,2)|TIMESTAMP"}, got); diff != "" {
		t.Error(diff)
	}
	rejects := table(t, s, `SELECT message FROM dm.rejects ORDER BY ALL`)
	if diff := cmp.Diff([]string{`key 3: column amount: "n/a" is not a number; declare a type for the column, such as types: {amount: VARCHAR}`, `key 4: column active: "yes" is neither true nor false; declare a type for the column, such as types: {active: VARCHAR}`}, rejects); diff != "" {
		t.Error(diff)
	}
	src.Types = map[string]string{"active": "VARCHAR", "amount": "VARCHAR"} // as the messages advise
	if res := ingest(t, s, src); res.Rows != 5 {
		t.Errorf("result = %+v", res)
	}
	for _, c := range []struct{ dsn, table, want string }{
		{"shop.db", "kind", "no such table: kind"},
		{"shop.db", "kind", "; there are kinds"},
		{"other.db", "kinds", "no such file"},
	} {
		if _, err := Run(t.Context(), s, Source{Name: "x", Dir: dir, Database: &Database{Kind: SQLite, DSN: c.dsn, Table: c.table}}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %s", err, c.want)
		}
	}
}

// newSQLite makes an empty database, shop.db in a folder of its own.
func newSQLite(t *testing.T) (dir string, db *sql.DB) {
	t.Helper()
	dir = t.TempDir()
	connector, err := sqlite.NewConnector("file:" + filepath.ToSlash(filepath.Join(dir, "shop.db")))
	if err != nil {
		t.Fatal(err)
	}
	db = sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return dir, db
}

// TestSQLiteTextsOfAnyBytes: a text that is not UTF-8, and one that is cut in the midst of a letter
// for the message, set their rows aside and do not end the reading. Numbers among texts are
// written as people do.
func TestSQLiteTextsOfAnyBytes(t *testing.T) {
	t.Parallel()
	dir, db := newSQLite(t)
	if _, err := db.Exec(`CREATE TABLE odd (id INTEGER PRIMARY KEY, name TEXT, born DATE, n INTEGER, any);
		INSERT INTO odd VALUES (1, CAST(x'4bff' AS TEXT), NULL, 1, NULL), (2, 'a' || char(0) || 'b', NULL, 2, 99999999.99), (3, 'c', NULL, ?, 1e300)`, "x"+strings.Repeat("ü", 150)); err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	src := Source{Name: "odd", Dir: dir, Database: &Database{Kind: SQLite, DSN: "shop.db", Table: "odd"}, MaxBadLines: 2}
	if res := ingest(t, s, src); res.Rows != 1 || res.Rejected != 2 {
		t.Errorf("result = %+v", res)
	}
	if diff := cmp.Diff([]string{"2|a\x00b|2|99999999.99"}, table(t, s, `SELECT id, name, n, "any" FROM source.odd`)); diff != "" {
		t.Error(diff)
	}
	want := []string{"key 1: column name: \"K\uFFFD\" is not UTF-8; have a query convert it",
		`key 3: column n: "x` + strings.Repeat("ü", 99) + "\uFFFD" + `" is not a whole number; declare a type for the column, such as types: {n: VARCHAR}`}
	if diff := cmp.Diff(want, table(t, s, "SELECT message FROM dm.rejects ORDER BY ALL")); diff != "" {
		t.Error(diff)
	}
}

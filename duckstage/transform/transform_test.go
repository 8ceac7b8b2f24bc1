package transform

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

var testSet = [16]byte{0xAB, 1, 2, 3}

func newStage(t *testing.T) *duckstage.Stage {
	t.Helper()
	return newStageWith(t, duckstage.Options{Set: testSet, Threads: 2})
}

func newStageWith(t *testing.T, o duckstage.Options) *duckstage.Stage {
	t.Helper()
	s, err := duckstage.Open(t.Context(), filepath.Join(t.TempDir(), "stage.duckdb"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustExec(t *testing.T, s *duckstage.Stage, query string) {
	t.Helper()
	if _, err := s.Exec(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// rows reads a query as one line a row, values separated by bars, null as a dash.
func rows(t *testing.T, s *duckstage.Stage, query string) []string {
	t.Helper()
	var out []string
	err := s.Rows(t.Context(), "SELECT concat_ws('|', *COLUMNS(*)) FROM (SELECT coalesce(CAST(COLUMNS(*) AS VARCHAR), '-') FROM ("+query+"))", nil, func(scan func(...any) error) error {
		var line string
		defer func() { out = append(out, line) }()
		return scan(&line)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func expect(t *testing.T, s *duckstage.Stage, query string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, rows(t, s, query)); diff != "" {
		t.Errorf("%s: %s", query, diff)
	}
}

func stageTables(t *testing.T, s *duckstage.Stage, tables ...Table) []Result {
	t.Helper()
	res, err := Run(t.Context(), s, nil, tables, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// plain is a table of two columns from source.a.
var plain = Table{Name: "account", File: "account.sql", SQL: "SELECT id AS legacy_key, name, amount FROM a",
	Columns: []Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "amount", SQLType: "DECIMAL(10,2)"}}}

func TestFirstStaging(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('x', 'one', '1.50', '7', 'true'), ('y', NULL, 'abc', '7.5', 'maybe'), ('z', 'three', NULL, NULL, NULL)) t(id, name, amount, size, active)")
	table := plain
	table.SQL = "-- all of them\nSELECT id AS legacy_key, * FROM a; -- done\n"
	table.Columns = append(slices.Clone(plain.Columns), Column{Name: "size", SQLType: "INTEGER"}, Column{Name: "active", SQLType: "BOOLEAN"})
	table.Checks = []Check{{Column: "name", Bad: "length(name) > 4", Message: "'is ' || length(name) || ' long, 4 fit' -- characters"}}
	table.Owed = "CASE WHEN amount > 1 THEN 4 END"
	res := stageTables(t, s, table)
	res[0].Seconds = 0
	if diff := cmp.Diff([]Result{{Table: "account", Number: 1, Rows: 3, New: 3, Held: 2}}, res); diff != "" {
		t.Error(diff)
	}
	expect(t, s, "SELECT dm_seq, legacy_key, dm_owed, dm_hold, dm_change, name, amount, size, active FROM account",
		"0|x|4|-|I|one|1.50|7|true", "1|y|0|DVM-TYPE amount: 'abc' is not a DECIMAL|I|-|-|8|-", "2|z|0|name: is 5 long, 4 fit|I|three|-|-|-")
	expect(t, s, "SELECT column_name || ' ' || column_type FROM (DESCRIBE account)", "dm_seq BIGINT", "dm_id UUID", "legacy_key VARCHAR",
		"dm_created_at TIMESTAMP", "dm_owed UTINYINT", "dm_hold VARCHAR", "dm_change VARCHAR", "dm_repairs VARCHAR", "name VARCHAR", "amount DECIMAL(10,2)", "size INTEGER", "active BOOLEAN")
	err := s.Scan(t.Context(), "SELECT dm_seq, dm_id FROM account WHERE dm_seq >= 1 AND dm_seq < 3", nil, func(b *column.Batch) error {
		for i := range b.Rows {
			table, seq, ok := duckstage.ParseRecordID(testSet, b.Column("dm_id").UUIDs[i])
			if !ok || table != 1 || int64(seq) != b.Column("dm_seq").Ints[i] || b.Rows != 2 {
				t.Errorf("row %d: table %d, seq %d, %v", i, table, seq, ok)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestFractionsAreNotRoundedAway(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', '10.6', 10.6::DOUBLE), ('2', '10.0', 10.0::DOUBLE), ('3', '11', NULL)) t(id, x, y)")
	stageTables(t, s, Table{Name: "t", SQL: "SELECT id AS legacy_key, x, y FROM a", Columns: []Column{{Name: "x", SQLType: "INTEGER"}}})
	expect(t, s, "SELECT dm_hold FROM t", "DVM-TYPE x: '10.6' is not an INTEGER", "-", "-")
	stageTables(t, s, Table{Name: "u", SQL: "SELECT id AS legacy_key, x, y FROM a", Columns: []Column{{Name: "y", SQLType: "BIGINT"}}})
	expect(t, s, "SELECT dm_hold FROM u", "DVM-TYPE y: '10.6' is not a BIGINT", "-", "-")
}

// TestCodesAreNoNumbers: DuckDB reads 202401 in 2024_01, and 16 in 0x10.
func TestCodesAreNoNumbers(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', '2024_01'), ('2', '0x10'), ('3', '1_0.0'), ('4', '-10'), ('5', NULL)) t(id, x)")
	for _, typ := range []string{"INTEGER", "DECIMAL(10,2)", "DOUBLE"} {
		name, _, _ := strings.Cut(typ, "(")
		bad := "DVM-TYPE x: '%s' is not a " + name
		if name == "INTEGER" {
			bad = "DVM-TYPE x: '%s' is not an " + name
		}
		stageTables(t, s, Table{Name: "t_" + name, SQL: "SELECT id AS legacy_key, x FROM a", Columns: []Column{{Name: "x", SQLType: typ}}})
		expect(t, s, "SELECT dm_hold FROM t_"+name+" ORDER BY legacy_key", fmt.Sprintf(bad, "2024_01"), fmt.Sprintf(bad, "0x10"), fmt.Sprintf(bad, "1_0.0"), "-", "-")
	}
}

func TestRestagingKeepsNumbers(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('x', 'one', '1'), ('y', 'two', '2'), ('z', 'three', NULL)) t(id, name, amount)")
	stageTables(t, s, plain)
	ids := rows(t, s, "SELECT legacy_key, dm_id FROM account ORDER BY ALL")
	mustExec(t, s, "CREATE OR REPLACE TABLE source.a AS SELECT * FROM (VALUES ('new', 'n', '0'), ('z', 'three', NULL), ('x', 'one', '1.5'), ('a', 'n', NULL)) t(id, name, amount)")
	res := stageTables(t, s, plain)[0]
	res.Seconds = 0
	if diff := cmp.Diff(Result{Table: "account", Number: 1, Rows: 4, New: 2, Changed: 1, Same: 1, Gone: 1}, res); diff != "" {
		t.Error(diff)
	}
	expect(t, s, "SELECT dm_seq, legacy_key, dm_change, amount FROM account", "0|x|U|1.50", "2|z|N|-", "3|new|I|0.00", "4|a|I|-")
	expect(t, s, `SELECT "table", seq, legacy_key, generation FROM dm.gone`, "account|1|y|2")
	mustExec(t, s, "INSERT INTO source.a VALUES ('y', 'back', '2')")
	stageTables(t, s, plain)
	expect(t, s, "SELECT dm_seq, legacy_key, dm_change FROM account", "0|x|N", "1|y|I", "2|z|N", "3|new|N", "4|a|N")
	expect(t, s, "SELECT count(*) FROM dm.gone", "0")
	for _, id := range ids {
		if !slices.Contains(rows(t, s, "SELECT legacy_key, dm_id FROM account"), id) {
			t.Errorf("%s has another id now", id)
		}
	}
	wider := plain
	wider.SQL, wider.Columns = "SELECT id AS legacy_key, name, amount, CASE WHEN id = 'x' THEN 1 END AS n FROM a", append(slices.Clone(plain.Columns), Column{Name: "n", SQLType: "INTEGER"})
	stageTables(t, s, wider)
	expect(t, s, "SELECT dm_seq, dm_change FROM account WHERE dm_change <> 'N'", "0|U")
	expect(t, s, "SELECT value FROM dm.meta WHERE key = 'generation'", "4")
	expect(t, s, "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'dm' AND (table_name LIKE 'new%' OR table_name LIKE 'data%')", "1")
}

func TestLookups(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, `CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', '2'), ('2', NULL), ('3', '9'), ('4', '4')) t(id, parent);
		CREATE TABLE source.c AS SELECT * FROM (VALUES ('c1', 'account', '1', 'AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE'), ('c2', 'contact', 'c1', 'no guid'),
			('c3', 'account', '99', NULL), ('c4', 'lead', '1', NULL), ('c5', NULL, NULL, NULL), ('c6', 'systemuser', 'x', NULL)) t(id, kind, owner, usr)`)
	account := Table{Name: "account", SQL: "SELECT id AS legacy_key, parent AS parentaccountid FROM a",
		Lookups: []Lookup{{Column: "parentaccountid", Targets: []Target{{Table: "account", Staged: true}}}}}
	contact := Table{Name: "contact", SQL: `SELECT id AS legacy_key, ref(kind, owner) AS parentcustomerid, usr AS ownerid,
			coalesce(existing('systemuser', usr), ref('account', CASE WHEN id = 'c3' THEN '3' END)) AS mixed FROM c`,
		Lookups: []Lookup{{Column: "parentcustomerid", Targets: []Target{{Table: "account", Staged: true}, {Table: "contact", Staged: true}, {Table: "systemuser"}}}, {Column: "ownerid", Targets: []Target{{Table: "systemuser"}}},
			{Column: "mixed", Targets: []Target{{Table: "systemuser"}, {Table: "account", Staged: true}}}},
		Checks: []Check{{Column: "ownerid", Bad: "ownerid IS NULL AND legacy_key = 'c5'", Message: "'is required'"}},
		Owed:   "CASE WHEN parentcustomerid IS NOT NULL THEN 1 ELSE 0 END"}
	stageTables(t, s, account, contact)
	expect(t, s, "SELECT a.legacy_key, p.legacy_key, a.dm_hold FROM account a LEFT JOIN account p ON p.dm_id = a.parentaccountid ORDER BY 1",
		"1|2|-", "2|-|-", "3|-|DVM-ORPHAN parentaccountid: no account with legacy key '9'", "4|4|-")
	expect(t, s, `SELECT c.legacy_key, coalesce(a.legacy_key, o.legacy_key), c.parentcustomerid__table, c.ownerid, c.mixed__table, c.dm_owed, c.dm_hold FROM contact c
		LEFT JOIN account a ON a.dm_id = c.parentcustomerid LEFT JOIN contact o ON o.dm_id = c.parentcustomerid ORDER BY c.dm_seq`,
		"c1|1|account|aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee|systemuser|1|-",
		"c2|c1|contact|-|-|1|DVM-LOOKUP ownerid: 'no guid' is not a GUID",
		"c3|-|-|-|account|0|DVM-ORPHAN parentcustomerid: no account with legacy key '99'",
		"c4|-|-|-|-|0|DVM-LOOKUP parentcustomerid: it cannot point to table 'lead', only to account, contact, systemuser",
		"c5|-|-|-|-|0|ownerid: is required",
		"c6|-|-|-|-|0|DVM-LOOKUP parentcustomerid: table systemuser is not staged, so that its rows are named with existing() and a GUID")
	mustExec(t, s, "INSERT INTO source.a VALUES ('9', NULL); DELETE FROM source.a WHERE id = '2'")
	stageTables(t, s, account)
	expect(t, s, "SELECT legacy_key, dm_seq, dm_change, dm_hold FROM account", "1|0|U|DVM-ORPHAN parentaccountid: no account with legacy key '2'", "3|2|U|-", "4|3|N|-", "9|4|I|-")
	stageTables(t, s, contact)
	expect(t, s, "SELECT dm_change, count(*) FROM contact GROUP BY ALL", "N|6")
}

func TestKeptIDs(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, `CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', 'AAAAAAAA-BBBB-4CCC-8DDD-000000000001', '2'), ('2', 'aaaaaaaa-bbbb-4ccc-8ddd-000000000002', '3'), ('3', 'oops', NULL), ('4', NULL, NULL)) t(id, guid, parent)`)
	table := Table{Name: "account", SQL: "SELECT id AS legacy_key, guid, parent FROM a", KeepID: "guid", Lookups: []Lookup{{Column: "parent", Targets: []Target{{Table: "account", Staged: true}}}}}
	stageTables(t, s, table)
	expect(t, s, "SELECT legacy_key, dm_id, parent, dm_hold FROM account", "1|aaaaaaaa-bbbb-4ccc-8ddd-000000000001|aaaaaaaa-bbbb-4ccc-8ddd-000000000002|-",
		"2|aaaaaaaa-bbbb-4ccc-8ddd-000000000002|-|DVM-ORPHAN parent: no account with legacy key '3'", "3|-|-|DVM-ID guid: 'oops' is not a GUID", "4|-|-|DVM-ID guid: there is no record id")
	mustExec(t, s, "UPDATE source.a SET guid = 'aaaaaaaa-bbbb-4ccc-8ddd-000000000002' WHERE id IN ('3', '4')")
	_, err := Run(t.Context(), s, nil, []Table{table}, nil)
	var keys *KeyError
	if !errors.As(err, &keys) || keys.Column != "guid" || keys.Keys[0].Rows != 3 {
		t.Errorf("repeated ids: %v", err)
	}
	table.KeepID = ""
	if _, err := Run(t.Context(), s, nil, []Table{table}, nil); err == nil || !strings.Contains(err.Error(), "cannot change any more") {
		t.Errorf("ids no longer kept: %v", err)
	}
}

func TestRepeatedKeysChangeNothing(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT i::VARCHAR AS id, 'n' AS name, '1' AS amount FROM range(10) r(i)")
	stageTables(t, s, plain)
	mustExec(t, s, "INSERT INTO source.a SELECT (i % 7)::VARCHAR, 'm', '2' FROM range(8) r(i); INSERT INTO source.a VALUES (NULL, 'x', '1'), (NULL, 'x', '1')")
	_, err := Run(t.Context(), s, nil, []Table{{Name: "other", SQL: "SELECT 1 AS legacy_key"}, plain}, nil)
	var keys *KeyError
	var table *TableError
	if !errors.As(err, &keys) || !errors.As(err, &table) {
		t.Fatalf("error = %v", err)
	}
	want := &KeyError{Column: "legacy_key", Nulls: 2, More: 2, Keys: []RepeatedKey{{"0", 3}, {"1", 2}, {"2", 2}, {"3", 2}, {"4", 2}}}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Error(diff)
	}
	if got := err.Error(); !strings.HasPrefix(got, "table account (account.sql): 2 rows have no legacy_key; legacy_key must be unique, and is not: '0' (3 rows)") {
		t.Errorf("message = %s", got)
	}
	expect(t, s, "SELECT count(*), max(name) FROM account", "10|n")
	expect(t, s, "SELECT name FROM dm.tables", "account")
	expect(t, s, "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'dm' AND (table_name LIKE 'new%' OR table_name LIKE 'data%')", "1")
}

// refused are the faults for which Run does not begin.
func refused(t *testing.T, s *duckstage.Stage, tables ...Table) []error {
	t.Helper()
	_, err := Run(t.Context(), s, nil, tables, nil)
	faults, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error = %v", err)
	}
	return faults.Unwrap()
}

func TestRunFindsEveryFault(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a (id VARCHAR, name VARCHAR)")
	for _, c := range []struct {
		name  string
		table Table
		want  string
	}{
		{"wrong SQL", Table{SQL: "SELECT id AS legacy_key,\n nme FROM a"}, "line 2, column 2: Referenced column \"nme\" not found"},
		{"two statements", Table{SQL: "SELECT 1 AS legacy_key;\nSELECT 2"}, "line 2, column 1: only one statement"},
		{"no SELECT", Table{SQL: "DROP TABLE a"}, "line 1, column 1: the statement must be a SELECT"},
		{"no key", Table{SQL: "SELECT id FROM a"}, "no column legacy_key"},
		{"a missing column", Table{SQL: "SELECT id AS legacy_key FROM a", Columns: []Column{{Name: "name", SQLType: "VARCHAR"}}}, "no column name"},
		{"one name twice", Table{SQL: "SELECT id AS legacy_key, id AS x, name AS X FROM a"}, "two columns called"},
		{"an unknown type", Table{SQL: "SELECT id AS legacy_key, name FROM a", Columns: []Column{{Name: "name", SQLType: "MONEY"}}}, "type MONEY of column name"},
		{"a lookup without ref", Table{SQL: "SELECT id AS legacy_key, name FROM a", Lookups: []Lookup{{Column: "name", Targets: []Target{{Table: "x"}, {Table: "y"}}}}}, "use ref('table', key)"},
		{"a target that is not staged", Table{SQL: "SELECT id AS legacy_key, name FROM a", Lookups: []Lookup{{Column: "name", Targets: []Target{{Table: "x", Staged: true}}}}}, "points to x, which is not staged"},
		{"a wrong check", Table{SQL: "SELECT id AS legacy_key, name FROM a", Checks: []Check{{Column: "name", Bad: "len(nme) > 1", Message: "'x'"}}}, "check of column name"},
		{"a wrong owed", Table{SQL: "SELECT id AS legacy_key FROM a", Owed: "1 +"}, "passes owed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.table.Name, c.table.File = "t", "t.sql"
			faults := refused(t, s, c.table)
			if len(faults) != 1 || !strings.Contains(faults[0].Error(), c.want) || !strings.HasPrefix(faults[0].Error(), "table t (t.sql): ") {
				t.Errorf("faults = %v, want %q", faults, c.want)
			}
		})
	}
	both := refused(t, s, Table{Name: "t", SQL: "x"}, Table{Name: "u", SQL: "y"}, Table{Name: "v", SQL: "SELECT id AS legacy_key FROM a"})
	if len(both) != 2 {
		t.Errorf("faults = %v, want two", both)
	}
}

func TestErrorsWhileRunningPointIntoTheUsersText(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT 'x' AS id, 'abc' AS name")
	_, err := Run(t.Context(), s, nil, []Table{{Name: "t", SQL: "SELECT id AS legacy_key,\n  CAST(name AS INTEGER) AS n\nFROM a", Columns: []Column{{Name: "n", SQLType: "INTEGER"}}}}, nil)
	var e *duckstage.SQLError
	if !errors.As(err, &e) || e.Line != 2 || e.Column != 3 || !strings.Contains(e.Message, "abc") {
		t.Errorf("error = %v", err)
	}
}

func TestIDsAscendInSQLServersOrder(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT hash(i)::VARCHAR AS id, 'n' AS name, '1' AS amount FROM range(200000) r(i)")
	stageTables(t, s, plain)
	var last [16]byte
	rows := 0
	// SQL Server compares bytes 10 to 15 first, then 8 and 9, 6 and 7, 4 and 5, 0 to 3.
	order := func(id [16]byte) []byte { return slices.Concat(id[10:], id[8:10], id[6:8], id[4:6], id[:4]) }
	err := s.Scan(t.Context(), "SELECT dm_id FROM account", nil, func(b *column.Batch) error {
		for _, id := range b.Columns[0].UUIDs {
			if rows > 0 && bytes.Compare(order(last), order(id)) >= 0 {
				return fmt.Errorf("row %d: %x is not after %x", rows, id, last)
			}
			if id != duckstage.RecordID(testSet, 1, uint32(rows)) || id[6]>>4 != 8 || id[8]>>6 != 2 {
				return fmt.Errorf("row %d has id %x", rows, id)
			}
			last = id
			rows++
		}
		return nil
	})
	if err != nil || rows != 200000 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// TestNarrowFloats: a FLOAT is what it is written like, and not the DOUBLE beside it.
func TestNarrowFloats(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT 'x' AS id, 32.38::FLOAT AS d, 1.1::FLOAT AS m, 'inf'::FLOAT AS i UNION ALL SELECT 'y', NULL, NULL, NULL")
	stageTables(t, s, Table{Name: "account", File: "account.sql", SQL: "SELECT id AS legacy_key, d, m, i FROM a",
		Columns: []Column{{Name: "d", SQLType: "DOUBLE"}, {Name: "m", SQLType: "DECIMAL(25,10)"}, {Name: "i", SQLType: "DOUBLE"}}})
	expect(t, s, "SELECT legacy_key, d, m, i, dm_hold FROM account", "x|32.38|1.1000000000|inf|-", "y|-|-|-|-")
}

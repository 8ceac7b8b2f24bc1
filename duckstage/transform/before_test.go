package transform

import "testing"

// TestBefore follows three stagings. What the target holds is said by two plain tables in
// place of a ledger.
func TestBefore(t *testing.T) {
	s := newStage(t)
	table := Table{Name: "account", SQL: "SELECT id AS legacy_key, name, amount FROM a",
		Columns: []Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "amount", SQLType: "DECIMAL(10,2)"}},
		Known:   Known{Written: "SELECT seq AS dm_seq, TIMESTAMP '2026-01-01' AS dm_written, whole AS dm_whole FROM written", Waiting: "SELECT seq AS dm_seq FROM waiting", Passing: "SELECT 0::UINTEGER AS dm_seq, '' AS dm_pass LIMIT 0"}}
	mustExec(t, s, "CREATE TABLE source.a AS FROM (VALUES ('a', 'one', '1'), ('b', 'two', '2'), ('c', NULL, '3'), ('d', 'four', '4'), ('e', 'five', '5')) t(id, name, amount)")
	mustExec(t, s, "CREATE TABLE main.written AS SELECT * FROM (VALUES (0::UINTEGER, false), (1, false), (2, false), (3, true)) t(seq, whole); CREATE TABLE main.waiting (seq UINTEGER)")
	stageTables(t, s, table)

	// a and b have changed; c in nothing the target could tell; of d not all values are sure to
	// be there; e was never written, so that it is sent whole anyway.
	mustExec(t, s, "UPDATE source.a SET name = name || '!' WHERE id IN ('a', 'd', 'e'); UPDATE source.a SET amount = '20', name = 'zwei' WHERE id = 'b'; UPDATE source.a SET name = '' WHERE id = 'c'")
	stageTables(t, s, table)
	const all = "SELECT dm_seq, dm_changed, name, amount FROM account_before ORDER BY 1"
	expect(t, s, all, "0|name|one|1.00", "1|name,amount|two|2.00", "2||-|3.00", "3|-|four|4.00")

	// b was sent. a waits still, and is put back in one column and changed in the other; of d
	// an answer was lost.
	mustExec(t, s, "DELETE FROM main.written; INSERT INTO main.written VALUES (1, false); INSERT INTO main.waiting VALUES (0); UPDATE source.a SET name = 'one', amount = '11' WHERE id = 'a'; UPDATE source.a SET amount = '21' WHERE id = 'b'")
	stageTables(t, s, table)
	expect(t, s, all, "0|amount|one|1.00", "1|amount|zwei|20.00", "2|-|-|-", "3|-|-|-")

	// A column that the transform did not have was empty.
	table.SQL = "SELECT id AS legacy_key, name, amount, 'x' AS city FROM a"
	table.Columns = append(table.Columns, Column{Name: "city", SQLType: "VARCHAR"})
	mustExec(t, s, "DELETE FROM main.waiting")
	stageTables(t, s, table)
	expect(t, s, "SELECT dm_seq, dm_changed, city FROM account_before WHERE dm_seq = 1", "1|city|-")
	expect(t, s, "SELECT count(*) FROM duckdb_tables() WHERE starts_with(table_name, 'before_')", "1")

	// Where nobody says what the target holds, nothing is kept.
	table.Known = Known{}
	stageTables(t, s, table)
	expect(t, s, "SELECT count(*) FROM duckdb_tables() WHERE starts_with(table_name, 'before_')", "0")
}

// TestBegun: of rows whose update has begun, and goes on in a later pass, the target has what the passes until then have sent,
// and of the other columns what it had before, whether the row has changed again or not.
func TestBegun(t *testing.T) {
	s := newStage(t)
	table := Table{Name: "account", SQL: "SELECT id AS legacy_key, name, amount, status FROM a",
		Columns: []Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "amount", SQLType: "INTEGER"}, {Name: "status", SQLType: "INTEGER"}},
		Known: Known{Written: "SELECT seq AS dm_seq, TIMESTAMP '2026-01-01' AS dm_written, whole AS dm_whole FROM written", Waiting: "SELECT 0::UINTEGER AS dm_seq LIMIT 0",
			Passing: "SELECT seq AS dm_seq, pass AS dm_pass FROM passing", Later: map[string]string{"amount": "lookups", "status": "state"}}}
	mustExec(t, s, "CREATE TABLE source.a AS SELECT id, 'n' AS name, '1' AS amount, '0' AS status FROM (VALUES ('a'), ('b'), ('c'), ('d'), ('e')) t(id)")
	mustExec(t, s, "CREATE TABLE main.written AS SELECT seq::UINTEGER AS seq, seq = 4 AS whole FROM range(5) r(seq); CREATE TABLE main.passing (seq UINTEGER, pass VARCHAR)")
	stageTables(t, s, table)
	mustExec(t, s, "UPDATE source.a SET name = 'm', amount = CASE WHEN id <> 'd' THEN '2' END, status = '1'")
	stageTables(t, s, table)
	const all = "SELECT dm_seq, dm_changed, name, amount, status FROM account_before ORDER BY 1"
	expect(t, s, all, "0|name,amount,status|n|1|0", "1|name,amount,status|n|1|0", "2|name,amount,status|n|1|0", "3|name,amount,status|n|1|0", "4|-|n|1|0")

	// a and b have gone through the first pass, c through that of lookups too, d's lookup was emptied; of e nothing was known.
	mustExec(t, s, "UPDATE main.written SET whole = true; INSERT INTO main.passing VALUES (0, 'lookups'), (1, 'lookups'), (2, 'state'), (3, 'lookups'), (4, 'state'); UPDATE source.a SET name = 'again', status = '2' WHERE id IN ('b', 'e')")
	stageTables(t, s, table)
	expect(t, s, all, "0|amount,status|m|1|0", "1|name,amount,status|m|1|0", "2|status|m|2|0", "3|status|m|-|0", "4|-|m|2|1")
}

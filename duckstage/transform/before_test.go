package transform

import "testing"

// TestBefore follows three stagings. What the target holds is said by two plain tables in
// place of a ledger.
func TestBefore(t *testing.T) {
	s := newStage(t)
	table := Table{Name: "account", SQL: "SELECT id AS legacy_key, name, amount FROM a",
		Columns: []Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "amount", SQLType: "DECIMAL(10,2)"}},
		Known:   Known{Written: "SELECT seq AS dm_seq, TIMESTAMP '2026-01-01' AS dm_written, whole AS dm_whole FROM written", Waiting: "SELECT seq AS dm_seq FROM waiting", Passing: "SELECT seq AS dm_seq FROM passing"}}
	mustExec(t, s, "CREATE TABLE source.a AS FROM (VALUES ('a', 'one', '1'), ('b', 'two', '2'), ('c', NULL, '3'), ('d', 'four', '4'), ('e', 'five', '5')) t(id, name, amount)")
	mustExec(t, s, "CREATE TABLE main.written AS SELECT * FROM (VALUES (0::UINTEGER, false), (1, false), (2, false), (3, true)) t(seq, whole); CREATE TABLE main.waiting (seq UINTEGER); CREATE TABLE main.passing (seq UINTEGER)")
	stageTables(t, s, table)

	// a and b have changed; c in nothing the target could tell; of d not all values are sure to
	// be there; e was never written, so that it is sent whole anyway.
	mustExec(t, s, "UPDATE source.a SET name = name || '!' WHERE id IN ('a', 'd', 'e'); UPDATE source.a SET amount = '20', name = 'zwei' WHERE id = 'b'; UPDATE source.a SET name = '' WHERE id = 'c'")
	stageTables(t, s, table)
	const all = "SELECT dm_seq, dm_changed, name, amount FROM account_before ORDER BY 1"
	expect(t, s, all, "0|name|one|1.00", "1|name,amount|two|2.00", "2||-|3.00", "3|-|four|4.00")

	// Of all that were written a later pass is left: where they do not change again, it knows what it knew.
	mustExec(t, s, "UPDATE main.written SET whole = true WHERE seq < 2; INSERT INTO main.passing SELECT seq FROM main.written; UPDATE source.a SET amount = '22' WHERE id = 'b'")
	stageTables(t, s, table)
	expect(t, s, all, "0|name|one|1.00", "1|-|zwei|20.00", "2||-|3.00", "3|-|four|4.00")
	mustExec(t, s, "DELETE FROM main.passing")

	// b was sent. a waits still, and is put back in one column and changed in the other; of d
	// an answer was lost.
	mustExec(t, s, "DELETE FROM main.written; INSERT INTO main.written VALUES (1, false); INSERT INTO main.waiting VALUES (0); UPDATE source.a SET name = 'one', amount = '11' WHERE id = 'a'; UPDATE source.a SET amount = '21' WHERE id = 'b'")
	stageTables(t, s, table)
	expect(t, s, all, "0|amount|one|1.00", "1|amount|zwei|22.00", "2|-|-|-", "3|-|-|-")

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

package transform

import "testing"

// Texts become values by their map, whatever their case and the blanks around them. One
// without a value holds its row, or is mended, and is counted.
func TestTexts(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', ' Retail', 1), ('2', 'RETAIL '||chr(160), 2), ('3', 'Farm', 7), ('4', '', NULL), ('5', NULL, 7), ('6', 'farm', 7), ('7', 'n/a', 1)) t(id, branch, size)")
	texts := &Texts{File: "maps/account.branch.csv", Values: map[string]string{"retail": "15", "Retail": "15", "N/A": ""}}
	table := Table{Name: "account", SQL: "SELECT id AS legacy_key, branch, size FROM a",
		Columns: []Column{{Name: "branch", SQLType: "INTEGER", Texts: texts}, {Name: "size", SQLType: "INTEGER", Texts: &Texts{File: "s.csv", Values: map[string]string{"1": "100", "2": "200"}, Missing: "NULL"}}}}
	stageTables(t, s, table)
	want := []string{"1|15|100|-|-", "2|15|200|-|-", "3|-|-|DVM-MAP branch: 'Farm' has no value in maps/account.branch.csv|DVM-MAP size: '7' has no value in s.csv: left empty",
		"4|-|-|-|-", "5|-|-|-|DVM-MAP size: '7' has no value in s.csv: left empty", "6|-|-|DVM-MAP branch: 'farm' has no value in maps/account.branch.csv|DVM-MAP size: '7' has no value in s.csv: left empty", "7|-|100|-|-"}
	expect(t, s, "SELECT legacy_key, branch, size, dm_hold, dm_repairs FROM account ORDER BY legacy_key", want...)
	expect(t, s, `SELECT "table", "column", "text", "rows" FROM dm.unmapped ORDER BY ALL`, "account|branch|Farm|1", "account|branch|farm|1", "account|size|7|3")

	// What is staged again follows the map: the row has changed, and nothing is without a value.
	texts.Values["farm"], texts.Missing = "16", "99"
	stageTables(t, s, table)
	expect(t, s, "SELECT legacy_key, branch, dm_change, dm_hold FROM account WHERE branch = 16 ORDER BY 1", "3|16|U|-", "6|16|U|-")
	expect(t, s, `SELECT "column" FROM dm.unmapped`, "size")

	// A map of nothing yet, with a lookup beside it.
	table.Name, table.SQL = "other", "SELECT id AS legacy_key, branch, NULL AS parent FROM a"
	table.Columns = []Column{{Name: "branch", SQLType: "INTEGER", Texts: &Texts{File: "b.csv"}}}
	table.Lookups = []Lookup{{Column: "parent", Targets: []Target{{Table: "other", Staged: true}}}}
	stageTables(t, s, table)
	expect(t, s, "SELECT count(*), count(dm_hold) FROM other", "7|5")
	expect(t, s, `SELECT sum("rows") FROM dm.unmapped WHERE "table" = 'other'`, "5")
}

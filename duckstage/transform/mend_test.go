package transform

import "testing"

// A value is mended before the row is judged, and what was mended is noted; a fault that
// no repair covers holds the row as ever.
func TestRepairs(t *testing.T) {
	for _, way := range []struct{ name, sql string }{
		{"read where it is", "SELECT id AS legacy_key, name, size FROM a"},
		{"written", "SELECT id AS legacy_key, name, size FROM (SELECT * FROM a ORDER BY id)"},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := newStage(t)
			mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', 'abcdef', '7'), ('2', 'abc', '900'), ('3', NULL, '10.6'), ('4', 'abcdefg', '1e9')) t(id, name, size)")
			table := Table{Name: "account", SQL: way.sql, Columns: []Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "size", SQLType: "INTEGER"}},
				Repairs: []Repair{
					{Column: "name", Bad: "length(name) > 4", Value: "left(name, 4)", Note: "'trimmed from ' || length(name)"},
					{Column: "size", Bad: "size > 100", Value: "100", Note: "size || ' is too much'"},
					{Column: "name", Bad: "name IS NULL", Value: "'none'", Note: "'was empty'"},
				},
				Checks: []Check{{ID: "DVM-LEN", Column: "name", Bad: "length(name) > 4", Message: "'too long'"}, {ID: "DVM-RANGE", Column: "size", Bad: "size > 100", Message: "'too much'"}}}
			res := stageTables(t, s, table)
			expect(t, s, "SELECT legacy_key, name, size, dm_hold, dm_repairs FROM account",
				"1|abcd|7|-|name: trimmed from 6", "2|abc|100|-|size: 900 is too much", "3|none|11|DVM-TYPE size: '10.6' is not an INTEGER|name: was empty",
				"4|abcd|100|-|size: 1000000000 is too much; name: trimmed from 7")
			if res[0].Repaired != 4 || res[0].Held != 1 {
				t.Errorf("%+v", res[0])
			}
		})
	}
}

func TestRepairOfTypes(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', '7', 'x'), ('2', 'seven', 'y'), ('3', '10.6', NULL)) t(id, size, day)")
	stageTables(t, s, Table{Name: "account", SQL: "SELECT id AS legacy_key, size, day FROM a",
		Columns: []Column{{Name: "size", SQLType: "INTEGER", Default: "0"}, {Name: "day", SQLType: "DATE", Default: "NULL"}}})
	expect(t, s, "SELECT legacy_key, size, day, dm_hold, dm_repairs FROM account",
		"1|7|-|-|DVM-TYPE day: 'x' is not a DATE: left empty",
		"2|0|-|-|DVM-TYPE size: 'seven' is not an INTEGER: set to 0; DVM-TYPE day: 'y' is not a DATE: left empty",
		"3|0|-|-|DVM-TYPE size: '10.6' is not an INTEGER: set to 0")
}

func TestRepairOfLookups(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', '2'), ('2', NULL), ('3', '99')) t(id, parent)")
	account := func(l Lookup) Table {
		l.Column, l.Targets = "parent", []Target{{Table: "account", Staged: true}}
		return Table{Name: "account", SQL: "SELECT id AS legacy_key, parent FROM a", Lookups: []Lookup{l}}
	}
	seq := "(SELECT dm_seq FROM account p WHERE p.dm_id = a.parent)"
	query := "SELECT legacy_key, " + seq + ", dm_hold, dm_repairs FROM account a"
	stageTables(t, s, account(Lookup{NoTarget: &Stand{}}))
	expect(t, s, query, "1|1|-|-", "2|-|-|-", "3|-|-|DVM-ORPHAN parent: no account with legacy key '99': left empty")
	stageTables(t, s, account(Lookup{NoTarget: &Stand{Table: "account", Key: "1"}, Empty: &Stand{Table: "account", Key: "3"}}))
	expect(t, s, query, "1|1|-|-", "2|2|-|parent: was empty: set to account '3'", "3|0|-|DVM-ORPHAN parent: no account with legacy key '99': set to account '1'")
	// A stand-in that is not there mends nothing, and is named.
	stageTables(t, s, account(Lookup{NoTarget: &Stand{Table: "account", Key: "nobody"}}))
	expect(t, s, query, "1|1|-|-", "2|-|-|-", "3|-|DVM-ORPHAN parent: no account with legacy key '99'; nor is there account 'nobody', which its repair names|-")

	mustExec(t, s, "CREATE TABLE source.b AS SELECT * FROM (VALUES ('1', 'no guid'), ('2', NULL), ('3', 'aaaaaaaa-0000-4000-8000-000000000003')) t(id, owner)")
	const fallback = "bbbbbbbb-0000-4000-8000-000000000001"
	stageTables(t, s, Table{Name: "contact", SQL: "SELECT id AS legacy_key, existing('systemuser', owner) AS ownerid FROM b",
		Lookups: []Lookup{{Column: "ownerid", Targets: []Target{{Table: "systemuser"}, {Table: "team"}},
			NoTarget: &Stand{Table: "team", ID: fallback}, Empty: &Stand{Table: "systemuser", ID: fallback}}}})
	expect(t, s, "SELECT legacy_key, ownerid, ownerid__table, dm_hold, dm_repairs FROM contact",
		"1|"+fallback+"|team|-|DVM-LOOKUP ownerid: 'no guid' is not a GUID: set to team "+fallback,
		"2|"+fallback+"|systemuser|-|ownerid: was empty: set to systemuser "+fallback,
		"3|aaaaaaaa-0000-4000-8000-000000000003|systemuser|-|-")
}

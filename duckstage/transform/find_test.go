package transform

import (
	"strings"
	"testing"
)

// people fills the relations that a pull makes.
const people = `CREATE TABLE source.target_systemuser AS SELECT * FROM (VALUES
		('00000000-0000-0000-0000-000000000001', 'ANN@acme.com', 'ann@acme.com', 'Ann Ek', false), ('00000000-0000-0000-0000-000000000002', 'bob@acme.com', 'bob@acme.com', 'Bob Ek', true),
		('00000000-0000-0000-0000-000000000003', 'ek1@acme.com', NULL, 'Jo Ek', false), ('00000000-0000-0000-0000-000000000004', 'ek2@acme.com', NULL, 'jo ek ', false),
		('00000000-0000-0000-0000-000000000005', 'ek3@acme.com', NULL, 'Al Ek', true), ('00000000-0000-0000-0000-000000000006', 'ek4@acme.com', NULL, 'Al Ek', false)) t(systemuserid, domainname, internalemailaddress, fullname, isdisabled);
	CREATE TABLE source.target_team AS SELECT * FROM (VALUES ('00000000-0000-0000-0000-00000000000a', 'Sales', 0), ('00000000-0000-0000-0000-00000000000b', 'Readers', 1)) t(teamid, name, teamtype);
	CREATE TABLE source.target_uom AS SELECT * FROM (VALUES ('00000000-0000-0000-0000-0000000000c1', 'Each', 's1'), ('00000000-0000-0000-0000-0000000000c2', 'Each', 's2')) t(uomid, name, uomscheduleid)`

var (
	owner = Lookup{Column: "ownerid", Owner: true, Targets: []Target{{Table: "systemuser", ID: "systemuserid"}, {Table: "team", ID: "teamid"}}}
	unit  = Lookup{Column: "unit", Targets: []Target{{Table: "uom", ID: "uomid"}}}
)

// Owners are found by what names them; who is not there, or is several, or disabled, is said
// by row, unless the people's sheet knows better.
func TestOwner(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, people)
	table := Table{Name: "account", Lookups: []Lookup{owner}, SQL: `SELECT o AS legacy_key, owner(nullif(o, 'none')) AS ownerid
		FROM unnest(['ann@ACME.com ', 'Ann Ek', 'bob@acme.com', 'Jo Ek', 'Al Ek', 'sales', 'Readers', 'Zoe', 'none', 'BOB', 'left', 'lost', '00000000-0000-0000-0000-000000000003']) u(o)`,
		Owners: &Owners{File: "maps/owners.csv", Of: map[string]string{"bob": "Sales", "left": "", "lost": "nobody@acme.com", "JO EK": "ek2@acme.com"}}}
	stageTables(t, s, table)
	const query = "SELECT legacy_key, right(ownerid::VARCHAR, 2), ownerid__table, dm_hold FROM account ORDER BY dm_seq"
	expect(t, s, query,
		"ann@ACME.com |01|systemuser|-", "Ann Ek|01|systemuser|-",
		"bob@acme.com|02|systemuser|DVM-LOOKUP ownerid: 'bob@acme.com' is a disabled user, and none can be given records: bob@acme.com 00000000-0000-0000-0000-000000000002; say in maps/owners.csv who gets them",
		"Jo Ek|04|systemuser|-", "Al Ek|06|systemuser|-", "sales|0a|team|-",
		"Readers|-|-|DVM-LOOKUP ownerid: no user or team of the target is 'Readers': say in maps/owners.csv who it is (dvmigrate users plan)",
		"Zoe|-|-|DVM-LOOKUP ownerid: no user or team of the target is 'Zoe': say in maps/owners.csv who it is (dvmigrate users plan)",
		"none|-|-|-", "BOB|0a|team|-", "left|-|-|-",
		"lost|-|-|DVM-LOOKUP ownerid: 'lost' is 'nobody@acme.com' in maps/owners.csv, and that is no user or team of the target",
		"00000000-0000-0000-0000-000000000003|03|systemuser|-")

	table.Owners = nil
	table.Lookups = []Lookup{{Column: "ownerid", Owner: true, Targets: owner.Targets, NoTarget: &Stand{Table: "team", ID: "00000000-0000-0000-0000-00000000000a"}}}
	stageTables(t, s, table)
	expect(t, s, "SELECT count(*) FILTER (ownerid__table = 'team'), count(dm_hold), count(dm_repairs) FROM account", "8|0|7")
	expect(t, s, "SELECT dm_repairs FROM account WHERE legacy_key = 'Jo Ek'",
		"DVM-LOOKUP ownerid: 2 users or teams are 'Jo Ek': ek1@acme.com 00000000-0000-0000-0000-000000000003, ek2@acme.com 00000000-0000-0000-0000-000000000004; say which in maps/owners.csv: set to team 00000000-0000-0000-0000-00000000000a")
}

// Rows are found by any column, or several, of what is staged and of what was pulled; several
// rows with the value are named.
func TestFindByColumn(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, people)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', 'One', 'x'), ('2', 'Two', 'y'), ('3', 'two ', 'z')) t(id, name, code)")
	account := Table{Name: "account", SQL: "SELECT id AS legacy_key, name, code FROM a", Columns: []Column{{Name: "name", SQLType: "VARCHAR"}, {Name: "code", SQLType: "VARCHAR"}}}
	order := Table{Name: "salesorder", SQL: `SELECT k AS legacy_key, CASE WHEN k < '4' THEN ref('account', 'name', v) ELSE ref('account', v) END AS customer, existing('uom', 'name, uomscheduleid', ['EACH', u]) AS unit
		FROM (VALUES ('1', 'ONE', 's1'), ('2', 'two', 's2'), ('3', 'Six', 's3'), ('4', '3', NULL), ('5', NULL, 's1')) t(k, v, u)`,
		Lookups: []Lookup{{Column: "customer", Targets: []Target{{Table: "account", Staged: true}, {Table: "contact"}}}, unit}}
	stageTables(t, s, account, order)
	expect(t, s, "SELECT o.legacy_key, a.legacy_key, customer__table, right(unit::VARCHAR, 2), o.dm_hold FROM salesorder o LEFT JOIN account a ON a.dm_id = customer ORDER BY 1",
		"1|1|account|c1|-", "2|-|-|c2|DVM-LOOKUP customer: 2 account have name 'two': 2, 3",
		"3|-|-|-|DVM-ORPHAN customer: no account with name 'Six' among the staged rows", "4|3|account|-|DVM-LOOKUP unit: no uom with name, uomscheduleid '[EACH, NULL]' among the records that were pulled from the target (dvmigrate target pull reads them anew)",
		"5|-|-|c1|-")
	stageTables(t, s, order) // the accounts as they were staged before
	expect(t, s, "SELECT count(customer), count(dm_hold) FROM salesorder", "2|3")
	self := account
	self.SQL, self.Lookups = "SELECT id AS legacy_key, name, code, ref('account', 'code', 'x') AS parent FROM a", []Lookup{{Column: "parent", Targets: []Target{{Table: "account", Staged: true}}}}
	stageTables(t, s, self)
	expect(t, s, "SELECT count(*) FROM account a JOIN account p ON p.dm_id = a.parent WHERE p.legacy_key = '1'", "3")
	for name, c := range map[string]struct{ sql, want string }{
		"a column that the staged table has not":    {"SELECT 1 AS legacy_key, ref('account', 'nam', 'x') AS customer, NULL AS unit", "the transform of account has no column nam: there are name, code"},
		"a column that was not pulled":              {"SELECT 1 AS legacy_key, ref('account', NULL) AS customer, existing('uom', 'nam', 'x') AS unit", "what was pulled of uom has no column nam: there are uomid, name, uomscheduleid"},
		"a table that was not pulled":               {"SELECT 1 AS legacy_key, existing('contact', 'fullname', 'x') AS customer, NULL AS unit", "no records of contact were pulled from the target: run `dvmigrate target pull`"},
		"a table to which the lookup cannot point":  {"SELECT 1 AS legacy_key, ref('uom', 'name', 'x') AS customer, NULL AS unit", "lookup customer cannot point to table uom"},
		"rows of a table that is not migrated here": {"SELECT 1 AS legacy_key, ref('contact', 'name', 'x') AS customer, NULL AS unit", "named with existing('contact', 'name', ...)"},
		"an owner where there is none":              {"SELECT 1 AS legacy_key, ref('account', NULL) AS customer, owner('x') AS unit", "owner() is for lookups to users or teams, and unit is none"},
	} {
		order.SQL = c.sql
		if _, err := Run(t.Context(), s, nil, []Table{account, order}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Parties are named in all the ways of lookups.
func TestFindInLists(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, people)
	around := func(name string) Around { return Around{"<" + name + ":", ">"} }
	list := List{Column: "to", Address: around("address"), Targets: []ListTarget{{Target{Table: "systemuser", ID: "systemuserid"}, around("user")}, {Target{Table: "account", Staged: true}, around("account")}}}
	account := Table{Name: "account", SQL: "SELECT 'A' AS legacy_key, 'Acme' AS name", Columns: []Column{{Name: "name", SQLType: "VARCHAR"}}}
	mail := Table{Name: "email", Lists: []List{list}, SQL: `SELECT '1' AS legacy_key, [owner('ann@acme.com'), ref('account', 'name', 'ACME'), party_address('x@y.z'), existing('systemuser', 'fullname', 'bob ek'), ref('account', 'A')] AS "to"
		UNION ALL SELECT '2', [owner('Jo Ek')] UNION ALL SELECT '3', [ref('account', 'name', 'Nope')]`}
	stageTables(t, s, account, mail)
	expect(t, s, `SELECT legacy_key, regexp_replace("to", '[0-9a-f]{8}-[0-9a-f-]+([0-9a-f])>', '..\1>', 'g'), dm_hold FROM email ORDER BY 1`,
		`1|<user:..1>,<account:..0>,<address:"x@y.z">,<user:..2>,<account:..0>|-`,
		"2|-|DVM-LOOKUP to: 2 users or teams are 'Jo Ek': ek1@acme.com 00000000-0000-0000-0000-000000000003, ek2@acme.com 00000000-0000-0000-0000-000000000004; say which in maps/owners.csv",
		"3|-|DVM-ORPHAN to: no account with name 'Nope' among the staged rows")
}

// TestFoundAsTheTargetCompares: records of the target are found by texts that it takes for the
// same, which of several is never picked; staged rows are told apart as they are.
func TestFoundAsTheTargetCompares(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, `CREATE TABLE source.target_uom AS SELECT * FROM (VALUES ('00000000-0000-0000-0000-0000000000c1', 'Stück', 's'), ('00000000-0000-0000-0000-0000000000c2', 'Pâté', 's'), ('00000000-0000-0000-0000-0000000000c3', 'Pate', 's')) t(uomid, name, uomscheduleid);
		CREATE TABLE source.a AS SELECT * FROM (VALUES ('1', 'Müller'), ('2', 'Muller')) t(id, name)`)
	account := Table{Name: "account", SQL: "SELECT id AS legacy_key, name FROM a", Columns: []Column{{Name: "name", SQLType: "VARCHAR"}}}
	order := Table{Name: "salesorder", SQL: `SELECT k AS legacy_key, ref('account', 'name', a) AS customer, CASE k WHEN '1' THEN existing('uom', 'name, uomscheduleid', [u, 'S']) WHEN '4' THEN existing('uom', 'name, uomscheduleid', u) ELSE existing('uom', 'name', u) END AS unit
		FROM (VALUES ('1', 'müller', 'STUCK '), ('2', 'muller', 'stuck'), ('3', 'MULLER', 'Pâté'), ('4', 'Müller', 'none')) t(k, a, u)`,
		Lookups: []Lookup{{Column: "customer", Targets: []Target{{Table: "account", Staged: true}}}, unit}}
	const query = "SELECT o.legacy_key, a.legacy_key, right(unit::VARCHAR, 2), o.dm_hold FROM salesorder o LEFT JOIN account a ON a.dm_id = customer ORDER BY 1"
	const none = "4|1|-|DVM-LOOKUP unit: no uom with name, uomscheduleid 'none' among the records that were pulled from the target (dvmigrate target pull reads them anew)"
	stageTables(t, s, account, order)
	expect(t, s, query, "1|1|-|DVM-LOOKUP unit: no uom with name, uomscheduleid '['STUCK ', S]' among the records that were pulled from the target (dvmigrate target pull reads them anew)",
		"2|2|-|DVM-LOOKUP unit: no uom with name 'stuck' among the records that were pulled from the target (dvmigrate target pull reads them anew)", "3|2|c2|-", none)
	order.Same = func(_, cut string) string { return "strip_accents(lower(" + cut + "))" }
	stageTables(t, s, account, order)
	expect(t, s, query, "1|1|c1|-", "2|2|c1|-", "3|2|c2|-", none) // an exact one goes before
	order.SQL = strings.Replace(order.SQL, "'MULLER', 'Pâté'", "'MULLER', 'Paté'", 1)
	stageTables(t, s, account, order)
	expect(t, s, query, "1|1|c1|-", "2|2|c1|-",
		"3|2|-|DVM-LOOKUP unit: 2 uom have name 'Paté': 00000000-0000-0000-0000-0000000000c2, 00000000-0000-0000-0000-0000000000c3", none)
}

// TestOwnersAsTheTargetCompares: an exact name goes before one that the target takes for the
// same, among users and in the people's sheet.
func TestOwnersAsTheTargetCompares(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, people)
	mustExec(t, s, `INSERT INTO source.target_systemuser VALUES ('00000000-0000-0000-0000-000000000007', 'm1@acme.com', NULL, 'Jo Müller', false), ('00000000-0000-0000-0000-000000000008', 'm2@acme.com', NULL, 'Jo Muller', false)`)
	table := Table{Name: "account", Lookups: []Lookup{owner}, SQL: `SELECT o AS legacy_key, owner(o) AS ownerid
		FROM unnest(['jo müller', 'Jo Muller ', 'Jo Mullér', 'ánn ek', 'left', 'Léft', 'lost', 'gone', 'göne', 'both', 'Zoe']) u(o)`,
		Owners: &Owners{File: "maps/owners.csv", Of: map[string]string{"left": "JO MÜLLER", "lost": "Änn Ek", "gone": "", "göne": "Sáles", "both": "Jo Mullér"}},
		Same:   func(_, cut string) string { return "strip_accents(lower(" + cut + "))" }}
	stageTables(t, s, table)
	const several = "m1@acme.com 00000000-0000-0000-0000-000000000007, m2@acme.com 00000000-0000-0000-0000-000000000008; say which in maps/owners.csv"
	expect(t, s, "SELECT legacy_key, right(ownerid::VARCHAR, 2), ownerid__table, dm_hold FROM account ORDER BY dm_seq",
		"jo müller|07|systemuser|-", "Jo Muller |08|systemuser|-", "Jo Mullér|-|-|DVM-LOOKUP ownerid: 2 users or teams are 'Jo Mullér': "+several,
		"ánn ek|01|systemuser|-", "left|07|systemuser|-", "Léft|07|systemuser|-", "lost|01|systemuser|-", "gone|-|-|-", "göne|0a|team|-",
		"both|-|-|DVM-LOOKUP ownerid: 2 users or teams are 'both': "+several,
		"Zoe|-|-|DVM-LOOKUP ownerid: no user or team of the target is 'Zoe': say in maps/owners.csv who it is (dvmigrate users plan)")
}

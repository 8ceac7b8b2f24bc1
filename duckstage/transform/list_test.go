package transform

import (
	"strings"
	"testing"
)

// TestLists resolves lists in their order, and says which of their items leads nowhere.
func TestLists(t *testing.T) {
	s := newStage(t)
	const guid = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
	mustExec(t, s, `CREATE TABLE source.c AS SELECT i::VARCHAR AS id FROM range(20) r(i);
		CREATE TABLE source.m AS SELECT * FROM (VALUES ('m1', ['7', '3', '11', NULL]), ('m2', []), ('m3', NULL), ('m4', ['1', '99', '98'])) t(id, people)`)
	contact := Table{Name: "contact", SQL: "SELECT id AS legacy_key FROM c"}
	mail := Table{Name: "email", SQL: `SELECT id AS legacy_key, list_concat([party_address('a"b@x.y'), party_address(' '), existing('systemuser', CASE WHEN id = 'm1' THEN '` + guid + `' END)],
			list_transform(people, p -> ref('contact', p))) AS "to", ref(CASE WHEN id = 'm3' THEN 'lead' ELSE 'contact' END, '5') AS "from" FROM m`,
		Lists: []List{{Column: "to", Targets: []ListTarget{{Target{Table: "contact", Staged: true}, Around{"c(", ")"}}, {Target{Table: "systemuser"}, Around{"u(", ")"}}}, Address: Around{"@", "!"}},
			{Column: "from", Targets: []ListTarget{{Target{Table: "contact", Staged: true}, Around{"c(", ")"}}}}},
		Checks: []Check{{Column: "to", Bad: "legacy_key = 'm2' AND \"to\" IS NULL", Message: "'none'"}}}
	stageTables(t, s, contact, mail)
	keys := map[string]string{}
	for _, line := range rows(t, s, "SELECT legacy_key, dm_id FROM contact") {
		key, id, _ := strings.Cut(line, "|")
		keys[key] = "c(" + id + ")"
	}
	expect(t, s, `SELECT legacy_key, "to", "from", dm_hold FROM email WHERE legacy_key <> 'm4'`,
		`m1|@"a\"b@x.y"!,u(`+guid+`),`+keys["7"]+","+keys["3"]+","+keys["11"]+"|"+keys["5"]+"|-",
		`m2|@"a\"b@x.y"!|`+keys["5"]+"|-",
		`m3|@"a\"b@x.y"!|-|DVM-LOOKUP from: it cannot point to table 'lead', only to contact`)
	expect(t, s, "SELECT dm_hold FROM email WHERE legacy_key = 'm4'", "DVM-ORPHAN to: no contact with legacy key '99'")
	expect(t, s, "SELECT column_type FROM (DESCRIBE email) WHERE column_name IN ('to', 'from')", "VARCHAR", "VARCHAR")

	mustExec(t, s, "UPDATE source.m SET people = ['3', '7'] WHERE id = 'm1'; DELETE FROM source.m WHERE id = 'm2'")
	stageTables(t, s, contact, mail)
	expect(t, s, "SELECT legacy_key, dm_seq, dm_change FROM email", "m1|0|U", "m3|2|N", "m4|3|N")

	mail.SQL = `SELECT id AS legacy_key, people AS "to", NULL AS "from" FROM m`
	if _, err := Run(t.Context(), s, nil, []Table{contact, mail}, nil); err == nil || !strings.Contains(err.Error(), "give a list such as") {
		t.Errorf("a list of texts: %v", err)
	}
}

// TestBytesAsBase64 gives a BLOB as Base64 where that is asked for.
func TestBytesAsBase64(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, `CREATE TABLE source.b AS SELECT * FROM (VALUES ('1', '\xFF\x00a'::BLOB), ('2', NULL)) t(id, photo)`)
	stageTables(t, s, Table{Name: "account", SQL: "SELECT id AS legacy_key, photo, 'cGxhaW4=' AS text FROM b",
		Columns: []Column{{Name: "photo", SQLType: "VARCHAR", Base64: true}, {Name: "text", SQLType: "VARCHAR", Base64: true}}})
	expect(t, s, "SELECT legacy_key, photo, text, dm_hold FROM account", "1|/wBh|cGxhaW4=|-", "2|-|cGxhaW4=|-")
}

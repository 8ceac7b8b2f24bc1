package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/preflight"
	"dvmigrate/appliance/sample"
)

// TestRippleOfDeferredLookups: what points to a held row by a lookup that a later pass sets is
// made, and yet held in that pass; check says so, with the root. What points to those does not
// wait, as their records are there.
func TestRippleOfDeferredLookups(t *testing.T) {
	p := stagedOffline(t, map[string]string{
		"migration.yaml": "version: 1\nname: x\ntarget: {auth: none}\nsources: {a: a.csv, c: c.csv}\n",
		"a.csv":          "id,parent,contact\n1,,c1\n2,1,c2\n3,,\n4,3,\n",
		"c.csv":          "id,up\nc1,c3\nc2,c1\nc3,c3\n",
		// The third account is held. The accounts come first: what points from one to another is set later.
		"transform/account.sql": "SELECT id AS legacy_key, 'x' AS name, parent AS parentaccountid, CASE id WHEN '3' THEN repeat('x', 300) END AS description, CASE id WHEN '3' THEN repeat('9', 30) END AS accountnumber, ref('contact', contact) AS primarycontactid FROM a",
		"transform/contact.sql": "SELECT id AS legacy_key, id AS lastname, CASE id WHEN 'c2' THEN ref('account', '3') ELSE ref('contact', up) END AS parentcustomerid FROM c"})
	d, err := p.CheckData(t.Context(), []string{preflight.Ripple}, func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	type found struct {
		Table, Column, Example string
		Keys                   []string
	}
	var got []found
	for _, f := range d.Findings {
		got = append(got, found{f.Table, f.Column, f.Example, f.Keys})
	}
	root := "the record is made without it, behind account '3': DVM-LEN accountnumber: longer than 20 characters: 30"
	if diff := cmp.Diff([]found{
		{"account", "parentaccountid", root, []string{"4"}},
		{"contact", "parentcustomerid", root, []string{"c2"}},
	}, got); diff != "" {
		t.Error(diff)
	}
	behind := map[string]int64{}
	for _, row := range d.Tables {
		behind[row.Name] = row.Behind
	}
	if diff := cmp.Diff(map[string]int64{"account": 1, "contact": 1}, behind); diff != "" {
		t.Error(diff)
	}
}

// TestKeysThatEnvironmentsTakeForTheSame: case, blanks at the end and accents; the last may be
// left out where the environment's language tells them apart.
func TestKeysThatEnvironmentsTakeForTheSame(t *testing.T) {
	for settings, want := range map[string][]string{
		"": {
			"DVM-KEY 4 values of the key contoso_accountnumber that are there more than once: 2, such as 'a-1' [1 2]",
			"DVM-KEYACC 3 values of the key contoso_accountnumber that differ by accents only: 1, such as 'muller', 'müller' [3 4 5]",
		},
		"checks: {skip: [DVM-KEYACC]}\n": {"DVM-KEY 4 values of the key contoso_accountnumber that are there more than once: 2, such as 'a-1' [1 2]"},
		"checks: {skip: [DVM-KEY]}\n":    {"DVM-KEYACC 3 values of the key contoso_accountnumber that differ by accents only: 1, such as 'muller', 'müller' [3 4 5]"},
	} {
		p := stagedOffline(t, map[string]string{
			"migration.yaml":        "version: 1\nname: x\ntarget: {auth: none}\nsources: {a: a.csv}\n" + settings,
			"a.csv":                 "id,no\n1,A-1\n2,a-1 \n3,Müller\n4,Muller\n5,MÜLLER-\n6,\n7,\n8,B\n9,B\u00a0\n",
			"transform/account.sql": "SELECT id AS legacy_key, 'x' AS name, rtrim(no, '-') AS accountnumber FROM a"})
		d, err := p.CheckData(t.Context(), []string{preflight.Unique, preflight.Accents}, func(string, float64) {})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range d.Findings {
			got = append(got, fmt.Sprint(f.Check, " ", f.Rows, " ", f.Example, " ", f.Keys))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s%s", settings, diff)
		}
	}
}

// TestTheCheckForetellsRefusals: a status reason of another state than the new record's,
// where no state is given; characters that XML does not know, the last of them behind the
// control characters; and texts that are numbers only to DuckDB.
func TestTheCheckForetellsRefusals(t *testing.T) {
	for transform, want := range map[string][]string{
		"SELECT id AS legacy_key, 'x' AS name, nullif(state, '') AS statecode, status AS statuscode FROM a": {"DVM-STATE statuscode 2 is no status reason of state 0, which a record has without statecode [2 4]"},
		"SELECT id AS legacy_key, 'x' || chr(65534 + id::INTEGER) || 'y' AS name FROM a":                    {"DVM-CHAR name control character at position 2 [1]"},
		"SELECT id AS legacy_key, 'x' AS name, ['5', '1e-10', '0x10', '-3'][id::INTEGER] AS numberofemployees FROM a": {
			"DVM-RANGE numberofemployees -3 is below the minimum 0 [4]", "DVM-TYPE numberofemployees '1e-10' is not an INTEGER [2 3]"},
	} {
		p := stagedOffline(t, map[string]string{
			"migration.yaml":        "version: 1\nname: x\ntarget: {auth: none}\nsources: {a: a.csv}\n",
			"a.csv":                 "id,state,status\n1,,1\n2,,2\n3,1,2\n4,1,1\n",
			"transform/account.sql": transform})
		d, err := p.CheckData(t.Context(), []string{preflight.StatePair, preflight.Characters, "DVM-TYPE", "DVM-RANGE"}, func(string, float64) {})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range d.Findings {
			got = append(got, fmt.Sprint(f.Check, " ", f.Column, " ", f.Example, " ", f.Keys))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s%s", transform, diff)
		}
	}
}

// TestRowsBehindHeldRowsNameTheRoot: rows that point to held ones are counted once, by whatever
// lookup and over however many tables, and the row at the root is named; also where a held row
// has no record id.
func TestRowsBehindHeldRowsNameTheRoot(t *testing.T) {
	dir := t.TempDir()
	if _, err := sample.Write(dir, sample.Options{Records: 50, Seed: 1, Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "transform")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "transform"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"migration.yaml": "version: 1\nname: roots\ntables: {account: {ids: keep}}\n",
		"transform/account.sql": `SELECT k AS legacy_key, '11111111-0000-4000-8000-' || i AS accountid, n AS name, p AS parentaccountid
			FROM (VALUES ('A1', '000000000001', 'fine', 'A2'), ('A2', '000000000002', repeat('x', 200), NULL), ('A3', '000000000003', 'fine', NULL), ('A4', NULL, 'fine', NULL)) v(k, i, n, p)`,
		"transform/opportunity.sql": `SELECT k AS legacy_key, k AS name, ref('account', c) AS customerid, p AS parentaccountid
			FROM (VALUES ('D1', 'A1', 'A1'), ('D2', 'A1', 'A2'), ('D3', 'A9', 'A1'), ('D4', 'A2', 'A2'), ('D5', 'A2', NULL)) v(k, c, p)`,
		"transform/task.sql": `SELECT k AS legacy_key, k AS subject, ref(t, r) AS regardingobjectid
			FROM (VALUES ('T1', 'opportunity', 'D1'), ('T2', 'opportunity', 'D2'), ('T3', 'opportunity', 'D3'), ('T4', 'account', 'A2'), ('T5', 'account', 'A3')) v(k, t, r)`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := reopen(t, dir, Staging, "")
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	found, err := p.CheckData(t.Context(), []string{preflight.Ripple, preflight.Orphan}, func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	root := "account 'A2': DVM-LEN name: longer than 160 characters: 200"
	want := []DataFinding{
		{Check: preflight.Orphan, Table: "opportunity", Column: "customerid", Rows: 1, Example: "no account with legacy key 'A9'", Keys: []string{"D3"}},
		{Check: preflight.Ripple, Table: "opportunity", Column: "customerid", Rows: 2, Example: "behind " + root, Keys: []string{"D4", "D5"}},
		{Check: preflight.Ripple, Table: "opportunity", Column: "parentaccountid", Rows: 1, Example: "behind " + root, Keys: []string{"D2"}},
		{Check: preflight.Ripple, Table: "task", Column: "regardingobjectid", Rows: 3, Example: "behind " + root, Keys: []string{"T2", "T3", "T4"}},
		{Check: preflight.Ripple, Table: "account", Column: "parentaccountid", Rows: 1, Example: "the record is made without it, behind " + root, Keys: []string{"A1"}},
	}
	for i := range found.Findings {
		found.Findings[i].Severity, found.Findings[i].What, found.Findings[i].Todo = "", "", ""
	}
	if d := cmp.Diff(want, found.Findings); d != "" {
		t.Errorf("findings: %s", d)
	}
	for i := range found.Tables {
		found.Tables[i].Seconds = 0
	}
	if d := cmp.Diff([]DataTable{{Name: "account", Rows: 4, Held: 2, Behind: 1}, {Name: "opportunity", Rows: 5, Held: 1, Behind: 3}, {Name: "task", Rows: 5, Behind: 3}}, found.Tables); d != "" {
		t.Errorf("tables: %s", d)
	}
}

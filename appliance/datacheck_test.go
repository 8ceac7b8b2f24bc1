package appliance

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/preflight"
)

// TestRippleOfDeferredLookups: what points to a held row by a lookup that a later pass sets is
// made, and yet held in that pass; check says so, with the root. What points to those does not
// wait, as their records are there.
func TestRippleOfDeferredLookups(t *testing.T) {
	dir := otherProject(t, "http://127.0.0.1:1", nil, map[string]string{
		"migration.yaml": "version: 1\nname: x\ntarget: {auth: none}\nsources: {a: a.csv, c: c.csv}\n",
		"a.csv":          "id,parent,contact\n1,,c1\n2,1,c2\n3,,\n4,3,\n",
		"c.csv":          "id,up\nc1,c3\nc2,c1\nc3,c3\n",
		// The third account is held. The accounts come first: what points from one to another is set later.
		"transform/account.sql": "SELECT id AS legacy_key, 'x' AS name, parent AS parentaccountid, CASE id WHEN '3' THEN repeat('x', 300) END AS description, CASE id WHEN '3' THEN repeat('9', 30) END AS accountnumber, ref('contact', contact) AS primarycontactid FROM a",
		"transform/contact.sql": "SELECT id AS legacy_key, id AS lastname, CASE id WHEN 'c2' THEN ref('account', '3') ELSE ref('contact', up) END AS parentcustomerid FROM c"})
	p, err := Open(t.Context(), dir, Staging, Options{Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
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
		dir := otherProject(t, "http://127.0.0.1:1", nil, map[string]string{
			"migration.yaml":        "version: 1\nname: x\ntarget: {auth: none}\nsources: {a: a.csv}\n" + settings,
			"a.csv":                 "id,no\n1,A-1\n2,a-1 \n3,Müller\n4,Muller\n5,MÜLLER-\n6,\n7,\n",
			"transform/account.sql": "SELECT id AS legacy_key, 'x' AS name, rtrim(no, '-') AS accountnumber FROM a"})
		p, err := Open(t.Context(), dir, Staging, Options{Env: func(string) (string, bool) { return "", false }})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
			t.Fatal(err)
		}
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

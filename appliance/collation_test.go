package appliance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/preflight"
	"dvmigrate/appliance/sample"
)

// TestAccentsOfTheTarget: records that the target has before the load, those that rows point to,
// rows that would be one record and keys that the target takes for one are told as the target
// itself compares texts, whose language is asked for once.
func TestAccentsOfTheTarget(t *testing.T) {
	for language, want := range map[int][]string{
		1033: {
			"DVM-KEYACC accountnumber 'muller', 'müller' [1 2]", "DVM-KEYACC name 'muller', 'müller' [1 2]",
			"1 processed", "2 held name: matches the same record as the row with legacy key '1'", "3 failed the target has 2 records with name eq 'Pérez', so that none is certain to be this one",
			"4 processed", "5 processed", "6 processed",
			"MULLER Müller street 1", "PEREZ PEREZ -", "Pérez Pérez -", "STRASSE Straße street 6", "new Sörensen street 4", "new owner street 5",
		},
		1053: {
			"1 processed", "2 processed", "3 processed", "4 processed", "5 held DVM-LOOKUP ownerid: no user or team of the target is 'Emulätor'", "6 processed",
			"MULLER Muller street 2", "PEREZ PEREZ -", "Pérez Pérez street 3", "STRASSE Straße street 6", "new Müller street 1", "new Sörensen street 4",
		},
	} {
		t.Run(fmt.Sprint(language), func(t *testing.T) {
			s, err := schema.Read(strings.NewReader(string(sample.Schema())))
			if err != nil {
				t.Fatal(err)
			}
			e, err := emulator.New(emulator.Options{Schema: s, Seed: seed(t, s), Language: language})
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/organizations") {
					asked++
				}
				e.ServeHTTP(w, r)
			}))
			defer func() { server.Close(); e.Close() }()
			dir := otherProject(t, server.URL, nil, map[string]string{
				"migration.yaml": "version: 1\nname: accents\ntarget: {url: " + server.URL + ", auth: none}\nsources: {a: {path: a.csv, types: text}}\n" +
					"tables: {account: {match: name, on_match: update}}\n",
				"transform/account.sql": "SELECT key AS legacy_key, name, no AS accountnumber, 'street ' || key AS address1_line1, owner(team) AS ownerid FROM a",
				"a.csv":                 "key,name,no,team\n1,Müller,Müller,emulator\n2,Muller,Muller,emulator\n3,Pérez,3,emulator\n4,Sörensen,4,emulator\n5,owner,5,Emulätor\n6,Straße,6,emulator\n"})
			before := map[string]string{} // by id, what the records were called
			for i, name := range []string{"MULLER", "PEREZ", "Pérez", "STRASSE"} {
				id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
				sendRaw(t, http.MethodPost, server.URL+"/api/data/v9.2/accounts", `{"accountid":"`+id+`","name":"`+name+`"}`)
				before[id] = name
			}
			p := reopen(t, dir, Staging, server.URL)
			defer func() { p.Close() }()
			if _, err := p.Pull(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			var got []string
			d, err := p.CheckData(t.Context(), []string{preflight.Unique, preflight.Accents}, func(string, float64) {})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range d.Findings {
				_, texts, _ := strings.Cut(f.Example, "such as ")
				got = append(got, fmt.Sprint(f.Check, " ", f.Column, " ", texts, " ", f.Keys))
			}
			if _, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1}); err != nil {
				t.Fatal(err)
			}
			state := map[string]string{"P": "processed", "E": "failed", "H": "held"}
			err = p.SQL(t.Context(), "SELECT legacy_key, flag, '' FROM account_success UNION ALL SELECT legacy_key, flag, message FROM account_error ORDER BY 1", func(_ []string, values []any) error {
				if values != nil {
					reason, _, _ := strings.Cut(fmt.Sprint(values[2]), ": say in")
					got = append(got, strings.TrimSpace(fmt.Sprint(values[0], " ", state[fmt.Sprint(values[1])], " ", reason)))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var records []string
			for _, r := range plainRows(t, server.URL, "accounts") {
				was, street := before[r["accountid"].(string)], r["address1_line1"]
				if was == "" {
					was = "new"
				}
				if street == nil {
					street = "-"
				}
				records = append(records, fmt.Sprint(was, " ", r["name"], " ", street))
			}
			slices.Sort(records)
			if diff := cmp.Diff(want, append(got, records...)); diff != "" {
				t.Error(diff)
			}
			if asked != 1 {
				t.Errorf("the language was asked for %d times", asked)
			}
		})
	}
}

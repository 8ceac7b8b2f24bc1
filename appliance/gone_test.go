package appliance

import (
	"encoding/csv"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
	"dvmigrate/duckstage/transform"
)

// goneProject is a project of accounts with contacts and notes of who knows whom, whose
// source files a test writes.
func goneProject(t *testing.T, url, tables string) string {
	t.Helper()
	dir := sampleProject(t, url, func(dir string) {
		for _, old := range []string{"contoso_equipment", "contoso_equipment_contact", "task", "opportunity", "product"} {
			if err := os.Remove(filepath.Join(dir, "transform", old+".sql")); err != nil {
				t.Fatal(err)
			}
		}
		for name, content := range map[string]string{
			"transform/account.sql":      "SELECT key AS legacy_key, key AS accountnumber, name, state::INTEGER AS statecode, 1 + state::INTEGER AS statuscode FROM accounts",
			"transform/contact.sql":      "SELECT key AS legacy_key, key AS lastname, parent AS parentcustomerid FROM (SELECT key, ref('account', parent) AS parent FROM contacts)",
			"transform/lead.sql":         "SELECT key AS legacy_key, key AS lastname, key AS subject FROM leads",
			"transform/contactleads.sql": "SELECT c || '/' || l AS legacy_key, c AS contactid, l AS leadid FROM links",
			"migration.yaml": "version: 1\nname: gone\ntarget: {url: " + url + ", auth: none}\nsources:\n" +
				"  accounts: {path: a.csv, types: text}\n  contacts: {path: c.csv, types: text}\n  leads: {path: l.csv, types: text}\n  links: {path: n.csv, types: text}\ntables:\n  " + tables + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		supply(t, dir, 8)
	}).Config.Dir
	return dir
}

// supply writes the source files with all rows but those that are left out, named as
// a1, c1, l1, n1.
func supply(t *testing.T, dir string, n int, without ...string) {
	t.Helper()
	out := map[string]bool{}
	for _, w := range without {
		out[w] = true
	}
	write := func(file, letter string, head []string, row func(i int) []string) {
		f, err := os.Create(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := csv.NewWriter(f)
		_ = w.Write(head)
		for i := range n {
			if !out[letter+fmt.Sprint(i)] {
				_ = w.Write(row(i))
			}
		}
		if w.Flush(); w.Error() != nil {
			t.Fatal(w.Error())
		}
	}
	write("a.csv", "a", []string{"key", "name", "state"}, func(i int) []string {
		return []string{fmt.Sprint("A", i), fmt.Sprint("account ", i), fmt.Sprint(i % 2)}
	})
	write("c.csv", "c", []string{"key", "parent"}, func(i int) []string { return []string{fmt.Sprint("C", i), fmt.Sprint("A", i)} })
	write("l.csv", "l", []string{"key"}, func(i int) []string { return []string{fmt.Sprint("L", i)} })
	write("n.csv", "n", []string{"c", "l"}, func(i int) []string { return []string{fmt.Sprint("C", i), fmt.Sprint("L", i)} })
}

// stageAndLoad does both, and requires that all of it is done.
func stageAndLoad(t *testing.T, dir, url string) {
	t.Helper()
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	requireAllLoaded(t, p)
	r, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 5}, func(string, float64) {})
	if err != nil || r.Summary.Missing+r.Summary.Extra+r.Summary.Different+r.Summary.Duplicates > 0 {
		t.Fatalf("reconcile: %v, %+v, %+v", err, r.Summary, r.Tables)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// keysIn are the values of a column in the target, with the states.
func keysIn(t *testing.T, url, set, column string) string {
	t.Helper()
	var all []string
	for _, row := range plainRows(t, url, set) {
		all = append(all, fmt.Sprint(row[column], "/", row["statecode"]))
	}
	return strings.Join(all, " ")
}

// TestGoneRows: rows vanish from the source and come back, under each policy; ids are ours
// or those of Dataverse.
func TestGoneRows(t *testing.T) {
	for _, ids := range []string{"assign", "server, match: accountnumber"} {
		t.Run(ids, func(t *testing.T) {
			url := environment(t, 16, nil)
			dir := goneProject(t, url, "account: {gone: delete, ids: "+ids+"}\n  contact: {gone: delete}\n  contactleads: {gone: delete}\n  lead: {gone: deactivate}")
			stageAndLoad(t, dir, url)
			for _, row := range plainRows(t, url, "leads") {
				if row["subject"] == "L2" { // somebody has closed it, and so it stays
					sendAs(t, url+"/api/data/v9.2/leads("+row["leadid"].(string)+")", `{"statecode":1,"statuscode":3}`)
				}
			}
			supply(t, dir, 8, "a3", "c3", "n3", "n5", "l6", "n6", "l2", "n2")
			p := reopen(t, dir, Staging, url)
			if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			p = reopen(t, dir, DryRunning, url)
			dry, err := p.DryRun(t.Context(), t.Context(), LoadOptions{})
			if err != nil || len(dry.Misfits) > 0 || len(dry.Tables) != 4 || dry.Records != 8 {
				t.Errorf("dry run: %v, %+v", err, dry)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			stageAndLoad(t, dir, url)
			accounts, contacts, leads := keysIn(t, url, "accounts", "accountnumber"), keysIn(t, url, "contacts", "lastname"), keysIn(t, url, "leads", "subject")
			if strings.Contains(accounts, "A3") || strings.Contains(contacts, "C3") || strings.Count(accounts, "A") != 7 || strings.Count(contacts, "C") != 7 {
				t.Errorf("accounts %s, contacts %s", accounts, contacts)
			}
			if strings.Count(leads, "L") != 8 || strings.Count(leads, "/0") != 6 || !strings.Contains(leads, "L2/1") || !strings.Contains(leads, "L6/2") {
				t.Errorf("leads %s", leads)
			}
			if n := len(plainRows(t, url, "contactleadscollection")); n != 4 {
				t.Errorf("%d links, want 4", n)
			}
			supply(t, dir, 8, "l6", "n6", "l2", "n2") // the others are back
			stageAndLoad(t, dir, url)
			if accounts := keysIn(t, url, "accounts", "accountnumber"); !strings.Contains(accounts, "A3/1") || strings.Count(accounts, "A") != 8 {
				t.Errorf("accounts %s", accounts)
			}
			if n := len(plainRows(t, url, "contactleadscollection")); n != 6 {
				t.Errorf("%d links, want 6", n)
			}
		})
	}
}

// TestBackAndActiveAgain: records that were made inactive because their rows were gone are active
// again when these are back, but not one that somebody has made active and closed in his own way, nor
// one that somebody has changed meanwhile; and a rollback makes them inactive again.
func TestBackAndActiveAgain(t *testing.T) {
	url, e := emulated(t, 16, nil)
	dir := goneProject(t, url, "contactleads: {gone: delete}\n  lead: {gone: deactivate}")
	stageAndLoad(t, dir, url)
	supply(t, dir, 8, "l4", "n4", "l5", "n5", "l6", "n6", "l7", "n7")
	stageAndLoad(t, dir, url)
	byHand := func(key, body string) {
		t.Helper()
		for _, row := range plainRows(t, url, "leads") {
			if row["subject"] == key {
				sendAs(t, url+"/api/data/v9.2/leads("+row["leadid"].(string)+")", body)
			}
		}
	}
	closed := keysIn(t, url, "leads", "subject")
	if !strings.HasSuffix(closed, "L3/0 L4/2 L5/2 L6/2 L7/2") {
		t.Fatalf("leads %s", closed)
	}
	byHand("L5", `{"statecode":1,"statuscode":3}`)
	byHand("L6", `{"lastname":"somebody"}`)
	supply(t, dir, 8)
	edit(t, filepath.Join(dir, "l.csv"), "L4", "L4\nL8")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	f, err := emulator.ParseFault("kind=reset-after,nth=1,message=ExecuteBatch")
	if err != nil {
		t.Fatal(err)
	}
	e.Order(f)
	r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil || r.Summary.Held != 1 {
		t.Errorf("%v, %+v", err, r.Summary)
	}
	if leads := keysIn(t, url, "leads", "subject"); !strings.Contains(leads, "L3/0 L4/0 L5/1 L6/2 L7/0") {
		t.Errorf("leads %s", leads)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	rollBack(t, dir, url, RollbackOptions{Generation: "last"})
	if leads := keysIn(t, url, "leads", "subject"); leads != strings.Replace(closed, "L5/2", "L5/1", 1) {
		t.Errorf("leads %s, were %s", leads, closed)
	}
}

// TestLookupsOfRowsThatAreBack: a record that others point to is deleted, as its row is gone, so that
// the service empties their lookups; when the row is back, they point to it again.
func TestLookupsOfRowsThatAreBack(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "contact: {gone: delete}\n  contactleads: {gone: delete}")
	edit(t, filepath.Join(dir, "transform", "account.sql"), "name,", "name, CASE WHEN key = 'A3' THEN 'C5' END AS primarycontactid,")
	stageAndLoad(t, dir, url)
	pointsTo := func() string {
		for _, row := range plainRows(t, url, "accounts") {
			if row["accountnumber"] == "A3" && row["_primarycontactid_value"] != nil {
				return "a contact"
			}
		}
		return "nothing"
	}
	supply(t, dir, 8, "c5", "n5")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1}); err != nil || r.Summary.Held != 1 {
		t.Fatalf("%v, %+v", err, r.Summary)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if got := pointsTo(); got != "nothing" {
		t.Fatalf("the account points to %s", got)
	}
	supply(t, dir, 8)
	stageAndLoad(t, dir, url)
	if got := pointsTo(); got != "a contact" {
		t.Errorf("the account points to %s", got)
	}
}

// TestGoneIsReported: without a policy nothing is deleted, and a pass that a row owed
// which is gone keeps no load from its end.
func TestGoneIsReported(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {batch: 5}")
	stageAndLoad(t, dir, url)
	supply(t, dir, 8, "a0", "c0", "n0", "l0")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	requireAllLoaded(t, p)
	if accounts := keysIn(t, url, "accounts", "accountnumber"); strings.Count(accounts, "A") != 8 {
		t.Errorf("accounts %s", accounts)
	}
}

// TestGoneRowsThatMayBeUnread: a row whose line cannot be read any more is no reason to delete its
// record, nor is any other row's going from that source, until the source is read whole or it is meant.
func TestGoneRowsThatMayBeUnread(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {gone: delete}\n  lead: {gone: deactivate}\n  contact: {gone: delete}\n  contactleads: {gone: delete}")
	stageAndLoad(t, dir, url)
	stage := func(accept bool) string {
		t.Helper()
		p := reopen(t, dir, Staging, url)
		defer p.Close()
		p.AcceptLoss = accept
		r, err := p.Stage(t.Context(), nil, func(string, float64) {})
		if err != nil {
			t.Fatal(err)
		}
		requireAllLoaded(t, p)
		return strings.Join(r.Notes, "\n")
	}
	fewer := []string{"a2", "c2", "c3", "c4", "l5", "n2", "n3", "n4", "n5", "n6"} // nothing points to what is not staged
	require := func(accounts, contacts, active int) {
		t.Helper()
		a, c, l := keysIn(t, url, "accounts", "accountnumber"), keysIn(t, url, "contacts", "lastname"), keysIn(t, url, "leads", "subject")
		if strings.Count(a, "A") != accounts || strings.Count(c, "C") != contacts || strings.Count(l, "/0") != active {
			t.Errorf("%d accounts, %d contacts, %d active leads are wanted: %s, %s, %s", accounts, contacts, active, a, c, l)
		}
	}
	supply(t, dir, 8, fewer...)
	edit(t, filepath.Join(dir, "a.csv"), "account 3,1", "account 3,1,?")
	edit(t, filepath.Join(dir, "l.csv"), "L6", "L6,?")
	notes := stage(false)
	if !strings.Contains(notes, "account: 2 rows are gone, and their records stay for now: accounts has lines") || !strings.Contains(notes, "lead: 2 rows") || strings.Contains(notes, "contact") {
		t.Errorf("notes: %s", notes)
	}
	require(8, 5, 8)
	if again := stage(false); again != notes {
		t.Errorf("notes of the next staging: %s", again)
	}
	supply(t, dir, 8, fewer...) // the lines are mended
	edit(t, filepath.Join(dir, "a.csv"), "account 4,0", "account 4,0,?")
	if notes := stage(false); !strings.Contains(notes, "account: 2 rows") || strings.Contains(notes, "lead:") {
		t.Errorf("notes: %s", notes)
	}
	require(8, 5, 7)
	if notes := stage(true); notes != "" {
		t.Errorf("notes: %s", notes)
	}
	require(6, 5, 7)
}

func TestReadOf(t *testing.T) {
	files := []transformFile{
		{table: "a", sql: "SELECT x AS legacy_key FROM raw"},
		{table: "b", sql: "SELECT legacy_key FROM a"},
		{table: "c", sql: "SELECT id AS legacy_key, ref('a', x) AS parent FROM other"},
		{table: "d", sql: "SELECT id AS legacy_key FROM shared_view"},
	}
	scripts := []transform.Script{{SQL: "CREATE VIEW shared_view AS FROM beside"}}
	for table, want := range map[string]string{"a": "beside raw", "b": "beside raw", "c": "beside other", "d": "beside"} {
		if got := strings.Join(readOf(table, []string{"beside", "other", "raw"}, files, scripts), " "); got != want {
			t.Errorf("%s reads %s, want %s", table, got, want)
		}
	}
}

// TestGoneParents: a record is not deleted while the target would delete records of ours with it that are to stay, and
// goes by itself when they have gone; a tree goes from its leaves on.
func TestGoneParents(t *testing.T) {
	for _, ids := range []string{"assign", "server, match: accountnumber"} {
		t.Run(ids, func(t *testing.T) {
			s, err := schema.Read(strings.NewReader(string(sample.Schema())))
			if err != nil {
				t.Fatal(err)
			}
			for i := range s.Table("account").ManyToOne {
				if r := &s.Table("account").ManyToOne[i]; r.Column == "parentaccountid" {
					r.Cascade = map[string]string{"Delete": "Cascade"}
				}
			}
			e, err := emulator.New(emulator.Options{Schema: s, Seed: seed(t, s)})
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(e)
			defer func() { server.Close(); e.Close() }()
			dir := otherProject(t, server.URL, s, map[string]string{
				"a.csv":                 "key,parent\nA0,\nA1,A0\nA2,A1\nA3,\nA4,A3\nA5,\n",
				"c.csv":                 "key,parent\nC0,A4\nC1,A5\nC2,A2\n",
				"transform/account.sql": "SELECT key AS legacy_key, key AS accountnumber, key AS name, ref('account', parent) AS parentaccountid FROM accounts",
				"transform/contact.sql": "SELECT key AS legacy_key, key AS lastname, ref('account', parent) AS parentcustomerid FROM contacts",
				"migration.yaml": "version: 1\nname: trees\ntarget: {url: " + server.URL + ", auth: none}\nsources:\n  accounts: {path: a.csv, types: text}\n  contacts: {path: c.csv, types: text}\n" +
					"tables:\n  account: {gone: delete, ids: " + ids + "}\n  contact: {gone: delete}\n"})
			stageAndLoad(t, dir, server.URL)
			there := func(want string) {
				t.Helper()
				if got := keysIn(t, server.URL, "accounts", "accountnumber") + " " + keysIn(t, server.URL, "contacts", "lastname"); len(strings.Fields(got)) != len(strings.Fields(want)) || slices.ContainsFunc(strings.Fields(want), func(key string) bool { return !strings.Contains(got, key+"/") }) {
					t.Errorf("the target has %s, want %s", got, want)
				}
			}
			there("A0 A1 A2 A3 A4 A5 C0 C1 C2")
			// All accounts but A5 go, and of the contacts C2: C0 stays in the source, below A4 and so below A3.
			if err := os.WriteFile(filepath.Join(dir, "a.csv"), []byte("key,parent\nA5,\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			editSource(t, dir, "c.csv", "C2,A2\n", "")
			p := reopen(t, dir, Staging, server.URL)
			if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
				t.Fatal(err)
			}
			r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
			if err != nil || r.Summary.Held != 3 || r.Summary.Error > 0 { // A3, A4, and C0 whose account is gone
				t.Errorf("%v, %+v", err, r.Summary)
			}
			there("A3 A4 A5 C0 C1")
			failures, err := p.ledger.Failures("account", 0, 10)
			if err != nil || len(failures) != 2 || !strings.Contains(failures[0].Text, "would delete 1 record of account with it that is to go, too, and did not") || !strings.Contains(failures[1].Text, "would delete 1 record of contact with it that should stay") {
				t.Errorf("%v, %+v", err, failures)
			}
			p.Close()
			editSource(t, dir, "c.csv", "C0,A4\n", "")
			stageAndLoad(t, dir, server.URL)
			there("A5 C1")
		})
	}
}

// TestGoneRecordsThatOthersChanged: what somebody has changed is not deleted, unless that is to be written over.
func TestGoneRecordsThatOthersChanged(t *testing.T) {
	url := environment(t, 8, nil)
	settings := func(policy string) string {
		return "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {accounts: {path: a.csv, types: text}}\ntables: {account: {gone: delete, on_conflict: " + policy + "}}\n"
	}
	dir := otherProject(t, url, nil, map[string]string{"migration.yaml": settings("merge"),
		"transform/account.sql": "SELECT key AS legacy_key, key AS accountnumber, name FROM accounts", "a.csv": "key,name\nA0,a0\nA1,a1\nA2,a2\n"})
	stageAndLoad(t, dir, url)
	for _, row := range plainRows(t, url, "accounts") {
		if row["accountnumber"] == "A1" {
			sendAs(t, fmt.Sprintf("%s/api/data/v9.2/accounts(%s)", url, row["accountid"]), `{"description":"by hand"}`)
		}
	}
	editSource(t, dir, "a.csv", "A1,a1\nA2,a2\n", "")
	for _, c := range []struct{ policy, left string }{{"merge", "A0 A1"}, {"merge", "A0 A1"}, {"overwrite", "A0"}} {
		if err := os.WriteFile(filepath.Join(dir, "migration.yaml"), []byte(settings(c.policy)), 0o600); err != nil {
			t.Fatal(err)
		}
		p := reopen(t, dir, Staging, url)
		_, err := p.Stage(t.Context(), nil, func(string, float64) {})
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
		list, _ := p.Failures(t.Context(), FailureFilter{Limit: 5})
		p.Close()
		var left []string
		for _, row := range plainRows(t, url, "accounts?$orderby=accountnumber") {
			left = append(left, fmt.Sprint(row["accountnumber"]))
		}
		held := len(list.Errors) == 1 && list.Errors[0].Class == "conflict" && list.Errors[0].LegacyKey == "A1"
		if got := strings.Join(left, " "); err != nil || got != c.left || held != (c.policy == "merge") {
			t.Errorf("%s: %v, %s, %+v, %+v", c.policy, err, got, r.Summary, list.Errors)
		}
	}
}

package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatALoadIsToDoAcrossStagings: sources are staged more than once before a load begins, as they are while
// transforms are being written. The load has to do what all of them have planned, and its generation says so.
func TestWhatALoadIsToDoAcrossStagings(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "lead: {gone: delete}\n  contactleads: {gone: delete}")
	stage := func(tables ...string) {
		t.Helper()
		p := reopen(t, dir, Staging, url)
		if _, err := p.Restage(t.Context(), StageOptions{Tables: tables}, func(string, float64) {}); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	requirePlanned := func(want string) {
		t.Helper()
		p := reopen(t, dir, Staging, url)
		all, err := p.ledger.Generations()
		if err != nil {
			t.Fatal(err)
		}
		g := all[len(all)-1]
		got := []string{g.Name()}
		for _, name := range []string{"account", "contact", "lead", "contactleads"} {
			c := g.Tables[name]
			got = append(got, fmt.Sprintf("%s %d %d %d of before %d", name, c.Insert, c.Update, c.Delete, c.Carried))
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s\nwant %s", text, want)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stage()
	requirePlanned("full, account 8 0 0 of before 0, contact 8 0 0 of before 0, lead 8 0 0 of before 0, contactleads 8 0 0 of before 0")
	stage()
	requirePlanned("full, account 8 0 0 of before 8, contact 8 0 0 of before 8, lead 8 0 0 of before 8, contactleads 8 0 0 of before 8")
	edit(t, filepath.Join(dir, "a.csv"), "account 2,", "account two,")
	stage()
	if err := os.WriteFile(filepath.Join(dir, "transform", "lead.sql"), []byte("SELECT key AS legacy_key, key AS lastname, 'of ' || key AS subject FROM leads"), 0o600); err != nil {
		t.Fatal(err)
	}
	stage("lead")
	requirePlanned("full, account 8 0 0 of before 8, contact 8 0 0 of before 8, lead 8 0 0 of before 0, contactleads 8 0 0 of before 8")
	stageAndLoad(t, dir, url)
	requirePlanned("full, account 8 0 0 of before 8, contact 8 0 0 of before 8, lead 8 0 0 of before 8, contactleads 8 0 0 of before 8")

	supply(t, dir, 9, "l6", "n6")
	stage()
	requirePlanned("delta 1, account 1 1 0 of before 0, contact 1 0 0 of before 0, lead 1 0 1 of before 0, contactleads 1 0 1 of before 0")
	stage()
	requirePlanned("delta 1, account 1 1 0 of before 2, contact 1 0 0 of before 1, lead 1 0 1 of before 2, contactleads 1 0 1 of before 2")
	stageAndLoad(t, dir, url)
	stage()
	requirePlanned("delta 2, account 0 0 0 of before 0, contact 0 0 0 of before 0, lead 0 0 0 of before 0, contactleads 0 0 0 of before 0")
}

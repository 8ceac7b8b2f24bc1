package appliance

import (
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// TestServerIDsAllTheWay stages and loads a sample in which Dataverse assigns the ids of
// accounts and contacts, and reconciles it; SQL shows the real ids.
func TestServerIDsAllTheWay(t *testing.T) {
	url := environment(t, 16, nil)
	dir := sampleProject(t, url, func(dir string) {
		edit(t, filepath.Join(dir, "migration.yaml"), "contoso_equipment: {batch: 50}", "account: {ids: server, match: accountnumber}\n  product: {match: productnumber, on_match: update}\n  contoso_equipment: {ids: server, match: contoso_serial}")
	}).Config.Dir
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	requireAllLoaded(t, p)
	r, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 5}, func(string, float64) {})
	if err != nil || r.Summary.Missing+r.Summary.Extra+r.Summary.Different+r.Summary.Duplicates > 0 || r.Summary.Target != r.Summary.Source || r.Summary.Source == 0 {
		t.Errorf("reconcile: %v, %+v", err, r)
	}
	ids := map[string]bool{}
	for _, row := range plainRows(t, url, "accounts") {
		ids[row["accountid"].(string)] = true
	}
	n := 0
	err = p.SQL(t.Context(), "SELECT record_id::VARCHAR FROM account_success", func(_ []string, values []any) error {
		if n++; values != nil && !ids[values[0].(string)] {
			t.Errorf("SQL shows the id %v, which is of no account", values[0])
		}
		if values != nil {
			id, _ := schema.ParseGUID(values[0].(string))
			if _, ours := p.recordSeq()("account", id); ours {
				t.Error("an id was assigned here")
			}
		}
		return nil
	})
	if err != nil || n < len(ids) || n == 0 {
		t.Errorf("%v, %d ids in SQL, %d accounts", err, n, len(ids))
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(dir, "migration.yaml"), "account: {ids: server, match: accountnumber}", "account: {batch: 20}")
	p = reopen(t, dir, Loading, url)
	if _, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1}); err == nil || !strings.Contains(err.Error(), "Dataverse has assigned ids") {
		t.Errorf("a load with other settings: %v", err)
	}
}

func TestCheckRefusesSettingsOfIDs(t *testing.T) {
	for setting, want := range map[string]string{
		"account: {ids: server}":                         "ids: server needs match",
		"account: {on_match: skip}":                      "on_match: skip needs match",
		"account: {ids: server, match: revenue}":         "is of type money",
		"account: {ids: server, match: [name, nothing]}": "column nothing does not exist",
		"contactleads: {match: leadid}":                  "told apart by their two ends",
		"account: {ids: server, match: statecode}":       "is of type state",
	} {
		p := sampleProject(t, "http://127.0.0.1:1", func(dir string) {
			edit(t, filepath.Join(dir, "migration.yaml"), "contoso_equipment: {batch: 50}", setting)
		})
		r, err := p.Check(t.Context(), false)
		if err != nil || len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Message, want) || r.Faults[0].Line == 0 {
			t.Errorf("%s: %v, %+v", setting, err, r.Faults)
		}
	}
}

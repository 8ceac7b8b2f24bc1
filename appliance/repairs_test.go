package appliance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/preflight"
	"dvmigrate/duckstage/transform"
)

// The stage knows no metadata, yet names its own faults: by the ids that preflight has
// for them.
func TestFaultsOfTheStageAreRules(t *testing.T) {
	for stage, rule := range map[string]string{transform.FaultType: preflight.Type, transform.FaultID: preflight.RecordID,
		transform.FaultLookup: preflight.Reference, transform.FaultOrphan: preflight.Orphan} {
		if stage != rule {
			t.Errorf("the stage says %s, preflight %s", stage, rule)
		}
	}
}

var industryOf = regexp.MustCompile(`"industrycode":([0-9]+)`)

// TestBetterValuesAreSent: texts without a value get the policy's, and are listed; when their map is
// completed, exactly their records get that column, and are listed no more. A transform that is
// corrected sends the rows that it changes, with the columns that it changes, and no others.
func TestBetterValuesAreSent(t *testing.T) {
	var mu sync.Mutex
	var sent []string // bodies of updates
	url, _ := emulated(t, 8, func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "UpdateMultiple") {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			mu.Lock()
			sent = append(sent, string(body))
			mu.Unlock()
		}
		return false
	})
	dir := otherProject(t, url, nil, map[string]string{
		"migration.yaml":        "version: 1\nname: repairs\ntarget: {url: " + url + ", auth: none}\nsources: {a: {path: a.csv, types: text}}\ntables: {account: {repair: {industrycode: {not_option: \"15\"}}}}\n",
		"transform/account.sql": "SELECT key AS legacy_key, key AS accountnumber, name, branch AS industrycode, 1 AS statecode, 2 AS statuscode FROM a",
		"a.csv":                 "key,name,branch\nA0,zero,Haulage\nA1, one ,Bank\nA2,two,Haulage\nA3, three ,Bank\nA4," + strings.Repeat("x", 200) + ",Bank\n",
	})
	sheet := filepath.Join(dir, "maps", "account.industrycode.csv")
	if err := os.MkdirAll(filepath.Dir(sheet), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sheet, []byte("source_text,target_value\nBank,16\nHaulage,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stage := func(o StageOptions, changed, waiting int64) {
		t.Helper()
		p := reopen(t, dir, Staging, url)
		r, err := p.Restage(t.Context(), o, func(string, float64) {})
		if err != nil || r.Tables[0].Changed != changed {
			t.Fatalf("%v, %+v", err, r.Tables)
		}
		f, err := p.forecast(t.Context(), EstimateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range f.work { // an update of a column is small, and owes no state, which the row that is new at last does
			switch {
			case w.Pass == plan.State && changed > 0 && w.Operations > changed-2, w.Action == "update" && w.Pass == plan.Insert && (w.Operations > 2 || w.Bytes > 200):
				t.Errorf("expected %+v", w)
			}
		}
		sent = nil
		l, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
		if err != nil || l.Sent != waiting {
			t.Errorf("%v, %d sent, want %d", err, l.Sent, waiting)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	repairs := func(want ...string) {
		t.Helper()
		v, err := View(t.Context(), dir, Options{Env: targetAt(url)})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		r, err := v.Repairs(t.Context(), []string{"account"}, 10)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, g := range r.Groups {
			got = append(got, fmt.Sprintf("%d %d %s %v", g.Rows, g.Loaded, g.Example, g.Keys))
		}
		for _, l := range r.Listed {
			got = append(got, l.LegacyKey+" "+l.Flag)
		}
		if !slices.Equal(got, want) {
			t.Errorf("repairs %q, want %q", got, want)
		}
	}
	stage(StageOptions{}, 0, 8) // with their states; A4 does not fit
	repairs("2 2 DVM-MAP industrycode: 'Haulage' has no value in maps/account.industrycode.csv: set to 15 [A0 A2]", "A0 P", "A2 P")
	edit(t, sheet, "Haulage,", "Haulage,30")
	stage(StageOptions{}, 2, 2)
	if len(sent) != 1 || len(industryOf.FindAllString(sent[0], -1)) != 2 || strings.Contains(sent[0], "name\"") || strings.Contains(sent[0], "accountnumber") {
		t.Errorf("sent %q", sent)
	}
	repairs()
	edit(t, filepath.Join(dir, "transform", "account.sql"), "name, branch", "left(trim(name), 160) AS name, branch")
	stage(StageOptions{Tables: []string{"account"}}, 3, 4) // two names, and the row that fits now, with its state
	if len(sent) != 2 || strings.Count(sent[0], `"name":`) != 2 || strings.Contains(sent[0], "industrycode") || strings.Contains(sent[0], "accountnumber") {
		t.Errorf("sent %q", sent)
	}
	rows := plainRows(t, url, "accounts")
	for _, row := range rows {
		if name := fmt.Sprint(row["name"]); name != strings.TrimSpace(name) || fmt.Sprint(row["industrycode"]) != map[bool]string{true: "30", false: "16"}[row["accountnumber"] == "A0" || row["accountnumber"] == "A2"] {
			t.Errorf("account %v", row)
		}
	}
	if len(rows) != 5 {
		t.Errorf("%d accounts", len(rows))
	}
}

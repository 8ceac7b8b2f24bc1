package appliance

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/config"
)

// TestByLast: large deltas say by which factor the estimate errs, small ones what a load takes besides.
func TestByLast(t *testing.T) {
	for name, c := range map[string]struct {
		past []pastDelta
		want float64
		n    int
	}{
		"none yet":                           {nil, 0, 0},
		"kept before estimates were":         {[]pastDelta{{Load: 50}}, 0, 0},
		"half as long again":                 {[]pastDelta{{Load: 1, Estimated: 100}, {Load: 150, Estimated: 100}, {Load: 150, Estimated: 100}, {Load: 150, Estimated: 100}}, 1500, 3},
		"to sign in takes as long, not more": {[]pastDelta{{Load: 2.01, Estimated: 0.01}}, 1002, 1},
	} {
		if got, n := byLast(1000, c.past); math.Abs(got-c.want) > 1e-6 || n != c.n {
			t.Errorf("%s: %v of %d, want %v of %d", name, got, n, c.want, c.n)
		}
	}
}

// TestAnEarlierExtract: a file that is older than the one before it is not taken for news; a source of changes may lose
// its newest file.
func TestAnEarlierExtract(t *testing.T) {
	url := environment(t, 8, nil)
	dir := otherProject(t, url, nil, map[string]string{
		"migration.yaml": "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources:\n  accounts: {path: a.csv, types: text}\n" +
			"  more: {path: m-*.csv, types: text, feed: changes, row_key: key}\n",
		"transform/account.sql": "SELECT key AS legacy_key, name FROM accounts UNION ALL SELECT key, name FROM more",
		"a.csv":                 "key,name\nA0,second\n", "m-1.csv": "key,name\nM1,m1\n", "m-2.csv": "key,name\nM2,m2\n"})
	of := func(file string, day int) {
		at := time.Date(2026, 1, day, 12, 0, 0, 0, time.UTC)
		if err := os.Chtimes(filepath.Join(dir, file), at, at); err != nil {
			t.Fatal(err)
		}
	}
	stage := func(accept bool) (string, error) {
		p := reopen(t, dir, Staging, url)
		defer p.Close()
		p.AcceptLoss = accept
		_, err := p.Stage(t.Context(), nil, func(string, float64) {})
		var names string
		if err := p.stage.Row(t.Context(), []any{&names}, "SELECT string_agg(name, ' ' ORDER BY legacy_key) FROM account"); err != nil {
			t.Fatal(err)
		}
		return names, err
	}
	of("a.csv", 8)
	of("m-1.csv", 1)
	of("m-2.csv", 8)
	if got, err := stage(false); err != nil || got != "second m1 m2" {
		t.Fatalf("%v, %v", got, err)
	}
	edit(t, filepath.Join(dir, "a.csv"), "second", "first")
	of("a.csv", 1)
	for range 2 {
		var loss *LossError
		got, err := stage(false)
		if !errors.As(err, &loss) || got != "second m1 m2" || !strings.HasPrefix(err.Error(), "source accounts is older than at the last staging: its newest file is of 2026-01-01 12:00:00, and was of 2026-01-08 12:00:00 then") {
			t.Errorf("an earlier extract: %v, %v", got, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "m-2.csv")); err != nil {
		t.Fatal(err)
	}
	if got, err := stage(true); err != nil || got != "first m1 m2" {
		t.Errorf("an earlier extract that is meant: %v, %v", got, err)
	}
	if got, err := stage(false); err != nil || got != "first m1 m2" {
		t.Errorf("once more: %v, %v", got, err)
	}
}

// TestATransformThatIsTakenAway: what waits of its table is told, and by whom it could be sent.
func TestATransformThatIsTakenAway(t *testing.T) {
	url := environment(t, 8, nil)
	dir := otherProject(t, url, nil, map[string]string{
		"migration.yaml":        "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {accounts: {path: a.csv, types: text}, people: {path: p.csv, types: text}}\n",
		"transform/account.sql": "SELECT key AS legacy_key, name FROM accounts", "transform/contact.sql": "SELECT key AS legacy_key, name AS lastname FROM people",
		"a.csv": "key,name\nA0,a0\n", "p.csv": "key,name\nP0,p0\nP1,p1\n"})
	stageAndLoad(t, dir, url)
	editSource(t, dir, "p.csv", "p1", "new")
	p := reopen(t, dir, Staging, url)
	for _, remove := range []bool{false, true} {
		if remove {
			if err := os.Remove(filepath.Join(dir, "transform/contact.sql")); err != nil {
				t.Fatal(err)
			}
		}
		r, err := p.Stage(t.Context(), nil, func(string, float64) {})
		if told := strings.Join(r.Notes, "; ") == "contact has no transform any more: its records stay as they are, and 1 record waits; put transform/contact.sql back and stage again to have that sent"; err != nil || told != remove {
			t.Errorf("staged: %v, %q", err, r.Notes)
		}
	}
	r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil || r.Summary.Left() != 1 || len(r.Notes) != 1 {
		t.Errorf("loaded: %v, %+v, %q", err, r.Summary, r.Notes)
	}
}

func TestIsWhole(t *testing.T) {
	p := &Project{Config: &config.Config{Sources: map[string]config.Source{"edu": {}, "crm": {Feed: "changes"}, "old_crm": {Database: "postgres://x"}}}}
	for source, want := range map[string]bool{"edu": true, "edu_account": true, "edu_email_parties": true, "crm": false, "old_crm": false, "other": false} {
		if got := p.isWhole(source); got != want {
			t.Errorf("%s: %v", source, got)
		}
	}
}

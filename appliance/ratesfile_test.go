package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/plan"
)

// measuredAt is a run against an environment: accounts at 10 ms, contacts at 30 ms a record.
func measuredAt(kind, url string, day int) ProfileRun {
	table := func(name string, perRecord time.Duration) Measure {
		return Measure{Table: name, Pass: plan.Insert, Action: "insert", Message: plan.Bulk, Records: 5000, Requests: 50, Split: true, PerRecord: perRecord}
	}
	return ProfileRun{Kind: kind, URL: url, Start: time.Date(2026, 3, day, 8, 0, 0, 0, time.UTC), Latency: time.Millisecond, Tables: []Measure{table("account", 10*time.Millisecond), table("contact", 30*time.Millisecond)},
		Predicted: []Prediction{{Table: "account", Seconds: 1}}}
}

// unstaged is a project with settings and nothing else.
func unstaged(t *testing.T, url string, runs ...ProfileRun) *Project {
	t.Helper()
	p := &Project{Config: &config.Config{Name: "next", Dir: t.TempDir(), Work: "work", Target: config.Target{URL: url}}}
	for _, r := range runs {
		if err := p.keepRun(r); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestRatesOfAnotherEnvironmentAreNotUsedUnsaid(t *testing.T) {
	p := unstaged(t, "https://new.example", measuredAt(plan.Measured, "https://old.example", 1))
	f := &forecast{p: p, measures: map[string]measured{}}
	if err := f.readProfile(); err != nil {
		t.Fatal(err)
	}
	if len(f.measures) > 0 || f.latency != nil {
		t.Errorf("figures of another environment are used: %v", f.measures)
	}
	if len(f.notes) != 1 || !strings.Contains(f.notes[0], "https://old.example are not used: this project's environment is https://new.example") {
		t.Errorf("notes: %q", f.notes)
	}
	p = unstaged(t, "https://new.example", measuredAt(plan.Measured, "https://old.example", 1), measuredAt(plan.Measured, "https://new.example", 2))
	f = &forecast{p: p, measures: map[string]measured{}}
	if err := f.readProfile(); err != nil || f.measures["account insert insert"].run == nil || f.measures["account insert insert"].run.URL != "https://new.example" {
		t.Errorf("figures of the own environment: %v, %v", f.measures, err)
	}
}

func TestRatesTravelToTheNextProject(t *testing.T) {
	rehearsed := measuredAt(plan.Rehearsed, "https://old.example", 9)
	old := unstaged(t, "https://old.example", measuredAt(plan.Measured, "https://old.example", 1), measuredAt(plan.Measured, "https://old.example", 2), measuredAt(plan.Calibrated, "https://box.example", 3), rehearsed)
	path := filepath.Join(t.TempDir(), "rates.json")
	if _, err := old.ExportRates(path); err != nil {
		t.Fatal(err)
	}
	file, err := ReadRates(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Runs) != 1 || file.Runs[0].Start.Day() != 2 || file.Runs[0].Predicted != nil || len(file.Runs[0].Tables) != 2 {
		t.Fatalf("exported %+v; want the newest load alone", file.Runs)
	}

	p := unstaged(t, "https://new.example")
	f := &forecast{p: p, imported: newImported(file)}
	work := func(table, action string) plan.Work {
		w := plan.Work{Table: table, Pass: plan.Insert, Action: action, Message: plan.Bulk}
		f.cost(&w, 0, 0)
		return w
	}
	if w := work("account", "insert"); w.Source != plan.Imported || w.PerRecord != 10*time.Millisecond || w.Spread < elsewhere || !strings.Contains(w.Note, "50 requests in https://old.example on 2026-03-02, project next") {
		t.Errorf("account: %+v", w)
	}
	if w := work("new_thing", "insert"); w.Source != plan.Imported || w.PerRecord != 30*time.Millisecond || w.Spread != otherTables || !strings.Contains(w.Note, "the median of 2 other tables") {
		t.Errorf("a table that the file lacks: %+v", w)
	}
	if w := work("account", "delete"); w.Source != plan.Default {
		t.Errorf("an action that nobody measured: %+v", w)
	}
	f.imported.say(f)
	if len(f.notes) != 1 || !strings.Contains(f.notes[0], "1 measured in another environment, https://old.example, 1 measured of other tables; another environment") {
		t.Errorf("notes: %q", f.notes)
	}

	own := measured{Measure{Table: "account", Pass: plan.Insert, Action: "insert", Message: plan.Bulk, Records: 100, Requests: 1, Split: true, PerRecord: time.Second}, &ProfileRun{Kind: plan.Measured}}
	f = &forecast{p: p, imported: newImported(file), measures: map[string]measured{"account insert insert": own}}
	if w := work("account", "insert"); w.Source != plan.Measured || w.PerRecord != time.Second {
		t.Errorf("the project's own figure does not go first: %+v", w)
	}
	w := plan.Work{Table: "contact", Pass: plan.Insert, Action: "insert", Message: plan.Bulk}
	if f.cost(&w, 50, 0); w.Source != plan.Stated {
		t.Errorf("what migration.yaml states of the table does not go before: %+v", w)
	}

	f = &forecast{p: unstaged(t, "https://old.example"), imported: newImported(file)}
	if w := work("account", "insert"); w.Spread >= elsewhere {
		t.Errorf("a rate of this environment has the spread of another: %+v", w)
	}
	f.imported.say(f)
	if strings.Contains(f.notes[0], "twice as fast") {
		t.Errorf("a warning without a reason: %q", f.notes)
	}
}

func TestFilesThatAreNoRates(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"": "is no file of rates", `{"version":1}`: "is no file of rates", `{"version":9,"kind":"dvmigrate rates","runs":[{}]}`: "has version 9", `{"version":1,"kind":"dvmigrate rates"}`: "has no rates"} {
		path := filepath.Join(dir, "rates.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRates(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := unstaged(t, "https://x.example", measuredAt(plan.Rehearsed, "https://x.example", 1)).ExportRates(filepath.Join(dir, "r")); err != errNothingMeasured {
		t.Errorf("a rehearsal alone is exported: %v", err)
	}
}

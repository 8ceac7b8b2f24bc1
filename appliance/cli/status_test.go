package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var update = flag.Bool("update", false, "rewrite golden files")

// statuses are projects as somebody meets them who arrives.
func statuses() []struct {
	name string
	s    appliance.Status
} {
	at := time.Date(2026, 11, 28, 20, 0, 0, 0, time.UTC)
	end := at.Add(3 * time.Hour)
	staged := appliance.Status{Project: "crm", Target: "https://acme.crm4.dynamics.com", Summary: appliance.Counts{Source: 3000, Unprocessed: 3000},
		Tables:      []appliance.TableStatus{{Name: "account", Counts: appliance.Counts{Source: 1000, Unprocessed: 1000}, Next: "main"}, {Name: "contact", Counts: appliance.Counts{Source: 2000, Unprocessed: 2000}, Next: "main"}},
		Generations: []appliance.GenerationStatus{{Number: 1, Kind: "full", Name: "full", Insert: 3000, Planned: &at}}, Audit: "2:" + string(bytes.Repeat([]byte("ab"), 32)), Next: []string{"dvmigrate load"}}
	with := func(change func(*appliance.Status)) appliance.Status { s := staged; change(&s); return s }
	failed := []appliance.FailureCount{{Table: "contact", Records: 1200, Class: "parent", Means: "depends on a record that failed or is held back"}, {Table: "account", Records: 40, Class: "value", Means: "a value that the target refuses"},
		{Table: "contact", Records: 5, Class: "orphan", Means: "points to a row that is not staged"}, {Table: "account", Records: 3, Class: "duplicate", Means: "a key is taken"}, {Table: "account", Records: 2, Class: "plugin", Means: "custom logic refused it"}, {Table: "account", Records: 1, Class: "other", Means: "refused"}}
	return []struct {
		name string
		s    appliance.Status
	}{
		{"staged", staged},
		{"running", with(func(s *appliance.Status) {
			s.Summary = appliance.Counts{Source: 3000, Processed: 1999, Success: 500, InFlight: 100, Unprocessed: 401}
			s.Organization, s.Pinned = "0a000000-0000-4000-8000-000000000001", &at
			s.Running = &appliance.Owner{PID: 4711, Command: "load", Since: at, Host: "vm-crm", User: "ann"}
			s.Live = &progress.Snapshot{Phase: "load", Elapsed: 600, Percent: progress.Unknown, Tables: []progress.Table{{Name: "contact", Pass: "insert", State: progress.Running}},
				Total: progress.Total{Counts: progress.Counts{Total: 3000, Done: 2499}, Speed: progress.Speed{Rate: 4, Left: 125}}}
			s.Left = &appliance.Remaining{Seconds: 400, Predicted: 900, Factor: 1.1}
			s.Next = []string{"let it run"}
		})},
		{"killed", with(func(s *appliance.Status) {
			s.Summary.InFlight, s.Summary.Unprocessed = 100, 2900
			s.Runs = []appliance.RunStatus{{Command: "load", Start: at}}
		})},
		{"a rollback that was killed", with(func(s *appliance.Status) {
			s.Summary = appliance.Counts{Source: 3000, Processed: 1200, InFlight: 100, Unprocessed: 1700}
			s.Rollback, s.GoesBack = "full", 1700
			s.Runs = []appliance.RunStatus{{Command: "rollback", Start: at}}
			s.Next = []string{"dvmigrate rollback goes on taking full back"}
		})},
		{"stopped by an error, with failures", with(func(s *appliance.Status) {
			s.Summary = appliance.Counts{Source: 3000, Processed: 1749, Error: 46, Held: 1205}
			s.Runs = []appliance.RunStatus{{Command: "load", Start: at, End: &end, Records: 1795, Failed: 46, Note: "too many errors: 46\nmend them"}}
			s.Failures = failed
			s.Next = []string{"dvmigrate errors --groups", "then dvmigrate stage"}
		})},
		{"a delta, compared before", with(func(s *appliance.Status) {
			s.Summary = appliance.Counts{Source: 1_000_000, Processed: 999_999, Held: 1}
			s.Generations = append(s.Generations, appliance.GenerationStatus{Number: 2, Kind: "delta", Name: "delta 1", Update: 12, Begun: &at, Finished: &end})
			s.Runs = []appliance.RunStatus{{Command: "load", Start: at, End: &end, Records: 12, Note: "done"}}
			s.Failures = failed[2:3]
			s.Compared = &appliance.ComparedBriefly{Time: at, Pass: true, Mismatches: 7}
		})},
		{"another command at work, no environment named", with(func(s *appliance.Status) {
			s.Target, s.Summary = "", appliance.Counts{}
			s.Running = &appliance.Owner{PID: 5, Command: "stage", Since: at}
		})},
	}
}

func TestStatusAnswersWhoHasJustArrived(t *testing.T) {
	zone := time.Local
	time.Local = time.UTC
	defer func() { time.Local = zone }()
	var out bytes.Buffer
	for _, one := range statuses() {
		fmt.Fprintf(&out, "== %s\n", one.name)
		printStatus(&Env{Stdout: &out}, one.s)
	}
	golden := filepath.Join("testdata", "status.golden")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("go test ./appliance/cli -run StatusAnswers -update rewrites it:\n%s", diff)
	}
}

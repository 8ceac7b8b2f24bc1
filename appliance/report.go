package appliance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/reconcile"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// Report is what happened in a migration, to be handed to those who ordered it and to be
// signed by them. All of it comes from what is kept: the ledger's counts, its runs and
// audit trail, the profile of the loads, and the stage's notes of repairs. No record is
// looked at, so that it is quick with any number of them, and beside a load.
type Report struct {
	Version      int                `json:"version"`
	Project      string             `json:"project"`
	Made         time.Time          `json:"made"`
	Tool         string             `json:"tool"` // that made the report
	Target       string             `json:"target"`
	Organization string             `json:"organization,omitempty"` // the target's id, once a load has met it
	Running      *Owner             `json:"running,omitempty"`      // who works on the project: the figures still move
	Summary      Counts             `json:"summary"`                // of the newest generation
	Tables       []TableStatus      `json:"tables"`                 // the same by table
	Generations  []GenerationReport `json:"generations"`            // oldest first
	Failures     []FailureCount     `json:"failures"`               // that are there now
	Repairs      []RepairCount      `json:"repairs"`                // in the rows as they are staged now
	Compared     *ReportedCompare   `json:"compared,omitempty"`     // the last whole comparison with the target that was kept
	Rejected     int64              `json:"rejectedLines"`          // of the sources, now
	People       []Person           `json:"people"`
	Users        []string           `json:"users"`    // that the target knows the loads as
	Versions     []VersionSpan      `json:"versions"` // of the program
	Settings     string             `json:"settings"` // YAML, without secrets
	Digest       string             `json:"digest"`   // over what is signed; see signedPart
	Signed       []SignOff          `json:"signed"`
	Audit        string             `json:"audit"` // number and hash of the newest audit entry
	Notes        []string           `json:"notes"` // what a reader has to know of the figures
}

// GenerationReport is the full load, or one delta.
type GenerationReport struct {
	GenerationStatus
	Tables     []GenerationTable   `json:"tables"`
	Steps      []ReportStep        `json:"steps"`
	Runs       []ReportRun         `json:"runs"`
	Waited     float64             `json:"throttledSeconds"` // that the service asked for, waits that overlap once
	Throttled  int64               `json:"throttledRequests"`
	Reconciled *ReportedCommand    `json:"reconciled,omitempty"` // the last time
	Snapshots  []ReportedCommand   `json:"snapshots"`
	Mended     []ReportedCommand   `json:"mended"` // what was done about failures
	Before     []ReportedRehearsal `json:"before"` // calibrations and rehearsals
}

// GenerationTable is what a generation was to do with one table.
type GenerationTable struct {
	Table  string `json:"table"`
	Insert int64  `json:"insert"`
	Update int64  `json:"update"`
	Delete int64  `json:"delete"`
	Gone   int64  `json:"gone"`
}

// ReportStep is one action of one pass of a table: what it took, beside what was expected
// when the generation's first load began.
type ReportStep struct {
	Table     string    `json:"table"`
	Pass      plan.Pass `json:"pass"`
	Action    string    `json:"action"`
	Expected  int64     `json:"expected"` // operations
	Records   int64     `json:"records"`
	Requests  int64     `json:"requests"`
	Bytes     int64     `json:"bytes"`
	Failed    int64     `json:"failed"`    // refused, also those that went in later
	Throttled int64     `json:"throttled"` // requests that were sent away
	Predicted float64   `json:"predictedSeconds"`
	Seconds   float64   `json:"seconds"`
}

// Rate is the records a second; 0 where nothing was measured.
func (s ReportStep) Rate() float64 {
	if s.Seconds <= 0 {
		return 0
	}
	return float64(s.Records) / s.Seconds
}

// ReportRun is one start-to-stop of the loader.
type ReportRun struct {
	RunStatus
	Seconds float64 `json:"seconds"` // 0: it was killed, or still runs
	Users   int     `json:"users"`   // application users; 0: not kept
}

// ReportedCommand is a command that is in the audit trail.
type ReportedCommand struct {
	Entry   uint64    `json:"entry"` // its number in the audit trail
	Time    time.Time `json:"time"`
	Command string    `json:"command"`
	Result  string    `json:"result"`
	Failed  bool      `json:"failed,omitempty"`
	User    string    `json:"user"`
	Host    string    `json:"host"`
}

// ReportedRehearsal is a calibration or rehearsal, which moved no record of the target.
type ReportedRehearsal struct {
	Kind    string    `json:"kind"`
	Start   time.Time `json:"start"`
	Records int64     `json:"records"`
	Seconds float64   `json:"seconds"`
}

// ReportedCompare is a comparison that was kept, without the records that differ, whose
// values are not for everybody.
type ReportedCompare struct {
	Reconciliation
	Holds bool `json:"holds"` // nothing was staged or loaded since
}

// FailureCount is how many records of a table stand in one class.
type FailureCount struct {
	Table   string `json:"table"`
	Flag    string `json:"flag"` // E or H
	Class   string `json:"class"`
	Records int64  `json:"records"`
	Means   string `json:"means"`
	Todo    string `json:"todo"`
}

// RepairCount is how many rows were mended in one way.
type RepairCount struct {
	Table string `json:"table"`
	What  string `json:"what"` // the column and what was done, without the values
	Rows  int64  `json:"rows"`
}

// Person is a user of a machine who changed something.
type Person struct {
	User     string    `json:"user"`
	Host     string    `json:"host"`
	Commands int64     `json:"commands"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// VersionSpan is a version of the program, with the time in which it was used.
type VersionSpan struct {
	Version string    `json:"version"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// Report implements Looker.
func (p *Project) Report(ctx context.Context) (Report, error) {
	r := Report{Version: 1, Project: p.Config.Name, Made: time.Now().UTC().Truncate(time.Second), Tool: p.o.Version, Target: p.Config.Target.Environment(),
		Failures: []FailureCount{}, Repairs: []RepairCount{}, People: []Person{}, Versions: []VersionSpan{}, Signed: []SignOff{}, Notes: []string{}, Settings: p.Config.Brief()}
	s, err := p.Status(ctx)
	if err != nil {
		return r, err
	}
	if len(s.Tables) == 0 {
		return r, ErrNotStaged
	}
	r.Summary, r.Tables, r.Audit = s.Summary, s.Tables, s.Audit
	if pin, err := p.pin(); err != nil {
		return r, err
	} else if pin != nil {
		r.Organization = pin.Organization.String()
	}
	if p.tracker.Load() != nil {
		owner := readOwner(p.work())
		r.Running = &owner
	}
	r.Failures, r.Users = p.failureCounts(), p.targetUsers()
	if r.Repairs, err = p.repairCounts(ctx); err != nil {
		return r, err
	}
	if r.Rejected, err = p.rejectedLines(ctx); err != nil {
		return r, err
	}
	if r.Compared, err = p.reportedCompare(ctx, s.Summary); err != nil {
		return r, err
	}
	if err := p.reportGenerations(&r); err != nil {
		return r, err
	}
	if err := p.reportTrail(&r); err != nil {
		return r, err
	}
	r.Digest = r.digest()
	for i := range r.Signed {
		r.Signed[i].Same = r.Signed[i].Digest == r.Digest
	}
	return r, nil
}

// failureCounts are the failed and held records by table and class, from the ledger's memory.
func (p *Project) failureCounts() []FailureCount {
	out := []FailureCount{}
	for _, t := range p.ledger.Tables() {
		c := p.ledger.Counts(t.Name)
		for _, flag := range []ledger.Flag{ledger.Failed, ledger.Held} {
			for i := range load.ClassNames() {
				if n := c.Class(flag, uint8(i)); n > 0 {
					class := load.Class(i)
					out = append(out, FailureCount{Table: t.Name, Flag: flag.String(), Class: class.String(), Records: int64(n), Means: class.Means(), Todo: class.Todo()})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b FailureCount) int { return cmp.Compare(b.Records, a.Records) })
	return out
}

// repairCounts counts what policies changed in the staged rows. Values in the notes are
// left out: they may be of masked columns.
func (p *Project) repairCounts(ctx context.Context) ([]RepairCount, error) {
	out := []RepairCount{}
	tables, err := p.stagedTables(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		what := map[string]int64{}
		query := fmt.Sprintf(`SELECT note, count(*) FROM (SELECT regexp_replace(unnest(string_split(dm_repairs, '; ')), '[0-9]+|''[^'']*''', '…', 'g') AS note
			FROM %s WHERE dm_repairs IS NOT NULL) GROUP BY ALL ORDER BY 2 DESC, 1 LIMIT 1000`, duckstage.Ident(t.Name))
		err := p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var note string
			var n int64
			err := scan(&note, &n)
			what[ledger.Template(note)] += n
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("count the repairs of %s: %w", t.Name, err)
		}
		for note, n := range what {
			out = append(out, RepairCount{Table: t.Name, What: note, Rows: n})
		}
	}
	slices.SortFunc(out, func(a, b RepairCount) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Table, b.Table), cmp.Compare(a.What, b.What))
	})
	return out, nil
}

func (p *Project) reportedCompare(ctx context.Context, now Counts) (*ReportedCompare, error) {
	kept, err := p.Reconciled()
	if err != nil || kept == nil {
		return nil, err
	}
	generation, err := p.stage.Meta(ctx, "generation")
	if err != nil {
		return nil, err
	}
	for i := range kept.Result.Tables {
		kept.Result.Tables[i].Mismatches = []reconcile.Mismatch{}
	}
	return &ReportedCompare{*kept, kept.Holds(generation, now)}, nil
}

// targetUsers names those as whom the loads sign in, without what they sign in with.
func (p *Project) targetUsers() []string {
	t := p.Config.Target
	var out []string
	add := func(auth, client string) {
		out = append(out, strings.TrimSpace(auth+" "+client))
	}
	add(cmp.Or(t.Auth, "default"), t.Client)
	for _, u := range t.Users {
		add(cmp.Or(u.Auth, t.Auth, "default"), u.Client)
	}
	return out
}

// reportGenerations adds the generations that began, and the newest, with their runs.
func (p *Project) reportGenerations(r *Report) error {
	all, err := p.ledger.Generations()
	if err != nil {
		return err
	}
	states, err := p.generations()
	if err != nil {
		return err
	}
	for i, g := range all {
		if g.Begun.IsZero() && i < len(all)-1 {
			continue // staged anew before it was loaded
		}
		one := GenerationReport{GenerationStatus: states[i], Tables: []GenerationTable{}, Steps: []ReportStep{}, Runs: []ReportRun{}, Snapshots: []ReportedCommand{}, Mended: []ReportedCommand{}, Before: []ReportedRehearsal{}}
		for name, c := range g.Tables {
			one.Tables = append(one.Tables, GenerationTable{Table: name, Insert: c.Insert, Update: c.Update, Delete: c.Delete, Gone: c.Gone})
		}
		slices.SortFunc(one.Tables, func(a, b GenerationTable) int { return cmp.Compare(a.Table, b.Table) })
		r.Generations = append(r.Generations, one)
	}
	runs, err := p.ledger.RunLog(maxReportedRuns)
	if err != nil {
		return err
	}
	if len(runs) == maxReportedRuns {
		r.note("only the newest %d runs are listed", maxReportedRuns)
	}
	profile, err := p.LoadProfile()
	if err != nil {
		return err
	}
	for _, run := range slices.Backward(runs) {
		if g := r.generationAt(run.Start); g != nil {
			one := ReportRun{RunStatus: runStatus(run)}
			if !run.End.IsZero() {
				one.Seconds = run.End.Sub(run.Start).Seconds()
			}
			g.Runs = append(g.Runs, one)
		}
	}
	for i := range profile.Runs {
		if g := r.generationAt(profile.Runs[i].Start); g != nil {
			g.take(&profile.Runs[i])
		}
	}
	for i := range r.Generations {
		r.Generations[i].finish(r)
	}
	return nil
}

// maxReportedRuns bounds the list of runs; a load that is started anew every ten minutes
// for a month has half as many.
const maxReportedRuns = 10_000

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// generationAt is the one that was at work then: the newest that was planned before. What
// happened before the first plan belongs to the first.
func (r *Report) generationAt(t time.Time) *GenerationReport {
	if len(r.Generations) == 0 {
		return nil
	}
	at := 0
	for i, g := range r.Generations {
		if g.Planned != nil && !g.Planned.After(t) {
			at = i
		}
	}
	return &r.Generations[at]
}

// take adds what a run of the profile measured.
func (g *GenerationReport) take(run *ProfileRun) {
	if run.Kind != plan.Measured {
		one := ReportedRehearsal{Kind: run.Kind, Start: run.Start, Seconds: run.Seconds}
		for _, m := range run.Tables {
			one.Records += m.Records
		}
		g.Before = append(g.Before, one)
		return
	}
	g.Waited += run.Waited
	if len(g.Steps) == 0 {
		for _, x := range run.Predicted {
			if x.Operations > 0 {
				g.Steps = append(g.Steps, ReportStep{Table: x.Table, Pass: x.Pass, Action: x.Action, Expected: x.Operations, Predicted: x.Seconds})
			}
		}
	}
	for _, m := range run.Tables {
		at := slices.IndexFunc(g.Steps, func(s ReportStep) bool {
			return s.Table == m.Table && s.Pass == m.Pass && sameAction(s.Action, m.Action)
		})
		if at < 0 {
			g.Steps = append(g.Steps, ReportStep{Table: m.Table, Pass: m.Pass, Action: m.Action})
			at = len(g.Steps) - 1
		}
		s := &g.Steps[at]
		s.Records, s.Requests, s.Bytes, s.Failed, s.Throttled, s.Seconds = s.Records+m.Records, s.Requests+m.Requests, s.Bytes+m.Bytes, s.Failed+m.Failed, s.Throttled+m.Throttled, s.Seconds+m.Seconds
		g.Throttled += m.Throttled
	}
	for i := range g.Runs { // the same run in the ledger's log begins a moment later
		if d := g.Runs[i].Start.Sub(run.Start); d >= -time.Second && d < time.Minute && g.Runs[i].Users == 0 {
			g.Runs[i].Users = run.Users
			break
		}
	}
}

// sameAction reports whether a prediction's action is what was measured under this name.
func sameAction(predicted, measured string) bool {
	return predicted == measured || predicted == "link" && measured == "insert"
}

// finish says what the figures of a generation leave out.
func (g *GenerationReport) finish(r *Report) {
	var unknown, records int64
	for _, run := range g.Runs {
		if run.Users == 0 && run.Records > 0 {
			unknown++
			records += run.Records
		}
	}
	if unknown > 0 {
		r.note("%s: of %d runs with %d records no figures by table are kept; they were of an older release, or the oldest of many", g.Name, unknown, records)
	}
	if killed := slices.IndexFunc(g.Runs, func(run ReportRun) bool { return run.End == nil }); killed >= 0 && r.Running == nil {
		r.note("%s: a run that was killed has no figures of its own; the counts of records include what it did", g.Name)
	}
}

// runStatus is a run of the ledger's log.
func runStatus(r ledger.Run) RunStatus {
	rs := RunStatus{Command: r.Command, Start: r.Start, Records: r.Records, Failed: r.Failed, Note: r.Note}
	if !r.End.IsZero() {
		rs.End = &r.End
	}
	return rs
}

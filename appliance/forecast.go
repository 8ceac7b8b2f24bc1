package appliance

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// EstimateOptions are what an estimate may assume differently from the settings.
type EstimateOptions struct {
	Users     int                // application users; 0 = as the settings say
	Servers   int                // web servers; 0 = as the settings say
	Batch     int                // records a bulk request; 0 = as the settings say
	Window    time.Duration      // 0 = as the settings say
	Rates     map[string]float64 // records a second of a table, stated; they win over all else
	NoProfile bool               // leave aside what was measured
	Imported  *RatesFile         // rates of another project, where this one has none of its own
	GoLive    time.Time          // when the source is frozen; zero = as soon as the proposal allows
}

// EstimateRow is the estimate for one kind of operation on one table.
type EstimateRow = plan.Row

// Estimate is how long the load will take, with what it assumes.
type Estimate struct {
	plan.Estimate
	Proposal plan.Proposal `json:"proposal"`
	Storage  plan.Storage  `json:"storage"`
	Notes    []string      `json:"notes"` // what a reader has to know: figures that were left aside, tables not staged
	Grade    plan.Grade    `json:"grade"`
}

// The server time of a record when nothing better is known: orders of magnitude from
// dataverse-web-api.md 16 (CreateMultiple 100 rows in about 1 s, UpdateMultiple 100 rows
// in 2 to 3 s, $batch without a gain over single requests). They may be half or double.
const (
	defaultInsert = 10 * time.Millisecond
	defaultUpdate = 25 * time.Millisecond
	defaultSingle = 30 * time.Millisecond
	defaultFile   = 100 * time.Millisecond
	defaultUpload = 10e6 // bytes a second
	defaultSpread = 1.0
	statedSpread  = 0.1
	defaultSource = "Microsoft's sample runs: 100 rows in 1 s created, in 2 to 3 s updated"
)

// Estimate says how long the load of what is staged and not yet done will take, from
// counts, limits and rates alone: no network.
func (p *Project) Estimate(ctx context.Context, o EstimateOptions) (Estimate, error) {
	f, err := p.forecast(ctx, o)
	if err != nil {
		return Estimate{}, err
	}
	if err := f.addHeirs(ctx); err != nil {
		return Estimate{}, err
	}
	return f.estimate(), nil
}

// forecast is what an estimate is made of.
type forecast struct {
	p        *Project
	o        EstimateOptions
	bound    *bound
	staged   map[string]bool
	measures map[string]measured // by table, pass and action
	imported *imported           // nil: none are given
	latency  *ProfileRun         // whose latency and client are used
	work     []plan.Work
	a        plan.Assumptions
	notes    []string
	scores   []plan.Criterion
	counts   map[string]int64 // records a table holds in all
	change   map[string]float64
	bytes    map[string]float64    // of a record's body
	files    map[string]float64    // of these, what goes to the file storage
	owed     map[string][3]float64 // shares of a table's records with deferred lookups, with files, and with a final state
	closed   map[string]float64    // share of the latter that an action closes
	leaving  map[string]int64      // records that wait to be deactivated, their rows being gone
	file     map[string]fileWork   // of a record that has files
	parts    map[string]partly     // the updates that wait with the changed columns alone
}

// measured is the newest measurement of a kind.
type measured struct {
	Measure
	run *ProfileRun
}

func (p *Project) forecast(ctx context.Context, o EstimateOptions) (*forecast, error) {
	f := &forecast{p: p, o: o, measures: map[string]measured{}, counts: map[string]int64{}, change: map[string]float64{}, bytes: map[string]float64{}, files: map[string]float64{}, owed: map[string][3]float64{}, file: map[string]fileWork{}, closed: map[string]float64{}, leaving: map[string]int64{}, parts: map[string]partly{}}
	if err := f.bind(ctx); err != nil {
		return nil, err
	}
	if err := f.knownTables(); err != nil {
		return nil, err
	}
	if !o.NoProfile {
		if err := f.readProfile(); err != nil {
			return nil, err
		}
	}
	f.assume()
	if o.Imported != nil {
		f.imported = newImported(o.Imported)
	}
	var err error
	if f.scores, err = p.scoreTable(); err != nil {
		return nil, err
	}
	for _, t := range f.bound.tables {
		if err := f.count(ctx, t); err != nil {
			return nil, err
		}
	}
	for _, step := range f.bound.plan.Steps {
		f.work = append(f.work, f.stepWork(step)...)
	}
	for _, step := range slices.Backward(f.bound.plan.Steps) {
		f.work = append(f.work, f.goneWork(step)...)
	}
	f.imported.say(f)
	return f, nil
}

// bind maps the tables: those that are staged, and those whose count is stated.
func (f *forecast) bind(ctx context.Context) error {
	p := f.p
	tables, err := p.stagedTables(ctx)
	if err != nil {
		return err
	}
	if len(tables) == 0 {
		return ErrNotStaged
	}
	if f.bound, err = p.bind(ctx, p.stage); err != nil {
		return err
	}
	f.staged = map[string]bool{}
	for _, t := range tables {
		f.staged[t.Name] = true
	}
	var missing []string
	for _, t := range f.bound.tables {
		switch {
		case f.staged[t.Name]:
			if err := p.sameColumns(ctx, t); err != nil {
				return err
			}
		case p.Config.Estimate.Rates[t.Name].Records > 0:
			f.note("%s is not staged yet: its count of %d is that of migration.yaml", t.Name, p.Config.Estimate.Rates[t.Name].Records)
		default:
			missing = append(missing, t.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not staged yet: %s\nrun `dvmigrate stage`, or state how many records they will have: estimate.rates.%s.records in migration.yaml", strings.Join(missing, ", "), missing[0])
	}
	return nil
}

func (f *forecast) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// knownTables refuses figures for tables that the project does not have.
func (f *forecast) knownTables() error {
	for _, names := range []struct {
		where string
		of    []string
	}{{"estimate.rates in migration.yaml", slices.Sorted(maps.Keys(f.p.Config.Estimate.Rates))}, {"--rate", slices.Sorted(maps.Keys(f.o.Rates))}} {
		for _, name := range names.of {
			if f.bound.byName[name] == nil {
				return fmt.Errorf("%s names the table %s, which has no transform in this project; it has %s", names.where, name, strings.Join(slices.Sorted(maps.Keys(f.bound.byName)), ", "))
			}
		}
	}
	return nil
}

// readProfile takes the newest measurement of each kind of work, measured before
// calibrated before rehearsed, and none of another environment.
func (f *forecast) readProfile() error {
	profile, err := f.p.LoadProfile()
	if err != nil {
		return err
	}
	pin, err := f.p.pin()
	if err != nil {
		return err
	}
	other := map[string]bool{}
	for _, kind := range []string{plan.Rehearsed, plan.Calibrated, plan.Measured} {
		for i := range profile.Runs {
			r := &profile.Runs[i]
			if r.Kind != kind {
				continue
			}
			if kind == plan.Measured && !f.p.sameEnvironment(r, pin) {
				other[r.URL] = true
				continue
			}
			if f.latency == nil || kind != plan.Rehearsed {
				f.latency = r
			}
			for _, m := range r.Tables {
				if m.tells() {
					f.measures[m.key()] = measured{m, r}
				}
			}
		}
	}
	for _, url := range slices.Sorted(maps.Keys(other)) {
		f.note("rates measured in %s are not used: this project's environment is %s", url, cmp.Or(f.p.Config.Target.Environment(), "not said yet"))
	}
	return nil
}

// So little is no measurement.
const (
	minRequests = 3
	minRecords  = 100
)

// sameEnvironment tells whether a run was made in the environment that the project loads.
func (p *Project) sameEnvironment(r *ProfileRun, pin *Pin) bool {
	if pin != nil {
		return r.Organization == pin.Organization
	}
	return r.URL == p.Config.Target.Environment()
}

// assume fills in what holds for all tables.
func (f *forecast) assume() {
	c := f.p.Config
	l, e := c.Limits, c.Estimate
	users := cmp.Or(f.o.Users, c.Users())
	f.a = plan.Assumptions{
		Limits:  plan.Limits{Requests: l.Requests, Execution: l.Execution, Concurrent: l.Concurrent, Window: l.Window, Users: users, Servers: cmp.Or(f.o.Servers, l.Servers)},
		Latency: e.Latency, Buffer: e.Buffer, Window: cmp.Or(f.o.Window, e.Window), Hint: e.Hint,
		Faults: plan.Faults{Undone: e.Faults / 100},
		Claim:  4 * time.Millisecond, ClientRecord: 10 * time.Microsecond, LatencySource: plan.Stated,
	}
	r := f.latency
	if r == nil {
		return
	}
	f.a.Latency, f.a.LatencySource = r.Latency, r.Kind
	if r.Hint > 0 {
		f.a.Hint = r.Hint
	}
	if r.ClientCPU > 0 {
		f.a.ClientRecord = seconds(r.ClientCPU / 1000)
	}
	var all Measure
	for _, m := range r.Tables {
		all.Requests += m.Requests
		all.Away += m.Away
		all.Undone += m.Undone
		all.Lost += m.Lost
	}
	if n := float64(all.Requests + all.Away + all.Undone + all.Lost); n >= 100 && r.Kind == plan.Measured {
		f.a.Faults = plan.Faults{Away: float64(all.Away) / n, Undone: float64(all.Undone) / n, Lost: float64(all.Lost) / n}
	}
}

// count finds out how many records a table has, and which share owes what.
func (f *forecast) count(ctx context.Context, t *mapping.Table) error {
	rate := f.p.Config.Estimate.Rates[t.Name]
	f.change[t.Name] = cmp.Or(rate.Change, f.p.Config.Estimate.Change) / 100
	f.bytes[t.Name] = float64(40 * (len(t.Columns) + len(t.Lookups) + 2))
	if !f.staged[t.Name] {
		f.counts[t.Name] = rate.Records
		if len(f.bound.plan.Deferred(t.Name)) > 0 {
			f.owed[t.Name] = [3]float64{1, 0, 0}
		}
		return nil
	}
	var all, lookups, files, state, closed, size, requests int64
	query := fmt.Sprintf(`SELECT count(*), count(*) FILTER (dm_owed & %d <> 0), count(*) FILTER (dm_owed & %d <> 0), count(*) FILTER (dm_owed & %[3]d <> 0),
		count(*) FILTER (dm_owed & %[3]d <> 0 AND %s), coalesce(sum(%s), 0)::BIGINT, coalesce(sum(%s), 0)::BIGINT FROM %s`,
		mapping.OwesLookups, mapping.OwesFiles, mapping.OwesState, t.ClosingsSQL(), t.FileBytesSQL(), t.FileRequestsSQL(dataverse.MaxChunk), duckstage.Ident(t.Name))
	if err := f.p.stage.Row(ctx, []any{&all, &lookups, &files, &state, &closed, &size, &requests}, query); err != nil {
		return fmt.Errorf("count %s: %w", t.Name, err)
	}
	f.counts[t.Name] = all
	if all > 0 {
		f.owed[t.Name] = [3]float64{float64(lookups) / float64(all), float64(files) / float64(all), float64(state) / float64(all)}
	}
	if files > 0 {
		f.file[t.Name] = fileWork{bytes: float64(size) / float64(files), requests: float64(requests) / float64(files)}
	}
	if state > 0 {
		f.closed[t.Name] = float64(closed) / float64(state)
	}
	if err := f.weigh(ctx, t); err != nil {
		return err
	}
	if err := f.countLeaving(ctx, t); err != nil {
		return err
	}
	return f.countParts(ctx, t)
}

// waiting counts the records that a step still has to do, by action.
func (f *forecast) waiting(step plan.Step) (inserts, updates int64) {
	if !f.staged[step.Table] {
		n := float64(f.counts[step.Table])
		switch step.Pass {
		case plan.Lookups:
			return 0, int64(n * f.owed[step.Table][0])
		case plan.Files:
			return 0, int64(n * f.owed[step.Table][1])
		case plan.State:
			return 0, int64(n * f.owed[step.Table][2])
		}
		return int64(n), 0
	}
	c := f.p.ledger.Counts(step.Table)
	main := func(a ledger.Action) int64 {
		return int64(c.Of(ledger.Unprocessed, ledger.Main, a) + c.Of(ledger.InFlight, ledger.Main, a))
	}
	inserts, updates = main(ledger.Insert), main(ledger.Update)-f.leaving[step.Table]
	if step.Pass == plan.Insert || step.Pass == plan.Link {
		return inserts, updates
	}
	at := func(pass ledger.Pass) (n int64) {
		for _, a := range []ledger.Action{ledger.Insert, ledger.Update} {
			n += int64(c.Of(ledger.Success, pass, a) + c.Of(ledger.InFlight, pass, a))
		}
		return n
	}
	// A part of a record owes the passes of its columns, all of a record those of its row.
	part := f.parts[step.Table]
	before := inserts + max(updates-part.records, 0)
	k, now := 0, at(ledger.Lookups)
	if step.Pass != plan.Lookups {
		k, before, now = 1, before+now, at(ledger.Files)
	}
	if step.Pass == plan.State {
		k, before, now = 2, before+now, at(ledger.State)
	}
	return 0, now + part.owe[k] + int64(f.owed[step.Table][k]*float64(before)+0.5)
}

// cost finds the speed of a work: measured, calibrated, rehearsed, stated, default. What
// is said with --rate goes before all of them.
func (f *forecast) cost(w *plan.Work, insert, update float64) {
	if said := f.o.Rates[w.Table]; said > 0 && w.Action != "update" && w.Action != "delete" {
		w.Rate, w.Source, w.Note, w.Spread = said, plan.Stated, "--rate", statedSpread
		return
	}
	if m, ok := findIn(f.measures, w); ok {
		request, record := m.costs(m.run.Latency)
		w.PerRequest, w.PerRecord, w.Source, w.Spread = request, record, m.run.Kind, m.spread()
		w.Note = fmt.Sprintf("%d requests on %s", m.Requests, m.run.Start.Format("2006-01-02 15:04"))
		if m.Records > 0 && m.run.Kind == plan.Measured {
			w.BadRows = min(float64(m.Failed)/float64(m.Records+m.Failed), 0.5)
		}
		if m.Records > 0 && m.Bytes > 0 && (w.Action != "update" || f.parts[w.Table].records == 0) { // which columns change is known better
			w.Bytes = max(float64(m.Bytes)/float64(m.Records), w.FileBytes)
		}
		return
	}
	stated := insert
	switch w.Action {
	case "update":
		stated = update
	case "delete":
		stated = 0
	}
	record := f.p.Config.Estimate.Record
	switch {
	case stated > 0:
		w.Rate, w.Source, w.Note, w.Spread = stated, plan.Stated, "estimate.rates in migration.yaml", statedSpread
	case f.imported.cost(f, w):
	case record > 0:
		w.PerRecord, w.Source, w.Note, w.Spread = record, plan.Stated, "estimate.record in migration.yaml", statedSpread
	default:
		w.PerRecord, w.Source, w.Note, w.Spread = defaultInsert, plan.Default, defaultSource, defaultSpread
		switch {
		case w.Message != plan.Bulk:
			w.PerRecord = defaultSingle
		case w.Action == "update":
			w.PerRecord = defaultUpdate
		}
	}
}

// findIn is the measurement of a work; an update of another pass on the same table is as
// good.
func findIn(measures map[string]measured, w *plan.Work) (measured, bool) {
	action := w.Action
	for _, pass := range []plan.Pass{w.Pass, plan.Lookups, plan.State, plan.Insert, plan.Link} {
		if m, ok := measures[w.Table+" "+string(pass)+" "+action]; ok && (m.Message == plan.Bulk) == (w.Message == plan.Bulk) {
			return m, true
		}
	}
	return measured{}, false
}

// estimate computes what was gathered.
func (f *forecast) estimate() Estimate {
	e := Estimate{Estimate: plan.Compute(f.work, f.a), Notes: f.notes}
	if e.Notes == nil {
		e.Notes = []string{}
	}
	e.Proposal = plan.Propose(f.work, f.a, e.Estimate, f.change, f.p.Config.Estimate.Split, time.Now(), f.o.GoLive)
	e.Storage = plan.StorageOf(f.work, e.Seconds)
	t := f.traits()
	if f.a.Window > 0 {
		t.Filled = e.Inside * (1 + f.a.Buffer/100) / f.a.Window.Seconds()
	}
	e.Grade = plan.GradeOf(t, f.scores)
	return e
}

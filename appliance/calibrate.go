package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage"
)

// A calibration asks a sandbox how long it takes: of each table some staged rows are
// created, updated, upserted and deleted again, one request at a time, in requests of
// several sizes, so that the time of a request and that of its records can be told apart.
// The records have ids of their own, which are on the disk before the first request.

// CalibrateOptions are what a calibration may say.
type CalibrateOptions struct {
	Target  string   // address of the sandbox; "" = the settings' target
	Sandbox string   // the address said again: it is a sandbox, though the load goes there
	Tables  []string // none = all
	Records int      // of each table
	DryRun  bool     // only say what would be done
	// Show is told what will be done before anything is sent.
	Show func(CalibrationPlan)
	// Begin is told of each table as its turn comes.
	Begin func(table, what string)
}

// CalibrationPlan is what a calibration will do.
type CalibrationPlan struct {
	URL      string             `json:"url"`
	Tables   []CalibrationTable `json:"tables"`
	Records  int                `json:"records"`  // that are there at once at the most
	Requests int                `json:"requests"` // about
}

// CalibrationTable is what will be done with a table.
type CalibrationTable struct {
	Table    string `json:"table"`
	Records  int    `json:"records"`
	Sizes    []int  `json:"sizes"`    // records a request
	Requests int    `json:"requests"` // of all actions together
	Skipped  string `json:"skipped,omitempty"`
}

// Calibration is what was measured.
type Calibration struct {
	Version int              `json:"version"`
	Plan    CalibrationPlan  `json:"plan"`
	DryRun  bool             `json:"dryRun,omitempty"`
	Latency float64          `json:"latencySeconds"`
	Hint    int              `json:"dopHint"`
	Actions []CalibratedTime `json:"actions"`
	Notes   []string         `json:"notes"`          // what could not be measured, and why
	Earlier int              `json:"earlierDeleted"` // records of an interrupted calibration
	Seconds float64          `json:"seconds"`
}

// CalibratedTime is the server time of one action on one table.
type CalibratedTime struct {
	Table    string  `json:"table"`
	Action   string  `json:"action"`
	Message  string  `json:"message"`
	Records  int64   `json:"records"`
	Requests int64   `json:"requests"`
	Failed   int64   `json:"failed"` // records
	Request  float64 `json:"secondsPerRequest"`
	Record   float64 `json:"secondsPerRecord"`
}

// SandboxError says that the load goes to the environment that was to be calibrated.
// Nothing was written there.
type SandboxError struct{ URL string }

func (e *SandboxError) Error() string {
	return fmt.Sprintf(`%s is the environment that this project loads: a calibration would create and delete records there, and run their plug-ins and flows; nothing was written
name a sandbox: dvmigrate calibrate --target URL
or, if that environment is one itself, say its address again: --yes-this-is-a-sandbox %s`, e.URL, e.URL)
}

// Calibrate measures a sandbox and keeps the figures in the profile. When drain ends it
// stops at the next request; what it created is deleted in any case. The project is open
// as Loading, and is not changed.
func (p *Project) Calibrate(ctx, drain context.Context, o CalibrateOptions) (r Calibration, err error) {
	began := time.Now()
	r = Calibration{Version: 1, DryRun: o.DryRun, Actions: []CalibratedTime{}, Notes: []string{}}
	load := p.Config.Target.Environment()
	if err := p.aimAt(o.Target); err != nil {
		return r, err
	}
	b, err := p.bindStaged(ctx)
	if err != nil {
		return r, err
	}
	if r.Plan, err = p.planCalibration(ctx, b, o); err != nil {
		return r, err
	}
	if o.Show != nil {
		o.Show(r.Plan)
	}
	if o.DryRun {
		return r, nil
	}
	if err := p.allowSandbox(load, schema.GUID{}, o.Sandbox); err != nil {
		return r, err
	}
	end, err := p.record(ctx, "calibrate", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, fmt.Sprintf("%d actions measured in %s", len(r.Actions), r.Plan.URL)) }()
	c := &calibrator{p: p, o: o, drain: drain, bound: b, out: &r, kept: map[string][]schema.GUID{}}
	p.observe = c.observe
	defer func() { p.observe = nil }()
	if c.target, err = p.connect(1); err != nil {
		return r, err
	}
	defer c.target.close()
	who, err := c.target.first().WhoAmI(ctx)
	if err != nil {
		return r, p.explainTarget(err)
	}
	if err := p.allowSandbox(load, who.OrganizationID, o.Sandbox); err != nil {
		return r, err
	}
	c.who = who
	if r.Earlier, err = c.cleanEarlier(ctx); err != nil {
		return r, p.explainTarget(err)
	}
	if err := c.run(ctx); err != nil {
		return r, p.explainTarget(err)
	}
	r.Seconds = time.Since(began).Seconds()
	if len(r.Actions) == 0 {
		return r, fmt.Errorf("calibrate: nothing could be measured\n%s", strings.Join(r.Notes, "\n"))
	}
	return r, p.keepRun(c.result(began))
}

// aimAt makes another environment the target of this process.
func (p *Project) aimAt(address string) error {
	if address == "" {
		return p.Config.RequireTarget()
	}
	t := p.Config.Target
	t.URL = address
	switch {
	case t.Environment() == "":
		return fmt.Errorf("--target %s is no address; it is such as https://acme-dev.crm4.dynamics.com", address)
	case !strings.HasPrefix(t.Environment(), "https://") && !t.Loopback():
		return fmt.Errorf("--target %s would send tokens and data in the clear; use https", address)
	}
	p.Config.Target = t
	return nil
}

// allowSandbox refuses the environment that the load goes to: by its address, and by its
// organization once it was asked.
func (p *Project) allowSandbox(load string, organization schema.GUID, again string) error {
	url := p.Config.Target.Environment()
	if again != "" {
		if said := (config.Target{URL: again}).Environment(); said != url {
			return fmt.Errorf("--yes-this-is-a-sandbox %s is not the address to calibrate, %s: both must name the same environment", again, url)
		}
		return nil
	}
	pin, err := p.pin()
	if err != nil {
		return err
	}
	if url == load || pin != nil && (pin.URL == url || pin.Organization == organization) {
		return &SandboxError{URL: url}
	}
	return nil
}

// planCalibration says what will be done, from the stage alone.
func (p *Project) planCalibration(ctx context.Context, b *bound, o CalibrateOptions) (CalibrationPlan, error) {
	out := CalibrationPlan{URL: p.Config.Target.Environment(), Tables: []CalibrationTable{}}
	for _, name := range o.Tables {
		if b.byName[name] == nil {
			return out, b.unknownTable(name)
		}
	}
	chosen := func(name string) bool { return len(o.Tables) == 0 || slices.Contains(o.Tables, name) }
	for _, step := range b.plan.Steps {
		if step.Pass != plan.Insert && step.Pass != plan.Link || !chosen(step.Table) {
			continue
		}
		t := b.byName[step.Table]
		x := CalibrationTable{Table: step.Table}
		query := fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s WHERE dm_hold IS NULL LIMIT %d)", duckstage.Ident(t.Name), o.Records)
		if err := p.stage.Row(ctx, []any{&x.Records}, query); err != nil {
			return out, fmt.Errorf("count %s: %w", t.Name, err)
		}
		actions := 4
		if t.Link != nil {
			actions = 2
			ends := []int{out.of(t.Link.Table1), out.of(t.Link.Table2)}
			x.Records = min(x.Records, ends[0], ends[1])
			if ends[0] == 0 || ends[1] == 0 {
				x.Skipped = fmt.Sprintf("links %s and %s, of which both have to be calibrated", t.Link.Table1, t.Link.Table2)
			}
		}
		if x.Records == 0 && x.Skipped == "" {
			x.Skipped = "no staged row of it would be sent"
		}
		if x.Skipped == "" {
			x.Sizes = requestSizes(x.Records, p.batchOf(t))
			x.Requests = actions * len(portions(x.Records, x.Sizes))
			out.Requests += x.Requests
			if t.Link == nil {
				out.Records += x.Records
			}
		}
		out.Tables = append(out.Tables, x)
	}
	return out, nil
}

// of is how many records of a table there will be.
func (c CalibrationPlan) of(table string) int {
	for _, t := range c.Tables {
		if t.Table == table {
			return t.Records
		}
	}
	return 0
}

// batchOf is how many records of a table the load sends at once, or begins with.
func (p *Project) batchOf(t *mapping.Table) int {
	s := p.Config.Table(t.Name)
	batch := int(s.Batch)
	if batch == 0 {
		batch = load.StartBatch(t)
	}
	switch {
	case s.Message == "single":
		return 1
	case s.Message == "batch", t.Link != nil, !t.Schema.CanBulk("create"):
		return min(batch, 100)
	}
	return batch
}

// requestSizes are the sizes of requests to compare: the load's own as far as the records
// go, four tenths and a tenth of it.
func requestSizes(records, batch int) []int {
	largest := max(min(batch, records/3), 1)
	var sizes []int
	for _, n := range []int{max(largest/10, 1), max(largest*4/10, 1), largest} {
		if !slices.Contains(sizes, n) {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

// portions deals n records out to requests of each size, the sizes in turn, so that each
// has about as many records as the others and none is measured only at the end. One
// record goes before all, to warm the service up.
func portions(n int, sizes []int) []int {
	if n == 0 {
		return nil
	}
	out := []int{1}
	sent := make([]int, len(sizes))
	for left := n - 1; left > 0; {
		least := 0
		for i := range sizes {
			if sent[i] < sent[least] {
				least = i
			}
		}
		size := min(sizes[least], left)
		sent[least] += sizes[least]
		left -= size
		out = append(out, size)
	}
	return out
}

// errCalibrationStopped says that somebody asked it to stop.
var errCalibrationStopped = errors.New("calibrate: stopped; what was created is deleted again, and nothing was kept")

// observe adds a request to the measure that is being taken.
func (c *calibrator) observe(x dataverse.Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.Kind == 0 && x.Op == "WhoAmI" && (c.latency == 0 || x.Took < c.latency) {
		c.latency = x.Took
	}
	if c.measure != nil {
		c.measure.take(x)
	}
}

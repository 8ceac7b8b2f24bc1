package appliance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"dvmigrate/ledger"
)

// DeltaOptions are what a delta may say differently from the project's settings.
type DeltaOptions struct {
	Load   LoadOptions
	Window time.Duration // it stops before the load when this is expected to take longer; 0 = never
	Stage  StageWatch
	Step   func(name string) // told of each step as it begins
}

// DeltaResult is what a delta did.
type DeltaResult struct {
	Version  int          `json:"version"`
	Name     string       `json:"name,omitempty"` // full, delta 1, ...; "" when it stopped before it was planned
	Steps    []DeltaStep  `json:"steps"`          // in their order
	Stage    *StageResult `json:"stage,omitempty"`
	Changes  DeltaChanges `json:"changes"`
	Rejected int64        `json:"rejected"` // lines of the sources that could not be read
	Held     int64        `json:"held"`     // rows set aside because they do not fit
	Waiting  int64        `json:"waiting"`
	Expected *Expected    `json:"expected,omitempty"`
	Load     *LoadResult  `json:"load,omitempty"` // nothing was sent where it is missing
	Seconds  float64      `json:"seconds"`
	Stopped  string       `json:"stopped,omitempty"` // the step that stopped it, and why
}

// DeltaStep is how long one step took.
type DeltaStep struct {
	Name    string  `json:"name"` // finish, stage, check, estimate, load
	Seconds float64 `json:"seconds"`
}

// DeltaChanges is what comparing found.
type DeltaChanges struct {
	Insert int64 `json:"insert"`
	Update int64 `json:"update"`
	Delete int64 `json:"delete"`
	Gone   int64 `json:"gone"` // rows that are no longer supplied
	Same   int64 `json:"same"`
}

// Expected is how long the load is expected to take.
type Expected struct {
	Seconds float64 `json:"seconds"` // by the estimate
	ByLast  float64 `json:"byLast"`  // by as much more or less as the last deltas took; 0: there was none
	Deltas  int     `json:"deltas"`  // that say so
}

// DeltaStopped says that a delta stopped before anything was sent.
type DeltaStopped struct {
	Step string
	Err  error
}

func (e *DeltaStopped) Error() string {
	return fmt.Sprintf("the delta stopped at the step %s, before anything was sent: %v", e.Step, e.Err)
}

func (e *DeltaStopped) Unwrap() error { return e.Err }

// did is what a delta did, in words.
func (r DeltaResult) did() string {
	if r.Load == nil {
		return "nothing sent"
	}
	return r.Load.did()
}

// Delta stages, compares, checks, estimates and loads. What an interrupted load has left in
// flight is settled and finished first. An error before the load is a *DeltaStopped; one of
// the load is the load's own. The result says how far it came.
func (p *Project) Delta(ctx, drain context.Context, o DeltaOptions) (r DeltaResult, err error) {
	begin := time.Now()
	r = DeltaResult{Version: 1, Steps: []DeltaStep{}}
	_, finish := p.alerting(ctx, "delta", o.Load.SnapshotEvery)
	defer func() {
		if r.Seconds = time.Since(begin).Seconds(); err != nil {
			r.Stopped = err.Error()
		}
		finish(r.did(), err)
	}()
	step := func(name string, do func() error) error {
		o.Step(name)
		start := time.Now()
		err := do()
		r.Steps = append(r.Steps, DeltaStep{name, time.Since(start).Seconds()})
		if err != nil && name != "load" && name != "finish" {
			return &DeltaStopped{name, err}
		}
		return err
	}
	if p.refuseInFlight() != nil {
		err := step("finish", func() error {
			_, err := p.Load(ctx, drain, o.Load)
			return err
		})
		if err != nil {
			return r, err
		}
	}
	if err := step("stage", func() error { return p.deltaStage(drain, o, &r) }); err != nil {
		return r, err
	}
	if r.Waiting == 0 && !p.owesHeirs() {
		return r, nil
	}
	if err := step("check", func() error { return p.deltaCheck(ctx) }); err != nil {
		return r, err
	}
	if err := step("estimate", func() error { return p.deltaExpect(ctx, o.Window, &r) }); err != nil {
		return r, err
	}
	return r, step("load", func() error {
		l, err := p.Load(ctx, drain, o.Load)
		if emptied := (*EmptiedError)(nil); errors.As(err, &emptied) || err != nil && l.Tables == nil { // it did not begin
			return &DeltaStopped{"load", err}
		}
		r.Load = &l
		if err == nil {
			err = p.keepDelta(r)
		}
		return err
	})
}

func (p *Project) deltaStage(drain context.Context, o DeltaOptions, r *DeltaResult) error {
	s, err := p.Stage(drain, nil, o.Stage)
	if err != nil {
		return err
	}
	r.Stage = &s
	for _, t := range s.Tables {
		r.Changes.Gone += t.Gone
		r.Changes.Same += t.Same
	}
	r.Rejected, r.Held = s.Aside()
	all, err := p.ledger.Generations()
	if err != nil || len(all) == 0 {
		return err
	}
	g := all[len(all)-1]
	total := g.Total()
	r.Name, r.Changes.Insert, r.Changes.Update, r.Changes.Delete = g.Name(), total.Insert, total.Update, total.Delete
	r.Changes.Same = max(r.Changes.Same-total.Carried, 0) // the same as at the last staging, but not as in the target
	for _, t := range p.ledger.Tables() {
		c := p.ledger.Counts(t.Name)
		for _, pass := range []ledger.Pass{ledger.Main, ledger.Lookups, ledger.Files, ledger.State} {
			r.Waiting += int64(c.Waiting(pass))
		}
	}
	return nil
}

// deltaCheck looks for what would make the load fail, in the project and in the environment.
func (p *Project) deltaCheck(ctx context.Context) error {
	r, err := p.Check(ctx, true)
	if err != nil {
		return err
	}
	if len(r.Faults) > 0 {
		return r.Faults
	}
	if r.Online == nil || !r.Online.Failed() {
		return nil
	}
	var found []string
	for _, f := range r.Online.Findings {
		if f.Level == LevelError {
			found = append(found, strings.TrimSuffix(f.Subject+": "+f.Message+"\n"+f.Hint, "\n"))
		}
	}
	return errors.New(strings.Join(found, "\n"))
}

// deltaExpect estimates the load, and stops where it would not fit the window.
func (p *Project) deltaExpect(ctx context.Context, window time.Duration, r *DeltaResult) error {
	e, err := p.Estimate(ctx, EstimateOptions{})
	if err != nil {
		return err
	}
	past, err := p.deltas()
	if err != nil {
		return err
	}
	r.Expected = &Expected{Seconds: e.Buffered}
	expected := r.Expected.Seconds
	if r.Expected.ByLast, r.Expected.Deltas = byLast(e.Buffered, past); r.Expected.Deltas > 0 {
		expected = r.Expected.ByLast
	}
	if window > 0 && expected > window.Seconds() {
		return fmt.Errorf("the load is expected to take %v, and the window is %v; it is staged: `dvmigrate load` sends it", time.Duration(expected*float64(time.Second)).Round(time.Second), window)
	}
	return nil
}

// worthScaling is from how many seconds on a delta's load errs by a factor. What a smaller one takes
// more than estimated, as to sign in, a large one takes once too.
const worthScaling = 30

// byLast corrects an estimate, in seconds, by what the last n deltas took to what was estimated of
// them: the estimate knows what is sent, inserts or a few columns, and these how it errs here.
func byLast(estimate float64, past []pastDelta) (expected float64, n int) {
	var took, estimated float64
	for _, d := range past[max(0, len(past)-lastDeltas):] {
		if d.Estimated > 0 {
			took, estimated = took+d.Load, estimated+d.Estimated
			n++
		}
	}
	switch {
	case n == 0:
		return 0, 0
	case estimated/float64(n) >= worthScaling:
		return estimate * took / estimated, n
	}
	return max(estimate+(took-estimated)/float64(n), 0), n
}

// lastDeltas is how many of the deltas before count for the next.
const lastDeltas = 3

// pastDelta is what is kept of a delta, in work/deltas.json.
type pastDelta struct {
	Name    string       `json:"name"`
	Ended   time.Time    `json:"ended"`
	Changes DeltaChanges `json:"changes"`
	Sent    int64        `json:"sent"`
	Bytes   int64        `json:"bytes"`
	Load    float64      `json:"loadSeconds"`
	Seconds float64      `json:"seconds"` // all steps
	// Estimated is what the estimate said of the load, in seconds; 0: it was kept before it was noted.
	Estimated float64 `json:"estimatedSeconds,omitempty"`
}

func (p *Project) deltasPath() string { return filepath.Join(p.work(), "deltas.json") }

// deltas lists the deltas that came to their end, the oldest first.
func (p *Project) deltas() (all []pastDelta, err error) {
	if _, err := readNote(p.deltasPath(), &all); err != nil {
		return nil, fmt.Errorf("read how long the deltas before took, %s: %w", p.deltasPath(), err)
	}
	return all, nil
}

// keepDelta notes how long a delta took. The full load is none, and says nothing of the next.
func (p *Project) keepDelta(r DeltaResult) error {
	if !strings.HasPrefix(r.Name, ledger.KindDelta) || r.Load.Sent == 0 {
		return nil
	}
	all, err := p.deltas()
	if err != nil {
		p.o.Log.Warn("the deltas before are not kept", "error", err)
	}
	d := pastDelta{Name: r.Name, Ended: time.Now().UTC().Round(time.Second), Changes: r.Changes, Sent: r.Load.Sent, Bytes: r.Load.Bytes, Load: r.Load.Seconds, Seconds: r.Load.Seconds}
	if r.Expected != nil {
		d.Estimated = r.Expected.Seconds
	}
	for _, s := range r.Steps {
		d.Seconds += s.Seconds
	}
	return keepNote(p.deltasPath(), append(all, d))
}

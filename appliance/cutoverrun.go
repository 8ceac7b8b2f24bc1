package appliance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/plan"
)

// CutoverRun is a cutover under way: the runbook's technical steps, and the gates between them
// at which people say that it goes on. It is kept in work/cutover.json after every change, so
// that a run that was killed goes on with the step it was in; who confirmed what is in the
// audit trail too. The steps are these, one after the other:
//
//	freeze, extract    gates: the source stands still, its last extract is there
//	stage              stages, compares, checks, estimates; snapshot
//	go-1               gate: go or no-go, begin to load
//	load               the last delta, with its deferred lookups, files and states
//	mend               gate, only when records failed: they are mended, or agreed
//	passes             what waits after that
//	reconcile          compares the target
//	differences        gate, only when it does not pass: they are explained and agreed
//	accept, go-2       gates: the business has signed; go or no-go, switch over
//	switch             gate: users and interfaces are switched. THE POINT OF NO RETURN
//	close              the last snapshot
//
// A working step is done again when it was killed: staging, loading and comparing go on, or
// give the same. A step is never done before those that come before it.
type CutoverRun struct {
	Version    int           `json:"version"`
	Project    string        `json:"project"`
	Begun      time.Time     `json:"begun"`
	Ended      time.Time     `json:"ended,omitzero"`
	CalledOff  string        `json:"calledOff,omitempty"` // why
	Window     plan.Window   `json:"window"`
	Latest     time.Time     `json:"latest"` // the load must be over by then
	Steps      []CutoverStep `json:"steps"`
	Rollback   plan.Rollback `json:"rollback"`
	Generation uint32        `json:"generation,omitempty"` // what the go was given for

	Changes  DeltaChanges `json:"changes"`
	Waiting  int64        `json:"waiting"`  // records that are to be sent
	Expected Expected     `json:"expected"` // of the load
	Failed   int64        `json:"failed"`   // records that failed or are held, at the last look
	Compared string       `json:"compared,omitempty"`
	Differs  bool         `json:"differs,omitempty"` // the comparison does not pass
}

// CutoverStep is a step or a gate, as it was planned and as it went.
type CutoverStep struct {
	Name     string    `json:"name"`
	Gate     bool      `json:"gate,omitempty"`
	NoReturn bool      `json:"pointOfNoReturn,omitempty"`
	What     string    `json:"what"`
	Owner    string    `json:"owner,omitempty"`
	Planned  time.Time `json:"planned,omitzero"`
	Seconds  float64   `json:"plannedSeconds"`
	State    string    `json:"state"`
	Began    time.Time `json:"began,omitzero"` // of a gate: since when it is waited at
	Ended    time.Time `json:"ended,omitzero"`
	Tries    int       `json:"tries,omitempty"`
	By       string    `json:"by,omitempty"`   // who confirmed a gate
	Said     string    `json:"said,omitempty"` // what was done, or what is known at the gate
}

// The states of a step.
const (
	StepAhead   = "ahead"
	StepRunning = "running" // or killed in it
	StepWaiting = "waiting" // at a gate
	StepFailed  = "failed"
	StepDone    = "done"
	StepNoNeed  = "no need"
)

func (s *CutoverStep) over() bool { return s.State == StepDone || s.State == StepNoNeed }

// cutoverSteps are the steps in their order.
var cutoverSteps = []CutoverStep{
	{Name: "freeze", Gate: true, What: "the source is frozen: read-only, interfaces stopped, jobs held"},
	{Name: "extract", Gate: true, What: "the last extract of the source is complete, where the sources are read from"},
	{Name: "stage", What: "stage, compare, check, estimate; snapshot"},
	{Name: "go-1", Gate: true, What: "go or no-go: begin to load"},
	{Name: "load", What: "load what waits, with deferred lookups, files and states"},
	{Name: "mend", Gate: true, What: "what failed is mended (dvmigrate errors, retry), or is listed and agreed"},
	{Name: "passes", What: "what waits after that: mended records, deferred lookups, files, states"},
	{Name: "reconcile", What: "compare the target with what was loaded"},
	{Name: "differences", Gate: true, What: "the differences are explained and agreed (where they were mended, dvmigrate cutover run --again reconcile compares anew)"},
	{Name: "accept", Gate: true, What: "the business has looked at the target and signed"},
	{Name: "go-2", Gate: true, What: "go or no-go: switch over; after this there is no way back"},
	{Name: "switch", Gate: true, NoReturn: true, What: "users and interfaces are switched to the target"},
	{Name: "close", What: "the last snapshot"},
}

// newCutover begins a cutover by its runbook.
func newCutover(b plan.Runbook, now time.Time) CutoverRun {
	r := CutoverRun{Version: 1, Project: b.Project, Begun: now, Window: b.Window, Latest: b.Rollback.Latest, Rollback: b.Rollback, Steps: slices.Clone(cutoverSteps)}
	for i := range r.Steps {
		s := &r.Steps[i]
		s.State = StepAhead
		at := slices.IndexFunc(b.Tasks, func(t plan.Task) bool { return t.Step == s.Name })
		if at >= 0 {
			t := b.Tasks[at]
			s.Planned, s.Seconds, s.Owner = t.Start, t.Seconds, t.Owner
		}
	}
	return r
}

// Current is the step that is done next, waited at or under way; nil when all are over.
func (r *CutoverRun) Current() *CutoverStep {
	for i := range r.Steps {
		if !r.Steps[i].over() {
			return &r.Steps[i]
		}
	}
	return nil
}

func (r *CutoverRun) step(name string) *CutoverStep {
	at := slices.IndexFunc(r.Steps, func(s CutoverStep) bool { return s.Name == name })
	if at < 0 {
		return nil
	}
	return &r.Steps[at]
}

// Spare is what remains of the window at a moment beside what is planned of the steps that are
// not over; less than 0: so much is missing.
func (r *CutoverRun) Spare(now time.Time) (left, needed, spare time.Duration) {
	for i := range r.Steps {
		s := &r.Steps[i]
		if s.over() {
			continue
		}
		seconds := s.Seconds
		if s.Name == "load" && r.Expected.Seconds > 0 {
			seconds = r.expected().Seconds()
		}
		if !s.Began.IsZero() && s.State != StepFailed {
			seconds = max(0, seconds-now.Sub(s.Began).Seconds())
		}
		needed += time.Duration(seconds * float64(time.Second))
	}
	whole := min(r.Window.End.Sub(now), r.Window.Length()) // of a window that has not begun all is left
	return max(0, whole), needed, whole - needed
}

// expected is how long the load is expected to take.
func (r *CutoverRun) expected() time.Duration {
	seconds := r.Expected.Seconds
	if r.Expected.Deltas > 0 {
		seconds = r.Expected.ByLast
	}
	return time.Duration(seconds * float64(time.Second))
}

// PastReturn reports whether the point of no return is passed.
func (r *CutoverRun) PastReturn() bool { return r.step("switch").State == StepDone }

// AtGateError says that a cutover waits for people.
type AtGateError struct{ Step CutoverStep }

func (e *AtGateError) Error() string {
	text := fmt.Sprintf("the cutover waits at the gate %s: %s", e.Step.Name, e.Step.What)
	if e.Step.Said != "" {
		text += " (" + e.Step.Said + ")"
	}
	if e.Step.NoReturn {
		text += "; THIS IS THE POINT OF NO RETURN"
	}
	return text + fmt.Sprintf("; when it is so: dvmigrate cutover run --confirm %s", e.Step.Name)
}

func cutoverPath(c *config.Config) string { return filepath.Join(c.Path(c.Work), "cutover.json") }

// errNoCutover says that none was begun.
var errNoCutover = errors.New("no cutover has been begun; `dvmigrate cutover run` begins one by the runbook that `dvmigrate cutover plan` writes")

// ReadCutover reads how far the cutover of a project is. It may be read beside a run.
func ReadCutover(c *config.Config) (r CutoverRun, err error) {
	there, err := readNote(cutoverPath(c), &r)
	if !there && err == nil {
		return r, errNoCutover
	}
	if err == nil && len(r.Steps) != len(cutoverSteps) {
		err = errors.New("it is of another version")
	}
	if err != nil {
		return r, fmt.Errorf("read how far the cutover is, %s: %w", cutoverPath(c), err)
	}
	return r, nil
}

// cutoverWalk goes from step to step.
type cutoverWalk struct {
	run  *CutoverRun
	save func() error
	work map[string]func(ctx context.Context) (said string, err error)
	// need says of a gate what is known there, and whether anybody need be asked.
	need map[string]func() (said string, need bool)
	// confirmed notes in the audit trail who said that it goes on.
	confirmed func(ctx context.Context, s CutoverStep) (by string, err error)
	watch     func(CutoverStep)
}

// walk does the steps up to the first gate that is not confirmed, or to the end.
func (w *cutoverWalk) walk(ctx context.Context, confirm []string) error {
	confirm, err := w.inOrder(confirm)
	if err != nil {
		return err
	}
	for s := w.run.Current(); s != nil; s = w.run.Current() {
		if s.Gate {
			if confirm, err = w.gate(ctx, s, confirm); err != nil {
				return err
			}
			continue
		}
		if err := w.do(ctx, s); err != nil {
			return err
		}
	}
	w.run.Ended = time.Now().UTC()
	return w.save()
}

// inOrder refuses what is confirmed before it is its turn: a gate may be confirmed when the
// run stands before it, with nothing to be done in between whose outcome nobody has seen.
func (w *cutoverWalk) inOrder(confirm []string) (left []string, err error) {
	for _, name := range confirm {
		s := w.run.step(name)
		if s == nil || !s.Gate {
			var gates []string
			for _, g := range cutoverSteps {
				if g.Gate {
					gates = append(gates, g.Name)
				}
			}
			return nil, fmt.Errorf("there is no gate %q; the gates are %s", name, strings.Join(gates, ", "))
		}
		if !s.over() { // what was confirmed before may be said again
			left = append(left, name)
		}
	}
	ahead := left
	for i := range w.run.Steps {
		s := &w.run.Steps[i]
		switch {
		case len(ahead) == 0:
			return left, nil
		case s.over():
		case s.Gate && s.Name == ahead[0]:
			ahead = ahead[1:]
		case s.Gate && w.need[s.Name] != nil && s.State != StepWaiting: // it may turn out that nobody need be asked
		default:
			at := w.run.Current()
			return nil, fmt.Errorf("the gate %s cannot be confirmed yet: the cutover is at %s, and %s comes before it; nothing was done", ahead[0], at.Name, s.Name)
		}
	}
	return nil, fmt.Errorf("the gate %s comes before another that was named first; nothing was done", ahead[0])
}

// gate passes a gate that nobody need be asked at, or that is confirmed.
func (w *cutoverWalk) gate(ctx context.Context, s *CutoverStep, confirm []string) ([]string, error) {
	now := time.Now().UTC()
	if need := w.need[s.Name]; need != nil {
		asks := false
		if s.Said, asks = need(); !asks {
			s.State, s.Ended = StepNoNeed, now
			w.watch(*s)
			return confirm, w.save()
		}
	}
	if s.Began.IsZero() {
		s.Began = now
	}
	if len(confirm) == 0 || confirm[0] != s.Name {
		s.State = StepWaiting
		if err := w.save(); err != nil {
			return nil, err
		}
		return nil, &AtGateError{*s}
	}
	by, err := w.confirmed(ctx, *s)
	if err != nil {
		return nil, err
	}
	s.State, s.Ended, s.By = StepDone, now, by
	w.watch(*s)
	return confirm[1:], w.save()
}

// do does a working step.
func (w *cutoverWalk) do(ctx context.Context, s *CutoverStep) error {
	if s.Began.IsZero() {
		s.Began = time.Now().UTC()
	}
	s.State, s.Said = StepRunning, ""
	s.Tries++
	if err := w.save(); err != nil {
		return err
	}
	w.watch(*s)
	said, err := w.work[s.Name](ctx)
	switch {
	case errors.Is(err, ErrDrained), errors.Is(err, context.Canceled):
		return fmt.Errorf("the cutover was stopped in the step %s, and goes on there: dvmigrate cutover run: %w", s.Name, err)
	case err != nil:
		s.State, s.Said = StepFailed, err.Error()
		return errors.Join(fmt.Errorf("the cutover stopped in the step %s, which is done again by dvmigrate cutover run: %w", s.Name, err), w.save())
	}
	s.State, s.Said, s.Ended = StepDone, said, time.Now().UTC()
	w.watch(*s)
	return w.save()
}

// again takes back a step and all after it, to be done once more.
func (r *CutoverRun) again(name string) error {
	s := r.step(name)
	switch {
	case s == nil:
		return fmt.Errorf("there is no step %q; they are listed by `dvmigrate cutover status`", name)
	case r.PastReturn():
		return errors.New("the point of no return is passed: users work in the target, and what they did would be compared and overwritten")
	case s.State == StepAhead:
		return fmt.Errorf("the step %s was not done yet: the cutover is at %s", name, r.Current().Name)
	}
	for i := range r.Steps {
		if r.Steps[i].Name == name {
			for k := i; k < len(r.Steps); k++ {
				t := &r.Steps[k]
				t.State, t.Began, t.Ended, t.By, t.Said = StepAhead, time.Time{}, time.Time{}, "", ""
			}
		}
	}
	r.Ended = time.Time{}
	return nil
}

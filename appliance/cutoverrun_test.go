package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/plan"
)

// walker is a cutover whose steps do nothing, but take an hour each.
type walker struct {
	run    CutoverRun
	did    []string
	fail   map[string]error // of the next try of a step
	failed bool             // records have
	saved  []byte
	notes  []string
}

func newWalker(t *testing.T) *walker {
	t.Helper()
	start := time.Now().UTC().Truncate(time.Second)
	w := plan.Window{Start: start, End: start.Add(26 * time.Hour), Zone: "UTC"}
	b, err := plan.Cutover("crm", w, plan.UsualFixed(), plan.Proposal{Supplies: []plan.Supply{{Name: "delta 4", Records: 1000, Seconds: 2 * 3600}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	return &walker{run: newCutover(b, start), fail: map[string]error{}}
}

// on goes on as a new process does, from what was kept.
func (w *walker) on(t *testing.T, confirm ...string) error {
	t.Helper()
	if w.saved != nil {
		w.run = CutoverRun{}
		if err := json.Unmarshal(w.saved, &w.run); err != nil {
			t.Fatal(err)
		}
	}
	do := func(name string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) {
			w.did = append(w.did, name)
			time.Sleep(time.Hour) // of the bubble
			err := w.fail[name]
			delete(w.fail, name)
			return "did " + name, err
		}
	}
	walk := cutoverWalk{run: &w.run, watch: func(CutoverStep) {},
		save: func() (err error) { w.saved, err = json.Marshal(w.run); return err },
		work: map[string]func(context.Context) (string, error){},
		need: map[string]func() (string, bool){"mend": func() (string, bool) { return "some failed", w.failed }, "differences": func() (string, bool) { return "differs", w.run.Differs }},
		confirmed: func(_ context.Context, s CutoverStep) (string, error) {
			w.notes = append(w.notes, s.Name)
			return "ann", nil
		}}
	for _, s := range cutoverSteps {
		if !s.Gate {
			walk.work[s.Name] = do(s.Name)
		}
	}
	return walk.walk(t.Context(), confirm)
}

// at requires that a run waits at a gate.
func at(t *testing.T, gate string, err error) {
	t.Helper()
	var e *AtGateError
	if !errors.As(err, &e) || e.Step.Name != gate {
		t.Fatalf("error %v, want to wait at %s", err, gate)
	}
}

func TestCutoverGoesFromGateToGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWalker(t)
		at(t, "freeze", w.on(t))
		at(t, "freeze", w.on(t)) // asking again changes nothing
		at(t, "go-1", w.on(t, "freeze", "extract"))
		at(t, "accept", w.on(t, "go-1"))
		if want := []string{"stage", "load", "passes", "reconcile"}; !slices.Equal(w.did, want) {
			t.Errorf("did %v, want %v", w.did, want)
		}
		if m, d := w.run.step("mend"), w.run.step("differences"); m.State != StepNoNeed || d.State != StepNoNeed {
			t.Errorf("mend %s, differences %s: nobody need be asked", m.State, d.State)
		}
		if w.run.PastReturn() {
			t.Error("past the point of no return before it")
		}
		at(t, "switch", w.on(t, "freeze", "accept", "go-2")) // what was confirmed may be said again
		if err := w.on(t, "switch"); err != nil || w.run.Ended.IsZero() || !w.run.PastReturn() {
			t.Errorf("at the end: %v, %+v", err, w.run)
		}
		if want := []string{"freeze", "extract", "go-1", "accept", "go-2", "switch"}; !slices.Equal(w.notes, want) {
			t.Errorf("noted %v, want %v", w.notes, want)
		}
	})
}

func TestCutoverRefusesWhatIsOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name    string
			before  [][]string
			confirm []string
			err     string
		}{
			{"no gate", nil, []string{"start"}, `there is no gate "start"; the gates are freeze, extract, go-1`},
			{"a working step", nil, []string{"load"}, `there is no gate "load"`},
			{"the last first", nil, []string{"switch"}, "the gate switch cannot be confirmed yet: the cutover is at freeze, and freeze comes before it"},
			{"a go before its figures are there", nil, []string{"freeze", "extract", "go-1"}, "the gate go-1 cannot be confirmed yet: the cutover is at freeze, and stage comes before it"},
			{"turned round", nil, []string{"extract", "freeze"}, "the gate extract cannot be confirmed yet"},
			{"acceptance before the load", [][]string{{"freeze", "extract"}}, []string{"go-1", "accept"}, "load comes before it"},
			{"mending before anything failed", [][]string{{"freeze", "extract"}}, []string{"mend"}, "the gate mend cannot be confirmed yet: the cutover is at go-1, and go-1 comes before it"},
			{"to switch without the second go", [][]string{{"freeze", "extract"}, {"go-1"}}, []string{"accept", "switch"}, "the gate switch cannot be confirmed yet: the cutover is at accept, and go-2 comes before it"},
		} {
			w := newWalker(t)
			for _, b := range c.before {
				var e *AtGateError
				if err := w.on(t, b...); !errors.As(err, &e) {
					t.Fatal(err)
				}
			}
			noted, did := len(w.notes), len(w.did)
			if err := w.on(t, c.confirm...); err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %s", c.name, err, c.err)
			}
			if len(w.notes) != noted || len(w.did) != did {
				t.Errorf("%s: something was done", c.name)
			}
		}
	})
}

func TestCutoverGoesOnWhereItWasKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWalker(t)
		w.failed = true
		at(t, "go-1", w.on(t, "freeze", "extract"))
		w.fail["load"] = context.Canceled // what is kept is what a kill would leave
		if err := w.on(t, "go-1"); err == nil || !strings.Contains(err.Error(), "goes on there") || w.run.step("load").State != StepRunning {
			t.Fatalf("%v, %s", err, w.run.step("load").State)
		}
		began := w.run.step("load").Began
		w.fail["load"] = errors.New("the target is away")
		if err := w.on(t); err == nil || !strings.Contains(err.Error(), "the target is away") || w.run.step("load").State != StepFailed {
			t.Fatalf("%v, %s", err, w.run.step("load").State)
		}
		at(t, "mend", w.on(t))
		if s := w.run.step("load"); s.Tries != 3 || !s.Began.Equal(began) || s.Ended.Sub(s.Began) != 3*time.Hour {
			t.Errorf("load: %+v", s)
		}
		w.failed = false // mended meanwhile: nobody need be asked any more
		at(t, "accept", w.on(t))
		if want := []string{"stage", "load", "load", "load", "passes", "reconcile"}; !slices.Equal(w.did, want) {
			t.Errorf("did %v, want %v", w.did, want)
		}
	})
}

func TestCutoverAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWalker(t)
		at(t, "freeze", w.on(t))
		if err := w.run.again("load"); err == nil || !strings.Contains(err.Error(), "was not done yet: the cutover is at freeze") {
			t.Errorf("error %v", err)
		}
		if err := w.run.again("lod"); err == nil || !strings.Contains(err.Error(), `no step "lod"`) {
			t.Errorf("error %v", err)
		}
		at(t, "go-1", w.on(t, "freeze", "extract"))
		w.run.Differs = true
		if err := w.run.again("stage"); err != nil || w.run.Current().Name != "stage" {
			t.Errorf("%v, at %s", err, w.run.Current().Name)
		}
		w.saved, _ = json.Marshal(w.run)
		at(t, "go-1", w.on(t))
		at(t, "differences", w.on(t, "go-1"))
		at(t, "accept", w.on(t, "differences"))
		at(t, "switch", w.on(t, "accept", "go-2"))
		if err := w.on(t, "switch"); err != nil {
			t.Fatal(err)
		}
		if err := w.run.again("reconcile"); err == nil || !strings.Contains(err.Error(), "the point of no return is passed") {
			t.Errorf("error %v", err)
		}
		p := &Project{}
		if err := p.callOff(&w.run, "late"); err == nil || !strings.Contains(err.Error(), "the point of no return is passed") {
			t.Errorf("error %v", err)
		}
	})
}

func TestCutoverTellsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWalker(t)
		// The usual fixed tasks take 9 h 15 min without the second look, the load 2 h.
		fixed := plan.UsualFixed()
		all := fixed.Freeze + fixed.Extract + fixed.Stage + 2*fixed.GoNoGo + fixed.Mend + fixed.Reconcile + fixed.Accept + fixed.Switch + 2*time.Hour
		if left, needed, spare := w.run.Spare(time.Now()); left != 26*time.Hour || needed != all || spare != left-all {
			t.Errorf("at the start %v are left, %v needed, %v to spare", left, needed, spare)
		}
		at(t, "go-1", w.on(t, "freeze", "extract")) // an hour passes
		w.run.Expected = Expected{Seconds: 3600, ByLast: 5 * 3600, Deltas: 2}
		after := all - fixed.Freeze - fixed.Extract - fixed.Stage - 2*time.Hour + 5*time.Hour
		if left, needed, spare := w.run.Spare(time.Now()); left != 25*time.Hour || needed != after || spare != left-after {
			t.Errorf("later %v are left, %v needed (want %v), %v to spare", left, needed, after, spare)
		}
		time.Sleep(30 * time.Hour)
		if left, _, spare := w.run.Spare(time.Now()); left != 0 || spare >= 0 {
			t.Errorf("after the window %v are left, %v to spare", left, spare)
		}
	})
}

// TestTheRunbookNamesADelta: what waits after a load is no full load.
func TestTheRunbookNamesADelta(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {}")
	stageAndLoad(t, dir, url)
	p := stageChangedAccount(t, dir, url)
	b, err := p.Cutover(t.Context(), CutoverOptions{Window: "2027-03-06 20:00/2027-03-07 22:00", Zone: "UTC", Fixed: UsualFixed()})
	if err != nil || b.Load.Name != "what waits now, of delta 1" {
		t.Errorf("%v, %q", err, b.Load.Name)
	}
}

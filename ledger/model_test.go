package ledger

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// model is what a ledger's table should hold.
type model struct {
	entries []Entry // Time is left out
	reasons map[uint32]Reason
}

// take applies ev to r, or to nothing when one record refuses.
func (m *model) take(changes []modelChange) (ok bool) {
	entries, reasons := slices.Clone(m.entries), maps.Clone(m.reasons)
	for _, c := range changes {
		if c.r.From >= c.r.To || int(c.r.To) > len(entries) {
			return false
		}
		for seq := c.r.From; seq < c.r.To; seq++ {
			e, err := next(entries[seq], c.ev)
			if err != nil {
				return false
			}
			if e == entries[seq] {
				continue
			}
			entries[seq] = e
			delete(reasons, seq)
			if e.Flag.failing() {
				reasons[seq] = c.reason
			}
		}
	}
	m.entries, m.reasons = entries, reasons
	return true
}

type modelChange struct {
	r      Range
	ev     event
	reason Reason
}

// modelTest drives a ledger and its model side by side.
type modelTest struct {
	*testing.T
	r     *rand.Rand
	l     *Ledger
	path  string
	m     model
	taken int // requests that were not rejected

	audit  []AuditHead // as each entry was recorded
	fails  bool        // the next commit fails,
	when   faultTime   // then
	failed int         // commits that failed
}

// open opens the file at path with the test's own faults. The last one opened is checked at the end.
func (t *modelTest) open() {
	l, err := Open(t.Context(), t.path, Options{fault: func(when faultTime) error {
		if !t.fails || when != t.when {
			return nil
		}
		t.fails = false
		return errors.New("input/output error")
	}})
	must(t, err)
	t.l = l
	t.Cleanup(func() {
		if t.l == l {
			closeTest(t, l)
		}
	})
}

// someRange is mostly short, and mostly near others.
func (t *modelTest) someRange() Range {
	n := len(t.m.entries)
	from := t.r.IntN(n)
	length := 1 + t.r.IntN(5)
	if t.r.IntN(10) == 0 {
		length = 1 + t.r.IntN(n/2)
	}
	return Range{uint32(from), uint32(min(from+length, n))}
}

// rangeOf looks for a stretch of records with flag f, so that most requests are allowed.
func (t *modelTest) rangeOf(f Flag) Range {
	for range 20 {
		r := t.someRange()
		for to := r.From; to < r.To; to++ {
			if t.m.entries[to].Flag != f || t.m.entries[to].Action == Nothing {
				r.To = to
			}
		}
		if r.From < r.To {
			return r
		}
	}
	return t.someRange()
}

func (t *modelTest) someReason() Reason {
	texts := []string{"", "Contact With Id = 0f8fad5b-d9cb-469f-a165-70867728950e Does Not Exist", "odd \x01", fmt.Sprintf("'%d' is too long", t.r.IntN(1000))}
	return Reason{Class: uint8(t.r.IntN(4)), HTTP: uint16(400 + t.r.IntN(30)), Code: t.r.Uint32(), Text: texts[t.r.IntN(len(texts))]}
}

// step makes one random request of both sides and compares whether it is taken.
func (t *modelTest) step() {
	var changes []modelChange
	var err error
	ctx := t.Context()
	t.fails, t.when = t.r.IntN(12) == 0, faultTime(t.r.IntN(2))
	defer func() { t.fails = false }()
	switch t.r.IntN(8) {
	case 0:
		var plan []Planned
		for range 1 + t.r.IntN(3) {
			p := Planned{t.someRange(), Action(t.r.IntN(numActions))}
			plan = append(plan, p)
			changes = append(changes, modelChange{r: p.Range, ev: event{step: stepPlan, action: p.Action}})
		}
		err = t.l.Plan(ctx, "account", plan)
	case 1, 2, 3:
		pass := Pass(t.r.IntN(numPasses))
		var ranges []Range
		for range 1 + t.r.IntN(3) {
			r := t.rangeOf(waiting(pass))
			ranges = append(ranges, r)
			changes = append(changes, modelChange{r: r, ev: event{step: stepClaim, pass: pass}})
		}
		err = t.l.Claim(ctx, "account", pass, ranges)
	case 4, 5, 6:
		var outcomes []Outcome
		steps := map[Result]step{ResultSuccess: stepSucceed, ResultFailed: stepFail, ResultReleased: stepRelease, ResultHeld: stepHoldF}
		for range 1 + t.r.IntN(4) {
			o := Outcome{Range: t.rangeOf(InFlight), Result: Result(1 + t.r.IntN(4)), Next: Pass(t.r.IntN(numPasses)), Counted: t.r.IntN(2) == 0, Reason: t.someReason()}
			outcomes = append(outcomes, o)
			ev := event{step: steps[o.Result], pass: o.Next, class: o.Reason.Class, counted: o.Counted}
			changes = append(changes, modelChange{o.Range, ev, o.Reason})
		}
		err = t.l.Settle(ctx, "account", outcomes)
	case 7:
		h := Holding{t.rangeOf(Flag(2 * t.r.IntN(2))), t.someReason()}
		changes = append(changes, modelChange{h.Range, event{step: stepHold, class: h.Reason.Class}, h.Reason})
		err = t.l.Hold(ctx, "account", []Holding{h})
	}
	if errors.Is(err, ErrPoisoned) {
		t.failed++
		if t.when == afterCommit && !t.m.take(changes) {
			t.Fatalf("the model refuses a request that failed as it was committed: %+v", changes)
		}
		_ = t.l.Close()
		t.open()
		t.compare()
		return
	}
	if taken := t.m.take(changes); taken != (err == nil) {
		t.Fatalf("the model takes the request: %v; the ledger: %v; %+v", taken, err, changes)
	}
	if err == nil {
		t.taken++
	}
}

// retry lets some records wait again on both sides.
func (t *modelTest) retry() {
	f := Filter{Classes: []uint8{uint8(t.r.IntN(4))}, Ranges: []Range{t.someRange()}}
	want := 0
	for seq := f.Ranges[0].From; seq < f.Ranges[0].To; seq++ {
		if e := t.m.entries[seq]; f.chooses(e) {
			t.m.take([]modelChange{{r: One(seq), ev: event{step: stepRetry}}})
			want++
		}
	}
	if got, err := t.l.Retry(t.Context(), "account", f); got != want || err != nil {
		t.Fatalf("retry moved %d, want %d, %v", got, want, err)
	}
}

// extend adds records on both sides, as a new generation, and says so in the audit trail.
func (t *modelTest) extend() {
	_, err := t.l.Record(t.Context(), AuditEntry{Event: AuditBegin, Command: "stage"})
	must(t, err)
	t.audit = append(t.audit, t.l.AuditHead())
	t.m.entries = append(t.m.entries, make([]Entry, t.r.IntN(500))...)
	table := Table{Name: "account", Number: 7, Count: uint32(len(t.m.entries)), Generation: fmt.Sprint(len(t.audit))}
	must(t, t.l.DefinePlanned(t.Context(), table, PlannedCounts{Insert: int64(len(t.audit))}))
	must(t, t.l.EndPlanning(t.Context()))
}

// reopen closes the ledger, or takes the file as a crash would leave it, and opens that.
func (t *modelTest) reopen() {
	if t.r.IntN(2) == 0 {
		closeTest(t, t.l)
	} else {
		image, err := os.ReadFile(t.path)
		must(t, err)
		t.path = filepath.Join(t.TempDir(), "crashed.bolt")
		must(t, os.WriteFile(t.path, image, 0o600))
		closeTest(t, t.l)
	}
	t.open()
}

// compare compares everything readable.
func (t *modelTest) compare() {
	t.Helper()
	var entries []Entry
	for s := range t.l.Spans("account", 0) {
		if int(s.From) != len(entries) {
			t.Fatalf("span %s after %d records", s, len(entries))
		}
		for range s.Len() {
			e := s.Entry
			e.Time = 0
			entries = append(entries, e)
		}
	}
	if !slices.Equal(t.m.entries, entries) {
		t.Fatal(cmp.Diff(t.m.entries, entries))
	}
	if n, err := t.l.VerifyAudit(t.audit...); int(n) != len(t.audit) || err != nil {
		t.Fatalf("%d audit entries, want %d: %v", n, len(t.audit), err)
	}
	all, err := t.l.Generations()
	must(t, err)
	if len(all) != len(t.audit) || len(all) > 0 && all[len(all)-1].Total().Insert != int64(len(all)) {
		t.Fatalf("generations %+v, want %d", all, len(t.audit))
	}
	var want Counts
	want.Total = uint32(len(t.m.entries))
	waits := map[Pass]int{}
	for _, e := range t.m.entries {
		want.cells[e.word().cell()]++
		if e.Flag.failing() {
			want.classes[e.Flag-Failed][e.Class]++
		}
		if e.Action != Nothing && e.Flag == waiting(e.Pass) {
			waits[e.Pass]++
		}
	}
	if got := t.l.Counts("account"); got != want {
		t.Fatal("counts differ from the model")
	}
	for p := range Pass(numPasses) {
		n := 0
		for _, s := range t.l.Next("account", p, 0, 1<<30) {
			n += s.Len()
		}
		if n != waits[p] {
			t.Fatalf("next %s hands out %d, want %d", p, n, waits[p])
		}
	}
	reasons := map[uint32]Reason{}
	for from, more := uint32(0), true; more; {
		fs, err := t.l.Failures("account", from, 300)
		must(t, err)
		for _, f := range fs {
			reasons[f.Seq], from = f.Reason, f.Seq+1
		}
		more = len(fs) > 0
	}
	if !maps.Equal(t.m.reasons, reasons) {
		t.Fatal(cmp.Diff(t.m.reasons, reasons))
	}
}

func TestRandomRequestsAgainstAModelReopenedInBetween(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.bolt")
			mt := &modelTest{T: t, r: rand.New(rand.NewPCG(seed, 9)), path: path}
			mt.open()
			mt.m = model{make([]Entry, 2*pageSize-50), map[uint32]Reason{}}
			must(t, mt.l.Define(t.Context(), Table{Name: "account", Number: 7, Count: uint32(len(mt.m.entries))}))
			must(t, mt.l.Plan(t.Context(), "account", []Planned{{Range{0, 4000}, Insert}}))
			mt.m.take([]modelChange{{r: Range{0, 4000}, ev: event{step: stepPlan, action: Insert}}})
			for range 8 {
				for range 40 {
					mt.step()
				}
				mt.retry()
				mt.extend()
				mt.compare()
				mt.reopen()
				mt.compare()
			}
			if mt.taken < 60 || mt.failed < 3 {
				t.Errorf("only %d requests were allowed, %d commits failed", mt.taken, mt.failed)
			}
		})
	}
}

package ledger

import (
	"strings"
	"testing"
)

// stateMachine is what next has to do, written down apart from it: rows are the flag and whether the
// pass is the main one or a later one, columns the steps, cells the flag afterwards or "." for refused.
//
//	plan:  to I, U or D            plan0: to N
//	claim: of the entry's pass     other: of another pass
//	done:  success owing nothing   owes:  success owing a pass after the entry's
//	back:  success owing the entry's own or an earlier pass
const stateMachine = `
          plan plan0 claim other done owes back fail release heldF hold retry
U main    U    U     F     .     .    .    .    .    .       .     H    .
F main    .    .     .     .     P    S    .    E    U       H     .    .
F later   .    .     .     .     P    S    .    E    S       H     .    .
S later   U    S     F     .     .    .    .    .    .       .     H    .
P main    U    P     .     .     .    .    .    .    .       .     .    .
E main    U    U     .     .     .    .    .    .    .       .     .    U
E later   U    .     .     .     .    .    .    .    .       .     .    S
H main    U    U     .     .     .    .    .    .    .       .     .    U
H later   U    .     .     .     .    .    .    .    .       .     .    S
`

// column names the column of an event for an entry.
func column(e Entry, ev event) string {
	switch ev.step {
	case stepPlan:
		if ev.action == Nothing {
			return "plan0"
		}
		return "plan"
	case stepClaim:
		if ev.pass == e.Pass {
			return "claim"
		}
		return "other"
	case stepSucceed:
		switch {
		case ev.pass == Main:
			return "done"
		case ev.pass > e.Pass && ev.pass < numPasses:
			return "owes"
		}
		return "back"
	}
	return map[step]string{stepFail: "fail", stepRelease: "release", stepHoldF: "heldF", stepHold: "hold", stepRetry: "retry"}[ev.step]
}

// parseMachine reads stateMachine: row "U main" and column to cell.
func parseMachine() map[string]map[string]string {
	lines := strings.Split(strings.TrimSpace(stateMachine), "\n")
	columns := strings.Fields(lines[0])
	out := map[string]map[string]string{}
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		row := map[string]string{}
		for i, c := range columns {
			row[c] = f[2+i]
		}
		out[f[0]+" "+f[1]] = row
	}
	return out
}

// allEntries yields every combination of flag, pass and action with some attempts and classes, those
// that cannot be reached too.
func allEntries(yield func(Entry) bool) {
	for f := range Flag(numFlags) {
		for p := range Pass(numPasses) {
			for a := range Action(numActions) {
				for _, attempts := range []uint8{0, 1, 2, maxAttempts - 1, maxAttempts} {
					for _, class := range []uint8{0, 1, 255} {
						if !yield(Entry{Action: a, Flag: f, Pass: p, Attempts: attempts, Class: class, Time: 7}) {
							return
						}
					}
				}
			}
		}
	}
}

// allEvents yields every event, wrong arguments included.
func allEvents(yield func(event) bool) {
	for a := range Action(numActions + 1) {
		if !yield(event{step: stepPlan, action: a}) {
			return
		}
	}
	for p := range Pass(numPasses + 1) {
		if !yield(event{step: stepClaim, pass: p}) || !yield(event{step: stepSucceed, pass: p}) {
			return
		}
	}
	for _, class := range []uint8{0, 3, 255} {
		for _, s := range []step{stepFail, stepHoldF, stepHold} {
			if !yield(event{step: s, class: class}) {
				return
			}
		}
	}
	for _, ev := range []event{{step: stepRelease}, {step: stepRelease, counted: true}, {step: stepRetry}} {
		if !yield(ev) {
			return
		}
	}
}

// expect is what e becomes by ev according to stateMachine; ok is false where it is refused.
func expect(machine map[string]map[string]string, e Entry, ev event) (want Entry, ok bool) {
	row := e.Flag.String() + " main"
	if e.Pass != Main {
		row = e.Flag.String() + " later"
	}
	col := column(e, ev)
	cell := machine[row][col]
	switch {
	case cell == ".":
		return e, false
	case e.Action == Nothing && col != "plan" && col != "plan0":
		return e, false // a record in no plan can only be planned
	case e.Action == Delete && col == "owes":
		return e, false
	case ev.action >= numActions:
		return e, false
	}
	if col == "plan" || col == "plan0" && cell == "U" {
		return Entry{Action: ev.action, Time: e.Time}, true
	}
	want = e
	want.Flag = Flag(strings.Index("UFSPEH", cell))
	switch col {
	case "claim":
		want.Attempts = min(e.Attempts+1, 63)
	case "done":
		want.Pass = Main
	case "owes":
		want.Pass = ev.pass
	case "fail", "hold":
		want.Class = ev.class
	case "heldF":
		want.Class = ev.class
		if e.Attempts != 0 && e.Attempts != 63 {
			want.Attempts--
		}
	case "retry":
		want.Class = 0
	case "release":
		if !ev.counted && e.Attempts != 0 && e.Attempts != 63 {
			want.Attempts--
		}
	}
	return want, true
}

func TestNextIsTheStateMachineForEveryEntryAndStep(t *testing.T) {
	machine := parseMachine()
	legal, refused := 0, 0
	for e := range allEntries {
		if checkEntry(e) != nil {
			continue
		}
		for ev := range allEvents {
			want, ok := expect(machine, e, ev)
			got, err := next(e, ev)
			switch {
			case (err == nil) != ok || got != want:
				t.Errorf("%s by %q: got %s, %v; want %s, allowed %v", e, ev, got, err, want, ok)
			case checkEntry(got) != nil:
				t.Errorf("%s by %q is %s, which is no state: %v", e, ev, got, checkEntry(got))
			}
			if ok {
				legal++
			} else {
				refused++
			}
		}
	}
	if legal < 1000 || refused < 1000 {
		t.Errorf("only %d allowed and %d refused steps were tried", legal, refused)
	}
}

func TestEveryStateCanBeReachedAndNoOther(t *testing.T) {
	type state struct {
		f Flag
		p Pass
		a Action
	}
	reached := map[state]bool{}
	seen := map[Entry]bool{{}: true}
	for queue := []Entry{{}}; len(queue) > 0; {
		e := queue[0]
		queue = queue[1:]
		reached[state{e.Flag, e.Pass, e.Action}] = true
		for ev := range allEvents {
			if after, err := next(e, ev); err == nil && !seen[after] {
				seen[after] = true
				queue = append(queue, after)
			}
		}
	}
	for e := range allEntries {
		s := state{e.Flag, e.Pass, e.Action}
		e.Attempts, e.Class = 0, 0
		if valid := checkEntry(e) == nil; valid != reached[s] {
			t.Errorf("%s: a state %v, reached %v", e, valid, reached[s])
		}
	}
}

func TestWordHoldsEveryEntry(t *testing.T) {
	for e := range allEntries {
		w := e.word()
		if got := w.entry(e.Time); got != e {
			t.Fatalf("%+v comes back as %+v", e, got)
		}
		if w.valid() != (checkEntry(e) == nil) {
			t.Fatalf("%s: valid is %v", e, w.valid())
		}
	}
	if word(maxWord+1).valid() || word(6).valid() {
		t.Error("a word with unknown bits is taken")
	}
}

package ledger

import "fmt"

// The state machine. next is the only place that decides whether a record may take a step and what it
// is afterwards; writer and check go through it, and TestNext compares it with the table below for
// every entry and every step.
//
//	flag           who moves a record out of it, and where to       what a crash leaves there
//	U unprocessed  planner: plan → U; loader: claim main → F,       nothing was sent: it is simply handed
//	               hold → H (prevalidation, orphan, parent failed)  out again
//	F in flight    loader: settle → S, P, E, H, or release back     the answer is lost: on the next open
//	               to U (main) or S (later pass)                    the loader looks the record up in the
//	                                                                target and settles; never resent blindly
//	S success      loader: claim of its pass → F, hold → H;         the target has the row; the later
//	               planner: plan → U (gives up the pass owed)       pass is handed out again
//	P processed    planner: plan of a later generation → U          nothing is owed
//	E error        operator: retry → U (main) or S (later pass);    as it was, with its reason
//	               planner: plan → U
//	H held back    operator or loader: retry → U or S;              as it was, with its reason
//	               planner: plan → U
//
// Planning Nothing withdraws what is not begun: U, and E or H at the main pass, become U with action
// Nothing; P and S stay as they are; E and H at a later pass refuse, because the target has the row.

type step uint8

const (
	stepPlan    step = iota // arg action
	stepClaim               // arg pass
	stepSucceed             // arg pass: the pass owed next, Main for none
	stepFail                // arg class
	stepRelease             // arg counted
	stepHoldF               // arg class; outcome of a claim
	stepHold                // arg class; not claimed
	stepRetry
)

// event is one step with its argument.
type event struct {
	step    step
	action  Action
	pass    Pass
	class   uint8
	counted bool // of stepRelease: the attempt stays counted
}

func (ev event) String() string {
	switch ev.step {
	case stepPlan:
		return "plan " + ev.action.String()
	case stepClaim:
		return "claim " + ev.pass.String()
	case stepSucceed:
		if ev.pass == Main {
			return "settle processed"
		}
		return "settle success owing " + ev.pass.String()
	case stepFail:
		return "settle failed"
	case stepRelease:
		return "settle released"
	case stepHoldF:
		return "settle held"
	case stepHold:
		return "hold"
	case stepRetry:
		return "retry"
	}
	return fmt.Sprintf("step %d", ev.step)
}

// illegal is why a step is not allowed.
type illegal string

func (i illegal) Error() string { return string(i) }

// next is what entry e becomes by event ev. It leaves Time alone. An error is an illegal.
func next(e Entry, ev event) (Entry, error) {
	switch ev.step {
	case stepPlan:
		return nextPlan(e, ev.action)
	case stepClaim:
		if e.Action == Nothing {
			return e, illegal("not in any plan")
		}
		if e.Flag != waiting(ev.pass) || e.Pass != ev.pass {
			return e, illegal("does not wait for this pass")
		}
		e.Flag = InFlight
		e.Attempts = min(e.Attempts+1, maxAttempts)
		return e, nil
	case stepHold:
		if e.Action == Nothing {
			return e, illegal("not in any plan")
		}
		if e.Flag != Unprocessed && e.Flag != Success {
			return e, illegal("only a waiting record can be held back")
		}
		e.Flag, e.Class = Held, ev.class
		return e, nil
	case stepRetry:
		if !e.Flag.failing() {
			return e, illegal("neither failed nor held back")
		}
		e.Flag, e.Class = waiting(e.Pass), 0
		return e, nil
	}
	if e.Flag != InFlight {
		return e, illegal("not in flight")
	}
	return nextSettle(e, ev)
}

// nextPlan gives a record a new action.
func nextPlan(e Entry, a Action) (Entry, error) {
	switch {
	case a >= numActions:
		return e, illegal("unknown action")
	case e.Flag == InFlight:
		return e, illegal("in flight, settle it first")
	case a != Nothing:
		return Entry{Action: a, Time: e.Time}, nil
	case e.Flag == Processed || e.Flag == Success:
		return e, nil
	case e.Pass != Main:
		return e, illegal("the target has the row and owes it a later pass")
	}
	return Entry{Time: e.Time}, nil
}

// nextSettle is the outcome of a claim; e is in flight.
func nextSettle(e Entry, ev event) (Entry, error) {
	switch ev.step {
	case stepSucceed:
		if ev.pass == Main {
			e.Flag, e.Pass = Processed, Main
			return e, nil
		}
		if e.Action == Delete {
			return e, illegal("a deleted record owes no later pass")
		}
		if ev.pass >= numPasses || ev.pass <= e.Pass {
			return e, illegal("the pass owed is not a later one")
		}
		e.Flag, e.Pass = Success, ev.pass
	case stepFail:
		e.Flag, e.Class = Failed, ev.class
	case stepHoldF: // nothing was sent: what is held stays free of doubt about what the target has
		e = e.uncounted()
		e.Flag, e.Class = Held, ev.class
	case stepRelease:
		if !ev.counted {
			e = e.uncounted()
		}
		e.Flag = waiting(e.Pass)
	default:
		return e, illegal("unknown step")
	}
	return e, nil
}

// uncounted takes the claim in flight out of the attempts.
func (e Entry) uncounted() Entry {
	if e.Attempts > 0 && e.Attempts < maxAttempts {
		e.Attempts--
	}
	return e
}

// waiting is the flag of a record that waits for pass p.
func waiting(p Pass) Flag {
	if p == Main {
		return Unprocessed
	}
	return Success
}

// checkEntry says what makes e an entry that no sequence of steps can reach; nil for the others.
func checkEntry(e Entry) error {
	switch {
	case e.Flag >= numFlags || e.Action >= numActions || e.Pass >= numPasses || e.Attempts > maxAttempts:
		return illegal("value out of range")
	case e.Action == Nothing && (e.Flag != Unprocessed || e.Attempts != 0):
		return illegal("has a state and no action")
	case e.Flag == Unprocessed && e.Pass != Main:
		return illegal("unprocessed at a later pass")
	case e.Flag == Success && e.Pass == Main:
		return illegal("success that owes nothing")
	case e.Flag == Processed && e.Pass != Main:
		return illegal("processed and yet owes a pass")
	case e.Action == Delete && e.Pass != Main:
		return illegal("deleted and yet owes a pass")
	case !e.Flag.failing() && e.Class != 0:
		return illegal("class without failure")
	}
	return nil
}

package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
)

// Steer is what an operator asks of a project at which somebody looks: mostly of the load
// that runs.
type Steer struct {
	Do       SteerAction   `json:"do"`
	Parallel int           `json:"parallel,omitempty"` // of SteerParallel: requests at once, all users together; 0 = as many as may be
	Failures FailureFilter `json:"failures,omitzero"`  // of SteerRetry
	From     string        `json:"from"`               // who asks, for the audit trail
}

// SteerAction is what is to be done.
type SteerAction string

// The actions.
const (
	SteerPause     SteerAction = "pause"
	SteerResume    SteerAction = "resume"
	SteerParallel  SteerAction = "parallel"
	SteerStopAfter SteerAction = "stop-after" // the step under way
	SteerKeepOn    SteerAction = "keep-on"    // takes that back
	SteerStop      SteerAction = "stop"       // now, in good order: what is under way is settled
	SteerRetry     SteerAction = "retry"
	SteerSnapshot  SteerAction = "snapshot"
)

// steering is what a load that runs can be told.
type steering struct {
	users     *users
	loader    *load.Loader
	tracker   *progress.Tracker
	stop      context.CancelFunc
	stopAfter atomic.Bool
}

// errNothingRuns says that an action needs a load.
var errNothingRuns = errors.New("no load is running")

// Steer does what an operator asks for and says in a sentence what came of it. It is in
// the audit trail before it is done.
func (p *Project) Steer(ctx context.Context, s Steer) (said string, err error) {
	args := []string{"console", string(s.Do)}
	if s.Do == SteerParallel {
		args = append(args, fmt.Sprint(s.Parallel))
	}
	args = append(slices.Concat(args, s.Failures.Tables, s.Failures.Classes), "by", s.From)
	end, err := p.record(ctx, "console "+string(s.Do), args)
	if err != nil {
		return "", err
	}
	defer func() { end(err, said) }()
	switch s.Do {
	case SteerRetry:
		return p.steerRetry(ctx, s.Failures)
	case SteerSnapshot:
		info, err := p.Snapshot(ctx, nil)
		return fmt.Sprintf("snapshot %s taken, %d bytes new", info.ID, info.Added), err
	}
	l := p.steering.Load()
	if l == nil {
		return "", errNothingRuns
	}
	if said, err = l.do(s); err == nil {
		l.tracker.Note("", "the operator: "+said)
	}
	return said, err
}

// do steers the load.
func (l *steering) do(s Steer) (string, error) {
	switch s.Do {
	case SteerPause:
		for _, u := range l.users.each {
			u.client.Limiter().Pause()
		}
		l.tracker.Pause()
		return "paused; requests under way come to their end", nil
	case SteerResume:
		for _, u := range l.users.each {
			u.client.Limiter().Resume()
		}
		l.tracker.Resume()
		return "goes on", nil
	case SteerParallel:
		n := l.users.bound(s.Parallel)
		return fmt.Sprintf("at most %d requests at once", n), nil
	case SteerStopAfter, SteerKeepOn:
		l.stopAfter.Store(s.Do == SteerStopAfter)
		l.loader.StopAfter(s.Do == SteerStopAfter)
		if s.Do == SteerKeepOn {
			return "goes on to the end", nil
		}
		return "stops when the step under way is over", nil
	case SteerStop:
		l.stop()
		return "stops: what is under way is settled first", nil
	}
	return "", fmt.Errorf("nobody knows how to do %q", s.Do)
}

// steerRetry lets failed records wait again, and has a load that runs take them up. What
// is held for its parent's sake waits for the load to look at the parent.
func (p *Project) steerRetry(ctx context.Context, f FailureFilter) (string, error) {
	if err := p.checkFilter(ctx, f); err != nil {
		return "", err
	}
	l := p.steering.Load()
	if l != nil && len(f.Classes) == 0 && len(f.Flags) == 0 {
		f.Flags = []string{"E"}
	}
	r, err := p.retry(ctx, f)
	switch {
	case err != nil:
		return "", err
	case r.Records == 0:
		return "no record was to be retried", nil
	case l == nil:
		return progress.Counted(r.Records, "record", "waits", "wait") + " again for the next load", nil
	}
	l.loader.Again()
	return progress.Counted(r.Records, "record", "waits", "wait") + " again; the load takes up what waits when it has gone over the rest", nil
}

// Steer implements Viewer.
func (r *remote) Steer(ctx context.Context, s Steer) (said string, err error) {
	err = r.ask(ctx, "steer", s, &said)
	return said, err
}

// bound spreads so many requests at once over the users, each at least one, and returns how
// many that are; 0 is as many as may be.
func (u *users) bound(n int) int {
	all := 0
	for i, one := range u.each {
		share := 0
		if n > 0 {
			share = max((n+len(u.each)-1-i)/len(u.each), 1)
		}
		l := one.client.Limiter()
		l.Bound(share)
		all += l.Stats().Bound
	}
	return all
}

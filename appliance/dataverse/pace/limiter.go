package pace

import (
	"container/list"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// The bounds of a hold: a Retry-After is taken between these (dataverse-web-api.md 20).
const (
	minHold   = time.Second
	maxHold   = 300 * time.Second
	maxJitter = 3 * time.Second  // added to a hold
	lookAgain = time.Second      // whether a request may go out
	maxAway   = 60 * time.Second // between two tries to find a service that is not there
)

// Options are the Limiter's settings; the zero value is good.
type Options struct {
	// Start is the window before the server has said anything; 0 means 4.
	Start int
	// Max is the largest window; 0 means 52, the documented limit of requests at
	// once (dataverse-web-api.md 8.1).
	Max int
	// BeyondHint lets the window grow beyond x-ms-dop-hint up to Max. Without it the
	// hint is the ceiling: above it was slower wherever it was measured (16).
	BeyondHint bool
	// Window is the limits' window of time, in which they grant Execution; 0 means the
	// documented one. A rehearsal makes both shorter.
	Window    time.Duration
	Execution time.Duration
	// MostRequests and MostExecution are what is known of the limits of one server in
	// a window; 0 means nothing. Below the documented ones they are kept to from the
	// start; above, only once the servers have told of them.
	MostRequests  int
	MostExecution time.Duration
}

// Limiter hands out permits. All methods may be called at once from many goroutines.
type Limiter struct {
	mu       sync.Mutex // protects all below
	inFlight int
	waiting  list.List   // of *waiter, first come first served
	wake     *time.Timer // calls dispatch when a hold or a rate pause ends
	held     time.Time   // no permit before this moment
	paused   bool        // no permit until Resume
	acted    time.Time   // when a throttle last changed the pace
	volley   int         // throttles in a row, for holds without a Retry-After
	absent   int         // times in a row that the service was not there
	away     time.Time   // since then it is not; zero: it is
	requests uint64
	counts   Throttles
	window   window
	count    budget        // of requests
	time     budget        // of execution time
	pending  float64       // seconds of execution that the requests under way are guessed to take
	cost     float64       // seconds of execution that one takes, about
	network  time.Duration // the shortest answer time so far
}

// waiter is one Acquire that found no room. ready is closed, under the lock, when
// it has been given its permit.
type waiter struct {
	ready  chan struct{}
	permit Permit
}

// Permit is the right to have one request in flight; give it back with Done.
type Permit struct {
	limiter *Limiter
	started time.Time
	cost    float64 // seconds of execution that it was guessed to take
	count   float64 // what was spent of the budgets when it began
	time    float64
}

// New makes a Limiter.
func New(o Options) *Limiter {
	l := new(Limiter)
	l.window = newWindow(o)
	l.count = budget{limit: documentedRequests, window: documentedWindow}
	l.time = budget{limit: documentedTime, window: documentedWindow}
	if o.Window > 0 {
		l.count.window, l.time.window = o.Window, o.Window
	}
	if o.Execution > 0 {
		l.time.limit = o.Execution.Seconds()
	}
	l.count.bound(float64(o.MostRequests))
	l.time.bound(o.MostExecution.Seconds())
	return l
}

// Max is the largest number of requests that may ever be in flight at once.
func (l *Limiter) Max() int { return l.window.most }

// Try takes a permit if a request may be sent at once and nobody waits.
func (l *Limiter) Try() (Permit, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting.Len() > 0 {
		return Permit{}, false
	}
	return l.take(time.Now())
}

// Acquire waits until a request may be sent. The error is the context's.
func (l *Limiter) Acquire(ctx context.Context) (Permit, error) {
	if err := context.Cause(ctx); err != nil {
		return Permit{}, fmt.Errorf("wait to send: %w", err)
	}
	l.mu.Lock()
	if l.waiting.Len() == 0 {
		if p, ok := l.take(time.Now()); ok {
			l.mu.Unlock()
			return p, nil
		}
	}
	w := &waiter{ready: make(chan struct{})}
	place := l.waiting.PushBack(w)
	l.mu.Unlock()

	select {
	case <-w.ready:
		return w.permit, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.ready: // given in the same moment: hand it on
		l.back(w.permit)
	default:
		l.waiting.Remove(place)
	}
	l.dispatch(time.Now())
	return Permit{}, fmt.Errorf("wait to send: %w", context.Cause(ctx))
}

// dispatch gives permits to those who wait, as far as there is room. The lock is
// held.
func (l *Limiter) dispatch(now time.Time) {
	for l.waiting.Len() > 0 {
		p, ok := l.take(now)
		if !ok {
			return
		}
		w := l.waiting.Remove(l.waiting.Front()).(*waiter)
		w.permit = p
		close(w.ready)
	}
}

// take takes one permit if window, hold and budgets allow; if only time stands in the
// way it sets the alarm. The lock is held.
func (l *Limiter) take(now time.Time) (Permit, bool) {
	if l.paused {
		return Permit{}, false
	}
	if !l.away.IsZero() && l.inFlight > 0 { // one at a time finds out whether it is back
		return Permit{}, false
	}
	if l.inFlight >= l.window.size {
		l.window.full = true
		return Permit{}, false
	}
	if pause := l.pause(now); pause > 0 {
		l.wakeIn(pause)
		return Permit{}, false
	}
	l.count.sent(now, 1, 0)
	l.time.sent(now, l.cost, l.pending)
	l.count.spend(now, now, 1)
	l.inFlight++
	l.requests++
	l.pending += l.cost
	return Permit{limiter: l, started: now, cost: l.cost, count: l.count.sum, time: l.time.sum}, true
}

// pause is how long the next request has to wait though the window has room.
func (l *Limiter) pause(now time.Time) time.Duration {
	return max(l.held.Sub(now), l.count.pause(now, 0), l.time.pause(now, l.pending), 0)
}

// back takes a permit back.
func (l *Limiter) back(p Permit) {
	l.inFlight--
	l.pending = max(l.pending-p.cost, 0)
}

// wakeIn looks again after d, or sooner: what the budgets bear may change meanwhile.
func (l *Limiter) wakeIn(d time.Duration) {
	d = min(d, lookAgain)
	if l.wake != nil {
		l.wake.Reset(d)
		return
	}
	l.wake = time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dispatch(time.Now())
	})
}

// Done gives the permit back and tells how the request went.
func (p Permit) Done(o Outcome) {
	l := p.limiter
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back(p)
	l.window.learnHint(o.Hint)
	if o.Away {
		l.gone(p, o, now)
		l.dispatch(now)
		return
	}
	l.absent, l.away = 0, time.Time{}
	if o.HasLeft {
		l.count.report(float64(o.BurstLeft), p.count, p.started, now)
		l.time.report(o.TimeLeft.Seconds(), p.time, p.started, now)
	}
	switch {
	case o.Throttle != None:
		l.throttled(p, o, now)
	case o.RetryAfter > 0: // the service is busy and says for how long
		l.hold(now, o.RetryAfter)
		l.window.restart() // says nothing about speed
	case o.Failed: // says nothing about speed
	default:
		l.volley = 0
		l.window.done(now, now.Sub(p.started), o)
		l.spend(p.started, now)
	}
	if l.inFlight == 0 && l.waiting.Len() == 0 {
		l.window.idle(now)
	}
	l.dispatch(now)
}

// spend guesses the execution time of an answered request: its time without the
// network's, which is at most the shortest answer time. A wrong guess is made good by
// what the servers report.
func (l *Limiter) spend(began, now time.Time) {
	took := now.Sub(began)
	if l.network == 0 || took < l.network {
		l.network = took
	}
	cost := max(took-l.network, took/2).Seconds()
	l.time.spend(began, now, cost)
	if l.cost == 0 {
		l.cost = cost
	}
	l.cost += (cost - l.cost) / 8
}

// throttled takes in one 429. Requests that were already under way when a throttle
// last changed the pace were sent at the old pace: they count and hold, but do not
// slow it down again.
func (l *Limiter) throttled(p Permit, o Outcome, now time.Time) {
	l.counts.add(o.Throttle)
	if p.started.After(l.acted) {
		l.acted = now
		l.volley++
		switch o.Throttle {
		case Requests:
			l.count.refused(o.Limit, o.Per, p.count, now)
		case Time:
			l.time.refused(o.Limit/1000, o.Per, p.time, now)
		default:
			l.window.throttled(now, l.inFlight+1, int(o.Limit))
		}
	}
	wait := o.RetryAfter
	if wait <= 0 {
		wait = time.Second << min(l.volley-1, 8)
	}
	l.hold(now, wait)
	l.window.restart()
}

// gone is a request that met a gateway's page or no service at all: a short hold,
// longer each time, and then one request to see. Those that were under way together
// count once.
func (l *Limiter) gone(p Permit, o Outcome, now time.Time) {
	if l.away.IsZero() {
		l.away = now
	}
	if p.started.After(l.acted) {
		l.acted = now
		l.absent++
	}
	l.hold(now, max(o.RetryAfter, min(time.Second<<min(max(l.absent-1, 0), 6), maxAway)))
	l.window.restart()
}

// Hold stops all permits for d (0: not said) because of a throttle that came inside
// an answer that was otherwise a success, as in a batch.
func (l *Limiter) Hold(k Throttle, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.throttled(Permit{started: now, count: l.count.sum, time: l.time.sum}, Outcome{Throttle: k, RetryAfter: d}, now)
}

// hold stops all permits for d, bounded, with a little more so that several users of
// one environment do not come back in one moment.
func (l *Limiter) hold(now time.Time, d time.Duration) {
	d = min(max(d, minHold), maxHold)
	d += time.Duration(rand.Int64N(min(int64(d)/10, int64(maxJitter)) + 1))
	if until := now.Add(d); until.After(l.held) {
		l.held = until
	}
}

// Backoff waits before the attempt after number attempt (1 is the first), twice as
// long each time from half a second to half a minute, or atLeast when that is more. It
// concerns one request only and holds no other. The error is the context's.
func Backoff(ctx context.Context, attempt int, atLeast time.Duration) error {
	d := min(500*time.Millisecond<<min(max(attempt-1, 0), 6), 30*time.Second)
	d = max(d, min(atLeast, maxHold))
	d += time.Duration(rand.Int64N(int64(d)/2 + 1))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to try again: %w", context.Cause(ctx))
	}
}

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
	minHold = time.Second
	maxHold = 300 * time.Second
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
}

// Limiter hands out permits. All methods may be called at once from many goroutines.
type Limiter struct {
	mu       sync.Mutex // protects all below
	inFlight int
	waiting  list.List   // of *waiter, first come first served
	wake     *time.Timer // calls dispatch when a hold or a rate pause ends
	held     time.Time   // no permit before this moment
	acted    time.Time   // when a throttle last changed the pace
	volley   int         // throttles in a row, for holds without a Retry-After
	requests uint64
	counts   Throttles
	window   window
	rate     rate
}

// waiter is one Acquire that found no room. ready is closed, under the lock, when
// it has been given its permit.
type waiter struct{ ready chan struct{} }

// Permit is the right to have one request in flight; give it back with Done.
type Permit struct {
	limiter *Limiter
	started time.Time
}

// New makes a Limiter.
func New(o Options) *Limiter {
	l := new(Limiter)
	l.window = newWindow(o)
	return l
}

// Max is the largest number of requests that may ever be in flight at once.
func (l *Limiter) Max() int { return l.window.max }

// Acquire waits until a request may be sent. The error is the context's.
func (l *Limiter) Acquire(ctx context.Context) (Permit, error) {
	if err := context.Cause(ctx); err != nil {
		return Permit{}, fmt.Errorf("wait to send: %w", err)
	}
	l.mu.Lock()
	if now := time.Now(); l.waiting.Len() == 0 && l.take(now) {
		l.mu.Unlock()
		return Permit{limiter: l, started: now}, nil
	}
	w := &waiter{ready: make(chan struct{})}
	place := l.waiting.PushBack(w)
	l.mu.Unlock()

	select {
	case <-w.ready:
		return Permit{limiter: l, started: time.Now()}, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.ready: // given in the same moment: hand it on
		l.inFlight--
	default:
		l.waiting.Remove(place)
	}
	l.dispatch(time.Now())
	return Permit{}, fmt.Errorf("wait to send: %w", context.Cause(ctx))
}

// dispatch gives permits to those who wait, as far as there is room. The lock is
// held.
func (l *Limiter) dispatch(now time.Time) {
	for l.waiting.Len() > 0 && l.take(now) {
		w := l.waiting.Remove(l.waiting.Front()).(*waiter)
		close(w.ready)
	}
}

// take takes one permit if window, hold and rate allow; if only time stands in the
// way it sets the alarm. The lock is held.
func (l *Limiter) take(now time.Time) bool {
	if l.inFlight >= l.window.size {
		l.window.full = true
		return false
	}
	if pause := max(l.held.Sub(now), l.rate.pause(now)); pause > 0 {
		l.wakeIn(pause)
		return false
	}
	l.inFlight++
	l.requests++
	l.rate.sent(now)
	return true
}

func (l *Limiter) wakeIn(d time.Duration) {
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
	l.inFlight--
	l.window.learnHint(o.Hint)
	l.rate.learn(o, now)
	switch {
	case o.Throttle != None:
		l.throttled(p, o, now)
	case o.RetryAfter > 0: // the service is away and says for how long
		l.hold(now, o.RetryAfter)
		l.window.restart() // says nothing about speed
	case o.Failed:
		l.window.restart() // says nothing about speed
	default:
		l.volley = 0
		l.window.done(now, now.Sub(p.started), o)
	}
	l.dispatch(now)
}

// throttled takes in one 429. Requests that were already under way when a throttle
// last changed the pace were sent at the old pace: they count and hold, but do not
// slow it down again.
func (l *Limiter) throttled(p Permit, o Outcome, now time.Time) {
	l.counts.add(o.Throttle)
	if p.started.After(l.acted) {
		l.acted = now
		l.volley++
		if o.Throttle == Requests {
			l.rate.engage(now, o.Limit, o.Per)
		} else {
			l.window.throttled(now, l.inFlight+1)
		}
	}
	wait := o.RetryAfter
	if wait <= 0 {
		wait = time.Second << min(l.volley-1, 8)
	}
	l.hold(now, wait)
	l.window.restart()
}

// Hold stops all permits for d (0: not said) because of a throttle that came inside
// an answer that was otherwise a success, as in a batch.
func (l *Limiter) Hold(k Throttle, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.throttled(Permit{started: now}, Outcome{Throttle: k, RetryAfter: d}, now)
}

// hold stops all permits for d, bounded, with up to a tenth more so that several
// users of one environment do not come back in one moment.
func (l *Limiter) hold(now time.Time, d time.Duration) {
	d = min(max(d, minHold), maxHold)
	d += time.Duration(rand.Int64N(int64(d)/10 + 1))
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

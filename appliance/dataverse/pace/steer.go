package pace

import "time"

// What an operator does to a load that runs.

// Pause gives no permit until Resume; requests that are under way come to their end.
func (l *Limiter) Pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = true
	l.window.idle(time.Now()) // what is measured across a pause says nothing
}

// Resume ends a pause.
func (l *Limiter) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = false
	l.dispatch(time.Now())
}

// Bound makes n the largest number of requests that may be in flight from now on, which
// is at least 1 and at most Max; 0 is Max. Those beyond it that are under way come to
// their end.
func (l *Limiter) Bound(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.window.bound(n, now)
	l.dispatch(now)
}

// bound sets the largest size. Where it has grown the window may follow at once.
func (w *window) bound(n int, now time.Time) {
	if n <= 0 || n > w.most {
		n = w.most
	}
	if n == w.max {
		return
	}
	w.max = n
	w.size = min(w.size, w.ceiling(now))
	w.noGrowth, w.pause = time.Time{}, growthPause
	w.before = sample{}
	w.restart()
}

// Limit is how far one of the service's limits is used up, as far as we can tell.
type Limit struct {
	Spent float64 // requests, or seconds of execution, in the window of time
	Most  float64 // that we may spend there, on all servers together
	Known bool    // the service has told of it; else Most is what is documented
}

func (b *budget) limitOf(now time.Time, pending float64) Limit {
	b.turn(now)
	return Limit{Spent: b.sum + pending, Most: b.total(), Known: b.known}
}

package pace

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// server answers requests in simulated time: at most workers at once make headway,
// the rest queue.
type server struct {
	limiter *Limiter
	workers chan struct{}
	each    time.Duration
}

// serve sends requests from clients goroutines for so long.
func (s *server) serve(clients int, d time.Duration) {
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				p, err := s.limiter.Acquire(context.Background())
				if err != nil {
					return
				}
				s.workers <- struct{}{}
				time.Sleep(s.each)
				<-s.workers
				p.Done(Outcome{Work: 100})
			}
		})
	}
	wg.Wait()
}

// TestWindowBounds: never more in flight than the window, under many waiters.
func TestWindowBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 3, Max: 3})
		var mu sync.Mutex
		now, most := 0, 0
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				p, err := l.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				now--
				mu.Unlock()
				p.Done(Outcome{})
			})
		}
		wg.Wait()
		if most != 3 {
			t.Errorf("%d at once, want 3", most)
		}
		if s := l.Stats(); s.InFlight != 0 || s.Waiting != 0 || s.Requests != 50 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestWindowGrowsWhileItPays: a server with room for all takes the window to its
// ceiling.
func TestWindowGrowsWhileItPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		s := server{limiter: l, workers: make(chan struct{}, 1000), each: 200 * time.Millisecond}
		s.serve(100, 30*time.Second)
		if got := l.Stats().Window; got != 52 {
			t.Errorf("window %d, want 52", got)
		}
	})
}

// TestWindowStopsWhereLatencyRises: a server that works on 8 at once and queues the
// rest silently gets few more than 8.
func TestWindowStopsWhereLatencyRises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		s := server{limiter: l, workers: make(chan struct{}, 8), each: 200 * time.Millisecond}
		s.serve(100, 60*time.Second)
		if got := l.Stats().Window; got < 8 || got > 12 {
			t.Errorf("window %d, want about 8", got)
		}
	})
}

// TestWindowNeedsDemand: what is not used does not grow.
func TestWindowNeedsDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		s := server{limiter: l, workers: make(chan struct{}, 1000), each: 200 * time.Millisecond}
		s.serve(2, 30*time.Second)
		if got := l.Stats().Window; got != 4 {
			t.Errorf("window %d, want 4", got)
		}
	})
}

// TestHint: the first hint is where the window goes, and its ceiling.
func TestHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			o          Options
			hint, want int
		}{{Options{}, 20, 20}, {Options{}, 2, 2}, {Options{}, 500, 52}, {Options{Max: 10}, 20, 10}, {Options{}, 0, 4}} {
			l := New(test.o)
			p, _ := l.Acquire(t.Context())
			p.Done(Outcome{Hint: test.hint})
			if got := l.Stats().Window; got != test.want {
				t.Errorf("%+v, hint %d: window %d, want %d", test.o, test.hint, got, test.want)
			}
		}
		l := New(Options{})
		p, _ := l.Acquire(t.Context())
		p.Done(Outcome{Hint: 6})
		s := server{limiter: l, workers: make(chan struct{}, 1000), each: 200 * time.Millisecond}
		s.serve(100, 30*time.Second)
		if got := l.Stats().Window; got != 6 {
			t.Errorf("window %d grew beyond the hint", got)
		}
		beyond := New(Options{BeyondHint: true})
		p, _ = beyond.Acquire(t.Context())
		p.Done(Outcome{Hint: 6})
		s.limiter = beyond
		s.serve(100, 30*time.Second)
		if got := beyond.Stats().Window; got != 52 {
			t.Errorf("window %d, want 52 beyond the hint", got)
		}
	})
}

// TestThrottleHoldsAll: one Retry-After stops every request of the user, for that
// long and at most a tenth more.
func TestThrottleHoldsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{})
		began := time.Now()
		p, _ := l.Acquire(t.Context())
		p.Done(Outcome{Throttle: Time, RetryAfter: 27 * time.Second})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				p, err := l.Acquire(t.Context())
				if took := time.Since(began); err != nil || took < 27*time.Second || took > 30*time.Second {
					t.Errorf("went out after %v, %v", took, err)
				}
				p.Done(Outcome{})
			})
		}
		wg.Wait()
	})
}

// TestHoldIsBounded: absurd Retry-Afters are cut, missing ones grow from a second.
func TestHoldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := func(l *Limiter, o Outcome) time.Duration {
			p, err := l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p.Done(o)
			return time.Until(l.Stats().HeldUntil)
		}
		for _, test := range []struct{ after, low, high time.Duration }{
			{time.Hour, 300 * time.Second, 330 * time.Second},
			{time.Millisecond, time.Second, 1100 * time.Millisecond},
		} {
			if got := next(New(Options{}), Outcome{Throttle: Other, RetryAfter: test.after}); got < test.low || got > test.high {
				t.Errorf("Retry-After %v holds %v", test.after, got)
			}
		}
		l := New(Options{})
		for want := time.Second; want <= 8*time.Second; want *= 2 {
			if got := next(l, Outcome{Throttle: Other}); got < want || got > want*11/10 {
				t.Errorf("without Retry-After: held %v, want %v", got, want)
			}
		}
	})
}

// TestVolleyShrinksOnce: the throttles of requests that went out together count as
// one lesson.
func TestVolleyShrinksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 20})
		var permits []Permit
		for range 20 {
			p, _ := l.Acquire(t.Context())
			permits = append(permits, p)
		}
		time.Sleep(time.Second)
		for _, p := range permits {
			p.Done(Outcome{Throttle: Concurrency, RetryAfter: time.Second})
		}
		s := l.Stats()
		if s.Window != 14 || s.Throttled.Concurrency != 20 {
			t.Errorf("stats %+v, want a window of 14", s)
		}
		for range 40 { // down to the floor, and not below
			p, _ := l.Acquire(t.Context())
			time.Sleep(time.Millisecond)
			p.Done(Outcome{Throttle: Concurrency})
		}
		if got := l.Stats().Window; got != 1 {
			t.Errorf("window %d, want the floor 1", got)
		}
	})
}

// TestThrottledSizeIsRemembered: after a throttle the window does not come back to
// where it was for minutes, and then tries again.
func TestThrottledSizeIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 10})
		var permits []Permit
		for range 10 {
			p, _ := l.Acquire(t.Context())
			permits = append(permits, p)
		}
		for _, p := range permits {
			p.Done(Outcome{Throttle: Concurrency, RetryAfter: time.Second})
		}
		s := server{limiter: l, workers: make(chan struct{}, 1000), each: 200 * time.Millisecond}
		s.serve(100, 2*time.Minute)
		if got := l.Stats().Window; got != 9 {
			t.Errorf("window %d, want 9, one below where it was throttled", got)
		}
		s.serve(100, 4*time.Minute)
		if got := l.Stats().Window; got <= 9 {
			t.Errorf("window %d still, after the memory has faded", got)
		}
	})
}

// TestRequestsThrottle: where no header tells, the first throttle does: from then on no
// window of 300 s sees more requests than what was borne, and they go out evenly, with
// as many at once as before.
func TestRequestsThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 50})
		var sent []time.Time
		send := func(d time.Duration, took time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				p, err := l.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				sent = append(sent, time.Now())
				time.Sleep(took)
				p.Done(Outcome{})
			}
		}
		send(60*time.Second, 10*time.Millisecond)
		first := len(sent)
		p, _ := l.Acquire(t.Context())
		p.Done(Outcome{Throttle: Requests, RetryAfter: 240 * time.Second, Limit: 6000, Per: 300 * time.Second})
		s := l.Stats()
		if want := float64(first) / 300 * 0.99; math.Abs(s.Rate-want) > 0.1 || s.Window != 50 {
			t.Errorf("stats %+v, want a rate of %.1f and a window of 50", s, want)
		}
		send(800*time.Second, time.Millisecond)
		for i := first; i+first < len(sent); i++ {
			if d := sent[i+first].Sub(sent[i]); d < 280*time.Second { // a little more is tried after a while
				t.Fatalf("%d requests went out in %v", first, d)
			}
		}
		last := 0
		for _, at := range sent {
			if time.Since(at) < 60*time.Second {
				last++
			}
		}
		if rate := float64(last) / 60; math.Abs(rate-float64(first)/300) > 2 {
			t.Errorf("%.1f requests a second in the last minute, want about %.1f", rate, float64(first)/300)
		}
	})
}

// TestAway: while no service is there, one request at a time finds out whether it is
// back, less and less often; then all go on.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 10})
		began := time.Now()
		var mu sync.Mutex
		var tries []time.Duration
		most, now := 0, 0
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for {
					p, _ := l.Acquire(t.Context())
					mu.Lock()
					at := time.Since(began)
					tries = append(tries, at)
					if now++; at > 0 {
						most = max(most, now)
					}
					mu.Unlock()
					time.Sleep(10 * time.Millisecond)
					mu.Lock()
					now--
					mu.Unlock()
					back := time.Since(began) > 10*time.Minute
					p.Done(Outcome{Failed: !back, Away: !back})
					if back {
						return
					}
				}
			})
		}
		time.Sleep(time.Minute)
		if s := l.Stats(); s.Away.IsZero() || s.Away.Sub(began) > time.Second || !s.HeldUntil.After(time.Now()) {
			t.Errorf("stats %+v, want it away and held", s)
		}
		wg.Wait()
		if n := len(tries) - 10; n < 12 || n > 28 {
			t.Errorf("%d tries in ten minutes, want one a minute: %v", n, tries)
		}
		if s := l.Stats(); !s.Away.IsZero() || s.InFlight != 0 {
			t.Errorf("stats %+v after it was back", s)
		}
	})
}

// TestWaitsEnd: a context ends every wait: for the window, for a hold, for a backoff.
func TestWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 1, Max: 1})
		p, _ := l.Acquire(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for the window: %v", err)
		}
		p.Done(Outcome{Throttle: Other, RetryAfter: time.Hour})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for a hold: %v", err)
		}
		if _, err := l.Acquire(ctx); err == nil {
			t.Error("a permit for an ended context")
		}
		if err := Backoff(ctx, 1, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("backoff: %v", err)
		}
		if s := l.Stats(); s.Waiting != 0 || s.InFlight != 0 {
			t.Errorf("stats %+v after all waits ended", s)
		}
	})
}

// TestFirstComeFirstServed: nobody overtakes.
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 1, Max: 1})
		p, _ := l.Acquire(t.Context())
		var order []int
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				p, _ := l.Acquire(t.Context())
				order = append(order, i) // one permit: one at a time
				p.Done(Outcome{})
			})
			synctest.Wait()
		}
		p.Done(Outcome{})
		wg.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("order %v", order)
			}
		}
	})
}

// TestBackoffGrows: doubled each time, bounded, and at least what the service asks.
func TestBackoffGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			attempt int
			atLeast time.Duration
			low     time.Duration
		}{{1, 0, 500 * time.Millisecond}, {2, 0, time.Second}, {4, 0, 4 * time.Second}, {50, 0, 30 * time.Second}, {1, 20 * time.Second, 20 * time.Second}} {
			began := time.Now()
			if err := Backoff(t.Context(), test.attempt, test.atLeast); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < test.low || took > test.low*3/2 {
				t.Errorf("attempt %d waits %v, want %v and up to half more", test.attempt, took, test.low)
			}
		}
	})
}

// BenchmarkPermit is what a request costs here without contention.
func BenchmarkPermit(b *testing.B) {
	l := New(Options{})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		p, _ := l.Acquire(ctx)
		p.Done(Outcome{Work: 500})
	}
}

// TestHiccupIsNoLimit: one throttle that contradicts what the servers report costs its
// Retry-After and no more; a second one is believed.
func TestHiccupIsNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget{limit: documentedTime, window: documentedWindow}
		now := time.Now()
		b.spend(now, now, 600)
		b.report(600, 600, now.Add(time.Millisecond), now)
		total := b.total()
		b.refused(1200, 300*time.Second, 600, now)
		if b.total() != total {
			t.Errorf("after one throttle with half the limit left %.0f s may be spent, before it %.0f", b.total(), total)
		}
		b.refused(1200, 300*time.Second, 600, now.Add(time.Second))
		if b.total() >= total {
			t.Error("a second throttle is not believed")
		}
	})
}

package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// workers send requests of a fixed time until they are stopped.
type workers struct {
	under, answered atomic.Int64
	stop            func()
}

func busy(t *testing.T, l *Limiter, n int, took time.Duration) *workers {
	ctx, cancel := context.WithCancel(t.Context())
	w, all := &workers{}, sync.WaitGroup{}
	w.stop = func() { cancel(); all.Wait() }
	for range n {
		all.Go(func() {
			for {
				p, err := l.Acquire(ctx)
				if err != nil {
					return
				}
				w.under.Add(1)
				time.Sleep(took)
				w.under.Add(-1)
				w.answered.Add(1)
				p.Done(Outcome{Work: 1})
			}
		})
	}
	return w
}

func TestAPauseLetsRequestsEndAndBeginsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 8, Max: 8})
		w := busy(t, l, 8, time.Second)
		defer w.stop()
		under, answered := &w.under, &w.answered
		time.Sleep(10500 * time.Millisecond)
		l.Pause()
		if under.Load() != 8 {
			t.Fatalf("%d requests under way", under.Load())
		}
		time.Sleep(time.Second)
		before := answered.Load()
		time.Sleep(time.Hour)
		if s := l.Stats(); under.Load() != 0 || answered.Load() != before || !s.Paused || s.Waiting != 8 {
			t.Errorf("in the pause %d requests were answered; %+v", answered.Load()-before, s)
		}
		if _, ok := l.Try(); ok {
			t.Error("Try gave a permit in a pause")
		}
		l.Resume()
		time.Sleep(10500 * time.Millisecond)
		if n := answered.Load() - before; n != 80 {
			t.Errorf("%d requests in the ten seconds after; want 80", n)
		}
	})
}

func TestABoundHoldsAndIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 16, Max: 32})
		w := busy(t, l, 40, time.Second)
		defer w.stop()
		under := &w.under
		time.Sleep(time.Minute + 500*time.Millisecond)
		if under.Load() != 32 {
			t.Fatalf("%d requests at once before", under.Load())
		}
		for _, step := range []struct{ bound, want int }{{3, 3}, {0, 32}, {20, 20}, {1, 1}, {1000, 32}} {
			l.Bound(step.bound)
			most := int64(0)
			time.Sleep(time.Second) // those under way end
			for range 600 {
				time.Sleep(100 * time.Millisecond)
				most = max(most, under.Load())
			}
			if most != int64(step.want) || l.Stats().Bound != step.want {
				t.Errorf("bound %d: up to %d at once; want %d", step.bound, most, step.want)
			}
		}
		if l.Max() != 32 {
			t.Errorf("Max is %d", l.Max())
		}
	})
}

func TestStatsTellHowFarTheLimitsAreUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Start: 10, Max: 10})
		defer busy(t, l, 10, time.Second).stop()
		time.Sleep(100*time.Second + 500*time.Millisecond)
		if s := l.Stats(); s.Count.Known || s.Count.Spent != 1010 || s.Count.Most < 5900 || s.Count.Most > 6000 || s.Time.Spent < 400 {
			t.Errorf("count %+v, time %+v", s.Count, s.Time)
		}
		time.Sleep(300 * time.Second)
		if s := l.Stats(); s.Count.Spent < 2900 || s.Count.Spent > 3010 {
			t.Errorf("after the window: %+v", s.Count)
		}
	})
}

// TestStatsTellWhichLimitSetsThePace: not the one that is fuller, but the one that requests wait for. Short
// requests in a window that long ones have filled wait for the number of requests.
func TestStatsTellWhichLimitSetsThePace(t *testing.T) {
	for _, c := range []struct {
		name   string
		each   time.Duration
		byTime bool
	}{{"short requests", 50 * time.Millisecond, false}, {"long requests", 4 * time.Second, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				l := New(Options{Start: 8, Max: 8})
				for b, spent := range map[*budget]float64{&l.count: 0.55 * documentedRequests, &l.time: 0.65 * documentedTime} {
					b.known = true
					b.turn(now)
					b.foreign(now, spent)
				}
				s := &server{limiter: l, workers: make(chan struct{}, 8), each: c.each}
				go s.serve(8, 40*time.Second)
				said := map[bool]int{}
				for range 300 {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
					if got := l.Stats(); got.Pause > 0 {
						said[got.ByTime]++
					}
				}
				if said[c.byTime] == 0 || said[!c.byTime]*4 > said[c.byTime] {
					t.Errorf("of the moments in which requests waited %d were said to be for execution time, %d for requests", said[true], said[false])
				}
				time.Sleep(20 * time.Second)
			})
		})
	}
}

package pace

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestKnownLimitIsKeptTo: a limit below the documented one is not exceeded in any window,
// though no answer tells of it, or one tells that the server grants more.
func TestKnownLimitIsKeptTo(t *testing.T) {
	for _, test := range []struct {
		name          string
		most, granted int
		left          bool
		low, high     int
	}{
		{"below, nothing told", 600, 600, false, 560, 600},
		{"below, told", 600, 600, true, 560, 600},
		{"below, more is granted", 600, 6000, true, 560, 600},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := New(Options{Max: 1, MostRequests: test.most})
			var sent []time.Time
			for end := time.Now().Add(20 * time.Minute); time.Now().Before(end); {
				p, err := l.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				sent = append(sent, time.Now())
				time.Sleep(30 * time.Millisecond)
				o := Outcome{Work: 1, HasLeft: test.left, TimeLeft: 1200 * time.Second}
				o.BurstLeft = test.granted - within(sent)
				p.Done(o)
			}
			most := 0
			for i := range sent {
				if n := within(sent[:i+1]); n > most {
					most = n
				}
			}
			if most < test.low || most > test.high {
				t.Errorf("%s: %d requests in a window; want %d to %d", test.name, most, test.low, test.high)
			}
		})
	}
}

// within is how many requests were sent in the window that ends with the last.
func within(sent []time.Time) int {
	n := 0
	for i := len(sent) - 1; i >= 0 && sent[len(sent)-1].Sub(sent[i]) < documentedWindow; i-- {
		n++
	}
	return n
}

func TestKnownExecutionIsKeptTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{MostExecution: 120 * time.Second})
		s := server{limiter: l, workers: make(chan struct{}, 100), each: 2 * time.Second}
		s.serve(4, 300*time.Second)
		if n := l.Stats().Requests; n < 45 || n > 125 { // a guess is from half the answer time up
			t.Errorf("%d requests of 2 s each went out in a window of 120 s of execution", n)
		}
	})
}

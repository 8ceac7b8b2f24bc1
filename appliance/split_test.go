package appliance

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestSplit: what a request takes and what a record adds are told apart in spite of slow
// answers, which least squares over the same answers does not do.
func TestSplit(t *testing.T) {
	const latency, request, record = 4 * time.Millisecond, 20 * time.Millisecond, 2 * time.Millisecond
	r := rand.New(rand.NewPCG(1, 2))
	worst, squares := 0.0, 0.0
	for range 200 {
		m := Measure{answers: []timed{}}
		for _, size := range portions(300, requestSizes(300, 200)) {
			took := latency.Seconds()*math.Exp(0.3*r.NormFloat64()) + (request.Seconds()+float64(size)*record.Seconds())*math.Exp(0.03*r.NormFloat64())
			if r.IntN(10) == 0 {
				took *= 4
			}
			n := float64(size)
			m.answers = append(m.answers, timed{n, took})
			m.Requests, m.Sum, m.SumX, m.SquaresX, m.Cross = m.Requests+1, m.Sum+took, m.SumX+n, m.SquaresX+n*n, m.Cross+n*took
		}
		off := func(each time.Duration) float64 { return math.Abs(each.Seconds()/record.Seconds() - 1) }
		_, each, ok := split(m.answers, latency)
		_, plain := m.costs(latency)
		if !ok {
			t.Fatal("the answers tell nothing")
		}
		worst, squares = worst+off(each)/200, squares+off(plain)/200
	}
	t.Logf("a record's time is off by %.1f %% in the mean, by least squares %.1f %%", 100*worst, 100*squares)
	if worst > 0.1 || worst > squares/2 {
		t.Errorf("a record's time is off by %.1f %% in the mean, by least squares %.1f %%; want 10 %% at most, and half of that", 100*worst, 100*squares)
	}
	if request, _, ok := split([]timed{{1, 0.03}, {10, 0.05}, {10, 0.052}, {100, 0.23}}, latency); !ok || request < 18*time.Millisecond || request > 32*time.Millisecond {
		t.Errorf("a request takes %v, %v", request, ok)
	}
	if _, _, ok := split([]timed{{10, 0.1}, {10, 0.2}, {10, 0.3}, {10, 0.3}}, 0); ok {
		t.Error("requests of one size tell nothing")
	}
}

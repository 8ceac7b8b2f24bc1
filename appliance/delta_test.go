package appliance

import (
	"math"
	"testing"
)

// TestByLast: large deltas say by which factor the estimate errs, small ones what a load takes besides.
func TestByLast(t *testing.T) {
	for name, c := range map[string]struct {
		past []pastDelta
		want float64
		n    int
	}{
		"none yet":                           {nil, 0, 0},
		"kept before estimates were":         {[]pastDelta{{Load: 50}}, 0, 0},
		"half as long again":                 {[]pastDelta{{Load: 1, Estimated: 100}, {Load: 150, Estimated: 100}, {Load: 150, Estimated: 100}, {Load: 150, Estimated: 100}}, 1500, 3},
		"to sign in takes as long, not more": {[]pastDelta{{Load: 2.01, Estimated: 0.01}}, 1002, 1},
	} {
		if got, n := byLast(1000, c.past); math.Abs(got-c.want) > 1e-6 || n != c.n {
			t.Errorf("%s: %v of %d, want %v of %d", name, got, n, c.want, c.n)
		}
	}
}

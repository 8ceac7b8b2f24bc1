package emulator

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestLeast compares with sorting everything, for data in any order.
func TestLeast(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 100} {
		for name, at := range map[string]func(i int) int{"rising": func(i int) int { return i }, "falling": func(i int) int { return -i },
			"random": func(int) int { return rand.IntN(1 << 30) }} {
			best := least[int]{n: n, compare: cmp.Compare[int]}
			var all []int
			for i := range 250 {
				x := at(i)
				all = append(all, x)
				best.add(x)
				if len(best.items) > 2*n {
					t.Fatalf("%d items are held for %d", len(best.items), n)
				}
			}
			slices.Sort(all)
			if got := best.sorted(); !slices.Equal(got, all[:n]) {
				t.Errorf("%s, %d: %v, want %v", name, n, got, all[:n])
			}
		}
	}
}

package reconcile

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestSumIsExact adds numbers of every size as big arithmetic does.
func TestSumIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var s sum
	want := new(big.Rat)
	for range 20_000 {
		text := big.NewInt(r.Int64N(1 << r.IntN(63))).String()
		if r.IntN(2) == 0 {
			text = "-" + text
		}
		if digits := r.IntN(figureDigits + 1); digits > 0 {
			text += "." + strings.Repeat("0", r.IntN(digits)) + big.NewInt(r.Int64N(10)).String()
		}
		n, ok := numberOf(text)
		x, _ := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%s is no number", text)
		}
		if plain, ok := plainNumber([]byte(text)); ok && plain != n || !ok && len(text) < 17 {
			t.Fatalf("%s reads %v, and in short %v", text, n, plain)
		}
		s.add(n)
		want.Add(want, x)
	}
	if got := s.String(); got != trimZeros(want.FloatString(figureDigits)) {
		t.Errorf("sum %s, want %s", got, want.FloatString(figureDigits))
	}
	for text, want := range map[string]number{"1.5": {1, 5_000_000_000}, "-0.25": {0, -2_500_000_000}, "1.2E+3": {1200, 0}, "9223372036854775807": {1<<63 - 1, 0},
		"0.00000000009": {0, 1}, "922337203685477.5807": {922337203685477, 5_807_000_000}} {
		if got, ok := numberOf(text); !ok || got != want {
			t.Errorf("%s reads %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "x", "1.x", "1e999999999", "99999999999999999999", "1.2.3"} {
		if got, ok := numberOf(text); ok {
			t.Errorf("%q reads %v", text, got)
		}
		if got, ok := plainNumber([]byte(text)); ok {
			t.Errorf("%q reads %v in short", text, got)
		}
	}
}

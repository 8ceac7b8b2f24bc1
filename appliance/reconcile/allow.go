package reconcile

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Bound is how much of something is allowed: a number, or a share of the table's
// records. The zero value allows nothing.
type Bound struct {
	Number int64
	Share  float64 // 0.01 is one percent; 0 = Number counts
	Text   string  // as it was given, for messages
}

// exceeded reports whether n of all is more than is allowed.
func (b Bound) exceeded(n, all int64) bool {
	if b.Share > 0 {
		return float64(n) > b.Share*float64(all)
	}
	return n > b.Number
}

// Rules say how one table is compared and what it may have amiss.
type Rules struct {
	Missing, Extra, Different, Duplicates Bound

	Ignore []string // columns that are not compared
	// Loose are text columns in which neither case counts nor blanks at the ends.
	Loose []string
	// Sums and Groups are the columns of the figures; nil: the usual ones.
	Sums, Groups []string
}

// conclude says whether the table passes, and if not, why.
func (t *TableResult) conclude() {
	r := t.rules
	t.Failures = nil
	all := t.Source
	if t.Sampled > 0 {
		all = t.Sampled
	}
	for _, one := range []struct {
		n     int64
		bound Bound
		what  string
	}{{t.Missing, r.Missing, "missing"}, {t.Extra, r.Extra, "extra"}, {t.Different, r.Different, "different"}, {t.Duplicates, r.Duplicates, "duplicate"}} {
		if !one.bound.exceeded(one.n, all) {
			continue
		}
		text := fmt.Sprintf("%d %s", one.n, one.what)
		if one.bound.Text != "" {
			text += fmt.Sprintf(", %s allowed", one.bound.Text)
		}
		t.Failures = append(t.Failures, text)
	}
	for _, f := range t.SourceFigures {
		if !f.Same {
			t.Failures = append(t.Failures, fmt.Sprintf("%s: %s in the source, %s staged", f.Name, f.Source, f.Staged))
		}
	}
	t.concludeQuick()
	t.Pass = len(t.Failures) == 0
}

// SameNumber compares two numbers as SQL writes them: by value, and with a float among them
// to nine digits, since the order of adding matters there. No number is 0.
func SameNumber(a, b string) bool {
	read := func(s string) (*big.Rat, bool) {
		if s == "" {
			return new(big.Rat), true
		}
		return new(big.Rat).SetString(s)
	}
	x, okX := read(a)
	y, okY := read(b)
	if !okX || !okY {
		return a == b
	}
	f, _ := x.Float64()
	g, _ := y.Float64()
	return x.Cmp(y) == 0 || math.Abs(f-g) <= 1e-9*max(math.Abs(f), math.Abs(g)) && (isFloat(a) || isFloat(b))
}

// isFloat reports whether SQL wrote a float: with more digits than an exact sum has.
func isFloat(s string) bool {
	_, fraction, _ := strings.Cut(s, ".")
	return strings.ContainsAny(s, "eE") || len(fraction) > figureDigits
}

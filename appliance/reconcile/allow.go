package reconcile

import "fmt"

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
}

// judge says whether the table passes.
func (t *TableResult) judge(r Rules) {
	t.Failures = nil
	for _, one := range []struct {
		n     int64
		bound Bound
		what  string
	}{{t.Missing, r.Missing, "missing"}, {t.Extra, r.Extra, "extra"}, {t.Different, r.Different, "different"}, {t.Duplicates, r.Duplicates, "duplicate"}} {
		if !one.bound.exceeded(one.n, t.Source) {
			continue
		}
		text := fmt.Sprintf("%d %s", one.n, one.what)
		if one.bound.Text != "" {
			text += fmt.Sprintf(", %s allowed", one.bound.Text)
		}
		t.Failures = append(t.Failures, text)
	}
	t.Pass = len(t.Failures) == 0
}

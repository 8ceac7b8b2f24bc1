package emulator

import (
	"strings"
	"time"
)

// The fiscal year is as a new environment has it: it begins on 1 January and has four
// periods, the quarters.

// takesNumber reports whether a query function's values are numbers whatever the
// column's type: LastXDays, InFiscalPeriodAndYear.
func takesNumber(fn string) bool {
	return strings.Contains(fn, "X") && strings.HasSuffix(fn, "s") || strings.Contains(fn, "Fiscal")
}

// fiscalTest is the query functions about fiscal years and periods; nil for others,
// and where the number of values is not theirs.
func fiscalTest(fn string, now time.Time, values []value) func(value) bool {
	if !strings.Contains(fn, "Fiscal") {
		return nil
	}
	var n []int
	for _, v := range values {
		n = append(n, int(v.n))
	}
	quarter := func(t time.Time) int { return t.Year()*4 + (int(t.Month())-1)/3 }
	on := func(span func(q int) bool) func(value) bool {
		return func(v value) bool { return !v.isNull() && span(quarter(v.time())) }
	}
	this := quarter(now)
	switch len(n) {
	case 0:
		shift := map[string]int{"Last": -1, "This": 0, "Next": 1}
		by, known := shift[fn[:min(4, len(fn))]]
		switch {
		case known && fn[4:] == "FiscalPeriod":
			return on(func(q int) bool { return q == this+by })
		case known && fn[4:] == "FiscalYear":
			return on(func(q int) bool { return q/4 == this/4+by })
		}
	case 1:
		x := n[0]
		switch fn {
		case "InFiscalYear":
			return on(func(q int) bool { return q/4 == x })
		case "InFiscalPeriod":
			return on(func(q int) bool { return q%4+1 == x })
		case "LastXFiscalYears":
			return on(func(q int) bool { return q/4 < this/4 && q/4 >= this/4-x })
		case "NextXFiscalYears":
			return on(func(q int) bool { return q/4 > this/4 && q/4 <= this/4+x })
		case "LastXFiscalPeriods":
			return on(func(q int) bool { return q < this && q >= this-x })
		case "NextXFiscalPeriods":
			return on(func(q int) bool { return q > this && q <= this+x })
		}
	case 2:
		at := n[1]*4 + n[0] - 1
		switch fn {
		case "InFiscalPeriodAndYear":
			return on(func(q int) bool { return q == at })
		case "InOrBeforeFiscalPeriodAndYear":
			return on(func(q int) bool { return q <= at })
		case "InOrAfterFiscalPeriodAndYear":
			return on(func(q int) bool { return q >= at })
		}
	}
	return nil
}

package ingest

import (
	"fmt"
	"math/bits"

	"dvmigrate/duckstage/column"
)

// parseDecimal reads a number such as -12.30 as a whole number of units of ten to the
// minus scale. More digits after the point than that must be zeros: nothing is rounded.
func parseDecimal(text []byte, scale int) (column.Int128, error) {
	bad := func() (column.Int128, error) {
		return column.Int128{}, fmt.Errorf("%q is not a number of %d decimals", text, scale)
	}
	digits, negative := text, false
	if len(digits) > 0 && (digits[0] == '-' || digits[0] == '+') {
		negative, digits = digits[0] == '-', digits[1:]
	}
	var hi, lo uint64
	after, point, any := 0, false, false
	for _, c := range digits {
		switch {
		case c == '.' && !point:
			point = true
			continue
		case c < '0' || c > '9':
			return bad()
		}
		any = true
		if point && after == scale {
			if c != '0' {
				return bad()
			}
			continue
		}
		if point {
			after++
		}
		var ok bool
		if hi, lo, ok = timesTen(hi, lo, uint64(c-'0')); !ok {
			return bad()
		}
	}
	if !any {
		return bad()
	}
	for ; after < scale; after++ {
		var ok bool
		if hi, lo, ok = timesTen(hi, lo, 0); !ok {
			return bad()
		}
	}
	return signed(hi, lo, negative), nil
}

// timesTen is x*10 + d, for x below 2^127.
func timesTen(hi, lo, d uint64) (uint64, uint64, bool) {
	over, low := bits.Mul64(lo, 10)
	more, high := bits.Mul64(hi, 10)
	var carry uint64
	low, carry = bits.Add64(low, d, 0)
	high, carry = bits.Add64(high, over, carry)
	return high, low, more == 0 && carry == 0 && high < 1<<63
}

func signed(hi, lo uint64, negative bool) column.Int128 {
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	return column.Int128{Hi: int64(hi), Lo: lo}
}

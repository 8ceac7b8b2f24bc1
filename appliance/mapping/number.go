package mapping

import (
	"math/bits"
	"strconv"
	"time"

	"dvmigrate/duckstage/column"
)

// appendTimestamp appends microseconds since 1970 as ISO 8601 in UTC, to the
// second: Dataverse keeps no parts of one (dataverse-web-api.md 4.4).
func appendTimestamp(dst []byte, micros int64) []byte {
	t := time.UnixMicro(micros).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = append(dst, byte('0'+year/1000%10), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-')
	dst = append(append2(append(append2(dst, int(month)), '-'), day), 'T')
	dst = append(append2(dst, hour), ':')
	dst = append(append2(dst, minute), ':')
	return append(append2(dst, second), 'Z')
}

func append2(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }

// appendDecimal appends v / 10^scale in plain digits, without an exponent and
// without zeros at the end of the fraction.
func appendDecimal(dst []byte, v column.Int128, scale int) []byte {
	hi, lo := uint64(v.Hi), v.Lo
	if v.Hi < 0 {
		dst = append(dst, '-')
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	var buf [48]byte
	digits := appendUint128(buf[:0], hi, lo)
	for len(digits) <= scale { // 5 at scale 2 is 005
		digits = append(digits, 0)
		copy(digits[1:], digits)
		digits[0] = '0'
	}
	point := len(digits) - scale
	dst = append(dst, digits[:point]...)
	fraction := digits[point:]
	for len(fraction) > 0 && fraction[len(fraction)-1] == '0' {
		fraction = fraction[:len(fraction)-1]
	}
	if len(fraction) > 0 {
		dst = append(append(dst, '.'), fraction...)
	}
	return dst
}

func appendUint128(dst []byte, hi, lo uint64) []byte {
	if hi == 0 {
		return strconv.AppendUint(dst, lo, 10)
	}
	const chunk = 1e19 // the largest power of ten below 2^64
	q, r := bits.Div64(hi%chunk, lo, chunk)
	dst = appendUint128(dst, hi/chunk, q)
	var low [20]byte
	tail := strconv.AppendUint(low[:0], r, 10)
	for range 19 - len(tail) {
		dst = append(dst, '0')
	}
	return append(dst, tail...)
}

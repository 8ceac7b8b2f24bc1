package column

import (
	"encoding/json"
	"math/bits"
	"strconv"
	"time"
)

// Value is the value of row i for who shows it: nil, bool, int64, float64,
// json.Number for a decimal, and text for all else, dates and times in ISO form.
func (v *Vector) Value(i int) any {
	if v.Null(i) {
		return nil
	}
	switch v.Type {
	case Bool:
		return v.Ints[i] != 0
	case Int:
		return v.Ints[i]
	case Float:
		return v.Floats[i]
	case Decimal:
		return json.Number(AppendDecimal(nil, v.Wide[i], int(v.Scale)))
	case Date:
		return time.Unix(v.Ints[i]*86400, 0).UTC().Format(time.DateOnly)
	case Timestamp:
		return time.UnixMicro(v.Ints[i]).UTC().Format("2006-01-02 15:04:05.999999")
	case UUID:
		return uuidText(v.UUIDs[i])
	}
	return string(v.TextAt(i))
}

func uuidText(u [16]byte) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 36)
	for i, x := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, digits[x>>4], digits[x&15])
	}
	return string(b)
}

// AppendDecimal appends v / 10^scale in plain digits, without an exponent and with
// scale digits after the point.
func AppendDecimal(dst []byte, v Int128, scale int) []byte {
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
	if scale > 0 {
		dst = append(append(dst, '.'), digits[point:]...)
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

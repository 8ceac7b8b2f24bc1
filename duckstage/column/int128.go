package column

import (
	"math/bits"
	"strconv"
)

// Int128 is a signed 128-bit integer in two's complement.
type Int128 struct {
	Hi int64
	Lo uint64
}

// FromInt64 widens x.
func FromInt64(x int64) Int128 { return Int128{Hi: x >> 63, Lo: uint64(x)} }

// Append writes x with scale digits after the point, as a JSON number: "-12.50"
// for -1250 and 2. Zeros at the end are kept, so that the text says the scale.
func (x Int128) Append(dst []byte, scale uint8) []byte {
	hi, lo := uint64(x.Hi), x.Lo
	if x.Hi < 0 {
		dst = append(dst, '-')
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	// 39 digits hold 2^127; the value is taken apart nineteen digits at a time.
	var digits [39]byte
	n := len(digits)
	const chunk = 1e19
	for hi != 0 {
		var rest uint64
		q := hi / chunk
		lo, rest = bits.Div64(hi%chunk, lo, chunk)
		hi = q
		for range 19 {
			n--
			digits[n] = '0' + byte(rest%10)
			rest /= 10
		}
	}
	if lo != 0 || n == len(digits) {
		var low [20]byte
		text := strconv.AppendUint(low[:0], lo, 10)
		n -= len(text)
		copy(digits[n:], text)
	}
	for n < len(digits)-1 && digits[n] == '0' {
		n++
	}
	text := digits[n:]
	if scale == 0 {
		return append(dst, text...)
	}
	point := len(text) - int(scale)
	if point <= 0 {
		dst = append(dst, "0."...)
		for ; point < 0; point++ {
			dst = append(dst, '0')
		}
		return append(dst, text...)
	}
	dst = append(dst, text[:point]...)
	dst = append(dst, '.')
	return append(dst, text[point:]...)
}

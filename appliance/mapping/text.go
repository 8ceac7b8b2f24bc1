package mapping

import (
	"encoding/binary"
	"math/bits"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s, which must be UTF-8, as a JSON string.
func AppendString(dst, s []byte) []byte {
	return append(appendEscaped(append(dst, '"'), s), '"')
}

// appendEscaped appends s as it stands between the quotes of a JSON string.
func appendEscaped(dst, s []byte) []byte {
	for {
		n := plainLength(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return dst
		}
		switch c := s[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		s = s[n+1:]
	}
}

// Each byte of these words has one value.
const (
	lows      = 0x0101010101010101
	highs     = 0x8080808080808080
	blanks    = ' ' * lows
	quotes    = '"' * lows
	backslash = '\\' * lows
)

// plainLength is how many bytes s begins with that need no escape: eight at once are
// looked at, in one word. A borrow in the differences may mark bytes above one that is
// marked rightly, so the lowest mark is always right.
func plainLength(s []byte) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := binary.LittleEndian.Uint64(s[i:])
		q, b := x^quotes, x^backslash
		if marks := ((x-blanks)&^x | (q-lows)&^q | (b-lows)&^b) & highs; marks != 0 {
			return i + bits.TrailingZeros64(marks)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

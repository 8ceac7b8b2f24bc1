package mapping

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

const hexDigits = "0123456789abcdef"

// appendEscaped appends s as it stands between the quotes of a JSON string.
func appendEscaped(dst, s []byte) []byte {
	for {
		var n int
		if dst, n = appendPlain(dst, s); n == len(s) {
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

// escapes marks the bytes of a word that need an escape. A borrow in the differences may
// mark bytes above one that is marked rightly, so the lowest mark is always right.
func escapes(x uint64) uint64 {
	q, b := x^quotes, x^backslash
	return ((x-blanks)&^x | (q-lows)&^q | (b-lows)&^b) & highs
}

// appendPlain appends what s begins with that needs no escape, and tells its length: eight
// bytes at once, in one word, the last eight over some that were looked at before.
func appendPlain(dst, s []byte) ([]byte, int) {
	at := len(dst)
	dst = slices.Grow(dst, len(s))
	out := dst[at : at+len(s)]
	if len(s) >= 8 {
		for i := 0; ; i = min(i+8, len(s)-8) {
			x := binary.LittleEndian.Uint64(s[i:])
			binary.LittleEndian.PutUint64(out[i:], x)
			if marks := escapes(x); marks != 0 {
				n := i + bits.TrailingZeros64(marks)/8
				return dst[:at+n], n
			}
			if i == len(s)-8 {
				return dst[:at+len(s)], len(s)
			}
		}
	}
	for i, c := range s {
		if c < ' ' || c == '"' || c == '\\' {
			return dst[:at+i], i
		}
		out[i] = c
	}
	return dst[:at+len(s)], len(s)
}

package schema

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// GUID is a record's id as 16 bytes in the order of its text form.
type GUID [16]byte

// ParseGUID reads the 8-4-4-4-12 form, upper or lower case, without braces
// (dataverse-web-api.md 1.5, trap 38).
func ParseGUID(s string) (GUID, error) {
	var g GUID
	if !g.parse([]byte(s)) {
		return GUID{}, fmt.Errorf("parse guid: %q is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	return g, nil
}

func (g *GUID) parse(b []byte) bool {
	if len(b) != 36 || b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return false
	}
	var packed [32]byte
	n := 0
	for i, c := range b {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		packed[n] = c
		n++
	}
	_, err := hex.Decode(g[:], packed[:])
	return err == nil
}

// Append appends the lower-case text form to dst.
func (g GUID) Append(dst []byte) []byte {
	var text [36]byte
	put := func(at int, digits uint64) { binary.BigEndian.PutUint64(text[at:], digits) }
	put(0, hexDigits(binary.BigEndian.Uint32(g[0:])))
	b, c := hexDigits(binary.BigEndian.Uint32(g[4:])), hexDigits(binary.BigEndian.Uint32(g[8:]))
	put(9, b) // its second half is written over
	put(14, b<<32)
	put(19, c)
	put(24, c<<32)
	put(28, hexDigits(binary.BigEndian.Uint32(g[12:])))
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return append(dst, text[:]...)
}

// hexDigits are the eight lower-case hexadecimal digits of x, the first in the highest byte.
func hexDigits(x uint32) uint64 {
	n := uint64(x) // to be spread: four bits in each byte
	n = n&0xFFFF_0000<<16 | n&0xFFFF
	n = n&0x0000_FF00_0000_FF00<<8 | n&0x0000_00FF_0000_00FF
	n = n&0x00F0_00F0_00F0_00F0<<4 | n&0x000F_000F_000F_000F
	letters := (n + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101 // 1 where the digit is a letter
	return n + 0x3030_3030_3030_3030 + letters*('a'-'0'-10)
}

// String returns the lower-case text form.
func (g GUID) String() string { return string(g.Append(make([]byte, 0, 36))) }

// IsZero reports whether all bytes are zero, which Dataverse refuses as an id.
func (g GUID) IsZero() bool { return g == GUID{} }

// MarshalText implements encoding.TextMarshaler with the lower-case form.
func (g GUID) MarshalText() ([]byte, error) { return g.Append(nil), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *GUID) UnmarshalText(b []byte) error {
	if !g.parse(b) {
		return fmt.Errorf("parse guid: %q is not a GUID", b)
	}
	return nil
}

package schema

import (
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
	const digits = "0123456789abcdef"
	var text [36]byte
	at := 0
	for i, b := range g {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text[at] = '-'
			at++
		}
		text[at], text[at+1] = digits[b>>4], digits[b&15]
		at += 2
	}
	return append(dst, text[:]...)
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

package mapping

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// badCharacter finds the first character of a text that Dataverse refuses
// (dataverse-web-api.md 4.2): one that XML 1.0 does not know. written is how many bytes
// the text has become between quotes in JSON: a text that needed no escape has no control character, so
// that most are not looked at again.
func badCharacter(text []byte, written int) (string, bool) {
	if written == len(text) && bytes.IndexByte(text, 0xEF) < 0 {
		return "", false
	}
	for rest := text; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			return fmt.Sprintf("byte 0x%02X, which is no UTF-8", rest[0]), true
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return fmt.Sprintf("character U+%04X", r), true
		}
		rest = rest[n:]
	}
	return "", false
}

// Fault says why the row that AppendTarget wrote last must not be sent; "" = it may be.
func (r *Rows) Fault() string { return r.fault }

// appendText appends a text, of which the quote before it is there, and notes a character
// that would be refused.
func (r *Rows) appendText(dst []byte, f *field, text []byte) []byte {
	before := len(dst)
	dst = appendEscaped(dst, text)
	if r.fault == "" {
		if what, bad := badCharacter(text, len(dst)-before); bad {
			r.fault = fmt.Sprintf("%s: has the %s, which Dataverse refuses; replace it in the transform", f.name, what)
		}
	}
	return append(dst, '"')
}

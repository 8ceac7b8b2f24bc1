package ledger

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Error texts of one kind differ only in ids, numbers and quoted values. splitText takes these out, so
// that the rest, the template, is stored once however many records fail with it (engines.md II 8.5).

// slot stands in a template for a part that was taken out.
const slot = '\x01'

// maxText is the longest error text kept, in bytes; a longer one is cut at a character's end.
const maxText = 8 << 10

// cutText shortens text to maxText.
func cutText(text string) string {
	if len(text) <= maxText {
		return text
	}
	n := maxText
	for n > maxText-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// splitText takes GUIDs, numbers and quoted values out of text. ok is false when text holds the slot
// character itself and so has no template. joinText(splitText(text)) is text.
func splitText(text string) (template string, params []string, ok bool) {
	if strings.IndexByte(text, slot) >= 0 {
		return "", nil, false
	}
	var t strings.Builder
	for i := 0; i < len(text); {
		before, n, after := variablePart(text[i:])
		t.WriteString(text[i : i+before])
		i += before
		if n > 0 {
			t.WriteByte(slot)
			params = append(params, text[i:i+n])
			i += n
		}
		t.WriteString(text[i : i+after])
		i += after
	}
	return t.String(), params, true
}

// Template is text without its ids, numbers and quoted values, in place of which stands an ellipsis: the same
// for all texts of one kind; one for a list of them. A text that holds the character U+0001 is its own template.
func Template(text string) string {
	template, _, ok := splitText(text)
	if !ok {
		return text
	}
	template = strings.ReplaceAll(template, string(slot), "…")
	for strings.Contains(template, "…, …") {
		template = strings.ReplaceAll(template, "…, …", "…")
	}
	return template
}

// variablePart looks for a variable part at the start of s: n bytes, between before and after bytes that
// belong to the template. One of the three is not 0.
func variablePart(s string) (before, n, after int) {
	if len(s) >= guidLen && isGUID(s[:guidLen]) {
		return 0, guidLen, 0
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9':
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		return 0, n, 0
	case c == '\'' || c == '"':
		// A quote that is not closed soon is an apostrophe.
		if end := strings.IndexByte(s[1:min(len(s), 200)], c); end >= 0 {
			return 1, end, 1
		}
	}
	return 1, 0, 0
}

// joinText is the reverse of splitText.
func joinText(template string, params []string) (string, error) {
	var t strings.Builder
	for _, p := range params {
		before, after, found := strings.Cut(template, string(slot))
		if !found {
			return "", errors.New("more values than places in the text's template")
		}
		t.WriteString(before)
		t.WriteString(p)
		template = after
	}
	if strings.IndexByte(template, slot) >= 0 {
		return "", errors.New("fewer values than places in the text's template")
	}
	t.WriteString(template)
	return t.String(), nil
}

const guidLen = 36

// isGUID reports whether s is a GUID in the usual 8-4-4-4-12 form, of either case.
func isGUID(s string) bool {
	if len(s) != guidLen {
		return false
	}
	for i := range guidLen {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if _, ok := unhex(c); !ok && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}

// packGUID is the 16 bytes of a lower-case GUID; ok is false for anything else.
func packGUID(s string) (b [16]byte, ok bool) {
	if !isGUID(s) {
		return b, false
	}
	n := 0
	for i := 0; i < guidLen; i++ {
		if s[i] == '-' {
			continue
		}
		v, ok := unhex(s[i])
		if !ok {
			return b, false
		}
		b[n/2] = b[n/2]<<4 | v
		n++
	}
	return b, true
}

// unpackGUID is the reverse of packGUID.
func unpackGUID(b [16]byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, guidLen)
	for i, c := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			out = append(out, '-')
		}
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

// unhex takes digits and lower-case letters only.
func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// appendParams writes values: each a varint of length*2 and the bytes, or the varint 1 and the 16 bytes
// of a lower-case GUID.
func appendParams(b []byte, params []string) []byte {
	for _, p := range params {
		if g, ok := packGUID(p); ok {
			b = append(b, 1)
			b = append(b, g[:]...)
			continue
		}
		b = appendUvarint(b, uint64(len(p))<<1)
		b = append(b, p...)
	}
	return b
}

// parseParams is the reverse of appendParams; it takes only what that writes.
func parseParams(b []byte) ([]string, error) {
	var params []string
	for len(b) > 0 {
		head, n := uvarint(b)
		b = b[n:]
		switch {
		case n == 0 || head&1 == 1 && head != 1:
			return nil, errors.New("length of a text's value is not valid")
		case head == 1:
			if len(b) < 16 {
				return nil, errors.New("text's value is cut short")
			}
			params = append(params, unpackGUID([16]byte(b)))
			b = b[16:]
		default:
			length := head >> 1
			if length > uint64(len(b)) {
				return nil, errors.New("text's value is cut short")
			}
			p := string(b[:length])
			if _, ok := packGUID(p); ok {
				return nil, errors.New("text's GUID is not packed")
			}
			params = append(params, p)
			b = b[length:]
		}
	}
	return params, nil
}

package emulator

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// scanner reads JSON from a body held in memory. Texts without escapes are handed
// out as parts of the body, not copies: the body must not change while they live.
type scanner struct {
	b []byte
	i int
}

// scanError is malformed JSON.
type scanError struct{ text string }

func (e *scanError) Error() string { return e.text }

func (s *scanner) fail(format string, args ...any) error {
	return &scanError{"Microsoft.OData.ODataException: " + fmt.Sprintf(format, args...)}
}

// peek returns the next byte that is not white space; 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// expect consumes the byte c.
func (s *scanner) expect(c byte) error {
	if got := s.peek(); got != c {
		return s.fail("Invalid JSON. Unexpected token '%s' found at position %d, a '%c' was expected.", s.near(), s.i, c)
	}
	s.i++
	return nil
}

func (s *scanner) near() string {
	if s.i >= len(s.b) {
		return "EndOfInput"
	}
	return string(s.b[s.i : s.i+1])
}

// next moves to the next member of an object or array that closes with end; more
// is false after the last. first says that no member was read yet.
func (s *scanner) next(end byte, first bool) (more bool, err error) {
	c := s.peek()
	if c == end {
		s.i++
		return false, nil
	}
	if first {
		return true, nil
	}
	if c != ',' {
		scope := "Object"
		if end == ']' {
			scope = "Array"
		}
		return false, s.fail("Invalid JSON. A comma character ',' was expected in scope '%s'. Every two elements in an array and properties of an object must be separated by commas.", scope)
	}
	s.i++
	if s.peek() == end {
		return false, s.fail("Invalid JSON. An unexpected comma was found at position %d.", s.i)
	}
	return true, nil
}

// name reads a member's name and the colon.
func (s *scanner) name() (string, error) {
	if s.peek() != '"' {
		return "", s.fail("Invalid JSON. A property name was expected at position %d.", s.i)
	}
	n, err := s.text()
	if err != nil {
		return "", err
	}
	return n, s.expect(':')
}

// plain marks the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text reads a string.
func (s *scanner) text() (string, error) {
	s.i++ // the quote
	start := s.i
	for s.i < len(s.b) && plain[s.b[s.i]] {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '"' {
		part := s.b[start:s.i]
		s.i++
		return unsafe.String(unsafe.SliceData(part), len(part)), nil
	}
	return s.slowText(start)
}

// slowText reads a string with escapes or non-ASCII characters.
func (s *scanner) slowText(start int) (string, error) {
	escaped := false
	for s.i < len(s.b) && s.b[s.i] != '"' {
		if s.b[s.i] == '\\' {
			escaped = true
			s.i++
		}
		s.i++
	}
	if s.i >= len(s.b) {
		return "", s.fail("Invalid JSON. Unexpected end of input was found in JSON content. The content is not valid JSON: a string is not closed.")
	}
	part := s.b[start:s.i]
	s.i++
	if !utf8.Valid(part) {
		return "", s.fail("Invalid JSON. The content is not valid UTF-8.")
	}
	if !escaped {
		return unsafe.String(unsafe.SliceData(part), len(part)), nil
	}
	return s.unescape(part)
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (s *scanner) unescape(part []byte) (string, error) {
	out := make([]byte, 0, len(part))
	for i := 0; i < len(part); i++ {
		if part[i] != '\\' {
			out = append(out, part[i])
			continue
		}
		i++
		if c, ok := escapes[part[i]]; ok {
			out = append(out, c)
			continue
		}
		r, ok := hexRune(part, i)
		if !ok {
			return "", s.fail("Invalid JSON. An unrecognized escape sequence '\\%c' was found in a JSON string value.", part[i])
		}
		i += 4
		if utf16.IsSurrogate(r) {
			low, ok := rune(0), false
			if i+2 < len(part) && part[i+1] == '\\' {
				low, ok = hexRune(part, i+2)
			}
			r = utf16.DecodeRune(r, low)
			if !ok || r == utf8.RuneError {
				return "", s.fail("Invalid JSON. An unpaired surrogate was found in a JSON string value.")
			}
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), nil
}

// hexRune reads uXXXX at part[i:].
func hexRune(part []byte, i int) (r rune, ok bool) {
	if i+5 > len(part) || part[i] != 'u' {
		return 0, false
	}
	for _, c := range part[i+1 : i+5] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// literal is a JSON value that is neither object nor array.
type jsonLiteral struct {
	kind byte   // 's' text, 'n' number, 't' true, 'f' false, '0' null
	text string // of a text its content, else as written
}

// literal reads a primitive value. ok is false, and nothing is read, at an object
// or array.
func (s *scanner) literal() (l jsonLiteral, ok bool, err error) {
	switch c := s.peek(); {
	case c == '"':
		t, err := s.text()
		return jsonLiteral{'s', t}, true, err
	case c == '{' || c == '[':
		return l, false, nil
	case c == 't':
		return jsonLiteral{'t', "true"}, true, s.word("true")
	case c == 'f':
		return jsonLiteral{'f', "false"}, true, s.word("false")
	case c == 'n':
		return jsonLiteral{'0', "null"}, true, s.word("null")
	case c == '-' || digit(c):
		n, err := s.number()
		return jsonLiteral{'n', n}, true, err
	}
	return l, true, s.fail("Invalid JSON. Unexpected token '%s' found at position %d.", s.near(), s.i)
}

func (s *scanner) word(w string) error {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return s.fail("Invalid JSON. The token at position %d is not a valid literal.", s.i)
	}
	s.i += len(w)
	return nil
}

// number reads a number in JSON's grammar and returns it as written.
func (s *scanner) number() (string, error) {
	start := s.i
	if s.b[s.i] == '-' {
		s.i++
	}
	whole := s.digits()
	ok := whole == 1 || whole > 1 && s.b[s.i-whole] != '0'
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		ok = s.digits() > 0 && ok
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		ok = s.digits() > 0 && ok
	}
	part := s.b[start:s.i]
	if !ok {
		return "", s.fail("Invalid JSON. '%s' is not a number.", part)
	}
	return unsafe.String(unsafe.SliceData(part), len(part)), nil
}

func (s *scanner) digits() int {
	start := s.i
	for s.i < len(s.b) && digit(s.b[s.i]) {
		s.i++
	}
	return s.i - start
}

const maxDepth = 64

// skip reads any value and drops it.
func (s *scanner) skip(depth int) error {
	_, ok, err := s.literal()
	if ok || err != nil {
		return err
	}
	if depth > maxDepth {
		return s.fail("The depth limit for entries in nested expanded navigation links was reached.")
	}
	open := s.b[s.i]
	s.i++
	end := byte(']')
	if open == '{' {
		end = '}'
	}
	for first := true; ; first = false {
		more, err := s.next(end, first)
		if err != nil || !more {
			return err
		}
		if open == '{' {
			if _, err := s.name(); err != nil {
				return err
			}
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
	}
}

// end checks that nothing but white space is left.
func (s *scanner) end() error {
	if s.peek() != 0 || s.i < len(s.b) {
		return s.fail("Invalid JSON. More than one value was found at the root of the JSON content.")
	}
	return nil
}

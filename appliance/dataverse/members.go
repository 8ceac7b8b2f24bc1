package dataverse

import (
	"bytes"
	"errors"
)

// Answers are checked to be JSON as a whole when they come, so that what follows only looks
// for where values end: of pages of thousands of rows, decoding them once more would be
// most of the work.

var errNoObject = errors.New("it is not a JSON object")

// eachMember calls fn with the members of a JSON object, which must be valid; names as they
// stand there, with their quotes.
func eachMember(object []byte, fn func(name, value []byte) error) error {
	at := blanks(object, 0)
	if at >= len(object) || object[at] != '{' {
		return errNoObject
	}
	for at++; ; {
		if at = blanks(object, at); at >= len(object) {
			return errNoObject
		}
		switch object[at] {
		case '}':
			return nil
		case ',':
			at++
			continue
		case '"':
		default:
			return errNoObject
		}
		end := stringEnd(object, at)
		name, from := object[at:end], blanks(object, end)
		if from >= len(object) || object[from] != ':' {
			return errNoObject
		}
		from = blanks(object, from+1)
		at = valueEnd(object, from)
		if err := fn(name, object[from:at]); err != nil {
			return err
		}
	}
}

// eachElement calls fn with the elements of a JSON array, which must be valid.
func eachElement(list []byte, fn func(value []byte) error) error {
	for at := blanks(list, 0) + 1; ; {
		if at = blanks(list, at); at >= len(list) || list[at] == ']' {
			return nil
		}
		if list[at] == ',' {
			at++
			continue
		}
		from := at
		if at = valueEnd(list, from); at == from {
			return errNoObject
		}
		if err := fn(list[from:at]); err != nil {
			return err
		}
	}
}

// Splitter finds wanted members of rows, without a map a row.
type Splitter struct {
	slots map[string]int
	found [][]byte
}

// NewSplitter makes one that finds the members with these names.
func NewSplitter(names []string) *Splitter {
	s := &Splitter{slots: map[string]int{}}
	for _, name := range names {
		if _, known := s.slots[name]; !known {
			s.slots[name] = len(s.slots)
		}
	}
	s.found = make([][]byte, len(s.slots))
	return s
}

// Split finds the members of one row, which must be valid JSON.
func (s *Splitter) Split(row []byte) error {
	clear(s.found)
	return eachMember(row, func(name, value []byte) error {
		if slot, wanted := s.slots[string(name[1:len(name)-1])]; wanted {
			s.found[slot] = value
		}
		return nil
	})
}

// Member is a member of the row that was split last, as it stands there; nil where the row
// has none. It points into the row.
func (s *Splitter) Member(name string) []byte { return s.found[s.slots[name]] }

// blanks skips white space.
func blanks(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\n' || b[at] == '\r' || b[at] == '\t') {
		at++
	}
	return at
}

// valueEnd is where the JSON value that begins at at ends.
func valueEnd(b []byte, at int) int {
	depth := 0
	for at < len(b) {
		switch b[at] {
		case '"':
			at = stringEnd(b, at)
			if depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of what the value is in
				return at
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return at
			}
		case ':':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return len(b)
}

// stringEnd is behind the string that begins at at.
func stringEnd(b []byte, at int) int {
	for at++; at < len(b); {
		next := bytes.IndexByte(b[at:], '"')
		if next < 0 {
			return len(b)
		}
		quote, slashes := at+next, 0
		for k := quote - 1; k >= at && b[k] == '\\'; k-- {
			slashes++
		}
		at = quote + 1
		if slashes%2 == 0 {
			return at
		}
	}
	return len(b)
}

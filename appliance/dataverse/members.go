package dataverse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"dvmigrate/appliance/dataverse/schema"
)

// Answers are checked to be JSON as a whole when they come, so that what follows only looks
// for where values end: of pages of thousands of rows, decoding them once more would be
// most of the work.

var errNoObject = errors.New("it is not a JSON object")

// members calls fn with each member's name and where its value begins; fn says where that
// ends.
func members(object []byte, fn func(name []byte, from int) (end int, err error)) error {
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
		var err error
		if at, err = fn(name, blanks(object, from+1)); err != nil {
			return err
		}
	}
}

// eachElement calls fn with the elements of a JSON array, which must be valid, and tells
// where it ends: what follows is not looked at.
func eachElement(list []byte, fn func(value []byte) error) (end int, err error) {
	for at := blanks(list, 0) + 1; ; {
		if at = blanks(list, at); at >= len(list) || list[at] == ']' {
			return min(at+1, len(list)), nil
		}
		if list[at] == ',' {
			at++
			continue
		}
		from := at
		if at = valueEnd(list, from); at == from {
			return at, errNoObject
		}
		if err := fn(list[from:at]); err != nil {
			return at, err
		}
	}
}

// Splitter finds wanted members of rows, without a map a row. The rows of a page have the
// same members in the same order, so each is first taken for the one that stood there in the
// row before.
type Splitter struct {
	slots map[string]int
	found [][]byte
	order []placed
}

// placed is the member at one place of a row: its name with quotes and colon, and its slot;
// negative where nobody wants it.
type placed struct {
	name []byte
	slot int
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
	at, place := blanks(row, 0), 0
	if at >= len(row) || row[at] != '{' {
		return errNoObject
	}
	for at++; ; place++ {
		for at = blanks(row, at); at < len(row) && row[at] == ','; at = blanks(row, at+1) {
		}
		if at < len(row) && row[at] == '}' {
			return nil
		}
		var from int
		if place < len(s.order) && bytes.HasPrefix(row[at:], s.order[place].name) {
			from = at + len(s.order[place].name)
		} else {
			if at >= len(row) || row[at] != '"' {
				return errNoObject
			}
			end := stringEnd(row, at)
			if from = blanks(row, end) + 1; from > len(row) || row[from-1] != ':' {
				return errNoObject
			}
			slot, wanted := s.slots[string(row[at+1:end-1])]
			if !wanted {
				slot = -1
			}
			s.order = append(s.order[:place], placed{append(bytes.Clone(row[at:end]), ':'), slot})
		}
		from = blanks(row, from)
		at = valueEnd(row, from)
		if slot := s.order[place].slot; slot >= 0 {
			s.found[slot] = row[from:at]
		}
	}
}

// Slot is the number of a member, one of those that the splitter was made with.
func (s *Splitter) Slot(name string) int { return s.slots[name] }

// At is the member with that number of the row that was split last, as it stands there; nil
// where the row has none. It points into the row.
func (s *Splitter) At(slot int) []byte { return s.found[slot] }

// Text is the text that a member holds; "" for null, and where the row has none.
func (s *Splitter) Text(slot int) string {
	v := s.found[slot]
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1])
	}
	var text string
	_ = json.Unmarshal(v, &text) // of a text that is valid: cannot fail
	return text
}

// GUID is the id that a member holds; not ok: none.
func (s *Splitter) GUID(slot int) (id schema.GUID, ok bool) {
	id, err := schema.ParseGUID(s.Text(slot))
	return id, err == nil
}

// rowID splits a row and reads the id in the first member that the splitter finds.
func (s *Splitter) rowID(row []byte) (schema.GUID, error) {
	if err := s.Split(row); err != nil {
		return schema.GUID{}, fmt.Errorf("read row: %w", err)
	}
	id, ok := s.GUID(0)
	if !ok {
		return id, fmt.Errorf("read row: it has no id (%s)", s.found[0])
	}
	return id, nil
}

// Member is At for a name.
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
	for at++; ; {
		if at = special(b, at); at >= len(b) {
			return len(b)
		}
		switch b[at] {
		case '"':
			return at + 1
		case '\\':
			at++ // what it stands before is no end
		}
		at++
	}
}

package dataverse

import (
	"encoding/binary"
	"math/bits"
)

// checked is json.Valid, which takes a step a byte: on every page that is read, this one takes
// a step eight bytes of a text, where most of a page is. They agree on everything (FuzzValid).
// It tells, too, where the elements of the page begin and end: of the list that is the
// object's member "value". That saves looking for their ends once more.
func checked(b []byte) (elements []int, ok bool) {
	end := validValue(b, blanks(b, 0), 0, &elements)
	return elements, end >= 0 && blanks(b, end) == len(b)
}

// deepest is how deep encoding/json lets values be nested.
const deepest = 10000

// validValue is behind the valid value that begins at at; negative where none does. The
// outermost object puts the elements of its "value" into elements; nil: nobody asks.
func validValue(b []byte, at, depth int, elements *[]int) int {
	if at >= len(b) || depth > deepest {
		return -1
	}
	switch c := b[at]; {
	case c == '"':
		return validString(b, at)
	case c == '{':
		if depth != 0 {
			elements = nil
		}
		return validObject(b, at, depth+1, elements)
	case c == '[':
		if depth != 1 {
			elements = nil
		}
		return validList(b, at, depth+1, elements)
	case c == '-' || c >= '0' && c <= '9':
		return validNumber(b, at)
	case c == 't':
		return word(b, at, "true")
	case c == 'f':
		return word(b, at, "false")
	case c == 'n':
		return word(b, at, "null")
	}
	return -1
}

func word(b []byte, at int, text string) int {
	if end := at + len(text); end <= len(b) && string(b[at:end]) == text {
		return end
	}
	return -1
}

func validObject(b []byte, at, depth int, elements *[]int) int {
	if depth > deepest {
		return -1
	}
	if at = blanks(b, at+1); at < len(b) && b[at] == '}' {
		return at + 1
	}
	for at < len(b) && b[at] == '"' {
		name := at
		if at = validString(b, at); at < 0 {
			return -1
		}
		of := elements
		if of != nil && string(b[name:at]) != `"value"` {
			of = nil
		} else if of != nil {
			*of = (*of)[:0] // of two the last counts
		}
		if at = blanks(b, at); at >= len(b) || b[at] != ':' {
			return -1
		}
		if at = validValue(b, blanks(b, at+1), depth, of); at < 0 {
			return -1
		}
		if at = blanks(b, at); at >= len(b) {
			return -1
		}
		if b[at] == '}' {
			return at + 1
		}
		if b[at] != ',' {
			return -1
		}
		at = blanks(b, at+1)
	}
	return -1
}

func validList(b []byte, at, depth int, elements *[]int) int {
	if depth > deepest {
		return -1
	}
	if at = blanks(b, at+1); at < len(b) && b[at] == ']' {
		return at + 1
	}
	for {
		from := at
		if at = validValue(b, at, depth, nil); at < 0 {
			return -1
		}
		if elements != nil {
			*elements = append(*elements, from, at)
		}
		if at = blanks(b, at); at >= len(b) {
			return -1
		}
		if b[at] == ']' {
			return at + 1
		}
		if b[at] != ',' {
			return -1
		}
		at = blanks(b, at+1)
	}
}

func validNumber(b []byte, at int) int {
	if b[at] == '-' {
		at++
	}
	if at < len(b) && b[at] == '0' {
		at++
	} else if at = someDigits(b, at); at < 0 {
		return -1
	}
	if at < len(b) && b[at] == '.' {
		if at = someDigits(b, at+1); at < 0 {
			return -1
		}
	}
	if at < len(b) && b[at]|0x20 == 'e' {
		if at++; at < len(b) && (b[at] == '+' || b[at] == '-') {
			at++
		}
		at = someDigits(b, at)
	}
	return at
}

// someDigits is behind the digits that begin at at; negative where none does.
func someDigits(b []byte, at int) int {
	from := at
	for at < len(b) && b[at] >= '0' && b[at] <= '9' {
		at++
	}
	if at == from {
		return -1
	}
	return at
}

func validString(b []byte, at int) int {
	for at++; ; {
		if at = special(b, at); at >= len(b) {
			return -1
		}
		switch {
		case b[at] == '"':
			return at + 1
		case b[at] != '\\' || at+1 >= len(b):
			return -1
		}
		switch b[at+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			at += 2
		case 'u':
			if at+6 > len(b) {
				return -1
			}
			for _, c := range b[at+2 : at+6] {
				if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
					return -1
				}
			}
			at += 6
		default:
			return -1
		}
	}
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// special is where the first quote, backslash or control character from at on is; len(b)
// where there is none.
func special(b []byte, at int) int {
	for ; at+8 <= len(b); at += 8 {
		x := binary.LittleEndian.Uint64(b[at:])
		quote, slash := x^'"'*eachByte, x^'\\'*eachByte
		// The lowest bit that is set is that of the first such byte: a borrow of the
		// subtraction only touches bytes behind it.
		if found := ((quote-eachByte)&^quote | (slash-eachByte)&^slash | (x-' '*eachByte)&^x) & highBits; found != 0 {
			return at + bits.TrailingZeros64(found)/8
		}
	}
	for ; at < len(b); at++ {
		if c := b[at]; c == '"' || c == '\\' || c < ' ' {
			break
		}
	}
	return at
}

package load

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"dvmigrate/appliance/dataverse"
)

// clue is what the message of a refused request tells of the guilty rows: values that a
// column may not have. Who it fits is a suspect, not more: suspects are sent so that each
// has its own answer.
type clue struct {
	column string // as it stands in the record: "name":
	longer int    // texts longer than so many UTF-16 units; 0: not meant
	value  string // the value as it stands in the record; "": not meant
}

// What the service says of a value (dataverse-web-api.md 1.8).
var (
	tooLongText  = regexp.MustCompile(`length of the '([a-z0-9_]+)' attribute of the '[^']*' entity exceeded the maximum allowed length of '(\d+)'`)
	badValueText = regexp.MustCompile(`[Tt]he value '?(-?[0-9][0-9.]*)'? of '([a-z0-9_]+)' on record`)
	quotedText   = regexp.MustCompile(`'([^']{2,200})'|"([^"]{2,200})"`)
)

// clueOf reads a clue from an error; false when it holds none.
func clueOf(err error) (clue, bool) {
	var e *dataverse.Error
	if !errors.As(err, &e) {
		return clue{}, false
	}
	if m := tooLongText.FindStringSubmatch(e.Message); m != nil {
		n, err := strconv.Atoi(m[2])
		return clue{column: `"` + m[1] + `":`, longer: n}, err == nil && n > 0
	}
	if m := badValueText.FindStringSubmatch(e.Message); m != nil {
		return clue{column: `"` + m[2] + `":`, value: m[1]}, true
	}
	return clue{}, false
}

// fits reports whether a record has such a value.
func (c clue) fits(record []byte) bool {
	at := bytes.Index(record, []byte(c.column))
	if at < 0 {
		return false
	}
	value := record[at+len(c.column):]
	if c.longer > 0 {
		return len(value) > c.longer && textUnits(value) > c.longer
	}
	return len(value) > len(c.value) && string(value[:len(c.value)]) == c.value && (value[len(c.value)] == ',' || value[len(c.value)] == '}')
}

// textUnits is the length of the JSON string that s begins with, in UTF-16 units as
// the service counts them; 0 when s begins with none.
func textUnits(s []byte) (n int) {
	if len(s) == 0 || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s) && s[i] != '"'; {
		size := 1
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == 'u':
			size, n = 6, n+1
		case s[i] == '\\':
			size, n = 2, n+1
		default:
			var r rune
			r, size = utf8.DecodeRune(s[i:])
			n += max(utf16.RuneLen(r), 1)
		}
		i += size
	}
	return n
}

// clues are what a work has learnt so far.
type clues struct {
	mu   sync.RWMutex
	list []clue
}

// maxClues is how many are kept: each is looked for in every record.
const maxClues = 8

// learn keeps a clue for the requests to come.
func (k *clues) learn(c clue) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.list) < maxClues && !slices.Contains(k.list, c) {
		k.list = append(slices.Clip(k.list), c)
	}
}

// known are the clues so far; they are not changed.
func (k *clues) known() []clue {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.list
}

// suspects are the records of a set that fit one of the clues.
func (s *sender) suspects(set []int, list []clue) (found []int) {
	if len(list) == 0 || s.w.table.Link != nil {
		return nil
	}
	for _, i := range set {
		if slices.ContainsFunc(list, func(c clue) bool { return c.fits(s.j.record(i)) }) {
			found = append(found, i)
		}
	}
	return found
}

// named finds the records that a message speaks of: by a clue, by an id that they hold,
// their own or that of a record they point to, or by a value in quotes.
func (s *sender) named(set []int, err error) []int {
	var e *dataverse.Error
	if s.w.table.Link != nil || !errors.As(err, &e) {
		return nil
	}
	if c, ok := clueOf(err); ok {
		if found := s.suspects(set, []clue{c}); len(found) > 0 {
			s.w.clues.learn(c)
			return found
		}
	}
	var found []int
	for _, id := range guidText.FindAllString(e.Message, -1) {
		found = append(found, s.holding(set, strings.ToLower(id))...)
	}
	for _, m := range quotedText.FindAllStringSubmatch(e.Message, 20) {
		if len(found) > 0 {
			break
		}
		found = s.holding(set, `:"`+m[1]+m[2]+`"`)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// holding are the records of a set that hold a text.
func (s *sender) holding(set []int, text string) (found []int) {
	for _, i := range set {
		if bytes.Contains(s.j.record(i), []byte(text)) {
			found = append(found, i)
		}
	}
	return found
}

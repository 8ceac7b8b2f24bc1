package appliance

import (
	"encoding/json"
	"html"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// needles are texts that are looked for, all at once, without regard to the case of ASCII
// letters, and also as JSON, HTML and CSV write them.
type needles struct {
	texts  []string // folded
	of     []int    // whose each text is
	byHead map[uint64][]int
	heads  [1 << 16]bool // by the lower half of a head: most places are ruled out by it
}

// headBytes is how many bytes of a text tell most from one another.
const headBytes = 5

// longestNeedle is how much of a long text is looked for: messages hold the beginnings of
// values.
const longestNeedle = 100

func head(b []byte) uint64 {
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32
}

// distinctive reports whether a text is long enough not to be found by chance.
func distinctive(text string) bool {
	if strings.ContainsFunc(text, unicode.IsLetter) {
		return len(text) >= headBytes && utf8.RuneCountInString(text) >= headBytes
	}
	return len(text) >= 9 && strings.ContainsFunc(text, unicode.IsDigit)
}

// folded writes ASCII letters small.
func folded(text string) string {
	b := []byte(text)
	foldBytes(b)
	return string(b)
}

func foldBytes(b []byte) {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

// beginning is what is looked for of a text: a long one up to the end of a word.
func beginning(text string) string {
	if len(text) <= longestNeedle {
		return text
	}
	end := longestNeedle
	for end > longestNeedle/2 && wordPart(text[end-1]) && wordPart(text[end]) {
		end--
	}
	for !utf8.RuneStart(text[end]) { // one word of that length
		end--
	}
	return text[:end]
}

func (n *needles) add(text string, of int) {
	if n.byHead == nil {
		n.byHead = map[uint64][]int{}
	}
	text = beginning(text)
	forms := []string{text, html.EscapeString(text), strings.ReplaceAll(text, `"`, `""`), strings.ReplaceAll(text, "'", "''")}
	if b, err := json.Marshal(text); err == nil {
		forms = append(forms, string(b[1:len(b)-1]))
	}
	slices.Sort(forms)
	for _, form := range slices.Compact(forms) {
		form = folded(form)
		h := head([]byte(form))
		n.byHead[h] = append(n.byHead[h], len(n.texts))
		n.heads[h&0xFFFF] = true
		n.texts, n.of = append(n.texts, form), append(n.of, of)
	}
}

// find calls hit for each text that begins in b, which must be folded, from from on and before
// upto, and stands there by itself: no letter or digit goes before it or follows.
func (n *needles) find(b []byte, from, upto int, hit func(needle int)) {
	for i := from; i+headBytes <= len(b) && i < upto; i++ {
		if !n.heads[uint16(b[i])|uint16(b[i+1])<<8] || i > 0 && wordPart(b[i-1]) && wordPart(b[i]) {
			continue
		}
		for _, k := range n.byHead[head(b[i:])] {
			text := n.texts[k]
			end := i + len(text)
			if end <= len(b) && string(b[i:end]) == text && (end == len(b) || !wordPart(b[end]) || !wordPart(b[end-1])) {
				hit(k)
			}
		}
	}
}

func wordPart(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b >= 0x80
}

// pieceBytes is how much is searched at once, and overlapBytes how much again with the next
// piece: more than the longest needle in any form.
const (
	pieceBytes   = 4 << 20
	overlapBytes = 8 << 10
)

// seeker searches what is written to it; Close searches the rest.
type seeker struct {
	needles *needles
	hit     func(needle int)
	buffer  []byte // the first from bytes of which were searched
	from    int
	size    int64
}

func (s *seeker) Write(b []byte) (int, error) {
	s.size += int64(len(b))
	for left := b; len(left) > 0; {
		n := min(len(left), pieceBytes-len(s.buffer))
		at := len(s.buffer)
		s.buffer = append(s.buffer, left[:n]...)
		foldBytes(s.buffer[at:])
		if left = left[n:]; len(s.buffer) == pieceBytes {
			const upto = pieceBytes - overlapBytes
			s.needles.find(s.buffer, s.from, upto, s.hit)
			s.buffer = s.buffer[:copy(s.buffer, s.buffer[upto-1:])] // with what goes before the next text
			s.from = 1
		}
	}
	return len(b), nil
}

// Close searches what is left.
func (s *seeker) Close() error {
	s.needles.find(s.buffer, s.from, len(s.buffer), s.hit)
	s.buffer, s.from = s.buffer[:0], 0
	return nil
}

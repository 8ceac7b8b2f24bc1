package appliance

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// needles are texts that are looked for, all at once.
type needles struct {
	texts  []string
	of     []int            // whose each text is
	byHead map[uint64][]int // those that begin with the same bytes
	heads  [1 << 16]bool    // by the lower half of a head: most places are ruled out by it
}

// headBytes is how many bytes of a text tell most from one another.
const headBytes = 5

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

func (n *needles) add(text string, of int) {
	if n.byHead == nil {
		n.byHead = map[uint64][]int{}
	}
	h := head([]byte(text))
	n.byHead[h] = append(n.byHead[h], len(n.texts))
	n.heads[h&0xFFFF] = true
	n.texts, n.of = append(n.texts, text), append(n.of, of)
}

// find calls hit for each text that stands in b by itself: no letter or digit goes before
// it or follows.
func (n *needles) find(b []byte, hit func(needle int)) {
	for i := 0; i+headBytes <= len(b); i++ {
		if !n.heads[uint16(b[i])|uint16(b[i+1])<<8] || i > 0 && wordPart(b[i-1]) {
			continue
		}
		for _, k := range n.byHead[head(b[i:])] {
			text := n.texts[k]
			end := i + len(text)
			if end <= len(b) && string(b[i:end]) == text && (end == len(b) || !wordPart(b[end])) {
				hit(k)
			}
		}
	}
}

func wordPart(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b >= 0x80
}

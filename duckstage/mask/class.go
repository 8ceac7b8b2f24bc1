package mask

import (
	"strings"
	"unicode"
)

// class is a set of characters that stand for one another.
type class struct {
	id      byte
	size    int
	letters []rune // in small letters; nil: a range
	first   rune   // of a range
	cased   bool
}

func listed(id byte, letters string, cased bool) *class {
	runes := []rune(letters)
	return &class{id: id, size: len(runes), letters: runes, cased: cased}
}

func spanning(id byte, first, last rune, cased bool) *class {
	return &class{id: id, size: int(last-first) + 1, first: first, cased: cased}
}

// index is where a small letter stands in the class; negative: nowhere.
func (c *class) index(r rune) int {
	if c.letters == nil {
		if r < c.first || r >= c.first+rune(c.size) {
			return -1
		}
		return int(r - c.first)
	}
	for i, letter := range c.letters {
		if letter == r {
			return i
		}
	}
	return -1
}

// letter is the character at index.
func (c *class) letter(index int, upper bool) rune {
	r := c.first + rune(index)
	if c.letters != nil {
		r = c.letters[index]
	}
	switch {
	case !upper || !c.cased:
		return r
	case r == 'ß':
		return 'ẞ'
	}
	return unicode.ToUpper(r)
}

var (
	fixed   = &class{} // of a character that stays
	digit   = spanning(1, '0', '9', false)
	nonzero = spanning(2, '1', '9', false)
	hexes   = listed(3, "0123456789abcdef", false)
	latin   = spanning(4, 'a', 'z', true)

	vowel     = listed(5, "aeiou", true)
	consonant = listed(6, "bcdfghjklmnpqrstvwxyz", true)
)

// scripts are the other letters. A letter of no class becomes an x.
var scripts = []*class{
	listed(7, "äöüáàâãåæéèêëíìîïóòôõøúùûýœāēīōūěů", true),
	listed(8, "ßñçšžčćđłńśźżřťďňğş", true),
	spanning(9, 'α', 'ω', true), spanning(10, 'а', 'я', true), spanning(11, 'ѐ', 'џ', true),
	spanning(12, 0x4E00, 0x9FA5, false), spanning(13, 0xAC00, 0xD7A3, false), spanning(14, 0x3041, 0x3096, false), spanning(15, 0x30A1, 0x30FA, false),
	spanning(16, 0x05D0, 0x05EA, false), spanning(17, 0x0621, 0x063A, false), spanning(18, 0x0641, 0x064A, false), spanning(19, 0x0904, 0x0939, false),
	spanning(20, 0x0E01, 0x0E2E, false),
}

// speller finds the class of a character, its place in it, and whether it is a capital;
// no class: it stays.
type speller func(r rune) (c *class, index int, upper bool)

// spelling takes vowels for vowels and consonants for consonants, so that names can be
// spoken.
func spelling(r rune) (*class, int, bool) {
	if r >= '0' && r <= '9' {
		return digit, int(r - '0'), false
	}
	small := unicode.ToLower(r)
	upper := small != r
	if small >= 'a' && small <= 'z' {
		if i := strings.IndexByte("aeiou", byte(small)); i >= 0 {
			return vowel, i, upper
		}
		return consonant, strings.IndexByte("bcdfghjklmnpqrstvwxyz", byte(small)), upper
	}
	if r < 0x80 || !unicode.IsLetter(r) && !unicode.IsNumber(r) {
		return nil, 0, false
	}
	for _, c := range scripts {
		if i := c.index(small); i >= 0 {
			return c, i, upper
		}
	}
	return consonant, 18, upper
}

func alphanumeric(r rune) (*class, int, bool) {
	if i := latin.index(unicode.ToLower(r)); i >= 0 {
		return latin, i, r < 'a'
	}
	return spelling(r)
}

func numeral(r rune) (*class, int, bool) {
	if r >= '0' && r <= '9' {
		return digit, int(r - '0'), false
	}
	return nil, 0, false
}

func hexadecimal(r rune) (*class, int, bool) {
	if i := hexes.index(r); i >= 0 {
		return hexes, i, false
	}
	return nil, 0, false
}

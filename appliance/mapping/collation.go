package mapping

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"dvmigrate/appliance/dataverse/schema"
)

// Collation folds texts so that those are the same which the target's database takes for the
// same, by the language that the environment was made with (schema.Collation). It is for what
// cannot be asked of the service: rows of the stage beside one another, and texts that were
// pulled. The zero value is of a language where accents do not count, as of most.
//
// Case does not count, and ß is ss, æ ae and œ oe, as Windows collations expand them. Not
// told, so that such texts stay apart: width and kind of kana, and what a collation has no
// weight for.
type Collation struct {
	Accents bool
	letters string // with a mark, that are letters of their own all the same
}

// ownLetters are the letters with a mark that a language whose accents do not count has as
// letters of their own, small; й is one in all.
var ownLetters = map[int]string{
	1029: "čřšž", 1030: "æøåäöü", 1038: "öőüű", 1044: "æøåäöü", 1045: "ąćęłńóśźż", 1055: "çğıöşü", 3082: "ñ",
}

// alwaysOwn is a letter of its own in every language.
const alwaysOwn = "й"

// struck are letters whose stroke Unicode does not take for a mark, and Windows does; beneath
// them what they are without.
const (
	struck   = "øłđ"
	unstruck = "old"
)

// signed are the scripts whose vowels are signs that Unicode takes for marks and no collation for
// accents, from Devanagari to Myanmar, and Khmer: without them กิน and กัน are one word. What has
// a letter of them keeps all its marks: that two texts stay apart is the safe side.
const signed = `[\x{0900}-\x{109F}\x{1780}-\x{17D3}]`

func isSigned(r rune) bool { return 0x0900 <= r && r <= 0x109F || 0x1780 <= r && r <= 0x17D3 }

// expansions are letters that stand for two.
var expansions = []string{"ß", "ss", "æ", "ae", "œ", "oe"}

// CollationOf is that of a language; 0 = not known: accents do not count then.
func CollationOf(language int) Collation {
	accents, _ := schema.Collation(language)
	return Collation{Accents: accents, letters: ownLetters[language]}
}

// tables are the letters that change one for one, and those that become two.
func (c Collation) tables() (from, to []rune, pairs []string) {
	for i := 0; i < len(expansions); i += 2 {
		if !strings.Contains(c.letters, expansions[i]) {
			pairs = append(pairs, expansions[i], expansions[i+1])
		}
	}
	if c.Accents {
		return nil, nil, pairs
	}
	for _, r := range alwaysOwn + c.letters { // out of reach of what takes marks off
		from, to = append(from, r), append(to, 0xE000+rune(len(from)))
	}
	out := []rune(unstruck)
	for i, r := range []rune(struck) {
		if !strings.ContainsRune(c.letters, r) {
			from, to = append(from, r), append(to, out[i])
		}
	}
	return from, to, pairs
}

// SQL folds cut, a SQL expression, which is what is compared of text: that without blanks at the
// ends, or the same. Of ASCII only the case changes; the text itself is asked whether it is, as
// DuckDB computes an expression anew each time that it stands in a CASE.
func (c Collation) SQL(text, cut string) string {
	low := "lower(" + cut + ")"
	full := "nfc_normalize(" + low + ")"
	from, to, pairs := c.tables()
	for i := 0; i < len(pairs); i += 2 {
		full = "replace(" + full + ", '" + pairs[i] + "', '" + pairs[i+1] + "')"
	}
	if !c.Accents {
		full = "CASE WHEN regexp_matches(" + text + ", '" + signed + "') THEN " + full + " ELSE strip_accents(translate(" + full + ", '" + string(from) + "', '" + string(to) + "')) END"
	}
	return "CASE WHEN strlen(" + text + ") = length(" + text + ") THEN " + low + " ELSE " + full + " END"
}

// KeySQL folds whole values of a key, where blanks at the end do not count.
func (c Collation) KeySQL(text string) string { return c.SQL(text, "rtrim("+text+", ' ')") }

// Key does in Go what KeySQL does.
func (c Collation) Key(s string) string {
	s = strings.ToLower(strings.TrimRight(s, " "))
	if isASCII(s) {
		return s
	}
	from, to, pairs := c.tables()
	s = strings.NewReplacer(pairs...).Replace(norm.NFC.String(s))
	if c.Accents || strings.ContainsFunc(s, isSigned) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		for i, f := range from {
			if f == r {
				return to[i]
			}
		}
		return r
	}, s)
	return norm.NFC.String(withoutMarks(norm.NFD.String(s)))
}

// Loose is the same for all texts that any language's collation may take for the same, and for
// more: whose difference somebody else has to tell.
func Loose(s string) string {
	s = strings.ToLower(strings.TrimRight(s, " "))
	if isASCII(s) {
		return s
	}
	from, to := []rune(struck), []rune(unstruck)
	s = strings.Map(func(r rune) rune {
		for i, f := range from {
			if f == r {
				return to[i]
			}
		}
		if 'ァ' <= r && r <= 'ヶ' { // hiragana stand 0x60 before katakana
			return r - ('ァ' - 'ぁ')
		}
		return r
	}, strings.NewReplacer(expansions...).Replace(strings.ToLower(norm.NFKC.String(s))))
	return strings.TrimRight(withoutMarks(norm.NFD.String(s)), " ")
}

func withoutMarks(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.M, r) {
			return -1
		}
		return r
	}, s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

package emulator

import (
	"bytes"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"

	"dvmigrate/appliance/dataverse/schema"
)

// collation compares texts as the environment's database does: SQL Server with the
// collation of the environment's language (schema.Collation). Case does not count, nor,
// as the collations' names have neither _WS nor _KS, do width (Ａ is A) and the kind of kana
// (learn.microsoft.com/sql/t-sql/statements/windows-collation-name-transact-sql); accents
// count where the language says so. ß is ss, æ is ae and œ is oe with accents and without:
// Windows collations expand them. Blanks at the end do not count where whole texts are
// compared, and count for LIKE, as in SQL. Which letters with a mark are letters of their own
// (ñ in Spanish, å in Danish, й), and the order, are CLDR's, as golang.org/x/text has it.
//
// Not imitated: that characters younger than the collation's version have no weight, so that
// all supplementary ones are the same and Ș is nothing at all; that a hyphen and an apostrophe
// count less than others in the order; letters of two characters (cs in Hungarian, aa in
// Danish) but for the order; dotless i in Turkish, where I is taken for i; superscripts,
// circled figures, ligatures such as ﬁ, and characters that are ignored, such as the soft hyphen.
type collation struct {
	language int
	accents  bool     // they count
	letters  sync.Map // rune -> string: what takes a letter's place
	sorters  sync.Pool
}

// expanded are letters that stand for two, unless the language has them as its own.
var expanded = map[rune]string{'ß': "ss", 'æ': "ae", 'œ': "oe"}

// struck are letters with a mark that Unicode does not take apart; Windows' tables have the
// stroke as an accent.
var struck = map[rune]string{'ø': "o", 'ł': "l", 'đ': "d", 'ħ': "h", 'ŧ': "t"}

// sortTags are the languages whose letters or order are not those of all, for x/text. It
// knows no nb; SQL Server has Danish and Norwegian as one.
var sortTags = map[int]string{
	1025: "ar", 1028: "zh-Hant", 1029: "cs", 1030: "da", 1035: "fi", 1037: "he", 1038: "hu", 1041: "ja", 1042: "ko", 1044: "da",
	1045: "pl", 1048: "ro", 1050: "hr", 1051: "sk", 1053: "sv", 1054: "th", 1055: "tr", 1058: "uk", 1060: "sl", 1061: "et", 1062: "lv",
	1063: "lt", 1066: "vi", 1081: "hi", 1087: "kk", 2052: "zh", 2074: "sr-Latn", 3076: "zh-Hant", 3082: "es",
}

func newCollation(lcid int) *collation {
	k := &collation{}
	k.set(lcid)
	return k
}

// set changes the language, before anything was compared.
func (k *collation) set(lcid int) {
	k.language = lcid
	k.accents, _ = schema.Collation(lcid)
	k.letters.Clear()
	tag := language.Make(sortTags[lcid])
	options := []collate.Option{collate.Loose}
	if k.accents {
		options = []collate.Option{collate.IgnoreCase, collate.IgnoreWidth}
	}
	k.sorters = sync.Pool{New: func() any {
		return &sorter{order: collate.New(tag, options...), loose: collate.New(tag, collate.Loose)}
	}}
}

// sorter is for one goroutine at a time.
type sorter struct {
	order, loose *collate.Collator
	a, b         collate.Buffer
}

// key is the same for whole texts that the database takes for the same.
func (k *collation) key(s string) string {
	s = k.fold(s)
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}

// fold brings a text, or a part of one, to the form in which it is compared. Of ASCII only
// the case changes.
func (k *collation) fold(s string) string {
	upper := false
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return k.foldLetters(s)
		}
		upper = upper || 'A' <= s[i] && s[i] <= 'Z'
	}
	if upper {
		return strings.ToLower(s)
	}
	return s
}

func (k *collation) foldLetters(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range norm.NFC.String(width.Fold.String(s)) {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(unicode.ToLower(r))
		case !k.accents && isAccent(r): // of no letter that has a character with it
		default:
			b.WriteString(k.letter(r))
		}
	}
	return b.String()
}

// letter is what a letter beyond ASCII is compared as. It is found once for each.
func (k *collation) letter(r rune) string {
	if known, ok := k.letters.Load(r); ok {
		return known.(string)
	}
	low := unicode.ToLower(r)
	if 'ァ' <= low && low <= 'ヶ' { // hiragana stand 0x60 before katakana
		low -= 'ァ' - 'ぁ'
	}
	out := string(low)
	if long := expanded[low]; long != "" && k.alike(out, long) {
		out = long
	} else if !k.accents {
		bare := struck[low]
		if bare == "" {
			bare = bareLetter(out)
		}
		if bare != out && k.alike(out, bare) {
			out = bare
		}
	}
	k.letters.Store(r, out)
	return out
}

// isAccent reports whether a character is a mark that is no letter's sound: the signs of Indic
// scripts, Thai, Lao, Tibetan, Myanmar and Khmer, which Unicode has among the marks, are vowels,
// and have weights of their own.
func isAccent(r rune) bool {
	return unicode.Is(unicode.Mn, r) && (r < 0x0900 || 0x109F < r) && (r < 0x1780 || 0x17D3 < r)
}

// bareLetter takes the marks off a letter.
func bareLetter(s string) string {
	return strings.Map(func(r rune) rune {
		if isAccent(r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
}

// alike reports whether the language has two texts as the same but for accents.
func (k *collation) alike(a, b string) bool {
	s := k.sorters.Get().(*sorter)
	defer k.sorters.Put(s)
	return s.loose.CompareString(a, b) == 0
}

// same reports whether the database takes two whole texts for the same.
func (k *collation) same(a, b string) bool { return a == b || k.key(a) == k.key(b) }

// compare orders whole texts; 0 are those that are the same.
func (k *collation) compare(a, b string) int {
	a, b = k.key(a), k.key(b)
	if a == b {
		return 0
	}
	s := k.sorters.Get().(*sorter)
	defer k.sorters.Put(s)
	s.a.Reset()
	s.b.Reset()
	if n := bytes.Compare(s.order.KeyFromString(&s.a, a), s.order.KeyFromString(&s.b, b)); n != 0 {
		return n
	}
	return strings.Compare(a, b)
}

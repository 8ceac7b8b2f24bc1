package mapping

import (
	"slices"
	"strings"
	"unicode"
)

// LikePerson is how alike what a source has of a person and a user's names are, 0 to 1: the
// name in any order, the part of an address before the @, an account without its domain, or
// the first letter and the last name. Below 0.7 it is 0: a wrong owner is worse than none.
func LikePerson(text string, names ...string) float64 {
	best := 0.0
	mine := personWords(text)
	for _, name := range names {
		theirs := personWords(name)
		switch {
		case len(mine) == 0 || len(theirs) == 0:
		case slices.Equal(sorted(mine), sorted(theirs)):
			best = max(best, 0.95)
		case strings.Join(mine, "") == strings.Join(theirs, ""):
			best = max(best, 0.9)
		case initialed(mine, theirs), initialed(theirs, mine):
			best = max(best, 0.75)
		}
	}
	return best
}

func sorted(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return words
}

// personWords are the words of a name, without an address's or account's domain.
func personWords(text string) []string {
	if local, _, found := strings.Cut(text, "@"); found {
		text = local
	}
	if at := strings.LastIndexAny(text, `\/`); at >= 0 {
		text = text[at+1:]
	}
	return strings.FieldsFunc(foldLetters.Replace(strings.ToLower(text)), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// foldLetters writes the letters of names as addresses have them.
var foldLetters = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "å", "a", "ø", "o", "é", "e", "è", "e", "ê", "e", "á", "a", "à", "a", "ã", "a", "í", "i", "ó", "o", "ô", "o", "õ", "o",
	"ú", "u", "ç", "c", "ñ", "n", "č", "c", "ć", "c", "š", "s", "ž", "z", "ř", "r", "ý", "y", "ł", "l")

// initialed reports whether short is first letter and last name of long: BNOVAK, b.novak.
func initialed(short, long []string) bool {
	if len(long) < 2 {
		return false
	}
	return strings.Join(short, "") == long[0][:1]+long[len(long)-1]
}

package mapping

import (
	"strings"
	"testing"
)

// TestCollation: what an environment in a language takes for the same key, and that nothing it
// may take for the same is loosely different.
func TestCollation(t *testing.T) {
	const unknown, english, swedish, spanish, polish, danish = 0, 1033, 1053, 3082, 1045, 1030
	for _, c := range []struct {
		texts         string
		same, differs []int
	}{
		{"MÜLLER =müller", []int{unknown, english, swedish}, nil},
		{"Müller=Muller", []int{unknown, english, spanish, polish}, []int{swedish, danish}},
		{"Mu\u0308ller=Müller", []int{english, swedish}, nil},
		{"Straße=STRASSE", []int{unknown, english, swedish, danish}, nil},
		{"Ærø=aero", []int{english}, []int{swedish, danish}},
		{"Łódź=Lodz", []int{english}, []int{polish, swedish}},
		{"Peña=Pena", []int{english}, []int{spanish, swedish}},
		{"й=и", nil, []int{english}},
		{"ＡＢ=ab", nil, []int{english}}, // width is left to the service
		{"ｶﾞ=か", nil, []int{english}},
		{"กิน=กัน", nil, []int{unknown, english}}, // signs of vowels
		{"राम=रमा", nil, []int{unknown, english}},
		{" a=a", nil, []int{english}},
	} {
		a, b, _ := strings.Cut(c.texts, "=")
		for of, want := range map[bool][]int{true: c.same, false: c.differs} {
			for _, language := range want {
				k := CollationOf(language)
				if got := k.Key(a) == k.Key(b); got != of {
					t.Errorf("%d: %q and %q: %v, %q, %q", language, a, b, got, k.Key(a), k.Key(b))
				}
			}
		}
		if a[0] != ' ' && Loose(a) != Loose(b) {
			t.Errorf("%q and %q are loosely %q and %q", a, b, Loose(a), Loose(b))
		}
	}
}

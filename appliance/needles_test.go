package appliance

import (
	"slices"
	"testing"
)

func TestNeedlesStandByThemselves(t *testing.T) {
	var n needles
	for i, text := range []string{"Müller", "Anna Smith", "anna@x.de", "Annas"} {
		if !distinctive(text) {
			t.Errorf("%q counts as found by chance", text)
		}
		n.add(text, i)
	}
	for text, want := range map[string][]int{
		"Herr Müller, Anna Smith": {0, 1}, "Müllers": nil, "xMüller": nil, "Müller": {0}, "to:anna@x.de;": {2}, "Annas": {3}, "Anna": nil, "": nil, "\x00Müller\x00": {0},
	} {
		var got []int
		n.find([]byte(text), func(k int) { got = append(got, n.of[k]) })
		if !slices.Equal(got, want) {
			t.Errorf("in %q: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"Anna", "12345678", "  ", "ü"} {
		if distinctive(text) {
			t.Errorf("%q counts as distinctive", text)
		}
	}
}

package appliance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestNeedlesStandByThemselves(t *testing.T) {
	t.Parallel()
	var n needles
	long := ""
	for i := range 40 {
		long += fmt.Sprintf("word%d ", i)
	}
	for i, text := range []string{"Müller", "Anna Smith", "anna@x.de", "Annas", `Ann "A" O'Neil & <Co>`, long} {
		if !distinctive(text) {
			t.Errorf("%q counts as found by chance", text)
		}
		n.add(text, i)
	}
	for text, want := range map[string][]int{
		"Herr Müller, Anna Smith": {0, 1}, "Müllers": nil, "xMüller": nil, "Müller": {0}, "MÜLLER": nil, "müller": {0}, "to:ANNA@x.de;": {2}, "Annas": {3}, "Anna": nil, "": nil, "\x00Müller\x00": {0},
		`{"a":"Ann \"A\" O'Neil \u0026 \u003cCo\u003e"}`: {4}, `<td>Ann &#34;A&#34; O&#39;Neil &amp; &lt;Co&gt;</td>`: {4}, `"Ann ""A"" O'Neil & <Co>"`: {4}, `'Ann "A" O''Neil & <Co>'`: {4},
		"cut off: " + long[:120]: {5}, long[:60]: nil,
	} {
		var got []int
		s := seeker{needles: &n, hit: func(k int) { got = append(got, n.of[k]) }}
		if _, err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		s.Close()
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

// TestSeekerOverPieces: wherever pieces end, and however it is written, each text is found once.
func TestSeekerOverPieces(t *testing.T) {
	t.Parallel()
	var n needles
	n.add("Annegret Zuckerbrot", 0)
	rnd := rand.New(rand.NewPCG(1, 2))
	const upto = pieceBytes - overlapBytes
	for _, at := range []int{0, 1, upto - 40, upto - 19, upto - 2, upto - 1, upto, upto + 1, pieceBytes - 19, pieceBytes - 1, pieceBytes, 2*upto - 1, 2 * upto, 2*upto + 1} {
		text := []byte(strings.Repeat(" ", at) + "annegret ZUCKERBROT" + strings.Repeat(" ", 3*pieceBytes-at))
		found := 0
		s := seeker{needles: &n, hit: func(int) { found++ }}
		for left := text; len(left) > 0; {
			cut := min(len(left), 1+rnd.IntN(pieceBytes))
			fmt.Fprintf(&s, "%s", left[:cut])
			left = left[cut:]
		}
		s.Close()
		if found != 1 || s.size != int64(len(text)) {
			t.Errorf("at %d it is found %d times, in %d bytes", at, found, s.size)
		}
	}
}

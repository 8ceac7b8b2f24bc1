package emulator

import "testing"

func TestLikeMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{{"[a-c]%", "beta", true}, {"[a-c]%", "delta", false}, {"[^a-c]%", "delta", true}, {"%[xz]", "abz", true}, {"[a-c]", "", false},
		{"[%]a", "%a", true}, {"[%]a", "ba", false}, {"[ab", "[ab", true}, {"a[-x]b", "a-b", true}, {"%a_c%", "xxabcx", true}} {
		if got := likeMatch(c.pattern, c.text); got != c.want {
			t.Errorf("likeMatch(%q, %q) = %v", c.pattern, c.text, got)
		}
	}
}

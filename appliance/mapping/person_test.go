package mapping

import "testing"

func TestLikePerson(t *testing.T) {
	for _, c := range []struct {
		text  string
		names []string
		want  float64
	}{
		{"Novák, Bohdan", []string{"Bohdan Novák"}, 0.95},
		{"bohdan.novak@old.example", []string{"Bohdan Novák", "b.novak@new.example"}, 0.95},
		{`ACME\bnovak`, []string{"Bohdan Novák", "b.novak@new.example"}, 0.9},
		{"BNOVAK", []string{"Bohdan Novák"}, 0.75},
		{"Jürgen Groß", []string{"juergen.gross@x.y"}, 0.95},
		{"Novák", []string{"Bohdan Novák"}, 0}, // half a name is none
		{"CNOVAK", []string{"Bohdan Novák", "b.novak@new.example"}, 0},
		{"@", []string{"", "@"}, 0},
	} {
		if got := LikePerson(c.text, c.names...); got != c.want {
			t.Errorf("%q and %q: %v, want %v", c.text, c.names, got, c.want)
		}
	}
}

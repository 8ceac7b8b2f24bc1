package mapping

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"dvmigrate/appliance/dataverse/schema"
)

// What a draft of a project rests on: which table a source most likely feeds, and which
// of its columns goes where, told by their names alone. Words of several languages that
// mean the same count as one; see sameWord.

// GuessedTable is a table that a source may feed.
type GuessedTable struct {
	Table   *schema.Table
	Score   float64          // 0 to 1
	Columns map[string]Guess // by source column
}

// Guess is where a source column may go.
type Guess struct {
	Column *schema.Column
	Score  float64
}

// leastScore is below which a likeness is none.
const leastScore = 0.5

// GuessTables ranks the tables that a source with these columns may feed, the likeliest
// first; those without any likeness are left out.
func GuessTables(s *schema.Schema, source string, columns []string) []GuessedTable {
	var out []GuessedTable
	words := wordsOf(source)
	for _, t := range s.Tables {
		if t.Kind == schema.Intersect {
			continue
		}
		g := GuessedTable{Table: t, Columns: guessColumns(t, columns)}
		name := max(likeness(words, wordsOf(bare(t.LogicalName))), likeness(words, wordsOf(t.SchemaName)))
		matched := 0.0
		for _, c := range g.Columns {
			matched += c.Score
		}
		g.Score = 0.7 * name
		if len(columns) > 0 {
			g.Score += 0.3 * matched / float64(len(columns))
		}
		if name >= leastScore || g.Score >= 0.2 {
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(a, b GuessedTable) int { return cmp.Compare(b.Score, a.Score) })
	return out
}

// guessColumns matches source columns to those of a table, each at most once, the most
// alike first.
func guessColumns(t *schema.Table, columns []string) map[string]Guess {
	type pair struct {
		source string
		guess  Guess
	}
	var pairs []pair
	for _, name := range columns {
		words := wordsOf(name)
		for _, c := range t.Columns {
			if !c.Writable(false) || c.NoWebAPI || c.LogicalName == t.PrimaryID || c.Type == schema.PartyList {
				continue
			}
			score := max(likeness(words, wordsOf(bare(c.LogicalName))), likeness(words, wordsOf(c.DisplayName)))
			if c.LogicalName == t.PrimaryName {
				score = max(score, 0.9*likeness(words, []string{"name"}), 0.8*likeness(words, wordsOf(bare(t.LogicalName))))
			}
			if score >= leastScore {
				pairs = append(pairs, pair{name, Guess{c, score}})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.guess.Score, a.guess.Score), cmp.Compare(len(a.guess.Column.LogicalName), len(b.guess.Column.LogicalName)))
	})
	out, taken := map[string]Guess{}, map[string]bool{}
	for _, p := range pairs {
		if _, done := out[p.source]; !done && !taken[p.guess.Column.LogicalName] {
			out[p.source], taken[p.guess.Column.LogicalName] = p.guess, true
		}
	}
	return out
}

// GuessOption finds the option whose label is most like a text, and how alike they are, 0
// to 1; nil when none is. The same label goes before one of the same words; yes and no are
// known in several languages.
func GuessOption(c *schema.Column, text string) (*schema.Option, float64) {
	text = strings.TrimSpace(text)
	for i := range c.Options {
		if strings.EqualFold(strings.TrimSpace(c.Options[i].Label), text) {
			return &c.Options[i], 1
		}
	}
	if yes, known := yesNo[strings.ToLower(text)]; known && c.Type == schema.YesNo {
		return c.Option(yes), 0.9
	}
	if o := byInitial(c, text); o != nil {
		return o, 0.6
	}
	words := wordsOf(text)
	var best *schema.Option
	most := leastScore
	for i := range c.Options {
		if score := likeness(words, wordsOf(c.Options[i].Label)); score > most || best == nil && score == most {
			best, most = &c.Options[i], score
		}
	}
	return best, most
}

// byInitial is the option that a single letter stands for, such as M and F; only of a choice
// whose labels all begin with different letters.
func byInitial(c *schema.Column, text string) *schema.Option {
	letter, size := utf8.DecodeRuneInString(text)
	if size != len(text) || !unicode.IsLetter(letter) {
		return nil
	}
	var found *schema.Option
	seen := map[rune]bool{}
	for i := range c.Options {
		first, _ := utf8.DecodeRuneInString(strings.TrimSpace(c.Options[i].Label))
		if first = unicode.ToLower(first); seen[first] {
			return nil
		}
		if seen[first] = true; first == unicode.ToLower(letter) {
			found = &c.Options[i]
		}
	}
	return found
}

// yesNo are the words that sources have for the two.
var yesNo = map[string]int32{"yes": 1, "y": 1, "true": 1, "1": 1, "x": 1, "ja": 1, "j": 1, "oui": 1, "o": 1, "si": 1, "sí": 1, "s": 1, "on": 1, "active": 1,
	"no": 0, "n": 0, "false": 0, "0": 0, "-": 0, "nein": 0, "non": 0, "off": 0, "inactive": 0}

// bare is a logical name without the publisher's prefix.
func bare(name string) string {
	if prefix, rest, ok := strings.Cut(name, "_"); ok && len(prefix) <= 8 && !strings.HasPrefix(rest, "_") && len(rest) > 1 && prefix != "address1" && prefix != "address2" {
		return rest
	}
	return name
}

// wordsOf cuts a name into small-letter words, without endings of the plural, each in the
// form that sameWord gives it.
func wordsOf(name string) []string {
	var words []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			if !unicode.IsDigit(word[0]) { // the first of several addresses is as good as any
				words = append(words, canonical(string(word))...)
			}
			word = word[:0]
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case i > 0 && unicode.IsUpper(r) && unicode.IsLower(runes[i-1]),
			i > 0 && unicode.IsDigit(r) != unicode.IsDigit(runes[i-1]) && unicode.IsLetter(runes[i-1]):
			flush()
		}
		word = append(word, unicode.ToLower(r))
	}
	flush()
	return words
}

// canonical is a word in the form in which all that mean the same are alike; it may be
// several words, as customer number.
func canonical(w string) []string {
	if same, ok := sameWord[w]; ok {
		return strings.Fields(same)
	}
	for _, end := range []string{"ies", "es", "s", "en", "n"} {
		root, found := strings.CutSuffix(w, end)
		if end == "ies" {
			root += "y"
		}
		if same, ok := sameWord[root]; found && ok {
			return strings.Fields(same)
		}
	}
	if len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us") {
		return []string{w[:len(w)-1]}
	}
	return []string{w}
}

// likeness is how alike two names are, 0 to 1: the share of their words that are the
// same, or of which one begins the other.
func likeness(a, b []string) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	if joined := strings.Join(a, ""); joined == strings.Join(b, "") {
		return 1
	}
	shared := 0.0
	for _, x := range a {
		best := 0.0
		for _, y := range b {
			switch {
			case x == y:
				best = max(best, 1)
			case len(x) >= 4 && len(y) >= 4 && (strings.HasPrefix(x, y) || strings.HasPrefix(y, x)):
				best = max(best, 0.7)
			case len(x) >= 4 && len(y) >= 4 && (strings.Contains(x, y) || strings.Contains(y, x)):
				best = max(best, 0.5)
			}
		}
		shared += best
	}
	return 2 * shared / float64(len(a)+len(b))
}

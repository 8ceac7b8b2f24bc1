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

// FromColumn is a column of a source, as far as a guess needs to know it.
type FromColumn struct {
	Name    string
	SQLType string   // "" = not known
	Forms   []string // of its values, as a profile writes them: A, a and 9
}

// GuessedTable is a table that a source may feed.
type GuessedTable struct {
	Table   *schema.Table
	Score   float64          // 0 to 1
	Columns map[string]Guess // by source column
}

// Named reports whether a column gives what people see a record by.
func (g GuessedTable) Named() bool {
	for _, c := range g.Columns {
		if name := c.Column.LogicalName; name == g.Table.PrimaryName || g.Table.PrimaryName == "fullname" && name == "lastname" {
			return true
		}
	}
	return false
}

// Guess is where a source column may go.
type Guess struct {
	Column *schema.Column
	Score  float64
}

// leastScore is below which a likeness is none; leastColumn is the same for columns, of which
// there are so many that two of four words are mostly chance.
const leastScore, leastColumn = 0.5, 0.6

// strongScore is from which on a column's likeness says something about its table.
const strongScore = 0.75

// GuessTables ranks the tables that a source with these columns may feed, the likeliest
// first; those without any likeness are left out.
func GuessTables(s *schema.Schema, source string, columns []FromColumn) []GuessedTable {
	var out []GuessedTable
	words := without(wordsOf(source), noise)
	for _, t := range s.Tables {
		if t.Kind == schema.Intersect {
			continue
		}
		name := max(likeness(words, wordsOf(bare(t.LogicalName))), likeness(words, wordsOf(t.SchemaName)))
		for _, w := range words {
			if usualTable[w] == t.LogicalName {
				name = max(name, 0.8/float64(len(words)))
			}
		}
		if name < leastScore && 2*sameNames(t, source, columns) < max(len(columns), 6) {
			continue // most tables are nothing like it, and likeness of all columns takes long
		}
		g := GuessedTable{Table: t, Columns: GuessColumns(t, source, columns)}
		matched, strong := 0.0, 0
		for _, c := range g.Columns {
			if matched += c.Score; c.Score >= strongScore && !everywhere[c.Column.LogicalName] && !strings.HasPrefix(c.Column.LogicalName, "address") {
				strong++
			}
		}
		switch {
		case strong == 0 && !g.Named():
			name *= 0.75 // it is called so, and has little of it
		case strong == 0:
			name *= 0.95
		}
		g.Score = 0.7 * name
		if len(columns) > 0 {
			g.Score += 0.3 * matched / float64(len(columns))
		}
		if name >= 0.75 || name >= leastScore && strong >= 2 || strong >= 3 && 2*strong >= len(columns) {
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(a, b GuessedTable) int { return cmp.Compare(b.Score, a.Score) })
	return out
}

// noise are words of sources that say nothing of what they hold.
var noise = []string{"tbl", "tab", "table", "dbo", "export", "extract", "dump", "data", "list", "all", "master", "view", "vw", "src", "stg", "tmp", "old", "legacy", "crm"}

// sameNames counts the columns that are called as one of the table, or as it usually is.
func sameNames(t *schema.Table, source string, columns []FromColumn) (n int) {
	names := map[string]bool{}
	for _, c := range t.Columns {
		names[joined(bare(c.LogicalName))] = true
	}
	for _, from := range columns {
		if names[joined(from.Name)] || usualColumn(t, from.Name, source) != "" {
			n++
		}
	}
	return n
}

// everywhere are columns that so many tables have that they tell none; neither do parts of an
// address.
var everywhere = map[string]bool{"name": true, "description": true, "overriddencreatedon": true, "statecode": true, "statuscode": true, "ownerid": true, "importsequencenumber": true}

// GuessColumns matches a source's columns to those of a table, each at most once, the most
// alike first.
func GuessColumns(t *schema.Table, source string, columns []FromColumn) map[string]Guess {
	type pair struct {
		source string
		guess  Guess
	}
	// What names the whole table says nothing about a column: of products, product_name is
	// the name.
	own := append(append(wordsOf(source), wordsOf(bare(t.LogicalName))...), wordsOf(t.SchemaName)...)
	var aims []aim
	for _, c := range t.Columns {
		if c.Writable(false) && !c.NoWebAPI && c.LogicalName != t.PrimaryID && c.Type != schema.PartyList {
			name, aside := aimOf(c.LogicalName)
			aims = append(aims, aim{c, name, wordsOf(c.DisplayName), aside, joined(bare(c.LogicalName))})
		}
	}
	var pairs []pair
	for _, from := range columns {
		words := wordsOf(from.Name)
		short := without(words, own)
		if slices.Equal(short, []string{"number"}) {
			short = nil // an id, which is like every number
		}
		n := columnName{from.Name, words, short, own, joined(from.Name), usualColumn(t, from.Name, source)}
		for _, a := range aims {
			if !fits(from, a.of) {
				continue
			}
			if score := a.score(t, n); score >= leastColumn {
				pairs = append(pairs, pair{from.Name, Guess{a.of, score}})
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

// aim is a target column that a source's may be meant for.
type aim struct {
	of            *schema.Column
	name, display []string // in words
	aside         bool
	joined        string
}

// columnName is a source column's name.
type columnName struct {
	text         string
	words, short []string // short: without those that name the table
	own          []string // those that name the table
	joined       string
	usual        string // the target column that such a name usually means
}

// score is how well a source column's name fits the aim, from 0 to 1.
func (a *aim) score(t *schema.Table, n columnName) float64 {
	c, score := a.of, 0.0
	if n.usual == c.LogicalName {
		score = 0.95
	}
	if slices.Equal(n.words, []string{"number"}) {
		// A number is that of its table, an id is none; either is like every other number.
		if !isID(n.text) && !strings.EqualFold(n.text, "id") && slices.Equal(without(a.name, n.own), n.words) {
			score = max(score, 0.9)
		}
	} else if !a.aside || strings.EqualFold(n.text, c.LogicalName) {
		score = max(score, likeness(n.words, a.name), likeness(n.words, a.display), 0.9*likeness(n.short, a.name))
	}
	if c.LogicalName == t.PrimaryName {
		name := []string{"name"}
		score = max(score, 0.9*likeness(n.words, name), 0.9*likeness(n.short, name), 0.8*likeness(n.words, wordsOf(bare(t.LogicalName))))
	}
	switch {
	case n.joined == a.joined:
		return 1
	case isID(n.text) && !c.Type.IsLookup() && !slices.Contains(a.name, "number") && n.usual != c.LogicalName:
		return 0 // an id says which, and not what
	}
	return min(score, 0.97)
}

// isID reports whether a name is that of an id, as a word of its own.
func isID(name string) bool {
	return strings.HasSuffix(name, "ID") || strings.HasSuffix(name, "Id") || strings.HasSuffix(strings.ToLower(name), "_id")
}

// aimOf is what a column is about. A part of an address is about that part: address1_city is
// the city. Those of further addresses, of a shipment or a bill are aside: only a name that
// says so, which usualColumn knows, means them.
func aimOf(logical string) (words []string, aside bool) {
	for _, prefix := range []string{"address1_", "address2_", "address3_", "shipto_", "billto_"} {
		if part, ok := strings.CutPrefix(logical, prefix); ok {
			return wordsOf(part), prefix != "address1_" || part == "name"
		}
	}
	return wordsOf(bare(logical)), false
}

// without are the words that are not in others; all, if none is left.
func without(words, others []string) []string {
	var left []string
	for _, w := range words {
		if !slices.Contains(others, w) {
			left = append(left, w)
		}
	}
	if len(left) == 0 {
		return words
	}
	return left
}

// fits reports whether values of the source's column can be those of a column.
func fits(from FromColumn, c *schema.Column) bool {
	base, _, _ := strings.Cut(strings.ToUpper(from.SQLType), "(")
	form := ""
	if len(from.Forms) > 0 {
		form = from.Forms[0]
	}
	numeric := c.Type == schema.Integer || c.Type == schema.BigInt || c.Type == schema.Decimal || c.Type == schema.Money || c.Type == schema.Float
	switch base {
	case "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS":
		return c.Type == schema.DateTime || c.Type == schema.Text || c.Type == schema.Memo
	case "BLOB":
		return false
	case "BOOLEAN":
		return c.Type == schema.YesNo || c.Type == schema.Choice || c.Type == schema.Text
	case "VARCHAR":
		switch {
		case form == "":
			return true
		case c.Type == schema.DateTime:
			return strings.Contains(form, "9")
		case numeric:
			return !strings.ContainsAny(form, "Aa") || form == "…"
		}
		return true
	case "":
		return true
	}
	return c.Type != schema.DateTime
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
	if prefix, rest, ok := strings.Cut(name, "_"); ok && len(prefix) <= 8 && !strings.HasPrefix(rest, "_") && len(rest) > 1 && !strings.HasPrefix(prefix, "address") && prefix != "shipto" && prefix != "billto" {
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
	if root, ok := strings.CutSuffix(w, "ies"); ok && len(root) > 2 && sameWord[root+"y"] == "" {
		return []string{root + "y"}
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

// Alike is how alike two names are, 0 to 1, as the guesses see it.
func Alike(a, b string) float64 { return likeness(wordsOf(bare(a)), wordsOf(bare(b))) }

// KeyAlike is how alike a column's name and that of another source's key are, or of the source
// itself, not counting that both are ids.
func KeyAlike(name, source, key string) float64 {
	words := without(wordsOf(name), []string{"number"})
	if slices.Equal(words, []string{"number"}) {
		return 0 // an id that says not of what: each source has one
	}
	return max(likeness(words, without(wordsOf(key), []string{"number"})), likeness(words, wordsOf(source)))
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
	used := make([]bool, len(b))
	for _, x := range a {
		best, at := 0.0, -1
		for i, y := range b {
			score := 0.0
			switch {
			case used[i]:
			case x == y:
				score = 1
			case len(x) >= 4 && len(y) >= 4 && (strings.HasPrefix(x, y) || strings.HasPrefix(y, x)):
				score = 0.7
			case len(x) >= 4 && len(y) >= 4 && (strings.Contains(x, y) || strings.Contains(y, x)):
				score = 0.5
			}
			if score > best {
				best, at = score, i
			}
		}
		if at >= 0 {
			used[at] = true
		}
		shared += best
	}
	return 2 * shared / float64(len(a)+len(b))
}

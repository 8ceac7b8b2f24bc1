package appliance

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/transform"
)

// draftSQL is one SELECT that is being written.
type draftSQL struct {
	d         *drafter
	source    string
	t         *schema.Table
	alias     string
	kept      bool   // its file is there already
	keyed     string // the legacy key, if it is not the source's own
	lines     []draftLine
	where     string
	left      []string // what was not used, as comments
	open      []string // what somebody has to answer, as comments
	asked     []string // columns of the target that questions are about
	matched   int
	joins     int // that were proposed
	questions int

	refs     map[string]reference // by source column
	joinable map[string]string    // by source column: a source whose keys it has, and that no lookup can point to
}

// draftLine is one column of the select list.
type draftLine struct{ expr, target, remark string }

// read guesses all that a SELECT from the source says.
func (w *draftSQL) read(ctx context.Context) error {
	if err := w.references(ctx); err != nil {
		return err
	}
	columns, guesses := w.d.columns[w.source], w.d.table[w.source].Columns
	w.name(columns, guesses)
	for _, c := range columns {
		if err := w.column(ctx, c, guesses); err != nil {
			return err
		}
	}
	w.unnamed()
	return w.missing(ctx)
}

// given reports whether a column of the target has a value.
func (w *draftSQL) given(column string) bool {
	return slices.ContainsFunc(w.lines, func(l draftLine) bool { return l.target == column })
}

// asks is the target's column by which people see a record, if it takes values; nil else.
func (w *draftSQL) asks() *schema.Column {
	c := w.t.Column(w.t.PrimaryName)
	if c == nil || !c.Writable(false) || c.NoWebAPI || c.LogicalName == "fullname" {
		return nil
	}
	return c
}

// nameless is how columns are called that name a row where nothing else does.
var nameless = regexp.MustCompile(`(?i)(name|label|titel|title|subject|betreff|bezeichnung|description|beschreibung|text)$`)

// name takes for the primary name, where no column is like it, a text that describes the row
// and fits.
func (w *draftSQL) name(columns []SourceColumn, guesses map[string]mapping.Guess) {
	to := w.asks()
	if to == nil || w.d.table[w.source].Named() {
		return
	}
	for _, c := range columns {
		if g, ok := guesses[c.Name]; ok && g.Column.LogicalName != "description" {
			continue
		}
		if c.SQLType == "VARCHAR" && c.Share == 1 && nameless.MatchString(c.Name) && c.MaxLength <= int64(max(to.MaxLength, 100)) {
			guesses[c.Name] = mapping.Guess{Column: to, Score: 0.7}
			return
		}
	}
}

// unnamed gives the primary name its row's key, if no column gives it: records without one
// are hard to find, and most tables require it.
func (w *draftSQL) unnamed() {
	if c := w.asks(); c != nil && !w.given(c.LogicalName) {
		w.add(w.d.key(w.source, w.alias), c.LogicalName, "nothing is like the name by which people see a record: for now its key ???")
		w.matched--
	}
}

// missing asks for what the table requires and no column gives.
func (w *draftSQL) missing(ctx context.Context) error {
	money := slices.ContainsFunc(w.lines, func(l draftLine) bool { c := w.t.Column(l.target); return c != nil && c.Type == schema.Money })
	for _, c := range w.t.Columns {
		currency := c.LogicalName == "transactioncurrencyid" && money
		if w.given(c.LogicalName) || slices.Contains(w.asked, c.LogicalName) || !c.Writable(false) || c.NoWebAPI || c.Default != nil || c.LogicalName == w.t.PrimaryID || c.LogicalName == w.t.PrimaryName {
			continue
		}
		who := map[string]string{"system": "the service requires", "business": "the business requires"}[c.Required]
		switch {
		case c.Type == schema.Owner || c.Type == schema.State || c.Type == schema.Status:
			continue
		case currency:
			who = "money needs, else it gets the loading user's"
		case who == "":
			continue
		}
		var sql []string
		if c.Type.IsLookup() && len(c.Targets) == 1 {
			values, expr, err := w.there(ctx, c)
			if err != nil {
				return err
			}
			if len(values) == 1 {
				w.add(expr, c.LogicalName, who+": the only one there is ???")
				w.matched--
				continue
			}
			sql = []string{expr + " AS " + c.LogicalName + ","}
			switch {
			case len(values) > 1:
				who += "; there are " + strings.Join(values, ", ")
			case !w.d.pulled:
				who += "; `dvmigrate target pull` reads what there is"
			}
		}
		w.ask(c.LogicalName, fmt.Sprintf("nothing gives %s, which %s", c.LogicalName, who), sql...)
	}
	return nil
}

// there are some of the records that a lookup may point to, by what people see them by, and
// how a row points to the first; to any, if none is known.
func (w *draftSQL) there(ctx context.Context, c *schema.Column) (values []string, expr string, err error) {
	by := "name"
	if t := w.d.p.Schema.Table(c.Targets[0]); t != nil && t.PrimaryName != "" {
		by = t.PrimaryName
	}
	first := "..."
	if c.Targets[0] == "transactioncurrency" {
		by, first = "isocurrencycode", "EUR"
	}
	relation := transform.PulledPrefix + c.Targets[0]
	columns, err := w.d.p.stage.Columns(ctx, "source", relation)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, "", err
	}
	if w.d.pulled && slices.ContainsFunc(columns, func(c duckstage.ColumnInfo) bool { return c.Name == by }) {
		query := fmt.Sprintf("SELECT DISTINCT CAST(%[1]s AS VARCHAR) FROM source.%[2]s WHERE %[1]s IS NOT NULL ORDER BY 1 LIMIT 5", duckstage.Ident(by), duckstage.Ident(relation))
		err := w.d.p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			values = append(values, "")
			return scan(&values[len(values)-1])
		})
		if err != nil {
			return nil, "", err
		}
	}
	if len(values) > 0 {
		first = values[0]
	}
	return values, fmt.Sprintf("existing(%s, %s, %s)", duckstage.Quote(c.Targets[0]), duckstage.Quote(by), duckstage.Quote(first)), nil
}

// text is the SELECT, its columns below one another.
func (w *draftSQL) text() string {
	key := cmp.Or(w.keyed, w.d.key(w.source, w.alias))
	lines := append([]draftLine{{key, "legacy_key", "different in every row"}}, w.lines...)
	exprs, targets := 0, 0
	for _, l := range lines {
		if n := utf8.RuneCountInString(l.expr); n <= mostAligned {
			exprs = max(exprs, n)
		}
		targets = max(targets, len(l.target)+1)
	}
	text := "SELECT\n"
	for i, l := range lines {
		comma := ","
		if i == len(lines)-1 {
			comma = ""
		}
		line := fmt.Sprintf("  %-*s AS %s%s", exprs, l.expr, l.target, comma)
		if l.remark != "" {
			line = fmt.Sprintf("  %-*s AS %-*s -- %s", exprs, l.expr, targets, l.target+comma, l.remark)
		}
		text += line + "\n"
	}
	text += fmt.Sprintf("FROM %s AS %s\n%s", duckstage.Ident(w.source), w.alias, w.where)
	if len(w.open) > 0 {
		text += "-- Open:\n" + strings.Join(w.open, "")
	}
	if len(w.left) > 0 {
		text += "-- Not used:\n" + strings.Join(w.left, "")
	}
	return text
}

// mostAligned is up to what length expressions stand in a column of their own.
const mostAligned = 60

func (w *draftSQL) add(expr, target, remark string) {
	if strings.Contains(remark, "???") {
		w.questions++
	}
	w.matched++
	w.lines = append(w.lines, draftLine{expr, target, remark})
}

// leave notes a column that is not used, with lines that would use it.
func (w *draftSQL) leave(c SourceColumn, why string, sql ...string) {
	w.left = append(w.left, note(fmt.Sprintf("%s: %s%s", c.Name, why, examples(c)), sql))
}

// ask notes a question about a column of the target, with lines of SQL that answer it.
func (w *draftSQL) ask(about, question string, sql ...string) {
	w.questions++
	w.asked = append(w.asked, about)
	w.open = append(w.open, note(question+" ???", sql))
}

// note is a comment, with lines below it that become SQL without their dashes.
func note(text string, sql []string) string {
	return "--   " + strings.Join(append([]string{text}, sql...), "\n--     ") + "\n"
}

// column writes what a source column becomes.
func (w *draftSQL) column(ctx context.Context, c SourceColumn, guesses map[string]mapping.Guess) error {
	value := w.alias + "." + identifier(c.Name)
	if r, ok := w.refs[c.Name]; ok {
		w.refer(value, c, r)
		return nil
	}
	if w.d.embeds(w.source, c.Name) {
		return nil
	}
	if file := w.d.fileOf(w.source, c.Name); file != "" {
		w.file(c, file)
		return nil
	}
	g, ok := guesses[c.Name]
	if _, joins := w.joinable[c.Name]; joins && ok && (g.Score < 0.9 || g.Column.Type.IsLookup()) {
		ok = false
	}
	if ok && (w.referred(g.Column) || g.Column.Type.IsLookup() && g.Score < 0.75) {
		ok = false // a likeness of names alone is not enough for a lookup
	}
	why := c.leave()
	if why == "" && w.flag(c, value) {
		return nil
	}
	if !ok || why != "" {
		if why == "" {
			why = fmt.Sprintf("%.0f %% filled", 100*c.Share)
		}
		if other, ok := w.joinable[c.Name]; ok {
			w.leave(c, "keys of "+other, w.joining(other, value)...)
			return nil
		}
		if !slices.Contains(w.d.keys[w.source], c.Name) {
			w.leave(c, why)
		}
		return nil
	}
	col, sure := g.Column, ""
	switch {
	case g.Score < 0.75:
		sure = fmt.Sprintf("%.0f %% alike ???", 100*g.Score)
	case g.Score < 0.9:
		sure = fmt.Sprintf("%.0f %% alike", 100*g.Score)
	}
	switch {
	case col.Type.IsLookup():
		return w.lookup(ctx, c, col, value, sure)
	case col.Type == schema.Choice && len(col.Options) > 0:
		return w.choice(ctx, c, col, value, sure)
	case col.Type == schema.State || col.Type == schema.Status:
		w.ask(col.LogicalName, fmt.Sprintf("%s: perhaps %s, with the status reasons that go with it%s", c.Name, col.LogicalName, examples(c)),
			fmt.Sprintf("CASE %s WHEN ... THEN 1 ELSE 0 END AS statecode,", value), fmt.Sprintf("CASE %s WHEN ... THEN 2 ELSE 1 END AS statuscode,", value))
		return nil
	}
	expr, remark := convert(value, c, col)
	w.add(expr, col.LogicalName, remarks(sure, remark))
	return nil
}

// fileParts are what a package's table has of a file, behind the column's name: its id, its name
// in the target, and where its content is.
var fileParts = []string{"", "_filename", "_path"}

// fileOf is the file column that a column of a package's table says something of; "" if none.
func (d *drafter) fileOf(source, column string) string {
	for _, part := range fileParts[1:] {
		base, ok := strings.CutSuffix(column, part)
		if !ok {
			base = column
		}
		all := slices.ContainsFunc(d.columns[source], func(c SourceColumn) bool {
			return c.Name == base+"_path" && (len(c.Top) == 0 || packagePath.MatchString(c.Top[0].Value))
		})
		for _, p := range fileParts {
			all = all && slices.ContainsFunc(d.columns[source], func(c SourceColumn) bool { return c.Name == base+p })
		}
		if all {
			return base
		}
	}
	return ""
}

// packagePath are the paths of files in packages.
var packagePath = regexp.MustCompile(`^[^/]+:files/`)

// file writes a file column, by the part that is last.
func (w *draftSQL) file(c SourceColumn, file string) {
	if c.Name != file+"_path" {
		return
	}
	col := w.t.Column(file)
	if col == nil || col.Type != schema.File {
		w.leave(c, "files of the package; the table has no such file column", fmt.Sprintf("file(%[1]s.%[2]s, %[1]s.%[3]s) AS ...,", w.alias, identifier(c.Name), identifier(file+"_filename")))
		return
	}
	w.add(fmt.Sprintf("file(%[1]s.%[2]s, %[1]s.%[3]s)", w.alias, identifier(c.Name), identifier(file+"_filename")), file, "")
}

// leave is why a column is not brought: the word of its owner, or else the profile's; "" if it is.
func (c SourceColumn) leave() string {
	switch {
	case c.Decision == Drop || c.Decision == Archive:
		return "the profile's sheet says " + c.Decision
	case c.Decision == "" && c.Proposal == Drop:
		return c.Why
	}
	return ""
}

// plain is a name that SQL reads without quotes after an alias.
var plain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// identifier is a column's name as people write it after an alias.
func identifier(name string) string {
	if plain.MatchString(name) {
		return name
	}
	return duckstage.Ident(name)
}

// remarks are those that say something.
func remarks(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "; ")
}

// examples are the most frequent values of a column, for the end of a line.
func examples(c SourceColumn) string {
	var words []string
	for _, v := range c.Top[:min(len(c.Top), 3)] {
		word := strings.Join(strings.Fields(v.Value), " ")
		if runes := []rune(word); len(runes) > 40 {
			word = string(runes[:39]) + "…"
		}
		if word != "" {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "; such as " + strings.Join(words, "; ")
}

package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
)

// Draft is what a draft of a project wrote.
type Draft struct {
	Version   int          `json:"version"`
	Tables    []DraftTable `json:"tables"`
	Maps      []string     `json:"maps"`      // sheets of choices to complete
	Unmatched []string     `json:"unmatched"` // sources that no table is like
}

// DraftTable is one transform.
type DraftTable struct {
	Table     string `json:"table"`
	Source    string `json:"source"`
	File      string `json:"file"`
	Kept      bool   `json:"kept"`      // there was one already, which was left as it is
	Matched   int    `json:"matched"`   // columns that were guessed
	Left      int    `json:"left"`      // columns of the source that were not
	Questions int    `json:"questions"` // places marked ??? in the file
}

// Draft writes a first transform for every staged source that is like a table of the
// schema: the columns guessed by name, texts converted by the form of their values,
// lookups found by looking which columns hold another source's keys, and sheets for
// choices. What is there already is left as it is.
func (p *Project) Draft(ctx context.Context, watch StageWatch) (out Draft, err error) {
	out = Draft{Version: 1, Tables: []DraftTable{}, Maps: []string{}, Unmatched: []string{}}
	end, err := p.record(ctx, "draft", p.o.Args)
	if err != nil {
		return out, err
	}
	defer func() { end(err, fmt.Sprintf("%d tables", len(out.Tables))) }()
	profile, err := p.Profile(ctx, nil, watch)
	if err != nil {
		return out, err
	}
	pulled, err := p.pulled(ctx)
	if err != nil {
		return out, err
	}
	d := drafter{p: p, out: &out, pulled: pulled != nil, columns: map[string][]SourceColumn{}, table: map[string]*mapping.GuessedTable{}, key: map[string]string{}}
	for _, c := range profile.Columns {
		if d.columns[c.Source] == nil {
			d.sources = append(d.sources, c.Source)
		}
		d.columns[c.Source] = append(d.columns[c.Source], c)
	}
	if len(d.sources) == 0 {
		return out, errors.New("no source is staged yet; name your files under sources in migration.yaml and run `dvmigrate stage`")
	}
	d.assign()
	for _, source := range d.sources {
		if d.table[source] == nil {
			linked, err := d.link(ctx, source)
			if err != nil {
				return out, fmt.Errorf("draft from %s: %w", source, err)
			}
			if linked {
				continue
			}
			out.Unmatched = append(out.Unmatched, source)
			continue
		}
		watch("drafting "+source, -1)
		if err := d.write(ctx, source); err != nil {
			return out, fmt.Errorf("draft from %s: %w", source, err)
		}
	}
	return out, nil
}

type drafter struct {
	p       *Project
	out     *Draft
	pulled  bool // users and currencies of the target are in the stage
	sources []string
	columns map[string][]SourceColumn        // by source
	table   map[string]*mapping.GuessedTable // by source
	key     map[string]string                // by source: the column that is its legacy key
}

// assign gives each source the table it is most like, no table twice: the best pairs
// first.
func (d *drafter) assign() {
	type pair struct {
		source string
		guess  mapping.GuessedTable
	}
	var pairs []pair
	for _, source := range d.sources {
		d.key[source] = keyOf(d.columns[source])
		if d.key[source] == "" || strings.HasPrefix(source, "map_") {
			continue // nothing to tell rows apart by
		}
		var names []string
		for _, c := range d.columns[source] {
			names = append(names, c.Name)
		}
		for _, g := range mapping.GuessTables(d.p.Schema, source, names) {
			pairs = append(pairs, pair{source, g})
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		switch {
		case a.guess.Score > b.guess.Score:
			return -1
		case a.guess.Score < b.guess.Score:
			return 1
		}
		return 0
	})
	taken := map[string]bool{}
	for _, p := range pairs {
		if d.table[p.source] == nil && !taken[p.guess.Table.LogicalName] {
			d.table[p.source], taken[p.guess.Table.LogicalName] = &p.guess, true
		}
	}
}

// keyOf is the column that tells a source's rows apart: unique, and of these the first.
func keyOf(cols []SourceColumn) string {
	for _, c := range cols {
		if c.Unique {
			return c.Name
		}
	}
	return ""
}

// write writes the transform of one source.
func (d *drafter) write(ctx context.Context, source string) error {
	g := d.table[source]
	name := g.Table.LogicalName
	path := filepath.Join(d.p.Config.Path(d.p.Config.Transforms), name+".sql")
	rel, err := filepath.Rel(d.p.Config.Dir, path)
	if err != nil {
		rel = path
	}
	row := DraftTable{Table: name, Source: source, File: rel, Kept: exists(path)}
	w := draftSQL{d: d, source: source, t: g.Table, alias: "s", kept: row.Kept}
	for _, c := range d.columns[source] {
		if err := w.column(ctx, c, g.Columns); err != nil {
			return err
		}
	}
	row.Matched, row.Left, row.Questions = w.matched, len(w.left), w.questions
	if !row.Kept {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := writeFile(path, []byte(w.text())); err != nil {
			return err
		}
	}
	d.out.Tables = append(d.out.Tables, row)
	return nil
}

// link writes the transform of an N:N relationship, if the source is two columns with the
// keys of other sources whose tables have one.
func (d *drafter) link(ctx context.Context, source string) (bool, error) {
	cols := d.columns[source]
	if len(cols) != 2 {
		return false, nil
	}
	var ends [2]string // the tables whose keys they are
	for i, c := range cols {
		for _, other := range d.sources {
			if d.table[other] == nil || ends[i] != "" {
				continue
			}
			share, err := d.share(ctx, source, c.Name, other)
			if err != nil {
				return false, err
			}
			if share >= 0.5 {
				ends[i] = d.table[other].Table.LogicalName
			}
		}
	}
	for _, m := range d.p.Schema.ManyToMany {
		first, second := cols[0].Name, cols[1].Name
		switch {
		case ends[0] == "" || ends[1] == "":
			continue
		case m.Table1 == ends[0] && m.Table2 == ends[1]:
		case m.Table1 == ends[1] && m.Table2 == ends[0]:
			first, second = second, first
		default:
			continue
		}
		path := filepath.Join(d.p.Config.Path(d.p.Config.Transforms), m.Intersect+".sql")
		rel, err := filepath.Rel(d.p.Config.Dir, path)
		if err != nil {
			rel = path
		}
		row := DraftTable{Table: m.Intersect, Source: source, File: rel, Kept: exists(path), Matched: 2}
		if !row.Kept {
			sql := fmt.Sprintf("-- %s from %s: a draft. Links of %s and %s.\nSELECT %s || '/' || %s AS legacy_key, %s AS %s, %s AS %s\nFROM %s\n", m.Intersect, source, m.Table1, m.Table2,
				duckstage.Ident(first), duckstage.Ident(second), duckstage.Ident(first), m.Column1, duckstage.Ident(second), m.Column2, duckstage.Ident(source))
			if err := writeFile(path, []byte(sql)); err != nil {
				return false, err
			}
		}
		d.out.Tables = append(d.out.Tables, row)
		return true, nil
	}
	return false, nil
}

// draftSQL is one SELECT that is being written.
type draftSQL struct {
	d         *drafter
	source    string
	t         *schema.Table
	alias     string
	kept      bool     // its file is there already
	lines     []string // of the select list: expression, target, remark
	joins     []string
	left      []string // what was not used, as comments
	options   []string // what the choices may be, as comments
	matched   int
	questions int
}

func (w *draftSQL) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- %s from %s: a draft, guessed from names and values. Look at every line; ??? marks what\n-- needs an answer. dvmigrate preview %s shows what comes out.\n", w.t.LogicalName, w.source, w.t.LogicalName)
	key := w.d.key[w.source]
	fmt.Fprintf(&b, "SELECT\n  %s.%s AS legacy_key,  -- different in every row\n", w.alias, duckstage.Ident(key))
	b.WriteString(strings.Join(w.lines, ""))
	// The last column's comma has to go: it stands before the remark.
	text := b.String()
	if at := strings.LastIndex(text, ",  -- "); at >= 0 {
		text = text[:at] + text[at+1:]
	}
	text += fmt.Sprintf("FROM %s AS %s\n%s", duckstage.Ident(w.source), w.alias, strings.Join(w.joins, ""))
	if len(w.options) > 0 {
		text += "-- Options:\n" + strings.Join(w.options, "")
	}
	if len(w.left) > 0 {
		text += "-- Not used:\n" + strings.Join(w.left, "")
	}
	return text
}

func (w *draftSQL) add(expr, target, remark string) {
	if strings.Contains(remark, "???") {
		w.questions++
	}
	w.matched++
	w.lines = append(w.lines, fmt.Sprintf("  %s AS %s,  -- %s\n", expr, target, remark))
}

// column writes what a source column becomes.
func (w *draftSQL) column(ctx context.Context, c SourceColumn, guesses map[string]mapping.Guess) error {
	value := w.alias + "." + duckstage.Ident(c.Name)
	g, ok := guesses[c.Name]
	if !ok || c.Proposal == Drop {
		why := fmt.Sprintf("%.0f %% filled", 100*c.Share)
		if c.Proposal == Drop {
			why = c.Why
		}
		w.left = append(w.left, fmt.Sprintf("--   %s: %s; such as %s\n", c.Name, why, examples(c)))
		return nil
	}
	col := g.Column
	sure := fmt.Sprintf("from %s, %.0f %% alike", c.Name, 100*g.Score)
	if g.Score < 0.75 {
		sure += " ???"
	}
	switch {
	case col.Type.IsLookup():
		return w.lookup(ctx, c, col, value, sure)
	case col.Type == schema.Choice && len(col.Options) > 0:
		return w.choice(ctx, c, col, value, sure)
	case col.Type == schema.State || col.Type == schema.Status:
		w.left = append(w.left, fmt.Sprintf("--   %s: perhaps %s: CASE %s WHEN ... THEN ... END, with statecode and statuscode ???; %s\n", c.Name, col.LogicalName, value, examples(c)))
		w.questions++
		return nil
	}
	expr, remark := convert(value, c, col)
	if remark != "" {
		sure += "; " + remark
	}
	w.add(expr, col.LogicalName, sure)
	return nil
}

func examples(c SourceColumn) string {
	var words []string
	for _, v := range c.Top[:min(len(c.Top), 3)] {
		words = append(words, strings.Join(strings.Fields(v.Value), " "))
	}
	return strings.Join(words, "; ")
}

// Forms of texts, as a profile writes them.
var (
	germanNumber  = regexp.MustCompile(`^-?[9…]+(\.[9…]+)*,9+$`)
	englishNumber = regexp.MustCompile(`^-?[9…]+(,[9…]+)+(\.9+)?$`)
	germanDay     = regexp.MustCompile(`^99?\.99?\.9999$`)
	germanTime    = regexp.MustCompile(`^99?\.99?\.9999 99?:99$`)
	germanSecond  = regexp.MustCompile(`^99?\.99?\.9999 99?:99:99$`)
	slashDay      = regexp.MustCompile(`^99?/99?/9999$`)
)

// convert is a text as a value of the target's type.
func convert(value string, c SourceColumn, col *schema.Column) (expr, remark string) {
	form := ""
	if len(c.Patterns) > 0 {
		form = c.Patterns[0].Value
	}
	isText := c.SQLType == "VARCHAR"
	switch col.Type {
	case schema.Text, schema.Memo:
		if col.MaxLength > 0 && c.MaxLength > int64(col.MaxLength) {
			remark = fmt.Sprintf("the longest has %d characters, %d fit ???", c.MaxLength, col.MaxLength)
		}
		if isText {
			value = "nullif(trim(" + value + "), '')"
		}
	case schema.Integer, schema.BigInt, schema.Decimal, schema.Money, schema.Float:
		switch {
		case isText && germanNumber.MatchString(form):
			value = "replace(replace(" + value + ", '.', ''), ',', '.')"
		case isText && englishNumber.MatchString(form):
			value = "replace(" + value + ", ',', '')"
		}
	case schema.DateTime:
		for _, f := range []struct {
			form *regexp.Regexp
			text string
		}{{germanDay, "%d.%m.%Y"}, {germanTime, "%d.%m.%Y %H:%M"}, {germanSecond, "%d.%m.%Y %H:%M:%S"}, {slashDay, "%m/%d/%Y"}} {
			if isText && f.form.MatchString(form) {
				value = "try_strptime(" + value + ", '" + f.text + "')"
				if f.form == slashDay {
					remark = "month first ???"
				}
			}
		}
	case schema.YesNo:
		if yes := yesOf(c); isText && yes != "" {
			value = value + " = " + duckstage.Quote(yes)
		} else if isText {
			remark = "which value means yes ???"
		}
	}
	return value, remark
}

// yesOf is the value that means yes; "" when none does.
func yesOf(c SourceColumn) string {
	for _, v := range c.Top {
		switch strings.ToLower(v.Value) {
		case "j", "ja", "y", "yes", "true", "1", "x", "s", "si", "sí", "o", "oui":
			return v.Value
		}
	}
	return ""
}

// lookup writes a column that points to another table: to a staged source whose keys it
// holds, or to records that the target has.
func (w *draftSQL) lookup(ctx context.Context, c SourceColumn, col *schema.Column, value, sure string) error {
	for _, other := range w.d.sources {
		g := w.d.table[other]
		if g == nil || !slices.Contains(col.Targets, g.Table.LogicalName) {
			continue
		}
		share, err := w.d.share(ctx, w.source, c.Name, other)
		if err != nil {
			return err
		}
		if share < 0.5 {
			continue
		}
		expr := value
		if len(col.Targets) > 1 {
			expr = fmt.Sprintf("ref(%s, %s)", duckstage.Quote(g.Table.LogicalName), value)
		}
		w.add(expr, col.LogicalName, fmt.Sprintf("%s; %.0f %% are keys of %s", sure, 100*share, other))
		return nil
	}
	target := "systemuser"
	if len(col.Targets) > 0 && col.Type != schema.Owner {
		target = col.Targets[0]
	}
	expr, how := fmt.Sprintf("existing('%s', a GUID looked up in a map)", target), ""
	switch {
	case col.Type == schema.Owner:
		expr, how = "owner("+value+")", "by name, e-mail or "+OwnersSheet+" (users plan)"
	case target == "transactioncurrency":
		expr, how = "existing('transactioncurrency', 'isocurrencycode', "+value+")", "by its code"
	}
	if how != "" && w.d.pulled {
		w.add(expr, col.LogicalName, sure+"; "+how)
		return nil
	}
	if how != "" {
		expr += ", once `dvmigrate target pull` has read them"
	}
	w.questions++
	w.left = append(w.left, fmt.Sprintf("--   %s: perhaps %s: %s ???; such as %s\n", c.Name, col.LogicalName, expr, examples(c)))
	return nil
}

// share is the part of a column's values that are keys of another source, of a sample.
func (d *drafter) share(ctx context.Context, source, column, other string) (float64, error) {
	var all, found int64
	query := fmt.Sprintf(`SELECT count(*), count(*) FILTER (v IN (SELECT CAST(%s AS VARCHAR) FROM source.%s))
		FROM (SELECT DISTINCT CAST(%s AS VARCHAR) AS v FROM source.%s WHERE %s IS NOT NULL LIMIT 10000)`,
		duckstage.Ident(d.key[other]), duckstage.Ident(other), duckstage.Ident(column), duckstage.Ident(source), duckstage.Ident(column))
	if err := d.p.stage.Row(ctx, []any{&all, &found}, query); err != nil || all == 0 {
		return 0, err
	}
	return float64(found) / float64(all), nil
}

// mostChoices is how many different texts of a choice are looked at; with more than
// manyChoices of which hardly one is like an option, it is no choice.
const mostChoices, manyChoices = 500, 50

// choice writes a choice: its numbers as they are, or texts by way of a sheet.
func (w *draftSQL) choice(ctx context.Context, c SourceColumn, col *schema.Column, value, sure string) error {
	var texts []duckstage.ValueCount
	query := fmt.Sprintf("SELECT CAST(%[1]s AS VARCHAR) AS v, count(*) AS n FROM source.%[2]s WHERE nullif(trim(CAST(%[1]s AS VARCHAR)), '') IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT %[3]d", duckstage.Ident(c.Name), duckstage.Ident(w.source), mostChoices)
	err := w.d.p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var v duckstage.ValueCount
		if err := scan(&v.Value, &v.Rows); err != nil {
			return err
		}
		texts = append(texts, v)
		return nil
	})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(texts, func(v duckstage.ValueCount) bool { return !isOption(col, v.Value) }) {
		w.add(value, col.LogicalName, sure+"; all are options")
		return nil
	}
	likely := 0
	for _, v := range texts {
		if o, _ := mapping.GuessOption(col, v.Value); o != nil {
			likely++
		}
	}
	if len(texts) > manyChoices && likely*10 < len(texts) {
		w.left = append(w.left, fmt.Sprintf("--   %s: hardly %s, which has %d options: it has %d values or more; such as %s\n", c.Name, col.LogicalName, len(col.Options), len(texts), examples(c)))
		return nil
	}
	w.options = append(w.options, "--   "+col.LogicalName+": "+optionsText(col)+"\n")
	m, err := w.sheet(col, texts)
	if err != nil {
		return err
	}
	remark := sure + "; by " + m.File
	if m.Open > 0 {
		remark += fmt.Sprintf(", in which %d texts have no value ???", m.Open)
	}
	w.add(value, col.LogicalName, remark)
	return nil
}

// sheet writes a choice's map, proposed by the likeness of the labels; not beside a
// transform that is kept, which a map would change.
func (w *draftSQL) sheet(col *schema.Column, texts []duckstage.ValueCount) (*OptionMap, error) {
	m, _, err := planMap(w.t.LogicalName, col, nil, texts, nil)
	if err != nil {
		return nil, err
	}
	p := w.d.p
	path := filepath.Join(p.Config.Dir, mapsFolder, w.t.LogicalName+"."+col.LogicalName+".csv")
	m.File = p.shownPath(path)
	if w.kept || exists(path) {
		return m, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	w.d.out.Maps = append(w.d.out.Maps, m.File)
	return m, writeCSV(path, m.table(col))
}

package appliance

import (
	"context"
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

	refs     map[string]reference // by source column
	joinable map[string]string    // by source column: a source whose keys it has, and that no lookup can point to
}

// reference is a column of keys of another source.
type reference struct {
	column *schema.Column
	other  string
	share  float64
	sure   bool // the name says so, too, and nothing else is likely
}

// unnamed asks for the primary name, if no column gives it: records without one are hard to
// find, and most tables require it.
func (w *draftSQL) unnamed() {
	c := w.t.Column(w.t.PrimaryName)
	if c == nil || !c.Writable(false) || c.NoWebAPI || slices.ContainsFunc(w.lines, func(l string) bool { return strings.Contains(l, " AS "+c.LogicalName+",") }) {
		return
	}
	w.questions++
	w.left = append(w.left, fmt.Sprintf("--   nothing gives %s, by which people see a record ???\n", c.LogicalName))
}

func (w *draftSQL) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- %s from %s: a draft, guessed from names and values. Look at every line; ??? marks what\n-- needs an answer. dvmigrate preview %s shows what comes out.\n", w.t.LogicalName, w.source, w.t.LogicalName)
	var keys []string
	for _, k := range w.d.keys[w.source] {
		keys = append(keys, w.alias+"."+duckstage.Ident(k))
	}
	fmt.Fprintf(&b, "SELECT\n  %s AS legacy_key,  -- different in every row\n", strings.Join(keys, " || '/' || "))
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
	if r, ok := w.refs[c.Name]; ok {
		w.refer(value, c, r)
		return nil
	}
	g, ok := guesses[c.Name]
	if _, joins := w.joinable[c.Name]; joins && ok && (g.Score < 0.9 || g.Column.Type.IsLookup()) {
		ok = false
	}
	if ok && (w.referred(g.Column) || g.Column.Type.IsLookup() && g.Score < 0.75) {
		ok = false // a likeness of names alone is not enough for a lookup
	}
	if !ok || c.Proposal == Drop {
		why := fmt.Sprintf("%.0f %% filled", 100*c.Share)
		if c.Proposal == Drop {
			why = c.Why
		}
		if other, ok := w.joinable[c.Name]; ok {
			why = fmt.Sprintf("keys of %s: LEFT JOIN %s AS j ON j.%s = %s has its columns", other, duckstage.Ident(other), duckstage.Ident(w.d.keys[other][0]), value)
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

// refExpr is how a lookup gets the key of a staged row.
func refExpr(col *schema.Column, table, value string) string {
	if len(col.Targets) > 1 {
		return fmt.Sprintf("ref(%s, %s)", duckstage.Quote(table), value)
	}
	return value
}

// upward are words of columns that point to a row of the same source.
var upward = regexp.MustCompile(`(?i)parent|report|manager|superior|super|konzern|mutter|boss|chief|head|ober|leiter`)

// references finds the columns that hold keys of sources: their names are like the key's or
// the source's, or point upward, and their values are keys.
func (w *draftSQL) references(ctx context.Context) error {
	w.refs, w.joinable = map[string]reference{}, map[string]string{}
	taken := map[string]bool{}
	for _, c := range w.d.columns[w.source] {
		for _, other := range w.d.sources {
			g := w.d.table[other]
			if len(w.d.keys[other]) != 1 || c.Proposal == Drop || other == w.source && c.Name == w.d.keys[other][0] {
				continue
			}
			alike := mapping.KeyAlike(c.Name, other, w.d.keys[other][0])
			if other == w.source {
				alike = 0
				if upward.MatchString(c.Name) {
					alike = 1
				}
			}
			if alike < 0.6 {
				continue
			}
			var col *schema.Column
			likely := false
			if g != nil {
				col, likely = w.lookupTo(c.Name, g.Table.LogicalName, taken)
			}
			if col == nil && (other == w.source || alike < 0.75 || !keyName.MatchString(c.Name) || c.Name == w.d.keys[w.source][0]) {
				continue
			}
			share, err := w.d.share(ctx, w.source, c.Name, other)
			if err != nil {
				return err
			}
			if col == nil {
				if share >= 0.9 {
					w.joinable[c.Name] = other
				}
				continue
			}
			if share >= 0.9 && share > w.refs[c.Name].share {
				if old := w.refs[c.Name].column; old != nil {
					delete(taken, old.LogicalName)
				}
				w.refs[c.Name], taken[col.LogicalName] = reference{col, other, share, likely && alike >= 0.75 && other != w.source}, true
			}
		}
	}
	return nil
}

// lookupTo is the table's lookup that may point to another and is most like a name; likely,
// if its name says so or there is no other.
func (w *draftSQL) lookupTo(name, target string, taken map[string]bool) (best *schema.Column, likely bool) {
	most, n := -1.0, 0
	for _, c := range w.t.Columns {
		if !c.Type.IsLookup() || c.Type == schema.Owner || !c.Writable(false) || c.NoWebAPI || taken[c.LogicalName] || !slices.Contains(c.Targets, target) {
			continue
		}
		n++
		score := max(mapping.Alike(name, c.LogicalName), mapping.Alike(name, c.DisplayName))
		if c.LogicalName == target+"id" || c.LogicalName == "customerid" || c.LogicalName == "parentcustomerid" || c.LogicalName == "parent"+target+"id" && target == w.t.LogicalName {
			score = max(score, 0.8)
		}
		if score > most || score == most && len(c.LogicalName) < len(best.LogicalName) {
			best, most = c, score
		}
	}
	return best, n == 1 || most >= 0.75
}

// referred reports whether a column is taken by a reference.
func (w *draftSQL) referred(col *schema.Column) bool {
	for _, r := range w.refs {
		if r.column == col {
			return true
		}
	}
	return false
}

// refer writes a reference.
func (w *draftSQL) refer(value string, c SourceColumn, r reference) {
	remark := fmt.Sprintf("from %s, %.0f %% are keys of %s", c.Name, 100*r.share, r.other)
	if !r.sure {
		remark += " ???"
	}
	w.add(refExpr(r.column, w.d.table[r.other].Table.LogicalName, value), r.column.LogicalName, remark)
}

// lookup writes a column that points to another table: to a staged source whose keys it
// holds, or to records that the target has.
func (w *draftSQL) lookup(ctx context.Context, c SourceColumn, col *schema.Column, value, sure string) error {
	for _, other := range w.d.sources {
		g := w.d.table[other]
		if g == nil || len(w.d.keys[other]) != 1 || !slices.Contains(col.Targets, g.Table.LogicalName) {
			continue
		}
		share, err := w.d.share(ctx, w.source, c.Name, other)
		if err != nil {
			return err
		}
		if share < 0.5 {
			continue
		}
		w.add(refExpr(col, g.Table.LogicalName, value), col.LogicalName, fmt.Sprintf("%s; %.0f %% are keys of %s", sure, 100*share, other))
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
		duckstage.Ident(d.keys[other][0]), duckstage.Ident(other), duckstage.Ident(column), duckstage.Ident(source), duckstage.Ident(column))
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
	w.options = append(w.options, "--   "+col.LogicalName+": "+optionsText(col, 40)+"\n")
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

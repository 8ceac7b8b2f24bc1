package appliance

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/transform"
)

// OptionsWorkbook is the workbook that has all choices' maps, where people want one file.
const OptionsWorkbook = mapsFolder + "/options.xlsx"

// OptionsPlan is the state of the choices' maps against the texts in the data.
type OptionsPlan struct {
	Version int         `json:"version"`
	Maps    []OptionMap `json:"maps"`
	Notes   []string    `json:"notes,omitempty"`
}

// OptionMap is one choice's map.
type OptionMap struct {
	Table    string       `json:"table"`
	Column   string       `json:"column"`
	File     string       `json:"file"`     // the sheet; "" where there is none yet
	Texts    int          `json:"texts"`    // different texts in the data
	Mapped   int          `json:"mapped"`   // of which have a value
	Proposed int          `json:"proposed"` // of which were proposed now
	Open     int          `json:"open"`     // of which have none
	OpenRows int64        `json:"openRows"` // rows with those
	Such     []OptionText `json:"such"`     // the most frequent of the open ones, at most five
	Written  bool         `json:"written"`

	lines []OptionText
	extra []string // names of people's own columns
}

// OptionText is one text of a choice.
type OptionText struct {
	Text  string `json:"text"`
	Rows  int64  `json:"rows"`
	Value string `json:"value,omitempty"`
	Label string `json:"label,omitempty"`

	cells    map[string]string // of the sheet, as it was
	proposed string            // why, where the value was proposed now
}

// suchTexts is how many open texts are named.
const suchTexts = 5

// Options compares the choices' maps with the texts that the transforms yield now, over
// what is staged. only names tables or choices (account.industrycode); empty = all. With
// write the sheets are written: texts that are new are added, with a value where an option
// is alike; what people have decided is kept. With workbook all go into one file.
func (p *Project) Options(ctx context.Context, only []string, write, workbook bool, watch StageWatch) (out OptionsPlan, err error) {
	out = OptionsPlan{Version: 1, Maps: []OptionMap{}}
	if write {
		var end func(error, string)
		if end, err = p.record(ctx, "options plan", append([]string{"options", "plan"}, only...)); err != nil {
			return out, err
		}
		defer func() { end(err, fmt.Sprintf("%d sheets", len(out.Maps))) }()
	}
	b, err := p.bind(ctx, p.stage)
	if err != nil {
		return out, err
	}
	sheets, err := p.optionSheets(ctx)
	if err != nil {
		return out, err
	}
	if err := knownChoices(b, only); err != nil {
		return out, err
	}
	files, err := p.transformFiles()
	if err != nil {
		return out, err
	}
	scripts, err := p.scripts()
	if err != nil {
		return out, err
	}
	learnt := p.learn(sheets)
	for _, f := range files {
		t := b.byName[f.table]
		choices := wantedChoices(t, only)
		if len(choices) == 0 {
			continue
		}
		watch("reading the texts of "+t.Name, -1)
		texts, err := p.choiceTexts(ctx, scripts, f, choices)
		if err != nil {
			return out, fmt.Errorf("%s: %w", f.path, err)
		}
		for i, c := range choices {
			at := slices.IndexFunc(sheets, func(o optionSheet) bool { return o.table == t.Name && o.column == c.LogicalName })
			var sheet *optionSheet
			if at >= 0 {
				sheet = &sheets[at]
			}
			m, note, err := planMap(t.Name, c, sheet, texts[i], learnt[choiceKind(c)])
			if err != nil {
				return out, err
			}
			if note != "" {
				out.Notes = append(out.Notes, note)
			}
			if m != nil {
				out.Maps = append(out.Maps, *m)
			}
		}
	}
	if write {
		err = p.writeMaps(&out, sheets, workbook)
	}
	return out, err
}

// knownChoices refuses names that are no table or choice of the project.
func knownChoices(b *bound, only []string) error {
	var known []string
	for _, t := range b.tables {
		known = append(known, t.Name)
		for _, c := range wantedChoices(t, nil) {
			known = append(known, t.Name+"."+c.LogicalName)
		}
	}
	for _, name := range only {
		if !slices.Contains(known, name) {
			return unknownName("table or choice that a transform yields", name, known)
		}
	}
	return nil
}

// wantedChoices are the choices that a table's transform yields.
func wantedChoices(t *mapping.Table, only []string) []*schema.Column {
	var out []*schema.Column
	for _, c := range t.Columns {
		if c.Type.HasOptions() && (len(only) == 0 || slices.Contains(only, t.Name) || slices.Contains(only, t.Name+"."+c.LogicalName)) {
			out = append(out, c.Column)
		}
	}
	return out
}

// mostTexts is how many different texts of a choice are read.
const mostTexts = 5000

// choiceTexts reads the texts that a transform yields for its choices, the most frequent
// first, all in one pass over its rows.
func (p *Project) choiceTexts(ctx context.Context, scripts []transform.Script, f transformFile, choices []*schema.Column) ([][]duckstage.ValueCount, error) {
	out := make([][]duckstage.ValueCount, len(choices))
	var inner, names, sets, which []string
	for i, c := range choices {
		name := fmt.Sprintf("c%d", i)
		inner = append(inner, "nullif(trim(CAST(u."+duckstage.Ident(c.LogicalName)+" AS VARCHAR), ' ' || chr(9) || chr(10) || chr(13) || chr(160)), '') AS "+name)
		names, sets = append(names, name), append(sets, "("+name+")")
		which = append(which, fmt.Sprintf("WHEN grouping(%s) = 0 THEN %d", name, i))
	}
	query := func(from string) string {
		all := strings.Join(names, ", ")
		return "SELECT i, v, n FROM (SELECT CASE " + strings.Join(which, " ") + " END AS i, coalesce(" + all + ") AS v, count(*) AS n FROM (SELECT " + strings.Join(inner, ", ") + " FROM " + from +
			") GROUP BY GROUPING SETS (" + strings.Join(sets, ", ") + ")) WHERE v IS NOT NULL QUALIFY row_number() OVER (PARTITION BY i ORDER BY n DESC, v) <= " + strconv.Itoa(mostTexts+1) + " ORDER BY i, n DESC, v"
	}
	err := transform.Read(ctx, p.stage, scripts, f.sql, query, func(scan func(...any) error) error {
		var i int
		var v duckstage.ValueCount
		if err := scan(&i, &v.Value, &v.Rows); err != nil {
			return err
		}
		out[i] = append(out[i], v)
		return nil
	})
	return out, err
}

// choiceKind tells choices with the same options.
func choiceKind(c *schema.Column) string {
	var b strings.Builder
	for _, o := range c.Options {
		fmt.Fprintf(&b, "%d %s\n", o.Value, o.Label)
	}
	return b.String()
}

// learn gathers what people have decided of texts, by kind of choice: what they said of one
// column is proposed for the next that has the same options.
func (p *Project) learn(sheets []optionSheet) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, o := range sheets {
		c := p.Schema.Table(o.table).Column(o.column)
		values, _ := o.values(c)
		kind := choiceKind(c)
		if out[kind] == nil {
			out[kind] = map[string]string{}
		}
		maps.Copy(out[kind], values)
	}
	return out
}

// planMap compares one choice's texts with its map; nil where it needs none, as all texts
// are values already.
func planMap(table string, c *schema.Column, sheet *optionSheet, texts []duckstage.ValueCount, learnt map[string]string) (*OptionMap, string, error) {
	m := &OptionMap{Table: table, Column: c.LogicalName, Such: []OptionText{}}
	name := table + "." + c.LogicalName
	if sheet == nil {
		if !slices.ContainsFunc(texts, func(v duckstage.ValueCount) bool { return !isValue(c, v.Value) }) {
			return nil, "", nil
		}
		if len(texts) > mostTexts {
			return nil, fmt.Sprintf("%s has more than %d different texts, the first is %q: it is no choice", name, mostTexts, texts[0].Value), nil
		}
	}
	known := map[string]bool{}
	at := map[string]int{} // lines by text
	if sheet != nil {
		m.File = sheet.file
		values, faults := sheet.values(c)
		if len(faults) > 0 {
			return nil, "", faults
		}
		for text := range values {
			known[text] = true
		}
		for _, r := range sheet.rows {
			text := unharmed(r.Cells[sourceText])
			if text == "" && unharmed(r.Cells[sourceValue]) == "" {
				continue // an option that nothing goes to
			}
			line := OptionText{Text: text, Value: r.Cells[targetValue], Label: r.Cells[targetText], cells: r.Cells}
			for _, key := range []string{text, unharmed(r.Cells[sourceValue])} {
				if key != "" {
					at[strings.ToLower(key)] = len(m.lines)
				}
			}
			m.lines = append(m.lines, line)
			for name := range r.Cells {
				if !slices.Contains(sheetColumns, name) && name != "" && !slices.Contains(m.extra, name) {
					m.extra = append(m.extra, name)
				}
			}
		}
		slices.Sort(m.extra)
	}
	for _, v := range texts {
		key := strings.ToLower(v.Value)
		i, there := at[key]
		if !there {
			i, at[key] = len(m.lines), len(m.lines)
			m.lines = append(m.lines, OptionText{Text: v.Value})
		}
		line := &m.lines[i]
		if line.Rows == 0 {
			m.Texts++
		}
		line.Rows += v.Rows
		if !known[key] && line.proposed == "" {
			line.propose(c, learnt)
			if line.proposed != "" {
				m.Proposed++
			}
		}
	}
	for i := range m.lines {
		l := &m.lines[i]
		key := strings.ToLower(l.Text)
		switch {
		case l.Rows == 0:
		case known[key] || l.proposed != "" || known[strings.ToLower(unharmed(l.cells[sourceValue]))]:
			m.Mapped++
		default:
			m.Open++
			m.OpenRows += l.Rows
			if len(m.Such) < suchTexts {
				m.Such = append(m.Such, OptionText{Text: l.Text, Rows: l.Rows})
			}
		}
		l.agree(c)
	}
	return m, "", nil
}

// isValue reports whether a text is a value of the choice as it stands.
func isValue(c *schema.Column, text string) bool {
	if c.Type == schema.Choices {
		for part := range strings.SplitSeq(text, ",") {
			if !isOption(c, strings.TrimSpace(part)) {
				return false
			}
		}
		return true
	}
	if c.Type == schema.YesNo {
		_, err := strconv.ParseBool(text)
		return err == nil
	}
	return isOption(c, text) || len(c.Options) == 0 && isNumber(text)
}

func isNumber(text string) bool {
	_, err := strconv.ParseInt(text, 10, 32)
	return err == nil
}

func isOption(c *schema.Column, text string) bool {
	return slices.ContainsFunc(c.Options, func(o schema.Option) bool { return fmt.Sprint(o.Value) == text })
}

// propose takes the value that was decided for the text elsewhere, or the option that is
// most like it.
func (l *OptionText) propose(c *schema.Column, learnt map[string]string) {
	key := strings.ToLower(l.Text)
	if v, ok := learnt[key]; ok && v != "" {
		l.Value, l.proposed = v, "as decided for a choice with the same options"
		return
	}
	if isValue(c, l.Text) && c.Type != schema.YesNo {
		l.Value, l.proposed = l.Text, "it is the number of an option"
		return
	}
	parts := []string{l.Text}
	if c.Type == schema.Choices { // GPS+Heated
		parts = strings.FieldsFunc(l.Text, func(r rune) bool { return strings.ContainsRune(",;+|/\n", r) })
	}
	least, values := 1.0, []string{}
	for _, part := range parts {
		o, score := mapping.GuessOption(c, part)
		if o == nil {
			return
		}
		least = min(least, score)
		if v := strconv.Itoa(int(o.Value)); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	if len(values) > 0 {
		l.Value, l.proposed = strings.Join(values, ","), fmt.Sprintf("%.0f %% alike", 100*least)
	}
}

// agree fills in the label of a value, or the value of a label.
func (l *OptionText) agree(c *schema.Column) {
	value, decided, err := decision(c, l.Value, l.Label)
	if err != nil || !decided || value == "" {
		return
	}
	l.Value, l.Label = value, labelsOf(c, value)
}

// sheetColumns are the columns of a choice's sheet that are ours; numberColumns says which
// of them hold numbers.
var (
	sheetColumns  = []string{sourceText, sourceRows, targetValue, targetText, "comment"}
	numberColumns = []bool{false, true}
)

// table is the sheet as it is written: what has no value yet first, the most frequent
// before; at the end the options that nothing goes to, so that people see what there is.
func (m *OptionMap) table(c *schema.Column) [][]string {
	lines := [][]string{append(slices.Clone(sheetColumns), m.extra...)}
	used := map[string]bool{}
	slices.SortStableFunc(m.lines, func(a, b OptionText) int {
		open := func(l OptionText) int {
			if l.Value == "" && l.Label == "" && l.Rows > 0 {
				return 0
			}
			return 1
		}
		if d := open(a) - open(b); d != 0 {
			return d
		}
		return int(max(-1, min(1, b.Rows-a.Rows)))
	})
	for _, l := range m.lines {
		for v := range strings.SplitSeq(l.Value, ",") {
			used[v] = true
		}
		comment := l.cells["comment"]
		if l.proposed != "" {
			comment = "proposed: " + l.proposed
		}
		line := []string{harmless(l.Text), strconv.FormatInt(l.Rows, 10), l.Value, l.Label, comment}
		for _, name := range m.extra {
			line = append(line, l.cells[name])
		}
		lines = append(lines, line)
	}
	for _, o := range c.Options {
		if v := strconv.Itoa(int(o.Value)); !used[v] {
			line := make([]string, len(lines[0]))
			line[2], line[3], line[4] = v, o.Label, "no text goes to it yet"
			lines = append(lines, line)
		}
	}
	return lines
}

// writeMaps writes the sheets where they are, those that are new as CSV, or all into the
// workbook.
func (p *Project) writeMaps(plan *OptionsPlan, sheets []optionSheet, workbook bool) error {
	book := filepath.Join(p.Config.Dir, filepath.FromSlash(OptionsWorkbook))
	var pages []page
	var replaced []string
	into := func(m *OptionMap, c *schema.Column) {
		pages = append(pages, page{name: sheetName(m.Table + "." + m.Column), rows: m.table(c), number: numberColumns, labels: c.Options})
		m.File, m.Written = OptionsWorkbook+", sheet "+sheetName(m.Table+"."+m.Column), true
	}
	if err := os.MkdirAll(filepath.Dir(book), 0o700); err != nil {
		return err
	}
	for i := range plan.Maps {
		m := &plan.Maps[i]
		c := p.Schema.Table(m.Table).Column(m.Column)
		at := slices.IndexFunc(sheets, func(o optionSheet) bool { return o.table == m.Table && o.column == m.Column })
		switch {
		case at >= 0 && sheets[at].workbook && sheets[at].path != book:
			plan.Notes = append(plan.Notes, fmt.Sprintf("%s is your own workbook, which is read and never written: add the open texts there", sheets[at].file))
		case workbook || at >= 0 && sheets[at].workbook:
			if into(m, c); at >= 0 && !sheets[at].workbook {
				replaced = append(replaced, sheets[at].path)
			}
		default:
			path := filepath.Join(p.Config.Dir, mapsFolder, m.Table+"."+m.Column+".csv")
			if at >= 0 {
				path = sheets[at].path
			}
			if err := writeCSV(path, m.table(c)); err != nil {
				return err
			}
			m.File, m.Written = p.shownPath(path), true
		}
	}
	if len(pages) == 0 {
		return nil
	}
	pages = append(pages, p.keptPages(sheets, book, pages)...)
	if err := writeWorkbook(book, pages); err != nil {
		return err
	}
	for _, path := range replaced { // what it had is in the workbook
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// keptPages are the workbook's sheets that were not planned now, as they are.
func (p *Project) keptPages(sheets []optionSheet, book string, planned []page) []page {
	var out []page
	for _, o := range sheets {
		name := sheetName(o.name())
		if o.path != book || slices.ContainsFunc(planned, func(g page) bool { return g.name == name }) {
			continue
		}
		g := page{name: name, number: numberColumns, labels: p.Schema.Table(o.table).Column(o.column).Options}
		head := slices.Clone(sheetColumns)
		for _, r := range o.rows {
			for _, k := range slices.Sorted(maps.Keys(r.Cells)) {
				if k != "" && !slices.Contains(head, k) {
					head = append(head, k)
				}
			}
		}
		g.rows = append(g.rows, head)
		for _, r := range o.rows {
			line := make([]string, len(head))
			for i, k := range head {
				line[i] = r.Cells[k]
			}
			g.rows = append(g.rows, line)
		}
		out = append(out, g)
	}
	return out
}

// writeCSV writes a sheet that spreadsheet programs take for UTF-8.
func writeCSV(path string, rows [][]string) error {
	var b strings.Builder
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	err := w.WriteAll(rows)
	return errors.Join(err, writeFile(path, []byte(b.String())))
}

// Unmapped is a choice with texts that had no value when the stage was last made.
type Unmapped struct {
	Table  string       `json:"table"`
	Column string       `json:"column"`
	File   string       `json:"file"`
	Texts  int64        `json:"texts"`
	Rows   int64        `json:"rows"`
	Such   []OptionText `json:"such"` // the most frequent, at most five
}

// unmapped lists the texts that had no value in the last staging.
func (p *Project) unmapped(ctx context.Context) ([]Unmapped, error) {
	var there int64
	if err := p.stage.Row(ctx, []any{&there}, "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'dm' AND table_name = 'unmapped'"); err != nil || there == 0 {
		return nil, err
	}
	var out []Unmapped
	err := p.stage.Rows(ctx, fmt.Sprintf(`SELECT "table", "column", file, text, rows, count(*) OVER w, sum(rows) OVER w::BIGINT FROM dm.unmapped
		WINDOW w AS (PARTITION BY "table", "column") QUALIFY row_number() OVER (PARTITION BY "table", "column" ORDER BY rows DESC, text) <= %d ORDER BY "table", "column", rows DESC, text`, suchTexts),
		nil, func(scan func(...any) error) error {
			var u Unmapped
			var text OptionText
			if err := scan(&u.Table, &u.Column, &u.File, &text.Text, &text.Rows, &u.Texts, &u.Rows); err != nil {
				return err
			}
			if n := len(out); n == 0 || out[n-1].Table != u.Table || out[n-1].Column != u.Column {
				out = append(out, u)
			}
			last := &out[len(out)-1]
			last.Such = append(last.Such, text)
			return nil
		})
	return out, err
}

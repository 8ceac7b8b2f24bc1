package appliance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/transform"
)

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
	known, at := map[string]bool{}, map[string]int{} // lines by text
	if sheet != nil {
		values, faults := sheet.values(c)
		if len(faults) > 0 {
			return nil, "", faults
		}
		for text := range values {
			known[text] = true
		}
		m.read(sheet, at)
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
	m.count(c, known)
	return m, "", nil
}

// read takes the lines of the map as it is, and notes where each text is.
func (m *OptionMap) read(sheet *optionSheet, at map[string]int) {
	m.File = sheet.file
	for _, r := range sheet.rows {
		text := unharmed(r.Cells[sourceText])
		if text == "" && unharmed(r.Cells[sourceValue]) == "" {
			m.remark(r) // an option that nothing goes to
			continue
		}
		for _, key := range []string{text, unharmed(r.Cells[sourceValue])} {
			if key != "" {
				at[strings.ToLower(key)] = len(m.lines)
			}
		}
		m.lines = append(m.lines, OptionText{Text: text, Value: r.Cells[targetValue], Label: r.Cells[targetText], cells: r.Cells})
		m.extra = added(m.extra, sheetColumns, r.Cells)
	}
	slices.Sort(m.extra)
}

// remark keeps what a person has written beside no text.
func (m *OptionMap) remark(r ingest.PaperRow) {
	own := r.Cells["comment"] != "" && r.Cells["comment"] != unusedOption
	for name, text := range r.Cells {
		own = own || text != "" && name != "" && !slices.Contains(sheetColumns, name)
	}
	if !own {
		return
	}
	m.extra = added(m.extra, sheetColumns, r.Cells)
	m.remarks = append(m.remarks, r.Cells)
}

// count tells the texts that have a value, as known says or by a proposal, from those that have none.
func (m *OptionMap) count(c *schema.Column, known map[string]bool) {
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

package appliance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
)

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
		w.add(value, col.LogicalName, remarks(sure, "all are options"))
		return nil
	}
	likely := 0
	for _, v := range texts {
		if o, _ := mapping.GuessOption(col, v.Value); o != nil {
			likely++
		}
	}
	if likely == 0 && sure != "" {
		w.leave(c, "hardly "+col.LogicalName+": no text of it is like an option")
		return nil
	}
	if len(texts) > manyChoices && likely*10 < len(texts) {
		w.leave(c, fmt.Sprintf("hardly %s, which has %d options: it has %d values or more", col.LogicalName, len(col.Options), len(texts)))
		return nil
	}
	m, err := w.sheet(col, texts)
	if err != nil {
		return err
	}
	remark := remarks(sure, "by "+m.File)
	if m.Open > 0 {
		remark += fmt.Sprintf("; texts in it without a value: %d ???", m.Open)
	}
	w.add(value, col.LogicalName, remark)
	return nil
}

// sheet writes a choice's map, proposed by the likeness of the labels, with the texts of all
// the table's sources so far; not beside a transform that is kept, which a map would change.
func (w *draftSQL) sheet(col *schema.Column, texts []duckstage.ValueCount) (*OptionMap, error) {
	p := w.d.p
	path := filepath.Join(p.Config.Dir, mapsFolder, w.t.LogicalName+"."+col.LogicalName+".csv")
	before, ours := w.d.texts[path]
	for _, v := range before {
		if i := slices.IndexFunc(texts, func(t duckstage.ValueCount) bool { return t.Value == v.Value }); i >= 0 {
			texts[i].Rows += v.Rows
		} else {
			texts = append(texts, v)
		}
	}
	m, _, err := planMap(w.t.LogicalName, col, nil, texts, nil)
	if err != nil {
		return nil, err
	}
	m.File = p.shownPath(path)
	if w.kept || exists(path) && !ours {
		return m, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if !ours {
		w.d.out.Maps = append(w.d.out.Maps, m.File)
	}
	w.d.texts[path] = texts
	return m, writeCSV(path, m.table(col))
}

// Words of columns that say whether a row is still in use, and those that say that it no longer is.
var (
	inUse = regexp.MustCompile(`(?i)^(is_?)?(active|activeflag|currentflag|enabled|aktiv|actif|activo)$`)
	ended = regexp.MustCompile(`(?i)^(is_?)?(inactive|discontinued|disabled|obsolete|retired|deactivated|inaktiv|geloescht|gelöscht)$`)
)

// flag writes statecode and statuscode from a column that says with two values whether a row
// is in use.
func (w *draftSQL) flag(c SourceColumn, value string) bool {
	active, over := inUse.MatchString(c.Name), ended.MatchString(c.Name)
	state, status := w.t.Column("statecode"), w.t.Column("statuscode")
	if !active && !over || len(c.Top) != 2 || state == nil || status == nil || w.given("statecode") {
		return false
	}
	off := yesOf(c)
	if off == "" {
		return false
	}
	if active {
		off = c.Top[slices.IndexFunc(c.Top, func(v duckstage.ValueCount) bool { return v.Value != off })].Value
	}
	if c.SQLType == "VARCHAR" {
		off = duckstage.Quote(off)
	}
	for _, to := range []struct {
		column       *schema.Column
		ended, inUse int32
	}{{state, 1, 0}, {status, defaultStatus(state, status, 1, 2), defaultStatus(state, status, 0, 1)}} {
		w.add(fmt.Sprintf("CASE %s WHEN %s THEN %d ELSE %d END", value, off, to.ended, to.inUse), to.column.LogicalName, "set last")
	}
	w.lines[len(w.lines)-1].remark = "in use, or no longer ???"
	w.questions++
	w.matched--
	return true
}

// defaultStatus is the status reason that goes with a state: the schema's, or the usual one.
func defaultStatus(state, status *schema.Column, of, usual int32) int32 {
	if o := state.Option(of); o != nil && o.DefaultStatus != nil {
		return *o.DefaultStatus
	}
	for _, o := range status.Options {
		if o.State != nil && *o.State == of {
			return o.Value
		}
	}
	return usual
}

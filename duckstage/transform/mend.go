package transform

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// mends are the repairs of a table's plain columns, as SQL. They come between the cast
// and the judgement: a level of its own, which only a table with repairs has.
type mends struct {
	order   []string          // columns, as they are first mended
	values  map[string]string // the WHENs of the column's value
	notes   map[string]string // the WHENs of its note
	repairs []Repair          // those of the table that are not in yet
}

func (j *job) mends() *mends {
	return &mends{values: map[string]string{}, notes: map[string]string{}, repairs: j.Repairs}
}

func (m *mends) add(column, bad, value, note string) {
	if !slices.Contains(m.order, column) {
		m.order = append(m.order, column)
	}
	m.values[column] += " WHEN " + bad + " THEN " + value
	m.notes[column] += " WHEN " + bad + " THEN " + note
}

// cast adds what happens to values that are not of their column's type. Where the row is
// held for one, its other repairs must not hide that.
func (m *mends) cast(j *job, col Column, from string) {
	named := func(r Repair) bool { return strings.EqualFold(r.Column, col.Name) }
	switch {
	case col.Default != "":
		note := duckstage.Quote(FaultType+" "+col.Name+": ") + " || " + notOfType(col, from) + " || " + duckstage.Quote(": "+setTo(col.Default))
		m.add(col.Name, j.castBad(col, from), "("+col.Default+"\n)", note)
	case slices.ContainsFunc(m.repairs, named):
		m.add(col.Name, j.castBad(col, from), duckstage.Ident(col.Name), "NULL")
	}
}

// text adds what happens to texts that have no value. Where the row is held for one, its
// other repairs must not hide that.
func (m *mends) text(j *job, i int) {
	col, bad := j.Columns[i], textName(i)+" IS NOT NULL"
	switch missing := col.Texts.Missing; {
	case missing != "":
		m.add(col.Name, bad, "("+missing+"\n)", duckstage.Quote(faultText+" "+col.Name+": ")+" || "+j.noValue(i)+" || "+duckstage.Quote(": "+setTo(missing)))
	case slices.ContainsFunc(m.repairs, func(r Repair) bool { return strings.EqualFold(r.Column, col.Name) }):
		m.add(col.Name, bad, duckstage.Ident(col.Name), "NULL")
	}
}

// setTo says which value was put in, an SQL expression: of CAST('15' AS INTEGER) the 15.
func setTo(value string) string {
	if value == "NULL" {
		return "left empty"
	}
	if text, ok := strings.CutPrefix(value, "CAST('"); ok {
		if at := strings.LastIndex(text, "' AS "); at >= 0 && strings.IndexByte(text[at:], ')') == len(text[at:])-1 {
			value = strings.ReplaceAll(text[:at], "''", "'")
		}
	}
	return "set to " + value
}

// over puts the repairs over a SELECT of the cast values. The faults of the cast are judged
// there too, on the values before they are mended; the result has them as dm_fault.
func (m *mends) over(cast string, faults []string) string {
	for _, r := range m.repairs {
		m.add(r.Column, "("+r.Bad+"\n)", "("+r.Value+"\n)", duckstage.Quote(r.Column+": ")+" || ("+r.Note+"\n)")
	}
	m.repairs = nil
	var values, notes []string
	for _, name := range m.order {
		values = append(values, "CASE"+m.values[name]+" ELSE "+duckstage.Ident(name)+" END AS "+duckstage.Ident(name))
		notes = append(notes, "CASE"+m.notes[name]+" END")
	}
	return "SELECT * REPLACE (" + strings.Join(values, ", ") + "), " + joinNotes(notes) + " AS dm_repairs, " + caseOf(faults) + " AS dm_fault FROM (" + cast + ")"
}

// joinNotes is the SQL of several notes in one text; null when there is none.
func joinNotes(notes []string) string {
	return "nullif(concat_ws('; ', " + strings.Join(notes, ", ") + "), '')"
}

// mendsColumns reports whether plain columns of the table may be mended.
func (j *job) mendsColumns() bool {
	return len(j.Repairs) > 0 || slices.ContainsFunc(j.Columns, func(c Column) bool {
		return c.Texts != nil && c.Texts.Missing != "" || c.Texts == nil && c.Default != "" && j.isCast(c)
	})
}

// isCast reports whether a column's values are cast, so that some may be of a wrong type.
func (j *job) isCast(c Column) bool {
	return !strings.EqualFold(c.SQLType, "VARCHAR") && !strings.EqualFold(j.types[strings.ToLower(c.Name)], c.SQLType)
}

// mendsAny reports whether the table's rows may have repairs.
func (j *job) mendsAny() bool {
	return j.mendsColumns() || slices.ContainsFunc(j.Lookups, func(l Lookup) bool { return l.NoTarget != nil || l.Empty != nil })
}

// countRepaired counts the rows of which something was mended.
func (s *staging) countRepaired(ctx context.Context, j *job) error {
	if !j.mendsAny() {
		return nil
	}
	from := j.data
	if j.source != "" {
		from = "(" + j.lightSQL + ")"
	}
	if err := s.c.Row(ctx, []any{&j.result.Repaired}, "SELECT count(dm_repairs) FROM "+from); err != nil {
		return fmt.Errorf("count repaired rows: %w", err)
	}
	return nil
}

// mend lets a lookup that leads nowhere, or is empty, point to the row that stands in.
// key and guid are what the row says; q is the lookup without repair, with its id and
// fault as SQL.
func (r *resolver) mend(l Lookup, key, guid, id, fault, table string) (newID, newFault, newTable, note string) {
	newID, newFault, newTable = id, fault, table
	var ids, tables, notes string
	if l.NoTarget != nil {
		stand, called := r.stand(*l.NoTarget)
		when := "(" + fault + ") IS NOT NULL"
		if newFault = "NULL::VARCHAR"; stand != "" {
			missing := ""
			if l.NoTarget.Key != "" {
				missing = " || " + duckstage.Quote("; nor is there "+l.NoTarget.Table+" '"+l.NoTarget.Key+"', which its repair names")
			}
			newFault = "CASE WHEN " + stand + " IS NULL THEN (" + fault + ")" + missing + " END"
			ids += " WHEN " + when + " THEN " + stand
			when += " AND " + stand + " IS NOT NULL"
		} else {
			ids += " WHEN " + when + " THEN NULL"
		}
		tables += " WHEN " + when + " THEN " + duckstage.Quote(l.NoTarget.Table)
		notes += " WHEN " + when + " THEN (" + fault + ") || " + duckstage.Quote(": "+called)
	}
	if l.Empty != nil {
		stand, called := r.stand(*l.Empty)
		when := "(" + key + " IS NULL AND " + guid + " IS NULL AND " + stand + " IS NOT NULL)"
		ids += " WHEN " + when + " THEN " + stand
		tables += " WHEN " + when + " THEN " + duckstage.Quote(l.Empty.Table)
		notes += " WHEN " + when + " THEN " + duckstage.Quote(l.Column+": was empty: "+called)
	}
	return "CASE" + ids + " ELSE " + id + " END", newFault, "CASE" + tables + " ELSE " + table + " END", "CASE" + notes + " END"
}

// stand is the record id of a row that stands in, as SQL, and what is said of it; "" when
// nothing does.
func (r *resolver) stand(s Stand) (id, called string) {
	switch {
	case s.ID != "":
		return "CAST(" + duckstage.Quote(s.ID) + " AS UUID)", "set to " + s.Table + " " + s.ID
	case s.Key != "":
		return "(SELECT dm_id FROM (" + r.keysOf(s.Table) + ") WHERE legacy_key = " + duckstage.Quote(s.Key) + ")", "set to " + s.Table + " '" + s.Key + "'"
	}
	return "", "left empty"
}

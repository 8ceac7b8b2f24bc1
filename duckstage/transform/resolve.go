package transform

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// resolver is what the second pass needs to know of all tables.
type resolver struct {
	set  [16]byte
	jobs []*job
}

// rowsOf selects every row of a staged table with its plain columns and dm_id.
func (r *resolver) rowsOf(table string) string { return r.selectOf(table, "*") }

// keysOf selects legacy_key and dm_id of every row of a staged table.
func (r *resolver) keysOf(table string) string { return r.selectOf(table, "legacy_key") }

func (r *resolver) selectOf(table, columns string) string {
	at := slices.IndexFunc(r.jobs, func(j *job) bool { return j.Name == table })
	if at < 0 { // staged before, and not now
		return "SELECT " + columns + except(columns, "dm_id") + ", dm_id FROM main." + duckstage.Ident(table)
	}
	j := r.jobs[at]
	switch {
	case j.source != "":
		return "SELECT " + columns + ", " + r.recordID(j, lightRowID) + " AS dm_id FROM (" + j.lightSQL + ")"
	case j.KeepID != "":
		return "SELECT " + columns + except(columns, "dm_id") + ", dm_id FROM " + j.raw
	case j.later:
		return "SELECT " + columns + ", " + r.recordID(j, "dm_seq") + " AS dm_id FROM " + j.raw
	}
	return "SELECT " + columns + ", " + r.recordID(j, "rowid") + " AS dm_id FROM " + j.raw
}

// except leaves a column out of a star.
func except(columns, column string) string {
	if columns != "*" {
		return ""
	}
	return " EXCLUDE (" + column + ")"
}

func (r *resolver) recordID(j *job, seq string) string {
	return duckstage.RecordIDSQL(r.set, j.number, "CAST("+seq+" AS UINTEGER)")
}

// resolved is the second pass: row numbers, lookups, checks and what has changed. The
// inner level joins, the outer one judges.
func (r *resolver) resolved(j *job, before []duckstage.ColumnInfo, sorted bool) string {
	inner := []string{"t.legacy_key", "t.dm_created_at"}
	from := " FROM " + j.raw + " t"
	if j.later {
		inner = append(inner, "t.dm_seq", "p.dm_before")
		from += " LEFT JOIN (SELECT dm_seq, " + j.formerHash(before) + " AS dm_before FROM main." + duckstage.Ident(j.Name) + ") p ON p.dm_seq = t.dm_seq"
	} else {
		inner = append(inner, "t.rowid AS dm_seq")
	}
	outer := []string{"dm_seq", "legacy_key", "dm_created_at"}
	for _, col := range j.compared()[:len(j.compared())-j.lookupColumns()] {
		inner = append(inner, "t."+duckstage.Ident(col.Name))
		outer = append(outer, duckstage.Ident(col.Name))
	}
	faults := []string{"WHEN dm_first IS NOT NULL THEN dm_first"}
	inner = append(inner, "t.dm_hold AS dm_first")
	var notes []string
	if j.mendsColumns() {
		inner, notes = append(inner, "t.dm_repairs AS dm_first_repairs"), append(notes, "dm_first_repairs")
	}
	parts := make([]lookupSQL, 0, len(j.Lookups)+len(j.Lists))
	for i, l := range j.Lookups {
		parts = append(parts, r.lookup(j, i, l))
	}
	for i := range j.Lists {
		parts = append(parts, r.list(j, i))
	}
	for _, part := range parts {
		notes = append(notes, part.notes...)
		inner, outer = append(inner, part.columns...), append(outer, part.names...)
		from += part.joins
		faults = append(faults, part.faults...)
	}
	if !j.joined() {
		inner = append(inner, "t.dm_owed")
		outer = append(outer, "dm_first AS dm_hold", "dm_owed")
	} else {
		outer = append(outer, caseOf(append(faults, j.checkFaults()...))+" AS dm_hold", j.owed()+" AS dm_owed")
	}
	if len(notes) > 0 {
		outer = append(outer, joinNotes(notes)+" AS dm_repairs")
	}
	outer = append(outer, j.change())
	q := "SELECT " + strings.Join(outer, ", ") + " FROM (SELECT " + strings.Join(inner, ", ") + from + ")"
	if sorted {
		q += " ORDER BY dm_seq"
	}
	return q
}

// compared are the columns whose change makes a row a changed one, in the relation's
// order: the kept id, the plain columns, the lookups, the lists.
func (j *job) compared() []Column {
	var cols []Column
	if j.KeepID != "" {
		cols = append(cols, Column{Name: "dm_id", SQLType: "UUID"})
	}
	cols = append(cols, j.Columns...)
	for _, l := range j.Lookups {
		cols = append(cols, Column{Name: l.Column, SQLType: "UUID"})
		if len(l.Targets) > 1 {
			cols = append(cols, Column{Name: l.Column + "__table", SQLType: "VARCHAR"})
		}
	}
	for _, l := range j.Lists {
		cols = append(cols, Column{Name: l.Column, SQLType: "VARCHAR"})
	}
	return cols
}

// lookupColumns is how many of the compared columns belong to lookups and lists.
func (j *job) lookupColumns() int {
	n := len(j.Lookups) + len(j.Lists)
	for _, l := range j.Lookups {
		if len(l.Targets) > 1 {
			n++
		}
	}
	return n
}

// formerHash is the hash of a row of the staging before. A column it did not have counts as
// null, so that a new column changes only rows that have a value in it. Hashes are compared
// within one run and never stored: DuckDB's change between versions.
func (j *job) formerHash(before []duckstage.ColumnInfo) string {
	values := []string{"0"}
	for _, col := range j.compared() {
		value := "NULL::" + col.SQLType
		if slices.ContainsFunc(before, func(b duckstage.ColumnInfo) bool { return strings.EqualFold(b.Name, col.Name) }) {
			value = duckstage.TryCast(duckstage.Ident(col.Name), col.SQLType)
		}
		values = append(values, value)
	}
	return "hash(" + strings.Join(values, ", ") + ")"
}

// hash is the hash of a row of this staging.
func (j *job) hash() string {
	values := []string{"0"}
	for _, col := range j.compared() {
		values = append(values, duckstage.Ident(col.Name))
	}
	return "hash(" + strings.Join(values, ", ") + ")"
}

func (j *job) change() string {
	if !j.later {
		return "'I' AS dm_change"
	}
	return "CASE WHEN dm_before IS NULL THEN 'I' WHEN dm_before <> " + j.hash() + " THEN 'U' ELSE 'N' END AS dm_change"
}

// lookupSQL is a lookup's or a list's share of the second pass.
type lookupSQL struct {
	columns, names []string // of the inner level, and what the outer one takes of them
	joins          string
	faults         []string
	notes          []string // names of the inner level's columns that say what was mended
}

// lookup resolves one lookup: its GUID where the SELECT gives one, else the record id of
// the row that has the key in the table it names.
func (r *resolver) lookup(j *job, i int, l Lookup) lookupSQL {
	parts := partsOf(i)
	reference := isReference(j.types[strings.ToLower(l.Column)])
	key, guid, table := "t."+parts.key, "t."+parts.guid, "t."+parts.table
	if !reference && l.Targets[0].Staged {
		guid = "NULL::VARCHAR"
	} else if !reference {
		key = "NULL::VARCHAR"
	}
	if !reference {
		table = duckstage.Quote(l.Targets[0].Table)
	}
	name := duckstage.Ident(l.Column)
	q := lookupSQL{names: []string{name}}
	id := "TRY_CAST(" + guid + " AS UUID)"
	finds, said := j.finds[l.Column], table
	found := j.found(l, finds, fmt.Sprintf("f_%d_", i), "t."+parts.by, key, table)
	q.joins += found.joins
	if len(finds) > 0 {
		key, table = "CASE WHEN t."+parts.by+" IS NULL THEN "+key+" END", found.tableOr(table)
	}
	for n, t := range l.Targets {
		if !t.Staged {
			continue
		}
		alias := fmt.Sprintf("k_%d_%d", i, n)
		// Given a GUID, the key is not asked for.
		when := key
		if reference {
			when = "CASE WHEN " + said + " = " + duckstage.Quote(t.Table) + " AND " + guid + " IS NULL THEN " + key + " END"
		}
		q.joins += " LEFT JOIN (" + r.keysOf(t.Table) + ") " + alias + " ON " + alias + ".legacy_key = " + when
		id += ", " + alias + ".dm_id"
	}
	id = "coalesce(" + id + found.ids + ", NULL::UUID)"
	fault := lookupFault(l, key, guid, said, id, reference)
	if len(finds) > 0 {
		fault = found.faultOr(fault)
		key = "t." + parts.key // of either kind: it is not empty
	}
	if l.NoTarget != nil || l.Empty != nil {
		var note string
		id, fault, table, note = r.mend(l, key, guid, id, fault, table)
		noteName := fmt.Sprintf("dm_note_%d", i)
		q.columns, q.notes = append(q.columns, note+" AS "+noteName), append(q.notes, noteName)
	}
	faultName := fmt.Sprintf("dm_fault_%d", i)
	q.columns = append(q.columns, id+" AS "+name, fault+" AS "+faultName)
	q.faults = []string{"WHEN " + faultName + " IS NOT NULL THEN " + faultName}
	if len(l.Targets) > 1 {
		of := duckstage.Ident(l.Column + "__table")
		q.columns = append(q.columns, "CASE WHEN "+id+" IS NOT NULL THEN "+table+" END AS "+of)
		q.names = append(q.names, of)
	}
	return q
}

// lookupFault says why a lookup leads nowhere; null when it leads somewhere or is empty.
func lookupFault(l Lookup, key, guid, table, id string, reference bool) string {
	name := duckstage.Quote(FaultLookup + " " + l.Column + ": ")
	var all, staged []string
	for _, t := range l.Targets {
		all = append(all, t.Table)
		if t.Staged {
			staged = append(staged, duckstage.Quote(t.Table))
		}
	}
	var faults []string
	if reference {
		quoted := make([]string, len(all))
		for i, t := range all {
			quoted[i] = duckstage.Quote(t)
		}
		faults = append(faults, "WHEN ("+key+" IS NOT NULL OR "+guid+" IS NOT NULL) AND coalesce("+table+" NOT IN ("+strings.Join(quoted, ", ")+"), true) THEN "+
			name+" || 'it cannot point to table ' || coalesce("+shown(table)+", 'null') || "+duckstage.Quote(", only to "+strings.Join(all, ", ")))
	}
	faults = append(faults, "WHEN "+guid+" IS NOT NULL AND TRY_CAST("+guid+" AS UUID) IS NULL THEN "+name+" || "+shown(guid)+" || ' is not a GUID'")
	if reference && len(staged) < len(all) {
		known := "false"
		if len(staged) > 0 {
			known = table + " IN (" + strings.Join(staged, ", ") + ")"
		}
		faults = append(faults, "WHEN "+guid+" IS NULL AND "+key+" IS NOT NULL AND NOT ("+known+") THEN "+
			name+" || 'table ' || "+table+" || ' is not staged, so that its rows are named with existing() and a GUID'")
	}
	faults = append(faults, "WHEN "+key+" IS NOT NULL AND "+id+" IS NULL THEN "+duckstage.Quote(FaultOrphan+" "+l.Column+": ")+" || 'no ' || "+table+" || ' with legacy key ' || "+shown(key))
	return caseOf(faults)
}

// joinedInOrder is how many rows a join leaves in their order: those of one row group, which
// one thread reads. Of more, threads write what they have as they come to it.
const joinedInOrder = 122_880

// resolve runs the second pass. Many rows are sorted as they are written, which is cheaper
// than to find them out of order and write them twice.
func (r *resolver) resolve(ctx context.Context, c *duckstage.Conn, j *job, before []duckstage.ColumnInfo, report func(float64)) error {
	if _, err := c.ExecProgress(ctx, report, "CREATE TABLE "+j.data+" AS "+r.resolved(j, before, j.result.Rows > joinedInOrder || j.later && !j.ascending)); err != nil {
		return fmt.Errorf("resolve lookups: %w", err)
	}
	if sorted, err := inOrder(ctx, c, j.data, "dm_seq", "rowid"); err != nil || sorted {
		return err
	}
	return j.sortRows(ctx, c)
}

// view is the relation over the data table. Record ids are computed, not stored.
func (r *resolver) view(j *job) string {
	seq, id, hold, change, from := "dm_seq", "dm_id", "dm_hold", "dm_change", j.data
	switch {
	case j.source != "":
		seq, hold, change, from = "t."+lightRowID, "NULL::VARCHAR", "'I'", "("+j.lightSQL+") t"
		if j.result.Held > 0 {
			hold, from = "h.dm_hold", from+" LEFT JOIN "+j.data+" h ON h.dm_seq = "+seq
		}
	case j.raw == j.data && !j.later:
		seq = "rowid"
	}
	if j.KeepID == "" {
		id = r.recordID(j, seq)
	}
	repairs := "NULL::VARCHAR"
	if j.mendsAny() {
		repairs = "dm_repairs"
	}
	cols := []string{seq + " AS dm_seq", id + " AS dm_id", "legacy_key", "dm_created_at", "dm_owed", hold + " AS dm_hold", change + " AS dm_change", repairs + " AS dm_repairs"}
	for _, col := range j.compared() {
		if col.Name != "dm_id" {
			cols = append(cols, duckstage.Ident(col.Name))
		}
	}
	return "CREATE OR REPLACE VIEW main." + duckstage.Ident(j.Name) + " AS SELECT " + strings.Join(cols, ", ") + " FROM " + from
}

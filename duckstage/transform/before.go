package transform

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// beforeSuffix names the relation that says of the rows which wait for an update what the
// target is known to hold of them: <table>_before. Its columns are dm_seq; dm_written, when
// the record was last written; dm_changed, the names of the columns in which the row differs
// from that, with commas between, or null when all of them may; and the relation's own, null
// where dm_changed is.
const beforeSuffix = "_before"

// Known are SELECTs that say what the target holds of a table's rows, beside the former
// staging. The zero value: nobody knows, and nothing is kept.
type Known struct {
	// Written has the rows of which the target holds the former staging's values: dm_seq,
	// dm_written, and dm_whole, which says that not all of them are certain to be there.
	Written string
	// Waiting has dm_seq of the rows that wait for an update of which nothing was ever sent.
	Waiting string
	// Passing has the rows whose update is to go on in a later pass: dm_seq, and dm_pass, which is that.
	Passing string
	// Later are the columns that the passes after the first one send, each with its pass: lookups, files, state.
	Later map[string]string
}

func beforeName(number uint16, generation int64) string {
	return fmt.Sprintf("before_%d_%d", number, generation)
}

// keepBefore keeps what the target holds of the rows that will be sent as updates: of those
// that have changed now, and of those that changed earlier and were not sent yet, or not whole.
func (s *staging) keepBefore(ctx context.Context, j *job, former []duckstage.ColumnInfo) error {
	if !j.later || j.Known.Written == "" {
		return nil
	}
	var columns, names, nothing, differs []string
	has := func(cols []duckstage.ColumnInfo, name string) bool {
		return slices.ContainsFunc(cols, func(c duckstage.ColumnInfo) bool { return strings.EqualFold(c.Name, name) })
	}
	value := func(cols []duckstage.ColumnInfo, of string, col Column) string {
		if !has(cols, col.Name) {
			return "NULL::" + col.SQLType
		}
		return duckstage.TryCast(of+"."+duckstage.Ident(col.Name), col.SQLType)
	}
	old, err := s.formerBefore(ctx, j)
	if err != nil {
		return err
	}
	var carried, begun []string
	for _, col := range j.compared() {
		if col.Name == "dm_id" {
			continue
		}
		name := duckstage.Ident(col.Name)
		names = append(names, name)
		columns = append(columns, value(former, "p", col)+" AS "+name)
		carried = append(carried, value(old, "o", col)+" AS "+name)
		begun = append(begun, j.begun(col.Name, value(former, "p", col), value(old, "o", col))+" AS "+name)
		nothing = append(nothing, "NULL::"+col.SQLType+" AS "+name)
		was, is := "b."+name, "n."+name
		if strings.EqualFold(col.SQLType, "VARCHAR") { // an empty text is null to the target
			was, is = "nullif("+was+", '')", "nullif("+is+", '')"
		}
		differs = append(differs, "CASE WHEN "+was+" IS DISTINCT FROM "+is+" THEN "+duckstage.Quote(strings.TrimSuffix(col.Name, "__table"))+" END")
	}
	// The few rows are found first, so that of the many only what is needed is read.
	sent, passing := j.seqs+"_sent", j.seqs+"_passing"
	view := "main." + duckstage.Ident(j.Name+beforeSuffix) + " o"
	tables := []string{"CREATE TABLE " + passing + " (dm_seq UINTEGER, dm_pass VARCHAR)"}
	if old != nil {
		tables[0] = "CREATE TABLE " + passing + " AS SELECT o.dm_seq, w.dm_pass FROM " + view + " JOIN (" + j.Known.Passing + ") w ON w.dm_seq = o.dm_seq WHERE o.dm_changed IS NOT NULL"
	}
	for _, q := range append(tables, "CREATE TABLE "+sent+" AS SELECT n.dm_seq, k.dm_written, k.dm_whole FROM (SELECT dm_seq FROM "+j.data+" WHERE dm_change = 'U') n JOIN ("+
		j.Known.Written+") k ON k.dm_seq = n.dm_seq ANTI JOIN "+passing+" w ON w.dm_seq = n.dm_seq") {
		if _, err := s.c.Exec(ctx, q); err != nil {
			return fmt.Errorf("find what the target holds: %w", err)
		}
	}
	compare := func(from, rows string) string {
		return fmt.Sprintf("SELECT b.dm_seq, b.dm_written, CASE WHEN NOT b.dm_whole THEN concat_ws(',', %s) END AS dm_changed, b.%s FROM (%s) b JOIN %s n ON n.dm_seq = b.dm_seq",
			strings.Join(differs, ", "), strings.Join(names, ", b."), from, rows)
	}
	parts := []string{compare("SELECT k.dm_seq, k.dm_written, k.dm_whole, "+strings.Join(columns, ", ")+" FROM "+sent+" k JOIN main."+duckstage.Ident(j.Name)+" p ON p.dm_seq = k.dm_seq",
		"(SELECT * FROM "+j.data+" WHERE dm_change = 'U')")}
	if old != nil {
		parts = append(parts, compare(
			"SELECT o.dm_seq, o.dm_written, o.dm_changed IS NULL AS dm_whole, "+strings.Join(carried, ", ")+" FROM "+view+" SEMI JOIN ("+j.Known.Waiting+") w ON w.dm_seq = o.dm_seq UNION ALL "+
				"SELECT o.dm_seq, o.dm_written, false, "+strings.Join(begun, ", ")+" FROM "+passing+" w JOIN "+view+" ON w.dm_seq = o.dm_seq JOIN main."+duckstage.Ident(j.Name)+" p ON p.dm_seq = o.dm_seq UNION ALL "+
				"SELECT o.dm_seq, o.dm_written, true, "+strings.Join(nothing, ", ")+" FROM "+view+" ANTI JOIN ("+j.Known.Waiting+") w ON w.dm_seq = o.dm_seq ANTI JOIN ("+j.Known.Written+") k ON k.dm_seq = o.dm_seq ANTI JOIN "+passing+" b ON b.dm_seq = o.dm_seq",
			j.data))
	}
	query := "CREATE TABLE dm." + beforeName(j.number, s.generation) + " AS SELECT * FROM (" + strings.Join(parts, " UNION ALL ") + ") ORDER BY dm_seq"
	for _, q := range []string{query, "DROP TABLE " + sent, "DROP TABLE " + passing} {
		if _, err := s.c.Exec(ctx, q); err != nil {
			return fmt.Errorf("keep what the target holds: %w", err)
		}
	}
	j.before = true
	return nil
}

// begun is what the target has in a column of a row whose update has begun and goes on in pass w.dm_pass: what the
// passes until then have sent, which the former staging has, and else what it had before. A lookup that a pass of its own
// sets is emptied by the first one.
func (j *job) begun(column, sent, before string) string {
	switch j.Known.Later[strings.TrimSuffix(column, "__table")] {
	case "lookups":
		return "CASE WHEN w.dm_pass <> 'lookups' OR " + sent + " IS NULL THEN " + sent + " ELSE " + before + " END"
	case "files":
		return "CASE WHEN w.dm_pass = 'state' THEN " + sent + " ELSE " + before + " END"
	case "state":
		return before
	}
	return sent
}

// formerBefore are the columns of the relation that the staging before has left; nil when
// there is none.
func (s *staging) formerBefore(ctx context.Context, j *job) ([]duckstage.ColumnInfo, error) {
	var n int64
	err := s.c.Row(ctx, []any{&n}, "SELECT count(*) FROM duckdb_views() WHERE database_name = current_database() AND schema_name = 'main' AND view_name = ?", j.Name+beforeSuffix)
	if err != nil || n == 0 {
		return nil, err
	}
	return s.c.Describe(ctx, "SELECT * FROM main."+duckstage.Ident(j.Name+beforeSuffix))
}

// swapBefore makes the new relation visible and drops the former one.
func (s *staging) swapBefore(ctx context.Context, j *job) error {
	view := "main." + duckstage.Ident(j.Name+beforeSuffix)
	queries := []string{"DROP VIEW IF EXISTS " + view}
	keep := beforeName(j.number, s.generation)
	if j.before {
		queries = []string{"CREATE OR REPLACE VIEW " + view + " AS SELECT * FROM dm." + keep}
	}
	var drop []string
	err := s.c.Rows(ctx, "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'dm' AND starts_with(table_name, ?)",
		[]any{fmt.Sprintf("before_%d_", j.number)}, func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			if name != keep || !j.before {
				drop = append(drop, "DROP TABLE dm."+duckstage.Ident(name))
			}
			return err
		})
	if err != nil {
		return err
	}
	for _, q := range append(queries, drop...) {
		if _, err := s.c.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

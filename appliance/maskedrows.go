package appliance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/mask"
)

// fewValues is how many different values a column has whose values say nothing about a row:
// they are compared row by row only.
const fewValues = 20

// attached is what the originals are called in the stage's SQL.
const attached = "dm_check"

// compare holds every column of the stage against the originals.
func (s *maskSearch) compare(ctx context.Context) (err error) {
	if _, err := s.p.stage.Exec(ctx, "ATTACH "+duckstage.Quote(s.originalsFile())+" AS "+attached+" (READ_ONLY)"); err != nil {
		return err
	}
	defer func() {
		_, detachErr := s.p.stage.Exec(context.WithoutCancel(ctx), "DETACH "+attached)
		s.removeOriginals()
		err = errors.Join(err, detachErr)
	}()
	for i, r := range s.relations {
		s.watch("comparing the rows of "+r.name, 100*float64(i)/float64(len(s.relations)))
		if err := s.rows(ctx, r); err != nil {
			return fmt.Errorf("compare the rows of %s: %w", r.name, err)
		}
	}
	return s.values(ctx)
}

// rows compares a relation, and the staged tables that are made of it, row by row.
func (s *maskSearch) rows(ctx context.Context, r *maskedRelation) error {
	var data string
	if err := s.p.stage.Row(ctx, []any{&data}, "SELECT coalesce((SELECT data FROM dm.sources WHERE name = ?), '')", r.name); err != nil || data == "" {
		return err
	}
	infos, err := s.p.stage.Columns(ctx, "dm", data)
	if err != nil {
		return err
	}
	p := paired{r: r, table: "dm." + duckstage.Ident(data), pairs: attached + "." + r.pairs(), infos: infos}
	if err := s.pair(ctx, &p); err != nil {
		return err
	}
	if p.on == "" {
		for _, c := range r.columns {
			s.m.Columns[c.of].Unpaired = p.rows
		}
		s.unread("stage: "+r.name, "its rows could not be paired with those of the source, which has changed since and names no key: they are compared as values")
		return nil
	}
	if err := s.ownColumns(ctx, &p); err != nil {
		return err
	}
	from := p.table + " s JOIN " + p.pairs + " p ON " + p.on
	if err := s.others(ctx, r, r.name, from, "s", infos, p.how); err != nil {
		return err
	}
	return s.stagedTables(ctx, &p)
}

// paired is a relation of the stage with the originals of its rows.
type paired struct {
	r            *maskedRelation
	table, pairs string
	infos        []duckstage.ColumnInfo
	on, how      string // s the stage's row, p the pair; on is "" where there is no way
	rows         int64
}

// pair finds how rows are paired: by their place, which their other columns prove, where the
// source is as it was; else by its key.
func (s *maskSearch) pair(ctx context.Context, p *paired) error {
	var same int64
	query := "SELECT (SELECT count(*) FROM " + p.table + "), count(*) FROM " + p.table + " s JOIN " + p.pairs + " p ON s.rowid = p.n WHERE " + hashOf("s.", p.r.plain) + " = p.h"
	if err := s.p.stage.Row(ctx, []any{&p.rows, &same}, query); err != nil {
		return err
	}
	if p.rows == p.r.rows && same == p.rows {
		p.on, p.how = "s.rowid = p.n", "row by row, in the source's order, which the columns without a mask prove"
		return nil
	}
	if len(p.r.key) == 0 {
		return nil
	}
	var on []string
	for i, k := range p.r.key {
		on = append(on, fmt.Sprintf("CAST(s.%s AS VARCHAR) = p.k_%d", duckstage.Ident(k), i))
	}
	p.on, p.how = strings.Join(on, " AND "), "row by row, by "+strings.Join(p.r.key, ", ")
	return nil
}

// ownColumns proves of a masked column that the stage has what the mask makes of the original,
// row by row.
func (s *maskSearch) ownColumns(ctx context.Context, p *paired) error {
	list, into := []string{"count(*)"}, []any{new(int64)}
	for _, c := range p.r.columns {
		m := &s.m.Columns[c.of]
		name := "s." + duckstage.Ident(c.name)
		list = append(list, fmt.Sprintf("count(*) FILTER (%s IS NOT DISTINCT FROM p.m_%d)", name, c.of),
			fmt.Sprintf("count(*) FILTER (%s = p.o_%d AND p.m_%[2]d = p.o_%[2]d)", name, c.of),
			fmt.Sprintf("count(*) FILTER (%s = p.o_%d AND p.m_%[2]d IS DISTINCT FROM p.o_%[2]d)", name, c.of))
		into = append(into, &m.Masked, &m.Unchanged, &m.Original)
	}
	if err := s.p.stage.Row(ctx, into, "SELECT "+strings.Join(list, ", ")+" FROM "+p.table+" s JOIN "+p.pairs+" p ON "+p.on); err != nil {
		return err
	}
	n := *into[0].(*int64)
	for _, c := range p.r.columns {
		s.m.Columns[c.of].Rows, s.m.Columns[c.of].Unpaired = n, p.rows-n
	}
	return nil
}

// stagedTables compares the tables whose legacy key is a column of the relation.
func (s *maskSearch) stagedTables(ctx context.Context, p *paired) error {
	tables, err := s.p.stagedTables(ctx)
	if err != nil {
		return err
	}
	keys, err := s.keyColumns(ctx, p)
	if err != nil {
		return err
	}
	for _, t := range tables {
		main := "main." + duckstage.Ident(t.Name)
		best, most := "", int64(0)
		for _, k := range keys {
			var n, rows int64
			query := fmt.Sprintf("SELECT count(*), (SELECT count(*) FROM %s) FROM %[1]s t SEMI JOIN (SELECT CAST(%s AS VARCHAR) AS v FROM %s) k ON t.legacy_key = k.v", main, duckstage.Ident(k), p.table)
			if err := s.p.stage.Row(ctx, []any{&n, &rows}, query); err != nil {
				return err
			}
			if n > most && 2*n > min(rows, p.rows) {
				best, most = k, n
			}
		}
		if best == "" {
			continue
		}
		infos, err := s.p.stage.Columns(ctx, "main", t.Name)
		if err != nil {
			return err
		}
		from := fmt.Sprintf("%s t JOIN %s s ON t.legacy_key = CAST(s.%s AS VARCHAR) JOIN %s p ON %s", main, p.table, duckstage.Ident(best), p.pairs, p.on)
		if err := s.others(ctx, p.r, t.Name, from, "t", infos, "row by row with "+p.r.name+": its legacy key is "+best); err != nil {
			return err
		}
	}
	return nil
}

// keyColumns are the columns of a relation that tell its rows apart, or nearly.
func (s *maskSearch) keyColumns(ctx context.Context, p *paired) ([]string, error) {
	var names, list []string
	var into []any
	for _, info := range p.infos {
		if strings.HasPrefix(info.Name, "dm_") || classOf(info.SQLType) == "" {
			continue
		}
		names, list, into = append(names, info.Name), append(list, "approx_count_distinct("+duckstage.Ident(info.Name)+")"), append(into, new(int64))
	}
	if len(list) == 0 {
		return nil, nil
	}
	if err := s.p.stage.Row(ctx, into, "SELECT "+strings.Join(list, ", ")+" FROM "+p.table); err != nil {
		return nil, err
	}
	var out []string
	for i, name := range names {
		if 10*(*into[i].(*int64)) >= 8*p.rows { // the count is good to some percent
			out = append(out, name)
		}
	}
	return out, nil
}

// others compares all columns of a relation with the originals of the same row, but the masked
// ones with their own.
func (s *maskSearch) others(ctx context.Context, r *maskedRelation, place, from, alias string, infos []duckstage.ColumnInfo, how string) error {
	type match struct {
		column string
		class  string
		of     int
		times  int64
	}
	var matches []*match
	var list []string
	columns := 0
	var rows int64
	into := []any{&rows}
	for _, info := range infos {
		class := classOf(info.SQLType)
		if strings.HasPrefix(info.Name, "dm_") || class == "" {
			continue
		}
		columns++
		for _, c := range r.columns {
			if place == r.name && info.Name == c.name {
				continue
			}
			m := &match{column: info.Name, class: class, of: c.of}
			matches, into = append(matches, m), append(into, &m.times)
			list = append(list, fmt.Sprintf("count(*) FILTER (%s)", sameRow(alias, m.column, class, m.of)))
		}
	}
	if err := s.p.stage.Row(ctx, into, "SELECT "+strings.Join(append([]string{"count(*)"}, list...), ", ")+" FROM "+from); err != nil {
		return err
	}
	s.m.Compared = append(s.m.Compared, MaskedCompared{Place: place, How: how, Rows: rows, Columns: columns})
	for _, m := range matches {
		if m.times == 0 {
			continue
		}
		var chance float64
		value, original := canonical(m.class, alias+"."+duckstage.Ident(m.column)), canonical(m.class, fmt.Sprintf("p.o_%d", m.of))
		query := fmt.Sprintf(`WITH x AS MATERIALIZED (SELECT %s AS d, CASE WHEN p.m_%d IS DISTINCT FROM p.o_%[2]d THEN %s END AS o FROM %s)
			SELECT coalesce(sum(a.n::DOUBLE * b.n), 0) / greatest((SELECT count(*) FROM x), 1) FROM (SELECT d AS v, count(*) AS n FROM x WHERE d <> '' GROUP BY d) a JOIN (SELECT o AS v, count(*) AS n FROM x GROUP BY o) b USING (v)`,
			value, m.of, original, from)
		if err := s.p.stage.Row(ctx, []any{&chance}, query); err != nil {
			return err
		}
		c := s.m.Columns[m.of]
		s.m.Equal = append(s.m.Equal, MaskedEqual{Place: place + "." + m.column, Source: c.Source, Column: c.Column, Rows: true, Times: m.times, Of: rows, Chance: chance,
			Left: float64(m.times)-chance > 3*math.Sqrt(chance)+1})
	}
	return nil
}

// sameRow says of a row that a column has the original, which its mask changes.
func sameRow(alias, name, class string, of int) string {
	value, original := canonical(class, alias+"."+duckstage.Ident(name)), canonical(class, fmt.Sprintf("p.o_%d", of))
	return fmt.Sprintf("%s = %s AND %[2]s <> '' AND p.m_%d IS DISTINCT FROM p.o_%[3]d", value, original, of)
}

// values compares the different values of every column of the stage with the originals and
// their decoys, whatever row they are in.
func (s *maskSearch) values(ctx context.Context) error {
	type place struct{ schema, table, column, sqlType string }
	var all []place
	err := s.p.stage.Rows(ctx, `SELECT c.schema_name, c.table_name, c.column_name, c.data_type FROM duckdb_columns() c JOIN duckdb_tables() t USING (database_name, schema_name, table_name)
		WHERE database_name = current_database() ORDER BY ALL`, nil, func(scan func(...any) error) error {
		var p place
		err := scan(&p.schema, &p.table, &p.column, &p.sqlType)
		all = append(all, p)
		return err
	})
	if err != nil {
		return err
	}
	shown, last := "", place{}
	for i, p := range all {
		class := classOf(p.sqlType)
		if class == "" || strings.HasPrefix(p.column, "dm_") {
			continue
		}
		s.watch("comparing values of the stage", 100*float64(i)/float64(len(all)))
		table := duckstage.Ident(p.schema) + "." + duckstage.Ident(p.table)
		if p.schema != last.schema || p.table != last.table {
			shown, last = shownRelation(ctx, s.p.stage, p.schema, p.table), p
			compared := MaskedCompared{Place: shown, How: "as values, whatever row they are in"}
			if err := s.p.stage.Row(ctx, []any{&compared.Rows}, "SELECT count(*) FROM "+table); err != nil {
				return err
			}
			s.m.Compared = append(s.m.Compared, compared)
		}
		s.m.Compared[len(s.m.Compared)-1].Columns++
		if err := s.valuesOf(ctx, shown, table, p.column, class); err != nil {
			return fmt.Errorf("compare the values of %s.%s: %w", shown, p.column, err)
		}
	}
	return nil
}

func (s *maskSearch) valuesOf(ctx context.Context, shown, table, name, class string) error {
	query := fmt.Sprintf(`WITH d AS MATERIALIZED (SELECT DISTINCT %[1]s AS v FROM %[2]s)
		SELECT c, count(*) FILTER (NOT decoy), count(*) FILTER (decoy), count(*) FILTER (NOT decoy AND length(v) >= %[4]d), count(*) FILTER (decoy AND length(v) >= %[4]d), (SELECT count(*) FROM d)
		FROM d JOIN %[3]s.dm.originals USING (v) GROUP BY c HAVING count(*) FILTER (NOT decoy) > 0 ORDER BY c`, canonical(class, duckstage.Ident(name)), table, attached, headBytes)
	return s.p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var of int
		e := MaskedEqual{Place: shown + "." + name}
		var decoys, long, longDecoys int64
		if err := scan(&of, &e.Times, &decoys, &long, &longDecoys, &e.Of); err != nil {
			return err
		}
		c := s.m.Columns[of]
		if c.Values < fewValues || c.Source+"."+c.Column == e.Place {
			return nil
		}
		e.Source, e.Column, e.Chance = c.Source, c.Column, float64(decoys)
		// Numbers and dates of one range are in other columns, too, and so are short texts:
		// there only a row tells.
		worded := class == classText && !slices.Contains([]string{mask.Number, mask.ID, mask.Date}, c.As)
		e.Left = worded && float64(long-longDecoys) > 3*math.Sqrt(float64(long+longDecoys))
		s.m.Equal = append(s.m.Equal, e)
		return nil
	})
}

package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// Feed is a source that does not deliver all of its rows each time, but those that are new
// or have changed since it was read last. They are merged into what is there. Reading the
// same delivery twice does no harm.
type Feed struct {
	Key       []string // columns that tell one row from all others; none: the source is no such feed
	Tombstone string   // SQL predicate of a row that says its namesake is gone; "": none does

	Watermark string // column of a database that grows with every change; "": all it has is read
	Overlap   string // how far below the highest value seen a reading begins: a duration or a number; "": the usual
	ReadOnce  bool   // files that were read are not read again
}

// mergeFeed makes of a delivery, which b holds, the whole relation. Of several rows of one
// key the last counts, in the order of the files and of their lines.
func (r *run) mergeFeed(ctx context.Context, c *duckstage.Conn, b *built) error {
	f := r.src.Feed
	table, merged := "dm."+duckstage.Ident(b.table), "dm."+duckstage.Ident("new_merged_"+b.name)
	keys, same, missing := make([]string, len(f.Key)), make([]string, len(f.Key)), make([]string, len(f.Key))
	for i, k := range f.Key {
		keys[i] = duckstage.Ident(k)
		same[i], missing[i] = "n."+keys[i]+" = f."+keys[i], keys[i]+" IS NULL"
	}
	var nameless, delivered int64
	if err := c.Row(ctx, []any{&nameless, &delivered}, "SELECT count(*) FILTER ("+strings.Join(missing, " OR ")+"), count(*) FROM "+table); err != nil {
		return fmt.Errorf("source %s, key %s: %w", b.name, strings.Join(f.Key, ", "), err)
	}
	if nameless > 0 {
		return fmt.Errorf("source %s: %d rows have no %s, by which changes are merged", b.name, nameless, strings.Join(f.Key, ", "))
	}
	tombstone := "false"
	if f.Tombstone != "" {
		tombstone = "coalesce((" + f.Tombstone + "\n), false)"
	}
	latest := "SELECT * EXCLUDE (dm_place) FROM (SELECT *, row_number() OVER (PARTITION BY " + strings.Join(keys, ", ") + " ORDER BY rowid DESC) AS dm_place FROM " + table + ") WHERE dm_place = 1"
	alive := "SELECT * FROM (" + latest + ") WHERE NOT " + tombstone
	var former, gone int64
	if err := c.Row(ctx, []any{&former}, "SELECT count(*) FROM dm.sources WHERE name = ?", b.name); err != nil {
		return err
	}
	if r.whole {
		former = 0
	}
	query := "CREATE OR REPLACE TABLE " + merged + " AS " + alive
	if former > 0 {
		before := "(SELECT * EXCLUDE (dm_source) FROM source." + duckstage.Ident(b.name) + ") f"
		oldTexts, newTexts, err := r.otherTypes(ctx, c, table, before, same)
		if err != nil {
			return err
		}
		query = "CREATE OR REPLACE TABLE " + merged + " AS SELECT f.*" + oldTexts + " FROM " + before + " ANTI JOIN " + table + " n ON " + strings.Join(same, " AND ") + " UNION ALL BY NAME SELECT *" + newTexts + " FROM (" + alive + ")"
		if err := c.Row(ctx, []any{&gone}, "SELECT count(*) FROM "+before+" SEMI JOIN (SELECT * FROM ("+latest+") WHERE "+tombstone+") n ON "+strings.Join(same, " AND ")); err != nil {
			return fmt.Errorf("source %s, tombstone: %w", b.name, err)
		}
		// Merged by the same key each row has one of its own: the delivery would replace all of one name by one.
		var alike int64
		if err := c.Row(ctx, []any{&alike}, "SELECT coalesce(sum(n), 0)::BIGINT FROM (SELECT count(*) AS n FROM "+before+" SEMI JOIN "+table+" n ON "+strings.Join(same, " AND ")+" GROUP BY "+strings.Join(keys, ", ")+" HAVING count(*) > 1)"); err != nil {
			return fmt.Errorf("source %s, key %s: %w", b.name, strings.Join(f.Key, ", "), err)
		}
		if alike > 0 {
			return fmt.Errorf("source %s: %d rows that are there have a %s in common with others, and this delivery would put one in the place of several: row_key seems to have been another; put it back, or read all once with feed: full", b.name, alike, strings.Join(f.Key, ", "))
		}
	}
	for _, q := range []string{query, "DROP TABLE " + table, "ALTER TABLE " + merged + " RENAME TO " + duckstage.Ident(b.table)} {
		if _, err := c.Exec(ctx, q); err != nil {
			return fmt.Errorf("merge the changes of %s: %w", b.name, err)
		}
	}
	if err := c.Row(ctx, []any{&b.rows}, "SELECT count(*) FROM "+table); err != nil {
		return err
	}
	if former > 0 {
		r.notes = append(r.notes, fmt.Sprintf("%d rows were delivered and merged, %d are gone; it has %d now", delivered, gone, b.rows))
	}
	return nil
}

// otherTypes looks for columns that came as another type than before, as columns of JSON may.
// Where one file with all of the values would give texts, or where whole numbers have more
// digits than DOUBLE, they become texts: it gives the REPLACE of a SELECT for what was there
// and for what came. Keys of which one side has texts are compared as texts in same: a number
// would be equal to 007, too.
func (r *run) otherTypes(ctx context.Context, c *duckstage.Conn, table, before string, same []string) (replaceOld, replaceNew string, err error) {
	was, err := c.Describe(ctx, "SELECT * FROM "+before)
	if err != nil {
		return "", "", err
	}
	is, err := c.Describe(ctx, "SELECT * FROM "+table)
	if err != nil {
		return "", "", err
	}
	var old, now []string
	for _, n := range is {
		at := slices.IndexFunc(was, func(i duckstage.ColumnInfo) bool { return strings.EqualFold(i.Name, n.Name) })
		if at < 0 || was[at].SQLType == n.SQLType {
			continue
		}
		w, col := was[at], duckstage.Ident(n.Name)
		texts, note := textsOfBoth(w.SQLType, n.SQLType), ""
		for i, k := range r.src.Feed.Key {
			if strings.EqualFold(k, n.Name) && texts {
				same[i] = textOf("n."+col, n.SQLType) + " = " + textOf("f."+col, w.SQLType)
			}
		}
		switch {
		case texts && (w.SQLType == "VARCHAR" && within(n.SQLType) || n.SQLType == "VARCHAR" && within(w.SQLType)): // nothing but nulls take the other's type
			text := table
			if w.SQLType == "VARCHAR" {
				text = before
			}
			if err := c.Row(ctx, []any{&texts}, "SELECT count("+col+") > 0 FROM "+text); err != nil {
				return "", "", err
			}
		case texts && w.SQLType != "VARCHAR" && n.SQLType != "VARCHAR":
			note = fmt.Sprintf("%s was %s and is %s in what was delivered, so its values are texts", n.Name, w.SQLType, n.SQLType)
		case w.SQLType == "DOUBLE" && duckstage.IsWhole(n.SQLType), n.SQLType == "DOUBLE" && duckstage.IsWhole(w.SQLType):
			whole := table
			if duckstage.IsWhole(w.SQLType) {
				whole = before
			}
			query := fmt.Sprintf("SELECT coalesce(max(abs(CAST(%s AS HUGEINT))) > %d, false) FROM %s", col, exactWhole, whole)
			if err := c.Row(ctx, []any{&texts}, query); err != nil {
				return "", "", err
			}
			note = n.Name + " has fractions and whole numbers of more than 15 digits by now, so its values are texts"
		}
		if !texts {
			continue
		}
		old = append(old, textOf(duckstage.Ident(w.Name), w.SQLType)+" AS "+duckstage.Ident(w.Name))
		now = append(now, textOf(col, n.SQLType)+" AS "+col)
		if note != "" {
			r.notes = append(r.notes, note)
		}
	}
	if len(old) == 0 {
		return "", "", nil
	}
	return " REPLACE (" + strings.Join(old, ", ") + ")", " REPLACE (" + strings.Join(now, ", ") + ")", nil
}

// textsOfBoth reports whether one file with values of both types would give texts: of texts and
// numbers, of true and numbers, of what has others within and what has not.
func textsOfBoth(a, b string) bool {
	number := func(t string) bool {
		return t == "DOUBLE" || t == "FLOAT" || duckstage.IsWhole(t) || duckstage.BaseType(t) == "DECIMAL"
	}
	for range 2 {
		switch {
		case number(a) && (b == "VARCHAR" || b == "BOOLEAN"), within(a) && !within(b):
			return true
		}
		a, b = b, a
	}
	return false
}

// within reports whether values of a type have others within.
func within(sqlType string) bool {
	return nested.MatchString(sqlType) || strings.HasSuffix(sqlType, "]")
}

// textOf is a value as the text that a file would have of it: 10, and not 10.0, of a DOUBLE.
func textOf(value, sqlType string) string {
	switch {
	case sqlType == "VARCHAR":
		return value
	case sqlType == "JSON":
		return "(" + value + "->>'$')"
	case within(sqlType):
		return "CAST(to_json(" + value + ") AS VARCHAR)"
	case sqlType == "DOUBLE" || sqlType == "FLOAT":
		return fmt.Sprintf("CASE WHEN abs(%[1]s) < %[2]d AND %[1]s = trunc(%[1]s) THEN CAST(CAST(%[1]s AS HUGEINT) AS VARCHAR) ELSE CAST(%[1]s AS VARCHAR) END", value, exactWhole)
	}
	return "CAST(" + value + " AS VARCHAR)"
}

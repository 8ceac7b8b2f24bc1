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
		asTexts, err := r.otherTypes(ctx, c, table, before, same)
		if err != nil {
			return err
		}
		query = "CREATE OR REPLACE TABLE " + merged + " AS SELECT f.*" + asTexts + " FROM " + before + " ANTI JOIN " + table + " n ON " + strings.Join(same, " AND ") + " UNION ALL BY NAME SELECT *" + asTexts + " FROM (" + alive + ")"
		if err := c.Row(ctx, []any{&gone}, "SELECT count(*) FROM "+before+" SEMI JOIN (SELECT * FROM ("+latest+") WHERE "+tombstone+") n ON "+strings.Join(same, " AND ")); err != nil {
			return fmt.Errorf("source %s, tombstone: %w", b.name, err)
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
// Whole numbers of more digits than DOUBLE has become texts rather than that: it gives the
// REPLACE of a SELECT for both sides. Keys of which one side has texts are compared as texts in
// same: a number would be equal to 007, too.
func (r *run) otherTypes(ctx context.Context, c *duckstage.Conn, table, before string, same []string) (replace string, err error) {
	was, err := c.Describe(ctx, "SELECT * FROM "+before)
	if err != nil {
		return "", err
	}
	is, err := c.Describe(ctx, "SELECT * FROM "+table)
	if err != nil {
		return "", err
	}
	var texts []string
	for _, now := range is {
		at := slices.IndexFunc(was, func(i duckstage.ColumnInfo) bool { return strings.EqualFold(i.Name, now.Name) })
		if at < 0 || was[at].SQLType == now.SQLType {
			continue
		}
		col, types := duckstage.Ident(now.Name), [2]string{was[at].SQLType, now.SQLType}
		for i, k := range r.src.Feed.Key {
			text, number := slices.Contains(types[:], "VARCHAR"), slices.ContainsFunc(types[:], func(t string) bool { return t == "DOUBLE" || duckstage.IsWhole(t) })
			if strings.EqualFold(k, now.Name) && text && number {
				same[i] = "CAST(n." + col + " AS VARCHAR) = CAST(f." + col + " AS VARCHAR)"
			}
		}
		whole := table
		switch {
		case types[0] == "DOUBLE" && duckstage.IsWhole(types[1]):
		case types[1] == "DOUBLE" && duckstage.IsWhole(types[0]):
			whole = before
		default:
			continue
		}
		var long bool
		if err := c.Row(ctx, []any{&long}, fmt.Sprintf("SELECT coalesce(max(abs(CAST(%s AS HUGEINT))) > %d, false) FROM %s", col, exactWhole, whole)); err != nil {
			return "", err
		}
		if long {
			texts = append(texts, fmt.Sprintf("CASE WHEN abs(%[1]s) < %[2]d AND %[1]s = trunc(%[1]s) THEN CAST(CAST(%[1]s AS HUGEINT) AS VARCHAR) ELSE CAST(%[1]s AS VARCHAR) END AS %[1]s", col, exactWhole))
			r.notes = append(r.notes, now.Name+" has fractions and whole numbers of more than 15 digits by now, so its values are texts")
		}
	}
	if len(texts) == 0 {
		return "", nil
	}
	return " REPLACE (" + strings.Join(texts, ", ") + ")", nil
}

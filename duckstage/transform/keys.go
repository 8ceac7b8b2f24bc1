package transform

import (
	"context"
	"fmt"

	"dvmigrate/duckstage"
)

// checkKeys proves that the raw table's keys, and its kept ids, are there and unique.
func (j *job) checkKeys(ctx context.Context, c *duckstage.Conn) error {
	if err := checkUnique(ctx, c, j.raw, "legacy_key", "legacy_key", true); err != nil {
		return err
	}
	if j.KeepID != "" {
		return checkUnique(ctx, c, j.raw, "dm_id", j.KeepID, false)
	}
	return nil
}

// checkUnique looks for equal hashes first: grouping eight bytes is a third of the work
// of grouping texts, and equal keys have equal hashes. Only rows with a repeated hash
// are then compared.
func checkUnique(ctx context.Context, c *duckstage.Conn, table, column, called string, required bool) error {
	var rows, nulls, repeated int64
	err := c.Row(ctx, []any{&rows, &nulls}, fmt.Sprintf("SELECT count(*), count(*) - count(%s) FROM %s", column, table))
	if err != nil {
		return fmt.Errorf("check keys: %w", err)
	}
	hashes := fmt.Sprintf("SELECT hash(%[1]s) AS h FROM %[2]s WHERE %[1]s IS NOT NULL GROUP BY h HAVING count(*) > 1", column, table)
	if err := c.Row(ctx, []any{&repeated}, "SELECT count(*) FROM ("+hashes+")"); err != nil {
		return fmt.Errorf("check keys: %w", err)
	}
	bad := &KeyError{Column: called}
	if required {
		bad.Nulls = nulls
	}
	if repeated > 0 {
		groups := fmt.Sprintf("SELECT CAST(%[1]s AS VARCHAR) AS k, count(*) AS n FROM %[2]s WHERE hash(%[1]s) IN (%[3]s) GROUP BY k HAVING n > 1", column, table, hashes)
		err := c.Rows(ctx, "SELECT left(k, 200), n, count(*) OVER () FROM ("+groups+") ORDER BY n DESC, k LIMIT 5", nil, func(scan func(...any) error) error {
			var k RepeatedKey
			if err := scan(&k.Key, &k.Rows, &bad.More); err != nil {
				return err
			}
			bad.Keys = append(bad.Keys, k)
			return nil
		})
		if err != nil {
			return fmt.Errorf("check keys: %w", err)
		}
		bad.More -= int64(len(bad.Keys))
	}
	if bad.Nulls > 0 || len(bad.Keys) > 0 {
		return bad
	}
	return nil
}

// numberRows gives the rows their numbers. In a first staging that is the rowid of the
// raw table: nothing needs to be stored. Later a key keeps the number it had, also one
// that was gone meanwhile, and new keys get the next numbers in the order they came in.
func (j *job) numberRows(ctx context.Context, c *duckstage.Conn) error {
	if !j.later {
		return c.Row(ctx, []any{&j.next}, "SELECT count(*) FROM "+j.raw)
	}
	known, fresh := j.seqs+"_known", j.seqs+"_fresh"
	former := fmt.Sprintf(`SELECT legacy_key, dm_seq AS seq FROM main.%s UNION ALL SELECT legacy_key, seq FROM dm.gone WHERE "table" = %s`,
		duckstage.Ident(j.Name), duckstage.Quote(j.Name))
	for _, q := range []string{
		fmt.Sprintf("CREATE TABLE %s AS SELECT r.rowid AS r, f.seq AS seq FROM %s r LEFT JOIN (%s) f USING (legacy_key)", known, j.raw, former),
		fmt.Sprintf("CREATE TABLE %s AS SELECT r FROM %s WHERE seq IS NULL ORDER BY r", fresh, known),
		fmt.Sprintf("CREATE TABLE %s AS SELECT k.r, coalesce(k.seq, %d + f.n) AS seq FROM %s k LEFT JOIN (SELECT r, rowid AS n FROM %s) f USING (r)", j.seqs, j.next, known, fresh),
	} {
		if _, err := c.Exec(ctx, q); err != nil {
			return fmt.Errorf("number rows: %w", err)
		}
	}
	var added int64
	if err := c.Row(ctx, []any{&added}, "SELECT count(*) FROM "+fresh); err != nil {
		return fmt.Errorf("number rows: %w", err)
	}
	j.next += added
	return nil
}

// inOrder reports whether the numbers of a table ascend in the order of another column.
func inOrder(ctx context.Context, c *duckstage.Conn, table, number, by string) (bool, error) {
	// Most tables have no gaps, which is seen without a sort.
	var odd, falls int64
	if err := c.Row(ctx, []any{&odd}, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s <> %s", table, number, by)); err != nil {
		return false, fmt.Errorf("check order: %w", err)
	}
	if odd == 0 {
		return true, nil
	}
	err := c.Row(ctx, []any{&falls}, fmt.Sprintf(
		"SELECT count(*) FROM (SELECT %[1]s AS x, lag(%[1]s) OVER (ORDER BY %[2]s) AS before FROM %[3]s) WHERE x <= before", number, by, table))
	if err != nil {
		return false, fmt.Errorf("check order: %w", err)
	}
	return falls == 0, nil
}

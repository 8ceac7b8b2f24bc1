package transform

import (
	"context"
	"fmt"
	"strings"

	"dvmigrate/duckstage"
)

// checkKeys proves that the raw table's keys, and its kept ids, are there and unique. In a
// later staging the numbers say it of the keys that had one: two rows of one key would have
// got the same, which costs a count of numbers instead of a grouping of texts. Only the new
// keys are then grouped; what is amiss is found, and named, among all.
func (j *job) checkKeys(ctx context.Context, c *duckstage.Conn) error {
	proven := false
	if j.later {
		var err error
		if proven, err = j.keysProven(ctx, c); err != nil {
			return fmt.Errorf("check keys: %w", err)
		}
	}
	if !proven {
		if err := checkUnique(ctx, c, j.raw, "legacy_key", "legacy_key", true); err != nil {
			return err
		}
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

// keysProven reports whether the numbers of a later staging prove its keys unique and there.
func (j *job) keysProven(ctx context.Context, c *duckstage.Conn) (bool, error) {
	if j.fresh > 0 { // a key that is not there is among them
		var nulls, repeated int64
		fresh := "SELECT t.legacy_key FROM " + j.raw + " t JOIN " + j.seqs + "_fresh f ON f.r = t.rowid"
		err := c.Row(ctx, []any{&nulls, &repeated}, "SELECT count(*) FILTER (h IS NULL), count(*) FILTER (n > 1) FROM (SELECT CASE WHEN legacy_key IS NOT NULL THEN hash(legacy_key) END AS h, count(*) AS n FROM ("+fresh+") GROUP BY h)")
		if err != nil || nulls+repeated > 0 {
			return false, err
		}
	}
	if j.ascending {
		return true, nil
	}
	var distinct int64
	err := c.Row(ctx, []any{&distinct}, "SELECT count(DISTINCT seq) FROM "+j.seqs)
	return distinct == j.result.Rows, err
}

// numberRows gives the rows their numbers. In a first staging that is the rowid of the
// raw table: nothing needs to be stored. Later a key keeps the number it had, also one
// that was gone meanwhile, and new keys get the next numbers in the order they came in.
func (j *job) numberRows(ctx context.Context, c *duckstage.Conn) error {
	if err := c.Row(ctx, []any{&j.result.Rows}, "SELECT count(*) FROM "+j.raw); err != nil {
		return fmt.Errorf("number rows: %w", err)
	}
	if !j.later {
		j.next = j.result.Rows
		return nil
	}
	change, hash := "NULL::VARCHAR", "NULL"
	if !j.joined() {
		before, err := c.Describe(ctx, "SELECT * FROM main."+duckstage.Ident(j.Name))
		if err != nil {
			return err
		}
		change = "CASE WHEN f.dm_before IS NULL THEN 'I' WHEN f.dm_before <> " + j.hash() + " THEN 'U' END"
		hash = j.formerHash(before)
	}
	known, fresh := j.seqs+"_known", j.seqs+"_fresh"
	former := fmt.Sprintf(`SELECT legacy_key, dm_seq AS seq, true AS dm_there, %s AS dm_before FROM main.%s UNION ALL SELECT legacy_key, seq, false, NULL FROM dm.gone WHERE "table" = %s`,
		hash, duckstage.Ident(j.Name), duckstage.Quote(j.Name))
	for _, q := range []string{
		fmt.Sprintf("CREATE TABLE %s AS SELECT t.rowid AS r, f.seq AS seq, %s AS change, f.dm_there AS there FROM %s t LEFT JOIN (%s) f USING (legacy_key)", known, change, j.raw, former),
		fmt.Sprintf("CREATE TABLE %s AS SELECT r FROM %s WHERE seq IS NULL ORDER BY r", fresh, known),
	} {
		if _, err := c.Exec(ctx, q); err != nil {
			return fmt.Errorf("number rows: %w", err)
		}
	}
	if err := c.Row(ctx, []any{&j.fresh, &j.there}, "SELECT count(*) FILTER (seq IS NULL), count(*) FILTER (there) FROM "+known); err != nil {
		return fmt.Errorf("number rows: %w", err)
	}
	numbered := fmt.Sprintf("CREATE TABLE %s AS SELECT k.r, coalesce(k.seq, %d + f.n) AS seq, k.change FROM %s k LEFT JOIN (SELECT r, rowid AS n FROM %s) f USING (r); DROP TABLE %[3]s", j.seqs, j.next, known, fresh)
	if j.fresh == 0 {
		numbered = "ALTER TABLE " + known + " RENAME TO " + strings.TrimPrefix(j.seqs, "dm.")
	}
	if _, err := c.Exec(ctx, numbered); err != nil {
		return fmt.Errorf("number rows: %w", err)
	}
	j.next += j.fresh
	var err error
	j.ascending, err = inOrder(ctx, c, j.seqs, "seq", "r")
	return err
}

// placePiece is how many rows are written at once where they lie: DuckDB keeps what a
// transaction has changed in memory.
const placePiece = 8 << 20

// placeRows writes what numberRows has found into the raw table. Columns of a few bytes are
// changed where they lie, at a tenth of what writing the rows again takes; those are written
// again only when they do not lie in the order of their numbers.
func (j *job) placeRows(ctx context.Context, c *duckstage.Conn) error {
	for from := int64(0); from < j.result.Rows; from += placePiece {
		piece := fmt.Sprintf("t.rowid >= %[1]d AND t.rowid < %[2]d AND s.r >= %[1]d AND s.r < %[2]d", from, from+placePiece)
		sets := []string{"dm_seq = s.seq FROM " + j.seqs + " s WHERE s.r = t.rowid AND " + piece}
		if !j.joined() {
			sets = append(sets, "dm_change = s.change FROM "+j.seqs+" s WHERE s.r = t.rowid AND s.change IS NOT NULL AND "+piece)
		}
		err := c.Tx(ctx, func() error {
			for _, set := range sets {
				if _, err := c.Exec(ctx, "UPDATE "+j.raw+" AS t SET "+set); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("place rows: %w", err)
		}
	}
	if j.joined() || j.ascending {
		return nil
	}
	return j.sortRows(ctx, c)
}

// sortRows writes the relation's table again, in the order of the numbers.
func (j *job) sortRows(ctx context.Context, c *duckstage.Conn) error {
	_, err := c.Exec(ctx, fmt.Sprintf("CREATE TABLE %[1]s AS SELECT * FROM %[2]s ORDER BY dm_seq; DROP TABLE %[2]s; ALTER TABLE %[1]s RENAME TO %[3]s",
		j.data+"_sorted", j.data, strings.TrimPrefix(j.data, "dm.")))
	if err != nil {
		return fmt.Errorf("sort rows: %w", err)
	}
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

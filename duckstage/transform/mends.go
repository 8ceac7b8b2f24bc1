package transform

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

// Mends are values that somebody has put in the place of what a table's SELECT yields, kept
// in dm.mends. One holds as long as the SELECT still yields what it yielded when the mend
// was made: a source that says something else by then is newer, and goes before it.

// Mend is one value for one row.
type Mend struct {
	Key    string // legacy key
	Column string
	Was    string // what the SELECT yields now, as Yield gives it
	Value  string // "" = no value
}

// MendError says that a value does not fit what the SELECT yields for its column.
type MendError struct {
	Mend
	SQLType string
}

func (e *MendError) Error() string {
	if e.SQLType == reference {
		return fmt.Sprintf("%s: '%s' names no row: write table:legacy key, or table:GUID", e.Column, e.Value)
	}
	return fmt.Sprintf("%s: '%s' is not of the type that the transform yields, %s", e.Column, e.Value, e.SQLType)
}

const mendsTable = `CREATE TABLE IF NOT EXISTS dm.mends ("table" VARCHAR, legacy_key VARCHAR, "column" VARCHAR, was VARCHAR, value VARCHAR, "at" TIMESTAMP)`

// mendable are the SELECT's columns that may be mended: what can be written as one text,
// and does not say which row it is.
func (j *job) mendable(cols []duckstage.ColumnInfo) []duckstage.ColumnInfo {
	return slices.DeleteFunc(slices.Clone(cols), func(c duckstage.ColumnInfo) bool {
		t := c.SQLType
		return strings.EqualFold(c.Name, "legacy_key") || strings.EqualFold(c.Name, "dm_created_at") || j.KeepID != "" && strings.EqualFold(c.Name, j.KeepID) ||
			t == "BLOB" || strings.HasSuffix(t, "]") || strings.HasPrefix(t, "MAP(") || strings.HasPrefix(t, "UNION(") || strings.HasPrefix(t, "STRUCT(") && t != reference
	})
}

// asText is a value of the SELECT as it stands in a file, as SQL.
func asText(value, sqlType string) string {
	if sqlType == reference {
		return "CASE WHEN " + value + " IS NOT NULL THEN " + value + ".dm_table || ':' || coalesce(" + value + ".dm_id, " + value + ".dm_key) END"
	}
	return "CAST(" + value + " AS VARCHAR)"
}

// fromText is the reverse of asText; NULL where the text is no such value. A reference
// keeps its kind where it pointed to the same table; else a GUID is one of the target.
func fromText(text, former, sqlType string) string {
	text = "nullif(" + text + ", '')"
	if sqlType != reference {
		return "TRY_CAST(" + text + " AS " + sqlType + ")"
	}
	table, rest := "split_part("+text+", ':', 1)", "substr("+text+", instr("+text+", ':') + 1)"
	isID := "TRY_CAST(" + rest + " AS UUID) IS NOT NULL AND NOT coalesce(" + former + ".dm_table = " + table + " AND " + former + ".dm_key IS NOT NULL, false)"
	return "CASE WHEN instr(" + text + ", ':') > 1 AND length(" + rest + ") > 0 THEN {'dm_table': " + table + ", 'dm_key': CASE WHEN NOT (" + isID + ") THEN " + rest +
		" END, 'dm_id': CASE WHEN " + isID + " THEN " + rest + " END} END"
}

// findMends puts what dm.mends has for the table around its SELECT.
func (j *job) findMends(ctx context.Context, c *duckstage.Conn, cols []duckstage.ColumnInfo) error {
	known, err := hasMends(ctx, c)
	if err != nil || !known {
		return err
	}
	mended := map[string]bool{}
	err = c.Rows(ctx, `SELECT DISTINCT lower("column") FROM dm.mends WHERE "table" = ?`, []any{j.Name}, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		mended[name] = true
		return err
	})
	if err != nil || len(mended) == 0 {
		return err
	}
	var values, replaced []string
	for i, col := range j.mendable(cols) {
		low := strings.ToLower(col.Name)
		if !mended[low] {
			continue
		}
		is := `lower("column") = ` + duckstage.Quote(low)
		values = append(values, fmt.Sprintf("coalesce(bool_or(%[1]s), false) AS dm_has_%[2]d, max(was) FILTER (%[1]s) AS dm_was_%[2]d, max(value) FILTER (%[1]s) AS dm_value_%[2]d", is, i))
		value := "u." + duckstage.Ident(col.Name)
		replaced = append(replaced, fmt.Sprintf("CASE WHEN m.dm_has_%[1]d AND coalesce(%[2]s, '') = coalesce(m.dm_was_%[1]d, '') THEN %[3]s ELSE %[4]s END AS %[5]s",
			i, asText(value, col.SQLType), fromText(fmt.Sprintf("m.dm_value_%d", i), value, col.SQLType), value, duckstage.Ident(col.Name)))
	}
	if len(replaced) == 0 {
		return nil
	}
	j.mendedSQL = "SELECT u.* REPLACE (" + strings.Join(replaced, ", ") + ") FROM (\n" + j.sql + "\n) u LEFT JOIN (SELECT legacy_key AS dm_key, " + strings.Join(values, ", ") +
		` FROM dm.mends WHERE "table" = ` + duckstage.Quote(j.Name) + " GROUP BY legacy_key) m ON m.dm_key = CAST(u.legacy_key AS VARCHAR)"
	return nil
}

func hasMends(ctx context.Context, c *duckstage.Conn) (bool, error) {
	var n int64
	err := c.Row(ctx, []any{&n}, "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'dm' AND table_name = 'mends'")
	if err != nil {
		return false, fmt.Errorf("look for mended values: %w", err)
	}
	return n > 0, nil
}

// yielded is the SELECT that is staged: the user's, with the values that were mended.
func (j *job) yielded() string {
	if j.mendedSQL != "" {
		return j.mendedSQL
	}
	return j.sql
}

// Yield reads what a table's SELECT yields for the rows that are named, as text: their
// values under the names of the columns, "" for none. keys is a SELECT of the one column
// dm_key. Columns that cannot be mended are left out.
func Yield(ctx context.Context, stage *duckstage.Stage, scripts []Script, table Table, keys string, each func(key string, names, values []string) error) error {
	return within(ctx, stage, scripts, func(c *duckstage.Conn) error {
		j, err := newJob(ctx, c, table)
		if err != nil {
			return &TableError{Table: table.Name, File: table.File, Err: err}
		}
		cols, err := c.Describe(ctx, j.sql)
		if err != nil {
			return err
		}
		var names []string
		texts := []string{"CAST(u.legacy_key AS VARCHAR)"}
		for i, col := range j.mendable(cols) {
			names = append(names, col.Name)
			texts = append(texts, fmt.Sprintf("coalesce(%s, '') AS dm_text_%d", asText("u."+duckstage.Ident(col.Name), col.SQLType), i))
		}
		query := "SELECT " + strings.Join(texts, ", ") + " FROM (\n" + j.yielded() + "\n) u SEMI JOIN (" + keys + ") k ON k.dm_key = CAST(u.legacy_key AS VARCHAR) ORDER BY 1"
		return c.Scan(ctx, query, nil, func(b *column.Batch) error {
			for i := range b.Rows {
				values := make([]string, len(names))
				for k := range names {
					values[k] = string(b.Columns[1+k].TextAt(i))
				}
				if err := each(string(b.Columns[0].TextAt(i)), names, values); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// StoreMends keeps values for the next stagings of a table. A value that does not fit is a
// *MendError, and then nothing is kept.
func StoreMends(ctx context.Context, stage *duckstage.Stage, scripts []Script, table Table, mends []Mend) error {
	return within(ctx, stage, scripts, func(c *duckstage.Conn) error {
		j, err := newJob(ctx, c, table)
		if err != nil {
			return &TableError{Table: table.Name, File: table.File, Err: err}
		}
		return c.Tx(ctx, func() error { return j.storeMends(ctx, c, mends) })
	})
}

func (j *job) storeMends(ctx context.Context, c *duckstage.Conn, mends []Mend) error {
	if _, err := c.Exec(ctx, mendsTable+"; CREATE OR REPLACE TEMP TABLE dm_new_mends AS SELECT * FROM dm.mends LIMIT 0"); err != nil {
		return fmt.Errorf("keep mended values: %w", err)
	}
	for chunk := range slices.Chunk(mends, 500) {
		var rows []string
		for _, m := range chunk {
			rows = append(rows, "("+strings.Join([]string{duckstage.Quote(j.Name), duckstage.Quote(m.Key), duckstage.Quote(m.Column), duckstage.Quote(m.Was), duckstage.Quote(m.Value), "current_localtimestamp()"}, ", ")+")")
		}
		if _, err := c.Exec(ctx, "INSERT INTO dm_new_mends VALUES "+strings.Join(rows, ", ")); err != nil {
			return fmt.Errorf("keep mended values: %w", err)
		}
	}
	if err := j.checkMends(ctx, c); err != nil {
		return err
	}
	// A value that was mended before keeps what the SELECT yielded at first; one that is put
	// back to that is no mend any more.
	same := `o."table" = n."table" AND o.legacy_key = n.legacy_key AND lower(o."column") = lower(n."column")`
	for _, q := range []string{
		`UPDATE dm_new_mends n SET was = o.was FROM dm.mends o WHERE ` + same + ` AND coalesce(o.value, '') = coalesce(n.was, '')`,
		`DELETE FROM dm.mends o USING dm_new_mends n WHERE ` + same,
		`INSERT INTO dm.mends SELECT * FROM dm_new_mends WHERE coalesce(was, '') <> coalesce(value, '')`,
		`DROP TABLE dm_new_mends`,
	} {
		if _, err := c.Exec(ctx, q); err != nil {
			return fmt.Errorf("keep mended values: %w", err)
		}
	}
	return nil
}

// checkMends looks for the first value that is not of its column's type.
func (j *job) checkMends(ctx context.Context, c *duckstage.Conn) error {
	var columns []string
	err := c.Rows(ctx, `SELECT DISTINCT "column" FROM dm_new_mends ORDER BY 1`, nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		columns = append(columns, name)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range columns {
		sqlType, ok := j.types[strings.ToLower(name)]
		if !ok {
			return fmt.Errorf("the SELECT has no column %s", name)
		}
		if sqlType == "VARCHAR" {
			continue
		}
		bad := &MendError{SQLType: sqlType}
		found := false
		query := fmt.Sprintf(`SELECT legacy_key, "column", was, value FROM dm_new_mends WHERE "column" = %s AND value <> '' AND %s IS NULL ORDER BY legacy_key LIMIT 1`,
			duckstage.Quote(name), fromText("value", "(NULL::"+reference+")", sqlType))
		err := c.Rows(ctx, query, nil, func(scan func(...any) error) error {
			found = true
			return scan(&bad.Key, &bad.Column, &bad.Was, &bad.Value)
		})
		if err != nil {
			return fmt.Errorf("check mended values: %w", err)
		}
		if found {
			return bad
		}
	}
	return nil
}

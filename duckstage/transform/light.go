package transform

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// A light table is one whose relation reads the source as it was ingested: its SELECT
// takes one source, row by row, with functions that always give the same. Nothing is
// written then but the rows that must not be sent, which saves half of the time and half
// of the disk that staging takes; the casts are made again whenever the relation is read.
// The source's table never changes, and stays while the relation needs it, so that the
// relation is as fixed as any other. Row numbers are the rowids of the source's table.

// maxHeldShare is the share of held rows, one in so many, beyond which a table is not
// light: each reading joins them.
const maxHeldShare = 20

// lightRowID is the source's rowid in a light table's SELECT.
const lightRowID = "dm_rowid"

// tryLight stages the table in the light way if it can. Whatever goes wrong, the usual
// way is tried afterwards and reports it, with its place in the user's text.
func (j *job) tryLight(ctx context.Context, c *duckstage.Conn, arrival string, report func(float64)) (bool, error) {
	if j.later || j.joined() || j.mapped() || j.KeepID != "" || j.mendedSQL != "" {
		return false, nil
	}
	err := j.stageLight(ctx, c, arrival, report)
	var keys *KeyError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &keys), ctx.Err() != nil:
		return false, err
	}
	j.source, j.lightSQL = "", ""
	_, err = c.Exec(ctx, "DROP TABLE IF EXISTS "+j.data)
	return false, err
}

// errNotLight says that a table cannot be light.
var errNotLight = errors.New("not a light table")

func (j *job) stageLight(ctx context.Context, c *duckstage.Conn, arrival string, report func(float64)) error {
	user, computed, err := j.lightSelect(ctx, c)
	if err != nil {
		return err
	}
	j.lightSQL = j.castSelect(user, arrival, lightRowID)
	// Every value is computed once here, so that an error of the user's SQL shows now
	// and not when the relation is read.
	q := "CREATE TABLE " + j.data + " AS SELECT " + lightRowID + " AS dm_seq, dm_hold FROM (" + j.lightSQL + ") WHERE dm_hold IS NOT NULL"
	if _, err := c.ExecProgress(ctx, report, q); err != nil {
		return err
	}
	if len(computed) > 0 {
		var rows int64
		counts := "count(" + strings.Join(computed, ") + count(") + ")"
		if err := c.Row(ctx, []any{&rows}, "SELECT "+counts+" FROM (\n"+user+"\n)"); err != nil {
			return err
		}
	}
	if err := checkUnique(ctx, c, "("+j.lightSQL+")", "legacy_key", "legacy_key", true); err != nil {
		return err
	}
	res := &j.result
	if err := c.Row(ctx, []any{&res.Rows, &res.Held}, "SELECT (SELECT count(*) FROM dm."+j.source+"), (SELECT count(*) FROM "+j.data+")"); err != nil {
		return err
	}
	if res.Held > res.Rows/maxHeldShare {
		return errNotLight
	}
	res.New, j.next = res.Rows, res.Rows
	return nil
}

// lightSelect rewrites the user's SELECT to read the source's own table and to give its
// rowid, and lists the columns it computes. It returns errNotLight when the SELECT is
// anything but expressions over the rows of one source.
func (j *job) lightSelect(ctx context.Context, c *duckstage.Conn) (sql string, computed []string, err error) {
	var text string
	if err := c.Row(ctx, []any{&text}, "SELECT json_serialize_sql("+duckstage.Quote(j.sql)+")::VARCHAR"); err != nil {
		return "", nil, err
	}
	tree, err := parseTree(text)
	if err != nil {
		return "", nil, err
	}
	from, items, ok := tree.simple()
	if !ok || j.given["rowid"] || j.given[lightRowID] {
		return "", nil, errNotLight
	}
	if ok, err := alwaysTheSame(ctx, c, tree.functions); err != nil || !ok {
		return "", nil, errors.Join(err, errNotLight)
	}
	if j.source, err = sourceTable(ctx, c, from); err != nil {
		return "", nil, err
	}
	if from["alias"] == "" {
		from["alias"] = from["table_name"]
	}
	from["schema_name"], from["table_name"] = "dm", j.source
	tree.node["select_list"] = append(items, map[string]any{"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": lightRowID, "column_names": []any{"rowid"}})
	changed, err := json.Marshal(tree.root)
	if err != nil {
		return "", nil, err
	}
	if err := c.Row(ctx, []any{&sql}, "SELECT json_deserialize_sql("+duckstage.Quote(string(changed))+"::JSON)"); err != nil {
		return "", nil, err
	}
	cols, err := c.Describe(ctx, sql)
	if err != nil {
		return "", nil, err
	}
	given, err := c.Describe(ctx, "SELECT * FROM dm."+j.source)
	if err != nil {
		return "", nil, err
	}
	if !tree.knowsColumns(given, from["alias"]) {
		return "", nil, errNotLight
	}
	plain := tree.plainColumns(given)
	for i, col := range cols {
		low := strings.ToLower(col.Name)
		if i == len(cols)-1 && low == lightRowID {
			break
		}
		if !j.given[low] || j.types[low] != col.SQLType {
			return "", nil, errNotLight
		}
		if !plain[low] {
			computed = append(computed, duckstage.Ident(col.Name))
		}
	}
	if len(cols) != len(j.given)+1 {
		return "", nil, errNotLight
	}
	return sql, computed, nil
}

// sourceTable is the table behind a source, as the user's SELECT names it.
func sourceTable(ctx context.Context, c *duckstage.Conn, from map[string]any) (string, error) {
	var data string
	var named int64
	err := c.Row(ctx, []any{&data, &named}, `SELECT s.data, (SELECT count(*) FROM duckdb_columns() WHERE schema_name = 'dm' AND table_name = s.data AND lower(column_name) = 'rowid')
		FROM dm.sources s WHERE lower(s.name) = lower(?) AND EXISTS (SELECT 1 FROM duckdb_views() WHERE database_name = current_database()
			AND schema_name = 'source' AND lower(view_name) = lower(s.name) AND contains(sql, 'dm.' || s.data || ';'))`, from["table_name"])
	if err != nil || named > 0 {
		return "", errors.Join(err, errNotLight)
	}
	return data, nil
}

// pureMacros are DuckDB's macros that are made of functions that always give the same.
var pureMacros = []string{"nullif", "split_part"}

// alwaysTheSame reports whether every function gives the same for the same arguments,
// and takes one row: no aggregate, no clock, no chance, no macro of the user's.
func alwaysTheSame(ctx context.Context, c *duckstage.Conn, names []string) (bool, error) {
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		var known, other int64
		err := c.Row(ctx, []any{&known, &other}, `SELECT count(*), count(*) FILTER (NOT internal OR function_type <> 'scalar' OR stability <> 'CONSISTENT')
			FROM duckdb_functions() WHERE lower(function_name) = ?`, name)
		if err != nil {
			return false, err
		}
		if known == 0 || other > 0 && (other > 1 || !slices.Contains(pureMacros, name)) {
			return false, nil
		}
	}
	return true, nil
}

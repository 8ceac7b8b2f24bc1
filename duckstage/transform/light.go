package transform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	if j.later || len(j.Lookups) > 0 || j.KeepID != "" {
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

// tree is a parsed SELECT, in the form that json_serialize_sql gives it.
type tree struct {
	root, node map[string]any
	functions  []string
}

func parseTree(text string) (*tree, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	t := &tree{}
	if err := decoder.Decode(&t.root); err != nil {
		return nil, fmt.Errorf("parse statement: %w", err)
	}
	statements, _ := t.root["statements"].([]any)
	if t.root["error"] != false || len(statements) != 1 {
		return nil, errNotLight
	}
	statement, _ := statements[0].(map[string]any)
	t.node, _ = statement["node"].(map[string]any)
	if t.node == nil {
		return nil, errNotLight
	}
	return t, nil
}

// simple reports whether the statement only computes expressions over the rows of one
// table, and returns its FROM and its select list. What it does not know it refuses.
func (t *tree) simple() (from map[string]any, items []any, ok bool) {
	for key, value := range t.node {
		switch key {
		case "type":
			ok = value == "SELECT_NODE"
		case "aggregate_handling":
			ok = value == "STANDARD_HANDLING"
		case "modifiers", "group_expressions", "group_sets":
			list, isList := value.([]any)
			ok = isList && len(list) == 0
		case "where_clause", "having", "sample", "qualify":
			ok = value == nil
		case "cte_map":
			ctes, _ := value.(map[string]any)
			list, isList := ctes["map"].([]any)
			ok = isList && len(list) == 0
		case "select_list":
			items, ok = value.([]any)
		case "from_table":
			from, ok = value.(map[string]any)
		default:
			ok = false
		}
		if !ok {
			return nil, nil, false
		}
	}
	schema, catalog := from["schema_name"], from["catalog_name"]
	names, _ := from["column_name_alias"].([]any)
	ok = from["type"] == "BASE_TABLE" && (schema == "" || schema == "source") && catalog == "" && from["sample"] == nil && from["at_clause"] == nil && len(names) == 0
	for _, item := range items {
		ok = ok && t.rowwise(item)
	}
	return from, items, ok
}

// rowwise reports whether an expression needs nothing but its row, and collects the
// functions it calls.
func (t *tree) rowwise(expr any) bool {
	switch x := expr.(type) {
	case []any:
		for _, child := range x {
			if !t.rowwise(child) {
				return false
			}
		}
	case map[string]any:
		if class, ok := x["class"]; ok && !t.allowed(class, x) {
			return false
		}
		for _, child := range x {
			if !t.rowwise(child) {
				return false
			}
		}
	}
	return true
}

func (t *tree) allowed(class any, x map[string]any) bool {
	switch class {
	case "CONSTANT", "CAST", "OPERATOR", "COMPARISON", "CONJUNCTION", "CASE", "BETWEEN":
		return true
	case "STAR":
		return x["columns"] == false && x["expr"] == nil
	case "COLUMN_REF":
		names, ok := x["column_names"].([]any)
		return ok && len(names) <= 2 // more would name the schema, which changes
	case "FUNCTION":
		name, ok := x["function_name"].(string)
		t.functions = append(t.functions, strings.ToLower(name))
		return ok && x["distinct"] == false && x["filter"] == nil && x["export_state"] == false && x["catalog"] == ""
	}
	return false
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

// plainColumns are the lower-case names of the columns that the SELECT gives as they are
// in the source, whose columns are given; any other is computed and could fail.
func (t *tree) plainColumns(source []duckstage.ColumnInfo) map[string]bool {
	plain, computed := map[string]bool{}, map[string]bool{}
	items, _ := t.node["select_list"].([]any)
	for _, item := range items {
		x, _ := item.(map[string]any)
		alias, _ := x["alias"].(string)
		names, _ := x["column_names"].([]any)
		replaced, _ := x["replace_list"].([]any)
		switch {
		case x["class"] == "STAR" && len(replaced) == 0:
			for _, col := range source {
				plain[strings.ToLower(col.Name)] = true
			}
		case x["class"] == "COLUMN_REF" && alias == "" && len(names) > 0:
			alias, _ = names[len(names)-1].(string)
			plain[strings.ToLower(alias)] = true
		case x["class"] == "COLUMN_REF":
			plain[strings.ToLower(alias)] = true
		case alias != "":
			computed[strings.ToLower(alias)] = true
		}
	}
	for name := range computed {
		delete(plain, name)
	}
	return plain
}

package transform

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// tree is a parsed SELECT, in the form that json_serialize_sql gives it.
type tree struct {
	root, node map[string]any
	functions  []string // called
	refs       []string // first parts of the names of columns
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
		if !ok || len(names) == 0 || len(names) > 2 { // more would name the schema, which changes
			return false
		}
		first, ok := names[0].(string)
		t.refs = append(t.refs, first)
		return ok
	case "FUNCTION":
		name, ok := x["function_name"].(string)
		t.functions = append(t.functions, strings.ToLower(name))
		return ok && x["distinct"] == false && x["filter"] == nil && x["export_state"] == false && x["catalog"] == ""
	}
	return false
}

// knowsColumns reports whether every name is a column's, the source's or an alias:
// current_date and its like are written as columns, and are none.
func (t *tree) knowsColumns(source []duckstage.ColumnInfo, alias any) bool {
	known := map[string]bool{}
	add := func(name any) {
		if text, ok := name.(string); ok {
			known[strings.ToLower(text)] = true
		}
	}
	add(alias)
	for _, col := range source {
		add(col.Name)
	}
	items, _ := t.node["select_list"].([]any)
	for _, item := range items {
		x, _ := item.(map[string]any)
		add(x["alias"])
	}
	return !slices.ContainsFunc(t.refs, func(name string) bool { return !known[strings.ToLower(name)] })
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

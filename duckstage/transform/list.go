package transform

import (
	"fmt"
	"strings"

	"dvmigrate/duckstage"
)

// List is a column that names several rows of other tables: the SELECT gives a list of
// ref, existing and party_address, or one of them. The relation has it as text, one item after
// the other with a comma between, in the order of the SELECT's list; null when there is
// none. An item is the text that the target takes, around a record id or an address.
type List struct {
	Column  string
	Targets []ListTarget
	Address Around // of an address, which stands in it as a JSON text
}

// ListTarget is a table that an item may point to.
type ListTarget struct {
	Target
	Around
}

// Around is the text before and after what an item names.
type Around struct{ Before, After string }

// addressTable is the table of what party_address gives, which is in no table.
const addressTable = "@"

// reference is the type that ref, existing and party_address return.
const reference = "STRUCT(dm_table VARCHAR, dm_key VARCHAR, dm_id VARCHAR, dm_by VARCHAR)"

// checkLists looks at the types of the list columns.
func (j *job) checkLists(need func(string) error) error {
	for _, l := range j.Lists {
		if err := need(l.Column); err != nil {
			return err
		}
		switch j.types[strings.ToLower(l.Column)] {
		case reference, reference + "[]", nullType, nullType + "[]":
		default:
			return fmt.Errorf("column %s is a %s: give a list such as [ref('table', key), existing('table', id), party_address('x@y.z')]", l.Column, j.types[strings.ToLower(l.Column)])
		}
	}
	return nil
}

// joined reports whether the table needs the second pass to find other rows.
func (j *job) joined() bool { return len(j.Lookups)+len(j.Lists) > 0 }

func listName(i int) string { return fmt.Sprintf("dm_list_%d", i) }

// listValue is what the SELECT gives of a list, always as a list.
func (j *job) listValue(i int) namedValue {
	value := "u." + duckstage.Ident(j.Lists[i].Column)
	if t := j.types[strings.ToLower(j.Lists[i].Column)]; t == reference || t == nullType {
		value = "[" + value + "]"
	}
	return namedValue{listName(i), "CAST(" + value + " AS " + reference + "[])"}
}

// list resolves a list: its items one by one, as lookups are, and together again.
func (r *resolver) list(j *job, i int) lookupSQL {
	l := j.Lists[i]
	const table, key, guid = "e.p.dm_table", "e.p.dm_key", "e.p.dm_id"
	found := j.found(l.items(), j.finds[l.Column], "f", "e.p.dm_by", key, table)
	byKey := "CASE WHEN e.p.dm_by IS NULL THEN " + key + " END"
	id, text := "TRY_CAST("+guid+" AS UUID)", " WHEN "+table+" = '"+addressTable+"' THEN "+l.Address.sql("to_json("+key+")::VARCHAR")
	var joins string
	for n, t := range l.Targets {
		if t.Staged {
			k := fmt.Sprintf("k%d", n)
			joins += fmt.Sprintf(" LEFT JOIN (%s) %s ON %[2]s.legacy_key = CASE WHEN %s = %s AND %s IS NULL THEN %s END", r.keysOf(t.Table), k, table, duckstage.Quote(t.Table), guid, byKey)
			id += ", " + k + ".dm_id"
		}
	}
	joins += found.joins
	id = "coalesce(" + id + found.ids + ", NULL::UUID)"
	for _, t := range l.Targets {
		text += " WHEN " + found.tableOr(table) + " = " + duckstage.Quote(t.Table) + " THEN " + t.sql(id+"::VARCHAR")
	}
	fault := "CASE WHEN " + table + " <> '" + addressTable + "' THEN " + found.faultOr(lookupFault(l.items(), byKey, guid, table, id, true)) + " END"
	items := "SELECT rowid AS r, unnest(" + listName(i) + ") AS p, generate_subscripts(" + listName(i) + ", 1) AS n FROM " + j.raw
	alias := fmt.Sprintf("l_%d", i)
	name, faultName := duckstage.Ident(l.Column), fmt.Sprintf("dm_list_fault_%d", i)
	return lookupSQL{
		joins: " LEFT JOIN (SELECT r, string_agg(text, ',' ORDER BY n) AS text, arg_min(fault, n) AS fault FROM (SELECT e.r, e.n, CASE" + text + " END AS text, " + fault +
			" AS fault FROM (" + items + ") e" + joins + " WHERE e.p IS NOT NULL) GROUP BY r) " + alias + " ON " + alias + ".r = t.rowid",
		columns: []string{alias + ".text AS " + name, alias + ".fault AS " + faultName},
		names:   []string{name},
		faults:  []string{"WHEN " + faultName + " IS NOT NULL THEN " + faultName},
	}
}

// items are the list's items as lookups.
func (l List) items() Lookup {
	as := Lookup{Column: l.Column}
	for _, t := range l.Targets {
		as.Targets = append(as.Targets, t.Target)
	}
	return as
}

// sql puts the text around a value.
func (a Around) sql(value string) string {
	return duckstage.Quote(a.Before) + " || " + value + " || " + duckstage.Quote(a.After)
}

package appliance

import (
	"slices"
	"strings"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/transform"
)

// StageOptions say what a staging redoes. The zero value redoes everything.
type StageOptions struct {
	Sources []string // those read anew; all if there are no Tables, too
	Tables  []string // those transformed anew, with what depends on them; all if there are none
}

// chosen are the tables to transform anew, each with the reason: those that are asked for
// (""), those whose lookups point to one that is redone, and those whose SELECT reads it.
// A table that points to one of the second kind does not change by it, since the ids of
// rows stay; one that reads it does.
func (b *bound) chosen(tables []string, files []transformFile, scripts []transform.Script) map[string]string {
	why := map[string]string{}
	var read []string // whose values may have changed
	for _, t := range tables {
		why[t] = ""
		read = append(read, t)
	}
	add := func(table, reason string, values bool) {
		if _, known := why[table]; known {
			return
		}
		why[table] = reason
		if values {
			read = append(read, table)
		}
	}
	for i := 0; i < len(read); i++ {
		from := read[i]
		shared := slices.ContainsFunc(scripts, func(s transform.Script) bool { return mentions(s.SQL, from) })
		for _, f := range files {
			if shared || mentions(f.sql, from) && !slices.Contains(pointsTo(b.byName[f.table]), from) {
				add(f.table, "reads "+from, true)
			}
		}
		for _, t := range b.tables {
			if slices.Contains(pointsTo(t), from) {
				add(t.Name, "points to "+from, readsRelation(files, t.Name, from))
			}
		}
	}
	return why
}

// pointsTo are the staged tables that a table's lookups and lists may point to.
func pointsTo(t *mapping.Table) []string {
	var out []string
	note := func(targets []mapping.Target) {
		for _, target := range targets {
			if target.Staged && target.Table != t.Name {
				out = append(out, target.Table)
			}
		}
	}
	for i := range t.Lookups {
		note(t.Lookups[i].Targets)
	}
	for i := range t.Parties {
		note(t.Parties[i].Targets)
	}
	return out
}

// readsRelation reports whether a table's SELECT may take rows of another table, and not
// only point to it: its name stands there without quotes.
func readsRelation(files []transformFile, table, of string) bool {
	return slices.ContainsFunc(files, func(f transformFile) bool {
		return f.table == table && mentions(strings.ReplaceAll(f.sql, "'"+of+"'", ""), of)
	})
}

// mentions reports whether a name stands in a SQL text.
func mentions(sql, name string) bool {
	line, _ := findWord(strings.ToLower(sql), strings.ToLower(name))
	return line > 0
}

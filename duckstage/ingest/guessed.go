package ingest

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"dvmigrate/duckstage"
)

// guesses are the types that texts may have, the narrowest first, each with the texts that it does not change: no zeros in
// front, no more digits than it keeps, and dates in ISO form alone, since 05-06-2024 is June in one country and May in another.
// No times of day: 10:30 would become 10:30:00.
var guesses = []struct{ sqlType, texts string }{
	{"BOOLEAN", `(?i:true|false)`},
	{"BIGINT", `0|-?[1-9][0-9]{0,17}`},
	{"DOUBLE", `-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,14})?`},
	{"DATE", `[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}`},
	{"TIMESTAMP", `[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?`},
}

// fifteenDigits are the digits that a DOUBLE keeps.
const fifteenDigits = 15

// guessed are the types of those columns of a table, all of them texts, that all of their texts allow, and how many rows it
// has. What is declared, made by a format or masked is not asked.
func (r *run) guessed(ctx context.Context, c *duckstage.Conn, table string, columns []string) (out map[string]string, rows int64, err error) {
	var names, asked []string
	for _, name := range columns {
		_, formatted := r.src.format(name)
		if _, masked := r.src.maskOf(name); masked || formatted || r.src.declared(name) != "" {
			continue
		}
		names = append(names, name)
		col := duckstage.Ident(name)
		for _, g := range guesses {
			fits := fmt.Sprintf("regexp_full_match(%s, %s) AND TRY_CAST(%s AS %s) IS NOT NULL", col, duckstage.Quote(g.texts), col, g.sqlType)
			if g.sqlType == "DOUBLE" {
				fits += fmt.Sprintf(" AND length(%s) - contains(%s, '-')::INT - contains(%s, '.')::INT <= %d", col, col, col, fifteenDigits)
			}
			asked = append(asked, "coalesce(bool_and("+fits+"), false)")
		}
		asked = append(asked, "coalesce(bool_and(regexp_full_match("+col+", '-?[0-9]+(\\.[0-9]+)?')), false)")
	}
	out = map[string]string{}
	if len(names) == 0 {
		return out, 0, nil
	}
	found := make([]bool, len(asked))
	into := make([]any, len(asked), len(asked)+1)
	for i := range found {
		into[i] = &found[i]
	}
	if err := c.Row(ctx, append(into, &rows), "SELECT "+strings.Join(asked, ", ")+", count(*) FROM "+table); err != nil {
		return nil, 0, err
	}
	for i, name := range names {
		of := found[i*(len(guesses)+1):]
		for k := range guesses {
			if of[k] {
				out[name] = guesses[k].sqlType
				break
			}
		}
		if out[name] == "" && of[len(guesses)] {
			r.notes = append(r.notes, name+" is text, since a number would not say what the file says (zeros in front, or more digits than it keeps); `types` may name a type for it")
		}
	}
	return out, rows, nil
}

// readGuessed reads delimited text twice: as text, and as what all of the texts say.
func (r *run) readGuessed(ctx context.Context, c *duckstage.Conn, paths, columns []string, rewritten bool) (int64, error) {
	bad, count := r.bad, r.badCount
	r.src.AutoTypes = false
	rows, err := r.readText(ctx, c, paths, columns, rewritten)
	if err != nil {
		return rows, err
	}
	types, _, err := r.guessed(ctx, c, "dm."+duckstage.Ident(r.building()), columns)
	if err != nil || len(types) == 0 {
		return rows, err
	}
	maps.Copy(types, r.src.Types)
	r.bad, r.badCount, r.src.Types = bad, count, types
	return r.readText(ctx, c, paths, columns, rewritten)
}

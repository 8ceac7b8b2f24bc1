package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/duckstage"
)

// surelyGuessed leaves DuckDB the types that it guesses without changing a value: dates in
// ISO form alone, since 05-06-2024 is June in one country and May in another, and no times of
// day, since 10:30 would become 10:30:00.
const surelyGuessed = `dateformat='%Y-%m-%d', timestampformat='iso', auto_type_candidates=['BOOLEAN', 'BIGINT', 'DOUBLE', 'DATE', 'TIMESTAMP', 'VARCHAR']`

// misguessed are the columns of a table whose guessed type is not what their texts say: numbers
// of more digits than DOUBLE has, such as of accounts, and dates before the year 1000, which
// were something like 01-02-03.
func (r *run) misguessed(ctx context.Context, c *duckstage.Conn, table string, columns []string) ([]string, error) {
	infos, err := c.Describe(ctx, "SELECT * FROM "+table)
	if err != nil {
		return nil, err
	}
	var names, asked []string
	for _, info := range infos {
		_, formatted := r.src.format(info.Name)
		if formatted || r.src.declared(info.Name) != "" || !slices.Contains(columns, info.Name) {
			continue
		}
		col, wrong := duckstage.Ident(info.Name), ""
		switch info.SQLType {
		case "DOUBLE":
			wrong = fmt.Sprintf("max(abs(%s)) >= %d", col, exactWhole)
		case "DATE", "TIMESTAMP":
			wrong = "min(" + col + ") < DATE '1000-01-01'"
		default:
			continue
		}
		names, asked = append(names, info.Name), append(asked, "coalesce("+wrong+", false)")
	}
	if len(names) == 0 {
		return nil, nil
	}
	found := make([]bool, len(names))
	into := make([]any, len(names))
	for i := range found {
		into[i] = &found[i]
	}
	if err := c.Row(ctx, into, "SELECT "+strings.Join(asked, ", ")+" FROM "+table); err != nil {
		return nil, err
	}
	var out []string
	for i, name := range names {
		if found[i] {
			out = append(out, name)
		}
	}
	return out, nil
}

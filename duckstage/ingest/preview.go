package ingest

import (
	"context"
	"fmt"
	"strings"

	"dvmigrate/duckstage"
)

// Preview makes the source's table with its columns and without its rows, so that SQL
// over it can be checked before anything is staged. It finds what Run would refuse
// before the first row: missing files, a wrong delimiter, headers that differ. Columns
// whose type DuckDB is to guess from a file that has to be rewritten first are text.
func Preview(ctx context.Context, stage *duckstage.Stage, src Source) error {
	inputs, err := src.inputs()
	if err == nil {
		src, err = src.normalize(inputs[0].path)
	}
	if err != nil {
		return err
	}
	query, err := src.emptySelect(inputs)
	if err != nil {
		return err
	}
	_, err = stage.Exec(ctx, "CREATE OR REPLACE TABLE source."+duckstage.Ident(src.Name)+" AS "+query)
	return err
}

// emptySelect selects the source's columns and no rows.
func (src *Source) emptySelect(inputs []input) (string, error) {
	paths := make([]string, len(inputs))
	for i, in := range inputs {
		paths[i] = in.path
	}
	if src.Format != CSV {
		return "SELECT *, NULL::TIMESTAMP AS dm_created_at FROM " + src.readOther(paths) + " LIMIT 0", nil
	}
	columns, err := src.columns(inputs)
	if err != nil {
		return "", err
	}
	if src.AutoTypes && !src.rewritten() {
		read, err := src.readCSV(paths, columns, false)
		return "SELECT *, NULL::TIMESTAMP AS dm_created_at FROM " + read + " LIMIT 0", err
	}
	selected := make([]string, len(columns), len(columns)+2)
	for i, name := range columns {
		typ := "VARCHAR"
		for declared, t := range src.Types {
			if strings.EqualFold(declared, name) {
				typ = t
			}
		}
		selected[i] = fmt.Sprintf("NULL::%s AS %s", typ, duckstage.Ident(name))
	}
	selected = append(selected, "NULL::TIMESTAMP AS dm_created_at")
	if len(inputs) > 1 {
		selected = append(selected, "NULL::VARCHAR AS dm_file")
	}
	return "SELECT " + strings.Join(selected, ", ") + " LIMIT 0", nil
}

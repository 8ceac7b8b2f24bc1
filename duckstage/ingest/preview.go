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
	r := &run{src: src}
	if err := r.prepare(); err != nil {
		return err
	}
	if err := r.src.typeNames(ctx, stage); err != nil {
		return err
	}
	if r.src.supplied() {
		return r.previewSupply(ctx, stage)
	}
	if r.src.Format != CSV {
		return r.previewOther(ctx, stage)
	}
	query, err := r.src.emptySelect(r.inputs)
	if err != nil {
		return err
	}
	if _, err = stage.Exec(ctx, "CREATE OR REPLACE TABLE source."+duckstage.Ident(r.src.Name)+" AS "+query); err != nil {
		return err
	}
	return r.previewMasks(ctx, stage, r.src.Name)
}

// previewMasks finds masks that do not go with the columns of the source's relations.
func (r *run) previewMasks(ctx context.Context, stage *duckstage.Stage, relations ...string) error {
	var columns []string
	for _, name := range relations {
		infos, err := stage.Columns(ctx, "source", name)
		if err != nil {
			return err
		}
		if _, err := r.src.maskList(infos); err != nil {
			return err
		}
		for _, info := range infos {
			if info.Name != "dm_created_at" && info.Name != "dm_source" {
				columns = append(columns, info.Name)
			}
		}
	}
	return r.src.knownMasks(columns)
}

// emptySelect selects the source's columns and no rows.
func (src *Source) emptySelect(inputs []input) (string, error) {
	paths := make([]string, len(inputs))
	for i, in := range inputs {
		paths[i] = in.path
	}
	added := ", NULL::TIMESTAMP AS dm_created_at, NULL::VARCHAR AS dm_source"
	extra := []string{"NULL::TIMESTAMP AS dm_created_at", "NULL::VARCHAR AS dm_source"}
	if src.Partition {
		shown := make([]string, len(inputs))
		for i, in := range inputs {
			shown[i] = in.shown
		}
		for _, key := range partitionKeys(shown) {
			added += ", NULL::VARCHAR AS " + duckstage.Ident(key)
			extra = append(extra, "NULL::VARCHAR AS "+duckstage.Ident(key))
		}
	}
	columns, err := src.columns(inputs)
	if err != nil {
		return "", err
	}
	if src.AutoTypes && !src.rewritten() && len(src.Formats) == 0 {
		read, err := src.readCSV(paths, columns, false)
		return "SELECT *" + added + " FROM " + read + " LIMIT 0", err
	}
	fields := make([]field, len(columns))
	for i, name := range columns {
		fields[i] = field{name: name}
	}
	typed, err := src.typedText(fields)
	if err != nil {
		return "", err
	}
	stored := make([]string, len(columns))
	for i, name := range columns {
		typ := src.declared(name)
		if _, ok := src.format(name); ok || typ == "" || readAsText(typ) {
			typ = "VARCHAR"
		}
		stored[i] = fmt.Sprintf("NULL::%s AS %s", typ, duckstage.Ident(name))
	}
	if len(inputs) > 1 {
		extra = append(extra, "NULL::VARCHAR AS dm_file")
	}
	selected, _ := typed.selection(extra...)
	return "SELECT " + selected + " FROM (SELECT " + strings.Join(stored, ", ") + ") LIMIT 0", nil
}

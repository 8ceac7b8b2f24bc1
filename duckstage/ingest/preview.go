package ingest

import (
	"context"
	"fmt"
	"strings"

	"dvmigrate/duckstage"
)

// Preview makes the source's table with its columns and without its rows, so that SQL
// over it can be checked before anything is staged. It finds what Run would refuse
// before the first row: missing files, a wrong delimiter, headers that differ. Notes say of
// which columns Run may find another type.
func Preview(ctx context.Context, stage *duckstage.Stage, src Source) (notes []string, err error) {
	r := &run{src: src}
	err = r.preview(ctx, stage)
	return r.notes, err
}

func (r *run) preview(ctx context.Context, stage *duckstage.Stage) error {
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
	if err := r.previewGuessed(ctx, stage); err != nil {
		return err
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

// guessedRows is of how many rows a preview asks what types they allow.
const guessedRows = 200_000

// previewGuessed finds the types that Run finds with AutoTypes, if there are no more rows than
// it asks.
func (r *run) previewGuessed(ctx context.Context, stage *duckstage.Stage) error {
	if !r.src.AutoTypes {
		return nil
	}
	r.src.AutoTypes = false
	columns, err := r.src.columns(r.inputs)
	if err != nil {
		return err
	}
	if r.src.rewritten() {
		return r.previewAsTexts()
	}
	paths := make([]string, len(r.inputs))
	for i, in := range r.inputs {
		paths[i] = in.path
	}
	read, err := r.src.readCSV(paths, columns, false)
	if err != nil {
		return err
	}
	err = stage.With(ctx, func(c *duckstage.Conn) error {
		for _, t := range []string{rejectErrors, rejectScans} {
			if _, err := c.Exec(ctx, "DROP TABLE IF EXISTS temp."+t); err != nil {
				return err
			}
		}
		said := len(r.notes)
		types, rows, err := r.guessed(ctx, c, fmt.Sprintf("(SELECT * FROM %s LIMIT %d)", read, guessedRows), columns)
		if err != nil {
			return err
		}
		r.notes = r.notes[:said] // stage says them
		if rows == guessedRows {
			r.notes = append(r.notes, fmt.Sprintf("types: auto looked at the first %d rows here, and looks at all when it is staged: a column may be text then", rows))
		}
		for name, typ := range r.src.Types {
			types[name] = typ
		}
		r.src.Types = types
		return nil
	})
	if mixedLineEnds(err) {
		return r.previewAsTexts()
	}
	return err
}

func (r *run) previewAsTexts() error {
	r.notes = append(r.notes, "types: auto finds types when it is staged; here its columns are texts")
	return nil
}

// emptySelect selects the source's columns and no rows.
func (src *Source) emptySelect(inputs []input) (string, error) {
	extra := []string{"NULL::TIMESTAMP AS dm_created_at", "NULL::VARCHAR AS dm_source"}
	if src.Partition {
		shown := make([]string, len(inputs))
		for i, in := range inputs {
			shown[i] = in.shown
		}
		for _, key := range partitionKeys(shown) {
			extra = append(extra, "NULL::VARCHAR AS "+duckstage.Ident(key))
		}
	}
	columns, err := src.columns(inputs)
	if err != nil {
		return "", err
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

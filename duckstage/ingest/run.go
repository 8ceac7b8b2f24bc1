package ingest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dvmigrate/duckstage"
)

// supply is what rows are read from in Go.
type supply interface {
	// relations finds what there is to read. Their fields may change until their parts
	// are read.
	relations(ctx context.Context, src *Source) ([]*relation, error)
	// workers is how many parts may be read at once.
	workers() int
	// notes says what the user should know of how it was read.
	notes() []string
	close()
}

// planner is a supply whose parts depend on what an interrupted run has planned.
type planner interface {
	// plan makes the parts of a relation; former are the labels of an interrupted run's.
	plan(ctx context.Context, rel *relation, former []string) error
}

// beginner is a supply that fixes a point in time before it plans.
type beginner interface {
	// begin says which point in time the relation is read at.
	begin(ctx context.Context, rel *relation) error
}

// openSupply opens what the source is read from.
func (r *run) openSupply(ctx context.Context) (supply, error) {
	switch {
	case r.src.Database != nil:
		return openDatabase(ctx, &r.src)
	case r.src.Dataverse != nil:
		return openEnvironment(&r.src)
	case r.src.Format == XLSX:
		return openWorkbooks(&r.src, r.inputs)
	}
	return openPackages(r.inputs)
}

// runSupply reads every relation of the source into parts, makes their tables, and puts
// all of them in place together.
func (r *run) runSupply(ctx context.Context, stage *duckstage.Stage, start time.Time) (rows int64, err error) {
	s, err := r.openSupply(ctx)
	if err != nil {
		return 0, err
	}
	defer s.close()
	relations, err := s.relations(ctx, &r.src)
	if err != nil {
		return 0, err
	}
	var columns []string
	for _, rel := range relations {
		for _, f := range rel.fields {
			columns = append(columns, f.name)
		}
		if note := r.src.MaskNote(); note != "" && rel.extract != "" {
			rel.extract += " " + note // parts that are masked otherwise are no use
		}
	}
	if err := r.src.knownMasks(columns); err != nil {
		return 0, err
	}
	if b, ok := s.(beginner); ok {
		for _, rel := range relations {
			if err := b.begin(ctx, rel); err != nil {
				return 0, err
			}
		}
	}
	var reached markState
	if marked, ok := s.(*dbSupply); ok && r.src.Feed.Watermark != "" {
		if reached, r.whole, err = r.planMark(ctx, stage, marked, relations[0]); err != nil {
			return 0, err
		}
	}
	var bytes int64
	bytes, r.total = r.total, 0
	defer func() { r.total = bytes }()
	for _, rel := range relations {
		if p, ok := s.(planner); ok {
			former, err := r.formerLabels(ctx, stage, rel)
			if err == nil {
				err = p.plan(ctx, rel, former)
			}
			if err != nil {
				return 0, err
			}
		}
		r.total += rel.rows
	}
	changes, merge := s.(*environmentSupply)
	primary := ""
	if merge = merge && r.src.Dataverse.Delta; merge {
		if primary, err = r.planChanges(ctx, stage, changes, relations[0]); err != nil {
			return 0, err
		}
	}
	var tables []built
	defer func() {
		if err != nil {
			err = errors.Join(err, r.dropBuilt(context.WithoutCancel(ctx), stage, tables))
		}
	}()
	for _, rel := range relations {
		rel.alone = rel.extract == "" && s.workers() <= 1
		r.maskedParts = len(r.src.Masks) > 0 && !rel.alone
		if w, ok := s.(*workbooks); ok {
			r.lineOf = func(row int64) int64 { return int64(w.lines[row-1]) }
		}
		b, records, err := r.readRelation(ctx, stage, rel, s.workers(), func(c *duckstage.Conn, b *built) error {
			switch {
			case merge:
				return r.mergeChanges(ctx, c, changes, b, primary)
			case len(r.src.Feed.Key) > 0:
				return r.mergeFeed(ctx, c, b)
			}
			return nil
		})
		tables = append(tables, b)
		if err != nil {
			return 0, err
		}
		if !oneMark(records) {
			r.notes = append(r.notes, fmt.Sprintf("%s was read at more than one point in time, because a reading was interrupted: rows may not fit together; stage it again for one point in time", rel.name))
		}
		r.before += b.rows
		rows += b.rows
		r.badCount += b.rejected
		r.bad = append(r.bad, b.bad...)
	}
	if err := r.tooMany(rows); err != nil {
		return 0, err
	}
	r.results, r.notes = tables, append(r.notes, s.notes()...)
	return rows, stage.With(ctx, func(c *duckstage.Conn) error {
		if err := r.swap(ctx, c, tables, time.Since(start)); err != nil {
			return err
		}
		switch {
		case merge:
			return r.keepChanges(ctx, c, changes)
		case r.src.Feed.Watermark != "":
			return r.keepMark(ctx, c, reached)
		}
		return nil
	})
}

// readRelation reads the relation's parts and makes its new table of them, which then
// changes. What is read on one connection is one transaction, and its parts never reach
// the stage's file.
func (r *run) readRelation(ctx context.Context, stage *duckstage.Stage, rel *relation, workers int, then func(*duckstage.Conn, *built) error) (b built, records []partRecord, err error) {
	if !rel.alone {
		if records, err = r.loadParts(ctx, stage, nil, rel, workers); err != nil {
			return b, nil, err
		}
	}
	err = stage.With(ctx, func(c *duckstage.Conn) error {
		if !rel.alone {
			if b, err = r.assemble(ctx, c, rel, records); err != nil {
				return err
			}
			return then(c, &b)
		}
		return c.Tx(ctx, func() error {
			if records, err = r.loadParts(ctx, stage, c, rel, workers); err != nil {
				return err
			}
			if b, err = r.assemble(ctx, c, rel, records); err != nil {
				return err
			}
			return then(c, &b)
		})
	})
	return b, records, err
}

// dropBuilt removes tables that will not be used.
func (r *run) dropBuilt(ctx context.Context, stage *duckstage.Stage, tables []built) error {
	for _, b := range tables {
		if b.table == "" {
			continue
		}
		if _, err := stage.Exec(ctx, "DROP TABLE IF EXISTS dm."+duckstage.Ident(b.table)); err != nil {
			return err
		}
	}
	return nil
}

// formerLabels are the labels of the parts that an interrupted run planned for the same
// extract; none where there was no such run.
func (r *run) formerLabels(ctx context.Context, stage *duckstage.Stage, rel *relation) ([]string, error) {
	if rel.extract == "" {
		return nil, nil
	}
	var records []partRecord
	if err := r.formerParts(ctx, stage, rel, &records); err != nil {
		return nil, err
	}
	labels := make([]string, len(records))
	for i, p := range records {
		labels[i] = p.label
	}
	return labels, nil
}

// relationsKey is the stage's own fact about the relations that a source was read into.
func (r *run) relationsKey() string { return "relations of " + r.src.Name }

// relations are those that the source was read into before.
func (r *run) relations(ctx context.Context, c *duckstage.Conn) (map[string]bool, error) {
	var text string
	err := c.Row(ctx, []any{&text}, "SELECT value FROM dm.meta WHERE key = ?", r.relationsKey())
	if errors.Is(err, sql.ErrNoRows) {
		return map[string]bool{}, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal([]byte(text), &names); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.relationsKey(), err)
	}
	known := map[string]bool{}
	for _, n := range names {
		known[n] = true
	}
	return known, nil
}

func (r *run) storeRelations(ctx context.Context, c *duckstage.Conn, tables []built) error {
	names := make([]string, len(tables))
	for i, b := range tables {
		names[i] = b.name
	}
	text, err := json.Marshal(names)
	if err != nil {
		return err
	}
	if len(names) == 1 && names[0] == r.src.Name {
		if known, err := r.relations(ctx, c); err != nil || len(known) == 0 {
			return err // as it is with most sources: nothing needs to be said
		}
	}
	return c.SetMeta(ctx, r.relationsKey(), string(text))
}

// forget removes a relation that its source no longer has.
func (r *run) forget(ctx context.Context, c *duckstage.Conn, name string) error {
	_, unused, err := r.tables(ctx, c, name)
	if err != nil {
		return err
	}
	queries := []string{"DROP VIEW IF EXISTS source." + duckstage.Ident(name),
		"DELETE FROM dm.sources WHERE name = " + duckstage.Quote(name), "DELETE FROM dm.rejects WHERE source = " + duckstage.Quote(name)}
	for _, t := range unused {
		queries = append(queries, "DROP TABLE dm."+duckstage.Ident(t))
	}
	_, err = c.Exec(ctx, strings.Join(queries, ";"))
	return err
}

// previewSupply makes the source's relations with their columns and no rows.
func (r *run) previewSupply(ctx context.Context, stage *duckstage.Stage) error {
	s, err := r.openSupply(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	relations, err := s.relations(ctx, &r.src)
	if err != nil {
		return err
	}
	var names []string
	for _, rel := range relations {
		names = append(names, rel.name)
		if w, ok := s.(*workbooks); ok { // only its values tell the types
			if err := w.look(ctx, rel); err != nil {
				return err
			}
		}
		typed, err := r.src.typedFields(rel.fields)
		if err != nil {
			return err
		}
		stored := make([]string, len(rel.fields))
		for i, f := range rel.fields {
			stored[i] = "NULL::" + f.stored + " AS " + duckstage.Ident(f.name)
		}
		list, _ := typed.selection("NULL::TIMESTAMP AS dm_created_at", "NULL::VARCHAR AS dm_source")
		query := "CREATE OR REPLACE TABLE source." + duckstage.Ident(rel.name) + " AS SELECT " + list + " FROM (SELECT " + strings.Join(stored, ", ") + ") LIMIT 0"
		if _, err := stage.Exec(ctx, query); err != nil {
			return err
		}
	}
	return r.previewMasks(ctx, stage, names...)
}

// checkSupply checks what can be checked without asking the database or environment.
func (src *Source) checkSupply() error {
	if src.Name == "" || strings.HasPrefix(strings.ToLower(src.Name), "dm_") {
		return fmt.Errorf("a source cannot be called %q", src.Name)
	}
	switch {
	case src.Database != nil && src.Dataverse != nil:
		return errors.New("a source is a database or an environment, not both")
	case len(src.Paths) > 0:
		return errors.New("a source that is a database or an environment has no path")
	case src.Database != nil:
		return src.Database.check()
	}
	return src.Dataverse.check()
}

// shownList writes some of the names for a message.
func shownList(names []string) string {
	const most = 12
	names = slices.Clone(names)
	slices.Sort(names)
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

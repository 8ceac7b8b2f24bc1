package appliance

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/reconcile"
	"dvmigrate/duckstage"
)

// proveSources adds to a comparison what there is to say of the side before the load: that
// no line of a source is unaccounted for, and what the settings say that the source gives.
func (p *Project) proveSources(ctx context.Context, r *reconcile.Result) error {
	var err error
	if r.Sources, err = p.sourceRows(ctx); err != nil {
		return err
	}
	for i := range r.Tables {
		t := &r.Tables[i]
		if err := p.stagedRows(ctx, t); err != nil {
			return err
		}
		if err := p.sourceFigures(ctx, t); err != nil {
			return err
		}
	}
	r.Conclude()
	return nil
}

// sourceRows compares what each source was read as with what is there of it now.
func (p *Project) sourceRows(ctx context.Context) ([]reconcile.SourceRows, error) {
	out := []reconcile.SourceRows{}
	err := p.stage.Rows(ctx, `SELECT name, "rows", rejected FROM dm.sources ORDER BY name`, nil, func(scan func(...any) error) error {
		var s reconcile.SourceRows
		err := scan(&s.Name, &s.Rows, &s.SetAside)
		s.Lines = s.Rows + s.SetAside
		out = append(out, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count the sources: %w", err)
	}
	for i := range out {
		s := &out[i]
		if err := p.stage.Row(ctx, []any{&s.Staged}, "SELECT count(*) FROM source."+duckstage.Ident(s.Name)); err != nil {
			return nil, fmt.Errorf("count the source %s: %w", s.Name, err)
		}
		s.Same = s.Staged == s.Rows
	}
	return out, nil
}

// stagedRows counts a table's rows, and those of them that were not loaded.
func (p *Project) stagedRows(ctx context.Context, t *reconcile.TableResult) error {
	query := fmt.Sprintf(`SELECT count(*), count(*) FILTER (NOT (flag IN ('S', 'P') OR pass <> 'main' OR action = 'U')) FROM %s LEFT JOIN %s USING (dm_seq)`,
		duckstage.Ident(t.Name), duckstage.Ident(t.Name+load.FlagsSuffix))
	if err := p.stage.Row(ctx, []any{&t.Staged, &t.NotLoaded}, query); err != nil {
		return fmt.Errorf("count the staged rows of %s: %w", t.Name, err)
	}
	return nil
}

// rowsFigure is the name of a source's figure that is the number of rows.
const rowsFigure = "rows"

func (p *Project) sourceFigures(ctx context.Context, t *reconcile.TableResult) error {
	figures := p.Config.Comparison(t.Name).Source
	var names []string
	for name := range figures {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		one := func(query string) (text string, err error) {
			err = p.stage.Row(ctx, []any{&text}, "SELECT coalesce(("+query+")::VARCHAR, '')")
			return text, err
		}
		query, err := duckstage.One(figures[name].SQL)
		if err != nil {
			return fmt.Errorf("reconcile.%s.source.%s: %w", t.Name, name, err)
		}
		x := reconcile.SourceFigure{Name: name}
		if x.Source, err = one(query); err != nil {
			return fmt.Errorf("reconcile.%s.source.%s: it has to be a SELECT over the sources that yields one number: %w", t.Name, name, err)
		}
		figure := "count(*)"
		if name != rowsFigure {
			figure = "sum(" + duckstage.Ident(name) + ")"
		}
		if x.Staged, err = one("SELECT " + figure + " FROM " + duckstage.Ident(t.Name)); err != nil {
			return fmt.Errorf("reconcile.%s.source.%s: %w", t.Name, name, err)
		}
		x.Same = reconcile.SameNumber(x.Source, x.Staged)
		t.SourceFigures = append(t.SourceFigures, x)
	}
	return nil
}

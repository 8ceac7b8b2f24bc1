package appliance

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
)

// Plan orders the tables of the project as they are staged.
func (p *Project) Plan(ctx context.Context) (*plan.Plan, error) {
	b, err := p.bindStaged(ctx)
	if err != nil {
		return nil, err
	}
	return b.plan, nil
}

// bindStaged maps the tables as they were staged: from the transforms, described
// against the stage's own sources. A transform that was changed since is an error.
func (p *Project) bindStaged(ctx context.Context) (*bound, error) {
	tables, err := p.stagedTables(ctx)
	if err != nil {
		return nil, err
	}
	if len(tables) == 0 {
		return nil, ErrNotStaged
	}
	b, err := p.bind(ctx, p.stage)
	if err != nil {
		return nil, err
	}
	for _, t := range b.tables {
		if !slices.ContainsFunc(tables, func(s stagedTable) bool { return s.Name == t.Name }) {
			return nil, fmt.Errorf("table %s has a transform but is not staged; run `dvmigrate stage`", t.Name)
		}
		if err := p.sameColumns(ctx, t); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// sameColumns refuses a transform whose columns are not those that were staged.
func (p *Project) sameColumns(ctx context.Context, t *mapping.Table) error {
	staged, err := p.stage.Columns(ctx, "main", t.Name)
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for _, c := range staged {
		has[c.Name] = true
	}
	for _, write := range []mapping.Write{mapping.Insert, mapping.State} {
		for _, name := range t.Encoder(write, nil).StageColumns() {
			if !has[name] {
				return fmt.Errorf("the transform of %s yields column %s, which is not staged: it was changed since; run `dvmigrate stage`", t.Name, name)
			}
		}
	}
	return nil
}

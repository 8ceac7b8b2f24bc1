package appliance

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// Estimate is how long the load will take, with what it assumes.
type Estimate = plan.Estimate

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

// Estimate says how long the load of what is staged and not yet done will take, from
// counts, limits and rates alone: no network.
func (p *Project) Estimate(ctx context.Context) (plan.Estimate, error) {
	b, err := p.bindStaged(ctx)
	if err != nil {
		return plan.Estimate{}, err
	}
	var work []plan.Work
	for _, step := range b.plan.Steps {
		w, err := p.stepWork(ctx, b, step)
		if err != nil {
			return plan.Estimate{}, err
		}
		work = append(work, w...)
	}
	l, e := p.Config.Limits, p.Config.Estimate
	return plan.Compute(work, plan.Assumptions{
		Limits:  plan.Limits{Requests: l.Requests, Execution: l.Execution, Concurrent: l.Concurrent, Window: l.Window, Users: p.Config.Users(), Servers: l.Servers},
		Latency: e.Latency, Buffer: e.Buffer, Window: e.Window,
	}), nil
}

// stepWork counts the operations of one step that are still to be done.
func (p *Project) stepWork(ctx context.Context, b *bound, step plan.Step) ([]plan.Work, error) {
	c := p.ledger.Counts(step.Table)
	waiting := func(a ledger.Action) int64 {
		return int64(c.Of(ledger.Unprocessed, ledger.Main, a) + c.Of(ledger.InFlight, ledger.Main, a))
	}
	switch step.Pass {
	case plan.Insert:
		out := []plan.Work{p.workOf(b, step, "insert", waiting(ledger.Insert))}
		if n := waiting(ledger.Update); n > 0 {
			out = append(out, p.workOf(b, step, "update", n))
		}
		return out, nil
	case plan.Link:
		return []plan.Work{p.workOf(b, step, "link", waiting(ledger.Insert))}, nil
	}
	n, err := p.owed(ctx, step)
	if err != nil {
		return nil, err
	}
	return []plan.Work{p.workOf(b, step, "update", n)}, nil
}

// owed counts the records that still owe a later pass, those included whose insert
// is still to come.
func (p *Project) owed(ctx context.Context, step plan.Step) (int64, error) {
	bit, pass := mapping.OwesLookups, "('main', 'lookups')"
	if step.Pass == plan.State {
		bit, pass = mapping.OwesState, "('main', 'lookups', 'files', 'state')"
	}
	var n int64
	query := fmt.Sprintf("SELECT count(*) FROM %s s JOIN %s f USING (dm_seq) WHERE s.dm_owed & %d <> 0 AND f.action <> 'N' AND f.flag IN ('U', 'F', 'S') AND f.pass IN %s",
		duckstage.Ident(step.Table), duckstage.Ident(step.Table+"_flags"), bit, pass)
	err := p.stage.Row(ctx, []any{&n}, query)
	return n, err
}

func (p *Project) workOf(b *bound, step plan.Step, action string, n int64) plan.Work {
	settings := p.Config.Table(step.Table)
	w := plan.Work{Table: step.Table, Pass: step.Pass, Action: action, Operations: n, Batch: settings.Batch}
	t := b.byName[step.Table]
	if settings.Message == "single" {
		w.Batch = 1
	}
	rate := p.Config.Estimate.Rates[step.Table]
	if p.Config.Estimate.Record > 0 {
		w.PerRecord, w.Source = p.Config.Estimate.Record, "stated"
	}
	switch {
	case action == "update" && rate.Update > 0:
		w.Rate, w.Source = rate.Update, "stated"
	case action != "update" && rate.Insert > 0:
		w.Rate, w.Source = rate.Insert, "stated"
	}
	if t.Link != nil || !t.Schema.CanBulk(map[string]string{"insert": "create", "update": "update"}[action]) {
		w.Single = true
	}
	return w
}

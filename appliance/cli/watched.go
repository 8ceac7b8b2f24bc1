package cli

import (
	"context"
	"errors"
	"fmt"

	"dvmigrate/appliance"
	"dvmigrate/appliance/console"
	"dvmigrate/appliance/progress"
)

// onlooker is how the console gets at a project: an appliance.Lookout, or the project that
// this process has open.
type onlooker interface {
	Status(ctx context.Context) (appliance.Status, error)
	Figures(ctx context.Context) (progress.Figures, error)
	Look(ctx context.Context, fn func(context.Context, appliance.Viewer) error) error
	Change(ctx context.Context, fn func(appliance.Viewer) error) error
}

// inside is the project that this process works on.
type inside struct{ *appliance.Project }

func (o inside) Look(ctx context.Context, fn func(context.Context, appliance.Viewer) error) error {
	return fn(ctx, o.Project)
}
func (o inside) Change(_ context.Context, fn func(appliance.Viewer) error) error {
	return fn(o.Project)
}

// watched is a project as the console sees it.
type watched struct {
	onlooker
	options appliance.Options
}

// State implements console.Controller.
func (w watched) State(ctx context.Context) (console.State, error) {
	s, err := w.Status(ctx)
	if errors.Is(err, appliance.ErrNotStaged) {
		return console.State{Fault: err.Error()}, nil
	}
	if err != nil {
		return console.State{}, err
	}
	out := console.State{Project: s.Project, Target: s.Target, Summary: console.Counts(s.Summary), Live: s.Live, Pulse: s.Pulse, Due: s.Due, Tables: []console.Table{}, Runs: []console.Run{}}
	for _, t := range s.Tables {
		out.Tables = append(out.Tables, console.Table{Name: t.Name, Counts: console.Counts(t.Counts), Classes: t.Classes, Next: t.Next})
	}
	for _, r := range s.Runs {
		out.Runs = append(out.Runs, console.Run(r))
	}
	if r := s.Running; r != nil {
		out.Process = &console.Process{Command: r.Command, PID: r.PID, Host: r.Host, Since: r.Since}
	}
	if s.Left != nil {
		out.Left = &s.Left.Seconds
	}
	if n := len(s.Generations); n > 0 {
		out.Plan = fmt.Sprintf("generation %d (%s)", s.Generations[n-1].Number, s.Generations[n-1].Name)
	}
	return out, nil
}

// Ask implements console.Controller.
func (w watched) Ask(ctx context.Context, q console.Question) (answer any, err error) {
	err = w.Look(ctx, func(ctx context.Context, v appliance.Viewer) error {
		answer, err = w.find(ctx, v, q)
		return err
	})
	return answer, err
}

func (w watched) find(ctx context.Context, v appliance.Viewer, q console.Question) (any, error) {
	switch q.What {
	case console.AskHistory:
		return v.History(ctx)
	case console.AskGraph:
		return v.Graph(ctx)
	case console.AskErrors:
		f := appliance.FailureFilter{}
		if q.Table != "" {
			f.Tables = []string{q.Table}
		}
		return v.FailureGroups(ctx, f)
	case console.AskSnapshots:
		c := v.Settings()
		folder := c.Path(c.Snapshots.To)
		list, err := appliance.Snapshots(ctx, folder, c, appliance.KeySource{}, w.options)
		return map[string]any{"folder": folder, "every": c.Snapshots.Every.Seconds(), "snapshots": list}, err
	case console.AskRows:
		return v.Rows(ctx, appliance.RowsQuery{Table: q.Table, Key: q.Key, Flag: q.Flag, From: q.From, Limit: q.Limit})
	case console.AskRecord:
		return w.record(ctx, v, q)
	case console.AskSQL:
		return v.Ask(ctx, q.SQL, q.Limit)
	}
	return nil, fmt.Errorf("nobody knows %q", q.What)
}

// record is one row, the requests that are made of it, and what the service said.
func (w watched) record(ctx context.Context, v appliance.Viewer, q console.Question) (any, error) {
	rows, err := v.Rows(ctx, appliance.RowsQuery{Table: q.Table, Key: q.Key, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(rows.Rows) == 0 || rows.Rows[0].LegacyKey != q.Key {
		return nil, fmt.Errorf("%s has no row with the legacy key %q", q.Table, q.Key)
	}
	out := map[string]any{"columns": rows.Columns, "row": rows.Rows[0]}
	if preview, err := v.Preview(ctx, q.Table, []string{q.Key}, 1); err != nil {
		out["unsent"] = err.Error() // what it would be cannot be told, the rest can
	} else if len(preview.Records) > 0 {
		out["record"] = preview.Records[0]
	}
	if flag := rows.Rows[0].Flag; flag == "E" || flag == "H" {
		failures, err := v.Failures(ctx, appliance.FailureFilter{Tables: []string{q.Table}, Keys: []string{q.Key}, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(failures.Errors) > 0 {
			out["failure"] = failures.Errors[0]
		}
	}
	return out, nil
}

// Act implements console.Controller.
func (w watched) Act(ctx context.Context, a console.Action) (said string, err error) {
	s := appliance.Steer{Do: appliance.SteerAction(a.Do), Parallel: a.Parallel, From: a.From, Failures: appliance.FailureFilter{Tables: a.Tables, Classes: a.Classes}}
	err = w.Change(ctx, func(v appliance.Viewer) error {
		said, err = v.Steer(ctx, s)
		return err
	})
	return said, err
}

package cli

import (
	"context"
	"errors"

	"dvmigrate/appliance"
	"dvmigrate/appliance/console"
)

// onlooker looks at a project for the console: an appliance.Lookout, or the project that
// this process has open.
type onlooker interface {
	Status(ctx context.Context) (appliance.Status, error)
}

// watched is a project as the console sees it.
type watched struct{ onlooker }

// State implements console.Controller.
func (w watched) State(ctx context.Context) (console.State, error) {
	s, err := w.Status(ctx)
	if errors.Is(err, appliance.ErrNotStaged) {
		return console.State{Fault: err.Error()}, nil
	}
	if err != nil {
		return console.State{}, err
	}
	out := console.State{Project: s.Project, Summary: console.Counts(s.Summary), Live: s.Live, Tables: []console.Table{}}
	for _, t := range s.Tables {
		out.Tables = append(out.Tables, console.Table{Name: t.Name, Counts: console.Counts(t.Counts), Classes: t.Classes, Next: t.Next})
	}
	if r := s.Running; r != nil {
		out.Process = &console.Process{Command: r.Command, PID: r.PID, Host: r.Host, Since: r.Since}
	}
	return out, nil
}

// Act implements console.Controller.
func (w watched) Act(context.Context, console.Action) (string, error) {
	return "", errors.New("nothing can be done yet")
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var reconcileEntry = entry{name: "reconcile", summary: "compare what is in the target with what was loaded: missing, extra, different, duplicates", make: func() command { return &reconcileCommand{} }}

type reconcileCommand struct {
	countsOnly bool
	limit      int
	newTarget  string
}

func (c *reconcileCommand) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.countsOnly, "ids-only", false, "compare which records are there, not their values")
	f.IntVar(&c.limit, "limit", 20, "mismatches shown for each table")
	addNewTarget(f, &c.newTarget)
}

func (c *reconcileCommand) Validate(args []string) error { return noArgs(args) }

func (c *reconcileCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Loading, "reconcile")
	if err != nil {
		return err
	}
	defer p.Close()
	meter := env.meter()
	r, err := p.Reconcile(env.Drain, !c.countsOnly, c.limit, c.newTarget, func(table string, done, total int64) {
		meter.line(fmt.Sprintf("comparing %s: %s of %s", table, count(done), count(total)))
	})
	meter.clear()
	if errors.Is(err, context.Canceled) {
		return &exitError{status: Interrupted, err: errors.New("stopped on request; comparing changes nothing")}
	}
	if err != nil {
		return err
	}
	s := r.Summary
	faulty := s.Missing+s.Extra+s.Different+s.Duplicates > 0
	if env.json {
		if err := env.printJSON(r); err != nil {
			return err
		}
	} else {
		var rows, bad [][]string
		for _, t := range r.Tables {
			rows = append(rows, []string{t.Name, count(t.Source), count(t.Target), count(t.Missing), count(t.Extra), count(t.Different), count(t.Duplicates), count(t.Others)})
			for _, m := range t.Mismatches {
				bad = append(bad, []string{m.Table, m.LegacyKey, m.RecordID, m.Kind, m.Column, m.Want, m.Got})
			}
		}
		rows = append(rows, []string{"total", count(s.Source), count(s.Target), count(s.Missing), count(s.Extra), count(s.Different), count(s.Duplicates), ""})
		printTable(env.Stdout, []column{left("table"), right("loaded"), right("in target"), right("missing"), right("extra"), right("different"), right("duplicates"), right("not ours")}, rows)
		if len(bad) > 0 {
			fmt.Fprintln(env.Stdout)
			printTable(env.Stdout, []column{left("table"), left("legacy key"), left("record id"), left("what"), left("column"), left("loaded"), left("in target")}, bad)
		}
		if !faulty {
			env.say("\nthe target has what was loaded")
		}
	}
	if faulty {
		return rejects()
	}
	return nil
}

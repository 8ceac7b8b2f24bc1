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
	v, err := appliance.Join(ctx, env.dir, env.options("reconcile"))
	if err != nil {
		return err
	}
	defer v.Close()
	meter := env.meter()
	r, err := v.Reconcile(env.Drain, appliance.ReconcileOptions{Values: !c.countsOnly, Limit: c.limit, NewTarget: c.newTarget, Args: env.Args}, meter.percent)
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
		if s.Moving > 0 {
			env.say("\na load is running: %s records that it changed meanwhile were not judged; compare again when it is over", count(s.Moving))
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

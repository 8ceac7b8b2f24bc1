package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var reconcileEntry = entry{name: "reconcile", summary: "compare what is in the target with what was loaded: missing, extra, different, duplicates", make: func() command { return &reconcileCommand{} }}

type reconcileCommand struct {
	countsOnly bool
	limit      int
	parallel   int
	newTarget  string
}

func (c *reconcileCommand) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.countsOnly, "ids-only", false, "compare which records are there, not their values")
	f.IntVar(&c.limit, "limit", 20, "mismatches shown for each table")
	f.IntVar(&c.parallel, "parallel", 0, "slices of a big table that are read at once; 0 = 4 for each user")
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
	r, err := v.Reconcile(env.Drain, appliance.ReconcileOptions{Values: !c.countsOnly, Limit: c.limit, Parallel: c.parallel, NewTarget: c.newTarget, Args: env.Args}, meter.percent)
	meter.clear()
	if errors.Is(err, context.Canceled) {
		return &exitError{status: Interrupted, err: errors.New("stopped on request; comparing changes nothing")}
	}
	if err != nil {
		return err
	}
	if env.json {
		err = env.printJSON(r)
	} else {
		printReconciled(env, r)
	}
	if err == nil && !r.Pass {
		return rejects()
	}
	return err
}

func printReconciled(env *Env, r appliance.Compared) {
	s := r.Summary
	var rows, columns, bad [][]string
	for _, t := range r.Tables {
		verdict := "pass"
		if !t.Pass {
			verdict = "FAIL: " + strings.Join(t.Failures, "; ")
		}
		rows = append(rows, []string{t.Name, count(t.Source), count(t.Target), count(t.Missing), count(t.Extra), count(t.Different), count(t.Duplicates), count(t.Others), verdict})
		for _, c := range t.Columns {
			columns = append(columns, []string{t.Name, c.Column, c.Class, count(c.Records)})
		}
		for _, m := range t.Mismatches {
			bad = append(bad, []string{m.Table, m.LegacyKey, m.RecordID, m.Kind, m.Column, m.Want, m.Got})
		}
	}
	rows = append(rows, []string{"total", count(s.Source), count(s.Target), count(s.Missing), count(s.Extra), count(s.Different), count(s.Duplicates), "", ""})
	printTable(env.Stdout, []column{left("table"), right("loaded"), right("in target"), right("missing"), right("extra"), right("different"), right("duplicates"), right("not ours"), left("verdict")}, rows)
	if len(columns) > 0 {
		env.say("")
		printTable(env.Stdout, []column{left("table"), left("column"), left("class"), right("differs in")}, columns)
	}
	if len(bad) > 0 {
		env.say("")
		printTable(env.Stdout, []column{left("table"), left("legacy key"), left("record id"), left("what"), left("column"), left("loaded"), left("in target")}, bad)
		env.say("\nall of them: dvmigrate sql -c 'FROM reconcile_<table>'")
	}
	if s.Moving > 0 {
		env.say("\na load is running: %s records that it changed meanwhile were not judged; compare again when it is over", count(s.Moving))
	}
	switch {
	case r.Pass && s.Faults() == 0:
		env.say("\nthe target has what was loaded")
	case r.Pass:
		env.say("\nevery table passes: there is no more amiss than the settings allow")
	}
}

package cli

import (
	"context"
	"fmt"

	"dvmigrate/appliance"
)

// runMasked looks for original values of masked columns.
func (c *checkCommand) runMasked(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Viewing, "check --masked")
	if err != nil {
		return err
	}
	defer p.Close()
	meter := env.meter()
	r, err := p.CheckMasked(ctx, func(what string, _ float64) { meter.line(what) })
	meter.clear()
	if err != nil {
		return err
	}
	if env.json {
		err = env.printJSON(r)
	} else {
		printMasked(env, r)
	}
	if err == nil && r.Failed() {
		return rejects()
	}
	return err
}

func printMasked(env *Env, r appliance.MaskedCheck) {
	var rows [][]string
	for _, c := range r.Columns {
		sought := count(c.Sought)
		if c.As == "number" || c.As == "date" {
			sought = "-"
		}
		rows = append(rows, []string{c.Source + "." + c.Column, c.As, count(c.Values), sought})
	}
	printTable(env.Stdout, []column{left("masked column"), left("as"), right("values"), right("looked for")}, rows)
	var bytes int64
	for _, p := range r.Places {
		bytes += p.Bytes
	}
	fmt.Fprintln(env.Stdout)
	for _, f := range r.Findings {
		env.say("found: %s has values of %s.%s, %s times", f.Place, f.Source, f.Column, count(f.Times))
	}
	for _, c := range r.Clear {
		env.say("in the clear: %s was staged without its masks until %s; the stage's file, and snapshots from before, may still have its values", c.Source, c.Until)
	}
	for _, n := range r.Notes {
		env.say("note: %s", n)
	}
	switch {
	case len(r.Clear) > 0:
		env.say("begin anew: remove the work folder and the snapshots, and stage")
	case len(r.Findings) > 0:
		env.say("mask these columns, too, or remove these files; then stage again")
	default:
		env.say("no original value is left in %d places, %s in all", len(r.Places), size(bytes))
	}
}

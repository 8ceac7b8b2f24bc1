package cli

import (
	"context"
	_ "embed"
	"slices"
	"strings"

	"dvmigrate/appliance"
)

// failsFrom lists the severities that --fail-on names; nil for a word that is none.
func failsFrom(word string) []string {
	switch word {
	case "none":
		return []string{}
	case "hold":
		return []string{"hold"}
	case "error":
		return []string{"hold", "error"}
	case "warning":
		return []string{"hold", "error", "warning"}
	}
	return nil
}

// runData checks every staged row.
func (c *checkCommand) runData(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("check --data"))
	if err != nil {
		return err
	}
	defer v.Close()
	meter := env.meter()
	d, err := v.CheckData(env.Drain, c.only, meter.percent)
	meter.clear()
	if err != nil {
		return err
	}
	if c.html != "" {
		if err := writePage(c.html, dataPage, v.Settings().Name, d); err != nil {
			return err
		}
	}
	if env.json {
		err = env.printJSON(d)
	} else {
		printDataCheck(env, d, c.html)
	}
	fails := failsFrom(c.failOn)
	if err == nil && slices.ContainsFunc(d.Findings, func(f appliance.DataFinding) bool { return slices.Contains(fails, string(f.Severity)) }) {
		return rejects()
	}
	return err
}

func printDataCheck(env *Env, d appliance.DataCheck, page string) {
	var rows [][]string
	for _, t := range d.Tables {
		rows = append(rows, []string{t.Name, count(t.Rows), count(t.Held), count(t.Behind), count(t.Repaired), duration(t.Seconds)})
	}
	printTable(env.Stdout, []column{left("table"), right("rows"), right("held"), right("behind them"), right("repaired"), right("time")}, rows)
	if len(d.Findings) > 0 {
		env.say("")
		rows = nil
		for _, f := range d.Findings {
			keys := "-"
			if len(f.Keys) > 0 {
				keys = "'" + strings.Join(f.Keys, "', '") + "'"
			}
			rows = append(rows, []string{string(f.Severity), f.Check, f.Table, f.Column, count(f.Rows), keys, cut(f.Example, 80)})
		}
		printTable(env.Stdout, []column{left("severity"), left("check"), left("table"), left("column"), right("rows"), left("legacy keys"), left("such as")}, rows)
		env.say("")
		var said []string
		for _, f := range d.Findings {
			if !slices.Contains(said, f.Check) {
				said = append(said, f.Check)
				env.say("%s: %s; %s", f.Check, f.What, f.Todo)
			}
		}
	}
	env.say("")
	if page != "" {
		env.say("the page is in %s", page)
	}
	if len(d.Findings) == 0 {
		env.say("every row is in order; checked in %s. Next: dvmigrate estimate, or dvmigrate load", duration(d.Seconds))
		return
	}
	env.say("checked in %s. Every row: dvmigrate sql -c \"FROM <table> WHERE dm_hold IS NOT NULL\"", duration(d.Seconds))
}

//go:embed checkdata.html
var dataPage string

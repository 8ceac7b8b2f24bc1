package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var targetEntry = entry{name: "target", args: "pull [TABLE[:COLUMN,...]...]", summary: "read users, teams, currencies, units and others of the target, which rows point to, into the stage",
	long: `Without names: users, teams, business units, roles, currencies, units, and what the transforms
name, as target_<table> or in existing('table', 'column', value). With names these alone: all
columns, or those after the colon. Each becomes the relation target_<table> in the stage and stays
until it is pulled again; nothing in the target changes. See ` + "`dvmigrate guide lookups`.",
	make: func() command { return &targetCommand{} }}

type targetCommand struct{ tables []string }

func (c *targetCommand) AddFlags(*pflag.FlagSet) {}

func (c *targetCommand) Validate(args []string) error {
	if len(args) == 0 || args[0] != "pull" {
		return errors.New("say pull")
	}
	c.tables = args[1:]
	return nil
}

func (c *targetCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Staging, "target pull")
	if err != nil {
		return err
	}
	defer p.Close()
	meter := env.meter()
	r, err := p.Pull(env.Drain, c.tables, func(what string, _ float64) { meter.line(what) })
	meter.clear()
	if errors.Is(err, context.Canceled) {
		return &exitError{status: Interrupted, err: errors.New("stopped on request: what was pulled whole is kept; run `dvmigrate target pull` again")}
	}
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(r)
	}
	var rows [][]string
	for _, t := range r.Tables {
		rows = append(rows, []string{t.Table, t.Relation, count(t.Rows), cut(strings.Join(t.Columns, ", "), 70), duration(t.Seconds)})
	}
	printTable(env.Stdout, []column{left("table"), left("relation"), right("records"), left("columns"), right("time")}, rows)
	env.say("")
	for _, n := range r.Notes {
		env.say("note: %s", n)
	}
	env.say("pulled from %s (organization %s). Next: dvmigrate users, or dvmigrate stage", r.URL, r.Organization)
	return nil
}

var usersEntry = entry{name: "users", args: "[plan]", summary: "who owns the rows, and who that is in the target: what is found, proposed, open",
	long: `Compares what transforms hand to owner(), for lookups and in lists of parties, with the users and
teams that ` + "`target pull`" + ` read. With plan it writes maps/owners.csv, on which people say who gets
whose records and which staging reads; users/stub-users.csv, an import file for people who have
left; and users/checklist.md, with what the Web API cannot do. See ` + "`dvmigrate guide lookups`.",
	make: func() command { return &usersCommand{} }}

type usersCommand struct{ plan bool }

func (c *usersCommand) AddFlags(*pflag.FlagSet) {}

func (c *usersCommand) Validate(args []string) error {
	if len(args) == 1 && args[0] == "plan" {
		c.plan = true
		return nil
	}
	return noArgs(args)
}

func (c *usersCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Loading, "users")
	if err != nil {
		return err
	}
	defer p.Close()
	meter := env.meter()
	plan, err := p.PlanOwners(env.Drain, c.plan, func(what string, _ float64) { meter.line(what) })
	meter.clear()
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(plan)
	}
	var rows [][]string
	for _, o := range plan.Owners {
		rows = append(rows, []string{o.Owner, count(o.Rows), o.State, o.Target, o.Name, cut(strings.Join(o.Columns, " "), 60), cut(o.Why, 60)})
	}
	if len(rows) == 0 {
		env.say("no transform hands anything to owner(), so there is nobody to compare")
		return nil
	}
	printTable(env.Stdout, []column{left("owner"), right("rows"), left("state"), left("in the target"), left("name"), left("in"), left("why")}, rows)
	env.say("\n%d found, %d proposed, %d open with %s rows; the target has %s users and %s teams", plan.Found, plan.Proposed, plan.Open, count(plan.OpenRows), count(plan.Users), count(plan.Teams))
	switch {
	case len(plan.Files) > 0:
		env.say("written: %s\nlook at them, fill in target, and run dvmigrate stage", strings.Join(plan.Files, ", "))
	case plan.Proposed+plan.Open > 0:
		env.say("next: dvmigrate users plan, which writes the sheet, the import file and the checklist")
	}
	return nil
}

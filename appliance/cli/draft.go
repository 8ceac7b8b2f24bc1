package cli

import (
	"context"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var draftEntry = entry{name: "draft", summary: "write first transforms from the staged sources and the schema, with their questions marked",
	long: `For every staged source that is like a table of the schema it writes transform/<table>.sql: columns
matched by name (in several languages), texts converted by the form of their values, lookups found
by looking which columns hold another source's keys, and a sheet in maps/ for each choice whose
texts have to become values. Several sources that are like one table feed it together. After
dvmigrate target pull it also proposes owners, currencies and what else rows point to there. What
there is already is left as it is. Everything is a guess: look at each line, and at each ???.`,
	make: func() command { return &draftCommand{} }}

type draftCommand struct{}

func (*draftCommand) AddFlags(*pflag.FlagSet) {}

func (*draftCommand) Validate(args []string) error { return noArgs(args) }

func (*draftCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Staging, "draft")
	if err != nil {
		return err
	}
	defer p.Close()
	meter := env.meter()
	d, err := p.Draft(env.Drain, meter.percent)
	meter.clear()
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(d)
	}
	var rows [][]string
	for _, t := range d.Tables {
		state := "written"
		if t.Kept {
			state = "was there: left as it is"
		}
		rows = append(rows, []string{t.Source, t.Table, t.File, count(t.Matched), count(t.Left), count(t.Questions), state})
	}
	printTable(env.Stdout, []column{left("source"), left("table"), left("file"), right("guessed"), right("left over"), right("questions"), left("state")}, rows)
	env.say("")
	for _, source := range d.Unmatched {
		env.say("%s: no transform: %s", source, d.Why[source])
	}
	for _, m := range d.Maps {
		env.say("to complete: %s", m)
	}
	for _, q := range d.Open[:min(len(d.Open), mostOpen)] {
		env.say("%s:%d: %s ???", q.File, q.Line, q.Text)
	}
	if len(d.Open) > mostOpen {
		env.say("and %d more: look for ??? in the files", len(d.Open)-mostOpen)
	}
	for _, f := range d.Faults {
		env.say("%s", f.Error())
	}
	if len(d.Order) > 0 {
		env.say("load order: %s", strings.Join(d.Order, ", "))
	}
	env.say("next: look at the files and their ???, then dvmigrate check and dvmigrate stage")
	return nil
}

// mostOpen is how many questions of a draft the terminal shows.
const mostOpen = 30

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var optionsEntry = entry{name: "options", args: "[plan] [TABLE[.COLUMN]...]", summary: "the maps from source texts to the options of choices: what is open, what is proposed",
	long: `Compares the texts that the transforms yield for choices, over what is staged now, with the sheets
in maps/. With plan it writes them: maps/<table>.<column>.csv for each choice that needs one, or,
with --xlsx, all into maps/options.xlsx, where the labels can be chosen from a list. Texts that are
new are added, with a value where an option is alike; what people have decided stays. See
` + "`dvmigrate guide options`.",
	make: func() command { return &optionsCommand{} }}

type optionsCommand struct {
	only       []string
	plan, xlsx bool
}

func (c *optionsCommand) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.xlsx, "xlsx", false, "with plan: one workbook instead of CSV files, which it then replaces")
}

func (c *optionsCommand) Validate(args []string) error {
	if len(args) > 0 && args[0] == "plan" {
		c.plan, args = true, args[1:]
	}
	if c.xlsx && !c.plan {
		return errors.New("--xlsx goes with plan")
	}
	c.only = args
	return nil
}

func (c *optionsCommand) Run(ctx context.Context, env *Env) error {
	enter := appliance.View
	if c.plan {
		enter = appliance.Join
	}
	v, err := enter(ctx, env.dir, env.options("options"))
	if err != nil {
		return err
	}
	defer v.Close()
	meter := env.meter()
	plan, err := v.Options(env.Drain, c.only, c.plan, c.xlsx, func(what string, _ float64) { meter.line(what) })
	meter.clear()
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(plan)
	}
	if len(plan.Maps) == 0 {
		env.say("no choice needs a map: all that the transforms yield are values of options")
	} else {
		printOptions(env, plan)
	}
	for _, n := range plan.Notes {
		env.say("note: %s", n)
	}
	return nil
}

func printOptions(env *Env, plan appliance.OptionsPlan) {
	var rows [][]string
	written, open := 0, 0
	for _, m := range plan.Maps {
		file := m.File
		if file == "" {
			file = "-"
		}
		if m.Written {
			written++
		}
		open += m.Open
		rows = append(rows, []string{m.Table, m.Column, count(m.Texts), count(m.Mapped), count(m.Proposed), count(m.Open), count(m.OpenRows), file})
	}
	printTable(env.Stdout, []column{left("table"), left("column"), right("texts"), right("with value"), right("proposed"), right("open"), right("rows"), left("sheet")}, rows)
	env.say("")
	for _, m := range plan.Maps {
		if m.Open > 0 {
			env.say("%s.%s: %s", m.Table, m.Column, textList(m.Such, int64(m.Open)))
		}
	}
	switch {
	case written == 0 && open == 0 && !unwritten(plan):
		env.say("every text has a value")
	case written == 0:
		env.say("next: dvmigrate options plan, which writes the sheets")
	default:
		env.say("fill in target_text or target_value, or blank for none, look at what was proposed, and run dvmigrate stage")
	}
}

// unwritten reports whether a value is proposed that no sheet has yet.
func unwritten(plan appliance.OptionsPlan) bool {
	for _, m := range plan.Maps {
		if m.Proposed > 0 {
			return true
		}
	}
	return false
}

// textList names texts with how many rows have them; all is how many there are.
func textList(such []appliance.OptionText, all int64) string {
	var words []string
	for _, t := range such {
		words = append(words, fmt.Sprintf("%s (%s)", cut(t.Text, 40), count(t.Rows)))
	}
	if more := all - int64(len(such)); more > 0 {
		words = append(words, fmt.Sprintf("and %s more", count(more)))
	}
	return strings.Join(words, ", ")
}

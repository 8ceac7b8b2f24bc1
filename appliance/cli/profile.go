package cli

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var profileEntry = entry{name: "profile", args: "[SOURCE...]", summary: "what is in the staged sources, column by column: fill rate, values, forms",
	long: `Columns that are empty, or filled in less than 5 % of the rows, are proposed to be left behind.
With --write the result goes to profile.csv in the project's folder, a sheet on which the owners
of the data write their decision (bring, archive, drop) and a comment; both are kept when it is
written again. With --xlsx it is a workbook, profile.xlsx, and stays one. check and stage say where transforms do not follow the decisions.`,
	make: func() command { return &profileCommand{} }}

type profileCommand struct {
	sources []string
	write   bool
	book    bool
	html    string
}

func (c *profileCommand) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.write, "write", false, "write the sheet profile.csv")
	f.BoolVar(&c.book, "xlsx", false, "write it as a workbook, profile.xlsx")
	f.StringVar(&c.html, "html", "", "write a page to this file too")
}

func (c *profileCommand) Validate(args []string) error {
	c.sources = args
	return nil
}

//go:embed profile.html
var profilePage string

func (c *profileCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("profile"))
	if err != nil {
		return err
	}
	defer v.Close()
	meter := env.meter()
	s, err := v.Profile(env.Drain, c.sources, meter.percent)
	meter.clear()
	if err != nil {
		return err
	}
	if c.html != "" {
		if err := writePage(c.html, profilePage, v.Settings().Name, s); err != nil {
			return err
		}
	}
	sheet := ""
	if c.write || c.book {
		began := time.Now()
		sheet, err = appliance.WriteProfile(ctx, v.Settings().Dir, s, c.book)
		v.Close() // the trail is written to, which nobody may read meanwhile
		if err := env.noted(ctx, "profile", began, err, fmt.Sprintf("%d columns into %s", len(s.Columns), sheet)); err != nil {
			return err
		}
	}
	if env.json {
		return env.printJSON(s)
	}
	printProfile(env, s)
	if sheet != "" {
		env.say("the sheet is %s: fill in decision (bring, archive, drop) and comment", sheet)
	}
	if c.html != "" {
		env.say("the page is in %s", c.html)
	}
	return nil
}

func printProfile(env *Env, s appliance.SourceProfile) {
	var rows [][]string
	for _, c := range s.Columns {
		top := make([]string, 0, len(c.Top))
		for _, v := range c.Top {
			top = append(top, v.Value)
		}
		form := ""
		if len(c.Patterns) > 0 {
			form = c.Patterns[0].Value
		}
		decision := c.Decision
		if decision == "" {
			decision = c.Proposal + "?"
		}
		rows = append(rows, []string{c.Source, c.Name, c.SQLType, count(c.Rows), fmt.Sprintf("%.1f", 100*c.Share), count(c.Distinct), count(c.MaxLength), cut(form, 16), cut(strings.Join(top, "; "), 40), decision})
	}
	printTable(env.Stdout, []column{left("source"), left("column"), left("type"), right("rows"), right("filled %"), right("different"), right("longest"), left("form"), left("frequent values"), left("decision")}, rows)
	env.say("")
}

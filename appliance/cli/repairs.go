package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var repairsEntry = entry{name: "repairs", args: "[TABLE...]", summary: "values that policies put in the place of others: what, how many, which rows",
	long: `Counts what the policies of ` + "`repair`" + ` in migration.yaml have mended in the rows as they are staged,
and of how many the target has it so. --rows lists the rows. When the better value arrives, such
as in a map that was completed, stage: the row is not listed any more, and the next load or delta
sends that column alone. See ` + "`dvmigrate guide checks`" + `.`,
	make: func() command { return &repairsCommand{} }}

type repairsCommand struct {
	tables []string
	rows   bool
	limit  int
}

func (c *repairsCommand) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.rows, "rows", false, "list the rows too")
	f.IntVar(&c.limit, "limit", 100, "with --rows: at most so many; 0 for all")
}

func (c *repairsCommand) Validate(args []string) error {
	if c.limit < 0 {
		return errors.New("--limit must not be negative")
	}
	c.tables = args
	return nil
}

func (c *repairsCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("repairs"))
	if err != nil {
		return err
	}
	defer v.Close()
	limit := 0
	if c.rows {
		if limit = c.limit; limit == 0 {
			limit = 1<<31 - 1
		}
	}
	r, err := v.Repairs(ctx, c.tables, limit)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(r)
	}
	if r.Rows == 0 {
		env.say("no value was mended by a policy in the rows as they are staged")
		return nil
	}
	var rows [][]string
	for _, g := range r.Groups {
		rows = append(rows, []string{g.Table, count(g.Rows), count(g.Loaded), g.Example, strings.Join(g.Keys, ", ")})
	}
	printTable(env.Stdout, []column{left("table"), right("rows"), right("in the target"), left("what, for example"), left("legacy keys")}, rows)
	if c.rows {
		env.say("")
		rows = nil
		for _, l := range r.Listed {
			rows = append(rows, []string{l.Table, l.LegacyKey, l.Flag, l.Repairs})
		}
		printTable(env.Stdout, []column{left("table"), left("legacy key"), left("flag"), left("repairs")}, rows)
		if more := r.Rows - int64(len(r.Listed)); more > 0 {
			env.say("and %s more; --limit 0 prints all", count(more))
		}
	}
	env.say("%s repairs; the target has %s of them so. With better values: dvmigrate delta, or stage and load", progress.Counted(r.Rows, "row", "has", "have"), count(r.Loaded))
	return nil
}

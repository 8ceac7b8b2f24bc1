package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var calibrateEntry = entry{name: "calibrate", summary: "measure a sandbox: create, update, upsert and delete some staged rows of each table; leaves nothing there",
	long: `The rows have their real values, ids of their own, no alternate keys, and lookups to records that
are there or to none. One request at a time, in requests of several sizes, so that the time of a
request and that of its records can be told apart; work/profile.json keeps both, and the next
estimate uses them. The environment that the load goes to is refused unless it is said twice to be
a sandbox. Killed half-way, the next calibration first deletes what is left.`,
	make: func() command { return &calibrateCommand{} }}

type calibrateCommand struct{ o appliance.CalibrateOptions }

func (c *calibrateCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.o.Target, "target", "", "the sandbox's `URL` (default: target.url of migration.yaml); signs in as the settings say")
	f.StringVar(&c.o.Sandbox, "yes-this-is-a-sandbox", "", "the `URL` once more: the load goes there, but it is a sandbox")
	f.StringArrayVar(&c.o.Tables, "table", nil, "only this `table`; may be given again")
	f.IntVar(&c.o.Records, "records", 300, "records of each table")
	f.BoolVar(&c.o.DryRun, "dry-run", false, "only say what would be done; send nothing")
}

func (c *calibrateCommand) Validate(args []string) error {
	if c.o.Records < 10 || c.o.Records > 10000 {
		return errors.New("--records is from 10 to 10000: fewer say nothing, more tell nothing new")
	}
	return noArgs(args)
}

func (c *calibrateCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Loading, "calibrate")
	if err != nil {
		return err
	}
	defer p.Close()
	if !env.json {
		c.o.Show = func(x appliance.CalibrationPlan) { printCalibrationPlan(env, x) }
		c.o.Begin = func(table, what string) {
			fmt.Fprintln(env.Stderr, strings.TrimSpace(time.Now().Format("15:04:05")+" "+table+" "+what))
		}
	}
	r, err := p.Calibrate(ctx, env.Drain, c.o)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(r)
	}
	if r.DryRun {
		env.say("\nnothing was sent")
		return nil
	}
	printCalibration(env, r)
	return nil
}

func printCalibrationPlan(env *Env, x appliance.CalibrationPlan) {
	var rows [][]string
	for _, t := range x.Tables {
		what := t.Skipped
		if what == "" {
			what = strings.Trim(fmt.Sprint(t.Sizes), "[]")
		}
		rows = append(rows, []string{t.Table, count(int64(t.Records)), count(int64(t.Requests)), what})
	}
	env.say("in %s, about %s requests: %s records are created, updated, upserted and deleted again\n", x.URL, count(int64(x.Requests)), count(int64(x.Records)))
	printTable(env.Stdout, []column{left("table"), right("records"), right("requests"), left("records a request")}, rows)
	env.say("")
}

func printCalibration(env *Env, r appliance.Calibration) {
	var rows [][]string
	for _, a := range r.Actions {
		rows = append(rows, []string{a.Table, a.Action, a.Message, count(a.Records), count(a.Requests), count(a.Failed), millis(a.Request), millis(a.Record)})
	}
	printTable(env.Stdout, []column{left("table"), left("action"), left("message"), right("records"), right("requests"), right("failed"), right("ms a request"), right("ms a record")}, rows)
	for _, n := range r.Notes {
		env.say("%s", n)
	}
	if r.Earlier > 0 {
		env.say("%s of an interrupted calibration deleted first", progress.Counted(r.Earlier, "record"))
	}
	env.say("\nlatency %s ms; %s; nothing is left in %s; kept in work/profile.json. Next: dvmigrate estimate", millis(r.Latency), duration(r.Seconds), r.Plan.URL)
}

func millis(seconds float64) string { return fmt.Sprintf("%.2f", 1000*seconds) }

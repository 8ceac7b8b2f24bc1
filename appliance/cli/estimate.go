package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var estimateEntry = entry{name: "estimate", summary: "how long the load will take, from counts, limits and rates alone: no network",
	long: `Rates come from migration.yaml (estimate.rates, estimate.record), else from published orders of
magnitude; the target's service-protection limits cap them. What counts is in the column
"bound by". A rehearsal's own figures make it better.`,
	make: func() command { return &estimateCommand{} }}

type estimateCommand struct{ users int }

func (c *estimateCommand) AddFlags(f *pflag.FlagSet) {
	f.IntVar(&c.users, "users", 0, "with so many application users (default: as migration.yaml says)")
}

func (c *estimateCommand) Validate(args []string) error { return noArgs(args) }

func (c *estimateCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Loading, "estimate")
	if err != nil {
		return err
	}
	defer p.Close()
	if c.users > 0 {
		p.Config.Limits.Users = c.users
		if err := p.Config.Validate(); err != nil {
			return err
		}
	}
	e, err := p.Estimate(ctx)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(struct {
			Version int `json:"version"`
			appliance.Estimate
		}{1, e})
	}
	printEstimate(env, e)
	return nil
}

func printEstimate(env *Env, e appliance.Estimate) {
	var rows [][]string
	for _, r := range e.Rows {
		rows = append(rows, []string{r.Table, string(r.Pass), r.Action, count(r.Operations), count(r.Requests), fmt.Sprintf("%.0f", r.Rate), duration(r.Seconds), r.Bound, r.Basis})
	}
	printTable(env.Stdout, []column{left("table"), left("pass"), left("action"), right("operations"), right("requests"), right("records/s"), right("time"), left("bound by"), left("basis")}, rows)
	a := e.Assumptions
	env.say("\n%s operations in %s requests: %s, with %.0f %% buffer %s", count(e.Operations), count(e.Requests), duration(e.Seconds), a.Buffer, duration(e.Buffered))
	env.say("assumed: %d application user(s) on %d server(s); limits %s requests, %s execution time, %d at once, in %s; latency %s",
		a.Limits.Users, a.Limits.Servers, count(a.Limits.Requests), a.Limits.Execution, a.Limits.Concurrent, a.Limits.Window, a.Latency)
	switch {
	case e.Fits == nil:
	case *e.Fits:
		env.say("fits the cutover window of %s", a.Window)
	case e.UsersToFit > 0:
		env.say("does not fit the cutover window of %s; %d application users would do", a.Window, e.UsersToFit)
	default:
		env.say("does not fit the cutover window of %s, whatever the number of users: split it into a full load and deltas", a.Window)
	}
}

package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/config"
)

var alertEntry = entry{name: "alert", args: "[test [NAME ...]]", summary: "who is called while a load runs, and for what; test tries it",
	long: `Without test it lists the rules and channels of the settings. test sends a message that says it is
a test by each channel, or by those named, tries each once, and prints exactly what was
answered. Exit status 1 if one did not take it. It works beside a load and changes nothing.
See ` + "`dvmigrate guide monitoring`" + `.`,
	make: func() command { return &alertCommand{} }}

type alertCommand struct {
	test bool
	only []string
}

func (c *alertCommand) AddFlags(*pflag.FlagSet) {}

func (c *alertCommand) Validate(args []string) error {
	if len(args) == 0 {
		return nil
	}
	if args[0] != "test" {
		return errors.New("say `alert`, or `alert test` with or without names of channels")
	}
	c.test, c.only = true, args[1:]
	return nil
}

func (c *alertCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.NoSchema, "alert")
	if err != nil {
		return err
	}
	defer p.Close()
	if !c.test {
		return listAlerts(env, p.Config)
	}
	tried, err := p.TestAlerts(ctx, c.only)
	if err != nil {
		return err
	}
	if env.json {
		err = env.printJSON(map[string]any{"version": 1, "channels": tried})
	}
	failed := false
	for _, t := range tried {
		mark := "taken"
		if !t.OK {
			mark, failed = "NOT TAKEN", true
		}
		env.say("%s (%s): %s after %s\n  %s", t.Name, t.Kind, mark, duration(t.Seconds), t.Answer)
	}
	if err == nil && failed {
		return &exitError{status: Failed}
	}
	return err
}

// listAlerts prints the rules and channels.
func listAlerts(env *Env, c *config.Config) error {
	a := c.Alerts
	off := func(text string, on bool) string {
		if !on {
			return "off"
		}
		return text
	}
	age := c.SnapshotAge()
	finish := a.Finish
	if finish == "window" {
		finish = span(c.Estimate.Window) + " from its begin (estimate.window)"
	}
	rules := [][]string{
		{"errors", off(a.Errors+" of the records of the last 5 min failed", a.ErrorShare() > 0)},
		{"rate", off("less than "+a.Rate+" of the median of the same table and pass", a.RateShare() > 0)},
		{"still", off("no record had an outcome for "+span(a.Still), a.Still > 0)},
		{"throttled", off("nothing was let through for "+a.Throttled+" of the last 5 min", a.ThrottledShare() > 0)},
		{"disk", off("less than "+a.Disk.String()+" is left on the disk of the work folder", a.Disk > 0)},
		{"snapshot", off("the newest snapshot is older than "+span(age), age > 0)},
		{"finish", off("it is expected to end later than "+finish, a.Finish != "")},
		{"token", off("a token that cannot be had anew ends in "+span(a.Token), a.Token > 0)},
		{"schema", off("the target's tables have changed; looked at every "+span(a.Schema), a.Schema > 0)},
		{"identity", off("a user signs in that never loaded this project", a.Identity)},
		{"ended", off("the load has ended, and how", a.Ended)},
	}
	var channels [][]string
	for _, name := range sortedKeys(a.To) {
		only := "all"
		if list := a.To[name].Only; len(list) > 0 {
			only = strings.Join(list, ", ")
		}
		channels = append(channels, []string{name, a.To[name].Kind(), only})
	}
	if env.json {
		object := func(rows [][]string, keys ...string) []map[string]string {
			out := []map[string]string{}
			for _, row := range rows {
				m := map[string]string{}
				for i, k := range keys {
					m[k] = row[i]
				}
				out = append(out, m)
			}
			return out
		}
		return env.printJSON(map[string]any{"version": 1, "rules": object(rules, "rule", "calls"), "channels": object(channels, "name", "kind", "gets")})
	}
	printTable(env.Stdout, []column{left("rule"), left("calls when")}, rules)
	env.say("")
	if len(channels) == 0 {
		env.say("nobody is called: alerts are shown by load and kept in the log; write channels under alerts.to (`dvmigrate guide monitoring`)")
		return nil
	}
	printTable(env.Stdout, []column{left("channel"), left("by"), left("gets")}, channels)
	env.say("\n`dvmigrate alert test` tries them")
	return nil
}

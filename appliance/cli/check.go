package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var checkEntry = entry{name: "check", summary: "find every fault in settings, schema, sources and SQL; sends nothing",
	long: `With --online it also asks the environment, where it only reads: how far away it is, who signs
in and with what privileges, what the tables take in bulk, and what has changed since the
schema file was pulled. What would make the load fail is an error (exit status 1).

With --data it looks at every staged row instead, in SQL and without a request: what does not
fit the target, what would be refused, what is suspicious, and which rows are held back behind
others. Each check has an id, such as DVM-LEN; settings checks.skip and --only choose among
them, and --fail-on says which findings make the exit status 3. See ` + "`dvmigrate guide checks`" + `.

With --masked it reads the sources once more and shows whether any original of a masked column is
left: it compares every column of the stage row by row, and searches all texts of stage, files
and snapshots. See ` + "`dvmigrate guide masking`" + `.`,
	make: func() command { return &checkCommand{} }}

type checkCommand struct {
	online, data bool
	masked       bool
	only         []string
	html, failOn string
	keys         keyFlags
}

func (c *checkCommand) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.online, "online", false, "ask the environment too; nothing is written there")
	f.BoolVar(&c.data, "data", false, "look at every staged row")
	f.BoolVar(&c.masked, "masked", false, "look for original values of masked columns in stage, files and snapshots")
	c.keys.add(f)
	f.StringSliceVar(&c.only, "only", nil, "with --data: make these checks only, such as DVM-LEN,DVM-KEY")
	f.StringVar(&c.failOn, "fail-on", "error", "with --data: findings that make the exit status 3: hold, error (and hold), warning (any), none")
	f.StringVar(&c.html, "html", "", "with --data or --masked: write the findings as a page to this `file` too")
}

func (c *checkCommand) Validate(args []string) error {
	switch {
	case c.data && c.online, c.data && c.masked, c.online && c.masked:
		return errors.New("--data, --online and --masked are different checks; make one after the other")
	case !c.data && len(c.only) > 0:
		return errors.New("--only goes with --data")
	case !c.data && !c.masked && c.html != "":
		return errors.New("--html goes with --data or --masked")
	case !c.masked && c.keys.identity != "":
		return errors.New("--identity goes with --masked, which reads the snapshots")
	case failsFrom(c.failOn) == nil:
		return fmt.Errorf("--fail-on is hold, error, warning or none, not %q", c.failOn)
	}
	return noArgs(args)
}

func (c *checkCommand) Run(ctx context.Context, env *Env) error {
	if c.data {
		return c.runData(ctx, env)
	}
	if c.masked {
		return c.runMasked(ctx, env)
	}
	p, err := env.open(ctx, appliance.Settings, "check")
	if err != nil {
		return err
	}
	defer p.Close()
	r, err := p.Check(ctx, c.online)
	if err != nil {
		return err
	}
	failed := len(r.Faults) > 0 || r.Online != nil && r.Online.Failed()
	if env.json {
		if err := env.printJSON(r); err != nil {
			return err
		}
	} else {
		printCheck(env, r, failed)
	}
	switch {
	case !failed:
		return nil
	case !env.json && len(r.Faults) > 0:
		return r.Faults
	}
	return &exitError{status: Failed}
}

func printCheck(env *Env, r appliance.CheckResult, failed bool) {
	if r.Online != nil {
		printOnline(env, r.Online)
	}
	for _, n := range r.Notes {
		env.say("note: %s", n)
	}
	if s := r.Secure; s != nil {
		for _, open := range s.OpenToOthers {
			env.say("warning: %s", open)
		}
		switch v := s.Volume; v.Encrypted {
		case "yes":
			env.say("note: %s is on an encrypted disk (%s)", v.Folder, v.How)
		case "no":
			env.say("note: %s is not on an encrypted disk (%s); see `dvmigrate guide security`", v.Folder, v.How)
		default:
			env.say("note: whether %s is on an encrypted disk is not known: %s", v.Folder, v.How)
		}
	}
	if !failed {
		env.say("in order: %s, %s. Next: dvmigrate stage", progress.Counted(r.Sources, "source"), progress.Counted(r.Tables, "table"))
	}
}

// printOnline prints what the environment told: about itself, the users, the tables,
// and what to do.
func printOnline(env *Env, o *appliance.Online) {
	about := [][]string{{"environment", o.URL + ", version " + o.Release}, {"organization", o.Organization.String()}}
	if o.Pinned != nil {
		about = append(about, []string{"pinned", "to " + o.Pinned.URL + " since " + o.Pinned.Since.Local().Format("2006-01-02")})
	} else {
		about = append(about, []string{"pinned", "not yet: the first load pins the project to it"})
	}
	l := o.Latency
	about = append(about, []string{"latency", fmt.Sprintf("%.1f ms (median of %d, from %.1f to %.1f)", 1000*l.Median, l.Probes, 1000*l.Min, 1000*l.Max)},
		[]string{"limits", limitsText(o.Limits)})
	for _, u := range o.Users {
		about = append(about, []string{"user", userText(u)})
	}
	printTable(env.Stdout, []column{left("what"), left("as the environment says")}, about)
	if len(o.Tables) > 0 {
		var rows [][]string
		for _, t := range o.Tables {
			rows = append(rows, []string{t.Name, wordsOr(t.Bulk, "none"), count(len(t.Changes))})
		}
		fmt.Fprintln(env.Stdout)
		printTable(env.Stdout, []column{left("table"), left("in bulk"), right("changes since the schema was pulled")}, rows)
	}
	if len(o.Findings) > 0 {
		env.say("")
	}
	for _, f := range o.Findings {
		env.say("%s: %s: %s", f.Level, f.Subject, f.Message)
		if f.Hint != "" {
			env.say("  %s", f.Hint)
		}
	}
	env.say("")
}

func limitsText(l appliance.OnlineLimits) string {
	var parts []string
	if l.Hint > 0 {
		parts = append(parts, fmt.Sprintf("suggests %d requests at once for a user", l.Hint))
	}
	if l.Known {
		parts = append(parts, fmt.Sprintf("%s requests and %.0f s of execution time left for now", count(l.RequestsLeft), l.SecondsLeft))
	}
	return wordsOr(parts, "not said")
}

func userText(u appliance.OnlineUser) string {
	text := u.ID.String()
	if u.Name != "" {
		text = u.Name + " (" + text + ")"
	}
	if u.Application != "" {
		text += ", application " + u.Application
	}
	if u.Roles != nil {
		text += ", roles " + wordsOr(u.Roles, "none of its own")
	}
	if len(u.Missing) > 0 {
		return fmt.Sprintf("%s: lacks %d privileges", text, len(u.Missing))
	}
	return text
}

// wordsOr joins words, or says what none means.
func wordsOr(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ", ")
}

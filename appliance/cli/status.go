package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var statusEntry = entry{name: "status", summary: "which migration this is, how it stands, what runs, what failed and why, what to do next",
	long: `For somebody who has just arrived; works also while a load runs, from any terminal. --json has
the same for machines.`,
	make: func() command { return &statusCommand{} }}

type statusCommand struct{}

func (c *statusCommand) AddFlags(*pflag.FlagSet)      {}
func (c *statusCommand) Validate(args []string) error { return noArgs(args) }

func (c *statusCommand) Run(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("status"))
	if err != nil {
		return err
	}
	defer v.Close()
	s, err := v.Status(ctx)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(s)
	}
	if len(s.Tables) == 0 {
		env.say("no target table is staged yet: write transforms (dvmigrate draft proposes some), then dvmigrate stage")
		return nil
	}
	printStatus(env, s)
	return nil
}

// printStatus answers what somebody asks who has never seen the project.
func printStatus(env *Env, s appliance.Status) {
	env.say("%s", whichMigration(s))
	env.say("%s", howFar(s))
	for _, line := range whatRuns(s) {
		env.say("%s", line)
	}
	env.say("")
	printCounts(env, s.Tables, s.Summary)
	printGenerations(env, s)
	printWhy(env, s.Failures)
	if c := s.Compared; c != nil {
		env.say("\n%s", comparedWords(*c))
	}
	for i, next := range s.Next {
		env.say("%s%s", map[bool]string{true: "\nnext: ", false: "      "}[i == 0], next)
	}
}

func at(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// whichMigration names the project and the environment it goes to.
func whichMigration(s appliance.Status) string {
	text := s.Project + ", into " + s.Target
	if s.Target == "" {
		text = s.Project + "; no environment is named in migration.yaml yet"
	}
	switch {
	case s.Pinned != nil:
		text += fmt.Sprintf(" (organization %s, since %s)", s.Organization, at(*s.Pinned))
	case s.Target != "":
		text += " (which no load has met yet)"
	}
	return text
}

// howFar is the whole in one line.
func howFar(s appliance.Status) string {
	c := s.Summary
	if s.Rollback != "" {
		return fmt.Sprintf("rollback of %s: %s still to go back, %s in flight; in the table below what has gone back is among P",
			s.Rollback, progress.Counted(s.GoesBack, "record"), count(c.InFlight))
	}
	name := "full load"
	if n := len(s.Generations); n > 0 && s.Generations[n-1].Kind == "delta" {
		name = s.Generations[n-1].Name
	}
	if c.Source == 0 {
		return name + ": nothing to load"
	}
	share := 100 * float64(c.Processed) / float64(c.Source)
	if c.Processed < c.Source {
		share = min(share, 99.9)
	}
	text := fmt.Sprintf("%s: %.1f %% done, %s of %s", name, share, count(c.Processed), progress.Counted(c.Source, "record"))
	for _, part := range []struct {
		n    int64
		says string
	}{{c.Success, "loaded with a later pass to come"}, {c.InFlight, "in flight"}, {c.Unprocessed, "waiting"}, {c.Error, "failed"}, {c.Held, "held back"}} {
		if part.n > 0 {
			text += ", " + count(part.n) + " " + part.says
		}
	}
	return text
}

// whatRuns says who works on it, or how the last load ended.
func whatRuns(s appliance.Status) []string {
	var out []string
	if o := s.Running; o != nil {
		by := ""
		if o.User != "" {
			by = " by " + o.User
		}
		if o.Host != "" {
			by += " on " + o.Host
		}
		out = append(out, fmt.Sprintf("`dvmigrate %s` is working on it (process %d, since %s)%s", o.Command, o.PID, at(o.Since), by))
	}
	switch {
	case s.Live != nil:
		out = append(out, progress.Line(*s.Live, s.Pulse))
		if l := s.Left; l != nil {
			out = append(out, fmt.Sprintf("all steps to come: %s left (estimated %s in all, so far %.2f times that)", duration(l.Seconds), duration(l.Predicted), l.Factor))
		}
		for _, a := range s.Alerts {
			out = append(out, fmt.Sprintf("alert since %s: %s", at(a.Since), a.Text))
		}
		return out
	case s.Running == nil:
		out = append(out, "nothing is running")
	}
	if len(s.Runs) == 0 {
		return append(out, "nothing was loaded yet")
	}
	r := s.Runs[0]
	if r.End == nil {
		return append(out, fmt.Sprintf("the last %[1]s, begun %[2]s, was killed; dvmigrate %[1]s looks up what was in flight and goes on", r.Command, at(r.Start)))
	}
	out = append(out, fmt.Sprintf("last %s: %s, %s, %s", r.Command, at(r.Start), progress.Counted(r.Records, "operation"), firstLine(r.Note)))
	if n := s.Summary.InFlight; n > 0 {
		out = append(out, fmt.Sprintf("it did not learn what became of %s in flight; dvmigrate %s looks it up and goes on", progress.Counted(n, "record"), r.Command))
	}
	return out
}

// firstLine is a message's first line: what to do about it is said elsewhere.
func firstLine(text string) string {
	line, rest, _ := strings.Cut(text, "\n")
	if rest != "" {
		line += " ..."
	}
	return line
}

// whyLines is how many causes are told: what a person takes in at a glance.
const whyLines = 5

// printWhy says what failed and why, the most first.
func printWhy(env *Env, list []appliance.FailureCount) {
	if len(list) == 0 {
		return
	}
	env.say("\nwhat failed or is held back, and why")
	for i, f := range list {
		if i == whyLines-1 && len(list) > whyLines {
			var n int64
			for _, f := range list[i:] {
				n += f.Records
			}
			env.say("  %s more for %d causes: dvmigrate errors --groups", count(n), len(list)-i)
			return
		}
		env.say("  %s of %s: %s (%s)", count(f.Records), f.Table, f.Means, f.Class)
	}
}

func comparedWords(c appliance.ComparedBriefly) string {
	text := fmt.Sprintf("compared with the target %s", at(c.Time))
	if !c.Values {
		text += ", without values"
	}
	switch {
	case c.Mismatches == 0:
		text += ": no difference"
	case c.Pass:
		text += fmt.Sprintf(": %s differences, all allowed", count(c.Mismatches))
	default:
		text += fmt.Sprintf(": %s differences, more than allowed", count(c.Mismatches))
	}
	if !c.Holds {
		text += "; something was staged or loaded since"
	}
	return text
}

// printGenerations says which generation is at work, and the head of the audit trail.
func printGenerations(env *Env, s appliance.Status) {
	if n := len(s.Generations); n > 0 {
		g := s.Generations[n-1]
		state := "not begun"
		switch {
		case g.Finished != nil:
			state = "finished " + at(*g.Finished)
		case g.Begun != nil:
			state = "begun " + at(*g.Begun)
		}
		env.say("\ngeneration %d (%s): %s inserts, %s updates, %s deletes planned; %s", g.Number, g.Name, count(g.Insert), count(g.Update), count(g.Delete), state)
	}
	if s.UndoBytes > 0 {
		env.say("journal of changes, which a rollback needs: %s", size(s.UndoBytes))
	}
	if s.Audit != "" {
		number, hash, _ := strings.Cut(s.Audit, ":")
		env.say("audit trail: %s entries, head %s", number, shortHash(hash))
	}
}

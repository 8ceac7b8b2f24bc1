package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
)

var ledgerEntry = entry{name: "ledger", args: "check | stats | compact", summary: "check every invariant of the ledger; what takes how much room; give back free room",
	long: `check reads all of the ledger and proves that it contradicts itself nowhere: page structure,
checksums, entries, kept counts, failures, error texts, runs, generations, audit trail, the rows
of the stage, and the journal of changes, which a rollback needs. It changes nothing, works on a
damaged file and while a load runs, and ends with exit status 1 if something is wrong, saying what
and what to do.
stats says what takes how much room. compact writes the file anew without its free pages, as
after mass retries; the file never shrinks by itself. Nobody else may work on the project then.`,
	make: func() command { return &ledgerCommand{} }}

type ledgerCommand struct{ what string }

func (c *ledgerCommand) AddFlags(*pflag.FlagSet) {}

func (c *ledgerCommand) Validate(args []string) error {
	if len(args) != 1 || args[0] != "check" && args[0] != "stats" && args[0] != "compact" {
		return errors.New("say `ledger check`, `ledger stats` or `ledger compact`")
	}
	c.what = args[0]
	return nil
}

func (c *ledgerCommand) Run(ctx context.Context, env *Env) error {
	switch c.what {
	case "check":
		return checkLedger(ctx, env)
	case "stats":
		return ledgerStats(ctx, env)
	}
	r, err := appliance.CompactLedger(ctx, env.dir, env.options("ledger compact"))
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(r)
	}
	env.say("the ledger had %s and has %s now; the new file was checked as a whole", size(r.Before), size(r.After))
	return nil
}

func checkLedger(ctx context.Context, env *Env) error {
	r, err := appliance.CheckLedger(ctx, env.dir, env.options("ledger check"))
	if err != nil {
		return err
	}
	if env.json {
		if err := env.printJSON(r); err != nil {
			return err
		}
	} else {
		printLedgerReport(env, r)
	}
	if !r.Sound || !r.UndoSound {
		return &exitError{status: Failed}
	}
	return nil
}

func printLedgerReport(env *Env, r appliance.LedgerReport) {
	env.say("%s, format %d, opened %s times", r.Path, r.Format, count(int64(r.Epoch)))
	if !r.Clean && r.Format > 0 {
		env.say("its last process was killed; the next load looks up what was in flight")
	}
	var rows [][]string
	for _, p := range r.Parts {
		found := "in order"
		if n := int64(len(p.Faults)) + p.More; n > 0 {
			found = count(n) + " faults"
		} else if p.Skipped != "" {
			found = "not looked at: " + p.Skipped
		} else if p.Note != "" {
			found += "; " + p.Note
		}
		rows = append(rows, []string{p.Name, count(p.Checked) + " " + p.Unit, found})
	}
	printTable(env.Stdout, []column{left("checked"), right("how many"), left("found")}, rows)
	for _, p := range r.Parts {
		for _, fault := range p.Faults {
			env.say("  %s: %s", p.Name, fault)
		}
		if p.More > 0 {
			env.say("  %s: and %s more", p.Name, count(p.More))
		}
	}
	switch {
	case r.Sound && r.UndoSound:
		env.say("the ledger is sound")
	case r.Sound:
		env.say("\nthe ledger is sound; the journal of changes is not\n%s", r.Advice)
	default:
		env.say("\nthe ledger is not sound\n%s", r.Advice)
	}
}

func ledgerStats(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("ledger stats"))
	if err != nil {
		return err
	}
	defer v.Close()
	s, err := v.LedgerStats(ctx)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(s)
	}
	env.say("%s: %s, of which %s are free to be used again; in memory %s", s.Path, size(s.File), size(s.Free), size(s.Memory))
	var rows [][]string
	for _, t := range s.Tables {
		rows = append(rows, []string{t.Name, count(t.Records), count(t.Runs), size(t.Bytes), count(t.Failures)})
	}
	printTable(env.Stdout, []column{left("table"), right("records"), right("runs"), right("entries"), right("failures")}, rows)
	rows = nil
	for _, b := range s.Buckets {
		rows = append(rows, []string{b.Name, count(b.Keys), size(b.Used), size(b.Pages)})
	}
	env.say("")
	printTable(env.Stdout, []column{left("part"), right("keys"), right("used"), right("pages")}, rows)
	env.say("\nthe journal of changes, which a rollback needs: %s", size(s.UndoBytes))
	if s.File > 1<<20 && s.Free > s.File/2 {
		env.say("\nmore than half is free: `dvmigrate ledger compact` gives it back")
	}
	return nil
}

// auditTime is how times are printed in the audit trail.
func auditTime(t time.Time) string { return t.Local().Format(time.DateTime) }

// shortHash is the beginning of a hash, enough to tell two apart by eye.
func shortHash(hash string) string { return fmt.Sprintf("%.12s", hash) }

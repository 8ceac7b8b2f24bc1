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

var stageEntry = entry{name: "stage", args: "[SOURCE...]", summary: "read the sources into DuckDB, transform them, give keys, record ids and flags",
	long: `With names of sources only these are read anew; the others stay as they were staged.
Nothing of an earlier staging changes unless all of this one succeeds. Lines that cannot be
read and rows that do not fit the target are set aside with the reason (exit status 3):
see ` + "`dvmigrate errors`" + ` and, for lines, ` + "`dvmigrate sql -c 'FROM dm.rejects'`" + `.

With --table only this table is transformed anew, and those that point to it or read it; no
source is read unless it is named, too. With --watch it stages, then waits, and stages again
what a saved file touches, until Ctrl-C: a transform its table, a source file its source.`,
	make: func() command { return &stageCommand{} }}

type stageCommand struct {
	appliance.StageOptions
	watch      bool
	acceptLoss bool
}

func (c *stageCommand) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&c.Tables, "table", nil, "transform only this table, or these, and what depends on them")
	f.BoolVar(&c.watch, "watch", false, "stage again whenever a transform, a map, a setting or a source file is saved")
	addAcceptLoss(f, &c.acceptLoss)
}

// addAcceptLoss declares the flag that sets the guard aside.
func addAcceptLoss(f *pflag.FlagSet, accept *bool) {
	f.BoolVar(accept, "accept-loss", false, "go on though more rows are gone, or a source has fewer, than guard in migration.yaml allows, or its files are older than those before, and do with the records of rows that are gone as gone says though lines could not be read")
}

func (c *stageCommand) Validate(args []string) error {
	c.Sources = args
	return nil
}

func (c *stageCommand) Run(ctx context.Context, env *Env) error {
	if c.watch {
		return c.keepStaging(ctx, env)
	}
	p, err := env.open(ctx, appliance.Staging, "stage")
	if err != nil {
		return err
	}
	defer p.Close()
	return c.stage(env, p, c.StageOptions)
}

// stage stages once and prints what came of it.
func (c *stageCommand) stage(env *Env, p *appliance.Project, o appliance.StageOptions) error {
	p.AcceptLoss = c.acceptLoss
	meter := env.meter()
	r, err := p.Restage(env.Drain, o, meter.percent)
	meter.clear()
	if errors.Is(err, context.Canceled) {
		return &exitError{status: Interrupted, err: errors.New("stopped on request: nothing of an earlier staging was changed; run `dvmigrate stage` again")}
	}
	if err != nil {
		return err
	}
	rejected, held := r.Aside()
	if env.json {
		if err := env.printJSON(r); err != nil {
			return err
		}
	} else {
		printStaged(env, r, rejected, held)
	}
	if rejected+held > 0 {
		return rejects()
	}
	return nil
}

func printStaged(env *Env, r appliance.StageResult, rejected, held int64) {
	var rows [][]string
	for _, s := range r.Sources {
		bytes := size(s.Bytes)
		if s.Files == 0 {
			bytes = "-"
		}
		rows = append(rows, []string{s.Name, count(s.Rows), count(s.Rejected), bytes, duration(s.Seconds)})
		for _, r := range s.Relations {
			rows = append(rows, []string{"  " + r.Name, count(r.Rows), count(r.Rejected), "", ""})
		}
	}
	if len(rows) > 0 {
		printTable(env.Stdout, []column{left("source"), right("rows"), right("bad lines"), right("size"), right("time")}, rows)
	}
	printSourceNotes(env, r.Sources)
	if len(rows) > 0 {
		fmt.Fprintln(env.Stdout)
	}
	if len(r.Tables) == 0 {
		env.say("the sources are staged; there are no transforms yet.\nNext: dvmigrate profile, to see what is in them; dvmigrate draft, for first transforms")
		return
	}
	rows = nil
	for _, t := range r.Tables {
		rows = append(rows, []string{t.Name, count(t.Rows), count(t.New), count(t.Changed), count(t.Same), count(t.Gone), count(t.Held), count(t.Repaired), duration(t.Seconds)})
	}
	printTable(env.Stdout, []column{left("table"), right("rows"), right("new"), right("changed"), right("same"), right("gone"), right("held back"), right("repaired"), right("time")}, rows)
	for _, t := range r.Tables {
		if t.Because != "" {
			env.say("%s was redone too, since it %s", t.Name, t.Because)
		}
	}
	fmt.Fprintln(env.Stdout)
	for _, u := range r.Unmapped {
		env.say("%s.%s: %s of %s rows without a value in %s: %s", u.Table, u.Column, progress.Counted(u.Texts, "text"), count(u.Rows), u.File, textList(u.Such, u.Texts))
	}
	if len(r.Unmapped) > 0 {
		env.say("dvmigrate options plan adds them to the sheets, with proposals")
	}
	for _, note := range r.Notes {
		env.say("%s", note)
	}
	printAside(env, rejected, held)
	env.say("staged in %s. Next: dvmigrate estimate, or dvmigrate load", duration(r.Seconds))
}

// printSourceNotes says what there is to know of how the sources were read.
func printSourceNotes(env *Env, sources []appliance.SourceResult) {
	for _, s := range sources {
		if s.Resumed > 0 {
			fmt.Fprintf(env.Stdout, "%s: went on after an interruption, with %s read before\n", s.Name, progress.Counted(s.Resumed, "range"))
		}
		for _, note := range s.Notes {
			fmt.Fprintf(env.Stdout, "%s: %s\n", s.Name, note)
		}
	}
}

// printAside says how many lines and rows a staging has set aside, and where they are.
func printAside(env *Env, rejected, held int64) {
	var aside []string
	if rejected > 0 {
		aside = append(aside, progress.Counted(rejected, "line")+" could not be read (dvmigrate sql -c 'FROM dm.rejects')")
	}
	if held > 0 {
		aside = append(aside, progress.Counted(held, "row", "does", "do")+" not fit the target (dvmigrate errors)")
	}
	if len(aside) > 0 {
		env.say("set aside: %s", strings.Join(aside, "; "))
	}
}

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var rollbackEntry = entry{name: "rollback", summary: "bring the target back to before a generation: delete what was made, give back what records had",
	long: `Takes back what a generation and all after it did to the target, or to some of its tables, a
wave of the plan, or the rows with some legacy keys. It asks for the project's name first; --dry-run
only counts, going by what the target has now, and works while a load runs. What somebody else has changed since stays and is listed, unless --overwrite is given.
Killed or stopped with Ctrl-C, it goes on when it is run again; until it is finished, nothing is
staged or loaded. Afterwards the records wait, as before they were loaded. Some did not go back:
exit status 3. See ` + "`dvmigrate guide rollback`" + ` for what cannot be taken back.`,
	make: func() command { return &rollbackCommand{} }}

type rollbackCommand struct {
	o    appliance.RollbackOptions
	file string // of legacy keys
	yes  string
	dry  bool
}

func (c *rollbackCommand) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.o.Generation, "generation", "", "the first that goes back, with all that came after it: full, 'delta 2', its number, or last")
	f.StringSliceVar(&c.o.Tables, "table", nil, "only these tables")
	f.IntVar(&c.o.Wave, "wave", 0, "only the tables of this wave (see dvmigrate plan)")
	f.StringArrayVar(&c.o.Keys, "key", nil, "only the rows with these legacy keys")
	f.StringVar(&c.file, "keys", "", "a `FILE` with legacy keys, one a line")
	f.BoolVar(&c.o.Below, "below", false, "with --key or --keys: also what is below these records, which the target would delete with them")
	f.BoolVar(&c.o.Overwrite, "overwrite", false, "also take back what somebody else has changed since")
	f.BoolVar(&c.dry, "dry-run", false, "count what would go back, by what the target has now; change nothing")
	f.BoolVar(&c.o.Offline, "offline", false, "with --dry-run: do not ask the target")
	f.StringVar(&c.yes, "yes", "", "the project's name, instead of typing it")
	f.BoolVar(&c.o.Stop, "stop", false, "end the rollback that is under way as it is; what has not gone back stays loaded")
	f.IntVar(&c.o.Load.Parallel, "parallel", 0, "requests at once (default: as for load)")
	addNewTarget(f, &c.o.Load.NewTarget)
}

func (c *rollbackCommand) Validate(args []string) error {
	switch {
	case c.o.Wave < 0 || c.o.Load.Parallel < 0:
		return errors.New("--wave and --parallel must not be negative")
	case c.o.Below && len(c.o.Keys) == 0 && c.file == "":
		return errors.New("--below goes with --key or --keys: of whole tables, name those below them, too")
	case c.dry && c.o.Stop:
		return errors.New("--stop does not go with --dry-run")
	case c.o.Offline && !c.dry:
		return errors.New("--offline goes with --dry-run only")
	}
	return noArgs(args)
}

func (c *rollbackCommand) Run(ctx context.Context, env *Env) error {
	if c.file != "" {
		b, err := os.ReadFile(c.file)
		if err != nil {
			return fmt.Errorf("read the legacy keys: %w", err)
		}
		for line := range strings.Lines(strings.TrimPrefix(string(b), "\ufeff")) { // spreadsheets and Notepad write such a mark
			if key := strings.TrimRight(line, "\r\n"); key != "" {
				c.o.Keys = append(c.o.Keys, key)
			}
		}
		if len(c.o.Keys) == 0 {
			return fmt.Errorf("%s holds no legacy key; write one a line", c.file)
		}
	}
	if c.dry {
		return c.dryRun(ctx, env)
	}
	p, err := env.open(ctx, appliance.Loading, "rollback")
	if err != nil {
		return err
	}
	defer p.Close()
	c.o.Confirm = func(plan appliance.RollbackPlan) error { return c.confirm(env, p.Config.Name, plan) }
	stop := env.meter().watch(ctx, p)
	r, err := p.Rollback(ctx, env.Drain, c.o)
	stop()
	switch {
	case errors.Is(err, appliance.ErrLeftOver): // a load's words, and this is none
		return errors.New(strings.ReplaceAll(err.Error(), "run load again", "run rollback again"))
	case err != nil && !errors.Is(err, appliance.ErrDrained):
		return err
	}
	if env.json {
		if jerr := env.printJSON(r); jerr != nil {
			return jerr
		}
	} else if err == nil {
		printRollback(env, r)
	}
	switch {
	case err != nil:
		return &exitError{status: Interrupted, err: errors.New("stopped on request; `dvmigrate rollback` goes on, `dvmigrate rollback --stop` ends it as it is")}
	case r.Left+r.Lost > 0:
		return rejects()
	}
	return nil
}

func (c *rollbackCommand) dryRun(ctx context.Context, env *Env) error {
	v, err := appliance.View(ctx, env.dir, env.options("rollback --dry-run"))
	if err != nil {
		return err
	}
	defer v.Close()
	meter := env.meter()
	plan, err := v.PlanRollback(env.Drain, c.o, meter.percent)
	meter.clear()
	if errors.Is(err, context.Canceled) {
		return &exitError{status: Interrupted, err: errors.New("stopped on request; nothing has changed (--offline counts at once, without the target)")}
	}
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(plan)
	}
	printRollbackPlan(env, plan)
	switch {
	case plan.NotAsked != "":
		env.say("the target was not asked: %s", plan.NotAsked)
		env.say("nothing has changed; whether others have changed a record since is looked up when it goes back")
	case plan.Asked:
		env.say("nothing has changed; what others change from now on is looked up again when a record goes back")
	default:
		env.say("nothing has changed; whether others have changed a record since is looked up when it goes back")
	}
	return nil
}

// confirm shows what goes back and has the project's name typed.
func (c *rollbackCommand) confirm(env *Env, project string, plan appliance.RollbackPlan) error {
	typed := c.yes
	if typed == "" {
		printRollbackPlan(&Env{Stdout: env.Stderr, Stderr: env.Stderr}, plan)
		fmt.Fprintf(env.Stderr, "type the project's name to go on: ")
		line, _ := bufio.NewReader(env.Stdin).ReadString('\n') // the end of the input is no name
		typed = strings.TrimSpace(line)
	}
	if typed == "" {
		return fmt.Errorf("nothing was rolled back: the project's name was not typed; --yes %s says it where nobody can", project)
	}
	if typed != project {
		return fmt.Errorf("nothing was rolled back: %q is not the project's name, %s", typed, project)
	}
	return nil
}

func printRollbackPlan(env *Env, plan appliance.RollbackPlan) {
	if plan.Total.Delete+plan.Total.Restore == 0 {
		env.say("nothing of %s is left in the target to roll back", strings.Join(plan.Generations, ", "))
	} else {
		env.say("back to before %s:", plan.Generations[len(plan.Generations)-1])
	}
	if plan.UnderWay {
		env.say("it is under way; this is what is left of it")
	}
	printRollbackTable(env, plan)
	env.say("some %s", progress.Counted(plan.Requests, "request"))
	if plan.InFlight > 0 {
		env.say("%s in flight: what became of them is looked up first", progress.Counted(plan.InFlight, "record", "is", "are"))
	}
	if f := plan.Total.Found; f != nil && f.Left > 0 {
		env.say("%s, changed since by others (or perhaps made by them); --overwrite takes back those too", progress.Counted(f.Left, "record", "stays", "stay"))
	}
	if plan.Total.Lost > 0 {
		env.say("%s deleted by a load, not to be made again", progress.Counted(plan.Total.Lost, "record", "was", "were"))
	}
	if len(plan.Apart) > 0 {
		env.say("records of %s stay: they are in partitions of their own, in which an id alone does not find them", strings.Join(plan.Apart, ", "))
	}
	if plan.Total.Unknown > 0 && len(plan.Apart) == 0 {
		env.say("%s: loaded without a journal of changes (work/undo.log), or the file was lost since", progress.Counted(plan.Total.Unknown, "record", "stays", "stay"))
	}
	for _, d := range plan.Damage {
		env.say("the journal of changes is damaged: %s", d)
	}
	if plan.Total.Damaged > 0 {
		env.say("%s because what was there before is in a damaged part of it, or may be", progress.Counted(plan.Total.Damaged, "record", "stays", "stay"))
	}
	if n := plan.Total.Maybe; n > 0 {
		env.say("looked up before it is deleted: who made %s, and when", progress.Counted(n, "record"))
	}
}

// printRollbackTable shows what would happen, where the target was asked, else what is meant to.
func printRollbackTable(env *Env, plan appliance.RollbackPlan) {
	columns := []column{left("table"), right("to delete"), right("to give back")}
	if plan.Asked {
		columns = append(columns, right("left to others"), right("gone already"), right("as before already"))
	}
	columns = append(columns, right("deleted, lost"), right("not known"))
	var rows [][]string
	for _, t := range append(plan.Tables, plan.Total) {
		row := []string{t.Name, count(t.Delete), count(t.Restore)}
		if f := t.Found; plan.Asked && f != nil {
			row = []string{t.Name, count(f.Delete), count(f.Restore), count(f.Left), count(f.Gone), count(f.Same)}
		}
		rows = append(rows, append(row, count(t.Lost), count(t.Unknown+t.Damaged)))
	}
	printTable(env.Stdout, columns, rows)
}

func printRollback(env *Env, r appliance.RollbackResult) {
	if r.Plan.Total.Delete+r.Plan.Total.Restore == 0 && !r.Finished {
		printRollbackPlan(env, r.Plan)
		return
	}
	printCounts(env, r.Tables, r.Summary)
	env.say("\n%s went back in %s", progress.Counted(r.Back, "record"), duration(r.Seconds))
	if r.Left > 0 {
		env.say("%s did not: others have changed them, the target refused, or what they had cannot be read", count(r.Left))
	}
	if r.Lost > 0 {
		env.say("%s were deleted by a load and are not made again", count(r.Lost))
	}
	if r.List != "" {
		env.say("each of them with the reason: %s", r.List)
	}
	if r.Summary.Processed+r.Summary.Success > 0 && r.Plan.Total.Delete > 0 {
		env.say("what stays has lost its lookups to what was deleted: after the next load dvmigrate reconcile lists them, and dvmigrate retry --reconciled sends them again")
	}
	env.say("the records wait, as before they were loaded: mend, dvmigrate stage, dvmigrate load")
}

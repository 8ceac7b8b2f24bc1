package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/console"
	"dvmigrate/appliance/progress"
)

var loadEntry = entry{name: "load", summary: "send what waits; Ctrl-C finishes what is begun; run again to go on",
	long: `Each record is loaded exactly once: its intent is on the disk before the request leaves, its
outcome before it counts, and a lost answer is settled by reading the record back. One bad
row costs the rest nothing. Records that failed or are held back: exit status 3.`,
	make: func() command { return &loadCommand{} }}

type loadCommand struct {
	every    time.Duration
	to       []string
	parallel int
	perUser  int
	again    string // the target's address
	missing  bool   // is accepted
	dry      bool
	console  consoleFlags
	metrics  string // address
}

func (c *loadCommand) AddFlags(f *pflag.FlagSet) {
	c.addSending(f)
	f.BoolVar(&c.dry, "dry-run", false, "build every request, check it against the schema and count it; send none and change nothing")
}

// options are what the flags say of the load.
func (c *loadCommand) options() appliance.LoadOptions {
	return appliance.LoadOptions{SnapshotEvery: c.every, SnapshotTo: c.to, Parallel: c.parallel, PerUser: c.perUser, NewTarget: c.again, AcceptMissing: c.missing}
}

// addSending declares the flags of all that loads.
func (c *loadCommand) addSending(f *pflag.FlagSet) {
	f.DurationVar(&c.every, "snapshot-every", 0, "time from one snapshot to the next, such as 30m; negative for none (default: as migration.yaml says)")
	f.DurationVar(&c.every, "every", 0, "the same")
	_ = f.MarkHidden("every")
	f.StringArrayVar(&c.to, "snapshot-to", nil, "folder of the snapshots (default: as migration.yaml says); given again, or s3://..., azblob://...: a place that gets a copy")
	f.IntVar(&c.parallel, "parallel", 0, "requests at once (default: as migration.yaml says, else what the server takes)")
	f.IntVar(&c.perUser, "per-user", 0, "requests at once as each application user (default: limits.concurrent)")
	addNewTarget(f, &c.again)
	f.BoolVar(&c.missing, "accept-missing", false, "go on though the target lacks most of the records that were loaded, or all of a table, or what it was given last, as after it was emptied or restored: only what waits is sent")
	c.console.addBeside(f)
	f.StringVar(&c.metrics, "metrics", "", "give metrics to Prometheus meanwhile, at this `address` or port of this machine, such as 9464")
}

// addNewTarget declares the flag that says the target's address a second time.
func addNewTarget(f *pflag.FlagSet, address *string) {
	f.StringVar(address, "new-target", "", "the target's `URL` once more: it is meant, though the project belongs to another environment")
}

func (c *loadCommand) Validate(args []string) error {
	if c.parallel < 0 || c.perUser < 0 {
		return errors.New("--parallel and --per-user must not be negative")
	}
	var metrics error
	if c.metrics != "" {
		_, _, metrics = console.MetricsAddress(c.metrics)
	}
	return errors.Join(c.console.validate(), metrics, noArgs(args))
}

func (c *loadCommand) Run(ctx context.Context, env *Env) error {
	if c.dry {
		return c.dryRun(ctx, env)
	}
	p, err := env.open(ctx, appliance.Loading, "load")
	if err != nil {
		return err
	}
	defer p.Close()
	defer c.console.beside(ctx, env, p)()
	defer giveMetrics(ctx, env, c.metrics, p)()
	stop := env.meter().watch(ctx, p)
	r, err := p.Load(ctx, env.Drain, c.options())
	stop()
	if err != nil && !errors.Is(err, appliance.ErrDrained) && !errors.Is(err, appliance.ErrTooManyErrors) && !errors.Is(err, appliance.ErrLeftOver) {
		return err
	}
	if env.json {
		if jerr := env.printJSON(r); jerr != nil {
			return jerr
		}
	} else {
		printCounts(env, r.Tables, r.Summary)
		env.say("\n%s in %s", progress.Counted(r.Sent, "operation"), duration(r.Seconds))
		printKept(env, r)
		printNext(env, r.Summary)
	}
	switch {
	case err != nil:
		return err
	case r.Summary.Error+r.Summary.Held+r.Summary.Left() > 0:
		return rejects()
	}
	return nil
}

// dryRun counts what a load would send.
func (c *loadCommand) dryRun(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.DryRunning, "load --dry-run")
	if err != nil {
		return err
	}
	defer p.Close()
	stop := env.meter().watch(ctx, p)
	r, err := p.DryRun(ctx, env.Drain, appliance.LoadOptions{Parallel: c.parallel, PerUser: c.perUser})
	stop()
	if err != nil {
		return err
	}
	if env.json {
		err = env.printJSON(r)
	} else {
		printDryRun(env, r)
	}
	if err == nil && len(r.Misfits) > 0 {
		return rejects()
	}
	return err
}

func printDryRun(env *Env, r appliance.DryRun) {
	line := func(s appliance.DryStep) []string {
		each := int64(0)
		if s.Requests > 0 {
			each = s.Records / s.Requests
		}
		return []string{s.Table, s.Pass, count(s.Records), count(s.Requests), count(s.Bulk), count(s.Batch), count(s.Single), count(each), size(s.Bytes), size(s.Largest)}
	}
	var rows [][]string
	total := appliance.DryStep{Table: "total", Records: r.Records, Requests: r.Requests, Bytes: r.Bytes}
	for _, s := range r.Tables {
		rows = append(rows, line(s))
		total.Bulk, total.Batch, total.Single, total.Largest = total.Bulk+s.Bulk, total.Batch+s.Batch, total.Single+s.Single, max(total.Largest, s.Largest)
	}
	rows = append(rows, line(total))
	printTable(env.Stdout, []column{left("table"), left("pass"), right("records"), right("requests"), right("bulk"), right("$batch"), right("single"), right("records each"), right("bytes"), right("largest")}, rows)
	if len(r.Misfits) > 0 {
		rows = nil
		for _, m := range r.Misfits {
			rows = append(rows, []string{m.Table, m.Column, m.Problem, count(m.Records), m.Example})
		}
		env.say("")
		printTable(env.Stdout, []column{left("table"), left("column"), left("does not fit"), right("records"), left("for example")}, rows)
	}
	env.say("\nnothing was sent and nothing has changed; %s failed or held back, not to be sent", progress.Counted(r.Summary.Error+r.Summary.Held, "record"))
	if r.Reads > 0 {
		env.say("a load would first ask what became of records in flight, or is there already")
	}
}

func printNext(env *Env, s appliance.Counts) {
	switch {
	case s.Error+s.Held > 0:
		env.say("%s failed, %s held back: dvmigrate errors; mend, dvmigrate stage, dvmigrate retry, dvmigrate load", count(s.Error), count(s.Held))
	case s.Left() > 0:
		env.say("not done yet: dvmigrate load goes on")
	default:
		env.say("everything is done. Next: dvmigrate reconcile")
	}
}

// printCounts prints how each table stands.
func printCounts(env *Env, tables []appliance.TableStatus, sum appliance.Counts) {
	line := func(name string, c appliance.Counts, next string) []string {
		return []string{name, count(c.Source), count(c.Processed), count(c.Success), count(c.InFlight), count(c.Unprocessed), count(c.Error), count(c.Held), next}
	}
	var rows [][]string
	for _, t := range tables {
		rows = append(rows, line(t.Name, t.Counts, t.Next))
	}
	rows = append(rows, line("total", sum, ""))
	printTable(env.Stdout, []column{left("table"), right("source"), right("processed P"), right("success S"), right("in flight F"), right("waiting U"), right("error E"), right("held H"), left("next pass")}, rows)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

var deltaEntry = entry{name: "delta", summary: "stage, compare, check, estimate and load in one go, without a question",
	long: `For the weekly deltas, from a scheduler: exit status 0 when all is done, 3 when something was
set aside, 1 when it stopped before anything was sent (the guard against lost rows, a check,
the window), 130 when it was interrupted. Of changed rows only the changed columns are sent.
What an interrupted load or delta has left is finished first. See ` + "`dvmigrate guide delta`" + `.`,
	make: func() command { return &deltaCommand{} }}

type deltaCommand struct {
	load       loadCommand
	window     time.Duration
	acceptLoss bool
}

func (c *deltaCommand) AddFlags(f *pflag.FlagSet) {
	addAcceptLoss(f, &c.acceptLoss)
	f.DurationVar(&c.window, "window", 0, "stop before the load when it is expected to take longer, such as 6h")
	c.load.addSending(f)
}

func (c *deltaCommand) Validate(args []string) error {
	if c.window < 0 {
		return errors.New("--window must not be negative")
	}
	return c.load.Validate(args)
}

func (c *deltaCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Staging, "delta")
	if err != nil {
		return err
	}
	defer p.Close()
	p.AcceptLoss = c.acceptLoss
	defer c.load.console.beside(ctx, env, p)()
	defer giveMetrics(ctx, env, c.load.metrics, p)()
	meter := env.meter()
	stop := meter.watch(ctx, p)
	r, err := p.Delta(ctx, env.Drain, appliance.DeltaOptions{Load: c.load.options(), Window: c.window,
		Stage: meter.percent, Step: func(string) { meter.clear() }})
	stop()
	meter.clear()
	if env.json {
		if jerr := env.printJSON(r); jerr != nil {
			return jerr
		}
	} else {
		printDelta(env, r)
	}
	switch {
	case errors.Is(err, context.Canceled) && r.Load == nil:
		return &exitError{status: Interrupted, err: errors.New("stopped on request before anything was sent; run `dvmigrate delta` again")}
	case err != nil:
		return err
	case r.Rejected+r.Held > 0 || r.Load != nil && r.Load.Summary.Error+r.Load.Summary.Held+r.Load.Summary.Left() > 0:
		return rejects()
	}
	return nil
}

func printDelta(env *Env, r appliance.DeltaResult) {
	if r.Stage == nil {
		return
	}
	printSourceNotes(env, r.Stage.Sources)
	for _, n := range r.Stage.Notes {
		env.say("%s", n)
	}
	c := r.Changes
	env.say("%s: %s to insert, %s to update, %s to delete; %s rows are gone, %s are the same, %s do not fit", r.Name, count(c.Insert), count(c.Update), count(c.Delete), count(c.Gone), count(c.Same), count(r.Held))
	if more := r.Waiting - c.Insert - c.Update - c.Delete; more > 0 {
		env.say("%s in all, with what earlier loads have left", progress.Counted(r.Waiting, "record", "waits", "wait"))
	}
	printAside(env, r.Rejected, 0) // the rows that do not fit are told above
	if e := r.Expected; e != nil {
		text := fmt.Sprintf("expected: %s by the estimate", duration(e.Seconds))
		if e.Deltas > 0 {
			text += fmt.Sprintf(", %s as the last deltas went (%d)", duration(e.ByLast), e.Deltas)
		}
		env.say("%s", text)
	}
	switch l := r.Load; {
	case l != nil:
		env.say("")
		printCounts(env, l.Tables, l.Summary)
		env.say("\n%s in %s, %s; %s failed", progress.Counted(l.Sent, "operation"), duration(l.Seconds), size(l.Bytes), count(l.Failed))
		printKept(env, *l)
		printNext(env, l.Summary)
	case r.Waiting == 0:
		env.say("nothing is to be sent")
	}
	text := ""
	for _, s := range r.Steps {
		text += fmt.Sprintf(", %s %s", s.Name, duration(s.Seconds))
	}
	env.say("took %s: %s", duration(r.Seconds), text[min(2, len(text)):])
}

// printKept tells of records that keep what somebody has changed in the target, and of the journal of
// changes, where something is wrong with it.
func printKept(env *Env, r appliance.LoadResult) {
	for _, n := range r.Notes {
		env.say("%s", n)
	}
	for _, table := range sortedKeys(r.Kept) {
		for _, name := range sortedKeys(r.Kept[table]) {
			env.say("%s: %s the %s that somebody has changed in the target", table, progress.Counted(r.Kept[table][name], "record", "keeps", "keep"), name)
		}
	}
}

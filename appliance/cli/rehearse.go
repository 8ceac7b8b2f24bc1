package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance"
	"dvmigrate/appliance/dataverse/emulator"
)

var rehearseEntry = entry{name: "rehearse", summary: "load the staged data into an emulator that takes as long as estimated; the project stays as it is",
	long: `The real loader and client against the embedded emulator, with the estimate's costs and limits, all
durations shorter by --speed. On a copy of the ledger: nothing of the project changes but
work/profile.json, which the next estimate reads. Prints predicted beside simulated.`,
	make: func() command { return &rehearseCommand{} }}

type rehearseCommand struct{ speed float64 }

func (c *rehearseCommand) AddFlags(f *pflag.FlagSet) {
	f.Float64Var(&c.speed, "speed", 10, "how many times faster than estimated; this machine has its own limit")
}

func (c *rehearseCommand) Validate(args []string) error {
	if c.speed < 1 || c.speed > 100 {
		return errors.New("--speed is from 1 to 100: beyond, the client's own time would be what is measured")
	}
	return noArgs(args)
}

func (c *rehearseCommand) Run(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.DryRunning, "rehearse")
	if err != nil {
		return err
	}
	defer p.Close()
	m, err := p.RehearsalModel(ctx)
	if err != nil {
		return err
	}
	server, err := emulator.New(c.options(p, m, env))
	if err != nil {
		return err
	}
	defer server.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("rehearse: this machine has no loopback interface to load over: %w", err)
	}
	web := &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}
	go func() { _ = web.Serve(listener) }()
	defer web.Close()
	began := time.Now()
	stop := env.meter().watch(ctx, p)
	r, err := p.Rehearse(ctx, env.Drain, "http://"+listener.Addr().String(), c.speed)
	stop()
	if err != nil {
		return err
	}
	p.Close() // its ledger, which stood aside for a copy, has the audit trail
	if err := env.noted(ctx, "rehearse", began, nil, "kept in work/profile.json"); err != nil {
		return err
	}
	if env.json {
		return env.printJSON(r)
	}
	printComparison(env, r.Comparison)
	env.say("\nsimulated %s at %.0f times the speed; kept in work/profile.json, the next estimate uses it; the project is as it was", duration(r.Seconds), r.Speed)
	return nil
}

// options are the emulator of the model, quicker by the speed-up. Rows are counted and
// checked but not kept: a rehearsal may be as large as the load.
func (c *rehearseCommand) options(p *appliance.Project, m appliance.RehearsalModel, env *Env) emulator.Options {
	fast := func(d time.Duration) time.Duration { return time.Duration(float64(d) / c.speed) }
	o := emulator.Options{Schema: p.Schema, Discard: true, AssumeBulk: true, DopHint: m.Hint, Latency: fast(m.Latency), LatencyP99: fast(m.LatencyP99),
		Limits: emulator.Limits{Requests: m.Requests, Execution: fast(m.Execution), Concurrency: m.Concurrent, Window: fast(m.Window), Servers: m.Servers},
		Cost:   emulator.Cost{PerRequest: fast(m.PerRequest)}}
	for _, x := range m.Costs {
		request, record := fast(x.Request), fast(x.Record)
		o.Cost.Rules = append(o.Cost.Rules, emulator.CostRule{Table: x.Table, Action: x.Action, Request: &request, Record: &record})
	}
	if seed, err := (&emulatorCommand{}).readSeed(env, p.Schema); err == nil {
		o.Seed = seed
	}
	return o
}

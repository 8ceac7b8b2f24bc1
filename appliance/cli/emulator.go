package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
)

var emulatorEntry = entry{name: "emulator", summary: "a Dataverse on this machine: strict, with limits, and faults on order",
	long: `Without --schema it has the schema of the project in the folder, else that of the sample; a
$metadata document (.xml) of a real environment will do too. It begins with the records of
emulator-seed.json, where the folder has one. Any bearer token is a user of its own.
A fault is kind=...,match=..., for example: --fault kind=reset-after,nth=3,table=account
It does what the service does where that is awkward too: limits, atomic bulk requests, CRLF
in a $batch, closed rows. --warm-up and --deadlocks add what only happens under load.
A set also answers ?sql=SELECT ..., as Microsoft's Python client asks.
"dvmigrate guide emulator" and "dvmigrate guide faults" say the rest.`,
	make: func() command { return &emulatorCommand{} }}

type emulatorCommand struct {
	listen, admin, schema, seed, state string
	discard                            bool
	limits                             emulator.Limits
	noLimits                           bool
	latency, latencyP99                time.Duration
	perRequest, perRecord              time.Duration
	profile, roles                     string
	speed                              float64
	custom                             []string
	looseBatch                         bool
	faults                             []string
	duplicateRules                     []string
	rollups                            []string
	warmUp                             time.Duration
	deadlocks, closeByMessage          bool
	deadlockParents                    []string
	spread                             string
	dop, language                      int
}

func (c *emulatorCommand) AddFlags(f *pflag.FlagSet) {
	c.limits = emulator.DefaultLimits()
	f.StringVar(&c.listen, "listen", "127.0.0.1:8787", "address; loopback only")
	f.StringVar(&c.admin, "admin", "", "address of the admin endpoint: counts, export, trace, faults (default: none)")
	f.StringVar(&c.schema, "schema", "", "schema file, or $metadata document (.xml, .xml.gz)")
	f.StringVar(&c.seed, "seed", "", "records that exist from the start (default: emulator-seed.json of the project)")
	f.StringVar(&c.state, "state", "", "file that keeps the data across restarts (default: memory only)")
	f.BoolVar(&c.discard, "discard", false, "check and count, but store nothing")
	f.DurationVar(&c.latency, "latency", 0, "added to every answer; with --latency-p99 the median")
	f.DurationVar(&c.latencyP99, "latency-p99", 0, "one answer in a hundred is later than this")
	f.StringVar(&c.profile, "profile", "", "file with measured latencies and costs, by table and action (see the guide)")
	f.BoolVar(&c.looseBatch, "loose-batch", false, "take a $batch whose end lacks its CRLF, as some public clients send it; Dataverse refuses it")
	f.StringVar(&c.roles, "roles", "", "file with security roles and their privileges, which are then checked (see the guide)")
	f.Float64Var(&c.speed, "speed", 1, "how many times faster than real time windows, costs and latencies pass")
	f.StringArrayVar(&c.custom, "custom-action", nil, "a custom API that takes so long: contoso_Do=2s; may be given several times")
	f.DurationVar(&c.perRequest, "cost-request", 0, "execution time of a request")
	f.DurationVar(&c.perRecord, "cost-record", 0, "execution time of a record")
	f.BoolVar(&c.noLimits, "no-limits", false, "without service-protection limits")
	f.IntVar(&c.limits.Requests, "limit-requests", c.limits.Requests, "requests in the window, for each user on each server; 0 for no limit")
	f.DurationVar(&c.limits.Execution, "limit-execution", c.limits.Execution, "combined execution time in the window; 0 for no limit")
	f.IntVar(&c.limits.Concurrency, "limit-concurrent", c.limits.Concurrency, "requests at once; 0 for no limit")
	f.DurationVar(&c.limits.Window, "limit-window", c.limits.Window, "the sliding window")
	f.IntVar(&c.limits.Servers, "servers", c.limits.Servers, "web servers behind the address")
	f.StringVar(&c.spread, "spread", string(emulator.RoundRobin), "how requests without an affinity cookie get to the servers: round-robin or random")
	f.DurationVar(&c.warmUp, "warm-up", 0, "how much longer the first bulk request of an action on a table takes, during which others on it fail with SQL 3732, 2766 or 2812")
	f.BoolVar(&c.deadlocks, "deadlocks", false, "a request that writes a row which another is writing fails as victim of a deadlock (SQL 1205)")
	f.BoolVar(&c.closeByMessage, "close-by-message", true, "an opportunity is won or lost by WinOpportunity and LoseOpportunity only, as in Dataverse; =false also takes a plain write")
	f.StringArrayVar(&c.deadlockParents, "deadlock-parent", nil, "lookup, as table.column: so do requests that bind it to the same row; may be given several times")
	f.StringArrayVar(&c.rollups, "rollup", nil, "what a rollup column is computed from: table.column=count(from.lookup), or sum, avg, min, max(from.lookup,column); may be given several times")
	f.StringArrayVar(&c.duplicateRules, "duplicate-rule", nil, "duplicate detection rule, as table:column,column, for writes that ask for it; may be given several times")
	f.StringArrayVar(&c.faults, "fault", nil, "a fault on order; may be given several times")
	f.IntVar(&c.language, "language", 0, "base language, an LCID, by which texts and keys are compared: 1033 takes ü for u, 1053 does not (default: that of seed or state, else 1033)")
	f.IntVar(&c.dop, "dop-hint", 4, "value of x-ms-dop-hint, as small environments say it; 0 leaves it out")
}

func (c *emulatorCommand) Validate(args []string) error {
	for _, address := range []string{c.listen, c.admin} {
		if address != "" && !isLoopback(address) {
			return fmt.Errorf("%s is not an address of this machine alone: the emulator listens on loopback only, such as 127.0.0.1:8787", address)
		}
	}
	_, known := schema.Collation(c.language)
	switch {
	case c.speed <= 0:
		return fmt.Errorf("--speed %v: it must be above 0", c.speed)
	case c.admin != "" && c.admin == c.listen && !strings.HasSuffix(c.listen, ":0"):
		return fmt.Errorf("--admin %s: it is the address of --listen; the admin endpoint needs one of its own", c.admin)
	case c.spread != string(emulator.RoundRobin) && c.spread != string(emulator.Random):
		return fmt.Errorf("--spread %s: it is round-robin or random", c.spread)
	case c.language != 0 && !known:
		return fmt.Errorf("--language %d: no environment has it; among those that have are 1031 (German), 1033 (English) and 1053 (Swedish)", c.language)
	case c.limits.Servers < 1:
		return fmt.Errorf("--servers %d: there is at least 1", c.limits.Servers)
	case c.latencyP99 > 0 && c.latencyP99 < c.latency:
		return fmt.Errorf("--latency-p99 %v: it is less than the median, --latency %v", c.latencyP99, c.latency)
	case c.latencyP99 > 0 && c.latency == 0:
		return fmt.Errorf("--latency-p99 %v: it needs --latency, which is then the median", c.latencyP99)
	}
	for name, d := range map[string]time.Duration{"latency": c.latency, "cost-request": c.perRequest, "cost-record": c.perRecord, "warm-up": c.warmUp,
		"limit-execution": c.limits.Execution, "limit-window": c.limits.Window} {
		if d < 0 {
			return fmt.Errorf("--%s %v: it is less than nothing", name, d)
		}
	}
	if c.limits.Requests < 0 || c.limits.Concurrency < 0 {
		return fmt.Errorf("a limit below 0: 0 is no limit")
	}
	return noArgs(args)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *emulatorCommand) Run(ctx context.Context, env *Env) error {
	// The addresses first: who has them may have the state file open too.
	listeners, err := c.open()
	if err != nil {
		return err
	}
	s, err := c.server(env)
	if err != nil {
		for _, l := range listeners {
			l.Close()
		}
		return err
	}
	defer s.Close()
	debug.SetGCPercent(25) // ten million rows are large blocks without pointers: cheap to collect, dear to double
	servers := []*http.Server{{Handler: s, ReadHeaderTimeout: 30 * time.Second}}
	if len(listeners) > 1 {
		servers = append(servers, &http.Server{Handler: s.Admin(), ReadHeaderTimeout: 30 * time.Second})
	}
	if err := c.announce(env, listeners); err != nil {
		return err
	}
	failed := make(chan error, len(servers))
	for i := range servers {
		go func() { failed <- servers[i].Serve(listeners[i]) }()
	}
	select {
	case err = <-failed:
	case <-env.Drain.Done():
		err = nil
	case <-ctx.Done():
		err = nil
	}
	for _, server := range servers {
		_ = server.Close()
	}
	return err
}

// open takes the addresses.
func (c *emulatorCommand) open() ([]net.Listener, error) {
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return nil, fmt.Errorf("%w\nis another emulator running? choose another address with --listen", err)
	}
	if c.admin == "" {
		return []net.Listener{listener}, nil
	}
	admin, err := net.Listen("tcp", c.admin)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("%w\nis another emulator running? choose another address with --admin", err)
	}
	return []net.Listener{listener, admin}, nil
}

// announce says where the emulator listens; the first line ends with the address.
func (c *emulatorCommand) announce(env *Env, listeners []net.Listener) error {
	if env.json {
		v := map[string]any{"version": 1, "url": "http://" + listeners[0].Addr().String()}
		if len(listeners) > 1 {
			v["admin"] = "http://" + listeners[1].Addr().String()
		}
		return json.NewEncoder(env.Stdout).Encode(v)
	}
	fmt.Fprintf(env.Stdout, "the emulator listens on http://%s\n", listeners[0].Addr())
	if len(listeners) > 1 {
		fmt.Fprintf(env.Stdout, "its admin endpoint on http://%s\n", listeners[1].Addr())
	}
	fmt.Fprintln(env.Stdout, "stop it with Ctrl-C")
	return nil
}

func (c *emulatorCommand) server(env *Env) (*emulator.Server, error) {
	sch, err := c.readSchema(env)
	if err != nil {
		return nil, err
	}
	seed, err := c.readSeed(env, sch)
	if err != nil {
		return nil, err
	}
	o := emulator.Options{Schema: sch, Seed: seed, StatePath: c.state, Discard: c.discard, Latency: c.latency, LatencyP99: c.latencyP99,
		WarmUp: c.warmUp, Deadlocks: c.deadlocks, DeadlockParents: c.deadlockParents, PlainClose: !c.closeByMessage, DopHint: c.dop, Language: c.language, Speed: c.speed, LooseBatch: c.looseBatch, AssumeBulk: isCSDL(c.schema), AssumeTracking: isCSDL(c.schema), Cost: emulator.Cost{PerRequest: c.perRequest, PerRecord: c.perRecord}}
	if err := c.readProfile(env, &o); err != nil {
		return nil, err
	}
	if err := c.readRoles(&o); err != nil {
		return nil, err
	}
	if o.CustomActions, err = c.customActions(); err != nil {
		return nil, err
	}
	if o.DuplicateRules, err = c.readDuplicateRules(); err != nil {
		return nil, err
	}
	if o.Rollups, err = c.readRollups(); err != nil {
		return nil, err
	}
	if !c.noLimits {
		o.Limits = c.limits
	}
	o.Limits.Servers, o.Limits.Spread = c.limits.Servers, emulator.Spread(c.spread)
	for _, rule := range c.faults {
		f, err := emulator.ParseFault(rule)
		if err != nil {
			return nil, usagef("emulator: %v", err)
		}
		o.Faults = append(o.Faults, f)
	}
	return emulator.New(o)
}

package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
)

var emulatorEntry = entry{name: "emulator", summary: "a Dataverse on this machine: strict, with limits, and faults on order",
	long: `Without --schema it has the schema of the project in the folder, else that of the sample; a
$metadata document (.xml) of a real environment will do too. It begins with the records of
emulator-seed.json, where the folder has one. Any bearer token is a user of its own.
A fault is kind=...,match=..., for example: --fault kind=reset-after,nth=3,table=account`,
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
	dop                                int
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
	f.BoolVar(&c.looseBatch, "loose-batch", false, "take a $batch whose end lacks its CRLF, as some clients send it")
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
	f.StringArrayVar(&c.faults, "fault", nil, "a fault on order; may be given several times")
	f.IntVar(&c.dop, "dop-hint", 0, "value of x-ms-dop-hint; 0 leaves it out")
}

func (c *emulatorCommand) Validate(args []string) error {
	for _, address := range []string{c.listen, c.admin} {
		if address != "" && !isLoopback(address) {
			return fmt.Errorf("%s is not an address of this machine alone: the emulator listens on loopback only, such as 127.0.0.1:8787", address)
		}
	}
	if c.speed <= 0 {
		return fmt.Errorf("--speed %v: it must be above 0", c.speed)
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
	s, err := c.server(env)
	if err != nil {
		return err
	}
	defer s.Close()
	debug.SetGCPercent(25) // ten million rows are large blocks without pointers: cheap to collect, dear to double
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("%w\nis another emulator running? choose another address with --listen", err)
	}
	servers := []*http.Server{{Handler: s, ReadHeaderTimeout: 30 * time.Second}}
	listeners := []net.Listener{listener}
	if c.admin != "" {
		l, err := net.Listen("tcp", c.admin)
		if err != nil {
			listener.Close()
			return err
		}
		servers, listeners = append(servers, &http.Server{Handler: s.Admin(), ReadHeaderTimeout: 30 * time.Second}), append(listeners, l)
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
		DopHint: c.dop, Speed: c.speed, LooseBatch: c.looseBatch, AssumeBulk: isCSDL(c.schema), Cost: emulator.Cost{PerRequest: c.perRequest, PerRecord: c.perRecord}}
	if err := c.readProfile(&o); err != nil {
		return nil, err
	}
	if err := c.readRoles(&o); err != nil {
		return nil, err
	}
	if o.CustomActions, err = c.customActions(); err != nil {
		return nil, err
	}
	if !c.noLimits {
		o.Limits = c.limits
	}
	for _, rule := range c.faults {
		f, err := emulator.ParseFault(rule)
		if err != nil {
			return nil, usagef("emulator: %v", err)
		}
		o.Faults = append(o.Faults, f)
	}
	return emulator.New(o)
}

// isCSDL tells a $metadata document, which may be compressed, by its name.
func isCSDL(path string) bool { return strings.HasSuffix(strings.TrimSuffix(path, ".gz"), ".xml") }

// readProfile reads --profile; what the command line says goes before it.
func (c *emulatorCommand) readProfile(o *emulator.Options) error {
	if c.profile == "" {
		return nil
	}
	f, err := os.Open(c.profile)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := emulator.ReadProfile(f)
	if err != nil {
		return fmt.Errorf("%s: %w", c.profile, err)
	}
	if c.latency == 0 {
		o.Latency, o.LatencyP99 = p.Latency, p.LatencyP99
	}
	if c.perRequest > 0 {
		p.Cost.PerRequest = c.perRequest
	}
	p.Cost.PerRecord = c.perRecord
	o.Cost = p.Cost
	return nil
}

// readRoles reads --roles: {"Loader": ["prvReadAccount", "prv*Contact"], ...}.
func (c *emulatorCommand) readRoles(o *emulator.Options) error {
	if c.roles == "" {
		return nil
	}
	b, err := os.ReadFile(c.roles)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &o.RolePrivileges); err != nil {
		return fmt.Errorf("%s: it is not {role: [privilege, ...]}: %w", c.roles, err)
	}
	return nil
}

// customActions reads name=duration of --custom-action.
func (c *emulatorCommand) customActions() (map[string]time.Duration, error) {
	actions := map[string]time.Duration{}
	for _, text := range c.custom {
		name, takes, _ := strings.Cut(text, "=")
		d, err := time.ParseDuration(takes)
		if err != nil || name == "" {
			return nil, usagef("emulator: --custom-action %s: it is not name=duration, such as contoso_Do=2s", text)
		}
		actions[name] = d
	}
	return actions, nil
}

func (c *emulatorCommand) readSchema(env *Env) (*schema.Schema, error) {
	path := c.schema
	if path == "" {
		path = filepath.Join(env.dir, "schema.json")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return schema.Read(bytes.NewReader(sample.Schema()))
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	read := schema.Read
	if isCSDL(path) {
		read = schema.ReadCSDL
	}
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	s, err := read(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// readSeed reads the seed file: {table: [row, ...]}, with lookups as _column_value.
func (c *emulatorCommand) readSeed(env *Env, s *schema.Schema) (map[string]io.Reader, error) {
	path, b := c.seed, []byte(nil)
	if path == "" {
		path = filepath.Join(env.dir, "emulator-seed.json")
	}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && c.seed == "" && c.schema == "":
		if _, err := os.Stat(filepath.Join(env.dir, "schema.json")); err == nil {
			return nil, nil // another project, without a seed
		}
		b = sample.Seed()
	case errors.Is(err, os.ErrNotExist) && c.seed == "":
		return nil, nil
	case err != nil:
		return nil, err
	}
	var tables map[string][]map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&tables); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	seed := map[string]io.Reader{}
	for name, rows := range tables {
		t := s.Table(name)
		if t == nil {
			return nil, fmt.Errorf("%s: the schema has no table %s", path, name)
		}
		lines, err := seedLines(s, t, rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		seed[name] = lines
	}
	return seed, nil
}

// seedLines writes rows as bodies of creates, one a line.
func seedLines(s *schema.Schema, t *schema.Table, rows []map[string]any) (io.Reader, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for _, row := range rows {
		body := map[string]any{}
		for name, value := range row {
			column, isLookup := strings.CutSuffix(strings.TrimPrefix(name, "_"), "_value")
			if !isLookup || !strings.HasPrefix(name, "_") {
				body[name] = value
				continue
			}
			bound := false
			for _, r := range t.ManyToOne {
				if target := s.Table(r.Target); r.Column == column && target != nil && !bound {
					body[r.Nav+"@odata.bind"] = fmt.Sprintf("%s(%v)", target.EntitySet, value)
					bound = true
				}
			}
			if !bound {
				return nil, fmt.Errorf("table %s: no lookup %s in the schema", t.LogicalName, column)
			}
		}
		if err := e.Encode(body); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

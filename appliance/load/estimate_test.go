package load_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
)

// drawn is a random project.
type drawn struct {
	counts   map[string]int
	users    int
	parallel int
	batch    map[string]int
	cost     map[string]time.Duration // a record
	request  time.Duration
	limits   emulator.Limits
	latency  time.Duration
	p99      time.Duration
	hint     int
	faults   plan.Faults
	badRows  map[string]float64
}

// badColumn is a text column that says which row is refused.
var badColumn = map[string]string{"account": "name", "contact": "lastname", "lead": "subject", "opportunity": "name", "product": "name"}

func draw(seed uint64) drawn {
	r := rand.New(rand.NewPCG(seed, 4))
	pick := func(of ...float64) float64 { return of[r.IntN(len(of))] }
	between := func(lo, hi float64) float64 { return lo * math.Pow(hi/lo, r.Float64()) }
	d := drawn{counts: map[string]int{}, batch: map[string]int{}, cost: map[string]time.Duration{}, badRows: map[string]float64{},
		users: int(pick(1, 1, 2, 4)), request: time.Duration(between(1, 30) * float64(time.Millisecond)),
		limits:  emulator.DefaultLimits(),
		latency: time.Duration(between(5, 200) * float64(time.Millisecond))}
	d.limits.Servers = int(pick(1, 1, 2, 3))
	if r.IntN(4) == 0 {
		d.limits.Requests, d.limits.Execution = 8000, 1800*time.Second
	}
	if r.IntN(4) == 0 {
		d.hint = int(pick(4, 10, 30))
	}
	d.parallel = int(pick(8, 20, 52, 52)) * d.users
	if r.IntN(3) == 0 {
		d.p99 = d.latency * 4
	}
	for _, name := range tableNames {
		d.counts[name] = int(between(2000, 40000) * math.Sqrt(float64(d.users*d.limits.Servers)))
		d.batch[name] = int(pick(10, 20, 50, 100, 200))
		d.cost[name] = time.Duration(between(10, 150) * float64(time.Millisecond))
		for d.batch[name] > 10 && time.Duration(d.batch[name])*d.cost[name] > 8*time.Second {
			d.batch[name] /= 2
		}
		if d.batch[name] < 50 { // more requests take more of the machine that tests
			d.counts[name] /= 4
		}
	}
	d.counts["contactleads"] = min(d.counts["contactleads"], d.counts["contact"])
	switch r.IntN(3) {
	case 1:
		share := 0.03 * r.Float64()
		d.faults = plan.Faults{Away: share * pick(0, 0.2), Undone: share * 0.5, Lost: share * 0.3}
	case 2:
		for _, name := range slices.Sorted(maps.Keys(badColumn)) {
			d.badRows[name] = pick(0, 0.0005, 0.003, 0.01, 0.03)
		}
	}
	return d
}

// steps times the steps of a load.
type steps struct {
	mu    sync.Mutex
	began map[string]time.Time
	took  map[string]float64
	count map[string]int64
}

func (s *steps) Begin(table, pass string, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began[table+" "+pass] = time.Now()
	s.count[table+" "+pass] += total
}

func (s *steps) End(table, pass string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took[table+" "+pass] += time.Since(s.began[table+" "+pass]).Seconds()
}

func (s *steps) Sent(string, string, int64, int64, int64) {}
func (s *steps) Note(string, string)                      {}

// value makes lookups point to rows that are there, however many there are.
func (d drawn) value(usual func(string, int) any) func(string, int) any {
	return func(column string, seq int) any {
		v := usual(column, seq)
		if g, ok := v.([16]byte); ok && column != mapping.ID {
			table := tableNames[g[0]-1]
			return id(table, int(binary.BigEndian.Uint32(g[12:]))%d.counts[table])
		}
		return v
	}
}

// crowd sends everything as several users, each time as the one with the most room, as
// the appliance does.
type crowd struct {
	*dataverse.Client
	all []*dataverse.Client
	mu  sync.Mutex // protects what follows
	out []int
}

func (c *crowd) one() (client *dataverse.Client, back func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	best := 0
	for i := range c.all {
		if c.compare(i, best) < 0 {
			best = i
		}
	}
	c.out[best]++
	return c.all[best], func() {
		c.mu.Lock()
		c.out[best]--
		c.mu.Unlock()
	}
}

func (c *crowd) compare(i, k int) int {
	type room struct {
		wait   time.Duration
		queues int
		load   float64
		sent   uint64
	}
	of := func(i int) room {
		s := c.all[i].Limiter().Stats()
		r := room{wait: c.all[i].HeldFor(), load: float64(c.out[i]+1) / float64(max(s.Window, 1)), sent: s.Requests}
		if s.Pause > 0 || c.out[i] >= s.Window {
			r.queues, r.load = 1, float64(c.out[i]-s.InFlight)
		}
		return r
	}
	a, b := of(i), of(k)
	return cmp.Or(cmp.Compare(a.wait, b.wait), cmp.Compare(a.queues, b.queues), cmp.Compare(a.load, b.load), cmp.Compare(a.sent, b.sent))
}

func (c *crowd) CreateMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	client, back := c.one()
	defer back()
	return client.CreateMany(ctx, t, body, records)
}

func (c *crowd) UpdateMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	client, back := c.one()
	defer back()
	return client.UpdateMany(ctx, t, body, records)
}

func (c *crowd) Batch(ctx context.Context, ops []dataverse.Op) ([]error, error) {
	client, back := c.one()
	defer back()
	return client.Batch(ctx, ops)
}

func (c *crowd) Matching(ctx context.Context, t *schema.Table, columns, conditions []string, fn func(row json.RawMessage) error) error {
	client, back := c.one()
	defer back()
	return client.Matching(ctx, t, columns, conditions, fn)
}

func (c *crowd) Existing(ctx context.Context, t *schema.Table, ids []schema.GUID) (map[schema.GUID]struct{}, error) {
	client, back := c.one()
	defer back()
	return client.Existing(ctx, t, ids)
}

// world makes the project's world.
func (d drawn) world(t *testing.T, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 5))
	return newWorld(t, 1, func(w *world, o *emulator.Options) {
		for name, rows := range w.stage.tables {
			rows.count = d.counts[name]
			rows.value = d.value(rows.value)
		}
		o.Limits, o.Latency, o.LatencyP99, o.DopHint = d.limits, d.latency, d.p99, d.hint
		o.Cost = emulator.Cost{PerRequest: d.request, Tables: d.cost}
		add := func(k emulator.FaultKind, p float64, message string) {
			if p > 0 {
				o.Faults = append(o.Faults, emulator.Fault{Kind: k, Probability: p, Seed: seed, URL: regexp.MustCompile("Multiple|batch"), Message: message})
			}
		}
		add(emulator.FaultGateway503, d.faults.Away, "")
		add(emulator.FaultDeadlock, d.faults.Undone, "CreateMultiple")
		add(emulator.FaultDeadlock, d.faults.Undone, "UpdateMultiple")
		add(emulator.FaultResetAfter, d.faults.Lost, "")
		for name, share := range d.badRows {
			for seq := range d.counts[name] {
				if r.Float64() < share {
					w.change[fmt.Sprintf("%s.%s.%d", name, badColumn[name], seq)] = "Bad"
				}
			}
			o.Faults = append(o.Faults, emulator.Fault{Kind: emulator.FaultPlugin, Table: name, Column: badColumn[name], Value: regexp.MustCompile("^Bad")})
		}
		w.options.Parallel = d.parallel
		w.options.Settings = func(table string) load.Settings { return load.Settings{Batch: d.batch[table]} }
	})
}

// work is what the estimate is told: counts as the stage has them.
func (d drawn) work(w *world) []plan.Work {
	var out []plan.Work
	for _, step := range w.plan.Steps {
		t, n := w.stage.tables[step.Table], 0
		for seq := range t.count {
			if main := step.Pass == plan.Insert || step.Pass == plan.Link; main || t.owed(seq)&owedBit(step.Pass) != 0 {
				n++
			}
		}
		k := plan.Work{Table: step.Table, Pass: step.Pass, Action: "update", Message: plan.Bulk, Operations: int64(n), Batch: d.batch[step.Table],
			Parallel: d.parallel, PerRecord: d.cost[step.Table], BadRows: d.badRows[step.Table]}
		if step.Pass == plan.Insert {
			k.Action = "insert"
			k.Parents = insertParents(w, step)
		} else {
			k.BadRows = 0
		}
		if t.mapped.Link != nil { // its address is that of the first end
			k.Action, k.PerRecord = "link", d.cost[t.mapped.Link.Table1]
		}
		closing := k.Pass == plan.State && t.mapped.Closer() != nil
		if closing { // a record's state is read before, which costs the emulator as much
			k.PerRecord *= 2
		}
		if action := map[string]string{"insert": "create"}[k.Action]; closing || t.mapped.Link != nil || !t.mapped.Schema.CanBulk(orUpdate(action)) {
			k.Message, k.Batch = plan.Batch, min(k.Batch, 100)
		}
		out = append(out, k)
	}
	return out
}

func orUpdate(action string) string {
	if action == "" {
		return "update"
	}
	return action
}

func insertParents(w *world, step plan.Step) []string {
	var out []string
	for _, l := range w.tables[step.Table].Lookups {
		if slices.Contains(step.Deferred, l.LogicalName) {
			continue
		}
		for _, target := range l.Targets {
			if target.Staged && len(l.Targets) == 1 && !slices.Contains(out, target.Table) {
				out = append(out, target.Table)
			}
		}
	}
	return out
}

// TestEstimateAgreesWithTheLoad draws random projects, loads them through loader, client
// and emulator in simulated time, and compares with what the plan says without any of
// them. DVMIGRATE_PROJECTS says how many; 2 when not set, 30 is the full run.
func TestEstimateAgreesWithTheLoad(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("DVMIGRATE_PROJECTS"))
	if err != nil {
		n = 2
	}
	first, _ := strconv.Atoi(os.Getenv("DVMIGRATE_PROJECTS_FROM"))
	var mu sync.Mutex
	var offs []float64
	t.Run("projects", func(t *testing.T) {
		for seed := range uint64(n) {
			seed += uint64(first)
			t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
				off := math.Abs(rehearse(t, seed))
				mu.Lock()
				offs = append(offs, off)
				mu.Unlock()
			})
		}
	})
	slices.Sort(offs)
	if len(offs) == 0 {
		return
	}
	median, worst := offs[len(offs)/2], offs[len(offs)-1]
	t.Logf("%d projects: off by %.1f %% in the median, %.1f %% at worst", len(offs), 100*median, 100*worst)
	if median > 0.03 || worst > 0.10 {
		t.Errorf("the estimate is off by %.1f %% in the median and %.1f %% at worst; want at most 3 and 10", 100*median, 100*worst)
	}
}

// rehearse loads one project and returns (estimated - loaded) / loaded.
func rehearse(t *testing.T, seed uint64) (off float64) {
	synctest.Test(t, func(t *testing.T) {
		d := draw(seed)
		w := d.world(t, seed)
		work := d.work(w)
		team := w.team(d.users)
		m := &crowd{Client: team.Client, all: team.all, out: make([]int, d.users)}
		watch := &steps{began: map[string]time.Time{}, took: map[string]float64{}, count: map[string]int64{}}
		w.options.Watch = watch
		began := time.Now()
		if err := load.New(w.stage, w.ledger, m, w.options).Run(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		loaded := time.Since(began).Seconds()
		e := plan.Compute(work, plan.Assumptions{Latency: d.latency, LatencyP99: d.p99, PerRequest: d.request, Hint: d.hint, Faults: d.faults,
			Limits: plan.Limits{Requests: d.limits.Requests, Execution: d.limits.Execution, Concurrent: 52, Window: d.limits.Window, Users: d.users, Servers: d.limits.Servers}})
		off = (e.Seconds - loaded) / loaded
		t.Logf("%+.1f %%: %.0f s estimated, %.0f s loaded; users %d servers %d hint %d parallel %d latency %v/%v request %v faults %+v", 100*off, e.Seconds, loaded, d.users, d.limits.Servers, d.hint, d.parallel, d.latency, d.p99, d.request, d.faults)
		for _, r := range e.Rows {
			k := r.Table + " " + string(r.Pass)
			t.Logf("  %-22s %6d records, batch %3d, %8v a record, bad %.3f: %7.1f s estimated, %7.1f s loaded (%d begun, %d would fail), bound by %s",
				k, r.Operations, r.Batch, d.cost[r.Table], d.badRows[r.Table], r.Seconds, watch.took[k], watch.count[k], r.Failed, r.Bound)
		}
	})
	return off
}

func owedBit(p plan.Pass) uint8 {
	if p == plan.Lookups {
		return mapping.OwesLookups
	}
	return mapping.OwesState
}

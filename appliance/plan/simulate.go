package plan

import (
	"math"
	"math/rand/v2"
)

// The load is simulated request by request: what the loader does (one work after the
// other, a first bulk request by itself, so many requests at once as several users, the
// search for guilty rows and for the best size), what each client's pace does (client,
// spread, ramp) and what the service does (meter). Beyond mostClients users each
// simulated one stands for several. When nothing changes any more the rest is reckoned
// instead: a load of weeks takes a few thousand simulated requests a table and pass.

// Bound names what keeps a load from being faster.
type Bound string

// The bounds.
const (
	ByRequests    Bound = "the request limit"
	ByExecution   Bound = "the execution-time limit"
	ByConcurrency Bound = "the concurrency limit"
	ByParallel    Bound = "load.parallel"
	ByLatency     Bound = "latency"
	ByAnswer      Bound = "the answer time" // all requests are under way at once
	ByClient      Bound = "the client"
	ByThrottles   Bound = "throttles and outages"
	ByRamp        Bound = "the ramp-up"
	ByRate        Bound = "the rate given"
	ByNothing     Bound = "nothing"
)

// cause is why a request waits: the place of a Bound in causes.
type cause uint8

const (
	byNone cause = iota
	byRequests
	byExecution
	byConcurrency
	byParallel
	byClient
	byThrottles
	byRamp
	byTail // nothing is left to begin
	causeCount
)

var causes = [causeCount]Bound{byRequests: ByRequests, byExecution: ByExecution, byConcurrency: ByConcurrency, byParallel: ByParallel,
	byClient: ByClient, byThrottles: ByThrottles, byRamp: ByRamp}

// stepResult is what one Work took.
type stepResult struct {
	start, end   float64 // seconds since the load began
	records      float64 // that were sent, all users together
	requests     float64 // with those sent again
	throttled    float64 // refused with 429
	bound        Bound
	failed       float64 // records refused
	batch        int     // records a request at the end
	steadyPerSec float64 // records a second in the middle of it
}

// mostClients is how many users are simulated each by itself; a coarse simulation has
// one that stands for all.
const mostClients = 8

// simulation is one run of the model.
type simulation struct {
	a       Assumptions
	random  *rand.Rand
	clients []*client
	weight  float64 // users that a client stands for
	now     float64 // simulated; skipped time not in it
	ahead   float64 // skipped
	warm    map[string]bool
	lost    map[string]float64 // share of a table's records that the target will not have
	flight  events
	spare   []*job // for their memory
	order   int
	scales  scales
	sigma   float64 // of the logarithm of latencies; 0: they are all the same
	// neverSkip simulates every request to the end; tests compare with it.
	neverSkip bool
}

// scales are the factors of a scenario: how much longer than expected things take.
type scales struct{ cost, latency, faults float64 }

var expected = scales{1, 1, 1}

func newSimulation(a Assumptions, s scales, seed uint64, clients int) *simulation {
	users := max(a.Limits.Users, 1)
	m := &simulation{a: a, random: rand.New(rand.NewPCG(seed, 2)), scales: s, warm: map[string]bool{}, lost: map[string]float64{}}
	for range min(users, clients) {
		m.clients = append(m.clients, newClient(a))
	}
	m.weight = float64(users) / float64(len(m.clients))
	if a.LatencyP99 > a.Latency && a.Latency > 0 {
		const z99 = 2.3263478740408408 // the normal distribution's
		m.sigma = math.Log(a.LatencyP99.Seconds()/a.Latency.Seconds()) / z99
	}
	if l := a.Latency.Seconds() * s.latency; l > 0 { // every client asks who it is
		m.now = l
		for _, c := range m.clients {
			c.near = l
			c.ramp.done(l, l, 1)
		}
	}
	return m
}

func (m *simulation) elapsed() float64 { return m.now + m.ahead }

// run simulates one work. Its account is of all users together.
func (m *simulation) run(w Work) stepResult {
	r := stepResult{start: m.elapsed(), bound: ByNothing, batch: max(w.Batch, 1)}
	share := 1.0
	for _, parent := range w.Parents {
		share *= 1 - m.lost[parent]
	}
	if w.Pass != Insert && w.Pass != Link && w.Pass != Delete && w.Pass != Deactivate {
		share *= 1 - m.lost[w.Table]
	}
	records := float64(w.Operations) * share
	if w.Pass == Insert {
		m.lost[w.Table] = 1 - share*(1-w.BadRows*min(m.scales.faults, 1))
	}
	if records < 0.5 {
		r.end = r.start
		return r
	}
	if w.Rate > 0 {
		m.ahead += records / w.Rate * m.scales.cost
		r.end, r.records, r.requests, r.bound, r.steadyPerSec = m.elapsed(), records, math.Ceil(records/float64(max(w.Batch, 1))), ByRate, w.Rate/m.scales.cost
		return r
	}
	s := newStep(m, w, records)
	s.run()
	m.now = s.now
	r.end, r.records, r.requests, r.throttled, r.failed = m.elapsed(), records, s.requests*m.weight, s.throttled*m.weight, s.failed*m.weight
	if s.sizer != nil {
		r.batch = s.sizer.Size
	}
	r.bound, r.steadyPerSec = s.bound(), records/max(r.end-r.start, 1e-9)
	return r
}

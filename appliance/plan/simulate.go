package plan

import (
	"math"
	"math/rand/v2"
)

// The load is simulated request by request: what the loader does (one work after the
// other, a first bulk request by itself, so many requests at once, the search for
// guilty rows), what the client's pace does (spread, ramp) and what the service does
// (meter). All users do the same, so that one is simulated with its part of the
// records. When nothing changes any more the rest is reckoned instead: a load of weeks
// takes a few thousand simulated requests a table and pass.

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

// stepResult is what one Work took.
type stepResult struct {
	start, end   float64 // seconds since the load began
	records      float64 // that were sent, all users together
	requests     float64 // with those sent again
	throttled    float64 // refused with 429
	bound        Bound
	failed       float64 // records refused
	steadyPerSec float64 // records a second in the middle of it
}

// simulation is one run of the model.
type simulation struct {
	a      Assumptions
	random *rand.Rand
	users  float64
	now    float64 // simulated; skipped time not in it
	ahead  float64 // skipped
	count  spread  // requests
	time   spread  // execution
	ramp   ramp
	meters []meter
	turn   int
	held   float64 // no request before
	guess  float64 // the client's, of the execution time of the next request
	near   float64 // the shortest answer time, which the client takes for the network's
	warm   map[string]bool
	lost   map[string]float64 // share of a table's records that the target will not have
	retry  []*job             // wait for a permit once more
	flight events
	spare  []*job // for their memory
	order  int
	scales scales
	// neverSkip simulates every request to the end; tests compare with it.
	neverSkip bool
}

// scales are the factors of a scenario: how much longer than expected things take.
type scales struct{ cost, latency, faults float64 }

var expected = scales{1, 1, 1}

func newSimulation(a Assumptions, s scales) *simulation {
	l := a.Limits
	window := l.Window.Seconds()
	if window <= 0 {
		window = 300
	}
	m := &simulation{a: a, random: rand.New(rand.NewPCG(1, 2)), users: float64(max(l.Users, 1)), scales: s,
		count: newSpread(float64(l.Requests), max(l.Servers, 1), window), time: newSpread(l.Execution.Seconds(), max(l.Servers, 1), window),
		ramp: newRamp(l.Concurrent, a.Hint), warm: map[string]bool{}, lost: map[string]float64{}}
	for range max(l.Servers, 1) {
		m.meters = append(m.meters, meter{requests: l.Requests, execution: l.Execution.Seconds(), atOnce: l.Concurrent, window: window})
	}
	if l := a.Latency.Seconds() * s.latency; l > 0 { // every client asks who it is
		m.now, m.near = l, l
		m.ramp.done(l, l, 1)
	}
	return m
}

func (m *simulation) elapsed() float64 { return m.now + m.ahead }

// job is one request of the loader's, or several one after the other.
type job struct {
	size    int   // records of the request that is sent or waits
	single  bool  // as single requests in a $batch
	read    bool  // reads records back
	bad     []int // places of rows that will be refused, ascending
	lo      int   // the request's records are lo to lo+size of the job
	stack   []piece
	refused int
	attempt int
	rotten  bool
	began   float64
	cost    float64
	fate    fate
	guess   float64 // what the client thought that it would cost
	meter   *meter  // that let it in; nil = none did
	number  int     // there
	used    float64 // that the meter had counted when it came
	spent   float64 // that the client had
}

type piece struct {
	lo, size int
	single   bool
	read     bool
}

type fate uint8

const (
	answered fate = iota
	away          // a gateway's page, or no connection
	undone        // rolled back
	unheard       // applied, and the answer was lost
	throttle
)

// run simulates one work. Its account is of all users together.
func (m *simulation) run(w Work) stepResult {
	r := stepResult{start: m.elapsed(), bound: ByNothing}
	share := 1.0
	for _, parent := range w.Parents {
		share *= 1 - m.lost[parent]
	}
	if w.Pass != Insert && w.Pass != Link {
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
	r.end, r.records, r.requests, r.throttled, r.failed = m.elapsed(), records, s.requests*m.users, s.throttled*m.users, s.failed*m.users
	r.bound, r.steadyPerSec = s.bound(), records/max(r.end-r.start, 1e-9)
	return r
}

package plan

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Limits are the service-protection limits that a load runs into
// (dataverse-web-api.md 8.1), counted for each user on each server.
type Limits struct {
	Requests   int           `json:"requests"`       // in Window
	Execution  time.Duration `json:"executionNanos"` // combined server time in Window
	Concurrent int           `json:"concurrent"`
	Window     time.Duration `json:"windowNanos"`
	Users      int           `json:"users"`
	Servers    int           `json:"servers"`
}

// How the records of a Work travel.
const (
	Bulk   = "bulk"   // CreateMultiple, UpdateMultiple
	Batch  = "batch"  // $batch of single requests
	Single = "single" // one record a request
)

// Where a figure comes from, the best first.
const (
	Measured   = "measured"   // a load of this project into this environment
	Calibrated = "calibrated" // dvmigrate calibrate
	Rehearsed  = "rehearsed"  // dvmigrate rehearse
	Stated     = "stated"     // migration.yaml or a flag
	Imported   = "imported"   // measured by another project
	Default    = "default"    // published orders of magnitude
)

// Work is one kind of operation on one table, as it was counted in the stage.
type Work struct {
	Table      string
	Pass       Pass
	Action     string // insert, update, link, delete, upload, look
	Message    string // Bulk, Batch, Single
	Operations int64
	Batch      int           // records a request; with Auto those from which the load looks for the best
	Auto       bool          // the load finds the size of bulk requests by itself
	Elastic    bool          // the table is: at most 100 records a bulk request
	Sharded    bool          // each worker has rows of its own (shard_by)
	ReadFirst  bool          // the records are read back before each request, as those that an action closes
	Further    float64       // requests a record besides the one that writes it: parties, blocks of a file
	Parallel   int           // requests at once, of all users
	PerRequest time.Duration // server time a request costs besides its records
	PerRecord  time.Duration // server time a record
	PerSingle  time.Duration // the same as a single request in a $batch; 0 = as PerRecord
	Rate       float64       // records a second; 0 = follow costs and limits
	Bytes      float64       // of a record's body; 0 = not known
	FileBytes  float64       // of these, what becomes files: Base64 text, and the content itself in the pass of files
	BadRows    float64       // share of records that the target will refuse
	Parents    []string      // tables without whose record a record is held back
	Source     string        // where Rate or PerRecord comes from
	Note       string        // the same in words: the run, the file, the publication
	Spread     float64       // of the figure: 0.3 = it may as well be 30 % more, or so much less
	Estimated  bool          // Operations is a stated count: the table is not staged yet
	Outside    bool          // of the window: loaded before or after it
	Bypass     float64       // factor on server time without custom logic; 0 = not known
}

// Faults are shares of requests that go wrong.
type Faults struct {
	Away       float64       `json:"away"`      // a gateway's page or no connection
	Undone     float64       `json:"undone"`    // rolled back: deadlocks, time-outs
	Lost       float64       `json:"lost"`      // applied, and the answer was lost
	Throttled  float64       `json:"throttled"` // beyond what the limits explain
	RetryAfter time.Duration `json:"retryAfterNanos"`
}

// Assumptions is what an estimate rests on besides the counts.
type Assumptions struct {
	Limits        Limits        `json:"limits"`
	Hint          int           `json:"dopHint,omitempty"`         // x-ms-dop-hint; 0 = not known
	Latency       time.Duration `json:"latencyNanos"`              // network and queueing a request
	LatencyP99    time.Duration `json:"latencyP99Nanos,omitempty"` // 0 = always the same
	LatencySource string        `json:"latencySource,omitempty"`   // where it comes from
	PerRequest    time.Duration `json:"perRequestNanos"`           // server time a request costs besides its records
	Claim         time.Duration `json:"claimNanos"`                // a worker's time beside its request: claim and settle
	ClientRecord  time.Duration `json:"clientRecordNanos"`         // time until the client has the next record ready
	Bandwidth     float64       `json:"bytesPerSecond,omitempty"`  // 0 = no bound
	Faults        Faults        `json:"faults"`
	Buffer        float64       `json:"bufferPercent"`
	Window        time.Duration `json:"cutoverWindowNanos,omitempty"` // 0 = none stated
}

// Row is the estimate for one Work.
type Row struct {
	Table      string  `json:"table"`
	Pass       Pass    `json:"pass"`
	Action     string  `json:"action"`
	Message    string  `json:"message"`
	Operations int64   `json:"operations"`
	Requests   int64   `json:"requests"`
	Batch      int     `json:"batch"` // the last, where the load finds the size by itself
	Rate       float64 `json:"recordsPerSecond"`
	Start      float64 `json:"startSeconds"` // since the load began, as expected
	Seconds    float64 `json:"seconds"`
	Low        float64 `json:"secondsLow"`
	High       float64 `json:"secondsHigh"`
	Formula    float64 `json:"secondsFormula"` // operations / the rate that the limits allow
	Throttled  float64 `json:"throttledShare"` // of requests
	Failed     int64   `json:"failed"`         // records that the target will refuse
	Bound      Bound   `json:"boundBy"`        // what keeps it from being faster
	Critical   bool    `json:"critical"`       // it is on the critical path
	Basis      string  `json:"basis"`          // measured, calibrated, rehearsed, stated, default
	Note       string  `json:"basisNote,omitempty"`
	Spread     float64 `json:"spread"`
	Estimated  bool    `json:"notStaged,omitempty"`
	Outside    bool    `json:"outsideWindow,omitempty"`
}

// Estimate is how long a plan will take, with what it assumes.
type Estimate struct {
	Rows        []Row       `json:"rows"`
	Operations  int64       `json:"operations"`
	Requests    int64       `json:"requests"`
	Seconds     float64     `json:"seconds"`       // without the buffer
	Buffered    float64     `json:"secondsBuffer"` // with it
	Low         float64     `json:"secondsLow"`    // without the buffer
	High        float64     `json:"secondsHigh"`
	Formula     float64     `json:"secondsFormula"` // the plain sum of operations / rate, with the buffer
	Inside      float64     `json:"secondsInWindow"`
	Fits        *bool       `json:"fitsWindow,omitempty"`
	UsersToFit  int         `json:"usersToFit,omitempty"` // application users with which it would fit; 0 = no number of users helps
	WhatIf      []WhatIf    `json:"whatIf"`
	LeastChange string      `json:"leastChange,omitempty"` // that makes it fit
	Assumptions Assumptions `json:"assumptions"`
}

// Compute estimates the work, one step after the other. Its Seconds are simulated as
// expected; Low and High are simulations with all figures at the ends of their spread.
func Compute(work []Work, a Assumptions) Estimate {
	e := Expect(work, a)
	base := make([]float64, len(work))
	for i, r := range e.Rows {
		base[i] = r.Seconds
	}
	if fine(work) { // the middle one of several: each is to be compared with the first
		base = secondsOf(work, a, expected, 0)
	}
	low, high := secondsOf(work, a, ends(-1), -1), secondsOf(work, a, ends(1), 1)
	for i := range e.Rows {
		if r := &e.Rows[i]; base[i] > 0 {
			r.Low, r.High = min(r.Seconds*low[i]/base[i], r.Seconds), max(r.Seconds*high[i]/base[i], r.Seconds)
			e.Low += r.Low
			e.High += r.High
		}
	}
	e.WhatIf = []WhatIf{}
	if e.Operations > 0 {
		e.WhatIf = whatIfs(work, a, e)
	}
	if e.Fits != nil && !*e.Fits {
		e.UsersToFit = usersToFit(work, a, e)
		e.LeastChange = leastChange(work, a, e)
	}
	return e
}

// samples is how often a load is simulated in which chance has a part: faults, bad rows
// and slow answers come at other moments each time, and the middle one is what to expect.
const samples = 5

// fineRequests is up to how many requests a load is simulated several times, and every
// user by itself: beyond, chance and the users' differences even out.
const fineRequests = 30_000

// fine reports whether the work is so little.
func fine(work []Work) bool {
	n := 0.0
	for _, w := range work {
		n += float64(w.Operations) / float64(max(w.Batch, 1))
	}
	return n <= fineRequests
}

// coarse is how many users are simulated each by itself.
func coarse(work []Work) int {
	if fine(work) {
		return mostClients
	}
	return 1
}

// chance reports whether two loads of the same work differ.
func chance(work []Work, a Assumptions) bool {
	return a.Faults != (Faults{}) || a.LatencyP99 > a.Latency || slices.ContainsFunc(work, func(w Work) bool { return w.BadRows > 0 })
}

// Expect simulates the work as expected: an Estimate without low, high and what-if.
func Expect(work []Work, a Assumptions) Estimate {
	runs := []Estimate{plain(work, a, 1, coarse(work))}
	if chance(work, a) && fine(work) {
		for seed := uint64(2); seed <= samples; seed++ {
			runs = append(runs, plain(work, a, seed, mostClients))
		}
	}
	slices.SortFunc(runs, func(a, b Estimate) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return runs[len(runs)/2]
}

// plain simulates the work once.
func plain(work []Work, a Assumptions, seed uint64, clients int) Estimate {
	e := Estimate{Rows: []Row{}, Assumptions: a}
	m := newSimulation(a, expected, seed, clients)
	outside := 0.0
	for _, w := range work {
		s := m.run(w)
		r := Row{Table: w.Table, Pass: w.Pass, Action: w.Action, Message: w.Message, Operations: w.Operations, Batch: s.batch,
			Requests: int64(math.Round(s.requests)), Rate: s.steadyPerSec, Start: s.start, Seconds: s.end - s.start,
			Failed: int64(math.Round(s.failed)), Bound: s.bound, Basis: w.Source, Note: w.Note, Spread: w.Spread, Estimated: w.Estimated, Outside: w.Outside}
		if r.Basis == "" {
			r.Basis = Default
		}
		if s.requests > 0 {
			r.Throttled = s.throttled / s.requests
		}
		w.Batch = s.batch
		if rate, bound := ceiling(w, a); w.Operations > 0 {
			r.Formula = float64(w.Operations) / rate
			if r.Bound == ByNothing {
				r.Bound = bound
			}
		}
		// Steps come one after the other: all of them are on the critical path, but for
		// those that are not done in the window.
		r.Critical = w.Operations > 0 && !w.Outside
		if w.Outside {
			outside += r.Seconds
		}
		e.Rows = append(e.Rows, r)
		e.Operations += r.Operations
		e.Requests += r.Requests
		e.Formula += r.Formula
	}
	e.Seconds = m.elapsed()
	e.Inside = e.Seconds - outside
	e.Buffered = e.Seconds * buffer(a)
	e.Formula *= buffer(a)
	if a.Window > 0 {
		fits := e.Inside*buffer(a) <= a.Window.Seconds()
		e.Fits = &fits
	}
	return e
}

func buffer(a Assumptions) float64 { return 1 + a.Buffer/100 }

// factor is how far a figure of a spread is off at one end of it: -1 the quick one, 1 the
// slow one, 0 as expected.
func factor(spread, sign float64) float64 { return math.Pow(1+spread, sign) }

// ends are the scales of what holds for all tables at one end of its spread.
func ends(sign float64) scales { return scales{1, factor(0.2, sign), 1 + sign} }

// secondsOf simulates once, coarsely, with every figure at one end of its spread.
func secondsOf(work []Work, a Assumptions, s scales, sign float64) []float64 {
	m := newSimulation(a, s, 1, coarse(work))
	var out []float64
	for _, w := range work {
		m.scales.cost = factor(w.Spread, sign)
		r := m.run(w)
		out = append(out, r.end-r.start)
	}
	return out
}

// ceiling is the highest rate in records a second that the limits allow, and the
// limit that sets it: the plain formula.
func ceiling(w Work, a Assumptions) (rate float64, bound Bound) {
	if w.Rate > 0 {
		return w.Rate, ByRate
	}
	l := a.Limits
	batch := float64(max(w.Batch, 1))
	users, seats := float64(max(l.Users, 1)), float64(max(l.Users, 1)*max(l.Servers, 1))
	each := w.PerRecord
	if w.Message != Bulk && w.PerSingle > 0 {
		each = w.PerSingle
	}
	server := (a.PerRequest + w.PerRequest).Seconds() + batch*each.Seconds()
	rate, bound = math.Inf(1), ByNothing
	lower := func(r float64, name Bound) {
		if r > 0 && r < rate {
			rate, bound = r, name
		}
	}
	if l.Requests > 0 {
		lower(seats*float64(l.Requests)/l.Window.Seconds()*batch, ByRequests)
	}
	if server > 0 && l.Execution > 0 {
		lower(seats*l.Execution.Seconds()/l.Window.Seconds()/server*batch, ByExecution)
	}
	if wait := server + a.Latency.Seconds(); wait > 0 {
		most := l.Concurrent
		if a.Hint > 0 {
			most = min(most, a.Hint)
		}
		by := ByConcurrency
		if a.Latency.Seconds() > server {
			by = ByLatency
		}
		lower(users*float64(most)/wait*batch, by)
		lower(float64(w.Parallel)/(wait+a.Claim.Seconds())*batch, ByParallel)
	}
	if a.ClientRecord > 0 {
		lower(1/a.ClientRecord.Seconds(), ByClient)
	}
	return rate, bound
}

// usersToFit finds the number of application users with which the work would fit
// the window, up to 64; rates that were stated do not grow with users.
func usersToFit(work []Work, a Assumptions, e Estimate) int {
	base := inside(work, a)
	return search(max(a.Limits.Users, 1)+1, 64, func(users int) bool {
		return e.Inside*inside(more(work, a, users))/max(base, 1e-9)*buffer(a) <= a.Window.Seconds()
	})
}

// inside simulates once, coarsely, and returns the seconds in the window.
func inside(work []Work, a Assumptions) float64 { return plain(work, a, 1, coarse(work)).Inside }

// search finds the least number of lo to hi for which ok holds, as it does for all
// larger ones; 0 = for none.
func search(lo, hi int, ok func(int) bool) int {
	if lo > hi || !ok(hi) {
		return 0
	}
	for lo < hi {
		mid := (lo + hi) / 2
		if ok(mid) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

package plan

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"
)

const ms = time.Millisecond

func documented() Assumptions {
	return Assumptions{Limits: Limits{Requests: 6000, Execution: 1200 * time.Second, Concurrent: 52, Window: 300 * time.Second, Users: 1, Servers: 1},
		Latency: 50 * ms, Buffer: 25}
}

// inserts is one table's load of so many records.
func inserts(n int64, batch int, record time.Duration) Work {
	return Work{Table: "account", Pass: Insert, Action: "insert", Message: Bulk, Operations: n, Batch: batch, Parallel: 52, PerRecord: record}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance*want {
		t.Errorf("%s: %.1f, want %.1f within %.0f %%", what, got, want, 100*tolerance)
	}
}

func TestTheLimitsSetThePace(t *testing.T) {
	for _, c := range []struct {
		name   string
		work   Work
		change func(*Assumptions)
		rate   float64
		bound  Bound
	}{
		{"4 busy server seconds a second at 10 ms a record are 400 records/s", inserts(4_000_000, 100, 10*ms), nil, 400, ByExecution},
		{"small cheap requests run into 20 a second", inserts(100_000, 1, ms), nil, 20, ByRequests},
		{"two servers grant twice as much", inserts(4_000_000, 100, 10*ms), func(a *Assumptions) { a.Limits.Servers = 2 }, 800, ByExecution},
		{"two users too", func() Work { w := inserts(4_000_000, 100, 10*ms); w.Parallel = 104; return w }(), func(a *Assumptions) { a.Limits.Users = 2 }, 800, ByExecution},
		{"a hint of 4 with half a second a request are 8 requests a second", inserts(400_000, 100, 0), func(a *Assumptions) { a.Hint, a.Latency = 4, 500*ms }, 800, ByLatency},
		{"two workers with half a second a request", func() Work { w := inserts(100_000, 100, 5*ms); w.Parallel = 2; return w }(), func(a *Assumptions) { a.Latency = 0 }, 400, ByParallel},
		{"a client that makes 1000 records a second", inserts(1_000_000, 100, 0), func(a *Assumptions) { a.ClientRecord, a.Latency = ms, ms }, 1000, ByClient},
		{"a stated rate is believed", Work{Table: "account", Pass: Insert, Operations: 1000, Batch: 100, Rate: 123, Source: Stated}, nil, 123, ByRate},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := documented()
			if c.change != nil {
				c.change(&a)
			}
			e := Compute([]Work{c.work}, a)
			r := e.Rows[0]
			near(t, "records a second", r.Rate, c.rate, 0.03)
			if r.Bound != c.bound {
				t.Errorf("bound by %s, want %s", r.Bound, c.bound)
			}
			near(t, "the plain formula", e.Formula, float64(c.work.Operations)/c.rate*1.25, 0.01)
		})
	}
}

// TestThePlainCases are those of method.md M1: what people call good and common today.
func TestThePlainCases(t *testing.T) {
	const day = 86400
	for rate, days := range map[float64]float64{100: 14, 50: 28} {
		w := inserts(120_000_000, 100, 0)
		w.Rate, w.Source = rate, Stated
		near(t, fmt.Sprintf("days of 120 M records at %.0f/s", rate), Compute([]Work{w}, documented()).Seconds/day, days, 0.01)
	}
	// The same by the limits: 40 ms of execution a record are 100 records a second.
	near(t, "days of 120 M records at 40 ms", Compute([]Work{inserts(120_000_000, 100, 40*ms)}, documented()).Seconds/day, 14, 0.03)
}

func TestUsersToFit(t *testing.T) {
	a := documented()
	a.Window = time.Hour
	e := Compute([]Work{inserts(4_000_000, 100, 10*ms)}, a) // 10,000 s, 12,500 with buffer
	if e.Fits == nil || *e.Fits || e.UsersToFit != 4 || e.LeastChange != "4 application users instead of 1" {
		t.Fatalf("fits %v with %d users, least change %q; want 4 users", e.Fits, e.UsersToFit, e.LeastChange)
	}
	w := inserts(4_000_000, 100, 0)
	w.Rate, w.Source = 100, Stated
	e = Compute([]Work{w}, a)
	if e.UsersToFit != 0 || e.LeastChange != "loading account before the window, and only the changes in it" {
		t.Fatalf("users to fit %d, least change %q; but a stated rate does not grow with users", e.UsersToFit, e.LeastChange)
	}
}

func TestFaultsAndBadRowsCost(t *testing.T) {
	for name, change := range map[string]func(*Work, *Assumptions){
		"bad rows":        func(w *Work, _ *Assumptions) { w.BadRows = 0.01 },
		"gateway's pages": func(_ *Work, a *Assumptions) { a.Faults.Away = 0.03 },
		"lost answers":    func(_ *Work, a *Assumptions) { a.Faults.Lost = 0.03 },
		"throttles":       func(_ *Work, a *Assumptions) { a.Faults = Faults{Throttled: 0.01, RetryAfter: 10 * time.Second} },
	} {
		w, a := inserts(200_000, 100, 2*ms), documented()
		clean := Compute([]Work{w}, a)
		change(&w, &a)
		e := Compute([]Work{w}, a)
		if e.Seconds <= clean.Seconds*1.01 || e.Requests <= clean.Requests {
			t.Errorf("%s: %.0f s in %d requests, without them %.0f s in %d", name, e.Seconds, e.Requests, clean.Seconds, clean.Requests)
		}
	}
}

func TestHeldRecordsAreNotSent(t *testing.T) {
	parent, child := inserts(100_000, 100, 5*ms), inserts(100_000, 100, 5*ms)
	parent.BadRows = 0.5
	child.Table, child.Parents = "contact", []string{"account"}
	e := Compute([]Work{parent, child}, documented())
	near(t, "requests for the half whose parent is there", float64(e.Rows[1].Requests), 500, 0.02)
	near(t, "failed parents", float64(e.Rows[0].Failed), 50_000, 0.03)
}

func TestLowExpectedHigh(t *testing.T) {
	w := inserts(4_000_000, 100, 10*ms)
	w.Spread = 0.5
	e := Compute([]Work{w}, documented())
	near(t, "low", e.Low, e.Seconds/1.5, 0.02)
	near(t, "high", e.High, e.Seconds*1.5, 0.02)
}

// TestSkippingChangesNothing compares a long load with one that is simulated to the end.
func TestSkippingChangesNothing(t *testing.T) {
	for _, w := range []Work{inserts(3_000_000, 100, 10*ms), inserts(300_000, 10, 3*ms), inserts(2_000_000, 200, 4*ms)} {
		a := documented()
		skipped := newSimulation(a, expected, 1, mostClients).run(w)
		whole := newSimulation(a, expected, 1, mostClients)
		whole.neverSkip = true
		near(t, "seconds", skipped.end, whole.run(w).end, 0.003)
	}
}

// TestBigMigration holds the estimate to its promise, 120 M rows in 40 tables within 3 s and 300 MB, by what no
// machine's speed changes: how many requests are simulated, and how many simulations an estimate takes.
func TestBigMigration(t *testing.T) {
	a := documented()
	a.Window = 48 * time.Hour
	a.LatencyP99 = 300 * ms
	a.Limits.Users, a.Limits.Servers = 4, 2
	simulated := func(work []Work) (events int) {
		m := newSimulation(a, expected, 1, coarse(work))
		for _, w := range work {
			m.run(w)
		}
		return m.order
	}
	work := fortyTables(3_000_000)
	began := processTime()
	few := simulated(work)
	one := processTime() - began // other processes do not count
	if few > 800_000 {           // a second of CPU time is some two millions
		t.Errorf("%d events were simulated, want at most 800,000", few)
	}
	if many := simulated(fortyTables(30_000_000)); many > 2*few {
		t.Errorf("ten times the rows simulate %d events, and the rows %d", many, few)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began = processTime()
	e := Compute(work, a)
	took := processTime() - began
	runtime.ReadMemStats(&after)
	t.Logf("%d operations: %v, one simulation %v, %d MB allocated, %.1f days", e.Operations, took, one, (after.TotalAlloc-before.TotalAlloc)>>20, e.Seconds/86400)
	if took > 30*one {
		t.Errorf("it took %v, and one simulation %v: want at most 30 of them", took, one)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 300<<20 {
		t.Errorf("it took %d MB, want at most 300", got>>20)
	}
}

// fortyTables are inserted, and get their lookups later.
func fortyTables(rows int64) (work []Work) {
	for i := range 40 {
		w := inserts(rows, []int{10, 50, 100, 200, 500}[i%5], time.Duration(1+i%9*3)*ms)
		w.Table, w.Parallel = fmt.Sprintf("table%02d", i), 208
		later := w
		later.Pass, later.Action = Lookups, "update"
		work = append(work, w, later)
	}
	return work
}

// TestStorage: a record counts once, whatever passes it goes through, and its files apart.
func TestStorage(t *testing.T) {
	note := Work{Table: "annotation", Pass: Insert, Action: "insert", Operations: 1000, Bytes: 5000, FileBytes: 4000}
	later := Work{Table: "annotation", Pass: State, Action: "update", Operations: 1000, Bytes: 5000, FileBytes: 4000}
	gone := Work{Table: "annotation", Pass: Delete, Action: "delete", Operations: 500, Bytes: 5000}
	scans := Work{Table: "contract", Pass: Files, Action: "update", Operations: 100, Bytes: 70_000, FileBytes: 70_000}
	s := StorageOf([]Work{note, later, gone, scans}, 10*86400)
	if s.DatabaseBytes != 2_200_000 || s.FileBytes != 3_000_000+7_000_000 || s.Operations != 2600 || s.PerDay != 260 {
		t.Errorf("%+v", s)
	}
}

// TestTheLoadFindsTheSizeOfItsRequests: small requests run into the request limit, so that
// a load that may choose takes larger ones, and is the quicker.
func TestTheLoadFindsTheSizeOfItsRequests(t *testing.T) {
	w := inserts(400_000, 20, 2*ms)
	fixed := Compute([]Work{w}, documented())
	w.Auto = true
	auto := Compute([]Work{w}, documented())
	if f, a := fixed.Rows[0], auto.Rows[0]; f.Batch != 20 || a.Batch < 60 || a.Seconds > 0.7*f.Seconds {
		t.Errorf("%d records a request in %.0f s, fixed %d in %.0f s", a.Batch, a.Seconds, f.Batch, f.Seconds)
	}
}

// TestWhatElseIsSent: deletes, closings and parties.
func TestWhatElseIsSent(t *testing.T) {
	base := Work{Table: "task", Pass: Insert, Action: "insert", Message: Batch, Operations: 10_000, Batch: 100, Parallel: 8, PerRecord: 5 * ms}
	for _, c := range []struct {
		name     string
		change   func(*Work)
		requests int
	}{
		{"a $batch of inserts", func(*Work) {}, 100},
		{"deletions by $batch", func(w *Work) { w.Pass, w.Action = Delete, "delete" }, 100},
		{"records that an action closes are read first", func(w *Work) { w.Pass, w.Action, w.ReadFirst = State, "update", true }, 200},
		{"an activity's parties take a second request", func(w *Work) { w.Message, w.Batch, w.Action, w.Further = Single, 1, "update", 1 }, 20_000},
		{"each worker's last request is smaller where rows are sharded", func(w *Work) { w.Operations, w.Sharded = 1000, true }, 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := base
			c.change(&w)
			near(t, "requests", float64(Expect([]Work{w}, documented()).Rows[0].Requests), float64(c.requests), 0.001)
		})
	}
}

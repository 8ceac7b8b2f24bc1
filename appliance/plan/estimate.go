package plan

import (
	"math"
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

// Work is one kind of operation on one table, as it was counted in the stage.
type Work struct {
	Table      string
	Pass       Pass
	Action     string // insert, update, link
	Single     bool   // sent as single requests in a $batch: the table takes no bulk action
	Operations int64
	Batch      int           // records a request
	PerRecord  time.Duration // server time a record; 0 = the default of the action
	Rate       float64       // records a second, stated or measured; 0 = follow the limits
	Source     string        // where Rate or PerRecord comes from: stated, measured; "" = default
}

// Assumptions is what an estimate rests on besides the counts.
type Assumptions struct {
	Limits     Limits        `json:"limits"`
	Latency    time.Duration `json:"latencyNanos"`    // network and queueing a request
	PerRequest time.Duration `json:"perRequestNanos"` // server time a request costs besides its records
	Buffer     float64       `json:"bufferPercent"`
	Window     time.Duration `json:"cutoverWindowNanos,omitempty"` // 0 = none stated
}

// Row is the estimate for one Work.
type Row struct {
	Table      string  `json:"table"`
	Pass       Pass    `json:"pass"`
	Action     string  `json:"action"`
	Operations int64   `json:"operations"`
	Requests   int64   `json:"requests"`
	Batch      int     `json:"batch"`
	Rate       float64 `json:"recordsPerSecond"`
	Seconds    float64 `json:"seconds"`
	Bound      string  `json:"boundBy"` // what keeps it from being faster
	Basis      string  `json:"basis"`   // stated, measured, default
}

// Estimate is how long a plan will take, with what it assumes.
type Estimate struct {
	Rows        []Row       `json:"rows"`
	Operations  int64       `json:"operations"`
	Requests    int64       `json:"requests"`
	Seconds     float64     `json:"seconds"`       // without the buffer
	Buffered    float64     `json:"secondsBuffer"` // with it
	Fits        *bool       `json:"fitsWindow,omitempty"`
	UsersToFit  int         `json:"usersToFit,omitempty"` // application users with which it would fit; 0 = no number of users helps
	Assumptions Assumptions `json:"assumptions"`
}

// The server time a record takes when nothing better is known: orders of
// magnitude from dataverse-web-api.md section 16 (CreateMultiple 100 rows in
// about 1 s, UpdateMultiple 100 rows in 2 to 3 s, $batch without a gain over single
// requests). A rehearsal's own figures replace them.
var defaultPerRecord = map[string]time.Duration{
	"insert": 10 * time.Millisecond,
	"update": 25 * time.Millisecond,
	"single": 30 * time.Millisecond,
}

// Compute estimates the work, one pass after the other, one table at a time.
func Compute(work []Work, a Assumptions) Estimate {
	e := Estimate{Rows: []Row{}, Assumptions: a}
	for _, w := range work {
		r := row(w, a)
		e.Rows = append(e.Rows, r)
		e.Operations += r.Operations
		e.Requests += r.Requests
		e.Seconds += r.Seconds
	}
	e.Buffered = e.Seconds * (1 + a.Buffer/100)
	if a.Window > 0 {
		fits := e.Buffered <= a.Window.Seconds()
		e.Fits = &fits
		if !fits {
			e.UsersToFit = usersToFit(work, a)
		}
	}
	return e
}

func row(w Work, a Assumptions) Row {
	batch := max(w.Batch, 1)
	r := Row{Table: w.Table, Pass: w.Pass, Action: w.Action, Operations: w.Operations, Batch: batch,
		Requests: (w.Operations + int64(batch) - 1) / int64(batch), Basis: "default"}
	if w.Source != "" {
		r.Basis = w.Source
	}
	perRecord := w.PerRecord
	if perRecord == 0 {
		perRecord = defaultPerRecord[w.Action]
		if w.Single {
			perRecord = defaultPerRecord["single"]
		}
	}
	r.Rate, r.Bound = ceiling(batch, perRecord, a)
	if w.Rate > 0 {
		r.Rate, r.Bound = w.Rate, "the rate given"
	}
	if w.Operations > 0 {
		r.Seconds = float64(w.Operations) / r.Rate
	}
	return r
}

// ceiling is the highest rate in records a second that the limits allow, and the
// limit that sets it.
func ceiling(batch int, perRecord time.Duration, a Assumptions) (rate float64, bound string) {
	l := a.Limits
	seats := float64(max(l.Users, 1) * max(l.Servers, 1))
	server := a.PerRequest.Seconds() + float64(batch)*perRecord.Seconds()
	rate, bound = math.Inf(1), "nothing"
	lower := func(r float64, name string) {
		if r < rate {
			rate, bound = r, name
		}
	}
	lower(seats*float64(l.Requests)/l.Window.Seconds()*float64(batch), "the request limit")
	if server > 0 {
		lower(seats*l.Execution.Seconds()/l.Window.Seconds()/server*float64(batch), "the execution-time limit")
	}
	if wait := server + a.Latency.Seconds(); wait > 0 {
		lower(seats*float64(l.Concurrent)/wait*float64(batch), "the concurrency limit")
	}
	return rate, bound
}

// usersToFit finds the number of application users with which the work would fit
// the window, up to 64; rates that were stated do not grow with users.
func usersToFit(work []Work, a Assumptions) int {
	for users := a.Limits.Users + 1; users <= 64; users++ {
		b := a
		b.Limits.Users = users
		b.Window = 0
		if Compute(work, b).Buffered <= a.Window.Seconds() {
			return users
		}
	}
	return 0
}

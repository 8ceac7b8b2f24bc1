package progress

import (
	"fmt"
	"slices"
	"time"
)

// Unknown stands for a number of seconds or a percentage that cannot be told honestly.
const Unknown = -1

// Counts are numbers of records, and of the requests that they took, in this run.
type Counts struct {
	Total    int64 `json:"total"`   // records to settle
	Done     int64 `json:"done"`    // the target has taken them
	Failed   int64 `json:"failed"`  // refused
	Held     int64 `json:"held"`    // not sent, because of another record or a check
	Skipped  int64 `json:"skipped"` // nothing to do
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"` // of request bodies
}

// settled returns the records whose outcome is known.
func (c Counts) settled() int64 { return c.Done + c.Failed + c.Held + c.Skipped }

// Remaining returns the records whose outcome is not known yet.
func (c Counts) Remaining() int64 { return max(0, c.Total-c.settled()) }

// Percent returns how much is settled, or Unknown if there is no total.
func (c Counts) Percent() float64 {
	if c.Total <= 0 {
		return Unknown
	}
	return min(100, 100*float64(c.settled())/float64(c.Total))
}

func (c *Counts) add(o Counts) {
	c.Total += o.Total
	c.Done += o.Done
	c.Failed += o.Failed
	c.Held += o.Held
	c.Skipped += o.Skipped
	c.Requests += o.Requests
	c.Bytes += o.Bytes
}

// Speed is how fast records are settled and how long the rest will take.
type Speed struct {
	Rate      float64 `json:"rate"`              // records per second over the last minute
	Average   float64 `json:"average"`           // records per second over the whole time, pauses left out
	Left      float64 `json:"left_seconds"`      // until the end; Unknown while it cannot be told
	LeftLow   float64 `json:"left_low_seconds"`  // the same at the fastest of the rates of the last minute, of five and of the whole; see left
	LeftHigh  float64 `json:"left_high_seconds"` // and at the slowest
	Throttled float64 `json:"throttled_seconds"` // waited because the service asked
	Idle      float64 `json:"idle_seconds"`      // since the last outcome, while running
}

// Table is one pass of a table.
type Table struct {
	Name  string `json:"table"`
	Pass  string `json:"pass"`
	State State  `json:"state"`
	Counts
	Speed
}

// Phase is a part of the run.
type Phase struct {
	Name    string    `json:"phase"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Counts  Counts    `json:"counts"` // when it ended; while it runs see Snapshot.Total
}

// Total is the phase as a whole.
type Total struct {
	Counts
	Speed
}

// Snapshot is the state of a run at one moment: a copy, for reading. Its JSON form is
// what `status --json` and the console give out.
type Snapshot struct {
	Time    time.Time `json:"time"`
	Phase   string    `json:"phase"`           // that runs, or ran last
	Ended   bool      `json:"ended"`           // nothing runs any more
	Elapsed float64   `json:"elapsed_seconds"` // of the phase, pauses included
	Worked  float64   `json:"worked_seconds"`  // of them since the first table began, without pauses
	Paused  bool      `json:"paused"`
	Wait    float64   `json:"wait_seconds"` // that the service still asks for; 0 if it does not
	Doing   string    `json:"doing"`        // in words, where there are no records to count
	Percent float64   `json:"percent"`      // of Doing; Unknown if not known
	Total   Total     `json:"total"`
	Tables  []Table   `json:"tables"` // in the order in which they were announced or begun
	Phases  []Phase   `json:"phases"`
	Events  []Event   `json:"events"` // the newest ones, oldest first
}

// Snapshot returns the state of the run now.
func (t *Tracker) Snapshot() Snapshot {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := Snapshot{Time: time.Now(), Paused: t.paused, Doing: t.doing, Percent: t.percent,
		Tables: make([]Table, 0, len(t.order)), Phases: slices.Clone(t.phases), Events: t.events.list()}
	if n := len(t.phases); n > 0 {
		last := t.phases[n-1]
		s.Phase, s.Ended = last.Name, !last.Ended.IsZero()
		end := s.Time
		if s.Ended {
			end = last.Ended
		}
		s.Elapsed = end.Sub(last.Started).Seconds()
	}
	if t.begun {
		s.Worked = (t.work() - t.began).Seconds()
	}
	spent, left := t.throttle.at(t.plain())
	s.Wait = left.Seconds()
	s.Total = t.total(&s.Tables)
	s.Total.Throttled = spent.Seconds()
	return s
}

// total adds up the phase and appends its tables to list. The caller holds the lock.
func (t *Tracker) total(list *[]Table) Total {
	now, plain := t.work(), t.plain()
	total := Total{Counts: t.rest.copyCounts()}
	var minute, minutes int64
	moved, ended, running := t.began, t.began, false
	for _, it := range t.order {
		it.mu.Lock()
		table := it.table(now, plain, t.paused)
		minute += it.window.sum(now, rateSpan)
		minutes += it.window.sum(now, leftSpan)
		moved, ended = max(moved, it.moved), max(ended, it.ended)
		it.mu.Unlock()
		running = running || table.State == Running
		total.add(table.Counts)
		*list = append(*list, table)
	}
	if running {
		ended = now
		total.Rate = perSecond(minute, covered(t.began, now, rateSpan))
		total.Idle = (now - moved).Seconds()
	}
	if t.begun {
		total.Average = perSecond(total.Done+total.Failed, ended-t.began)
	}
	total.foretell(total.Counts, minutes, t.began, now, running && !t.paused)
	return total
}

func (it *item) copyCounts() Counts {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.counts
}

// table returns the copy of an item; plain is the time on the plain clock. The caller
// holds the item's lock.
func (it *item) table(now, plain time.Duration, paused bool) Table {
	c := Table{Name: it.key.table, Pass: it.pass, State: it.state, Counts: it.counts}
	spent, _ := it.throttle.at(plain)
	c.Throttled = spent.Seconds()
	worked := it.counts.Done + it.counts.Failed - it.before
	switch it.state {
	case Running:
		c.Rate = perSecond(it.window.sum(now, rateSpan), covered(it.window.since, now, rateSpan))
		c.Average = perSecond(worked, now-it.began)
		c.Idle = (now - it.moved).Seconds()
	case Ended:
		c.Average = perSecond(worked, it.ended-it.began)
		return c
	}
	c.foretell(it.counts, it.window.sum(now, leftSpan), it.window.since, now, it.state == Running && !paused)
	return c
}

// foretell fills in how long the rest takes at the rate of the last five minutes, in which
// recent records were settled, or Unknown where that says nothing. How far that may be off
// is told from how much the rates of different spans differ.
func (v *Speed) foretell(c Counts, recent int64, since, now time.Duration, moving bool) {
	v.Left, v.LeftLow, v.LeftHigh = Unknown, Unknown, Unknown
	switch {
	case !moving, c.Total <= 0:
	case c.Remaining() == 0:
		v.Left, v.LeftLow, v.LeftHigh = 0, 0, 0
	case now-since >= warmUp && recent > 0:
		steady := perSecond(recent, covered(since, now, leftSpan))
		rest := float64(c.Remaining())
		slow, fast := min(steady, max(v.Rate, steady*least)), max(steady, v.Rate)
		if v.Average > 0 {
			slow, fast = min(slow, v.Average), max(fast, v.Average)
		}
		v.Left, v.LeftLow, v.LeftHigh = rest/steady, rest/fast, rest/slow
	}
}

// Foretold is the speed with another time left, which may be off by as much, in proportion.
func (v Speed) Foretold(left float64) Speed {
	low, high := 1.0, 1.0
	if v.Left > 0 {
		low, high = v.LeftLow/v.Left, v.LeftHigh/v.Left
	}
	v.Left, v.LeftLow, v.LeftHigh = left, low*left, high*left
	return v
}

// least is the share of the steady rate below which a minute does not count: one in which
// the service asked to wait says little of the hours to come.
const least = 0.25

// summary says how a pass ended. The caller holds the item's lock.
func (it *item) summary() string {
	text := fmt.Sprintf("%s done", Grouped(it.counts.Done))
	if it.counts.Failed > 0 {
		text += fmt.Sprintf(", %s failed", Grouped(it.counts.Failed))
	}
	if it.counts.Held > 0 {
		text += fmt.Sprintf(", %s held back", Grouped(it.counts.Held))
	}
	return text
}

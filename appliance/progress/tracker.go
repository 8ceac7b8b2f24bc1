// Package progress counts what a run does and says how long the rest will take. The
// parts that work tell a Tracker, once a request and never once a record; the terminal,
// the console and `status --json` read a Snapshot of it, a copy that nothing changes.
//
// Words: a phase is a part of the run (stage, load, reconcile); the tables of a snapshot
// are those of the phase that runs. A table has one line a pass (ledger.Pass: the
// insert, then deferred lookups and so on). A record is settled when its outcome is
// known: done or failed, held back or skipped; the rate counts only the first two,
// since the others cost no request. Begin, Sent, End and Note are what the loader's
// Watcher asks for.
//
// It promises not to guess: no time left is given before a table has been measured for
// 15 seconds, nor while nothing moves or the run is paused. The time left follows the
// last five minutes, the span in which Dataverse counts (dataverse-web-api.md 8.1), so
// that the to and fro of throttling evens out; the rate shown is that of the last
// minute. A pause counts for neither.
//
// The package does no I/O and starts no goroutine: rendering is a pure function of a
// snapshot, and who shows it decides when. Counts are of this run; what earlier runs did
// is the ledger's to say.
package progress

import (
	"sync"
	"time"
)

// State is how far a table's pass has come.
type State string

// The states.
const (
	Waiting State = "waiting" // announced by Expect, not begun
	Running State = "running"
	Ended   State = "ended"
)

// key names a pass of a table.
type key struct{ table, pass string }

// item is the account of one pass of a table. The lock is held for a few additions, once
// a request, so that counts and window stay in step.
type item struct {
	key
	mu       sync.Mutex // protects what follows
	state    State
	counts   Counts
	window   window
	throttle throttle
	before   int64         // done and failed when it began for the last time
	began    time.Duration // for the last time; this and the next two on the work clock
	ended    time.Duration
	moved    time.Duration // last outcome
}

// Tracker takes part in a run as the one who counts. Its methods may be called from
// many goroutines; they do not block on readers for longer than a copy takes.
//
// It measures on a clock of its own, the work clock: monotonic from New, so that setting
// the machine's clock changes no rate, and standing still in a pause, so that a pause
// changes none either. Only the service's waits are on the plain clock: they pass while
// the run is paused.
type Tracker struct {
	start time.Time

	mu        sync.RWMutex // protects what follows, but not what is inside an item
	phases    []Phase
	items     map[key]*item
	order     []*item
	rest      *item // requests and waits that belong to no table
	begun     bool  // a table has begun in this phase
	began     time.Duration
	doing     string
	percent   float64
	paused    bool
	pausedAt  time.Duration // on the plain clock
	pausedFor time.Duration // in pauses that are over
	throttle  throttle
	events    ring
}

// New returns a tracker whose clock starts now.
func New() *Tracker {
	return &Tracker{start: time.Now(), items: map[key]*item{}, rest: &item{}, percent: Unknown}
}

// plain returns the time since New.
func (t *Tracker) plain() time.Duration { return time.Since(t.start) }

// work returns the time on the work clock. The caller holds the lock.
func (t *Tracker) work() time.Duration {
	if t.paused {
		return t.pausedAt - t.pausedFor
	}
	return t.plain() - t.pausedFor
}

// Phase begins a phase; the one before ends, and its tables with it.
func (t *Tracker) Phase(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endPhase()
	t.phases = append(t.phases, Phase{Name: name, Started: time.Now()})
	t.items, t.order, t.rest = map[key]*item{}, nil, &item{}
	t.begun, t.doing, t.percent = false, "", Unknown
	t.events.add(Event{Time: time.Now(), Kind: PhaseBegan, Text: name})
}

// Finish ends the phase that runs; nothing runs after it.
func (t *Tracker) Finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endPhase()
}

// endPhase notes the end of the current phase. The caller holds the lock.
func (t *Tracker) endPhase() {
	if len(t.phases) == 0 {
		return
	}
	last := &t.phases[len(t.phases)-1]
	if last.Ended.IsZero() {
		last.Ended = time.Now()
		last.Counts = t.sum()
	}
}

// sum adds up the counts of the phase. The caller holds the lock.
func (t *Tracker) sum() Counts {
	total := t.rest.copyCounts()
	for _, it := range t.order {
		total.add(it.copyCounts())
	}
	return total
}

// Doing says in words what is being done where there are no records to count, such as
// "reading customers", and how far it is in percent; less than 0 is not known.
func (t *Tracker) Doing(what string, percent float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doing, t.percent = what, min(percent, 100)
}

// find returns the account of a pass, made if need be, and the time on the work clock.
// No table is the rest.
func (t *Tracker) find(table, pass string) (*item, time.Duration) {
	k := key{table, pass}
	t.mu.RLock()
	it, now := t.items[k], t.work()
	if table == "" {
		it = t.rest
	}
	t.mu.RUnlock()
	if it != nil {
		return it, now
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if it = t.items[k]; it == nil {
		it = &item{key: k, state: Waiting}
		t.items[k] = it
		t.order = append(t.order, it)
	}
	return it, now
}

// Expect announces a pass that is still to come, so that the total knows of it.
func (t *Tracker) Expect(table, pass string, total int64) {
	it, _ := t.find(table, pass)
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.state == Waiting {
		it.counts.Total = total
	}
}

// Begin says that a pass begins with total records to settle. A pass that has ended may
// begin again; what is then to be settled adds to its total.
func (t *Tracker) Begin(table, pass string, total int64) {
	it, now := t.find(table, pass)
	t.mu.Lock()
	if !t.begun {
		t.begun, t.began = true, now
	}
	t.mu.Unlock()
	it.mu.Lock()
	defer it.mu.Unlock()
	it.counts.Total, it.state = it.counts.settled()+total, Running
	it.window = window{since: now}
	it.began, it.moved = now, now
	it.before = it.counts.Done + it.counts.Failed
}

// Sent adds records whose outcome is known.
func (t *Tracker) Sent(table, pass string, done, failed, held int64) {
	it, now := t.find(table, pass)
	it.mu.Lock()
	defer it.mu.Unlock()
	it.counts.Done += done
	it.counts.Failed += failed
	it.counts.Held += held
	it.window.add(now, done+failed)
	it.moved = now
}

// Skipped adds records that turned out to need nothing.
func (t *Tracker) Skipped(table, pass string, records int64) {
	it, now := t.find(table, pass)
	it.mu.Lock()
	defer it.mu.Unlock()
	it.counts.Skipped += records
	it.moved = now
}

// Request adds a request that was sent, with the bytes of its body. Where the table is
// not known it is "" and the request counts for the total only.
func (t *Tracker) Request(table, pass string, bytes int64) {
	it, _ := t.find(table, pass)
	it.mu.Lock()
	defer it.mu.Unlock()
	it.counts.Requests++
	it.counts.Bytes += bytes
}

// End says that a pass is over.
func (t *Tracker) End(table, pass string) {
	it, now := t.find(table, pass)
	it.mu.Lock()
	ended := it.state == Running
	if ended {
		it.state, it.ended = Ended, now
	}
	text := it.summary()
	it.mu.Unlock()
	if ended {
		t.Event(TableEnded, table, text)
	}
}

// Throttled says that the service asked to wait. Waits that overlap, as those of
// several requests do, count once. Where the table is not known it is "".
func (t *Tracker) Throttled(table, pass string, wait time.Duration) {
	it, _ := t.find(table, pass)
	now := t.plain()
	it.mu.Lock()
	it.throttle.add(now, wait)
	it.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.throttle.add(now, wait)
	t.events.add(Event{Time: time.Now(), Kind: Throttling, Table: table, Text: "the service asked to wait"})
}

// Pause says that the run stands still on purpose.
func (t *Tracker) Pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.paused {
		t.paused, t.pausedAt = true, t.plain()
		t.events.add(Event{Time: time.Now(), Kind: Noted, Text: "paused"})
	}
}

// Resume ends a pause.
func (t *Tracker) Resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused {
		t.pausedFor += t.plain() - t.pausedAt
		t.paused = false
		t.events.add(Event{Time: time.Now(), Kind: Noted, Text: "resumed"})
	}
}

// Note adds an event in words.
func (t *Tracker) Note(table, text string) { t.Event(Noted, table, text) }

// Event adds something worth showing. What repeats the newest event adds to its count.
func (t *Tracker) Event(kind Kind, table, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events.add(Event{Time: time.Now(), Kind: kind, Table: table, Text: text})
}

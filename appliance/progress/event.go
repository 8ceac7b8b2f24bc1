package progress

import "time"

// Kind is the kind of an event.
type Kind string

// The kinds.
const (
	PhaseBegan Kind = "phase"
	TableEnded Kind = "table"     // a pass of a table is over
	Throttling Kind = "throttled" // the service asked to wait
	Narrowed   Kind = "narrowed"  // a refused request is being searched for the guilty records
	Noted      Kind = "note"
)

// Event is something worth showing.
type Event struct {
	Seq   uint64    `json:"seq"`  // from 1; a reader that has seen one asks for what is after it
	Time  time.Time `json:"time"` // of the last time, if it repeated
	Kind  Kind      `json:"kind"`
	Table string    `json:"table,omitempty"`
	Text  string    `json:"text"`
	Times int       `json:"times"` // in a row; the text stands once
}

// kept is how many events a tracker keeps.
const kept = 200

// ring keeps the newest events.
type ring struct {
	events []Event // from next on the oldest ones, once it is full
	next   int
	seq    uint64
}

// add keeps e, or counts it where it repeats the newest event. A repetition takes a new
// number, so that readers see it.
func (r *ring) add(e Event) {
	r.seq++
	e.Seq, e.Times = r.seq, 1
	if n := len(r.events); n > 0 {
		newest := &r.events[(r.next+n-1)%n]
		if newest.Kind == e.Kind && newest.Table == e.Table && newest.Text == e.Text {
			e.Times += newest.Times
			*newest = e
			return
		}
	}
	if len(r.events) < kept {
		r.events = append(r.events, e)
		return
	}
	r.events[r.next] = e
	r.next = (r.next + 1) % kept
}

// list returns the events, oldest first.
func (r *ring) list() []Event {
	return append(append(make([]Event, 0, len(r.events)), r.events[r.next:]...), r.events[:r.next]...)
}

// Since returns the events that came after the one with this number, oldest first.
func (t *Tracker) Since(seq uint64) []Event {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.events.seq == seq {
		return nil
	}
	return Snapshot{Events: t.events.list()}.Since(seq)
}

// Since returns the snapshot's events that came after the one with this number.
func (s Snapshot) Since(seq uint64) []Event {
	for i, e := range s.Events {
		if e.Seq > seq {
			return s.Events[i:]
		}
	}
	return nil
}

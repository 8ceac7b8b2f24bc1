package dataverse

import (
	"time"

	"dvmigrate/appliance/dataverse/pace"
)

// Limits is what the answers so far told of the service protection limits
// (dataverse-web-api.md 1.4, 8). What is left is that of the server that answered
// last, and another may answer next.
type Limits struct {
	Hint         int           // x-ms-dop-hint: requests at once, of all clients; 0: not said
	Known        bool          // whether the others were said
	RequestsLeft int           // of the sliding window
	TimeLeft     time.Duration // execution time left of it
}

// Limits is what the answers so far told.
func (c *Client) Limits() Limits {
	if l := c.known.limits.Load(); l != nil {
		return *l
	}
	return Limits{}
}

// learn keeps what an answer says of the limits.
func (k *known) learn(o pace.Outcome) {
	if o.Hint == 0 && !o.HasLeft {
		return
	}
	l := Limits{Hint: o.Hint, Known: o.HasLeft, RequestsLeft: o.BurstLeft, TimeLeft: o.TimeLeft}
	if last := k.limits.Load(); last != nil {
		if l.Hint == 0 {
			l.Hint = last.Hint
		}
		if !l.Known {
			l.Known, l.RequestsLeft, l.TimeLeft = last.Known, last.RequestsLeft, last.TimeLeft
		}
	}
	k.limits.Store(&l)
}

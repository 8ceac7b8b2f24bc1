package pace

import "time"

// How requests are spread once there were too many of them.
const (
	slots       = 60              // the sent requests are counted in so many slots
	slotTime    = 5 * time.Second // together the documented 300 s (8.1)
	rateMargin  = 0.95            // of what the server bore
	rateGrowth  = 1.05            // a span without a throttle: so much more
	burstScarce = 0.05            // of the requests left: start to spread
	usefulLimit = 1000            // a smaller BurstLeft at best is not the limit
	burstAhead  = 1.0             // seconds of the rate that may go out in one moment
)

// rate spreads requests evenly. It lets all through until the server says that too
// many came. How many servers share the load is not known, so the text's own limit
// would be too low; what was sent in the time just before is what they bore together.
type rate struct {
	allowed float64 // requests a second; 0: not limited
	next    time.Time
	raised  time.Time
	eased   time.Time // when it was last engaged because little was left

	counts [slots]int
	slot   int64 // the absolute number of the newest slot
	most   int   // the largest BurstLeft ever seen, taken as the limit
}

// sent counts one request and moves the moment of the next.
func (r *rate) sent(now time.Time) {
	r.turn(now)
	r.counts[r.slot%slots]++
	if r.allowed <= 0 {
		return
	}
	earliest := now.Add(-time.Duration(burstAhead * float64(time.Second)))
	if r.next.Before(earliest) {
		r.next = earliest
	}
	r.next = r.next.Add(time.Duration(float64(time.Second) / r.allowed))
	if span := slots * slotTime; now.Sub(r.raised) >= span {
		r.allowed *= rateGrowth
		r.raised = now
	}
}

// pause is how long the next request has to wait for the rate's sake.
func (r *rate) pause(now time.Time) time.Duration {
	if r.allowed <= 0 {
		return 0
	}
	return r.next.Sub(now)
}

// turn empties the slots that have passed since the last request.
func (r *rate) turn(now time.Time) {
	slot := now.UnixNano() / int64(slotTime)
	for s := max(r.slot+1, slot-slots+1); s <= slot; s++ {
		r.counts[s%slots] = 0
	}
	r.slot = max(r.slot, slot)
}

// engage limits the rate to what went out in the time per (0: 300 s), which the
// server found too much; limit (0: not said) is what one server grants in it.
func (r *rate) engage(now time.Time, limit int, per time.Duration) {
	if per <= 0 || per > slots*slotTime {
		per = slots * slotTime
	}
	r.turn(now)
	sent, n := 0, max(int64(per/slotTime), 1)
	for s := r.slot - n + 1; s <= r.slot; s++ {
		if s >= 0 {
			sent += r.counts[s%slots]
		}
	}
	bore := float64(max(sent, limit, 1)) / per.Seconds() * rateMargin
	if r.allowed > 0 {
		bore = min(bore, r.allowed*rateMargin)
	}
	if limit > 0 {
		bore = max(bore, float64(limit)/per.Seconds()*rateMargin*rateMargin)
	}
	r.allowed, r.raised = bore, now
	r.next = now
}

// learn starts to spread before the server throttles, when it says that little of
// its grant is left. The numbers jump from server to server (1.4, 8.1), so they
// only ever slow down, once in a while.
func (r *rate) learn(o Outcome, now time.Time) {
	if !o.HasLeft {
		return
	}
	r.most = max(r.most, o.BurstLeft)
	scarce := float64(o.BurstLeft) < burstScarce*float64(r.most)
	if scarce && r.most >= usefulLimit && now.Sub(r.eased) > slots*slotTime {
		r.eased = now
		r.engage(now, r.most, 0)
	}
}

package pace

import (
	"math"
	"time"
)

// What the service documents as its limits (dataverse-web-api.md 8.1), and how they
// are used up.
const (
	documentedRequests = 6000
	documentedTime     = 1200 // seconds of execution
	documentedWindow   = 300 * time.Second

	slots       = 300              // what was spent is kept in so many slots of the window
	margin      = 0.01             // of a limit that is never spent
	freeShare   = 0.4              // of a limit that may be spent as fast as the server works
	sampleFrom  = 0.1              // of a limit: from so much spending on a report is a sample
	quick       = 1.0 / 32         // the weight of a new sample
	relief      = 1.03             // a window without a throttle: so much more is tried
	fresh       = 30 * time.Second // so old a report may be to be set against a throttle
	ahead       = time.Second      // so far back a request that comes late may still count
	clearlyLeft = 0.2              // of a limit: with so much left a throttle is unexpected
)

// budget is one of the service's limits over a sliding window, requests or seconds of
// execution time, and what we have spent of it.
//
// What we count is not what a server counts: there may be several servers, each of
// which sees a part; execution time is guessed from answer times; others may send
// as the same user. So each answer that tells what is left is a sample of the share
// of our spending that one server sees, and only the share's mean is used. A limit of
// 1,200 s of which a server sees a quarter lets us spend 4,800. Where nothing is told,
// the first throttle is the sample.
//
// The estimate simulates it (plan.spread): a change here belongs there as well.
type budget struct {
	limit  float64       // what one server grants in the window
	cap    float64       // never more than this of it is spent; 0 = no cap
	window time.Duration // its length
	spent  [slots]float64
	sum    float64
	slot   int64 // the absolute number of the newest slot

	share   float64 // one server sees of what we spend, by its reports
	samples int
	known   bool      // a report or a throttle has told of the limit
	floor   float64   // the share is at least that, by the last throttle
	eased   time.Time // when floor was last set or lowered
	fixed   time.Time // reports on requests begun before are of no use
	left    float64   // of the limit, by the last report
	told    time.Time // when that was
	odd     time.Time // when a throttle last said otherwise

	last time.Time // when the last request was due
	owed float64   // what it costs
}

func (b *budget) slotTime() time.Duration { return b.window / slots }

// turn forgets what has left the window.
func (b *budget) turn(now time.Time) {
	slot := now.UnixNano() / int64(b.slotTime())
	if slot-b.slot > slots {
		b.spent, b.sum = [slots]float64{}, 0
	} else {
		for s := b.slot + 1; s <= slot; s++ {
			b.sum -= b.spent[s%slots]
			b.spent[s%slots] = 0
		}
	}
	b.sum = max(b.sum, 0)
	b.slot = max(b.slot, slot)
	if b.floor > 0 && now.Sub(b.eased) > b.window {
		b.floor /= relief
		if b.samples > 0 && b.floor > 2*b.share { // one throttle against all reports
			b.floor = (b.floor + b.share) / 2
		}
		b.eased = now
	}
}

// spend counts what a request cost that began at a moment up to now.
func (b *budget) spend(began, now time.Time, cost float64) {
	b.turn(now)
	if slot := began.UnixNano() / int64(b.slotTime()); slot > b.slot-slots {
		b.spent[slot%slots] += cost
		b.sum += cost
	}
}

// foreign takes in what was spent by others, or before we began, at unknown moments
// of the window.
func (b *budget) foreign(now time.Time, cost float64) {
	for i := range b.spent {
		b.spent[i] += cost / slots
	}
	b.sum += cost
	b.fixed = now
}

// seen is the share of our spending that one server sees, as far as is known.
func (b *budget) seen() float64 {
	if b.samples == 0 && b.floor == 0 {
		return 1
	}
	return max(b.share, b.floor, 1e-6)
}

// total is what we may have spent in any window.
func (b *budget) total() float64 {
	limit := b.limit
	if b.cap > 0 {
		limit = min(limit, b.cap)
	}
	return limit * (1 - margin) / b.seen()
}

// bound keeps to a limit below the documented one from the start; one above has to be
// shown by the servers.
func (b *budget) bound(limit float64) {
	if limit > 0 && limit < b.limit {
		b.limit, b.cap, b.known = limit, limit, true
	}
}

// report takes in what a server says is left; before is what we had spent when the
// request began.
func (b *budget) report(left, before float64, began, now time.Time) {
	b.known = true
	b.limit = max(b.limit, left)
	b.left, b.told = left, now
	if !began.After(b.fixed) {
		return
	}
	used := b.limit - left
	if before < sampleFrom*b.limit {
		if more := used - before*b.seen(); more > sampleFrom*b.limit {
			b.foreign(now, more/b.seen())
		}
		return
	}
	b.samples++
	b.share += (used/before - b.share) * max(1/float64(b.samples), quick)
}

// refused takes in a throttle: a server has seen its whole limit. limit and window
// are from the throttle's text; 0: not said.
func (b *budget) refused(limit float64, window time.Duration, before float64, now time.Time) {
	b.known = true
	if b.contradicts(now) {
		return
	}
	if limit > 0 {
		b.limit = limit
	}
	if window >= slots*time.Millisecond && window <= time.Hour && window != b.window {
		all := b.sum
		b.window, b.spent, b.sum, b.slot = window, [slots]float64{}, 0, 0
		b.turn(now)
		b.foreign(now, all)
	}
	if before < sampleFrom*b.limit {
		b.foreign(now, max(b.limit/b.seen()-b.sum, 0))
		return
	}
	b.floor, b.eased = max(b.floor, b.limit/before), now
}

// contradicts reports whether a throttle is the first in a window to say the limit is
// used up when a report has just said that a good part of it is left. One such is a hiccup of
// some server, and to wait as long as it asks is enough.
func (b *budget) contradicts(now time.Time) bool {
	if now.Sub(b.told) > fresh || b.left < clearlyLeft*b.limit {
		return false
	}
	first := now.Sub(b.odd) > b.window
	b.odd = now
	return first
}

// rate is the largest even rate of spending that does not meet the limit: until each
// moment to come, no more may be spent than is left now and will have left the
// window by then. pending is what is under way.
func (b *budget) rate(now time.Time, pending float64) float64 {
	total := b.total()
	left := total - b.sum - pending
	rate := total / b.window.Seconds()
	begin := now.UnixNano()
	for s := b.slot - slots + 1; s <= b.slot; s++ {
		at := s % slots
		if b.spent[at] == 0 {
			continue
		}
		gone := time.Duration((s+slots)*int64(b.slotTime()) - begin).Seconds()
		rate = min(rate, left/max(gone, 1e-3))
		left += b.spent[at]
	}
	return rate
}

// free tells whether so little is spent that nothing has to be spread.
func (b *budget) free(pending float64) bool {
	return !b.known || b.sum+pending < freeShare*b.total()
}

// pause is how long the next request has to wait.
func (b *budget) pause(now time.Time, pending float64) time.Duration {
	b.turn(now)
	if b.free(pending) {
		return 0
	}
	rate := b.rate(now, pending)
	if rate <= 0 { // see again when a slot is over
		return b.slotTime()
	}
	wait := math.Min(b.owed/rate, b.window.Seconds())
	return b.last.Add(time.Duration(wait * float64(time.Second))).Sub(now)
}

// sent notes that a request goes out that will cost so much: the next one has to wait
// until the rate has earned it.
func (b *budget) sent(now time.Time, cost, pending float64) {
	if b.free(pending) {
		b.last, b.owed = now, 0
		return
	}
	late := min(max(-b.pause(now, pending), 0), ahead)
	b.last, b.owed = now.Add(-late), cost
}

// headroom is the part of the limit that is not spent, 0 to 1.
func (b *budget) headroom(pending float64) float64 {
	if !b.known {
		return 1
	}
	return min(max(1-(b.sum+pending)/b.total(), 0), 1)
}

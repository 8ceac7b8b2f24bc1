package plan

// The client's way with the limits, as the simulation has it: it spends two fifths of
// a limit as fast as the server works and the rest at the largest even rate that does
// not meet the limit, so that the service hardly ever refuses. It mirrors the budget of
// package pace, written from what that promises, in a clock of its own (seconds since
// the load began); what the service itself does is in meter.
const (
	spreadSlots  = 300  // slots of a window
	spreadShare  = 0.99 // of a limit is ever spent
	spreadFree   = 0.4  // of it is spent at once
	spreadLate   = 1.0  // seconds that a late request may count back
	spreadSample = 0.1  // of a limit: from so much spending on a report is a sample
	spreadRelief = 1.03 // a window without a throttle: so much more is tried
	spreadFresh  = 30.0 // seconds for which a report may be set against a throttle
	spreadLeft   = 0.2  // of a limit: with so much left a throttle is unexpected
)

// spread is one budget of a user, of all servers together.
type spread struct {
	limit  float64 // of one server; 0 = none
	total  float64 // that may be spent in a window
	window float64 // seconds
	spent  [spreadSlots]float64
	sum    float64
	slot   int64

	share   float64 // of what is spent that one server sees; 0: not known
	samples int
	floor   float64 // the share is at least that, by the last throttle
	eased   float64 // when the floor was last set or lowered
	fixed   float64 // reports on requests begun before are of no use
	left    float64 // of the limit, by the last report
	told    float64 // when that was
	odd     float64 // when a throttle last said otherwise

	last, owed float64 // when the last request went out, and what it costs

	rate      float64 // as of rateSlot, when spentSum was sum
	rateSlot  int64
	rateSpent float64
}

func newSpread(limit, window float64) spread {
	return spread{limit: limit, total: limit * spreadShare, window: window, rateSlot: -1, fixed: -1, odd: -window - 1, told: -spreadFresh - 1}
}

// seen is the share of the spending that one server sees, as far as is known.
func (b *spread) seen() float64 {
	if b.samples == 0 && b.floor == 0 {
		return 1
	}
	return max(b.share, b.floor, 1e-6)
}

func (b *spread) retotal() { b.total, b.rateSlot = b.limit*spreadShare/b.seen(), -1 }

// report takes in what a server says that it has counted, when before had been spent:
// what is spent is a guess, and the mean share that a server sees of it scales the total.
func (b *spread) report(used, before, began, now float64) {
	if b.limit == 0 {
		return
	}
	b.left, b.told = b.limit-used, now
	switch {
	case began <= b.fixed:
	case before < spreadSample*b.limit:
		if more := used - before*b.seen(); more > spreadSample*b.limit {
			b.foreign(now, more/b.seen())
		}
	default:
		b.samples++
		b.share += (used/before - b.share) * max(1/float64(b.samples), 1.0/32)
		b.total = b.limit * spreadShare / b.seen()
	}
}

// foreign takes in what was spent at unknown moments of the window.
func (b *spread) foreign(now, cost float64) {
	for i := range b.spent {
		b.spent[i] += cost / spreadSlots
	}
	b.sum += cost
	b.fixed = now
}

// refused takes in a throttle: a server has seen its whole limit, unless it has just said
// that a good part of it is left.
func (b *spread) refused(before, now float64) {
	if b.limit == 0 {
		return
	}
	if now-b.told <= spreadFresh && b.left >= spreadLeft*b.limit {
		first := now-b.odd > b.window
		b.odd = now
		if first {
			return
		}
	}
	if before < spreadSample*b.limit {
		b.foreign(now, max(b.limit/b.seen()-b.sum, 0))
		return
	}
	b.floor, b.eased = max(b.floor, b.limit/before), now
	b.retotal()
}

// turn forgets what has left the window.
func (b *spread) turn(now float64) {
	slot := int64(now / b.window * spreadSlots)
	if slot == b.slot {
		return
	}
	if slot-b.slot >= spreadSlots {
		b.spent, b.sum = [spreadSlots]float64{}, 0
	} else {
		for s := b.slot + 1; s <= slot; s++ {
			b.sum -= b.spent[s%spreadSlots]
			b.spent[s%spreadSlots] = 0
		}
	}
	b.sum = max(b.sum, 0)
	b.slot = max(b.slot, slot)
	if b.floor > 0 && now-b.eased > b.window {
		b.floor /= spreadRelief
		if b.samples > 0 && b.floor > 2*b.share {
			b.floor = (b.floor + b.share) / 2
		}
		b.eased = now
		b.retotal()
	}
}

// spend books a cost at the moment at which its request began.
func (b *spread) spend(began, now, cost float64) {
	if b.limit == 0 {
		return
	}
	b.turn(now)
	if slot := int64(began / b.window * spreadSlots); slot > b.slot-spreadSlots {
		b.spent[slot%spreadSlots] += cost
		b.sum += cost
	}
}

// pause is how long the next request waits; pending is what is under way.
func (b *spread) pause(now, pending float64) float64 {
	if b.limit == 0 {
		return 0
	}
	b.turn(now)
	if b.sum+pending < spreadFree*b.total {
		return 0
	}
	rate := b.bearable(now, pending)
	if rate <= 0 {
		return b.window / spreadSlots
	}
	return max(b.last+min(b.owed/rate, b.window)-now, 0)
}

// bearable is the largest even rate such that until each moment to come no more is
// spent than is left now and will have left the window by then. It is worked out anew
// when a slot is over or as much is spent as a slot bears.
func (b *spread) bearable(now, pending float64) float64 {
	used := b.sum + pending
	if b.rateSlot == b.slot && abs(used-b.rateSpent) < b.total/spreadSlots {
		return b.rate
	}
	left := b.total - used
	rate := b.total / b.window
	each := b.window / spreadSlots
	gone := float64(b.slot+1)*each - now // until the oldest slot leaves
	oldest := int((b.slot + 1) % spreadSlots)
	for _, part := range [][]float64{b.spent[oldest:], b.spent[:oldest]} {
		for _, spent := range part {
			if spent > 0 {
				rate = min(rate, left/max(gone, 1e-3))
				left += spent
			}
			gone += each
		}
	}
	b.rate, b.rateSlot, b.rateSpent = rate, b.slot, used
	return rate
}

// sent notes that a request went out that costs so much.
func (b *spread) sent(now, cost, pending float64) {
	if b.limit == 0 {
		return
	}
	if b.sum+pending < spreadFree*b.total {
		b.last, b.owed = now, 0
		return
	}
	due := b.last
	if rate := b.bearable(now, pending); rate > 0 {
		due += min(b.owed/rate, b.window)
	}
	b.last, b.owed = now-min(max(now-due, 0), spreadLate), cost
}

// settled tells whether nothing will change by itself at the pace of the last fifth of
// a window: the window holds as much as five of them, or so little that nothing is
// spread.
func (b *spread) settled(inFifth float64) bool {
	whole := 5 * inFifth
	return b.limit == 0 || max(whole, b.sum) < 0.95*spreadFree*b.total || abs(b.sum-whole) < 0.015*b.total
}

func abs(x float64) float64 { return max(x, -x) }

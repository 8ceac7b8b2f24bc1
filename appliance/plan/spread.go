package plan

// The client's way with the limits, as the simulation has it: it spends two fifths of
// a limit as fast as the server works and the rest at the largest even rate that does
// not meet the limit, so that the service hardly ever refuses. Written from what
// package pace promises, in a clock of its own (seconds since the load began); what the
// service itself does is in meter.
const (
	spreadSlots = 300  // slots of a window
	spreadShare = 0.99 // of a limit is ever spent
	spreadFree  = 0.4  // of it is spent at once
	spreadLate  = 1.0  // seconds that a late request may count back
)

// spread is one budget of a user, of all servers together.
type spread struct {
	limit  float64 // of one server; 0 = none
	total  float64 // that may be spent in a window
	window float64 // seconds
	spent  [spreadSlots]float64
	sum    float64
	slot   int64

	share   float64 // of what is spent that one server sees
	samples int

	last, owed float64 // when the last request went out, and what it costs

	rate      float64 // as of rateSlot, when spentSum was sum
	rateSlot  int64
	rateSpent float64
}

func newSpread(limit float64, servers int, window float64) spread {
	return spread{limit: limit, total: limit * float64(servers) * spreadShare, window: window, rateSlot: -1}
}

// report takes in what a server says that it has counted, when before had been spent:
// what is spent is a guess, and the mean share that a server sees of it scales the total.
func (b *spread) report(used, before float64) {
	if b.limit == 0 || before < 0.1*b.limit {
		return
	}
	b.samples++
	b.share += (used/before - b.share) * max(1/float64(b.samples), 1.0/32)
	b.total = b.limit * spreadShare / max(b.share, 1e-6)
}

// turn forgets what has left the window.
func (b *spread) turn(now float64) {
	slot := int64(now / b.window * spreadSlots)
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

package pace

import "time"

// How the window moves.
const (
	defaultStart = 4
	defaultMax   = 52

	roundShare   = 4                      // a round has so many requests for each of the window
	roundTime    = 250 * time.Millisecond // a round of measuring lasts at least so long
	growthPause  = 5 * time.Second        // no growth after a step that brought nothing, at first
	growthRest   = 5 * time.Minute        // the longest such pause
	doubtTime    = 30 * time.Second       // so long after a step that paid, a smaller size is tried, at first
	doubtRest    = 10 * time.Minute       // the longest such time
	throttleRest = 10 * time.Second       // no growth after a throttle
	lidTime      = 5 * time.Minute        // how long a throttled size is remembered
)

// window is the number of requests that may be in flight, and why it has that size.
//
// It works in rounds. A round ends when four times the window's requests have come
// back. If they were held up by the window, it tries a step of a quarter more, and
// compares the round after with the one before: a step after which each request takes
// longer, and the records per second do not rise by at least half of what the step
// promised, is taken back, and growth pauses. Now and then it tries a quarter less,
// and stays there when the records per second hardly fall. So it ends
// up at the smallest size that brings the throughput, also where a server queues
// silently (dataverse-web-api.md 16: rising latency without a 429). A round ends unjudged
// when nothing is under way, as between two steps of a load.
//
// The estimate simulates it (plan.ramp): a change here belongs there as well.
type window struct {
	size, max, hint int
	most            int // what max may be
	beyondHint      bool
	full            bool // since the round began a request had to wait for the window

	began time.Time // of the round; zero: none
	count int
	work  int
	spent time.Duration // sum of the round's latencies

	before   sample        // the round before the last step; size 0: no step to judge
	pause    time.Duration // the next growth pause
	noGrowth time.Time     // do not grow before
	doubt    time.Duration // until a smaller size is tried
	doubtAt  time.Time     // when that is
	taught   bool          // a throttle has shrunk it: a hint no longer raises it
	lid      int           // not above, until lidUntil: just below where it was throttled
	lidUntil time.Time
}

// sample is what one round measured.
type sample struct {
	size    int
	rate    float64 // records a second
	latency float64 // mean seconds a request
}

func newWindow(o Options) window {
	w := window{size: o.Start, max: o.Max, beyondHint: o.BeyondHint, pause: growthPause, doubt: doubtTime}
	if w.max <= 0 {
		w.max = defaultMax
	}
	if w.size <= 0 {
		w.size = defaultStart
	}
	w.size, w.most = min(w.size, w.max), w.max
	return w
}

// learnHint takes the server's word for the number of parallel requests. Until a
// throttle or growth has taught better, the window goes there at once.
func (w *window) learnHint(hint int) {
	if hint <= 0 || hint == w.hint {
		return
	}
	first := w.hint == 0
	w.hint = hint
	size := w.size
	if first && !w.taught {
		w.size = max(w.size, min(hint, w.max))
	}
	w.size = min(w.size, w.ceiling(time.Time{}))
	if w.size != size {
		w.before = sample{}
		w.restart()
	}
}

// ceiling is the largest size now allowed.
func (w *window) ceiling(now time.Time) int {
	c := w.max
	if w.hint > 0 && !w.beyondHint {
		c = min(c, w.hint)
	}
	if now.Before(w.lidUntil) {
		c = min(c, w.lid)
	}
	return max(c, 1)
}

// throttled shrinks the window; inFlight is how many were under way, limit how many
// one server takes at once (0: not said).
func (w *window) throttled(now time.Time, inFlight, limit int) {
	at := min(w.size, inFlight)
	w.lid, w.lidUntil = max(at-1, 1), now.Add(lidTime)
	w.size = min(max(at*7/10, limit-1, 1), w.lid)
	w.taught = true
	w.noGrowth = now.Add(throttleRest)
	w.before = sample{}
}

// restart drops the running round.
func (w *window) restart() {
	w.began, w.count, w.work, w.spent, w.full = time.Time{}, 0, 0, 0, false
}

// idle says that nothing is under way: what is measured next is other work, or the same
// after a break, and cannot be compared with what was measured before. A smaller size
// that was on trial is given up.
func (w *window) idle(now time.Time) {
	if w.before.size > w.size {
		w.size = min(w.before.size, w.ceiling(now))
	}
	w.before = sample{}
	w.restart()
}

// done takes in one answered request and ends the round when it is due.
func (w *window) done(now time.Time, took time.Duration, o Outcome) {
	if w.began.IsZero() {
		w.began = now.Add(-took)
	}
	w.count++
	w.work += max(o.Work, 1)
	w.spent += took
	most := roundShare * w.size
	if w.before.size > w.size { // a small loss is looked for
		most *= 3
	}
	if w.count < most || now.Sub(w.began) < roundTime {
		return
	}
	s := sample{
		size:    w.size,
		rate:    float64(w.work) / now.Sub(w.began).Seconds(),
		latency: w.spent.Seconds() / float64(w.count),
	}
	full := w.full
	w.restart()
	w.judge(now, s, full)
}

// judge compares a round with the one before the last step, and steps.
func (w *window) judge(now time.Time, s sample, full bool) {
	b := w.before
	w.before = sample{}
	switch {
	case b.size == 0:
	case b.size < s.size:
		promised := float64(s.size)/float64(b.size) - 1
		slower := s.latency > b.latency*(1+promised/2)
		gained := s.rate > b.rate*(1+promised/2)
		if slower && !gained {
			w.size = b.size
			w.rest(now)
			return
		}
		w.pause = growthPause
		w.doubt, w.doubtAt = doubtTime, now.Add(doubtTime)
	case b.size > s.size:
		feared := 1 - float64(s.size)/float64(b.size)
		if s.rate < b.rate*(1-feared/10) {
			w.size = min(b.size, w.ceiling(now))
			w.doubt = min(2*w.doubt, doubtRest)
			w.doubtAt = now.Add(w.doubt)
			return
		}
		w.rest(now)
		w.doubt, w.doubtAt = doubtTime, now // the less the better: go on
	}
	if w.doubtAt.IsZero() {
		w.doubtAt = now.Add(w.doubt)
	}
	switch next := min(w.size+1+w.size/4, w.ceiling(now)); {
	case !full:
	case !now.Before(w.doubtAt) && w.size > 1:
		w.before = s
		w.size -= 1 + (w.size-1)/4
	case !now.Before(w.noGrowth) && next > w.size:
		w.before = s
		w.size = next
	}
}

// rest stops growth for a while, longer each time that it brought nothing.
func (w *window) rest(now time.Time) {
	w.noGrowth = now.Add(w.pause)
	w.pause = min(2*w.pause, growthRest)
}

package pace

import "time"

// How the window moves.
const (
	defaultStart = 4
	defaultMax   = 52

	roundShare   = 3                      // a round has so many requests for each of the window
	roundTime    = 250 * time.Millisecond // a round of measuring lasts at least so long
	growthPause  = 5 * time.Second        // no growth after a step that brought nothing, at first
	growthRest   = 5 * time.Minute        // the longest such pause
	throttleRest = 10 * time.Second       // no growth after a throttle
	lidTime      = 5 * time.Minute        // how long a throttled size is remembered
	timeScarce   = 0.05                   // of the execution time left: stop growing
)

// window is the number of requests that may be in flight, and why it has that size.
//
// It works in rounds. A round ends when three times the window's requests have
// come back; if they were held up by the window, it tries a step more, and compares
// the round after with the one before: a step after which each request takes
// longer, and the records per second do not rise by at least a quarter of what the
// step promised, is taken back, and growth pauses. That is the silent queueing of
// dataverse-web-api.md 16: rising latency without a 429.
type window struct {
	size, max, hint int
	beyondHint      bool
	full            bool // since the round began a request had to wait for the window

	began time.Time // of the round; zero: none
	count int
	work  int
	spent time.Duration // sum of the round's latencies

	before   sample        // the round before the last step; size 0: no step to judge
	pause    time.Duration // the next growth pause
	noGrowth time.Time     // do not grow before
	taught   bool          // a throttle has shrunk it: a hint no longer raises it
	lid      int           // not above, until lidUntil: just below where it was throttled
	lidUntil time.Time
	mostTime time.Duration // the largest TimeLeft ever seen, taken as the limit
}

// sample is what one round measured.
type sample struct {
	size    int
	rate    float64 // records a second
	latency float64 // mean seconds a request
}

func newWindow(o Options) window {
	w := window{size: o.Start, max: o.Max, beyondHint: o.BeyondHint, pause: growthPause}
	if w.max <= 0 {
		w.max = defaultMax
	}
	if w.size <= 0 {
		w.size = defaultStart
	}
	w.size = min(w.size, w.max)
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

// throttled shrinks the window; inFlight is how many were under way.
func (w *window) throttled(now time.Time, inFlight int) {
	at := min(w.size, inFlight)
	w.lid, w.lidUntil = max(at-1, 1), now.Add(lidTime)
	w.size = max(at*7/10, 1)
	w.taught = true
	w.noGrowth = now.Add(throttleRest)
	w.before = sample{}
}

// restart drops the running round.
func (w *window) restart() {
	w.began, w.count, w.work, w.spent, w.full = time.Time{}, 0, 0, 0, false
}

// done takes in one answered request and ends the round when it is due.
func (w *window) done(now time.Time, took time.Duration, o Outcome) {
	if o.HasLeft {
		w.mostTime = max(w.mostTime, o.TimeLeft)
		if float64(o.TimeLeft) < timeScarce*float64(w.mostTime) {
			w.noGrowth = now.Add(throttleRest)
		}
	}
	if w.began.IsZero() {
		w.began = now.Add(-took)
	}
	w.count++
	w.work += max(o.Work, 1)
	w.spent += took
	if w.count < roundShare*w.size || now.Sub(w.began) < roundTime {
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
	if b := w.before; b.size > 0 && b.size < s.size {
		promised := float64(s.size)/float64(b.size) - 1
		slower := s.latency > b.latency*(1+promised/2)
		gained := s.rate > b.rate*(1+promised/4)
		w.before = sample{}
		if slower && !gained {
			w.size = b.size
			w.noGrowth = now.Add(w.pause)
			w.pause = min(2*w.pause, growthRest)
			return
		}
		w.pause = growthPause
	}
	if !full || now.Before(w.noGrowth) {
		return
	}
	if next := min(w.size+1+w.size/8, w.ceiling(now)); next > w.size {
		w.before = s
		w.size = next
	}
}

package progress

import "time"

// The spans of the sliding window, and how long nothing is said of the time left.
const (
	rateSpan = 60 * time.Second
	leftSpan = 300 * time.Second
	warmUp   = 15 * time.Second
)

// window counts records by the second, for the last five minutes.
type window struct {
	since  time.Duration // measured from here
	newest int64         // second of the newest slot
	slots  [int(leftSpan / time.Second)]int64
}

// advance makes sec the newest slot and empties those in between.
func (w *window) advance(sec int64) {
	size := int64(len(w.slots))
	if sec-w.newest >= size {
		clear(w.slots[:])
		w.newest = sec
	}
	for w.newest < sec {
		w.newest++
		w.slots[w.newest%size] = 0
	}
}

func (w *window) add(now time.Duration, n int64) {
	sec := int64(now / time.Second)
	w.advance(sec)
	w.slots[w.newest%int64(len(w.slots))] += n
}

// sum returns the records of the last seconds of a span: the second that runs, and the
// whole ones before it.
func (w *window) sum(now, span time.Duration) int64 {
	w.advance(int64(now / time.Second))
	var total int64
	for i := range min(int64(span/time.Second), w.newest+1) {
		total += w.slots[(w.newest-i)%int64(len(w.slots))]
	}
	return total
}

// covered returns the time that sum speaks of, at least a second: what has been measured
// since, or the whole seconds of the span and the running one's part.
func covered(since, now, span time.Duration) time.Duration {
	return max(time.Second, min(now-since, span-time.Second+now%time.Second))
}

// perSecond returns a rate; 0 for no time.
func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// throttle adds up waits; those that overlap count once.
type throttle struct{ until, total time.Duration }

func (t *throttle) add(now, wait time.Duration) {
	if end := now + wait; end > t.until {
		t.total += end - max(now, t.until)
		t.until = end
	}
}

// at returns how long has been waited up to now, and how long is still to wait.
func (t *throttle) at(now time.Duration) (spent, left time.Duration) {
	left = max(0, t.until-now)
	return t.total - left, left
}

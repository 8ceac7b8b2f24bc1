package load

import (
	"math"
	"sync"

	"dvmigrate/appliance/dataverse"
)

const (
	// hopeless is from what share of refused requests on there is no use in sending in
	// bulk first.
	hopeless = 0.75
	// hopeEvery is how often bulk is tried then, to see whether it goes better.
	hopeEvery = 8
)

// mostRefused reports whether a bulk request is not worth its try: nearly all are
// refused for one of their rows.
func (w *work) mostRefused() bool {
	return w.refused.of() > hopeless && w.hopes.Add(1)%hopeEvery != 0
}

// first takes in how the first try of a job in bulk went.
func (w *work) first(err error) {
	switch dataverse.KindOf(err) {
	case dataverse.RowFault, dataverse.NotFound:
		w.refused.note(0, 1)
	case 0:
		w.refused.note(1, 0)
	}
}

// badShare is a running share of what is refused: of rows by themselves, or of requests.
type badShare struct {
	mu    sync.Mutex
	known bool
	share float64
}

// note takes in what came of one job.
func (b *badShare) note(done, failed int64) {
	if done+failed == 0 {
		return
	}
	now := float64(failed) / float64(done+failed)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		b.share, b.known = now, true
	}
	b.share += (now - b.share) / 4
}

// of is the share so far.
func (b *badShare) of() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.share
}

// expected is how many rows of a refused request of n are guilty, by the share so far:
// one at least.
func (b *badShare) expected(n int) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.share <= 0 {
		return 1
	}
	refused := 1 - math.Pow(1-min(b.share, 1), float64(n))
	return max(b.share*float64(n)/max(refused, 1e-9), 1)
}

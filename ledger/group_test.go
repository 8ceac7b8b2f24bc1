package ledger

import (
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestCommitTakesThoseOfTheLastOne: with many batches in flight, a commit takes the next step of all
// that the one before answered, and not of a half of them.
func TestCommitTakesThoseOfTheLastOne(t *testing.T) {
	const workers, rounds = 32, 20
	// One processor and, in the bubble, a clock that stands still while anybody can run, so that the
	// count is no matter of speed. A disk that is slow at the wrong moment may split a group still, hence
	// the best of three; half groups take more than 75 commits every time.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	best := int64(workers * rounds)
	for range 3 {
		synctest.Test(t, func(t *testing.T) { best = min(best, commitsOf(t, workers, rounds)) })
	}
	if best > 60 {
		t.Errorf("%d commits for %d steps of %d batches in flight: a commit took %d on average", best, 2*rounds, workers, 2*rounds*workers/best)
	}
}

// commitsOf is how many commits it takes that each of some workers claims and settles so many batches.
func commitsOf(t *testing.T, workers, rounds int) int64 {
	const size = 50
	ctx, count := t.Context(), uint32(workers*rounds*size)
	var commits atomic.Int64
	l := openTest(t, filepath.Join(t.TempDir(), "ledger.bolt"), Options{fault: func(when faultTime) error {
		if when == afterCommit {
			commits.Add(1)
		}
		return nil
	}})
	must(t, l.Define(ctx, Table{Name: "account", Number: 1, Count: count}))
	must(t, l.Plan(ctx, "account", []Planned{{Range{0, count}, Insert}}))
	commits.Store(0)
	var next atomic.Uint32
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				to := next.Add(size)
				r := Range{to - size, to}
				if err := l.Claim(ctx, "account", Main, []Range{r}); err != nil {
					t.Error(err)
				}
				if err := l.Settle(ctx, "account", []Outcome{{Range: r, Result: ResultSuccess}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	return commits.Load()
}

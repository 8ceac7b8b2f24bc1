package ledger

import (
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestCommitTakesThoseOfTheLastOne: with many batches in flight, a commit takes the next step of all
// that the one before answered, and not of a half of them.
func TestCommitTakesThoseOfTheLastOne(t *testing.T) {
	const workers, rounds = 32, 20
	// One processor and, in the bubble, a clock that stands still while anybody can run: a commit lasts until all
	// that can ask for the next have done so, whatever the disk. Half groups take more than 75 commits.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		if n := commitsOf(t, workers, rounds); n > 60 {
			t.Errorf("%d commits for %d steps of %d batches in flight: a commit took %d on average", n, 2*rounds, workers, 2*rounds*workers/int(n))
		}
	})
}

// commitsOf is how many commits it takes that each of some workers claims and settles so many batches.
func commitsOf(t *testing.T, workers, rounds int) int64 {
	const size = 50
	ctx, count := t.Context(), uint32(workers*rounds*size)
	var commits atomic.Int64
	l := openTest(t, filepath.Join(t.TempDir(), "ledger.bolt"), Options{fault: func(when faultTime) error {
		if when == afterCommit {
			time.Sleep(time.Millisecond)
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

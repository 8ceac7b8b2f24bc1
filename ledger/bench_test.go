package ledger

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkClaimSettle measures durable transitions: 32 workers claim and settle batches, one record in
// 200 fails with a text. A transition is one record changing state; each makes two.
func BenchmarkClaimSettle(b *testing.B) {
	for _, size := range []uint32{100, 1000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			const workers = 32
			ctx, l := b.Context(), newTest(b, 1<<31)
			var next atomic.Uint32
			b.ResetTimer()
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for {
						n := next.Add(1) - 1
						if int(n) >= b.N {
							return
						}
						r := Range{n * size, (n + 1) * size}
						if err := l.Claim(ctx, "account", Main, []Range{r}); err != nil {
							b.Error(err)
						}
						out := []Outcome{{Range: r, Result: ResultSuccess}}
						if n%(200/min(size, 200)) == 0 {
							bad := r.From + n%size
							out = []Outcome{
								{Range: One(bad), Result: ResultFailed, Reason: Reason{Class: 1, HTTP: 400, Text: fmt.Sprintf("Contact With Id = %08x-d9cb-469f-a165-70867728950e Does Not Exist", n)}},
								{Range: Range{bad + 1, r.To}, Result: ResultSuccess}}
							if bad > r.From {
								out = append(out, Outcome{Range: Range{r.From, bad}, Result: ResultSuccess})
							}
							if bad+1 == r.To {
								out = append(out[:1], out[2:]...)
							}
						}
						if err := l.Settle(ctx, "account", out); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(2*float64(size)*float64(b.N)/b.Elapsed().Seconds(), "transitions/s")
		})
	}
}

// BenchmarkOpen measures opening a ledger of 10 million records of which one in 200 failed.
func BenchmarkOpen(b *testing.B) {
	const n = 10_000_000
	ctx, l := b.Context(), newTest(b, n)
	for from := uint32(0); from < n; from += 100_000 {
		must(b, l.Claim(ctx, "account", Main, []Range{{from, from + 100_000}}))
		var out []Outcome
		for seq := from; seq < from+100_000; seq += 200 {
			out = append(out,
				Outcome{Range: One(seq), Result: ResultFailed, Reason: Reason{Class: 1, Text: fmt.Sprintf("Contact With Id = %08x-d9cb-469f-a165-70867728950e Does Not Exist", seq)}},
				Outcome{Range: Range{seq + 1, seq + 200}, Result: ResultSuccess})
		}
		must(b, l.Settle(ctx, "account", out))
	}
	tx, err := l.db.Begin(false)
	must(b, err)
	size := tx.Size()
	must(b, tx.Rollback())
	must(b, l.Close())
	for _, c := range []struct {
		name string
		open func() error
	}{
		{"clean", func() error { l, err := Open(ctx, l.path, Options{}); must(b, err); return l.Close() }},
		{"whole", func() error { return Check(ctx, l.path) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				must(b, c.open())
			}
			b.ReportMetric(float64(size), "file-bytes")
		})
	}
	l = openTest(b, filepath.Clean(l.path), Options{})
	b.Run("next", func(b *testing.B) {
		for b.Loop() {
			l.Next("account", Main, 0, 1000)
			l.Counts("account")
		}
	})
	b.Run("spans", func(b *testing.B) {
		for b.Loop() {
			for range l.Spans("account", 0) {
			}
		}
	})
}

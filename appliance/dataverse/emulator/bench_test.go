package emulator

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
)

// BenchmarkCreateMultiple measures the handler alone, without the network: 500
// accounts of twelve columns a request.
func BenchmarkCreateMultiple(b *testing.B) {
	for _, mode := range []struct {
		name    string
		discard bool
	}{{"stored", false}, {"discarded", true}} {
		b.Run(mode.name, func(b *testing.B) {
			const rows = 500
			srv, err := New(Options{Schema: world(b), Discard: mode.discard})
			if err != nil {
				b.Fatal(err)
			}
			defer srv.Close()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			n := 0
			for b.Loop() {
				b.StopTimer()
				body := bulkBody(n*rows, rows)
				n++
				req := httptest.NewRequest(http.MethodPost, "/api/data/v9.2/accounts/Microsoft.Dynamics.CRM.CreateMultiple", bytes.NewReader(body))
				req.Header.Set("Authorization", "Bearer t")
				req.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				b.StartTimer()
				srv.ServeHTTP(w, req)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body.String())
				}
			}
			b.ReportMetric(float64(n*rows)/b.Elapsed().Seconds(), "rows/s")
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n*rows), "heap-B/row")
			runtime.KeepAlive(srv)
		})
	}
}

// BenchmarkLoopback measures the way of 500 accounts of twelve columns a request over
// TCP, with limits counted and four connections; the client is in the same process.
func BenchmarkLoopback(b *testing.B) {
	const rows = 500
	e := start(b, func(o *Options) { o.Limits = Limits{Requests: 1 << 30, Execution: 1 << 60, Concurrency: 100} })
	bodies := make([][]byte, b.N)
	for i := range bodies {
		bodies[i] = bulkBody(i*rows, rows)
	}
	jobs := make(chan []byte, b.N)
	for _, body := range bodies {
		jobs <- body
	}
	close(jobs)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for body := range jobs {
				if a := e.do("POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", string(body)); a.status != http.StatusOK {
					b.Error(a.body)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}

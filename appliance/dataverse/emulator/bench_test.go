package emulator

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"runtime"
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

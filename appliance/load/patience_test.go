package load_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// away lets every request meet a gateway's page for so long from the first on whose
// path holds a text.
func away(path string, d time.Duration, met *atomic.Int64) setting {
	return func(w *world, _ *emulator.Options) {
		var from atomic.Pointer[time.Time]
		w.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, path) {
					now := time.Now()
					from.CompareAndSwap(nil, &now)
				}
				if t := from.Load(); t != nil && time.Since(*t) < d {
					met.Add(1)
					io.Copy(io.Discard, r.Body)
					rw.Header().Set("Content-Type", "text/html")
					rw.WriteHeader(http.StatusServiceUnavailable)
					io.WriteString(rw, "<html><head><title>503 Service Unavailable</title></head></html>")
					return
				}
				h.ServeHTTP(rw, r)
			})
		}
	}
}

// TestServiceAway: a target that is not there for ten minutes delays a load and ends
// nothing, whatever was under way, and is not hammered.
func TestServiceAway(t *testing.T) {
	for _, path := range []string{"contacts/Microsoft.Dynamics.CRM.CreateMultiple", "UpdateMultiple", "$batch"} {
		story(t, path, func(t *testing.T) {
			var met atomic.Int64
			w := newWorld(t, 200, settings(load.Settings{Batch: 20}), away(path, 10*time.Minute, &met))
			if _, err := w.client.WhoAmI(t.Context()); err != nil { // as every load begins
				t.Fatal(err)
			}
			began := time.Now()
			w.mustRun()
			w.wantLoaded()
			if took := time.Since(began); took < 10*time.Minute || took > 12*time.Minute {
				t.Errorf("took %v", took)
			}
			if n := met.Load(); n == 0 || n > 60 {
				t.Errorf("%d requests met the page in ten minutes", n)
			}
			for _, name := range tableNames {
				if f := w.reasons(name); len(f) > 0 {
					t.Errorf("%s: failed are %v", name, f)
				}
			}
		})
	}
}

// TestDrainWhileHeld: a load that is asked to stop while the service has it wait does
// so at once, with nothing in flight.
func TestDrainWhileHeld(t *testing.T) {
	for _, kind := range []emulator.FaultKind{emulator.FaultExecution, emulator.FaultConcurrency, emulator.FaultGateway503, emulator.FaultDeadlock} {
		story(t, string(kind), func(t *testing.T) {
			w := newWorld(t, 300, settings(load.Settings{Batch: 10}), func(_ *world, o *emulator.Options) { o.Latency = 100 * time.Millisecond })
			drain, stop := context.WithCancel(context.Background())
			defer stop()
			w.notes.sent = after0(10, func() {
				w.server.Order(emulator.Fault{Kind: kind, RetryAfter: 290})
				time.AfterFunc(3*time.Second, stop)
			})
			began := time.Now()
			if err := w.loader().Run(context.Background(), drain); !errors.Is(err, load.ErrDrained) {
				t.Fatalf("load: %v, want it drained", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v to stop", took)
			}
			if n := w.inFlight(); n > 0 && kind != emulator.FaultGateway503 { // whose answer is lost, and nobody says
				t.Errorf("%d records are left in flight", n)
			}
			w.server.ClearFaults()
			time.Sleep(5 * time.Minute)
			w.reopen()
			w.mustRun()
			w.wantLoaded()
			if s := w.server.Stats(); s.Duplicates != 0 || w.flags("account")[ledger.Failed.String()] > 0 {
				t.Errorf("%d duplicates refused, account is %v", s.Duplicates, w.flags("account"))
			}
		})
	}
}

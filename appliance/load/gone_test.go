package load_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// planGone plans the deletion of every record, as if no row were supplied any more.
func (w *world) planGone(tables ...string) {
	w.t.Helper()
	for _, name := range tables {
		if err := w.ledger.Plan(context.Background(), name, []ledger.Planned{{Range: ledger.Range{To: uint32(w.stage.tables[name].count)}, Action: ledger.Delete}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) wantAllGone() {
	w.t.Helper()
	for _, name := range tableNames {
		if t := w.tables[name]; t.Link != nil {
			if n := w.server.Stats().Links[t.Link.SchemaName]; n > 0 {
				w.t.Errorf("%s: %d links are left", name, n)
			}
		} else if n := len(w.export(name)); n > 0 {
			w.t.Errorf("%s: %d records are left", name, n)
		}
		w.wantFlags(name, map[string]int{"P": w.stage.tables[name].count})
	}
}

// TestDeletes deletes everything, children first, and lets the first, the second, ...
// operation fail. No DELETE is sent twice for a record that is gone: the target would say
// that it does not exist.
func TestDeletes(t *testing.T) {
	for _, kind := range []emulator.FaultKind{"", emulator.FaultResetAfter, emulator.FaultCut, emulator.FaultLost502, emulator.FaultDeadlock, emulator.FaultRequests} {
		t.Run("fault "+string(kind), func(t *testing.T) {
			t.Parallel()
			for n, struck := 1, true; struck; n++ {
				synctest.Test(t, func(t *testing.T) {
					var deletes atomic.Int64
					w := newWorld(t, 8, settings(load.Settings{Batch: 4, Parallel: 2, Gone: load.GoneDelete}), func(w *world, _ *emulator.Options) {
						w.wrap = func(h http.Handler) http.Handler {
							return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
								body, _ := io.ReadAll(r.Body)
								r.Body = io.NopCloser(bytes.NewReader(body))
								deletes.Add(int64(bytes.Count(body, []byte("\nDELETE ")) - bytes.Count(body, []byte("$ref HTTP"))))
								h.ServeHTTP(out, r)
							})
						}
					})
					w.mustRun()
					w.planGone(tableNames...)
					before := w.server.Stats()
					deletes.Store(0)
					if kind != "" {
						w.server.Order(emulator.Fault{Kind: kind, Nth: n, RetryAfter: 3})
					}
					for runs, err := 0, errors.New("not yet"); err != nil && runs < 3; runs++ {
						if err = w.run(); err != nil {
							t.Logf("call %d: %v", n, err)
							w.reopen()
						}
					}
					w.wantAllGone()
					s := w.server.Stats()
					if n := deletes.Load(); n != int64(w.total()-w.won()) && kind != emulator.FaultDeadlock && kind != emulator.FaultRequests {
						t.Errorf("%d deletions sent, want %d", n, w.total()-w.won())
					}
					struck = kind != "" && s.Faults[kind] > before.Faults[kind]
				})
				if t.Failed() || n > 100 {
					t.Fatalf("stopped at call %d", n)
				}
			}
		})
	}
}

// TestDeletesStoppedAtOnce: what was being deleted when a load was killed is read first.
func TestDeletesStoppedAtOnce(t *testing.T) {
	t.Parallel()
	for after := range 4 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 24, settings(load.Settings{Batch: 10, Gone: load.GoneDelete}), func(_ *world, o *emulator.Options) { o.Latency = 100 * time.Millisecond })
			w.mustRun()
			w.planGone(tableNames...)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			w.notes.sent = after0(after, func() { time.AfterFunc(50*time.Millisecond, stop) })
			if err := w.loader().Run(ctx, ctx); err == nil || w.inFlight() == 0 {
				t.Fatalf("load: %v with %d in flight", err, w.inFlight())
			}
			w.reopen()
			w.mustRun()
			w.wantAllGone()
		})
	}
}

// TestDeletesThatAreRefused: a record that others point to stays, with that reason; without
// the policy nothing is deleted.
func TestDeletesThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8, settings(load.Settings{Batch: 4}))
		w.mustRun()
		w.planGone("product")
		w.mustRun()
		if w.entry("product", 1).Flag != ledger.Unprocessed || len(w.export("product")) != 2 || !w.notes.has("wait to be deleted") {
			t.Errorf("without a policy: %v, %v", w.entry("product", 1), w.notes.texts)
		}
		settings(load.Settings{Batch: 4, Gone: load.GoneDelete})(w, nil)
		w.server.Order(emulator.Fault{Kind: emulator.FaultForbidden, Message: "Delete", Table: "product", Nth: 1})
		if err := w.run(); err == nil {
			t.Error("a missing privilege did not stop the load")
		}
		w.server.ClearFaults()
		w.mustRun()
		if len(w.export("product")) != 0 {
			t.Error("products are left")
		}
	})
}

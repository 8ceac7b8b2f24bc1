package load_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
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

// changedSchema is the sample's with a change, for the emulator and for the client's table.
func changedSchema(w *world, o *emulator.Options, table string, change func(*schema.Table)) {
	s, err := readSchema()
	if err != nil {
		w.t.Fatal(err)
	}
	change(s.Table(table))
	o.Schema, w.tables[table].Schema = s, s.Table(table)
}

// TestDeletesOfAssociatedRecords: what others point to, where the relationship restricts
// it, stays with that reason and costs the rest of its request nothing.
func TestDeletesOfAssociatedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 24, settings(load.Settings{Batch: 10, Gone: load.GoneDelete}), func(w *world, o *emulator.Options) {
			changedSchema(w, o, "contact", func(t *schema.Table) {
				for i, r := range t.ManyToOne {
					if r.Column == "parentcustomerid" && r.Target == "account" {
						t.ManyToOne[i].Cascade = map[string]string{"Delete": "Restrict"}
					}
				}
			})
		})
		w.mustRun()
		parents := map[string]bool{}
		for _, row := range w.export("contact") {
			parents[fmt.Sprint(row["_parentcustomerid_value"])] = true
		}
		w.planGone("account")
		w.mustRun()
		left, reasons, refused := w.export("account"), w.reasons("account"), 0
		for seq := range w.stage.tables["account"].count {
			if parents[guid("account", seq)] {
				refused++
				if f := reasons[seq]; left[guid("account", seq)] == nil || w.entry("account", seq).Flag != ledger.Failed || load.Class(f.Reason.Class) != load.ClassAssociated {
					t.Errorf("account %d, which a contact points to: %v, %v", seq, w.entry("account", seq), f)
				}
			} else if left[guid("account", seq)] != nil || w.entry("account", seq).Flag != ledger.Processed {
				t.Errorf("account %d, which none points to: %v", seq, w.entry("account", seq))
			}
		}
		if refused == 0 || refused == w.stage.tables["account"].count {
			t.Errorf("%d accounts have contacts: the test proves nothing", refused)
		}
	})
}

// TestDeletesFromAnElasticTable: they go by DeleteMultiple, whose answer names the records
// that were not deleted; whatever happens to it, all are gone in the end.
func TestDeletesFromAnElasticTable(t *testing.T) {
	for _, kind := range []emulator.FaultKind{"", emulator.FaultResetAfter, emulator.FaultResetBefore, emulator.FaultLost502, emulator.FaultRequests, emulator.FaultRow429} {
		t.Run("fault "+string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 48, settings(load.Settings{Batch: 5, Parallel: 2, Gone: load.GoneDelete}), func(w *world, o *emulator.Options) {
					changedSchema(w, o, "product", func(t *schema.Table) {
						t.Kind = schema.Elastic
						t.Columns = append(t.Columns, &schema.Column{LogicalName: "partitionid", Type: schema.Text, MaxLength: 100})
					})
				})
				w.mustRun()
				w.planGone("product")
				w.server.Reset()
				if kind != "" {
					w.server.Order(emulator.Fault{Kind: kind, Nth: 2, Message: "DeleteMultiple", RetryAfter: 3})
				}
				w.mustRun()
				w.wantFlags("product", map[string]int{"P": w.stage.tables["product"].count})
				s := w.server.Stats()
				if n := len(w.export("product")); n > 0 || s.Requests["DeleteMultiple"] == 0 {
					t.Errorf("%d products are left after %d DeleteMultiple", n, s.Requests["DeleteMultiple"])
				}
				if kind != "" && s.Faults[kind] != 1 {
					t.Errorf("the fault struck %d times, want once", s.Faults[kind])
				}
			})
		})
	}
}

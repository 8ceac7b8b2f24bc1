package load_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// TestFaultAtEveryCall lets the first, the second, ... operation fail until a load goes
// through without meeting the fault. Each time the load has to end with every row in the
// target once, if need be by running again; and nothing is ever sent blindly: no record
// is refused as a duplicate.
func TestFaultAtEveryCall(t *testing.T) {
	for _, kind := range []emulator.FaultKind{emulator.FaultResetAfter, emulator.FaultCut, emulator.FaultLost502,
		emulator.FaultResetBefore, emulator.FaultDeadlock, emulator.FaultSQLTimeout, emulator.FaultRequests, emulator.FaultExpired} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			for n, struck := 1, true; struck; n++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 8, settings(load.Settings{Batch: 4, Parallel: 2}), faults(emulator.Fault{Kind: kind, Nth: n, RetryAfter: 3}))
					runs := 0
					for err := errors.New("not yet"); err != nil && runs < 3; runs++ {
						if err = w.run(); err != nil {
							t.Logf("call %d, run %d: %v", n, runs, err)
							w.reopen()
						}
					}
					w.wantLoaded()
					s := w.server.Stats()
					if s.Created != int64(w.total()) || s.Duplicates > 0 {
						t.Errorf("call %d: %d records created and %d refused as duplicates, want %d and none", n, s.Created, s.Duplicates, w.total())
					}
					for _, name := range tableNames {
						if f := w.reasons(name); len(f) > 0 {
							t.Errorf("call %d: failed are %v", n, f)
						}
					}
					if runs > 1 {
						t.Errorf("call %d: it took %d runs", n, runs)
					}
					struck = s.Faults[kind] > 0
				})
				if t.Failed() || n > 500 {
					t.Fatalf("stopped at call %d", n)
				}
			}
		})
	}
}

// TestStorms strikes at whole requests, again and again.
func TestStorms(t *testing.T) {
	for _, f := range []emulator.Fault{
		{Kind: emulator.FaultExecution, Every: 3, RetryAfter: 7},
		{Kind: emulator.FaultRequests, Probability: 0.4, Seed: 1},
		{Kind: emulator.FaultConcurrency, Every: 2},
		{Kind: emulator.FaultGateway503, Every: 4},
		{Kind: emulator.FaultLost504, Probability: 0.25, Seed: 5},
		{Kind: emulator.FaultCut, Every: 2},
		{Kind: emulator.FaultDeadlock, Every: 3},
		{Kind: emulator.FaultSQLTimeout, Every: 5},
		{Kind: emulator.FaultResetAfter, Every: 3},
	} {
		story(t, string(f.Kind), func(t *testing.T) {
			all := []emulator.Fault{f, f, f, f}
			all[0].Message, all[1].Message, all[2].Message, all[3].Message = "CreateMultiple", "UpdateMultiple", "ExecuteBatch", "RetrieveMultiple"
			w := newWorld(t, 120, faults(all...), settings(load.Settings{Batch: 10}))
			w.mustRun()
			w.wantLoaded()
			s := w.server.Stats()
			if s.Faults[f.Kind] < 5 {
				t.Errorf("the fault struck %d times: no storm", s.Faults[f.Kind])
			}
			if s.Created != int64(w.total()) {
				t.Errorf("%d records created, want %d", s.Created, w.total())
			}
			throttled := f.Kind == emulator.FaultExecution || f.Kind == emulator.FaultRequests || f.Kind == emulator.FaultConcurrency
			for seq := range w.stage.tables["contact"].count {
				if e := w.entry("contact", seq); throttled && e.Attempts != 2 { // the insert and the deferred lookup
					t.Fatalf("contact %d has %d attempts: a throttle is none", seq, e.Attempts)
				}
			}
		})
	}
}

func TestExpiredTokenLeavesNothingInFlight(t *testing.T) {
	t.Parallel()
	for after := range 8 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 60, settings(load.Settings{Batch: 10}))
			w.notes.sent = after0(after, func() { w.server.Order(emulator.Fault{Kind: emulator.FaultExpired}) })
			if err := w.run(); dataverse.KindOf(err) != dataverse.SignIn {
				t.Fatalf("load: %v, want it stopped for the sign-in", err)
			}
			if n := w.inFlight(); n > 0 {
				t.Errorf("after %d requests: %d records are left in flight", after, n)
			}
			w.server.ClearFaults()
			w.mustRun()
			w.wantLoaded()
		})
	}
}

// after0 runs fn once, at the call after n others. The watcher calls from many goroutines,
// under no lock.
func after0(n int, fn func()) func() {
	calls := make(chan struct{}, n)
	done := make(chan struct{}, 1)
	return func() {
		select {
		case calls <- struct{}{}:
		default:
			select {
			case done <- struct{}{}:
				fn()
			default:
			}
		}
	}
}

func TestDrainSettlesAndGoesOn(t *testing.T) {
	t.Parallel()
	for after := range 8 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 60, settings(load.Settings{Batch: 10}), func(_ *world, o *emulator.Options) { o.Latency = 100 * time.Millisecond })
			drain, stop := context.WithCancel(context.Background())
			defer stop()
			w.notes.sent = after0(after, stop)
			if err := w.loader().Run(context.Background(), drain); !errors.Is(err, load.ErrDrained) {
				t.Fatalf("load: %v, want it drained", err)
			}
			if n := w.inFlight(); n > 0 {
				t.Errorf("%d records are left in flight", n)
			}
			begun := w.server.Stats().Created
			if begun == int64(w.total()) && after < 5 {
				t.Error("nothing was left to do")
			}
			w.reopen()
			w.mustRun()
			w.wantLoaded()
			if s := w.server.Stats(); s.Duplicates != 0 || s.Created != int64(w.total()) {
				t.Errorf("%d records created and %d duplicates refused", s.Created, s.Duplicates)
			}
		})
	}
}

func TestStoppedAtOnceIsLookedUp(t *testing.T) {
	t.Parallel()
	found := 0
	for after := range 8 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 60, settings(load.Settings{Batch: 10}), func(_ *world, o *emulator.Options) { o.Latency = 100 * time.Millisecond })
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			w.notes.sent = after0(after, func() { time.AfterFunc(50*time.Millisecond, stop) }) // amid the next requests
			if err := w.loader().Run(ctx, ctx); err == nil {
				t.Fatal("a load that was stopped says that it is done")
			}
			found += w.inFlight()
			w.reopen()
			w.mustRun()
			w.wantLoaded()
			if s := w.server.Stats(); s.Duplicates != 0 || s.Created != int64(w.total()) {
				t.Errorf("%d records created and %d duplicates refused", s.Created, s.Duplicates)
			}
		})
	}
	if found == 0 {
		t.Error("no stop left anything in flight: the test proves nothing")
	}
}

// TestRestoredLedgerLoadsNothingTwice takes a snapshot of the ledger at some request,
// lets the load go to its end, puts the snapshot back and loads again: after a loss of
// the disk the target is ahead of the ledger, up to records that are closed by now.
func TestRestoredLedgerLoadsNothingTwice(t *testing.T) {
	t.Parallel()
	for after := 0; after < 30; after += 3 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 60, settings(load.Settings{Batch: 10}))
			var snapshot []byte
			w.notes.sent = after0(after, func() { snapshot = w.copyLedger() })
			w.mustRun()
			before := w.server.Stats()
			w.restoreLedger(snapshot)
			w.mustRun()
			w.wantLoaded()
			s := w.server.Stats()
			if s.Created != before.Created || s.Links["contactleads_association"] != before.Links["contactleads_association"] {
				t.Errorf("%d records created, %d before", s.Created, before.Created)
			}
			for _, name := range tableNames {
				if f := w.reasons(name); len(f) > 0 {
					t.Errorf("after %d requests: %s: failed are %v", after, name, f)
				}
				if w.ledger.Behind(name) {
					t.Errorf("%s is still behind", name)
				}
			}
		})
	}
}

func TestUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 80)
		w.mustRun()
		ctx := context.Background()
		w.change["account.name.12"] = "renamed"
		w.change["account.parentaccountid.12"] = nil
		w.change["contact.emailaddress1.5"] = nil
		w.change["opportunity.name.7"] = "renamed, and closed" // opened for that
		plan := func(table string, seqs ...uint32) {
			for _, seq := range seqs {
				if err := w.ledger.Plan(ctx, table, []ledger.Planned{{Range: ledger.One(seq), Action: ledger.Update}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		plan("account", 12, 13, 75)
		plan("contact", 5, 6, 7)
		plan("opportunity", 7, 8, 11) // 7 and 11 are closed; 11 has not changed
		if err := w.client.Do(ctx, dataverse.DeleteOp(w.tables["contact"].Schema, id("contact", 6))); err != nil {
			t.Fatal(err)
		}
		w.mustRun()
		if f := w.reasons("contact"); len(f) != 1 || load.Class(f[6].Entry.Class) != load.ClassMissing {
			t.Errorf("contacts failed: %v, want 6 for being missing", f)
		}
		if f := w.reasons("opportunity"); len(f) != 0 {
			t.Errorf("opportunities failed: %v", f)
		}
		opportunities := w.export("opportunity")
		for _, seq := range []int{7, 8, 11} {
			w.wantRow("opportunity", seq, opportunities[guid("opportunity", seq)])
		}
		accounts, contacts := w.export("account"), w.export("contact")
		for _, seq := range []int{12, 13, 75} {
			w.wantRow("account", seq, accounts[guid("account", seq)])
		}
		for _, seq := range []int{7} {
			w.wantRow("contact", seq, contacts[guid("contact", seq)])
		}
		if v := contacts[guid("contact", 5)]["emailaddress1"]; v != nil {
			t.Errorf("an emptied column is %v", v)
		}
	})
}

// TestRestoredLedgerLooksFirst: a target that has everything is not asked to take it
// again.
func TestRestoredLedgerLooksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 60, settings(load.Settings{Batch: 10}))
		snapshot := w.copyLedger()
		w.mustRun()
		before := w.server.Stats()
		w.restoreLedger(snapshot)
		w.mustRun()
		w.wantLoaded()
		after := w.server.Stats()
		if n := after.Requests["CreateMultiple"] - before.Requests["CreateMultiple"]; n > 0 {
			t.Errorf("%d requests to create what is there", n)
		}
	})
}

// cancelling is a client whose load is stopped at the moment when an answer has come.
type cancelling struct {
	*dataverse.Client
	stop context.CancelFunc
}

func (c cancelling) CreateMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	defer c.stop()
	return c.Client.CreateMany(ctx, t, body, records)
}

func TestAnswerThatCameIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 60, settings(load.Settings{Batch: 10, Parallel: 1}))
		ctx, stop := context.WithCancel(context.Background())
		err := load.New(w.stage, w.ledger, cancelling{w.client, stop}, w.options).Run(ctx, ctx)
		if err == nil {
			t.Fatal("a load that was stopped says that it is done")
		}
		if n := w.inFlight(); n > 0 {
			t.Errorf("%d records are in flight although their answer came", n)
		}
		w.reopen()
		w.mustRun()
		w.wantLoaded()
	})
}

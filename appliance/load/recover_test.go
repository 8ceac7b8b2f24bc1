package load_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/plan"
)

// passing are the faults that a load has to live with.
var passing = []emulator.FaultKind{emulator.FaultRequests, emulator.FaultExecution, emulator.FaultConcurrency, emulator.FaultGateway502, emulator.FaultGateway503,
	emulator.FaultGateway504, emulator.FaultResetBefore, emulator.FaultDeadlock, emulator.FaultSQLTimeout, emulator.FaultResetAfter, emulator.FaultCut,
	emulator.FaultLost502, emulator.FaultLost503, emulator.FaultLost504, emulator.FaultTrickle, emulator.FaultHalfBatch}

// weather is each of them with a small probability.
func weather(p float64, seed uint64) (list []emulator.Fault) {
	for i, kind := range passing {
		list = append(list, emulator.Fault{Kind: kind, Probability: p / float64(len(passing)), Seed: seed + uint64(i), RetryAfter: 1})
	}
	return list
}

// TestRecovery loads in bad weather and, several times at moments drawn at random, ends
// the process (what is under way is left in flight) or loses the disk (an older ledger
// takes its place). In the end every row has to be in the target once, as it is staged.
// DVMIGRATE_RUNS says how many such loads; 8 by default.
func TestRecovery(t *testing.T) {
	runs := 8
	if n, err := strconv.Atoi(os.Getenv("DVMIGRATE_RUNS")); err == nil {
		runs = n
	}
	for run := range runs {
		story(t, fmt.Sprint(run), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(run), 20))
			message := []load.Message{load.Auto, load.Auto, load.Batch, load.Single}[rnd.IntN(4)]
			w := newWorld(t, 40, faults(weather(0.04, uint64(run))...), settings(load.Settings{Batch: 1 + rnd.IntN(12), Message: message, Parallel: 1 + rnd.IntN(6)}),
				func(_ *world, o *emulator.Options) { o.Latency = 100 * time.Millisecond })
			blows := 1 + rnd.IntN(4)
			for blow := range blows {
				var copied []byte
				ctx, kill := context.WithCancel(context.Background())
				copyAt, lose := after0(rnd.IntN(12), func() { copied = w.copyLedger() }), rnd.IntN(2) == 0
				killAt := after0(rnd.IntN(20), func() { time.AfterFunc(time.Duration(rnd.IntN(200))*time.Millisecond, kill) })
				w.notes.sent = func() { copyAt(); killAt() }
				err := w.loader().Run(ctx, ctx)
				kill()
				if lose && copied != nil {
					w.restoreLedger(copied)
				} else {
					w.reopen()
				}
				t.Logf("blow %d: ledger lost %t: %v", blow, lose && copied != nil, err)
			}
			w.notes.sent = nil
			w.server.ClearFaults()
			w.mustRun()
			w.wantLoaded()
			time.Sleep(time.Minute) // for answers that drip
			if s := w.server.Stats(); s.Created != int64(w.total()) {
				t.Errorf("%d records created, want %d", s.Created, w.total())
			}
			for _, name := range tableNames {
				if f := w.reasons(name); len(f) > 0 {
					t.Errorf("%s: failed are %v", name, f)
				}
			}
		})
	}
}

// TestFaultsCostLittle: with faults at one request in a hundred, 90 % of the faultless
// rate is left under the documented limits, and nothing is missing or there twice.
func TestFaultsCostLittle(t *testing.T) {
	const n = 30_000
	took := func(t *testing.T, list []emulator.Fault) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, n, settings(load.Settings{Batch: 100, Parallel: 8}), faults(list...), func(w *world, o *emulator.Options) {
				o.Latency, o.Discard = 20*time.Millisecond, true
				o.Limits, o.Cost = emulator.DefaultLimits(), emulator.Cost{PerRecord: 50 * time.Millisecond}
				for name, rows := range w.stage.tables {
					if name != "account" {
						rows.count = 0
					}
				}
			})
			w.options.Plan.Steps = slices.DeleteFunc(w.options.Plan.Steps, func(s plan.Step) bool {
				return s.Table != "account" || s.Pass == plan.Lookups || s.Pass == plan.State
			})
			began := time.Now()
			w.mustRun()
			d = time.Since(began)
			if s := w.server.Stats(); s.Created != n || w.inFlight() > 0 || len(w.reasons("account")) > 0 {
				t.Errorf("%d records created of %d, %d in flight, %d failed", s.Created, n, w.inFlight(), len(w.reasons("account")))
			}
		})
		return d
	}
	clean, bad := took(t, nil), took(t, weather(0.01, 5))
	t.Logf("%v without faults, %v with: %.3f of the rate", clean, bad, clean.Seconds()/bad.Seconds())
	if ratio := clean.Seconds() / bad.Seconds(); ratio < 0.9 {
		t.Errorf("%.3f of the faultless rate, want 0.9", ratio)
	}
}

package load_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// serverIDs lets Dataverse assign the ids of all tables but the links: accounts and
// products are told apart by an alternate key, or by a column without one, the others by a
// column.
func serverIDs(w *world, o *emulator.Options) {
	for name, column := range map[string]string{"account": "accountnumber", "product": "productnumber", "contact": "emailaddress1", "lead": "subject", "opportunity": "name"} {
		w.tables[name].ServerIDs, w.tables[name].Match = true, []string{column}
	}
	matching(w, o)
}

// matching completes a world whose tables match.
func matching(w *world, _ *emulator.Options) {
	for _, t := range w.tables {
		for i := range t.Lookups {
			for k := range t.Lookups[i].Targets {
				target := &t.Lookups[i].Targets[k]
				target.Kept = w.tables[target.Table] != nil && w.tables[target.Table].KeptIDs()
			}
		}
	}
	w.options.RecordSeq = func(table string, id schema.GUID) (uint32, bool) {
		seq := binary.BigEndian.Uint32(id[12:])
		return seq, guid(table, int(seq)) == id.String()
	}
}

// wantServerLoaded requires that each row is in the target once, under the id that the
// ledger keeps, with its values and with lookups to the records of the rows they point to.
func (w *world) wantServerLoaded() {
	w.t.Helper()
	real := map[string]string{} // id in the stage → in the target
	for name, t := range w.stage.tables {
		for seq := range t.count {
			if id, kept, err := w.ledger.ID(name, uint32(seq)); err != nil {
				w.t.Fatal(err)
			} else if kept {
				real[guid(name, seq)] = schema.GUID(id).String()
			}
		}
	}
	for name, t := range w.stage.tables {
		if t.mapped.Link != nil {
			w.wantLinked(t)
			continue
		}
		got := w.export(name)
		if len(got) != t.count {
			w.t.Errorf("%s: %d records in the target, want %d", name, len(got), t.count)
		}
		for seq := range t.count {
			row := got[real[guid(name, seq)]]
			if row == nil || w.entry(name, seq).Flag != ledger.Processed {
				w.t.Errorf("%s %d is not in the target under the kept id %q: %v", name, seq, real[guid(name, seq)], w.entry(name, seq))
				continue
			}
			for _, c := range t.mapped.Match {
				if want := fmt.Sprint(w.value(name, c, seq)); row[c] != want {
					w.t.Errorf("%s %d: %s is %v, want %s", name, seq, c, row[c], want)
				}
			}
			for _, l := range t.mapped.Lookups {
				want := "<nil>"
				if g, ok := w.value(name, l.LogicalName, seq).([16]byte); ok {
					want = real[schema.GUID(g).String()]
				}
				if got := fmt.Sprint(row["_"+l.LogicalName+"_value"]); got != want {
					w.t.Errorf("%s %d: %s is %v, want %v", name, seq, l.LogicalName, got, want)
				}
			}
		}
	}
	if n := w.inFlight(); n > 0 {
		w.t.Errorf("%d records are in flight", n)
	}
}

func TestServerAssignedIDs(t *testing.T) {
	for _, message := range []load.Message{load.Bulk, load.Batch, load.Single} {
		story(t, itoa(int(message)), func(t *testing.T) {
			w := newWorld(t, 60, serverIDs, settings(load.Settings{Batch: 10, Message: message}))
			w.mustRun()
			w.wantServerLoaded()
			if s := w.server.Stats(); s.Created != int64(w.total()) {
				t.Errorf("%d records created, want %d", s.Created, w.total())
			}
			w.change["account.name.12"], w.change["contact.lastname.5"] = "renamed", "renamed"
			for table, seq := range map[string]uint32{"account": 12, "contact": 5} {
				if err := w.ledger.Plan(t.Context(), table, []ledger.Planned{{Range: ledger.One(seq), Action: ledger.Update}}); err != nil {
					t.Fatal(err)
				}
			}
			w.reopen()
			w.mustRun()
			w.wantServerLoaded()
			id, _, _ := w.ledger.ID("account", 12)
			if got := w.export("account")[schema.GUID(id).String()]["name"]; got != "renamed" {
				t.Errorf("an updated account is called %v", got)
			}
		})
	}
}

// TestServerIDsFaultAtEveryCall lets the first, the second, ... operation fail: nothing is
// made twice although the ids are not ours, and what a fault leaves is found by its key.
func TestServerIDsFaultAtEveryCall(t *testing.T) {
	for _, kind := range []emulator.FaultKind{emulator.FaultResetAfter, emulator.FaultLost502, emulator.FaultResetBefore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			for n, struck := 1, true; struck; n++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 8, serverIDs, settings(load.Settings{Batch: 4, Parallel: 2}), faults(emulator.Fault{Kind: kind, Nth: n, RetryAfter: 3}))
					for runs, err := 0, errors.New("not yet"); err != nil && runs < 3; runs++ {
						if err = w.run(); err != nil {
							t.Logf("call %d: %v", n, err)
							w.reopen()
						}
					}
					w.wantServerLoaded()
					s := w.server.Stats()
					if s.Created != int64(w.total()) {
						t.Errorf("call %d: %d records created, want %d", n, s.Created, w.total())
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

// TestServerIDsStoppedAtOnce: a load that is killed amid its requests, and one whose ledger
// is put back to an older copy, find what the target has.
func TestServerIDsStoppedAtOnce(t *testing.T) {
	t.Parallel()
	found := 0
	for after := range 8 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 40, serverIDs, settings(load.Settings{Batch: 10}), func(_ *world, o *emulator.Options) { o.Latency = 100 * time.Millisecond })
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			before := w.copyLedger()
			w.notes.sent = after0(after, func() { time.AfterFunc(50*time.Millisecond, stop) })
			if err := w.loader().Run(ctx, ctx); err == nil {
				t.Fatal("a load that was stopped says that it is done")
			}
			found += w.inFlight()
			if after%2 == 1 {
				w.restoreLedger(before)
			} else {
				w.reopen()
			}
			w.mustRun()
			w.wantServerLoaded()
			if s := w.server.Stats(); s.Created != int64(w.total()) {
				t.Errorf("%d records created, want %d", s.Created, w.total())
			}
		})
	}
	if found == 0 {
		t.Error("no stop left anything in flight: the test proves nothing")
	}
}

// TestMatchingRecords: records that the target has before the load, under ids of its own.
func TestMatchingRecords(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy load.OnMatch
		server bool
	}{
		{"fail", load.MatchError, false}, {"get the row's values", load.MatchUpdate, false}, {"stay", load.MatchSkip, false},
		{"fail, ids of the service", load.MatchError, true}, {"get the row's values, ids of the service", load.MatchUpdate, true}, {"stay, ids of the service", load.MatchSkip, true},
	} {
		story(t, c.name, func(t *testing.T) {
			w := newWorld(t, 40, func(w *world, o *emulator.Options) {
				w.tables["account"].Match, w.tables["account"].ServerIDs = []string{"accountnumber"}, c.server
				matching(w, o)
			}, settings(load.Settings{Batch: 10, OnMatch: c.policy}))
			account := w.tables["account"].Schema
			old := map[int]string{}
			for _, seq := range []int{3, 4, 25} {
				id, err := w.client.CreateID(t.Context(), account, fmt.Appendf(nil, `{"name":"old","accountnumber":"n-%05d ","telephone1":"1"}`, seq))
				if err != nil {
					t.Fatal(err)
				}
				old[seq] = id.String()
			}
			w.mustRun()
			rows := w.export("account")
			for seq, id := range old {
				e, kept := w.entry("account", seq), w.keptID("account", seq)
				row := rows[id]
				switch want := fmt.Sprintf("account name %d", seq); {
				case c.policy == load.MatchError:
					if e.Flag != ledger.Failed || load.Class(e.Class) != load.ClassDuplicate || row["name"] != "old" {
						t.Errorf("account %d is %v, %v", seq, e, row["name"])
					}
				case e.Flag != ledger.Processed || kept != id:
					t.Errorf("account %d is %v under %s, want it done under %s", seq, e, kept, id)
				case c.policy == load.MatchUpdate && (row["name"] != want || row["telephone1"] != "1"), c.policy == load.MatchSkip && row["name"] != "old":
					t.Errorf("account %d is called %v", seq, row["name"])
				}
			}
			if c.policy == load.MatchError {
				return
			}
			if len(rows) != 40 {
				t.Errorf("%d accounts, want 40", len(rows))
			}
			for seq := range 40 { // those that point to them
				if parent, ok := w.value("account", "parentaccountid", seq).([16]byte); ok && old[seq] == "" {
					want := w.keptID("account", int(binary.BigEndian.Uint32(parent[12:])))
					if got := rows[w.keptID("account", seq)]["_parentaccountid_value"]; got != want {
						t.Errorf("the parent of account %d is %v, want %s", seq, got, want)
					}
				}
			}
		})
	}
}

// keptID is the id of a row's record in the target.
func (w *world) keptID(table string, seq int) string {
	if id, kept, _ := w.ledger.ID(table, uint32(seq)); kept {
		return schema.GUID(id).String()
	}
	return guid(table, seq)
}

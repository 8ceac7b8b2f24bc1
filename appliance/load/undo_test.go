package load_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// journaled gives a world a journal of changes; generation says of what.
func (w *world) journaled(generation uint32) *ledger.Undo {
	w.t.Helper()
	u, err := ledger.OpenUndo(filepath.Join(filepath.Dir(w.path), "undo"), [16]byte{}, ledger.Journaled{}, generation)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { u.Close() })
	w.options.Undo = u
	w.options.Ours = []schema.GUID{w.whoAmI()}
	return u
}

func (w *world) whoAmI() schema.GUID {
	w.t.Helper()
	who, err := w.client.WhoAmI(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return who.UserID
}

// wayBack plans that what was made since a generation is deleted and what was changed gets what it had.
func (w *world) wayBack(u *ledger.Undo, since uint32) load.Rollback {
	w.t.Helper()
	back := load.Rollback{Tables: map[string]load.Back{}, Images: func(table string, r ledger.Range, fn func(ledger.Image)) error { return u.Images(since, table, r, fn) }}
	for _, name := range tableNames {
		c := u.Since(since, name)
		restore := &ledger.Ranges{}
		restore.Add(c.Changed.List())
		restore.Remove(c.Made.List())
		back.Tables[name] = load.Back{Delete: c.Made, Maybe: c.Maybe, Restore: restore}
		for set, action := range map[*ledger.Ranges]ledger.Action{c.Made: ledger.Delete, restore: ledger.Update} {
			for _, r := range set.List() {
				if err := w.ledger.Plan(context.Background(), name, []ledger.Planned{{Range: r, Action: action}}); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
	return back
}

func (w *world) rollBack(back load.Rollback) error {
	return w.loader().RollBack(context.Background(), context.Background(), back)
}

// exportAll is what the target has, without what the service notes itself.
func (w *world) exportAll() map[string]map[string]map[string]any {
	out := map[string]map[string]map[string]any{}
	for _, name := range tableNames {
		if t := w.tables[name]; t.Link != nil {
			out[name] = map[string]map[string]any{"links": {"n": w.server.Stats().Links[t.Link.SchemaName]}}
			continue
		}
		out[name] = w.export(name)
		for _, row := range out[name] {
			for _, own := range []string{"versionnumber", "modifiedon", "_modifiedby_value"} {
				delete(row, own)
			}
			maps.DeleteFunc(row, func(name string, v any) bool { return v == nil || strings.HasPrefix(name, "@") })
		}
	}
	return out
}

func (w *world) wantSame(before, after map[string]map[string]map[string]any) {
	w.t.Helper()
	for table := range before {
		for id, row := range before[table] {
			if !reflect.DeepEqual(row, after[table][id]) {
				w.t.Errorf("%s %s: %v\nwas %v", table, id, after[table][id], row)
			}
		}
		for id := range after[table] {
			if before[table][id] == nil {
				w.t.Errorf("%s %s is there and was not", table, id)
			}
		}
	}
}

// changeAll is a generation that changes records of every kind and makes some.
func (w *world) changeAll() {
	w.t.Helper()
	for name, t := range w.stage.tables {
		if t.mapped.Link != nil {
			continue
		}
		for seq := range t.count {
			switch {
			case name == "lead" || seq%3 == 0:
				continue
			case name == "opportunity":
				w.change[fmt.Sprintf("opportunity.name.%d", seq)] = "changed"
				w.change[fmt.Sprintf("opportunity.statecode.%d", seq)] = 0 // open
				w.change[fmt.Sprintf("opportunity.statuscode.%d", seq)] = 1
			case name == "account":
				w.change[fmt.Sprintf("account.name.%d", seq)] = fmt.Sprint("changed ", seq)
				w.change[fmt.Sprintf("account.revenue.%d", seq)] = seq*125 + 7
				w.change[fmt.Sprintf("account.parentaccountid.%d", seq)] = [16]byte(nil2(seq, id("account", 0)))
				w.change[fmt.Sprintf("account.statecode.%d", seq)] = seq % 2
				w.change[fmt.Sprintf("account.statuscode.%d", seq)] = 1 + seq%2
			case name == "contact":
				w.change[fmt.Sprintf("contact.emailaddress1.%d", seq)] = nil
				w.change[fmt.Sprintf("contact.parentcustomerid.%d", seq)] = id("account", 1)
				w.change[fmt.Sprintf("contact.parentcustomerid__table.%d", seq)] = "account"
			default:
				w.change[fmt.Sprintf("product.name.%d", seq)] = "changed"
			}
			if err := w.ledger.Plan(context.Background(), name, []ledger.Planned{{Range: ledger.One(uint32(seq)), Action: ledger.Update}}); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func nil2(seq int, other [16]byte) [16]byte {
	if seq == 0 {
		return id("account", 1)
	}
	return other
}

// TestRollbackOfTheFirstLoad: whatever happens at the first, the second ... request of it, and however
// often it has to begin anew, the target is empty in the end, and nothing is in flight.
func TestRollbackOfTheFirstLoad(t *testing.T) {
	for _, kind := range []emulator.FaultKind{"", emulator.FaultResetAfter, emulator.FaultLost502, emulator.FaultDeadlock, emulator.FaultRequests} {
		t.Run("fault "+string(kind), func(t *testing.T) {
			t.Parallel()
			for n, struck := 1, true; struck; n++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 8, settings(load.Settings{Batch: 4, Parallel: 2, Keep: true}), restricted)
					u := w.journaled(1)
					w.mustRun()
					back := w.wayBack(u, 1)
					before := w.server.Stats()
					if kind != "" {
						w.server.Order(emulator.Fault{Kind: kind, Nth: n, RetryAfter: 3})
					}
					w.rollBackAtLast(back)
					w.wantAllGone()
					struck = kind != "" && w.server.Stats().Faults[kind] > before.Faults[kind]
				})
				if t.Failed() || n > 100 {
					t.Fatalf("stopped at call %d", n)
				}
			}
		})
	}
}

// rollBackAtLast takes a load back, three times at the most, with the process begun anew after each that failed.
func (w *world) rollBackAtLast(back load.Rollback) {
	for runs, err := 0, errors.New("not yet"); err != nil && runs < 3; runs++ {
		if err = w.rollBack(back); err != nil {
			w.t.Log(err)
			w.reopen()
		}
	}
}

// restricted has the target refuse to delete a contact that an account calls its primary one, and an
// account that has children: only in a circle could they go.
func restricted(w *world, o *emulator.Options) {
	changedSchema(w, o, "account", func(t *schema.Table) {
		for i := range t.ManyToOne {
			if r := &t.ManyToOne[i]; r.Column == "primarycontactid" || r.Column == "parentaccountid" {
				r.Cascade = map[string]string{"Delete": "Restrict"}
			}
		}
	})
}

// TestRollbackOfAChange: records get back what they had in every column, lookups, owner-less ones and
// states too, whatever happens on the way.
func TestRollbackOfAChange(t *testing.T) {
	for _, kind := range []emulator.FaultKind{"", emulator.FaultResetAfter, emulator.FaultLost502, emulator.FaultRequests} {
		t.Run("fault "+string(kind), func(t *testing.T) {
			t.Parallel()
			for n, struck := 1, true; struck; n += 3 {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 8, settings(load.Settings{Batch: 4, Parallel: 2, Keep: true}))
					w.journaled(1)
					w.change["opportunity.statecode.3"], w.change["opportunity.statuscode.3"] = 0, 1 // what is won cannot be won again here
					w.mustRun()
					before := w.exportAll()
					u := w.journaled(2)
					w.changeAll()
					w.mustRun()
					if reflect.DeepEqual(before, w.exportAll()) {
						t.Fatal("nothing has changed: the test proves nothing")
					}
					back := w.wayBack(u, 2)
					stats := w.server.Stats()
					if kind != "" {
						w.server.Order(emulator.Fault{Kind: kind, Nth: n, RetryAfter: 3})
					}
					w.rollBackAtLast(back)
					w.wantSame(before, w.exportAll())
					for _, name := range tableNames {
						if f := w.flags(name); f["P"] != w.stage.tables[name].count {
							t.Errorf("%s: %v, %v", name, f, w.reasons(name))
						}
					}
					struck = kind != "" && w.server.Stats().Faults[kind] > stats.Faults[kind]
				})
				if t.Failed() || n > 100 {
					t.Fatalf("stopped at call %d", n)
				}
			}
		})
	}
}

// TestRollbackStoppedAtOnce: a rollback that is killed amid its requests, and begins anew, ends as one that was
// not.
func TestRollbackStoppedAtOnce(t *testing.T) {
	t.Parallel()
	stops, doubts := 0, 0
	for after := range 6 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 24, settings(load.Settings{Batch: 10, Keep: true}), func(_ *world, o *emulator.Options) { o.Latency = 100 * time.Millisecond })
			w.journaled(1)
			w.mustRun()
			u := w.journaled(2)
			w.changeAll()
			w.mustRun()
			back := w.wayBack(u, 1)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			w.notes.sent = after0(after, func() { time.AfterFunc(time.Duration(50+100*(after%2))*time.Millisecond, stop) })
			if err := w.loader().RollBack(ctx, ctx, back); err != nil {
				stops, doubts = stops+1, doubts+w.inFlight()
			}
			w.reopen()
			w.notes.sent = nil
			if err := w.rollBack(back); err != nil {
				t.Fatal(err)
			}
			w.wantAllGone()
		})
	}
	if stops < 3 || doubts == 0 {
		t.Errorf("%d stops left %d records in flight: the test proves nothing", stops, doubts)
	}
}

// TestRollbackLeavesWhatOthersChanged: a record that somebody else has changed since stays as it is, held with
// the reason, and goes back when that is said; what is there already by chance costs no request.
func TestRollbackLeavesWhatOthersChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8, settings(load.Settings{Batch: 4, Keep: true}))
		w.journaled(1)
		w.mustRun()
		before := w.exportAll()
		u := w.journaled(2)
		w.changeAll()
		w.mustRun()
		w.update("account", 1, `{"name":"of somebody else"}`)
		w.update("account", 2, `{"telephone1":"of somebody else"}`) // we never wrote that column
		back := w.wayBack(u, 2)
		if err := w.rollBack(back); err != nil {
			t.Fatal(err)
		}
		e, reason := w.entry("account", 1), w.reasons("account")[1]
		if e.Flag != ledger.Held || load.Class(reason.Reason.Class) != load.ClassConflict || !strings.Contains(reason.Text, "name is 'of somebody else'") {
			t.Errorf("the record that somebody changed: %v, %v", e, reason)
		}
		after := w.exportAll()
		if row := after["account"][guid("account", 1)]; row["name"] != "of somebody else" || fmt.Sprint(row["revenue"]) == fmt.Sprint(before["account"][guid("account", 1)]["revenue"]) {
			t.Errorf("it became %v", row)
		}
		if row := after["account"][guid("account", 2)]; row["telephone1"] != "of somebody else" || row["name"] != before["account"][guid("account", 2)]["name"] {
			t.Errorf("the record of which somebody changed another column became %v", row)
		}
		back.Overwrite = true
		if err := w.ledger.Plan(t.Context(), "account", []ledger.Planned{{Range: ledger.One(1), Action: ledger.Update}}); err != nil {
			t.Fatal(err)
		}
		if err := w.rollBack(back); err != nil {
			t.Fatal(err)
		}
		after = w.exportAll()
		delete(after["account"][guid("account", 2)], "telephone1")
		w.wantSame(before, after)
	})
}

// TestRollbackLeavesWhatIsNotItsOwn: to be deleted, a record must have been changed last by those who load.
func TestRollbackLeavesWhatIsNotItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8, settings(load.Settings{Batch: 4, Keep: true}))
		u := w.journaled(1)
		w.mustRun()
		back := w.wayBack(u, 1)
		w.options.Ours = []schema.GUID{{1}} // who changed all of them last is somebody else
		if err := w.rollBack(back); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"account", "contact"} {
			if f := w.flags(name); f["H"] != w.stage.tables[name].count || len(w.export(name)) != w.stage.tables[name].count {
				t.Errorf("%s: %v, and %d are left", name, f, len(w.export(name)))
			}
		}
		back.Overwrite = true
		if _, err := w.ledger.Retry(t.Context(), "account", ledger.Filter{}); err != nil {
			t.Fatal(err)
		}
		if err := w.rollBack(back); err != nil {
			t.Fatal(err)
		}
		if n := len(w.export("account")); n > 0 {
			t.Errorf("%d accounts are left", n)
		}
	})
}

// update changes a record as others do.
func (w *world) update(table string, seq int, body string) {
	w.t.Helper()
	if err := w.client.Update(w.t.Context(), w.tables[table].Schema, schema.GUID(id(table, seq)), []byte(body)); err != nil {
		w.t.Fatal(err)
	}
}

// TestRollbackOfMatchedRecords: what was there before the load is never deleted, whatever answers are lost and
// whoever assigns the ids; it gets back what it had, and all that the load made goes.
func TestRollbackOfMatchedRecords(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy load.OnMatch
		server bool
	}{
		{"get the row's values", load.MatchUpdate, false}, {"stay", load.MatchSkip, false},
		{"get the row's values, ids of the service", load.MatchUpdate, true}, {"stay, ids of the service", load.MatchSkip, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for n := range 12 {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 16, func(w *world, o *emulator.Options) {
						w.tables["account"].Match, w.tables["account"].ServerIDs = []string{"accountnumber"}, c.server
						matching(w, o)
					}, settings(load.Settings{Batch: 5, Parallel: 2, OnMatch: c.policy, Keep: true}))
					for _, seq := range []int{3, 4, 11} {
						body := fmt.Appendf(nil, `{"name":"old","accountnumber":"n-%05d ","telephone1":"1","revenue":7.25}`, seq)
						if _, err := w.client.CreateID(t.Context(), w.tables["account"].Schema, body); err != nil {
							t.Fatal(err)
						}
					}
					before := w.exportAll()
					u := w.journaled(1)
					if n > 0 {
						w.server.Order(emulator.Fault{Kind: emulator.FaultResetAfter, Nth: n})
					}
					for runs, err := 0, errors.New("not yet"); err != nil && runs < 3; runs++ {
						if err = w.run(); err != nil {
							w.reopen()
						}
					}
					if len(w.export("account")) != 16 {
						t.Fatalf("%d accounts were loaded: %v", len(w.export("account")), w.reasons("account"))
					}
					back := w.wayBack(u, 1)
					if back.Begun = time.Now().Add(-time.Minute); back.Tables["account"].Restore.Len() != 3 {
						t.Errorf("%v are known to have been there", back.Tables["account"].Restore.List())
					}
					if err := w.rollBack(back); err != nil {
						t.Fatal(err)
					}
					w.wantSame(before, w.exportAll())
					if f := w.flags("account"); f["P"] != 16 {
						t.Errorf("%v, %v", f, w.reasons("account"))
					}
				})
			}
		})
	}
}

// TestRollbackOfKeptIDs: a record whose id is the source's own may have been there before; where that is not
// certain, who made it and when decides.
func TestRollbackOfKeptIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 16, func(w *world, _ *emulator.Options) { w.tables["product"].KeepID = true }, settings(load.Settings{Batch: 5, Keep: true}))
		product := w.tables["product"].Schema
		if err := w.client.Create(t.Context(), product, fmt.Appendf(nil, `{"%s":"%s","name":"old","productnumber":"old"}`, product.PrimaryID, guid("product", 2))); err != nil {
			t.Fatal(err)
		}
		before := w.exportAll()
		u := w.journaled(1)
		w.mustRun()
		if c := u.Since(1, "product"); !c.There.Has(2) || c.Made.Has(2) || c.Maybe.Len() != 0 {
			t.Fatalf("found %v, perhaps %v", c.There.List(), c.Maybe.List())
		}
		// What an earlier run, of which nothing is known, may have made.
		if err := u.Keep("product", ledger.FoundMaybe, []ledger.Image{{Seq: 0}, {Seq: 1}}); err != nil {
			t.Fatal(err)
		}
		back := w.wayBack(u, 1)
		back.Begun = time.Now().Add(time.Hour)
		if err := w.rollBack(back); err != nil {
			t.Fatal(err)
		}
		if f, text := w.flags("product"), w.reasons("product")[1].Text; f["H"] != 2 || !strings.Contains(text, "not certain that this migration made the record") {
			t.Errorf("%v, %s", f, text)
		}
		if _, err := w.ledger.Retry(t.Context(), "product", ledger.Filter{}); err != nil {
			t.Fatal(err)
		}
		back.Begun = time.Now().Add(-time.Hour)
		if err := w.rollBack(back); err != nil {
			t.Fatal(err)
		}
		w.wantSame(before, w.exportAll())
	})
}

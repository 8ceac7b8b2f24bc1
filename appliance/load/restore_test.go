package load_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/ledger"
)

// elastic makes product an elastic table, of which a restore changes one column of many.
func elastic(w *world, o *emulator.Options) {
	changedSchema(w, o, "product", func(t *schema.Table) {
		t.Kind = schema.Elastic
		t.Columns = append(t.Columns, &schema.Column{LogicalName: "partitionid", Type: schema.Text, MaxLength: 100})
	})
}

// TestRollbackOfAnElasticTable: records that an update changed get back what they had, in the other columns
// too, which a careless write would empty; those that a load made go, whatever happens on the way.
func TestRollbackOfAnElasticTable(t *testing.T) {
	for _, kind := range []emulator.FaultKind{"", emulator.FaultResetAfter, emulator.FaultResetBefore, emulator.FaultLost502, emulator.FaultRequests, emulator.FaultRow429} {
		t.Run("fault "+string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 48, settings(load.Settings{Batch: 5, Parallel: 2, Keep: true}), elastic)
				w.journaled(1)
				w.mustRun()
				before := w.exportAll()
				u := w.journaled(2)
				w.changeAll()
				w.mustRun()
				if f := w.survey(w.wayBack(u, 2))["product"]; f.Restore != 8 || f.Left+f.Gone+f.Same != 0 {
					t.Errorf("%+v", f)
				}
				again := func(back load.Rollback) {
					t.Helper()
					for runs, err := 0, errors.New("not yet"); err != nil && runs < 3; runs++ {
						if err = w.rollBack(back); err != nil {
							w.reopen()
						}
					}
				}
				if kind != "" {
					w.server.Order(emulator.Fault{Kind: kind, Message: "ExecuteBatch", Nth: 1, RetryAfter: 3})
				}
				back := w.wayBack(u, 2)
				back.Tables = map[string]load.Back{"product": back.Tables["product"]}
				again(back)
				after := w.exportAll()
				w.wantSame(map[string]map[string]map[string]any{"product": before["product"]}, map[string]map[string]map[string]any{"product": after["product"]})
				if kind != "" && kind != emulator.FaultRow429 && w.server.Stats().Faults[kind] != 1 {
					t.Errorf("the fault struck %d times, want once", w.server.Stats().Faults[kind])
				}
				if kind != "" {
					w.server.Order(emulator.Fault{Kind: kind, Message: "DeleteMultiple", Nth: 1, RetryAfter: 3})
				}
				again(w.wayBack(u, 1))
				if n := len(w.export("product")); n > 0 || w.server.Stats().Requests["DeleteMultiple"] == 0 {
					t.Errorf("%d products are left after %d DeleteMultiple, %v", n, w.server.Stats().Requests["DeleteMultiple"], w.reasons("product"))
				}
			})
		})
	}
}

// colleague is a second user, to whom records are assigned.
var colleague = schema.GUID{0x0c, 15: 2}

// owned lets accounts have owners: users and a team.
func owned(w *world, o *emulator.Options) {
	names := append(columns(), selected["account"]...)
	names = append(names, mapping.Selected{Name: "ownerid", SQLType: "STRUCT(a)"})
	s, _ := theSchema()
	t, faults := mapping.Bind(s, "account", names, func(n string) bool { return w.tables[n] != nil })
	if len(faults) > 0 {
		w.t.Fatal(faults)
	}
	w.tables["account"], w.stage.tables["account"].mapped = t, t
	o.Seed = map[string]io.Reader{"systemuser": bytes.NewReader(fmt.Appendf(nil, `{"systemuserid":"%s","fullname":"a colleague","businessunitid@odata.bind":"businessunits(%s)"}`+"\n", colleague, emulator.BusinessUnitID))}
}

// own gives accounts owners: user, colleague, team in turn, beginning with one.
func (w *world) own(first int) {
	owners := []struct {
		id    schema.GUID
		table string
	}{{emulator.UserID, "systemuser"}, {colleague, "systemuser"}, {emulator.TeamID, "team"}}
	for seq := range w.stage.tables["account"].count {
		o := owners[(seq+first)%len(owners)]
		w.change[fmt.Sprintf("account.ownerid.%d", seq)] = [16]byte(o.id)
		w.change[fmt.Sprintf("account.ownerid%s.%d", mapping.TargetSuffix, seq)] = o.table
	}
}

// TestRollbackOfOwners: records go back to the user or team that owned them, and stay with one to whom
// somebody else has assigned them since.
func TestRollbackOfOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 12, settings(load.Settings{Batch: 4, Parallel: 2, Keep: true}), owned)
		w.own(0)
		w.journaled(1)
		w.mustRun()
		before := w.exportAll()
		if a, b := before["account"][guid("account", 1)], before["account"][guid("account", 2)]; a["_ownerid_value"] != colleague.String() || b["_ownerid_value"] != emulator.TeamID.String() {
			t.Fatalf("the load has assigned %v and %v", a["_ownerid_value"], b["_ownerid_value"])
		}
		u := w.journaled(2)
		w.own(1)
		if err := w.ledger.Plan(t.Context(), "account", []ledger.Planned{{Range: ledger.Range{From: 0, To: 12}, Action: ledger.Update}}); err != nil {
			t.Fatal(err)
		}
		w.mustRun()
		w.update("account", 4, fmt.Sprintf(`{"ownerid@odata.bind":"systemusers(%s)"}`, emulator.UserID)) // was the colleague's, then the team's
		back := w.wayBack(u, 2)
		if f := w.survey(back)["account"]; f.Restore != 11 || f.Left != 1 {
			t.Errorf("%+v", f)
		}
		if err := w.rollBack(back); err != nil {
			t.Fatal(err)
		}
		after := w.exportAll()
		if owner := after["account"][guid("account", 4)]["_ownerid_value"]; owner != emulator.UserID.String() {
			t.Errorf("what somebody else has assigned is owned by %v", owner)
		}
		if e := w.entry("account", 4); e.Flag != ledger.Held {
			t.Errorf("it is %v", e)
		}
		before["account"][guid("account", 4)] = after["account"][guid("account", 4)]
		only := func(all map[string]map[string]map[string]any) map[string]map[string]map[string]any {
			return map[string]map[string]map[string]any{"account": all["account"]}
		}
		w.wantSame(only(before), only(after)) // contacts went along, as the target has it, when the load assigned their accounts
	})
}

// TestRollbackOfOwnersInATree: where an assignment takes children of the same table along, each record has its
// own former owner in the end, in whatever order they went back.
func TestRollbackOfOwnersInATree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 40, settings(load.Settings{Batch: 4, Parallel: 1, Keep: true}), owned, func(w *world, o *emulator.Options) {
			mapped := w.tables["account"]
			changedSchema(w, o, "account", func(t *schema.Table) {
				for i := range t.ManyToOne {
					if r := &t.ManyToOne[i]; r.Column == "parentaccountid" {
						r.Cascade = map[string]string{"Assign": "Cascade"}
					}
				}
			})
			mapped.Schema = w.tables["account"].Schema
			for seq := range 40 { // parents come behind their children
				w.change[fmt.Sprintf("account.parentaccountid.%d", seq)] = nil
				if seq < 39 {
					w.change[fmt.Sprintf("account.parentaccountid.%d", seq)] = id("account", min(39, 2*seq/3+14))
				}
			}
		})
		w.own(0)
		w.journaled(1)
		w.mustRun()
		before := w.exportAll()["account"]
		u := w.journaled(2)
		w.own(1)
		if err := w.ledger.Plan(t.Context(), "account", []ledger.Planned{{Range: ledger.Range{From: 0, To: 40}, Action: ledger.Update}}); err != nil {
			t.Fatal(err)
		}
		w.mustRun()
		w.update("account", 39, `{"name":"of somebody else"}`) // we never changed that column
		if err := w.rollBack(w.wayBack(u, 2)); err != nil {
			t.Fatal(err)
		}
		for id, row := range w.exportAll()["account"] {
			if row["_ownerid_value"] != before[id]["_ownerid_value"] {
				t.Errorf("%s is owned by %v, was by %v", id, row["_ownerid_value"], before[id]["_ownerid_value"])
			}
		}
	})
}

// TestRollbackOfLinksThatWereThere: a link that others had made before the load stays.
func TestRollbackOfLinksThatWereThere(t *testing.T) {
	for _, message := range []load.Message{load.Batch, load.Single} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 8, settings(load.Settings{Batch: 4, Parallel: 2, Keep: true, Message: message}))
			w.journaled(1)
			whole, part := w.options.Plan, *w.options.Plan
			part.Steps = slices.DeleteFunc(slices.Clone(part.Steps), func(s plan.Step) bool { return s.Table == "contactleads" })
			w.options.Plan = &part
			w.mustRun()
			w.options.Plan = whole
			pair := dataverse.Pair{ID1: schema.GUID(id("contact", 1)), ID2: schema.GUID(id("lead", 7%4))}
			if err := w.client.Associate(t.Context(), w.links["contactleads"], pair); err != nil {
				t.Fatal(err)
			}
			before := w.exportAll()
			u := w.journaled(2)
			w.mustRun()
			if c := u.Since(2, "contactleads"); !c.There.Has(1) || c.Made.Len() != 3 {
				t.Errorf("there were %v, made %v", c.There.List(), c.Made.List())
			}
			back := w.wayBack(u, 2)
			back.Tables = map[string]load.Back{"contactleads": {Delete: back.Tables["contactleads"].Delete}}
			if f := w.survey(back)["contactleads"]; f.Delete != 3 {
				t.Errorf("%+v", f)
			}
			if err := w.rollBack(back); err != nil {
				t.Fatal(err)
			}
			w.wantSame(before, w.exportAll())
		})
	}
}

package load_test

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/emulator"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/ledger"
)

// survey looks up what a rollback would do.
func (w *world) survey(back load.Rollback) map[string]load.Found {
	w.t.Helper()
	last, total := int64(0), int64(0)
	found, err := w.loader().Survey(w.t.Context(), back, func(_ string, done, all int64) {
		if done < last || done > all {
			w.t.Errorf("%d of %d are looked at, after %d", done, all, last)
		}
		last, total = done, all
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if last != total {
		w.t.Errorf("%d of %d were looked at", last, total)
	}
	return found
}

// TestSurvey: what is counted beforehand is what the rollback then does, whether the records are asked for one
// by one or read by the page, and whoever gives the ids; looking changes nothing.
func TestSurvey(t *testing.T) {
	for _, c := range []struct {
		name   string
		server bool
		pages  int // 0: no paging
	}{{"by ids", false, 0}, {"by pages", false, 5}, {"by pages, until that is too much", false, 1}, {"ids of the service, by pages", true, 5}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 16, func(w *world, o *emulator.Options) {
					w.tables["product"].ServerIDs = c.server
					matching(w, o)
				}, settings(load.Settings{Batch: 4, Keep: true}))
				w.journaled(1)
				w.mustRun()
				u := w.journaled(2)
				w.change["account.revenue.1"] = 125 // as it was
				w.changeAll()
				w.change["account.revenue.4"] = 500
				w.mustRun()
				w.update("account", 1, `{"name":"of somebody else"}`)
				w.update("account", 2, `{"telephone1":"of somebody else"}`) // we never wrote that column
				for _, table := range []string{"account", "contact"} {
					if err := w.client.Do(t.Context(), dataverse.DeleteOp(w.tables[table].Schema, schema.GUID(id(table, 5)))); err != nil {
						t.Fatal(err)
					}
				}
				before := w.exportAll()
				ids := map[schema.GUID]uint32{}
				for seq := range uint32(w.stage.tables["product"].count) {
					if id, kept, err := w.ledger.ID("product", seq); err == nil && kept {
						ids[id] = seq
					}
				}
				for _, since := range []uint32{2, 1} {
					back := w.wayBack(u, since)
					back.PageFrom, back.PageRows = 1<<20, c.pages
					if c.pages > 0 {
						back.PageFrom = 1
						w.options.TargetSeq = func(table string, id schema.GUID) (uint32, bool) {
							if seq, kept := ids[id]; kept && table == "product" {
								return seq, true
							}
							seq := binary.BigEndian.Uint32(id[12:])
							return seq, guid(table, int(seq)) == id.String()
						}
					}
					if since == 1 { // perhaps others made two products: they are older than all that goes back
						back.Begun = time.Now().Add(time.Hour)
						maybe := &ledger.Ranges{}
						maybe.Add([]ledger.Range{{From: 1, To: 3}})
						products := back.Tables["product"]
						products.Maybe = maybe
						back.Tables["product"] = products
					}
					found := w.survey(back)
					w.wantSame(before, w.exportAll())
					if f := found["account"]; since == 2 && (f.Left != 1 || f.Gone != 1 || f.Restore < 5) {
						t.Errorf("accounts: %+v", f)
					}
					if since == 1 {
						if f := found["product"]; f.Left != 2 || f.Delete != 2 || found["contact"].Gone != 1 || found["contactleads"].Delete == 0 {
							t.Errorf("%+v", found)
						}
						if err := w.rollBack(back); err != nil {
							t.Fatal(err)
						}
					}
					for _, name := range tableNames {
						f, all := found[name], back.Tables[name]
						if sum := f.Delete + f.Restore + f.Left + f.Gone + f.Same; sum != int64(all.Delete.Len()+all.Restore.Len()) {
							t.Errorf("since %d, %s: %+v of %d and %d", since, name, f, all.Delete.Len(), all.Restore.Len())
						}
						if flags := w.flags(name); since == 1 && int64(flags["H"]) != f.Left {
							t.Errorf("%s: %+v, and then %v", name, f, flags)
						}
					}
				}
			})
		})
	}
}

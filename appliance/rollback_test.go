package appliance

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"dvmigrate/ledger"
)

// inTargetNow are the records of the tables of a goneProject by their keys, without what the service notes of
// a change itself, and how many links there are.
func inTargetNow(t *testing.T, url string) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for set, key := range map[string]string{"accounts": "accountnumber", "contacts": "lastname", "leads": "subject"} {
		for _, row := range plainRows(t, url, set) {
			maps.DeleteFunc(row, func(name string, v any) bool {
				return v == nil || strings.Contains(name, "@") || strings.HasPrefix(name, "_modifiedby") || strings.HasPrefix(name, "modifiedon") || strings.HasPrefix(name, "versionnumber")
			})
			if name := fmt.Sprint(row[key]); len(name) == 2 { // ours
				out[name] = row
			}
		}
	}
	out["links"] = map[string]any{"n": len(plainRows(t, url, "contactleadscollection"))}
	return out
}

// differences are the keys of records that are not the same.
func differences(a, b map[string]map[string]any) (names []string) {
	for name := range a {
		if !reflect.DeepEqual(a[name], b[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if a[name] == nil {
			names = append(names, "+"+name)
		}
	}
	slices.Sort(names)
	return names
}

// editSource replaces text in a source file, pair by pair.
func editSource(t *testing.T, dir, file string, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		edit(t, filepath.Join(dir, file), pairs[i], pairs[i+1])
	}
}

// rollBack opens the project for it, and closes it again.
func rollBack(t *testing.T, dir, url string, o RollbackOptions) RollbackResult {
	t.Helper()
	p := reopen(t, dir, Loading, url)
	defer p.Close()
	o.Load.SnapshotEvery = -1
	r, err := p.Rollback(t.Context(), t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if report, err := p.CheckLedger(t.Context()); err != nil || !report.Sound || !report.UndoSound {
		t.Errorf("the ledger is not sound: %v, %+v", err, report)
	}
	return r
}

// TestRollback: three generations make, change, deactivate and delete records; the last two go back, but for
// what cannot or what somebody else has changed; a corrected load follows; then all goes back.
func TestRollback(t *testing.T) {
	// With the ids of the service, what is made again has another.
	for ids, made := range map[string]string{"assign": "", "server, match: accountnumber": "A8 C8"} {
		t.Run(ids, func(t *testing.T) {
			url := environment(t, 16, nil)
			empty := inTargetNow(t, url)
			dir := goneProject(t, url, "account: {gone: delete, ids: "+ids+"}\n  contact: {gone: delete}\n  contactleads: {gone: delete}\n  lead: {gone: deactivate}")
			stageAndLoad(t, dir, url)
			full := inTargetNow(t, url)

			supply(t, dir, 9, "a3", "c3", "n3", "n5", "l6", "n6") // a8, c8, l8 and n8 are new
			editSource(t, dir, "a.csv", "account 1,1", "first change,1", "account 2,0", "closed,1")
			stageAndLoad(t, dir, url)
			editSource(t, dir, "a.csv", "first change,1", "second change,0", "account 5", "changed", "account 8", "new and changed")
			editSource(t, dir, "c.csv", "C1,A1", "C1,A2")
			stageAndLoad(t, dir, url)
			a5 := fmt.Sprint(full["A5"]["accountid"])
			sendRaw(t, http.MethodPatch, url+"/api/data/v9.2/accounts("+a5+")", `{"name":"by hand"}`)
			loaded := inTargetNow(t, url)

			p := reopen(t, dir, Viewing, url)
			o := RollbackOptions{Generation: "delta 1", Offline: true}
			plan, err := p.PlanRollback(t.Context(), o, nil)
			if want := (RollbackTable{Name: "total", Delete: 4, Restore: 5, Lost: 5}); err != nil || plan.Total != want || fmt.Sprint(plan.Generations) != "[delta 2 delta 1]" || plan.Asked {
				t.Errorf("plan: %v, %+v", err, plan)
			}
			o.Offline = false
			plan, err = p.PlanRollback(t.Context(), o, func(string, float64) {})
			if want := (RollbackFound{Delete: 4, Restore: 4, Left: 1}); err != nil || !plan.Asked || *plan.Total.Found != want {
				t.Errorf("plan by what the target has: %v, %+v, %+v", err, plan, plan.Total.Found)
			}
			p.Close()
			if d := differences(loaded, inTargetNow(t, url)); len(d) > 0 {
				t.Errorf("the plan has changed %v", d)
			}

			r := rollBack(t, dir, url, RollbackOptions{Generation: "delta 1"})
			if d := strings.Join(differences(full, inTargetNow(t, url)), " "); d != "A3 A5 C3 links" {
				t.Errorf("after the rollback %s are not as after the full load", d)
			}
			if r.Back != 8 || r.Left != 1 || r.Lost != 5 || !r.Finished {
				t.Errorf("%+v", r)
			}
			list, err := os.ReadFile(r.List)
			if err != nil || !strings.Contains(string(list), "account,A5,") || !strings.Contains(string(list), "name is 'by hand', had 'account 5', was given 'changed'") || !strings.Contains(string(list), "contact,C3,") {
				t.Errorf("%v, %s", err, list)
			}
			if info, err := os.Stat(r.List); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the list is open to others: %v", info.Mode())
			}

			// The same again: what waits is sent; what is staged now goes there in every column.
			p = reopen(t, dir, Loading, url)
			requireAllLoaded(t, p)
			p.Close()
			again := inTargetNow(t, url)
			for _, made := range []string{"A8", "C8", "L8"} { // made again, perhaps within the same second
				delete(loaded[made], "createdon")
				delete(again[made], "createdon")
			}
			if d := strings.Join(differences(loaded, again), " "); d != made {
				t.Errorf("loaded again, %s differ", d)
			}
			for name, id := range map[string]string{"A8": "name", "C8": "_parentcustomerid_value"} {
				if again[name][id] == nil || ids == "assign" && again[name][id] != loaded[name][id] {
					t.Errorf("%s became %v, was %v", name, again[name], loaded[name])
				}
			}
			r = rollBack(t, dir, url, RollbackOptions{Generation: "last", Overwrite: true})
			if r.Left > 0 {
				t.Errorf("with overwrite %d are left", r.Left)
			}
			editSource(t, dir, "a.csv", "second change", "corrected")
			stageAndLoad(t, dir, url)

			r = rollBack(t, dir, url, RollbackOptions{Generation: "full", Overwrite: true})
			if d := differences(empty, inTargetNow(t, url)); len(d) > 0 || r.Left > 0 {
				t.Errorf("when all went back, %v are there, %+v", d, r)
			}
			stageAndLoad(t, dir, url)
		})
	}
}

// TestRollbackOfSome: tables, keys and waves; what would take others along is refused.
func TestRollbackOfSome(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {batch: 5}")
	stageAndLoad(t, dir, url)
	r := rollBack(t, dir, url, RollbackOptions{Generation: "full", Tables: []string{"lead", "contactleads"}, Keys: []string{"L2", "C2/L2"}})
	if got := inTargetNow(t, url); r.Back != 2 || got["L2"] != nil || got["L1"] == nil || fmt.Sprint(got["links"]["n"]) != "7" {
		t.Errorf("%+v, and the target has %d", r, len(got))
	}
	r = rollBack(t, dir, url, RollbackOptions{Generation: "full", Wave: waveOf(t, dir, url, "contactleads")})
	if got := inTargetNow(t, url); r.Back != 7 || fmt.Sprint(got["links"]["n"]) != "0" || got["L1"] == nil {
		t.Errorf("%+v, and the target has %d", r, len(got))
	}
	p := reopen(t, dir, Viewing, "http://127.0.0.1:1") // where nobody is
	if plan, err := p.PlanRollback(t.Context(), RollbackOptions{Generation: "full"}, func(string, float64) {}); err != nil || plan.Asked || !strings.Contains(plan.NotAsked, "cannot connect") || plan.Total.Delete != 23 {
		t.Errorf("a target that is not there: %v, %+v", err, plan)
	}
	p.Close()
	p = reopen(t, dir, Loading, url)
	v, err := View(t.Context(), dir, Options{Env: targetAt(url)}) // which asks the process that has the project
	if err != nil {
		t.Fatal(err)
	}
	asked, err1 := v.PlanRollback(t.Context(), RollbackOptions{Generation: "full"}, func(string, float64) {})
	own, err2 := p.PlanRollback(t.Context(), RollbackOptions{Generation: "full"}, func(string, float64) {})
	if _, other := v.(*remote); err1 != nil || err2 != nil || !other || !asked.Asked || !reflect.DeepEqual(asked, own) {
		t.Errorf("from another process: %v, %v, %+v, own %+v", err1, err2, asked, own)
	}
	v.Close()
	u, err := p.readUndo()
	if err != nil {
		t.Fatal(err)
	}
	if s := p.backSetsOf(u, &rollbackNote{Since: 1, Stage: rollbackPlanning, Apart: []string{"account"}}, "account"); s.Delete.Len() != 0 || s.Unknown.Len() != 8 {
		t.Errorf("of records in partitions of their own %v would be deleted, %v stay", s.Delete.List(), s.Unknown.List())
	}
	for what, o := range map[string]RollbackOptions{
		`no table "accont"`:                     {Generation: "full", Tables: []string{"accont"}},
		"no row with legacy key 'X'":            {Generation: "full", Keys: []string{"X"}},
		`no generation "delta 1" was loaded`:    {Generation: "delta 1"},
		"say from which generation on":          {Tables: []string{"account"}},
		"in wave 99 of the plan no records are": {Generation: "full", Wave: 99},
		"no rollback is under way":              {Stop: true},
		"nothing was said":                      {Generation: "full", Confirm: func(RollbackPlan) error { return errors.New("nothing was said") }},
		"say from which generation":             {},
	} {
		if _, err := p.Rollback(t.Context(), t.Context(), o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%+v: %v, want %s", o, err, what)
		}
	}
	requireAllLoaded(t, p)
}

func waveOf(t *testing.T, dir, url, table string) int {
	t.Helper()
	p := reopen(t, dir, Viewing, url)
	defer p.Close()
	order, err := p.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range order.Steps {
		if s.Table == table {
			return s.Wave + 1
		}
	}
	t.Fatal("the plan lacks " + table)
	return 0
}

// TestRollbackGoesOn: stopped at its first, second ... request it goes on; until then nothing is loaded or
// staged; ended as it is, what went back waits and the rest is loaded.
func TestRollbackGoesOn(t *testing.T) {
	var left int // requests that are let through
	url := environment(t, 16, func(w http.ResponseWriter, r *http.Request) bool {
		if left > 0 || r.Method == http.MethodGet && strings.Contains(r.URL.Path, "WhoAmI") {
			left--
			return false
		}
		http.Error(w, `{"error":{"code":"0x80040220","message":"no privilege"}}`, http.StatusForbidden)
		return true
	})
	left = 1 << 30
	dir := goneProject(t, url, "account: {batch: 5}")
	stageAndLoad(t, dir, url)
	stops := 0
	for n := 1; ; n++ {
		p := reopen(t, dir, Loading, url)
		left = n
		o := RollbackOptions{Load: LoadOptions{SnapshotEvery: -1}}
		if n == 1 {
			o.Generation = "full"
		}
		r, err := p.Rollback(t.Context(), t.Context(), o)
		left = 1 << 30
		if err == nil {
			if got := inTargetNow(t, url); !r.Finished || len(got) != 1 {
				t.Errorf("%+v, and %d are left", r, len(got))
			}
			p.Close()
			break
		}
		if stops++; n > 50 {
			t.Fatalf("it does not come to its end: %v", err)
		}
		if note, _ := p.rolling(); note != nil {
			_, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
			if err == nil || !strings.Contains(err.Error(), "`dvmigrate rollback` goes on") {
				t.Fatalf("a load while a rollback is under way: %v", err)
			}
			if _, err := p.Stage(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "`dvmigrate rollback` goes on") || strings.Contains(err.Error(), "dvmigrate load") {
				t.Fatalf("a staging while a rollback is under way: %v", err)
			}
			if s, err := p.Status(t.Context()); err != nil || note.Stage == rollbackSending && s.GoesBack+s.Summary.InFlight < int64(len(inTargetNow(t, url)))-1 || s.GoesBack > int64(s.Summary.Source) {
				t.Errorf("status: %v, %d to go back, %d in flight, and %d are there", err, s.GoesBack, s.Summary.InFlight, len(inTargetNow(t, url))-1)
			}
			plan, err := p.PlanRollback(t.Context(), RollbackOptions{}, func(string, float64) {})
			if there := int64(len(inTargetNow(t, url))) - 1; err != nil || !plan.UnderWay || note.Stage == rollbackSending && (!plan.Asked || plan.Total.Found.Delete < there) {
				t.Errorf("of %d that are there still the plan has %v, %+v, %+v", there, err, plan.Total, plan.Total.Found)
			}
		}
		p.Close()
	}
	if stops < 3 {
		t.Errorf("%d stops: the test proves nothing", stops)
	}
	stageAndLoad(t, dir, url)

	p := reopen(t, dir, Loading, url)
	left = 5
	_, err := p.Rollback(t.Context(), t.Context(), RollbackOptions{Generation: "full", Load: LoadOptions{SnapshotEvery: -1}})
	left = 1 << 30
	if err == nil {
		t.Fatal("it came to its end: the test proves nothing")
	}
	r, err := p.Rollback(t.Context(), t.Context(), RollbackOptions{Stop: true, Load: LoadOptions{SnapshotEvery: -1}})
	if err != nil || !r.Finished || r.Back == 0 || r.Left == 0 || int64(len(inTargetNow(t, url)))-1 > r.Left {
		t.Errorf("%v, %+v", err, r)
	}
	if n := p.ledger.Counts("account").Action(ledger.Delete); n > 0 {
		t.Errorf("%d accounts wait to be deleted still", n)
	}
	p.Close()
	stageAndLoad(t, dir, url)
}

// TestRollbackTakesNobodyAlong: where the target deletes children with their parents, the parents alone do not
// go back.
func TestRollbackTakesNobodyAlong(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {batch: 5}")
	stageAndLoad(t, dir, url)
	wave := waveOf(t, dir, url, "account")
	p := reopen(t, dir, Loading, url)
	for i := range p.Schema.Table("contact").ManyToOne {
		if r := &p.Schema.Table("contact").ManyToOne[i]; r.Column == "parentcustomerid" {
			r.Cascade = map[string]string{"Delete": "Cascade"}
		}
	}
	load := LoadOptions{SnapshotEvery: -1}
	for _, x := range []struct {
		o    RollbackOptions
		want string
	}{
		{RollbackOptions{Tables: []string{"account"}}, "would not be rolled back: 8 links of contactleads (C0/L0, C1/L1, C2/L2 ...), 8 records of contact (C0, C1, C2 ...); all of these tables have to go back: --table contactleads,contact,account"},
		{RollbackOptions{Wave: wave}, "have to go back: --table contactleads,contact,lead,account"},
		{RollbackOptions{Keys: []string{"A1"}}, ": 1 link of contactleads (C1/L1), 1 record of contact (C1); --below takes"},
		{RollbackOptions{Keys: []string{"A1", "A2", "C2"}}, "2 links of contactleads (C1/L1, C2/L2), 1 record of contact (C1); --below"},
		{RollbackOptions{Keys: []string{"A1", "C1"}}, "rolled back: 1 link of contactleads (C1/L1); --below"},
	} {
		x.o.Generation, x.o.Load = "full", load
		if _, err := p.Rollback(t.Context(), t.Context(), x.o); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v, want %s", x.o, err, x.want)
		}
	}
	plan, err := p.PlanRollback(t.Context(), RollbackOptions{Generation: "full", Keys: []string{"A2"}, Below: true}, func(string, float64) {})
	if err != nil || plan.Total.Delete != 3 || plan.Total.Found == nil || plan.Total.Found.Delete != 3 {
		t.Errorf("A2 and what is below: %v, %+v", err, plan)
	}
	r, err := p.Rollback(t.Context(), t.Context(), RollbackOptions{Generation: "full", Keys: []string{"A2"}, Below: true, Load: load})
	if err != nil || r.Back != 3 || r.Left > 0 {
		t.Errorf("A2 and what is below: %v, %+v", err, r)
	}
	r, err = p.Rollback(t.Context(), t.Context(), RollbackOptions{Generation: "full", Keys: []string{"A1", "C1", "C1/L1"}, Load: load})
	if err != nil || r.Back != 3 {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestRollbackAfterARestore: snapshots hold what a rollback needs, discard destroys it. After a restore the
// target is looked at first.
func TestRollbackAfterARestore(t *testing.T) {
	url := environment(t, 16, nil)
	empty := inTargetNow(t, url)
	dir := goneProject(t, url, "account: {batch: 5}")
	stageAndLoad(t, dir, url)
	p := reopen(t, dir, Loading, url)
	safe := snapshotOf(t, p)
	p.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	restored := restoredFrom(t, safe, url)
	p = reopen(t, restored, Loading, url)
	o := RollbackOptions{Generation: "full", Load: LoadOptions{SnapshotEvery: -1}}
	if _, err := p.Rollback(t.Context(), t.Context(), o); err == nil || !strings.Contains(err.Error(), "the ledger comes from a snapshot") {
		t.Errorf("at once: %v", err)
	}
	requireAllLoaded(t, p)
	if r, err := p.Rollback(t.Context(), t.Context(), o); err != nil || r.Left > 0 || len(differences(empty, inTargetNow(t, url))) > 0 {
		t.Errorf("%v, %+v, and %v are left", err, r, differences(empty, inTargetNow(t, url)))
	}
	p.Close()
	d, err := Discard(t.Context(), restored, DiscardOptions{Force: true, Confirm: func(string) error { return nil }}, Options{Env: targetAt(url)})
	if err != nil {
		t.Fatal(err)
	}
	undo := filepath.Join(restored, "work", undoFile)
	if exists(undo) || !slices.ContainsFunc(d.Certificate.Destroyed, func(f DestroyedFile) bool { return f.Path == undo && f.Kind == "former values" }) {
		t.Errorf("the former values are there still, or the certificate does not name them: %+v", d.Certificate.Destroyed)
	}
}

// TestEstimateKnowsWhatIsRead: before an update the records are read, for what others have changed or for the
// way back; where neither is asked for, the estimate has half the requests.
func TestEstimateKnowsWhatIsRead(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {batch: 4}")
	stageAndLoad(t, dir, url)
	editSource(t, dir, "a.csv", "account", "changed")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int64{"skip, keep": 4, "overwrite, keep": 4, "skip, drop": 4, "overwrite, drop": 2} {
		table := p.Config.Tables["account"]
		table.OnConflict, table.Former, _ = strings.Cut(what, ", ")
		p.Config.Tables["account"] = table
		e, err := p.Estimate(t.Context(), EstimateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got int64
		for _, r := range e.Rows {
			if r.Table == "account" && r.Action == "update" && r.Pass == "insert" {
				got += r.Requests
			}
		}
		if got != want {
			t.Errorf("%s: %d requests, want %d", what, got, want)
		}
	}
}

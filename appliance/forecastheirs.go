package appliance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// defaultLook is the server time of a request that reads the owners of some hundred records: a guess, and most of it is
// what any request costs.
const defaultLook = 50 * time.Millisecond

// addHeirs adds what it takes that assignments take others along (heirs.go): heirs are looked at before and afterwards, and
// those whose rows say another owner than their parent's get it back.
func (f *forecast) addHeirs(ctx context.Context) error {
	before, err := f.p.tablesBefore(ctx)
	if err != nil {
		return err
	}
	book, heirs := heirBook{f.p, f.bound, before}, map[string]*ledger.Ranges{}
	for _, t := range f.bound.tables {
		if !f.staged[t.Name] || t.Link != nil || t.Lookup("ownerid") == nil || !slices.ContainsFunc(f.bound.tables, func(child *mapping.Table) bool { return load.Cascades(child.Schema, t.Name) }) {
			continue
		}
		waiting := f.p.waitingUpdates(t.Name)
		if waiting.Len() == 0 {
			continue
		}
		below, err := book.Below(ctx, t.Name, waiting, true)
		if err != nil {
			return fmt.Errorf("look for records that go along when %s are assigned: %w", t.Name, err)
		}
		for name, set := range below {
			if heirs[name] == nil {
				heirs[name] = &ledger.Ranges{}
			}
			heirs[name].Add(set.List())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(heirs)) {
		t := f.bound.byName[name]
		if t.Lookup("ownerid") == nil {
			continue
		}
		looks := 2 * int64((heirs[name].Len()+load.HeirsAtOnce-1)/load.HeirsAtOnce)
		f.work = append(f.work, plan.Work{Table: name, Pass: plan.Owners, Action: "look", Message: plan.Single, Batch: 1, Operations: looks, Parallel: f.a.Limits.Concurrent * f.a.Limits.Users,
			PerRecord: defaultLook, Source: plan.Default, Note: fmt.Sprintf("a guess: 50 ms to read the owners of %d records", load.HeirsAtOnce), Spread: defaultSpread})
		given, err := f.givenBack(ctx, book, t, heirs[name])
		if err != nil {
			return err
		}
		w := plan.Work{Table: name, Pass: plan.Owners, Action: "update", Message: plan.Batch, Batch: load.HeirsAtOnce, Operations: given, Parallel: f.a.Limits.Concurrent * f.a.Limits.Users, Bytes: bareBytes + lookupBytes}
		if f.cost(&w, 0, f.p.Config.Estimate.Rates[name].Update); given > 0 {
			f.work = append(f.work, w)
		}
	}
	return nil
}

// givenBack counts the heirs whose rows say another owner than their parent's: that is whose owner they get. Who is assigned by
// its own update is not counted.
func (f *forecast) givenBack(ctx context.Context, book heirBook, t *mapping.Table, heirs *ledger.Ranges) (int64, error) {
	given := &ledger.Ranges{}
	for _, r := range t.Schema.ManyToOne {
		parent := f.bound.byName[r.Target]
		if how := r.Cascade["Assign"]; how == "" || how == "NoCascade" || t.Lookup(r.Column) == nil || parent == nil || parent.Lookup("ownerid") == nil {
			continue
		}
		set, err := book.rows(ctx, heirs, fmt.Sprintf("SELECT c.dm_seq, c.dm_seq FROM %s c JOIN %s p ON c.%s = p.dm_id WHERE c.ownerid <> p.ownerid", duckstage.Ident(t.Name), duckstage.Ident(parent.Name), duckstage.Ident(r.Column)))
		if err != nil {
			return 0, fmt.Errorf("count the owners of %s that are given back: %w", t.Name, err)
		}
		given.Add(set.List())
	}
	own, err := book.assigned(ctx, t.Name, f.p.waitingUpdates(t.Name))
	if err != nil {
		return 0, err
	}
	given.Remove(own.List())
	return int64(given.Len()), nil
}

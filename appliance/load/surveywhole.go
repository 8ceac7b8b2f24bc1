package load

import (
	"context"
	"encoding/json"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/ledger"
)

// A table that goes back as a whole is read page by page, and its rows say what they are below: so nobody has to ask for
// children of some hundred records at once, which of a million takes fifty times as many requests.

// whole is what tables that were read to their end tell of those above them.
type whole struct {
	tables map[string]bool
	kept   map[string]*ledger.Ranges // by table: records that are to be deleted, and that something keeps from it
}

// above are the relationships by which records of a table go with others that are to be deleted, and the columns to read.
type above struct {
	ways    []schema.Relationship
	columns []string
	held    *ledger.Ranges // records of the table that stay as they are instead of getting back what they had
}

func (v *survey) above() *above {
	a, seen := &above{held: &ledger.Ranges{}}, map[string]bool{}
	a.held.Add(v.staying.left.List())
	for name := range v.l.o.Tables {
		if v.l.back.Tables[name].Delete.Len() == 0 {
			continue
		}
		for _, r := range DeletesAlong(name, v.table) {
			if a.ways = append(a.ways, r); !seen[r.Column] {
				seen[r.Column], a.columns = true, append(a.columns, lookupRead(r.Column))
			}
		}
	}
	return a
}

// parents calls fn with the records to be deleted that a record is below.
func (a *above) parents(v *survey, id schema.GUID, row *dataverse.Splitter, fn func(r schema.Relationship, parent uint32)) {
	for _, r := range a.ways {
		up, filled := row.GUID(row.Slot(lookupRead(r.Column)))
		if !filled || up == id {
			continue
		}
		if seq, ours := v.l.rowOf(r.Target, up); ours && v.l.back.Tables[r.Target].Delete.Has(seq) {
			fn(r, seq)
		}
	}
}

// keep notes what a record is below that is not to be deleted itself.
func (a *above) keep(v *survey, id schema.GUID, row *dataverse.Splitter) {
	a.parents(v, id, row, func(r schema.Relationship, parent uint32) {
		seq, _, ours := v.l.ours(v.table.Name, id)
		if ours && (a.held.Has(seq) || !v.staying.moved[r.Column].Has(seq)) || !ours && !v.l.back.Overwrite {
			v.keepAbove(r.Target, parent)
		}
	})
}

// stays notes what a record is below that was to be deleted and is not.
func (a *above) stays(v *survey, id schema.GUID, row *dataverse.Splitter) {
	a.parents(v, id, row, func(r schema.Relationship, parent uint32) { v.keepAbove(r.Target, parent) })
}

// tree notes what of its table a record is below that is to be deleted.
func (a *above) tree(v *survey, id schema.GUID, seq uint32, row *dataverse.Splitter) {
	a.parents(v, id, row, func(r schema.Relationship, parent uint32) {
		if r.Target == v.table.Name {
			v.inTree = append(v.inTree, inTree{seq, parent})
		}
	})
}

func (v *survey) keepAbove(table string, seq uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.whole.kept[table] == nil {
		v.whole.kept[table] = &ledger.Ranges{}
	}
	v.whole.kept[table].Add([]ledger.Range{ledger.One(seq)})
}

// keepLate notes what is above records of other tables of which only now is known that they stay: when they were read they
// were to be deleted.
func (v *survey) keepLate(ctx context.Context) error {
	a, late := v.above(), &ledger.Ranges{}
	if !v.whole.tables[v.table.Name] || len(a.ways) == 0 {
		return nil
	}
	for _, r := range v.l.back.Tables[v.table.Name].Delete.List() {
		late.Add(v.staying.left.Within(r))
	}
	if late.Remove(v.told.List()); late.Len() == 0 {
		return nil
	}
	return v.l.eachOf(ctx, ctx, v.l.backWork(v.table, v.step, Delete, ledger.Delete, late), late, "true", func(ctx context.Context, s *sender) error {
		row := dataverse.NewSplitter(a.columns)
		return s.target.Records(ctx, v.table.Schema, s.j.ids, a.columns, func(id schema.GUID, text json.RawMessage) error {
			err := row.Split(text)
			if err == nil {
				a.stays(v, id, row)
			}
			return err
		})
	})
}

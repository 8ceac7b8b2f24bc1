package load

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/ledger"
)

// Where a relationship cascades a deletion, a record takes its children along. One whose row is gone is not deleted while
// the target would delete a record of this migration with it that is not to go, or could not go so far: its row is
// still supplied, as a rule without the lookup, or `gone` lets it stay. The target is asked, as only it knows what would go. A
// child that is not of this migration goes along, as the environment's own settings say. It costs one read for each such
// table and some hundred deletions.

// childrenRead is how a child's own parent is read.
func childrenRead(r schema.Relationship) string { return "_" + r.Column + "_value" }

// deletesAlong are the relationships by which a deletion of a record of a table takes records of a staged one along.
func (l *Loader) deletesAlong(parent string, t *mapping.Table) (all []schema.Relationship) {
	for _, r := range t.Schema.ManyToOne {
		if r.Target == parent && r.Cascade["Delete"] == "Cascade" && t.Link == nil && t.Schema.Kind != schema.Virtual {
			all = append(all, r)
		}
	}
	return all
}

// leaveParents holds records back that are about to be deleted and would take others along, and returns the rest.
func (s *sender) leaveParents(ctx context.Context, set []int) (rest []int, err error) {
	of := make(map[schema.GUID]int, len(set))
	for _, i := range set {
		of[s.j.ids[i]] = i
	}
	for _, name := range slices.Sorted(maps.Keys(s.l.o.Tables)) {
		t := s.l.o.Tables[name]
		for _, r := range s.l.deletesAlong(s.w.table.Name, t) {
			found := map[int][]string{} // ids of the children that would go
			conditions := make([]string, 0, len(set))
			for _, i := range set {
				conditions = append(conditions, childrenRead(r)+" eq "+s.j.ids[i].String())
			}
			err := s.target.Matching(ctx, t.Schema, []string{childrenRead(r)}, conditions, func(row json.RawMessage) error {
				var have map[string]any
				if err := decode(row, &have); err != nil {
					return err
				}
				child, err1 := schema.ParseGUID(fmt.Sprint(have[t.Schema.PrimaryID]))
				parent, err2 := schema.ParseGUID(fmt.Sprint(have[childrenRead(r)]))
				i, asked := of[parent]
				if err1 == nil && err2 == nil && asked && s.l.ours(name, child) {
					found[i] = append(found[i], child.String())
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			for i, ids := range found {
				slices.Sort(ids)
				text := fmt.Sprintf("not deleted: the target would delete %d records of %s with it that are to stay, such as %s; change their %s, or let their rows go, with gone: delete",
					len(ids), name, ids[0], r.Column)
				s.j.results[i] = outcome{result: ledger.ResultHeld, reason: &ledger.Reason{Class: uint8(ClassAssociated), Text: text}}
			}
			if set = s.open(set); len(set) == 0 {
				return set, nil
			}
		}
	}
	return set, nil
}

// ours reports whether a record that is in the target is one of this migration.
func (l *Loader) ours(table string, id schema.GUID) bool {
	l.seqMu.Lock()
	defer l.seqMu.Unlock()
	seq, known := l.o.TargetSeq(table, id)
	if !known {
		return false
	}
	e, booked := l.book.Entry(table, seq)
	return booked && e.Action != ledger.Nothing
}

// removeTree deletes what waits for it in a table that takes records of its own along: children first, as each round finds
// fewer of them.
func (l *Loader) removeTree(ctx, drain context.Context, w *work) error {
	inTree := l.o.TargetSeq != nil && len(l.deletesAlong(w.table.Name, w.table)) > 0
	for held := 0; ; {
		if err := l.run(ctx, drain, w); err != nil || !inTree {
			return err
		}
		n := l.book.Counts(w.table.Name).Class(ledger.Held, uint8(ClassAssociated))
		if n == 0 || n == held {
			return nil
		}
		held = n
		if _, err := l.book.Retry(ctx, w.table.Name, ledger.Filter{Flags: []ledger.Flag{ledger.Held}, Classes: []uint8{uint8(ClassAssociated)}}); err != nil {
			return err
		}
	}
}

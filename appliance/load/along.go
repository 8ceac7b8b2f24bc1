package load

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// Where a relationship cascades a deletion, a record takes its children along. One whose row is gone is not deleted while
// the target would delete a record of this migration with it that is not to go, or could not go so far: its row is
// still supplied, as a rule without the lookup, or `gone` lets it stay. The target is asked, as only it knows what would go. A
// child that is not of this migration goes along, as the environment's own settings say; but not in a rollback, which
// leaves what others have done since, unless Overwrite is said. It costs one read for each such table and some hundred
// deletions.

// DeletesAlong are the relationships by which a deletion of a record of a table takes records of a staged one along.
func DeletesAlong(parent string, t *mapping.Table) (all []schema.Relationship) {
	for _, r := range t.Schema.ManyToOne {
		if r.Target == parent && r.Cascade["Delete"] == "Cascade" && t.Link == nil && t.Schema.Kind != schema.Virtual {
			all = append(all, r)
		}
	}
	return all
}

// leaveParents holds records back that are about to be deleted and would take others along, and returns the rest.
func (s *sender) leaveParents(ctx context.Context, set []int) (rest []int, err error) {
	for _, name := range slices.Sorted(maps.Keys(s.l.o.Tables)) {
		t := s.l.o.Tables[name]
		for _, r := range DeletesAlong(s.w.table.Name, t) {
			parents := make([]schema.GUID, len(set))
			for k, i := range set {
				parents[k] = s.j.ids[i]
			}
			found := map[int]children{}
			err := s.l.childrenOf(ctx, s.target, t, r, parents, func(k int, child schema.GUID) {
				c := found[set[k]]
				switch seq, e, ours := s.l.ours(t.Name, child); {
				case ours:
					c.ours = append(c.ours, child.String())
					if e.Action == ledger.Delete {
						c.going, c.last = c.going+1, max(c.last, seq)
					}
				case s.l.back == nil || s.l.back.Overwrite:
					return
				default:
					c.others = append(c.others, child.String())
				}
				found[set[k]] = c
			})
			if err != nil {
				return nil, err
			}
			for i, c := range found {
				s.j.results[i] = outcome{result: ledger.ResultHeld, reason: c.reason(name, r.Column, s.l.back)}
				if c.going > 0 {
					s.l.keepBack(keptBack{s.w.table.Name, s.j.seqs[i], name, c.last})
				}
			}
			if set = s.open(set); len(set) == 0 {
				return set, nil
			}
		}
	}
	return set, nil
}

// childrenOf reads in the target which children some records have by a relationship; fn gets the place of the parent. A
// record that is its own parent is not its child.
func (l *Loader) childrenOf(ctx context.Context, target Target, t *mapping.Table, r schema.Relationship, parents []schema.GUID, fn func(k int, child schema.GUID)) error {
	column := lookupRead(r.Column)
	of := make(map[schema.GUID]int, len(parents))
	conditions := make([]string, len(parents))
	for k, id := range parents {
		of[id], conditions[k] = k, column+" eq "+id.String()
	}
	reader := dataverse.NewSplitter([]string{t.Schema.PrimaryID, column})
	return target.Matching(ctx, t.Schema, []string{column}, conditions, func(row json.RawMessage) error {
		if err := reader.Split(row); err != nil {
			return err
		}
		child, isChild := reader.GUID(0)
		parent, isParent := reader.GUID(1)
		if k, asked := of[parent]; asked && isChild && isParent && child != parent {
			fn(k, child)
		}
		return nil
	})
}

// children are records that keep what they are below from being deleted.
type children struct {
	ours, others []string // ids
	going        int      // of ours: are to be deleted themselves
	last         uint32   // of these the last row
}

// reason tells why a record is not deleted. What a person may do about it differs in a rollback.
func (c *children) reason(table, column string, back *Rollback) *ledger.Reason {
	ids, class, are, todo := c.ours, ClassAssociated, "that should stay", "change their "+column+", or let their rows go, with gone: delete"
	switch {
	case len(c.ours) == 0:
		ids, class, are, todo = c.others, ClassConflict, "that somebody else has made", "--overwrite takes them along all the same"
	case back == nil && c.going == len(c.ours):
		are, todo = "that is to go, too, and did not", "`dvmigrate errors` says why; then retry --class associated"
	case back != nil:
		are, todo = "that did not go back", "see why, or change their "+column+", then roll back again"
	}
	slices.Sort(ids)
	return &ledger.Reason{Class: uint8(class), Text: fmt.Sprintf("not deleted: the target would delete %s of %s with it %s, such as %s; %s",
		progress.Counted(len(ids), "record"), table, are, ids[0], todo)}
}

// ours is the row of a record that is in the target, and its entry, if it is one of this migration.
func (l *Loader) ours(table string, id schema.GUID) (seq uint32, e ledger.Entry, ours bool) {
	seq, known := l.rowOf(table, id)
	if !known {
		return 0, e, false
	}
	e, booked := l.book.Entry(table, seq)
	return seq, e, booked && e.Action != ledger.Nothing
}

// keptBack is a record that was not deleted for children that are to be deleted themselves, and one of these.
type keptBack struct {
	table string
	seq   uint32
	below string // the child's table
	child uint32
}

func (l *Loader) keepBack(k keptBack) {
	l.aboveMu.Lock()
	defer l.aboveMu.Unlock()
	l.above = append(l.above, k)
}

// free takes those out of the records that were kept back whose child is gone. Most have no other then, as of several it is the
// last that is kept, which is reached last: so each is looked at twice or little more, however high the tree is.
func (l *Loader) free() map[string]*ledger.Ranges {
	l.aboveMu.Lock()
	defer l.aboveMu.Unlock()
	free := map[string]*ledger.Ranges{}
	l.above = slices.DeleteFunc(l.above, func(k keptBack) bool {
		e, _ := l.book.Entry(k.below, k.child)
		gone := e.Action == ledger.Delete && (e.Flag == ledger.Processed || e.Flag == ledger.Success)
		if gone {
			if free[k.table] == nil {
				free[k.table] = &ledger.Ranges{}
			}
			free[k.table].Add([]ledger.Range{ledger.One(k.seq)})
		}
		return gone
	})
	return free
}

// rowOf is the row of a record id in the target.
func (l *Loader) rowOf(table string, id schema.GUID) (seq uint32, known bool) {
	l.seqMu.Lock()
	defer l.seqMu.Unlock()
	return l.o.TargetSeq(table, id)
}

// untilNoneWaits deletes, round by round, as long as children went for which records were kept back: a tree goes from its
// leaves on, and what is below may come later in the order of the tables.
func (l *Loader) untilNoneWaits(ctx context.Context, round func() error) error {
	for {
		if err := round(); err != nil {
			return err
		}
		again := 0
		for table, set := range l.free() {
			n, err := l.waitAgain(ctx, table, set)
			if err != nil {
				return err
			}
			again += n
			l.o.Watch.Sent(table, string(Delete), 0, 0, -int64(n)) // they are counted when they are through
		}
		if again == 0 {
			return nil
		}
	}
}

// waitAgain lets those of some records wait again that were held for their children.
func (l *Loader) waitAgain(ctx context.Context, table string, set *ledger.Ranges) (int, error) {
	if set.Len() == 0 || l.book.Counts(table).Class(ledger.Held, uint8(ClassAssociated)) == 0 {
		return 0, nil
	}
	return l.book.Retry(ctx, table, ledger.Filter{Flags: []ledger.Flag{ledger.Held}, Classes: []uint8{uint8(ClassAssociated)}, Ranges: set.List()})
}

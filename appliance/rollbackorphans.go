package appliance

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// What the target deletes together with what goes back.

// takeAlong adds links of which it is not certain that this migration made them, as one that was there when it
// was to be made: also by a request of ours whose answer was lost. If it links a record that this migration made
// and that is deleted, it cannot be older, and goes with that in any case.
func (p *Project) takeAlong(ctx context.Context, b *bound, u *ledger.Undo, n *rollbackNote, sets map[string]backSets) (map[string]backSets, error) {
	for _, link := range b.tables {
		if link.Link == nil || !slices.Contains(n.Tables, link.Name) {
			continue
		}
		along := &ledger.Ranges{}
		for column, end := range map[string]string{link.Link.Column1: link.Link.Table1, link.Link.Column2: link.Link.Table2} {
			made := &ledger.Ranges{}
			made.Add(sets[end].Delete.List())
			made.Remove(sets[end].Maybe.List())
			if made.Len() == 0 || b.byName[end] == nil {
				continue
			}
			found, err := p.orphans(ctx, link, column, end, made, sets[link.Name].Delete)
			if err != nil {
				return nil, fmt.Errorf("look for links of %s to those of %s: %w", link.Name, end, err)
			}
			along.Add(found.List())
		}
		if n.Keyed {
			named := &ledger.Ranges{}
			for _, r := range n.Keys[link.Name] {
				named.Add(along.Within(r))
			}
			along = named
		}
		if along.Len() > 0 {
			if n.Along == nil {
				n.Along = map[string][]ledger.Range{}
			}
			n.Along[link.Name] = along.List()
			sets[link.Name] = p.backSetsOf(u, n, link.Name)
		}
	}
	return sets, nil
}

// refuseOrphans refuses to delete records that the target would delete others with which this migration made and
// which are not to go back: as a rule somebody has not thought of them. Of tables that go back as a whole all that can
// goes; what the rest of it is below stays (load.RollBack).
func (p *Project) refuseOrphans(ctx context.Context, b *bound, n *rollbackNote, sets map[string]backSets) error {
	for _, child := range b.tables {
		if k := child.Link; k != nil {
			for column, end := range map[string]string{k.Column1: k.Table1, k.Column2: k.Table2} {
				if sets[end].Delete.Len() == 0 || b.byName[end] == nil {
					continue
				}
				found, err := p.orphans(ctx, child, column, end, sets[end].Delete, sets[child.Name].Delete)
				if err != nil {
					return fmt.Errorf("look for links of %s to those of %s: %w", child.Name, end, err)
				}
				if found := found.Len(); found > 0 {
					return fmt.Errorf("the target takes links of %s back together with the %s that they link, and %d of them are loaded and would not be rolled back; add --table %s, or their keys%s",
						child.Name, end, found, child.Name, notKnown(sets[child.Name]))
				}
			}
			continue
		}
		if child.Schema == nil || !n.Keyed && slices.Contains(n.Tables, child.Name) {
			continue
		}
		for _, r := range child.Schema.ManyToOne {
			parent := sets[r.Target].Delete
			if r.Cascade["Delete"] != "Cascade" || parent.Len() == 0 || child.Lookup(r.Column) == nil || b.byName[r.Target] == nil {
				continue
			}
			found, err := p.orphans(ctx, child, r.Column, r.Target, parent, sets[child.Name].Delete)
			if err != nil {
				return fmt.Errorf("look for records of %s below those of %s: %w", child.Name, r.Target, err)
			}
			found.Remove(sets[child.Name].Restore.List())
			if found := found.Len(); found > 0 {
				return fmt.Errorf("the target deletes records of %s together with the %s that %s points to, and %d of them are loaded and would not be rolled back; add --table %s, or their keys%s",
					child.Name, r.Target, r.Column, found, child.Name, notKnown(sets[child.Name]))
			}
		}
	}
	return nil
}

// notKnown adds that no choice of tables helps those that the journal does not tell of.
func notKnown(s backSets) string {
	n := s.Unknown.Len() + s.Damaged.Len()
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of them cannot be rolled back, since the journal of changes does not know them, or is damaged: leave out what they belong to)", n)
}

// orphans are rows whose record is in the target and is not to be deleted, while what it points to is. Where an update waits
// the target has another row: it is asked what is below what goes when that is about to be deleted.
func (p *Project) orphans(ctx context.Context, child *mapping.Table, name, parent string, gone, deleted *ledger.Ranges) (found *ledger.Ranges, err error) {
	found = &ledger.Ranges{}
	query := fmt.Sprintf("SELECT c.dm_seq, p.dm_seq FROM %s c JOIN %s p ON p.dm_id = c.%s", duckstage.Ident(child.Name), duckstage.Ident(parent), duckstage.Ident(name))
	err = p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		for i := range b.Rows {
			seq := uint32(b.Columns[0].Ints[i])
			if e, _ := p.ledger.Entry(child.Name, seq); gone.Has(uint32(b.Columns[1].Ints[i])) && !deleted.Has(seq) && e.Action != ledger.Nothing && inTarget(e) && (e.Action != ledger.Update || e.Flag != ledger.Unprocessed) {
				found.Add([]ledger.Range{ledger.One(seq)})
			}
		}
		return nil
	})
	return found, err
}

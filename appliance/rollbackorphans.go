package appliance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
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

// below are rows of a table whose record the target deletes with another that goes back, or of links that it takes
// back with one, and which would not go back themselves.
type below struct {
	table string
	rows  *ledger.Ranges
}

// allBelow finds them. Of tables that go back as a whole all that can goes; what the rest of it is below stays
// (load.RollBack).
func (p *Project) allBelow(ctx context.Context, b *bound, n *rollbackNote, sets map[string]backSets) (all []below, err error) {
	for _, child := range b.tables {
		rows := &ledger.Ranges{}
		if k := child.Link; k != nil {
			for column, end := range map[string]string{k.Column1: k.Table1, k.Column2: k.Table2} {
				if sets[end].Delete.Len() == 0 || b.byName[end] == nil {
					continue
				}
				found, err := p.orphans(ctx, child, column, end, sets[end].Delete, sets[child.Name].Delete)
				if err != nil {
					return nil, fmt.Errorf("look for links of %s to those of %s: %w", child.Name, end, err)
				}
				rows.Add(found.List())
			}
		} else if child.Schema != nil && (n.Keyed || !slices.Contains(n.Tables, child.Name)) {
			for _, r := range child.Schema.ManyToOne {
				parent := sets[r.Target].Delete
				if r.Cascade["Delete"] != "Cascade" || parent.Len() == 0 || child.Lookup(r.Column) == nil || b.byName[r.Target] == nil {
					continue
				}
				found, err := p.orphans(ctx, child, r.Column, r.Target, parent, sets[child.Name].Delete)
				if err != nil {
					return nil, fmt.Errorf("look for records of %s below those of %s: %w", child.Name, r.Target, err)
				}
				found.Remove(sets[child.Name].Restore.List())
				rows.Add(found.List())
			}
		}
		if rows.Len() > 0 {
			all = append(all, below{child.Name, rows})
		}
	}
	return all, nil
}

// takeBelow adds what is below the named records to them, and what is below that. What did not go back by its own
// generation stays out of it, and is what refuseBelow finds.
func (p *Project) takeBelow(ctx context.Context, b *bound, u *ledger.Undo, n *rollbackNote, sets map[string]backSets) error {
	for more := true; more; {
		all, err := p.allBelow(ctx, b, n, sets)
		if err != nil {
			return err
		}
		more = false
		for _, x := range all {
			named := &ledger.Ranges{}
			named.Add(n.Keys[x.table])
			had := named.Len()
			if named.Add(x.rows.List()); named.Len() == had {
				continue
			}
			more = true
			n.Keys[x.table] = named.List()
			if !slices.Contains(n.Tables, x.table) {
				n.Tables = append(n.Tables, x.table)
			}
			sets[x.table] = p.backSetsOf(u, n, x.table)
		}
	}
	n.Tables = slices.DeleteFunc(deletionOrder(b), func(t string) bool { return !slices.Contains(n.Tables, t) })
	return nil
}

// refuseBelow refuses to delete records that the target would delete others with which this migration made and
// which are not to go back: as a rule somebody has not thought of them.
func (p *Project) refuseBelow(ctx context.Context, b *bound, u *ledger.Undo, n *rollbackNote, sets map[string]backSets) error {
	all, err := p.allBelow(ctx, b, n, sets)
	if err != nil || len(all) == 0 {
		return err
	}
	// What would go back with all that is below, so that it is said at once.
	whole := *n
	whole.Keyed, whole.Keys, whole.Along = true, map[string][]ledger.Range{}, maps.Clone(n.Along)
	for _, t := range n.Tables {
		whole.Keys[t] = []ledger.Range{{From: 0, To: 1<<32 - 1}}
		if n.Keyed {
			whole.Keys[t] = n.Keys[t]
		}
	}
	with := maps.Clone(sets)
	if err := p.takeBelow(ctx, b, u, &whole, with); err != nil {
		return err
	}
	if with, err = p.takeAlong(ctx, b, u, &whole, with); err != nil {
		return err
	}
	whole.Keyed = n.Keyed
	rest, err := p.allBelow(ctx, b, &whole, with)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("the target would delete along with these, or take back, what cannot be rolled back: %s; it was loaded before %s, or is in flight, or the journal of changes does not know it: leave out what it belongs to",
			p.wordBelow(ctx, b, rest), n.Name)
	}
	advice := "--below takes that back, too"
	if !n.Keyed {
		advice = "all of these tables have to go back: --table " + strings.Join(whole.Tables, ",")
	}
	var more []below
	for _, t := range whole.Tables {
		rows := &ledger.Ranges{}
		rows.Add(with[t].Delete.List())
		rows.Add(with[t].Restore.List())
		rows.Remove(sets[t].Delete.List())
		rows.Remove(sets[t].Restore.List())
		if rows.Len() > 0 {
			more = append(more, below{t, rows})
		}
	}
	return fmt.Errorf("the target would delete along with these, or take back, what is loaded and would not be rolled back: %s; %s", p.wordBelow(ctx, b, more), advice)
}

// wordBelow says how many rows of which tables, with some of their keys.
func (p *Project) wordBelow(ctx context.Context, b *bound, all []below) string {
	const keys = 3
	var out []string
	for _, x := range all {
		kind := "record"
		if b.byName[x.table].Link != nil {
			kind = "link"
		}
		text := progress.Counted(int64(x.rows.Len()), kind) + " of " + x.table
		var some []string
		for _, r := range x.rows.List() {
			for seq := r.From; seq < r.To && len(some) < keys; seq++ {
				some = append(some, strconv.FormatUint(uint64(seq), 10))
			}
		}
		query := fmt.Sprintf("SELECT legacy_key::VARCHAR FROM %s WHERE dm_seq IN (%s) ORDER BY dm_seq", duckstage.Ident(x.table), strings.Join(some, ", "))
		var names []string
		err := p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var key string
			err := scan(&key)
			names = append(names, key)
			return err
		})
		if err == nil && len(names) > 0 { // the numbers are true without them
			text += " (" + strings.Join(names, ", ")
			if x.rows.Len() > keys {
				text += " ..."
			}
			text += ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// deletionOrder are the tables that records are made in, those first that are deleted first.
func deletionOrder(b *bound) (tables []string) {
	for _, s := range slices.Backward(b.plan.Steps) {
		if s.Pass == plan.Insert || s.Pass == plan.Link {
			tables = append(tables, s.Table)
		}
	}
	return tables
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

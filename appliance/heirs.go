package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// heirsFile is, in the work folder, the note on records that may go along with one that a load or a rollback is assigning
// (load/heirs.go). It is there from before the first such request until their owners are right again.
const heirsFile = "heirs.json"

// owesHeirs reports whether a load or a rollback was cut off before they had their owners back: then the next load has
// something to do, even if no record waits.
func (p *Project) owesHeirs() bool { return exists(p.workFile(heirsFile)) }

// heirBook finds and keeps heirs.
type heirBook struct {
	p      *Project
	b      *bound
	before map[string]bool // Project.before
}

// knows reports whether the stage says what has changed of a table's rows.
func (h heirBook) knows(table string) bool {
	return h.before[table] && !h.p.wentBehind(table) && !h.p.ledger.AsRestored(table)
}

// Kept implements what load asks for.
func (h heirBook) Kept() (kept load.Heirs, err error) {
	if _, err = readNote(h.p.workFile(heirsFile), &kept); err != nil {
		err = fmt.Errorf("read which records may have gone along with others that were assigned, %s: %w", h.p.workFile(heirsFile), err)
	}
	return kept, err
}

// Keep implements what load asks for.
func (h heirBook) Keep(heirs load.Heirs) error {
	if len(heirs.Records) > 0 {
		return keepNote(h.p.workFile(heirsFile), heirs)
	}
	if err := os.Remove(h.p.workFile(heirsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Below implements what load asks for: it goes down from parents to children where a relationship cascades an assignment.
// A record that is moved has one parent before its update and another behind it, and nobody knows which it has when they
// are assigned: it is below both. One that waits and of which it is not known what the target has is below any.
func (h heirBook) Below(ctx context.Context, table string, parents *ledger.Ranges, changed bool) (map[string]*ledger.Ranges, error) {
	if changed {
		var err error
		if parents, err = h.assigned(ctx, table, parents); err != nil {
			return nil, err
		}
	}
	type level struct {
		table string
		set   *ledger.Ranges
	}
	found := map[string]*ledger.Ranges{}
	for todo := []level{{table, parents}}; len(todo) > 0; todo = todo[1:] {
		above := todo[0]
		if above.set.Len() == 0 {
			continue
		}
		for _, t := range h.b.tables {
			for _, r := range t.Schema.ManyToOne {
				how := r.Cascade["Assign"]
				if r.Target != above.table || how == "" || how == "NoCascade" || t.Lookup(r.Column) == nil {
					continue
				}
				fresh, err := h.children(ctx, t, r.Column, above.table, above.set)
				if err == nil && found[t.Name] == nil {
					found[t.Name] = &ledger.Ranges{}
					err = h.unknown(ctx, t.Name, changed, fresh)
				}
				if err != nil {
					return nil, err
				}
				fresh.Remove(found[t.Name].List())
				found[t.Name].Add(fresh.List())
				todo = append(todo, level{t.Name, fresh})
			}
		}
	}
	return found, nil
}

// assigned are those of the records whose update carries an owner.
func (h heirBook) assigned(ctx context.Context, table string, waiting *ledger.Ranges) (*ledger.Ranges, error) {
	if !h.knows(table) {
		return waiting, nil
	}
	return h.butFor(ctx, table, waiting, "NOT list_contains(string_split(dm_changed, ','), 'ownerid')")
}

// butFor is a set of waiting records without those of which it is known what has changed, and it is so that condition
// holds. Of a row that is not in <table>_before nothing is known, as after a rollback behind the generation that changed it.
func (h heirBook) butFor(ctx context.Context, table string, waiting *ledger.Ranges, condition string) (*ledger.Ranges, error) {
	known, err := h.rows(ctx, waiting, fmt.Sprintf("SELECT dm_seq, dm_seq FROM %s WHERE dm_changed IS NOT NULL AND %s ORDER BY dm_seq", duckstage.Ident(table+load.BeforeSuffix), condition))
	if err != nil {
		return nil, err
	}
	rest := &ledger.Ranges{}
	rest.Add(waiting.List())
	rest.Remove(known.List())
	return rest, nil
}

// children are the rows of a table that point to records of a set, or did so in what the target has of them.
func (h heirBook) children(ctx context.Context, t *mapping.Table, lookup, parent string, set *ledger.Ranges) (*ledger.Ranges, error) {
	list, up := set.List(), duckstage.Ident(lookup)
	from := fmt.Sprintf("SELECT dm_seq, %s AS up FROM %s", up, duckstage.Ident(t.Name))
	if h.before[t.Name] {
		from += fmt.Sprintf(" UNION ALL SELECT dm_seq, %s FROM %s", up, duckstage.Ident(t.Name+load.BeforeSuffix))
	}
	return h.rows(ctx, set, fmt.Sprintf("SELECT c.dm_seq, p.dm_seq FROM (%s) c JOIN %s p ON c.up = p.dm_id WHERE p.dm_seq >= %d AND p.dm_seq < %d ORDER BY c.dm_seq",
		from, duckstage.Ident(parent), list[0].From, list[len(list)-1].To))
}

// unknown adds the rows of a table that wait for an update and of which it is not known what the target has; in a
// rollback, when the stage does not have what they get, all that wait.
func (h heirBook) unknown(ctx context.Context, table string, loading bool, into *ledger.Ranges) error {
	waiting := h.p.waitingUpdates(table)
	if loading && h.knows(table) && waiting.Len() > 0 {
		var err error
		if waiting, err = h.butFor(ctx, table, waiting, "true"); err != nil {
			return err
		}
	}
	into.Add(waiting.List())
	return nil
}

// waitingUpdates are the records of a table that wait for an update.
func (p *Project) waitingUpdates(table string) *ledger.Ranges {
	waiting := &ledger.Ranges{}
	for span := range p.ledger.Spans(table, 0) {
		if span.Action == ledger.Update && span.Flag == ledger.Unprocessed {
			waiting.Add([]ledger.Range{span.Range})
		}
	}
	return waiting
}

// rows are the first numbers of a query's rows whose second is in a set.
func (h heirBook) rows(ctx context.Context, set *ledger.Ranges, query string) (*ledger.Ranges, error) {
	out := &ledger.Ranges{}
	err := h.p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		for i := range b.Rows {
			if set.Has(uint32(b.Columns[1].Ints[i])) {
				out.Add([]ledger.Range{ledger.One(uint32(b.Columns[0].Ints[i]))})
			}
		}
		return nil
	})
	return out, err
}

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
	p *Project
	b *bound
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

// Below implements what load asks for: it goes down from parents to children, as the staged rows have them, and where a
// relationship cascades an assignment.
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
				if err != nil {
					return nil, err
				}
				if found[t.Name] == nil {
					found[t.Name] = &ledger.Ranges{}
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
	settings := h.p.loadSettings(table)
	if !settings.Before || settings.Whole {
		return waiting, nil
	}
	return h.rows(ctx, waiting, fmt.Sprintf("SELECT dm_seq, dm_seq FROM %s WHERE dm_changed IS NULL OR list_contains(string_split(dm_changed, ','), 'ownerid') ORDER BY dm_seq",
		duckstage.Ident(table+load.BeforeSuffix)))
}

// children are the rows of a table that point to records of a set, or did when they were loaded: a record that moves
// away in the same load is still below its former parent when that is assigned. Where it is not known what a waiting row
// had, it counts as one.
func (h heirBook) children(ctx context.Context, t *mapping.Table, lookup, parent string, set *ledger.Ranges) (*ledger.Ranges, error) {
	list := set.List()
	within := fmt.Sprintf("p.dm_seq >= %d AND p.dm_seq < %d", list[0].From, list[len(list)-1].To)
	point := func(from string) string {
		return fmt.Sprintf("SELECT c.dm_seq, p.dm_seq FROM %s c JOIN %s p ON c.%s = p.dm_id WHERE %s", from, duckstage.Ident(parent), duckstage.Ident(lookup), within)
	}
	query := point(duckstage.Ident(t.Name))
	if settings := h.p.loadSettings(t.Name); settings.Before {
		unknown := "c.dm_changed IS NULL"
		if settings.Whole {
			unknown = "true"
		}
		before := duckstage.Ident(t.Name + load.BeforeSuffix)
		query += " UNION ALL " + point(before) + fmt.Sprintf(" UNION ALL SELECT c.dm_seq, %d FROM %s c WHERE %s", list[0].From, before, unknown)
	}
	return h.rows(ctx, set, "SELECT * FROM ("+query+") ORDER BY 1")
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

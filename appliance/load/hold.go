package load

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// FlagsSuffix names the relation that shows a table's ledger entries to SQL:
// <table>_flags (dm_seq, action, flag, pass, ...). The appliance provides it.
const FlagsSuffix = "_flags"

// holdPiece is how many records are held back in one call to the ledger.
const holdPiece = 10_000

// holdDependants holds back the waiting records of a table whose lookups point to
// a record that failed or is held, so that they are not sent to fail too
// (method.md M7). Those held back before are looked at anew, so that they follow when
// their parent is mended. For the main pass these are the lookups that the insert carries,
// for the second pass the deferred ones.
func (l *Loader) holdDependants(ctx context.Context, t *mapping.Table, pass ledger.Pass, deferred []string) error {
	if pass == ledger.Files || pass == ledger.State {
		return nil
	}
	if l.book.Counts(t.Name).Class(ledger.Held, uint8(ClassParent)) > 0 { // their parents may be there by now
		f := ledger.Filter{Flags: []ledger.Flag{ledger.Held}, Classes: []uint8{uint8(ClassParent)}, Passes: []ledger.Pass{pass}}
		if _, err := l.book.Retry(ctx, t.Name, f); err != nil {
			return fmt.Errorf("let records wait again: %w", err)
		}
	}
	for i := range t.Lookups {
		lookup := &t.Lookups[i]
		if slices.Contains(deferred, lookup.LogicalName) != (pass == ledger.Lookups) {
			continue
		}
		for _, target := range lookup.Targets {
			if !target.Staged || l.missing(target.Table) == 0 {
				continue
			}
			if err := l.holdBehind(ctx, t, pass, mapping.Ident(t.Name), lookup.LogicalName, target.Table); err != nil {
				return fmt.Errorf("hold back records whose %s failed: %w", target.Table, err)
			}
		}
	}
	if pass != ledger.Main {
		return nil
	}
	return l.holdParties(ctx, t)
}

// missing is how many records of a table the target does not have because they
// failed or are held.
func (l *Loader) missing(table string) int {
	counts, n := l.book.Counts(table), 0
	for _, f := range []ledger.Flag{ledger.Failed, ledger.Held} {
		n += counts.Of(f, ledger.Main, ledger.Insert)
	}
	return n
}

// holdBehind holds back the rows of a table that point to a record of parent which failed
// or is held; points is what has dm_seq and the column with its id.
func (l *Loader) holdBehind(ctx context.Context, t *mapping.Table, pass ledger.Pass, points, name, parent string) error {
	flag := "U"
	if pass != ledger.Main {
		flag = "S"
	}
	query := fmt.Sprintf(`SELECT x.dm_seq, p.legacy_key FROM %[1]s x
		JOIN %[2]s p ON p.dm_id = x.%[3]s
		JOIN %[4]s f ON f.dm_seq = p.dm_seq AND f.flag IN ('E', 'H') AND f.pass = 'main' AND f.action = 'I'
		JOIN %[5]s s ON s.dm_seq = x.dm_seq AND s.flag = '%[6]s' AND s.pass = '%[7]s' AND s.action <> 'N'
		ORDER BY x.dm_seq`,
		points, mapping.Ident(parent), mapping.Ident(name), mapping.Ident(parent+FlagsSuffix), mapping.Ident(t.Name+FlagsSuffix), flag, pass)
	var holdings []ledger.Holding
	flush := func() error {
		err := l.book.Hold(ctx, t.Name, holdings)
		holdings = holdings[:0]
		return err
	}
	held, last := 0, uint32(0)
	err := l.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		for i := range b.Rows {
			seq := uint32(b.Columns[0].Ints[i])
			if held > 0 && seq == last { // it points to several
				continue
			}
			last = seq
			text := fmt.Sprintf("%s: the %s with legacy key '%s' failed or is held back", name, parent, b.Columns[1].TextAt(i))
			holdings = append(holdings, ledger.Holding{Range: ledger.One(seq), Reason: ledger.Reason{Class: uint8(ClassParent), Text: text}})
			held++
			if len(holdings) >= holdPiece {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if held > 0 {
		l.o.Watch.Note(t.Name, fmt.Sprintf("%s held back, since the %s pointed to failed", progress.Counted(held, "record"), parent))
	}
	return flush()
}

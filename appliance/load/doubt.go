package load

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// settleDoubts decides the records that an earlier run left in flight: their
// requests were sent, or about to be, and no outcome was recorded. Of inserts, the
// target says which it has; updates, later passes and links are absolute and
// simply wait again. What is absent may still arrive, if its request is under way:
// then sending it again is refused as a duplicate, and reading back finds it.
func (l *Loader) settleDoubts(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(l.o.Tables)) {
		t := l.o.Tables[name]
		spans := l.book.InFlight(name)
		if len(spans) == 0 {
			continue
		}
		n := 0
		for _, s := range spans {
			n += s.Len()
		}
		l.o.Watch.Note(name, progress.Counted(n, "record", "was", "were")+" in flight when the last run ended: looked up now")
		for _, s := range spans {
			if err := l.settleDoubt(ctx, t, s); err != nil {
				return fmt.Errorf("look up records of %s in flight: %w", name, err)
			}
		}
	}
	return nil
}

func (l *Loader) settleDoubt(ctx context.Context, t *mapping.Table, s ledger.Span) error {
	if s.Pass == ledger.Main && s.Action == ledger.Delete && t.Link == nil {
		return l.settleDeleted(ctx, t, s)
	}
	released := ledger.Outcome{Range: s.Range, Result: ledger.ResultReleased, Counted: true}
	if s.Pass != ledger.Main || s.Action != ledger.Insert || t.Link != nil {
		return l.book.Settle(ctx, t.Name, []ledger.Outcome{released})
	}
	if t.ServerIDs {
		return l.settleDoubtByKey(ctx, t, s)
	}
	query := fmt.Sprintf("SELECT dm_seq, dm_owed, dm_id FROM %s WHERE dm_seq >= %d AND dm_seq < %d", mapping.Ident(t.Name), s.From, s.To)
	var outcomes []ledger.Outcome
	err := l.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		seqs, owed := b.Column(mapping.Seq), b.Column(mapping.Owed)
		ids := make([]schema.GUID, b.Rows)
		for i := range ids {
			ids[i] = schema.GUID(b.Column(mapping.ID).UUIDs[i])
		}
		found, err := l.target.Existing(ctx, t.Schema, ids)
		if err != nil {
			return err
		}
		for i, id := range ids {
			o := ledger.Outcome{Range: ledger.One(uint32(seqs.Ints[i])), Result: ledger.ResultReleased, Counted: true}
			if _, ok := found[id]; ok && !l.book.Reused(t.Name) { // else it is given the row's values
				o.Result, o.Counted, o.Next = ledger.ResultSuccess, false, owedAfter(uint8(owed.Ints[i]), ledger.Main)
			}
			outcomes = append(outcomes, o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.settleFound(ctx, t, s, outcomes, nil)
}

// settleFound settles what was found out of all records of a span; ids are those that are to be kept.
func (l *Loader) settleFound(ctx context.Context, t *mapping.Table, s ledger.Span, outcomes []ledger.Outcome, ids []ledger.RecordID) error {
	if len(outcomes) < s.Len() {
		return fmt.Errorf("the stage holds %d of the records %s", len(outcomes), s.Range)
	}
	if err := l.doubted(t, outcomes); err != nil {
		return err
	}
	return l.book.SettleIDs(ctx, t.Name, outcomes, ids)
}

// settleDoubtByKey is settleDoubt for records whose ids Dataverse assigns: their keys
// tell which are there. Where no key in the target forbids a second one, it waits until
// no request can be under way any more.
func (l *Loader) settleDoubtByKey(ctx context.Context, t *mapping.Table, s ledger.Span) error {
	if age := time.Since(s.Changed()); !uniqueMatch(t) && age < lateTime {
		wait := (lateTime - age).Round(time.Second)
		l.o.Watch.Note(t.Name, fmt.Sprintf("waiting %v: the requests whose answers were lost may be at work still", wait))
		if err := dataverse.Pause(ctx, wait); err != nil {
			return err
		}
	}
	columns := []string{mapping.Seq, mapping.Owed}
	for _, name := range t.Match {
		columns = append(columns, mapping.Ident(name))
	}
	query := fmt.Sprintf("SELECT %s FROM %s WHERE dm_seq >= %d AND dm_seq < %d", strings.Join(columns, ", "), mapping.Ident(t.Name), s.From, s.To)
	var outcomes []ledger.Outcome
	var ids []ledger.RecordID
	err := l.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		keys := make([]matchKey, b.Rows)
		for i := range keys {
			keys[i] = keyOf(t, b, i)
		}
		found, err := matches(ctx, l.target, t, keys)
		if err != nil {
			return err
		}
		for i, k := range keys {
			seq := uint32(b.Column(mapping.Seq).Ints[i])
			o := ledger.Outcome{Range: ledger.One(seq), Result: ledger.ResultReleased, Counted: true}
			switch there := found[k.same]; {
			case len(there) == 1 && k.condition != "":
				o.Result, o.Counted, o.Next = ledger.ResultSuccess, false, owedAfter(uint8(b.Column(mapping.Owed).Ints[i]), ledger.Main)
				ids = append(ids, ledger.RecordID{Seq: seq, ID: there[0]})
			case len(there) > 1:
				o.Result, o.Counted = ledger.ResultFailed, false
				o.Reason = ledger.Reason{Class: uint8(ClassDuplicate), Text: fmt.Sprintf("the target has %d records with %s", len(there), k.condition)}
			}
			outcomes = append(outcomes, o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.settleFound(ctx, t, s, outcomes, ids)
}

// settleDeleted is settleDoubt for deletions: what is there still waits to be deleted
// anew, unless that may be under way.
func (l *Loader) settleDeleted(ctx context.Context, t *mapping.Table, s ledger.Span) error {
	if age := time.Since(s.Changed()); age < lateTime {
		l.o.Watch.Note(t.Name, fmt.Sprintf("their deletes may be at work in the target still; waiting %s before they are looked up", (lateTime-age).Round(time.Second)))
		if err := dataverse.Pause(ctx, lateTime-age); err != nil {
			return err
		}
	}
	query := fmt.Sprintf("SELECT dm_seq, dm_id FROM %s WHERE dm_seq >= %d AND dm_seq < %d", l.goneTable(t), s.From, s.To)
	var outcomes []ledger.Outcome
	err := l.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		ids := make([]schema.GUID, b.Rows)
		for i := range ids {
			ids[i] = schema.GUID(b.Columns[1].UUIDs[i])
			if t.KeptIDs() {
				id, _, err := l.keptID(t.Name, ids[i])
				if err != nil {
					return err
				}
				ids[i] = id
			}
		}
		found, err := l.target.Existing(ctx, t.Schema, ids)
		if err != nil {
			return err
		}
		for i, id := range ids {
			o := ledger.Outcome{Range: ledger.One(uint32(b.Columns[0].Ints[i])), Result: ledger.ResultSuccess}
			if _, there := found[id]; there {
				o.Result, o.Counted = ledger.ResultReleased, true
			}
			outcomes = append(outcomes, o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(outcomes) < s.Len() {
		return fmt.Errorf("the stage holds %d of the gone records %s", len(outcomes), s.Range)
	}
	return l.book.Settle(ctx, t.Name, outcomes)
}

package appliance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/appliance/reconcile"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// After the restore of a snapshot the target may have been given more than the ledger knows: also
// records that it calls done, by deltas that were lost with the disk. Were nothing done about them,
// a value that goes back to what the snapshot has would never be sent, since its row seems not to
// have changed, and one that goes on would look as if somebody else had changed the record.
//
// So the first load reads the records that our own users have changed last, and after the snapshot
// (modifiedon, which the service sets with every change and which nobody can write), compares them
// with their rows, and sends those that differ with all columns: after it the target has again what
// ledger and stage say. It costs a request for each 5,000 such records of a table and, after
// a crash without a lost staging, sends nothing. A record that somebody else has changed since stays
// as it is, as do the deletes of a lost delta, which nobody can tell from others': reconcile shows them.

const (
	modifiedOn = "modifiedon"
	createdOn  = "createdon"
)

// clockSlack is by how much the service's clock may differ from ours: with more nobody can sign in.
const clockSlack = 5 * time.Minute

// meetRestored lets records wait for an update that a lost run has changed.
func (p *Project) meetRestored(ctx, drain context.Context, b *bound, target *users, tracker *progress.Tracker) error {
	tables := slices.DeleteFunc(slices.Clone(b.tables), func(t *mapping.Table) bool { return !p.mayBeAhead(t) })
	if len(tables) == 0 {
		return nil
	}
	ours := p.ours(target)
	if len(ours) == 0 {
		tracker.Note("", "records are written as other users, so that what a lost delta may have changed cannot be told from what they did: run `dvmigrate reconcile`")
		return nil
	}
	way, err := target.route(config.Headers{})
	if err != nil {
		return err
	}
	filter := changedSince(p.ledger.AsOf(), ours)
	found := map[string][]uint32{}
	tracker.Note("", fmt.Sprintf("restored from a snapshot of %s: before anything is sent, what this migration has changed in the target since then is read back", p.ledger.AsOf().Format(time.DateTime)))
	defer tracker.Doing("", progress.Unknown)
	seqOf := p.targetSeq(b)
	_, err = reconcile.Run(dataverse.Stopping(ctx, drain), p.stage, p.ledger, way, reconcile.Options{Tables: tables, Values: true, RecordSeq: seqOf, Kept: p.keptID(b), Staged: p.stagedID(b, seqOf),
		Rules: p.comparisonRules, Only: func(string) string { return filter }, Keep: math.MaxInt,
		Watch: func(table string, done, _ int64) { tracker.Doing(readingChanged(table, done), progress.Unknown) },
		Found: func(table string, seq int64, m reconcile.Mismatch) error {
			if m.Kind == reconcile.Different {
				found[table] = append(found[table], uint32(seq))
			}
			return nil
		}})
	if errors.Is(err, dataverse.ErrStopping) {
		return load.ErrDrained
	}
	if err != nil {
		return fmt.Errorf("look for what was changed after the snapshot: %w", err)
	}
	for _, t := range tables {
		n, err := p.sendWhole(ctx, t.Name, found[t.Name])
		if err != nil {
			return err
		}
		if n > 0 {
			tracker.Note(t.Name, progress.Counted(n, "record", "was", "were")+" changed by this migration after the snapshot: to be sent again as staged")
		}
	}
	return nil
}

// readingChanged says what a load is at before it sends anything, so that it does not seem to stand
// still. Records are compared many at once, and counted then.
func readingChanged(table string, compared int64) string {
	text := "reading what was changed in " + table + " after the snapshot"
	if compared > 0 {
		text += ", " + progress.Grouped(compared) + " records so far"
	}
	return text
}

// mayBeAhead reports whether the target may have more of a table's records than the ledger says, and
// tells who changed them when.
func (p *Project) mayBeAhead(t *mapping.Table) bool {
	if t.Link != nil || t.Schema.Kind == schema.Virtual || t.Schema.Column(modifiedOn) == nil || t.Schema.Column("modifiedby") == nil || t.Schema.Column(createdOn) == nil {
		return false
	}
	c := p.ledger.Counts(t.Name)
	return p.ledger.Behind(t.Name) && !p.ledger.AsOf().IsZero() && c.Flag(ledger.Processed)+c.Flag(ledger.Success) > 0
}

// changedSince is the condition of records that are older than a moment, and that one of the users
// has changed last, and later.
func changedSince(moment time.Time, users []schema.GUID) string {
	by := make([]string, len(users))
	for i, id := range users {
		by[i] = "_modifiedby_value eq " + id.String()
	}
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	return fmt.Sprintf("%s ge %s and %s le %s and (%s)", modifiedOn, at(moment.Add(-clockSlack)), createdOn, at(moment.Add(clockSlack)), strings.Join(by, " or "))
}

// sendWhole lets records that are done wait for an update of all columns; not those whose rows are
// not to be sent as they are now.
func (p *Project) sendWhole(ctx context.Context, table string, seqs []uint32) (n int, err error) {
	slices.Sort(seqs)
	for some := range slices.Chunk(slices.Compact(seqs), syncPiece) {
		texts := make([]string, len(some))
		for i, seq := range some {
			texts[i] = fmt.Sprint(seq)
		}
		var ranges []ledger.Range
		query := fmt.Sprintf("SELECT dm_seq FROM %s WHERE dm_hold IS NULL AND dm_seq IN (%s) ORDER BY 1", duckstage.Ident(table), strings.Join(texts, ","))
		err := p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var seq uint32
			err := scan(&seq)
			if e, _ := p.ledger.Entry(table, seq); err == nil && (e.Flag == ledger.Processed || e.Flag == ledger.Success) && e.Action != ledger.Delete {
				ranges = addRange(ranges, seq)
				n++
			}
			return err
		})
		if err != nil {
			return n, fmt.Errorf("look for rows of %s: %w", table, err)
		}
		plan := make([]ledger.Planned, len(ranges))
		for i, r := range ranges {
			plan[i] = ledger.Planned{Range: r, Action: ledger.Update}
		}
		if err := p.ledger.Plan(ctx, table, plan); err != nil {
			return n, err
		}
	}
	return n, nil
}

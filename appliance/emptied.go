package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// A target may be emptied, or restored to an earlier state, behind our back. What then waits would fail
// record by record where it is an update, and where it is an insert it would go, without a word, into an
// environment that lacks all else. So a load that has something to send first asks for some of each table's
// records that the ledger says are there. The whole was emptied or restored if it lacks more than half of them, and a
// table was emptied if it lacks all of its: users may well delete half of a table, and the load is told
// so by the records that fail.
//
// That costs one $batch with a read of some hundred bytes for each table, and one read a table
// more where one of them may not be read. A restore that left most records tells itself by marks (marks.go).

const (
	probeEach  = 20 // records of each table that are asked for
	probeFewer = 10 // with fewer than these nothing is told of the rest
)

// EmptiedError says that the target lacks most of what this project has loaded, or all of a table, or what it was given
// last. Nothing was sent.
type EmptiedError struct {
	Tables []Probed `json:"tables"` // those with records that are missing
	Asked  int      `json:"asked"`
	Gone   int      `json:"gone"` // of them

	Restored *TurnedBack `json:"restored,omitempty"` // to an earlier state, in which it has most of the others
}

// Probed is how many of a table's records were asked for.
type Probed struct {
	Table string `json:"table"`
	Asked int    `json:"asked"`
	Gone  int    `json:"gone"`
}

func (e *EmptiedError) Error() string {
	if e.Restored != nil {
		return e.Restored.words() + "\nnothing was sent, and the target is as it was. `dvmigrate reconcile` lists what it lacks, and `dvmigrate retry --reconciled` lets that wait to be sent again; " +
			"or run this with --accept-missing, to send only what waits now"
	}
	tables := make([]string, len(e.Tables))
	for i, t := range e.Tables {
		tables[i] = fmt.Sprintf("%s %d of %d", t.Table, t.Gone, t.Asked)
	}
	if 2*e.Gone <= e.Asked {
		return fmt.Sprintf("the target has none of the records of a table that this project has loaded and that were looked for (%s): the table seems to have been emptied since; or this user may not read it\n"+
			"nothing was sent, and the target is as it was. `dvmigrate reconcile` lists what is missing, and `dvmigrate retry --reconciled` lets that wait to be sent again; or run this with --accept-missing, to send only what waits now",
			strings.Join(tables, ", "))
	}
	return fmt.Sprintf("the target does not have %d of %d records that this project has loaded and that were looked for (%s): it seems to have been emptied, or restored to an earlier state, since; or it is another environment, or this user may not read them\n"+
		"nothing was sent, and the target is as it was. `dvmigrate reconcile` lists what is missing, and `dvmigrate retry --reconciled` lets that wait to be sent again; or run this with --accept-missing, to send only what waits now",
		e.Gone, e.Asked, strings.Join(tables, ", "))
}

// refuseEmptied asks the target for a sample of the records that it is to have, and is an *EmptiedError
// where it lacks them. A table that may not be read is left out, with a line in the log.
func (p *Project) refuseEmptied(ctx, drain context.Context, b *bound, target *users) error {
	if p.waiting() == 0 && p.refuseInFlight() == nil {
		return nil // nothing would be sent
	}
	way, err := target.route(config.Headers{})
	if err != nil {
		return err
	}
	var asked []dataverse.Asked
	for _, c := range p.probeSample(b) {
		ids, err := p.targetIDs(ctx, c.table, c.seqs)
		if err != nil {
			return fmt.Errorf("look for ids of %s: %w", c.table.Name, err)
		}
		if len(ids) > 0 {
			asked = append(asked, dataverse.Asked{Table: c.table.Schema, IDs: ids})
		}
	}
	kept, marks, err := p.marked(b)
	if err != nil {
		return err
	}
	sampled := len(asked)
	if asked = append(asked, marks...); len(asked) == 0 {
		return nil
	}
	looking := dataverse.Stopping(ctx, drain)
	there, err := way.ExistingEach(looking, asked)
	if err != nil && !errors.Is(err, dataverse.ErrStopping) && ctx.Err() == nil { // perhaps of one table
		there, err = p.existingOne(looking, way, asked)
	}
	if errors.Is(err, dataverse.ErrStopping) {
		return load.ErrDrained
	}
	if err != nil {
		return fmt.Errorf("look whether the target still has what was loaded: %w", err)
	}
	if err := judgeMissing(asked[:sampled], there[:sampled]); err != nil {
		return err
	}
	if t := judgeMarks(kept, marks, there[sampled:]); t != nil {
		return cmp.Or(p.writeMarks(slices.Concat(kept...), true), error(&EmptiedError{Restored: t}))
	}
	return nil
}

// existingOne asks table by table; of those that may not be read there is nil.
func (p *Project) existingOne(ctx context.Context, way *route, asked []dataverse.Asked) (all []map[schema.GUID]time.Time, err error) {
	for i, a := range asked {
		there, err := way.ExistingEach(ctx, asked[i:i+1])
		switch kind := dataverse.KindOf(err); {
		case kind == dataverse.Setup || kind == dataverse.NotFound || kind == dataverse.RowFault || kind == dataverse.Unsupported:
			p.o.Log.Warn("it is not known whether the target still has what was loaded: it may not be read", "table", a.Table.LogicalName, "error", err)
			there = []map[schema.GUID]time.Time{nil}
		case err != nil:
			return nil, fmt.Errorf("%s: %w", a.Table.LogicalName, err)
		}
		all = append(all, there[0])
	}
	return all, nil
}

// judgeMissing is an *EmptiedError where more than half of all is missing, or all of a table.
func judgeMissing(asked []dataverse.Asked, there []map[schema.GUID]time.Time) error {
	var found EmptiedError
	var emptied []Probed
	for i, a := range asked {
		if there[i] == nil { // it may not be read
			continue
		}
		one := Probed{a.Table.LogicalName, len(a.IDs), len(a.IDs) - len(there[i])}
		found.Asked, found.Gone = found.Asked+one.Asked, found.Gone+one.Gone
		if one.Gone > 0 {
			found.Tables = append(found.Tables, one)
		}
		if one.Asked >= probeFewer && one.Gone == one.Asked {
			emptied = append(emptied, one)
		}
	}
	switch {
	case found.Asked >= probeFewer && 2*found.Gone > found.Asked:
		return &found
	case len(emptied) > 0:
		found.Tables = emptied
		return &found
	}
	return nil
}

// probed reports whether the ledger is certain that the target has the record. One that failed may have
// failed because it is missing, and one that is to be deleted may be gone already.
func probed(e ledger.Entry) bool {
	switch e.Action {
	case ledger.Insert:
		return e.Flag == ledger.Processed || e.Flag == ledger.Success
	case ledger.Update:
		return e.Flag == ledger.Processed || e.Flag == ledger.Success || e.Flag == ledger.Unprocessed
	}
	return false
}

// probedOf counts those records.
func probedOf(c ledger.Counts) (n int) {
	for _, a := range []ledger.Action{ledger.Insert, ledger.Update} {
		for _, f := range []ledger.Flag{ledger.Unprocessed, ledger.Success, ledger.Processed} {
			for _, pass := range []ledger.Pass{ledger.Main, ledger.Lookups, ledger.Files, ledger.State} {
				if probed(ledger.Entry{Action: a, Flag: f}) {
					n += c.Of(f, pass, a)
				}
			}
		}
	}
	return n
}

// probe is what is asked for of a table.
type probe struct {
	table *mapping.Table
	seqs  []uint32
}

// probeSample chooses the records that are asked for, the same ones each time, spread evenly over those that
// the target has of each table. Records in partitions of their own an id alone does not find.
func (p *Project) probeSample(b *bound) (all []probe) {
	for _, t := range b.tables {
		if t.Link != nil || t.Schema.Kind == schema.Virtual || partitioned(t) {
			continue
		}
		have := probedOf(p.ledger.Counts(t.Name))
		if seqs := p.spread(t.Name, min(probeEach, have), have); len(seqs) > 0 {
			all = append(all, probe{t, seqs})
		}
	}
	return all
}

// spread are n of the table's have records that can be asked for. It goes by the spans of the ledger, and
// no further than to the last of them.
func (p *Project) spread(table string, n, have int) (seqs []uint32) {
	if n == 0 {
		return nil
	}
	before := 0 // records that can be asked for in the spans before
	for s := range p.ledger.Spans(table, 0) {
		if !probed(s.Entry) {
			continue
		}
		for at := (2*len(seqs) + 1) * have / (2 * n); at < before+s.Len(); at = (2*len(seqs) + 1) * have / (2 * n) {
			if seqs = append(seqs, s.From+uint32(at-before)); len(seqs) == n {
				return seqs
			}
		}
		before += s.Len()
	}
	return seqs
}

// targetIDs are the ids of a table's records in the target. Of one whose id nobody has kept none is known.
func (p *Project) targetIDs(ctx context.Context, t *mapping.Table, seqs []uint32) ([]schema.GUID, error) {
	var names map[uint32]recordName
	if t.KeepID {
		var err error
		if names, err = p.recordNames(ctx, t.Name, seqs); err != nil {
			return nil, err
		}
	}
	number, _ := p.ledger.Table(t.Name)
	var ids []schema.GUID
	for _, seq := range seqs {
		id, kept, err := p.ledger.ID(t.Name, seq)
		switch {
		case err != nil:
			return nil, err
		case kept:
			ids = append(ids, id)
		case t.ServerIDs:
		case t.KeepID:
			if id, err := schema.ParseGUID(names[seq].id); err == nil { // a row that is gone may have none
				ids = append(ids, id)
			}
		default:
			ids = append(ids, duckstage.RecordID(p.set, number.Number, seq))
		}
	}
	return ids, nil
}

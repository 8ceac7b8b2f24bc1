package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
// environment that lacks all else. So a load that has something to send first asks for some of the records
// that the ledger says are there.

const (
	probeMost  = 100 // records that are asked for: a request or two a table
	probeFewer = 10  // with fewer than these nothing is told of the rest
)

// EmptiedError says that the target lacks most of what this project has loaded. Nothing was sent.
type EmptiedError struct {
	Tables []Probed `json:"tables"` // those with records that are missing
	Asked  int      `json:"asked"`
	Gone   int      `json:"gone"` // of them
}

// Probed is how many of a table's records were asked for.
type Probed struct {
	Table string `json:"table"`
	Asked int    `json:"asked"`
	Gone  int    `json:"gone"`
}

func (e *EmptiedError) Error() string {
	tables := make([]string, len(e.Tables))
	for i, t := range e.Tables {
		tables[i] = fmt.Sprintf("%s %d of %d", t.Table, t.Gone, t.Asked)
	}
	return fmt.Sprintf("the target does not have %d of %d records that this project has loaded and that were looked for (%s): it seems to have been emptied, or restored to an earlier state, since; or it is another environment, or this user may not read them\n"+
		"nothing was sent, and the target is as it was. `dvmigrate reconcile` lists what is missing, and `dvmigrate retry --reconciled` lets that wait to be sent again; or run this with --accept-missing, to send only what waits now",
		e.Gone, e.Asked, strings.Join(tables, ", "))
}

// refuseEmptied asks the target for a sample of the records that it is to have, and is an *EmptiedError
// where it lacks more than half of them. A table that may not be read is left out, with a line in the log.
func (p *Project) refuseEmptied(ctx, drain context.Context, b *bound, target *users) error {
	if p.waiting() == 0 && p.refuseInFlight() == nil {
		return nil // nothing would be sent
	}
	way, err := target.route(config.Headers{})
	if err != nil {
		return err
	}
	var found EmptiedError
	for _, c := range p.probeSample(b) {
		t := c.table
		ids, err := p.targetIDs(ctx, t, c.seqs)
		if err != nil {
			return fmt.Errorf("look for ids of %s: %w", t.Name, err)
		}
		there, err := way.Existing(dataverse.Stopping(ctx, drain), t.Schema, ids)
		switch kind := dataverse.KindOf(err); {
		case errors.Is(err, dataverse.ErrStopping):
			return load.ErrDrained
		case kind == dataverse.Setup || kind == dataverse.NotFound || kind == dataverse.RowFault || kind == dataverse.Unsupported:
			p.o.Log.Warn("it is not known whether the target still has what was loaded: it may not be read", "table", t.Name, "error", err)
			continue
		case err != nil:
			return fmt.Errorf("look whether the target still has what was loaded of %s: %w", t.Name, err)
		}
		one := Probed{t.Name, len(ids), len(ids) - len(there)}
		found.Asked, found.Gone = found.Asked+one.Asked, found.Gone+one.Gone
		if one.Gone > 0 {
			found.Tables = append(found.Tables, one)
		}
	}
	if found.Asked < probeFewer || 2*found.Gone <= found.Asked {
		return nil
	}
	return &found
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
	have  int // records that the target has, by the ledger
	seqs  []uint32
}

// probeSample chooses the records that are asked for, the same ones each time: as many of each table, as far
// as it has them, spread evenly over those. Records in partitions of their own an id alone does not find.
func (p *Project) probeSample(b *bound) []probe {
	var all []probe
	for _, t := range b.tables {
		if t.Link == nil && t.Schema.Kind != schema.Virtual && !partitioned(t) {
			all = append(all, probe{table: t, have: probedOf(p.ledger.Counts(t.Name))})
		}
	}
	slices.SortStableFunc(all, func(a, b probe) int { return cmp.Compare(a.have, b.have) })
	left := probeMost
	for i := range all {
		n := min(left/(len(all)-i), all[i].have)
		left -= n
		all[i].seqs = p.spread(all[i].table.Name, n, all[i].have)
	}
	return slices.DeleteFunc(all, func(c probe) bool { return len(c.seqs) == 0 })
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

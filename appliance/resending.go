package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"dvmigrate/appliance/progress"
	"dvmigrate/appliance/reconcile"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// Resent is what of a comparison's mismatches waits again.
type Resent struct {
	Version int           `json:"version"`
	Records int64         `json:"records"`
	Tables  []ResentTable `json:"tables"`
}

// ResentTable is a table's share.
type ResentTable struct {
	Name    string `json:"name"`
	Inserts int64  `json:"inserts"` // the target does not have them
	Updates int64  `json:"updates"` // the target has them with other values; all columns are sent
	// Left is how many stay as they are: extra and double records, and those whose row is gone or does
	// not fit.
	Left int64 `json:"left"`
}

// RetryReconciled lets records wait again that the last comparison found missing or different: after a
// target was emptied, restored, or changed by others. The settings decide as ever what becomes of
// records that somebody else has changed (on_conflict). tables: only these; none: all.
func (p *Project) RetryReconciled(ctx context.Context, tables []string) (r Resent, err error) {
	r = Resent{Version: 1, Tables: []ResentTable{}}
	if err := p.refuseUnsettled(); err != nil {
		return r, err
	}
	if err := (FailureFilter{Tables: tables}).validate(p.ledger); err != nil {
		return r, err
	}
	last, err := p.lastReconciled(ctx)
	if err != nil {
		return r, err
	}
	end, err := p.record(ctx, "retry", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() { end(err, progress.Counted(r.Records, "missing or different record", "waits", "wait")+" again") }()
	_, restored, err := p.marks()
	if err != nil {
		return r, err
	}
	for _, t := range last.Result.Tables {
		if t.Missing+t.Extra+t.Different+t.Duplicates == 0 && !restored || len(tables) > 0 && !slices.Contains(tables, t.Name) {
			continue
		}
		resent, err := p.resend(ctx, t, restored)
		if err != nil {
			return r, fmt.Errorf("let records of %s wait again: %w", t.Name, err)
		}
		if r.Records += resent.Inserts + resent.Updates; resent.Inserts+resent.Updates+resent.Left > 0 {
			r.Tables = append(r.Tables, resent)
		}
	}
	return r, p.dropMarks(tables...) // what they would tell is known, and to be sent again
}

// lastReconciled is the last comparison, if it is of what is staged and loaded now.
func (p *Project) lastReconciled(ctx context.Context) (*ReportedCompare, error) {
	status, err := p.Status(ctx)
	if err != nil {
		return nil, err
	}
	last, err := p.reportedCompare(ctx, status.Summary)
	switch {
	case err != nil:
		return nil, err
	case last == nil:
		return nil, errors.New("nothing was compared with the target yet; run `dvmigrate reconcile` first")
	case !last.Holds:
		return nil, errors.New("something was staged or loaded since the last comparison with the target; run `dvmigrate reconcile` again first")
	}
	return last, nil
}

// resend plans a table's records anew. Where a load has found the target restored to an earlier state, updates that
// wait go with all columns, too: the comparison does not judge them, and what they do not change may be of then.
func (p *Project) resend(ctx context.Context, t reconcile.TableResult, restored bool) (r ResentTable, err error) {
	r.Name = t.Name
	at, ok := p.ledger.Table(t.Name)
	if !ok {
		return r, errors.New("the ledger does not know the table")
	}
	due, err := p.keptDue(t.Name, at.Count)
	if err != nil {
		return r, err
	}
	s := syncer{p: p, table: stagedTable{Name: t.Name, Number: at.Number}}
	// What has no row any more, or one that does not fit, cannot be sent.
	err = p.stage.Scan(ctx, "SELECT dm_seq FROM "+duckstage.Ident(t.Name)+" WHERE dm_hold IS NULL ORDER BY dm_seq", nil, func(b *column.Batch) error {
		for _, n := range b.Columns[0].Ints[:b.Rows] {
			switch seq := uint32(n); {
			case dueHas(due.missing, seq):
				s.do(seq, ledger.Insert)
				r.Inserts++
			case dueHas(due.different, seq):
				s.do(seq, ledger.Update)
				r.Updates++
			default:
				if e, _ := p.ledger.Entry(t.Name, seq); !restored || e.Action != ledger.Update || e.Flag != ledger.Unprocessed {
					continue
				}
			}
			s.whole = addRange(s.whole, uint32(n)) // in every pass
		}
		if len(s.plan) >= syncPiece {
			return s.flush(ctx)
		}
		return nil
	})
	if err == nil {
		err = s.flush(ctx)
	}
	r.Left = t.Missing + t.Different + t.Extra + t.Duplicates - r.Inserts - r.Updates
	return r, err
}

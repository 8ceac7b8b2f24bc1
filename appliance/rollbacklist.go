package appliance

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"

	"dvmigrate/ledger"
)

// gather notes what went back and what did not, and lists the latter.
func (g *goingBack) gather(ctx context.Context, n *rollbackNote) error {
	p := g.p
	n.Done, n.Left, n.Lost = map[string][]ledger.Range{}, map[string][]ledger.Range{}, 0
	list := filepath.Join(p.work(), "rollback-"+n.Begun.Format("20060102-150405")+".csv")
	f, err := os.OpenFile(list, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := csv.NewWriter(f)
	_ = w.Write([]string{"table", "legacy_key", "record_id", "what", "class", "reason"})
	rows := int64(0)
	for _, t := range n.Tables {
		s := p.backSetsOf(g.undo, n, t)
		done, left := &ledger.Ranges{}, &ledger.Ranges{}
		for span := range p.ledger.Spans(t, 0) {
			into := done
			if span.Flag != ledger.Processed {
				into = left
			}
			into.Add(s.Delete.Within(span.Range))
			into.Add(s.Restore.Within(span.Range))
			into.Add(s.Damaged.Within(span.Range))
		}
		n.Done[t], n.Left[t] = done.List(), left.List()
		lost := p.lostOf(g.undo, n, t)
		n.Lost += int64(lost.Len())
		k, err := p.listLeft(ctx, w, t, left, lost)
		if err != nil {
			return fmt.Errorf("list the records of %s that did not go back: %w", t, err)
		}
		rows += k
	}
	if w.Flush(); w.Error() != nil {
		return w.Error()
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if n.List = list; rows == 0 {
		n.List = ""
		if err := os.Remove(list); err != nil {
			return err
		}
	}
	n.Stage = rollbackFinishing
	return p.keepRolling(n)
}

// lostOf are the records that a generation deleted, by the settings, and that stay so.
func (p *Project) lostOf(u *ledger.Undo, n *rollbackNote, table string) *ledger.Ranges {
	before := *n
	before.Stage = rollbackPlanning
	s := p.backSetsOf(u, &before, table)
	s.Lost.Remove(u.Since(n.Since, table).Made.List())
	return s.Lost
}

// listLeft writes a line for each record that did not go back.
func (p *Project) listLeft(ctx context.Context, w *csv.Writer, table string, left, lost *ledger.Ranges) (rows int64, err error) {
	write := func(page []tableFailure, what func(Failure) string) error {
		var named FailureList
		if err := p.nameFailures(ctx, page, &named); err != nil {
			return err
		}
		for _, f := range named.Errors {
			rows++
			if err := w.Write([]string{table, f.LegacyKey, f.RecordID, what(f), f.Class, f.Message}); err != nil {
				return err
			}
		}
		return nil
	}
	err = p.eachFailure(ctx, table, FailureFilter{Tables: []string{table}}, func(e ledger.Failure) error {
		if !left.Has(e.Seq) {
			return nil
		}
		return write([]tableFailure{{table, e}}, func(f Failure) string {
			if f.Flag == "H" {
				return "left alone"
			}
			return "refused"
		})
	})
	if err != nil {
		return rows, err
	}
	for _, r := range lost.List() {
		for from := r.From; from < r.To; {
			var page []tableFailure
			for ; from < r.To && len(page) < failurePage; from++ {
				page = append(page, tableFailure{table, ledger.Failure{Seq: from}})
			}
			for i := range page {
				page[i].Reason.Text = "the load deleted the record, and it cannot be made again as it was"
			}
			if err := write(page, func(Failure) string { return "deleted" }); err != nil {
				return rows, err
			}
		}
	}
	return rows, nil
}

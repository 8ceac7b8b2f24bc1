package appliance

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// waitAgain lets what went back wait for a load, where its row is still staged.
func (g *goingBack) waitAgain(ctx context.Context, n *rollbackNote, table string) error {
	l := g.p.ledger
	done := &ledger.Ranges{}
	done.Add(n.Done[table])
	if done.Len() == 0 {
		return nil
	}
	there := g.undo.Since(n.Since, table).There
	var inserts []ledger.Planned
	var updates []ledger.Range // with an attempt, so that the next staging knows that all of their columns may differ
	var holds []ledger.Holding
	flush := func() error {
		if len(inserts) > 0 {
			if err := l.Plan(ctx, table, inserts); err != nil {
				return err
			}
		}
		if err := l.Reset(ctx, table, updates, ledger.Update, false); err != nil {
			return err
		}
		if len(holds) > 0 {
			if err := l.Hold(ctx, table, holds); err != nil {
				return err
			}
		}
		inserts, updates, holds = nil, nil, nil
		return nil
	}
	list := done.List()
	query := fmt.Sprintf(`SELECT dm_seq, dm_hold FROM %s WHERE dm_seq >= %d AND dm_seq < %d ORDER BY dm_seq`, duckstage.Ident(table), list[0].From, list[len(list)-1].To)
	err := g.p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		hold := b.Column("dm_hold")
		for i := range b.Rows {
			seq := uint32(b.Column(mapping.Seq).Ints[i])
			e, _ := l.Entry(table, seq)
			if !done.Has(seq) || e.Flag != ledger.Processed { // not meant, or made to wait before a kill
				continue
			}
			switch {
			case e.Action == ledger.Delete || there.Has(seq):
				inserts = append(inserts, ledger.Planned{Range: ledger.One(seq), Action: ledger.Insert})
			default:
				updates = addRange(updates, seq)
			}
			if !hold.Null(i) {
				text := string(hold.TextAt(i))
				holds = append(holds, ledger.Holding{Range: ledger.One(seq), Reason: ledger.Reason{Class: uint8(holdClass(text)), Text: text}})
			}
		}
		if len(inserts)+len(updates) < syncPiece {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err == nil && g.p.Config.Table(table).Gone == "deactivate" {
		err = g.deactivateAgain(ctx, table, done)
	}
	if err != nil {
		return err
	}
	return g.undo.Undone(n.Since, table, list)
}

// deactivateAgain lets records wait whose rows are gone and which are active again.
func (g *goingBack) deactivateAgain(ctx context.Context, table string, done *ledger.Ranges) error {
	var again []ledger.Range
	for span := range g.p.ledger.Spans(table, 0) {
		if span.Action == ledger.Update && span.Flag == ledger.Processed { // those that are staged wait by now
			again = append(again, done.Within(span.Range)...)
		}
	}
	return g.p.ledger.Reset(ctx, table, again, ledger.Update, false)
}

// leave makes what did not go back what it was: done, as the target has it.
func (g *goingBack) leave(ctx context.Context, n *rollbackNote, table string) error {
	left := &ledger.Ranges{}
	left.Add(n.Left[table])
	there := g.undo.Since(n.Since, table).There
	var made, changed []ledger.Range
	for span := range g.p.ledger.Spans(table, 0) {
		if span.Flag != ledger.Failed && span.Flag != ledger.Held {
			continue
		}
		for _, r := range left.Within(span.Range) {
			for seq := r.From; seq < r.To; seq++ {
				if span.Action == ledger.Delete || there.Has(seq) {
					made = addRange(made, seq)
				} else {
					changed = addRange(changed, seq)
				}
			}
		}
	}
	for ranges := range slices.Chunk(made, syncPiece) {
		if err := g.p.ledger.Reset(ctx, table, ranges, ledger.Insert, true); err != nil {
			return err
		}
	}
	for ranges := range slices.Chunk(changed, syncPiece) {
		if err := g.p.ledger.Reset(ctx, table, ranges, ledger.Update, true); err != nil {
			return err
		}
	}
	return nil
}

// noteBehind notes for which tables the stage's <table>_before is not so any more: the rollback went
// behind the generation that is staged. Until the next staging, updates there carry all columns.
func (p *Project) noteBehind(n *rollbackNote) error {
	all, err := p.ledger.Generations()
	if err != nil || len(all) == 0 || all[len(all)-1].Number == n.Since {
		return err
	}
	behind, err := p.behind()
	if err != nil {
		return err
	}
	for _, t := range n.Tables {
		known, _ := p.ledger.Table(t)
		behind[t] = known.Generation
	}
	return keepNote(p.workFile(behindFile), behind)
}

// behind are the tables that noteBehind noted, each with its staging.
func (p *Project) behind() (map[string]string, error) {
	behind := map[string]string{}
	if _, err := readNote(p.workFile(behindFile), &behind); err != nil {
		return nil, fmt.Errorf("read %s: %w", p.workFile(behindFile), err)
	}
	return behind, nil
}

// wentBehind reports whether a rollback went behind what is staged of a table. What cannot be read counts
// as yes: then all columns are sent.
func (p *Project) wentBehind(table string) bool {
	behind, err := p.behind()
	t, _ := p.ledger.Table(table)
	return err != nil || behind[table] != "" && behind[table] == t.Generation
}

package appliance

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// RollbackResult is how a rollback ended.
type RollbackResult struct {
	Version  int           `json:"version"`
	Plan     RollbackPlan  `json:"plan"`
	Back     int64         `json:"back"` // records that went back
	Left     int64         `json:"left"` // records that others have changed, or that the target refused
	Lost     int64         `json:"lost"` // records that were deleted and are not made again
	List     string        `json:"list"` // file that names each that did not go back, with the reason; "" = there is none
	Finished bool          `json:"finished"`
	Summary  Counts        `json:"summary"`
	Tables   []TableStatus `json:"tables"`
	Seconds  float64       `json:"seconds"`
	Stopped  string        `json:"stopped,omitempty"`
}

// Rollback takes back what the generations from one on did, or goes on with a rollback that is under
// way. When drain ends it finishes what is begun and returns ErrDrained.
func (p *Project) Rollback(ctx, drain context.Context, o RollbackOptions) (r RollbackResult, err error) {
	begin := time.Now()
	r = RollbackResult{Version: 1}
	end, err := p.record(ctx, "rollback", p.o.Args)
	if err != nil {
		return r, err
	}
	defer func() {
		r.Seconds = time.Since(begin).Seconds()
		end(err, fmt.Sprintf("%d records went back, %d did not", r.Back, r.Left+r.Lost))
	}()
	n, err := p.rolling()
	switch {
	case err != nil:
		return r, err
	case n != nil && o.scoped():
		return r, fmt.Errorf("%w; say neither generation nor tables nor keys then", p.refuseRollback())
	case n == nil && o.Stop:
		return r, errors.New("no rollback is under way, so there is none to stop")
	}
	if err := p.sync(ctx); err != nil {
		return r, err
	}
	back, err := p.openBack(ctx, o)
	if err != nil {
		return r, err
	}
	defer back.close()
	if n == nil {
		if n, err = back.begin(ctx, drain, o, &r); n == nil || err != nil {
			return r, p.explainTarget(err)
		}
	} else {
		n.Overwrite = n.Overwrite || o.Overwrite
		r.Plan = p.rollbackPlan(n, []string{n.Name}, p.allSets(back.undo, n))
	}
	err = back.run(ctx, drain, n, o, &r)
	s, statusErr := p.Status(ctx)
	r.Summary, r.Tables = s.Summary, s.Tables
	if err != nil {
		r.Stopped = err.Error()
		return r, p.explainTarget(err)
	}
	return r, statusErr
}

// goingBack is all that a rollback needs.
type goingBack struct {
	p       *Project
	b       *bound
	undo    *ledger.Undo
	target  *users
	loader  func() *load.Loader
	tracker *progress.Tracker
	o       RollbackOptions
}

func (p *Project) openBack(ctx context.Context, o RollbackOptions) (g *goingBack, err error) {
	g = &goingBack{p: p, o: o, tracker: progress.New()}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.b, err = p.bindStaged(ctx); err != nil {
		return g, err
	}
	if err := p.sameIDs(g.b); err != nil {
		return g, err
	}
	links, err := p.links(g.b)
	if err != nil {
		return g, err
	}
	if g.undo, err = p.openUndo(); err != nil {
		return g, p.explainTarget(err)
	}
	if g.target, err = p.meet(ctx, o.Load.PerUser, o.Load.NewTarget); err != nil {
		return g, err
	}
	routes, err := p.routes(g.target, g.b)
	if err != nil {
		return g, err
	}
	g.loader = func() *load.Loader { // one is used once
		return load.New(p.stage, p.ledger, routes[""], load.Options{
			Undo: g.undo, Plan: g.b.plan, Tables: g.b.byName, Links: links, Settings: p.loadSettings, Target: func(table string) load.Target { return routes[table] },
			Parallel: p.parallel(o.Load, len(g.target.each)), RecordSeq: p.recordSeq(), FirstID: p.firstID(), As: p.routesAs(g.target), Ours: p.ours(g.target), Watch: g.tracker, Log: p.o.Log,
		})
	}
	return g, nil
}

func (g *goingBack) close() {
	if g.target != nil {
		g.target.close()
	}
	if g.undo != nil {
		_ = g.undo.Close() // what it was told is on the disk
	}
}

// begin finds out what goes back, asks, and tells the ledger; nil: there is nothing to do.
func (g *goingBack) begin(ctx, drain context.Context, o RollbackOptions, r *RollbackResult) (*rollbackNote, error) {
	p := g.p
	n, names, err := p.resolveRollback(ctx, o, g.b)
	if err != nil {
		return nil, err
	}
	for _, t := range n.Tables {
		if p.ledger.Behind(t) {
			return nil, fmt.Errorf("the ledger comes from a snapshot, and what the target has of %s since is not known; run `dvmigrate load` first, which looks it up", t)
		}
	}
	if len(p.ours(g.target)) == 0 && !o.Overwrite {
		return nil, errors.New("records are written as other users (impersonate), so that what others have changed since cannot be told; say --overwrite if it goes back all the same")
	}
	if err := g.loader().Settle(ctx, drain); err != nil { // what a load has left in flight
		return nil, err
	}
	sets := p.allSets(g.undo, n)
	if r.Plan = p.rollbackPlan(n, names, sets); r.Plan.Total.Delete+r.Plan.Total.Restore == 0 {
		return nil, nil
	}
	if err := p.refuseOrphans(ctx, g.b, n, sets); err != nil {
		return nil, err
	}
	if o.Confirm != nil {
		if err := o.Confirm(r.Plan); err != nil {
			return nil, err
		}
	}
	return n, p.keepRolling(n)
}

// run takes the rollback from where it is to its end.
func (g *goingBack) run(ctx, drain context.Context, n *rollbackNote, o RollbackOptions, r *RollbackResult) error {
	if n.Stage == rollbackPlanning {
		if err := g.plan(ctx, n); err != nil {
			return err
		}
	}
	if n.Stage == rollbackSending {
		err := g.send(ctx, drain, n, o.Stop)
		if err == nil && o.Stop {
			err = g.stop(ctx, n)
		}
		if err == nil {
			err = g.gather(ctx, n)
		}
		if err != nil {
			return err
		}
	}
	for _, t := range n.Tables {
		r.Back += lengthOf(n.Done[t])
		r.Left += lengthOf(n.Left[t])
	}
	r.Lost, r.List = n.Lost, n.List
	if n.Stage == rollbackFinishing {
		for _, t := range n.Tables {
			if err := g.waitAgain(ctx, n, t); err != nil {
				return fmt.Errorf("let the records of %s wait again: %w", t, err)
			}
		}
		if err := g.p.noteBehind(n); err != nil {
			return err
		}
		if n.Stage = rollbackLeaving; g.p.keepRolling(n) != nil {
			return g.p.keepRolling(n)
		}
	}
	for _, t := range n.Tables {
		if err := g.leave(ctx, n, t); err != nil {
			return fmt.Errorf("make the records of %s what they were: %w", t, err)
		}
	}
	r.Finished = true
	return os.Remove(g.p.workFile(rollbackFile))
}

func lengthOf(ranges []ledger.Range) (n int64) {
	for _, r := range ranges {
		n += int64(r.Len())
	}
	return n
}

// plan tells the ledger what goes back. Done twice it is the same.
func (g *goingBack) plan(ctx context.Context, n *rollbackNote) error {
	for _, t := range n.Tables {
		s := g.p.backSetsOf(g.undo, n, t)
		for _, one := range []struct {
			set    *ledger.Ranges
			action ledger.Action
		}{{s.Delete, ledger.Delete}, {s.Restore, ledger.Update}} {
			for ranges := range slices.Chunk(one.set.List(), syncPiece) {
				var plan []ledger.Planned
				for _, r := range ranges {
					plan = append(plan, ledger.Planned{Range: r, Action: one.action})
				}
				if err := g.p.ledger.Plan(ctx, t, plan); err != nil {
					return err
				}
			}
		}
	}
	n.Stage = rollbackSending
	return g.p.keepRolling(n)
}

// send takes the records back that wait for it.
func (g *goingBack) send(ctx, drain context.Context, n *rollbackNote, stop bool) error {
	p := g.p
	sets := p.allSets(g.undo, n)
	back := load.Rollback{Tables: map[string]load.Back{}, Overwrite: n.Overwrite,
		Images: func(table string, r ledger.Range, fn func(ledger.Image)) error {
			return g.undo.Images(n.Since, table, r, fn)
		}}
	all, err := p.ledger.Generations()
	if err != nil {
		return err
	}
	for _, one := range all {
		if one.Number == n.Since {
			back.Begun = one.Begun
		}
	}
	for t, s := range sets {
		back.Tables[t] = s.Back
	}
	g.tracker.Phase("rollback")
	p.tracker.Store(g.tracker)
	defer p.tracker.Store(nil)
	if stop { // what is in flight is looked up, and nothing else is sent
		return g.loader().SettleBack(ctx, drain, back)
	}
	run, err := p.ledger.StartRun(ctx, ledger.Run{Command: "rollback"})
	if err != nil {
		return err
	}
	begin := time.Now()
	background, cancel := context.WithCancel(ctx)
	go followPace(background, g.target, g.tracker)
	snapshots := p.snapshotEvery(background, g.o.Load, g.tracker)
	err = g.loader().RollBack(ctx, drain, back)
	cancel()
	<-snapshots
	g.tracker.Finish()
	total, note := g.tracker.Snapshot().Total, "done"
	if err != nil {
		note = err.Error()
	}
	endErr := p.ledger.EndRun(context.WithoutCancel(ctx), ledger.Run{ID: run, Start: begin, Command: "rollback", Records: total.Done + total.Failed + total.Held, Failed: total.Failed, Note: note})
	if err != nil {
		return err
	}
	return endErr
}

// stop holds what did not go back yet.
func (g *goingBack) stop(ctx context.Context, n *rollbackNote) error {
	for _, t := range n.Tables {
		s := g.p.backSetsOf(g.undo, n, t)
		var holdings []ledger.Holding
		flush := func() error {
			if len(holdings) == 0 {
				return nil
			}
			err := g.p.ledger.Hold(ctx, t, holdings)
			holdings = holdings[:0]
			return err
		}
		for span := range g.p.ledger.Spans(t, 0) {
			if span.Flag != ledger.Unprocessed {
				continue
			}
			for _, r := range append(s.Delete.Within(span.Range), s.Restore.Within(span.Range)...) {
				holdings = append(holdings, ledger.Holding{Range: r, Reason: ledger.Reason{Class: uint8(load.ClassOther), Text: "the rollback was stopped before it"}})
			}
			if len(holdings) >= syncPiece {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

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
	b, err := json.Marshal(behind)
	if err != nil {
		return err
	}
	return writeFile(p.workFile(behindFile), append(b, '\n'))
}

// behind are the tables that noteBehind noted, each with its staging.
func (p *Project) behind() (map[string]string, error) {
	behind := map[string]string{}
	b, err := os.ReadFile(p.workFile(behindFile))
	if errors.Is(err, fs.ErrNotExist) {
		return behind, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &behind)
	}
	if err != nil {
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

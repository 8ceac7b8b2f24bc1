package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
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
		r.Plan = p.rollbackPlan(back.b, back.undo, n, []string{n.Name}, p.allSets(back.undo, n))
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
	if g.undo, err = p.openUndo(ctx, g.tracker.Note); err != nil {
		return g, p.explainTarget(err)
	}
	if g.target, err = p.meet(ctx, o.Load.PerUser, o.Load.NewTarget); err != nil {
		return g, err
	}
	g.loader, err = p.backLoader(g.b, g.undo, g.target, o.Load, g.tracker)
	return g, err
}

// backLoader makes loaders for a rollback: one is used once.
func (p *Project) backLoader(b *bound, undo *ledger.Undo, target *users, o LoadOptions, tracker *progress.Tracker) (func() *load.Loader, error) {
	links, err := p.links(b)
	if err != nil {
		return nil, err
	}
	routes, err := p.routes(target, b)
	if err != nil {
		return nil, err
	}
	return func() *load.Loader {
		return load.New(p.stage, p.ledger, routes[""], load.Options{
			Undo: undo, Heirs: heirBook{p, b, p.before}, Plan: b.plan, Tables: b.byName, Links: links, Settings: p.loadSettings, Target: func(table string) load.Target { return routes[table] },
			Parallel: p.parallel(o, len(target.each)), RecordSeq: p.recordSeq(), TargetSeq: p.targetSeq(b), FirstID: p.firstID(), As: p.routesAs(target), Ours: p.ours(target), Watch: tracker, Log: p.o.Log,
		})
	}, nil
}

func (g *goingBack) close() {
	if g.target != nil {
		g.target.close()
	}
	if g.undo != nil {
		_ = g.undo.Close() // what it was told is on the disk
	}
}

var errNotOurs = errors.New("records are written as other users (impersonate), so that what others have changed since cannot be told; say --overwrite if it goes back all the same")

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
		return nil, errNotOurs
	}
	if err := g.loader().Settle(ctx, drain); err != nil { // what a load has left in flight
		return nil, err
	}
	sets, err := p.gatherBack(ctx, g.b, g.undo, n, o.Below)
	if err != nil {
		return nil, err
	}
	if r.Plan = p.rollbackPlan(g.b, g.undo, n, names, sets); r.Plan.Total.Delete+r.Plan.Total.Restore == 0 {
		return nil, nil
	}
	if err := p.refuseBelow(ctx, g.b, g.undo, n, sets); err != nil {
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
	planned := int64(0)
	for _, t := range n.Tables {
		s := g.p.backSetsOf(g.undo, n, t)
		for _, one := range []struct {
			set    *ledger.Ranges
			action ledger.Action
		}{{s.Delete, ledger.Delete}, {s.Restore, ledger.Update}, {s.Damaged, ledger.Update}} {
			for ranges := range slices.Chunk(one.set.List(), syncPiece) {
				var plan []ledger.Planned
				for _, r := range ranges {
					plan = append(plan, ledger.Planned{Range: r, Action: one.action})
					planned += int64(r.Len())
				}
				if err := g.p.ledger.Plan(ctx, t, plan); err != nil {
					return err
				}
			}
		}
	}
	n.Stage, n.Aside = rollbackSending, g.p.goesBack(n)-planned
	return g.p.keepRolling(n)
}

// send takes the records back that wait for it.
func (g *goingBack) send(ctx, drain context.Context, n *rollbackNote, stop bool) error {
	p := g.p
	sets := p.allSets(g.undo, n)
	back := p.backOf(g.undo, n, sets)
	for t, s := range sets {
		if err := g.hold(ctx, t, "what the record had is in a part of the journal of changes that is damaged (dvmigrate ledger check)", s.Damaged); err != nil {
			return err
		}
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
		if err := g.hold(ctx, t, "the rollback was stopped before it", s.Delete, s.Restore); err != nil {
			return err
		}
	}
	return nil
}

// hold holds those of the records that wait.
func (g *goingBack) hold(ctx context.Context, table, reason string, sets ...*ledger.Ranges) error {
	var holdings []ledger.Holding
	flush := func() error {
		if len(holdings) == 0 {
			return nil
		}
		err := g.p.ledger.Hold(ctx, table, holdings)
		holdings = holdings[:0]
		return err
	}
	for span := range g.p.ledger.Spans(table, 0) {
		if span.Flag != ledger.Unprocessed {
			continue
		}
		for _, set := range sets {
			for _, r := range set.Within(span.Range) {
				holdings = append(holdings, ledger.Holding{Range: r, Reason: ledger.Reason{Class: uint8(load.ClassOther), Text: reason}})
			}
		}
		if len(holdings) >= syncPiece {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

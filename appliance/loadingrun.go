package appliance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// loadRun is a load on its way: what its steps have found, opened and made known to who looks
// at the project meanwhile. Load calls the steps in their order.
type loadRun struct {
	p     *Project
	o     LoadOptions
	begin time.Time
	r     *LoadResult

	b       *bound
	links   map[string]dataverse.Link
	tracker *progress.Tracker
	survey  *surveyor
	pulse   *pulse
	target  *users
	loader  *load.Loader

	ends []func() // take back what was opened and made known, in the opposite order
}

// atEnd has something taken back when the load is over, however it ends.
func (l *loadRun) atEnd(end func()) { l.ends = append(l.ends, end) }

func (l *loadRun) close() {
	for i := len(l.ends) - 1; i >= 0; i-- {
		l.ends[i]()
	}
}

// prepare finds what is to be loaded, and refuses what cannot be, without asking the target.
func (l *loadRun) prepare(ctx context.Context) (err error) {
	p := l.p
	if err := p.sync(ctx); err != nil { // a staging that was killed before the ledger knew
		return err
	}
	if err := p.refuseRollback(); err != nil {
		return err
	}
	if l.b, err = p.bindStaged(ctx); err != nil {
		return err
	}
	if err := p.sameIDs(l.b); err != nil {
		return err
	}
	if l.links, err = p.links(l.b); err != nil {
		return err
	}
	return p.findBefore(ctx)
}

// measure sets up what counts and times the requests, before the first leaves.
func (l *loadRun) measure(ctx context.Context) {
	p := l.p
	l.tracker = progress.New()
	l.survey = newSurveyor(p.Schema, l.tracker)
	l.survey.run.Predicted = p.predict(ctx)
	p.predicted.Store(&l.survey.run.Predicted)
	l.atEnd(func() { p.predicted.Store(nil) })
	l.pulse = &pulse{tracker: l.tracker, gauge: newGauge(p.Config), history: progress.NewHistory(l.begin)}
	p.observe = func(x dataverse.Exchange) { l.survey.observe(x); l.pulse.observe(x) }
	l.atEnd(func() { p.observe = nil })
	p.tally.Store(newTally())
	l.atEnd(func() { p.tally.Store(nil) })
}

// meet signs in, and looks whether the target is still the one that was loaded before.
func (l *loadRun) meet(ctx, drain context.Context) (err error) {
	p := l.p
	if l.target, err = p.meet(ctx, l.o.PerUser, l.o.NewTarget); err != nil {
		return err
	}
	l.atEnd(l.target.close)
	if err := p.samePulled(ctx); err != nil {
		return err
	}
	if l.o.AcceptMissing {
		return p.dropMarks()
	}
	if err := p.refuseEmptied(ctx, drain, l.b, l.target); err != nil {
		return p.explainTarget(err)
	}
	return nil
}

// open opens the files and the journal of changes, and makes the loader with them.
func (l *loadRun) open(ctx context.Context) error {
	p := l.p
	routes, err := p.routes(l.target, l.b)
	if err != nil {
		return err
	}
	files, closeFiles, err := p.openFiles(l.b)
	if err != nil {
		return err
	}
	l.atEnd(closeFiles)
	l.tracker.Phase("load")
	announce(l.tracker, l.survey.run.Predicted)
	p.tracker.Store(l.tracker)
	l.atEnd(func() { p.tracker.Store(nil) })
	if mb := p.undoSize() >> 20; mb > 100 { // some seconds for each GB
		l.tracker.Doing(fmt.Sprintf("reading the journal of changes, %d MB", mb), progress.Unknown)
	}
	undo, err := p.openUndo(ctx, func(table, text string) {
		l.survey.Note(table, text)
		l.r.Notes = append(l.r.Notes, text) // a load may be over before anybody looks
	})
	l.tracker.Doing("", progress.Unknown)
	if err != nil {
		return p.explainTarget(err)
	}
	l.atEnd(func() { undo.Close() })
	l.loader = load.New(p.stage, p.ledger, routes[""], load.Options{
		Plan: l.b.plan, Tables: l.b.byName, Links: l.links, Settings: p.loadSettings, MaxErrors: p.Config.Load.MaxErrors,
		Target: func(table string) load.Target { return routes[table] }, Parallel: p.parallel(l.o, len(l.target.each)), As: p.routesAs(l.target), Ours: p.ours(l.target),
		RecordSeq: p.recordSeq(), TargetSeq: p.targetSeq(l.b), FirstID: p.firstID(), Undo: undo, Heirs: heirBook{p, l.b, p.before}, Files: files, Collation: p.collation(false), Watch: l.survey, Log: p.o.Log,
	})
	return nil
}

// start notes in the ledger that a run begins, and gives its number.
func (l *loadRun) start(ctx context.Context) (run uint64, err error) {
	if err := l.p.ledger.BeginGeneration(ctx); err != nil {
		return 0, err
	}
	return l.p.ledger.StartRun(ctx, ledger.Run{Command: "load"})
}

// send lets the loader run, with all that goes on beside it, and returns how it ended. What can be
// seen and told of it stays until the load has been accounted for.
func (l *loadRun) send(ctx, drain context.Context, alerter *alerter) error {
	p := l.p
	background, stop := context.WithCancel(ctx)
	alerter.meets(background, l.target, l.b)
	l.atEnd(alerter.leaves)
	logged := p.followLog(background, l.tracker)
	go followPace(background, l.target, l.tracker)
	drain, stopLoad := context.WithCancel(drain)
	l.atEnd(stopLoad)
	l.pulse.users, l.pulse.parallel = l.target, p.parallel(l.o, len(l.target.each))
	l.pulse.load = &steering{users: l.target, loader: l.loader, tracker: l.tracker, stop: stopLoad}
	go l.pulse.run(background)
	p.pulse.Store(l.pulse)
	l.atEnd(func() { p.pulse.Store(nil) })
	p.steering.Store(l.pulse.load)
	l.atEnd(func() { p.steering.Store(nil) })
	snapshots := p.snapshotEvery(background, l.o, l.tracker)
	err := l.loader.Run(ctx, drain)
	stop()
	l.r.Snapshots = <-snapshots
	<-logged
	l.tracker.Finish()
	return err
}

// account puts what became of a run into the result, the ledger and the profile, where sendErr is
// how sending ended. The error is that of the whole load.
func (l *loadRun) account(ctx context.Context, run uint64, sendErr error) error {
	p, r := l.p, l.r
	total := l.tracker.Snapshot().Total
	r.Notes = append(append(r.Notes, l.loader.Notes()...), p.unsendable(l.b)...)
	r.Kept, r.Bytes, l.survey.run.Waited = l.loader.Kept(), l.survey.written(), total.Throttled
	r.Sent, r.Failed = total.Done+total.Failed+total.Held, total.Failed
	note := "done"
	if sendErr != nil {
		note = sendErr.Error()
		r.Stopped = note
	}
	endErr := p.ledger.EndRun(context.WithoutCancel(ctx), ledger.Run{ID: run, Start: l.begin, Command: "load", Records: r.Sent, Failed: r.Failed, Note: note})
	s, statusErr := p.Status(ctx)
	if c := s.Summary; sendErr == nil && statusErr == nil && c.Unprocessed+c.Success+c.InFlight == 0 {
		statusErr = p.ledger.FinishGeneration(ctx)
	}
	r.Summary, r.Tables, r.Seconds = s.Summary, s.Tables, time.Since(l.begin).Seconds()
	if err := p.keepSurvey(l.survey, l.target, sendErr == nil); err != nil { // the load itself is well
		p.o.Log.Warn("what the load measured is not kept", "error", err)
	}
	if r.Sent > 0 && (sendErr == nil || errors.Is(sendErr, load.ErrDrained)) {
		p.keepMarks(ctx, l.b, l.target, l.begin)
	}
	if sendErr != nil {
		return p.explainTarget(sendErr)
	}
	return errors.Join(endErr, statusErr)
}

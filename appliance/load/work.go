package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/ledger"
)

const (
	// fallbackBatch is how many single requests a $batch carries where nobody asked for
	// a $batch: it runs them one after the other (dataverse-web-api.md 7.5).
	fallbackBatch = 100
	// maxFruitless is how many jobs in a row may end without an outcome for a single
	// record before the load gives the target time.
	maxFruitless = 10
	// growAfter is after how many jobs without a fault requests grow again that had been
	// made smaller.
	growAfter = 20
)

// work is one kind of operation on one table.
type work struct {
	table    *mapping.Table
	target   Target
	link     dataverse.Link
	step     plan.Step
	pass     ledger.Pass
	actions  []ledger.Action // the entries that are meant
	update   bool
	removing *removing // of gone records; nil: of staged rows
	encoder  *mapping.Encoder
	closer   *mapping.Closer // of states that no plain write sets; nil: there are none
	settings Settings
	parties  bool // the records are activities that come with parties
	inBatch  int  // records in one $batch

	batch     atomic.Int32  // records a request now; shrinks when the service says too big
	message   atomic.Uint32 // Message, never Auto
	lookFirst atomic.Bool   // the target is ahead of the ledger: read back before sending
	claimed   atomic.Int64  // records handed out by the sweep
	fruitless atomic.Int32  // jobs in a row without an outcome
	smooth    atomic.Int32  // jobs without a fault since requests were made smaller
	bad       badShare      // of the rows sent so far
	refused   badShare      // of the bulk requests sent first
	hopes     atomic.Int32  // bulk requests that were not tried
	resweep   bool          // this is not the first sweep
	clues     clues         // to guilty rows, from messages
	sizer     *sizer        // finds the best size of bulk requests; nil: it is fixed

	jobs sync.Pool // *job, for their memory
}

// works are the operations of a step, in order: inserts before updates.
func (l *Loader) works(t *mapping.Table, step plan.Step, pass ledger.Pass) []*work {
	switch pass {
	case ledger.Lookups:
		return []*work{l.work(t, step, pass, mapping.Lookups, ledger.Insert, ledger.Update)}
	case ledger.State:
		return []*work{l.work(t, step, pass, mapping.State, ledger.Insert, ledger.Update)}
	}
	inserts := l.work(t, step, pass, mapping.Insert, ledger.Insert)
	if t.Link != nil {
		return []*work{inserts}
	}
	return []*work{inserts, l.work(t, step, pass, mapping.Update, ledger.Update)}
}

func (l *Loader) work(t *mapping.Table, step plan.Step, pass ledger.Pass, write mapping.Write, actions ...ledger.Action) *work {
	w := &work{table: t, target: l.o.Target(t.Name), link: l.o.Links[t.Name], step: step, pass: pass, actions: actions, update: write != mapping.Insert,
		encoder: t.Encoder(write, l.o.Plan.Deferred(t.Name)), settings: l.o.Settings(t.Name),
		parties: len(t.Parties) > 0 && (write == mapping.Insert || write == mapping.Update)}
	if write == mapping.State {
		w.closer = t.Closer()
	}
	w.jobs.New = func() any { return &job{w: w} }
	auto := w.settings.Batch == 0
	if auto {
		w.settings.Batch = StartBatch(t)
	}
	if w.settings.Parallel == 0 {
		w.settings.Parallel = max(l.o.Parallel, 1)
	}
	w.inBatch = min(w.settings.Batch, fallbackBatch)
	m := w.settings.Message
	if w.parties && m != Single { // not in bulk requests; and an update is two requests
		if m = Batch; w.update {
			m = Single
		}
	}
	switch {
	case m == Batch:
		w.inBatch = min(w.settings.Batch, dataverse.MaxBatch)
	case m == Single:
		w.settings.Batch = 1
	case t.Link != nil:
		m = Batch
	case m == Auto && t.Schema.CanBulk(w.bulkAction()):
		m = Bulk
	case m == Auto:
		m = Batch
	}
	switch {
	case m == Batch && auto:
		w.inBatch = fallbackBatch
		w.settings.Batch = w.inBatch
	case m == Batch:
		w.settings.Batch = w.inBatch
	case m == Bulk && auto:
		w.sizer = newSizer(t, &w.batch, func(text string) { l.o.Watch.Note(t.Name, text) })
	}
	w.message.Store(uint32(m))
	w.batch.Store(int32(w.settings.Batch))
	return w
}

// bulkAction is the bulk action in the schema's words.
func (w *work) bulkAction() string {
	if w.update {
		return "update"
	}
	return "create"
}

// insert reports whether the work makes records whose ids are ours, so that reading
// them back tells what was applied.
func (w *work) insert() bool { return !w.update && w.table.Link == nil }

// shrinkTo makes the following requests no larger than n.
func (w *work) shrinkTo(n int) (shrunk bool) {
	w.smooth.Store(0)
	for {
		old := w.batch.Load()
		if int32(n) >= old {
			return false
		}
		if w.batch.CompareAndSwap(old, int32(n)) {
			return true
		}
	}
}

// grow makes requests larger again, up to what was asked for, while all goes well: what
// was too much may have been one slow moment.
func (w *work) grow() {
	if w.sizer != nil && Message(w.message.Load()) == Bulk {
		return // it tries larger ones by itself
	}
	old := w.batch.Load()
	most := int32(w.settings.Batch)
	if Message(w.message.Load()) == Batch {
		most = min(most, int32(w.inBatch))
	}
	if old < most && w.smooth.Add(1)%growAfter == 0 {
		w.batch.CompareAndSwap(old, min(old+old/4+1, most))
	}
}

// waiting is the number of records that the work would take up now.
func (w *work) waiting(b book) int64 {
	flag := ledger.Unprocessed
	if w.pass != ledger.Main {
		flag = ledger.Success
	}
	counts, n := b.Counts(w.table.Name), 0
	for _, a := range w.actions {
		n += counts.Of(flag, w.pass, a)
	}
	return int64(n)
}

// run sweeps over the waiting records until none waits. It comes to an end: a sweep
// takes up every one of them, each time counts, and maxAttempts is the most.
func (l *Loader) run(ctx, drain context.Context, w *work) error {
	left := w.waiting(l.book)
	if left == 0 {
		return nil
	}
	l.o.Watch.Begin(w.table.Name, string(w.step.Pass), left)
	defer l.o.Watch.End(w.table.Name, string(w.step.Pass))
	for ; left > 0; left = w.waiting(l.book) {
		if drain.Err() != nil {
			return ErrDrained
		}
		w.claimed.Store(0)
		if err := l.sweep(ctx, drain, w); err != nil {
			return err
		}
		if w.claimed.Load() == 0 && drain.Err() == nil && w.goneMayWait() {
			return nil
		}
		w.resweep = true
		if w.claimed.Load() == 0 && drain.Err() == nil {
			return fmt.Errorf("the ledger has %d waiting records that the stage does not hold; run `dvmigrate stage`", left)
		}
	}
	return nil
}

// goneMayWait reports whether the records that wait for an update may be of rows that are
// gone: those are deactivated after all else.
func (w *work) goneMayWait() bool {
	return w.pass == ledger.Main && w.update && w.removing == nil && w.settings.Gone == GoneDeactivate
}

// sweep hands every waiting record out once, several requests at a time. The first
// error keeps new requests from being begun and is returned when those under way
// have come to their end.
func (l *Loader) sweep(ctx, drain context.Context, w *work) error {
	stopping, stop := context.WithCancel(drain)
	defer stop()
	var group errgroup.Group // of no context: nothing under way is cancelled
	start := func(fn func() error) {
		group.Go(func() error {
			err := fn()
			if err != nil {
				stop()
			}
			return err
		})
	}
	lanes := w.lanes()
	jobs := lanes[0]
	start(func() error {
		defer func() {
			for _, lane := range lanes {
				close(lane)
			}
		}()
		return l.feed(ctx, stopping, w, lanes)
	})
	if w.sharded() {
		l.sweepLanes(ctx, stopping, w, lanes, start)
		return group.Wait()
	}
	worker := func() error {
		for j := range jobs {
			if err := l.do(ctx, stopping, w, j); err != nil {
				return err
			}
		}
		return nil
	}
	start(func() error {
		if err := l.warmUp(ctx, stopping, w, jobs); err != nil {
			return err
		}
		for range w.settings.Parallel - 1 {
			start(worker)
		}
		return worker()
	})
	return group.Wait()
}

// warmUp sends the first bulk request of an action on a table by itself: the service
// makes its procedures on that one, and several at once fail in a race for it
// (dataverse-web-api.md 6.2).
func (l *Loader) warmUp(ctx, stopping context.Context, w *work, jobs <-chan *job) error {
	key := w.table.Name + " " + w.bulkAction()
	if w.removing != nil || Message(w.message.Load()) != Bulk || l.warm[key] {
		return nil
	}
	l.warm[key] = true
	j, ok := <-jobs
	if !ok {
		return nil
	}
	return l.do(ctx, stopping, w, j)
}

// do takes one job all the way: claim, send, settle.
func (l *Loader) do(ctx, stopping context.Context, w *work, j *job) error {
	defer w.put(j)
	if stopping.Err() != nil {
		return nil // not claimed: it simply still waits
	}
	if err := l.book.Claim(ctx, w.table.Name, w.pass, j.ranges()); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	w.claimed.Add(int64(len(j.seqs)))
	target, err := l.targetFor(w, j)
	if err != nil {
		return fmt.Errorf("send as another user: %w", err)
	}
	s := sender{l: l, w: w, j: j, target: target}
	sending := dataverse.Stopping(ctx, stopping)
	sized := w.sizer != nil && j.closings == nil // in bulk requests, whose size is to be found
	if sized {
		sending = dataverse.Observing(sending, j.toll.take)
	}
	stop := s.send(sending, j.all(), 0)
	// What has an outcome is recorded also when the load stops for an error or a
	// cancelled context: an answer that came must not be lost here.
	outcomes := j.outcomes()
	if err := l.settle(ctx, w, outcomes, j.recordIDs()); err != nil {
		return errors.Join(err, stop)
	}
	done, failed := l.count(w, outcomes)
	w.bad.note(done, failed)
	if sized && stop == nil {
		w.sizer.learn(j, done+failed, Message(w.message.Load()) == Bulk)
	}
	switch {
	case errors.Is(stop, dataverse.ErrStopping):
		return nil // it only waited: whoever stopped the load says why
	case stop != nil:
		return stop
	case l.o.MaxErrors > 0 && l.failed.Load() > l.o.MaxErrors:
		return ErrTooManyErrors
	case done+failed > 0:
		w.fruitless.Store(0)
		if s.refusals == 0 {
			w.grow()
		}
	case w.fruitless.Add(1) >= maxFruitless:
		return fmt.Errorf("%w; %d requests in a row were of no use, the last because of: %w", ErrLeftOver, maxFruitless, s.passing)
	}
	return nil
}

func (l *Loader) settle(ctx context.Context, w *work, outcomes []ledger.Outcome, ids []ledger.RecordID) error {
	if len(outcomes) == 0 {
		return nil
	}
	if err := l.book.SettleIDs(context.WithoutCancel(ctx), w.table.Name, outcomes, ids); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return nil
}

// count tells the watcher what came of a job.
func (l *Loader) count(w *work, outcomes []ledger.Outcome) (done, failed int64) {
	var held int64
	for i := range outcomes {
		switch n := int64(outcomes[i].Len()); outcomes[i].Result {
		case ledger.ResultSuccess:
			done += n
		case ledger.ResultFailed:
			failed += n
		case ledger.ResultHeld:
			held += n
		}
	}
	l.failed.Add(failed)
	l.o.Watch.Sent(w.table.Name, string(w.step.Pass), done, failed, held)
	return done + held, failed
}

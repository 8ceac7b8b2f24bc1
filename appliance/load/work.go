package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
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
	removing *removing      // of gone records; nil: of staged rows
	only     *ledger.Ranges // the records that are meant; nil: all
	encoder  *mapping.Encoder
	judge    *mapping.Encoder // of what changes of others are told by; nil: nobody looks
	closer   *mapping.Closer  // of states that no plain write sets; nil: there are none
	settings Settings
	ids      *schema.GUID     // of row 0's record, where those of the others follow from it
	knows    bool             // the scan reads beside a row what the target is known to hold of it, or that nobody knows
	partial  bool             // records carry the columns that have changed alone
	files    []mapping.Column // that take their content from files, of the work's pass
	parties  bool             // the records are activities that come with parties
	inBatch  int              // records in one $batch

	batch     atomic.Int32  // records a request now; shrinks when the service says too big
	message   atomic.Uint32 // Message, never Auto
	lookFirst atomic.Bool   // the target is ahead of the ledger: read back before sending
	claimed   atomic.Int64  // records handed out by the sweep
	fruitless atomic.Int32  // jobs in a row without an outcome
	smooth    atomic.Int32  // jobs without a fault since requests were made smaller
	bad       badShare      // of the rows sent so far
	refused   badShare      // of the bulk requests sent first
	hopes     atomic.Int32  // bulk requests that were not tried
	around    atomic.Int64  // closed records that were opened to be changed
	resweep   bool          // this is not the first sweep
	clues     clues         // to guilty rows, from messages
	sizer     *sizer        // finds the best size of bulk requests; nil: it is fixed

	l      *Loader
	keptMu sync.Mutex
	kept   map[string]int64 // records that keep a column which somebody has changed, by its name

	jobs sync.Pool // *job, for their memory
}

// works are the operations of a step, in order: inserts before updates.
func (l *Loader) works(t *mapping.Table, step plan.Step, pass ledger.Pass) []*work {
	switch pass {
	case ledger.Lookups:
		return []*work{l.work(t, step, pass, mapping.Lookups, ledger.Insert, ledger.Update)}
	case ledger.Files:
		return []*work{l.work(t, step, pass, mapping.Files, ledger.Insert, ledger.Update)}
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
	w := &work{l: l, table: t, target: l.o.Target(t.Name), link: l.o.Links[t.Name], step: step, pass: pass, actions: actions, update: write != mapping.Insert,
		encoder: t.Encoder(write, l.o.Plan.Deferred(t.Name)), settings: l.o.Settings(t.Name),
		parties: len(t.Parties) > 0 && (write == mapping.Insert || write == mapping.Update)}
	if write == mapping.State {
		w.closer = t.Closer()
	}
	if l.o.FirstID != nil && !t.KeepID {
		id := l.o.FirstID(t.Name)
		w.ids = &id
	}
	w.partial = w.update && write != mapping.Gone && write != mapping.State && t.Link == nil && (w.settings.Before || w.settings.Whole)
	w.knows = w.partial || write == mapping.State && t.Link == nil && w.settings.Before && !w.settings.Whole
	if w.looksFirst() {
		judged := mapping.Judged
		if write == mapping.State {
			judged = mapping.State
		}
		w.judge = t.Encoder(judged, nil)
	} else {
		w.knows = w.partial
	}
	w.jobs.New = func() any { return &job{w: w} }
	w.files = filesOf(t, pass)
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
	if len(w.files) > 0 || pass == ledger.Files {
		m, w.settings.Parallel = Single, min(w.settings.Parallel, FilesAtOnce)
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
	if w.only != nil {
		return w.waitingOnly(b)
	}
	counts, n := b.Counts(w.table.Name), 0
	for _, a := range w.actions {
		n += counts.Of(flag, w.pass, a)
	}
	return int64(n)
}

// waitingOnly is waiting of a work that means some records.
func (w *work) waitingOnly(b book) (n int64) {
	for from := uint32(0); ; {
		spans := b.Next(w.table.Name, w.pass, from, window)
		if len(spans) == 0 {
			return n
		}
		for _, s := range w.meant(spans) {
			n += int64(s.Len())
		}
		from = spans[len(spans)-1].To
	}
}

// meant is what of the spans the work takes up.
func (w *work) meant(spans []ledger.Span) (out []ledger.Span) {
	for _, s := range spans {
		switch {
		case !slices.Contains(w.actions, s.Action):
		case w.only == nil:
			out = append(out, s)
		default:
			for _, r := range w.only.Within(s.Range) {
				out = append(out, ledger.Span{Range: r, Entry: s.Entry})
			}
		}
	}
	return out
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
	defer l.sayKept(w)
	defer l.sayAround(w)
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

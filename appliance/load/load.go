// Package load streams the staged records to Dataverse. It promises exactly-once
// effect: each record's intent is durable in the ledger before its request leaves,
// its outcome durable before it counts, and an answer that was lost is settled by
// reading the record back, never by sending blindly again. One bad row costs the
// rest nothing but the search for it.
//
// The way of a record: scan (a window of staged rows, in order) → claim (the
// ledger notes that they are in flight) → send (one bulk request; a refused one is
// narrowed to the guilty rows) → settle (each record's outcome). The steps of the
// plan come one after the other, each with several requests at once; how many, and
// how long to wait when the service asks for it, is the client's pace.
//
// Memory is bounded by requests at once times records a request, whatever the
// table's size. The package knows nothing of configuration, snapshots or the
// command line.
package load

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// stage is where the rows come from.
type stage interface {
	Scan(ctx context.Context, query string, args []any, fn func(*column.Batch) error) error
}

// book is where each record's state is kept; *ledger.Ledger is one.
type book interface {
	Next(table string, pass ledger.Pass, from uint32, max int) []ledger.Span
	Claim(ctx context.Context, table string, pass ledger.Pass, ranges []ledger.Range) error
	Settle(ctx context.Context, table string, outcomes []ledger.Outcome) error
	Hold(ctx context.Context, table string, holdings []ledger.Holding) error
	InFlight(table string) []ledger.Span
	Counts(table string) ledger.Counts
	Spans(table string, from uint32) iter.Seq[ledger.Span]
	Behind(table string) bool
	CaughtUp(ctx context.Context, table string) error
}

// target is where the records go; *dataverse.Client is one.
type target interface {
	CreateMany(ctx context.Context, t *schema.Table, body []byte, records int) error
	UpdateMany(ctx context.Context, t *schema.Table, body []byte, records int) error
	Batch(ctx context.Context, ops []dataverse.Op) ([]error, error)
	Existing(ctx context.Context, t *schema.Table, ids []schema.GUID) (map[schema.GUID]struct{}, error)
}

// Watcher is told how the load goes. Its methods are called from many goroutines,
// once a request, not once a record.
type Watcher interface {
	// Begin starts a step: total records are to be sent.
	Begin(table, pass string, total int64)
	// Sent adds records with an outcome.
	Sent(table, pass string, done, failed, held int64)
	// End says that the step is over.
	End(table, pass string)
	// Note is one event worth showing, such as a request that was narrowed.
	Note(table, text string)
}

// nobody watches a load that nobody watches.
type nobody struct{}

func (nobody) Begin(string, string, int64)              {}
func (nobody) Sent(string, string, int64, int64, int64) {}
func (nobody) End(string, string)                       {}
func (nobody) Note(string, string)                      {}

// Settings are a table's ways of sending.
type Settings struct {
	Batch    int     // records a request, at least 1
	Parallel int     // requests at once; 0 = Options.Parallel
	Message  Message // how records travel
}

// Message is the kind of request that records travel in.
type Message uint8

// The messages.
const (
	Auto   Message = iota // Bulk where the table takes it, else Batch
	Bulk                  // CreateMultiple, UpdateMultiple
	Batch                 // $batch of single requests
	Single                // one record a request
)

// Options of a load.
type Options struct {
	Plan      *plan.Plan
	Tables    map[string]*mapping.Table
	Links     map[string]dataverse.Link // of the N:N link tables
	Settings  func(table string) Settings
	Parallel  int   // requests at once where a table does not say
	MaxErrors int64 // stop when more records than this have failed in this run; 0 = no limit
	Watch     Watcher
	Log       *slog.Logger
}

// Loader loads one project. Make it with New, use it once.
type Loader struct {
	stage  stage
	book   book
	target target
	o      Options
	failed atomic.Int64
}

// New makes a loader of the parts.
func New(s stage, b book, t target, o Options) *Loader {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Watch == nil {
		o.Watch = nobody{}
	}
	return &Loader{stage: s, book: b, target: t, o: o}
}

// ErrTooManyErrors says that more records failed than the project allows.
var ErrTooManyErrors = errors.New("more records failed than load.max_errors allows")

// ErrLeftOver says that records of a table could not be sent for a passing cause;
// the tables that depend on it were not begun.
var ErrLeftOver = errors.New("records are left over; run load again")

// ErrDrained says that the load was asked to stop, and did in good order.
var ErrDrained = errors.New("stopped on request; run load again to go on")

// Run loads until nothing is left to do. When drain ends, no new request is begun
// and those in flight are settled (ErrDrained); when ctx ends, it stops at once and
// what is in flight is looked up by the next run.
func (l *Loader) Run(ctx, drain context.Context) error {
	if err := l.settleDoubts(ctx); err != nil {
		return err
	}
	for _, step := range l.o.Plan.Steps {
		if drain.Err() != nil {
			return ErrDrained
		}
		if err := l.step(ctx, drain, step); err != nil {
			return fmt.Errorf("load %s (%s): %w", step.Table, step.Pass, err)
		}
	}
	return nil
}

// step runs one step of the plan: hold what depends on a failed record, then
// sweep over what waits until nothing does.
func (l *Loader) step(ctx, drain context.Context, step plan.Step) error {
	t := l.o.Tables[step.Table]
	if t == nil {
		return fmt.Errorf("the plan names a table that is not mapped")
	}
	pass := passOf(step.Pass)
	if err := l.holdDependants(ctx, t, pass, step.Deferred); err != nil {
		return err
	}
	for _, w := range l.works(t, step, pass) {
		w.lookFirst.Store(l.book.Behind(t.Name))
		if err := l.run(ctx, drain, w); err != nil {
			return err
		}
	}
	if pass == ledger.Main && l.book.Behind(t.Name) {
		return l.book.CaughtUp(ctx, t.Name) // all of it has been looked at or sent
	}
	return nil
}

func passOf(p plan.Pass) ledger.Pass {
	switch p {
	case plan.Lookups:
		return ledger.Lookups
	case plan.State:
		return ledger.State
	}
	return ledger.Main
}

// work is one kind of operation on one table.
type work struct {
	table    *mapping.Table
	link     dataverse.Link
	step     plan.Step
	pass     ledger.Pass
	actions  []ledger.Action // the entries that are meant
	update   bool
	encoder  *mapping.Encoder
	settings Settings

	batch     atomic.Int32  // records a request now; shrinks when the service says too big
	message   atomic.Uint32 // Message, never Auto
	lookFirst atomic.Bool   // the target is ahead of the ledger: read back before sending
}

// works are the operations of a step, in order: inserts before updates.
func (l *Loader) works(t *mapping.Table, step plan.Step, pass ledger.Pass) []*work {
	deferred := l.o.Plan.Deferred(t.Name)
	switch pass {
	case ledger.Lookups:
		return []*work{l.work(t, step, pass, mapping.Lookups, deferred, ledger.Insert, ledger.Update)}
	case ledger.State:
		return []*work{l.work(t, step, pass, mapping.State, deferred, ledger.Insert, ledger.Update)}
	}
	inserts := l.work(t, step, pass, mapping.Insert, deferred, ledger.Insert)
	if t.Link != nil {
		return []*work{inserts}
	}
	return []*work{inserts, l.work(t, step, pass, mapping.Update, deferred, ledger.Update)}
}

func (l *Loader) work(t *mapping.Table, step plan.Step, pass ledger.Pass, write mapping.Write, deferred []string, actions ...ledger.Action) *work {
	w := &work{table: t, link: l.o.Links[t.Name], step: step, pass: pass, actions: actions, update: write != mapping.Insert,
		encoder: t.Encoder(write, deferred), settings: l.o.Settings(t.Name)}
	w.settings.Batch = max(w.settings.Batch, 1)
	if w.settings.Parallel == 0 {
		w.settings.Parallel = max(l.o.Parallel, 1)
	}
	w.batch.Store(int32(w.settings.Batch))
	m := w.settings.Message
	switch {
	case t.Link != nil:
		m = Batch
	case m == Auto && t.Schema.CanBulk(w.bulkAction()):
		m = Bulk
	case m == Auto:
		m = Batch
	}
	w.message.Store(uint32(m))
	if m == Single {
		w.batch.Store(1)
	}
	return w
}

// bulkAction is the bulk action in the schema's words.
func (w *work) bulkAction() string {
	if w.update {
		return "update"
	}
	return "create"
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

// run sweeps over the waiting records until none waits. A sweep that settles
// nothing ends it: what is left could not be sent.
func (l *Loader) run(ctx, drain context.Context, w *work) error {
	left := w.waiting(l.book)
	if left == 0 {
		return nil
	}
	l.o.Watch.Begin(w.table.Name, string(w.step.Pass), left)
	defer l.o.Watch.End(w.table.Name, string(w.step.Pass))
	for left > 0 {
		if err := l.sweep(ctx, drain, w); err != nil {
			return err
		}
		if drain.Err() != nil {
			return ErrDrained
		}
		now := w.waiting(l.book)
		if now >= left {
			return fmt.Errorf("%w: %d of %s", ErrLeftOver, now, w.table.Name)
		}
		left = now
	}
	return nil
}

// sweep hands every waiting record out once, several requests at a time.
func (l *Loader) sweep(ctx, drain context.Context, w *work) error {
	group, ctx := errgroup.WithContext(ctx)
	jobs := make(chan *job)
	group.Go(func() error {
		defer close(jobs)
		return l.feed(ctx, drain, w, jobs)
	})
	for range w.settings.Parallel {
		group.Go(func() error {
			for j := range jobs {
				if err := l.do(ctx, drain, w, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// do takes one job all the way: claim, send, settle.
func (l *Loader) do(ctx, drain context.Context, w *work, j *job) error {
	if drain.Err() != nil {
		return nil // not claimed: it simply still waits
	}
	if err := l.book.Claim(ctx, w.table.Name, w.pass, j.ranges()); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	s := sender{l: l, w: w, j: j}
	stop := s.send(ctx, j.all(), 0)
	// What has an outcome is recorded also when the load stops for an error or a
	// cancelled context: an answer that came must not be lost here.
	outcomes := j.outcomes()
	if err := l.book.Settle(context.WithoutCancel(ctx), w.table.Name, outcomes); err != nil {
		return fmt.Errorf("settle: %w", errors.Join(err, stop))
	}
	l.count(w, outcomes)
	if stop != nil {
		return stop
	}
	if l.o.MaxErrors > 0 && l.failed.Load() > l.o.MaxErrors {
		return ErrTooManyErrors
	}
	return nil
}

func (l *Loader) count(w *work, outcomes []ledger.Outcome) {
	var done, failed, held int64
	for i := range outcomes {
		n := int64(outcomes[i].Len())
		switch outcomes[i].Result {
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
}

// Package load streams the staged records to Dataverse. It promises exactly-once
// effect: each record's intent is durable in the ledger before its request leaves,
// its outcome durable before it counts, and an answer that was lost is settled by
// reading the record back, never by sending blindly again. One bad row costs the
// rest nothing but the search for it.
//
// The way of a record: scan (a window of staged rows, in order) → claim (the
// ledger notes that they are in flight) → send (one bulk request; a refused one is
// narrowed to the guilty rows) → settle (each record's outcome). Claims run some
// requests ahead, and outcomes are recorded behind, many in one commit, so that no
// request waits for the disk. The steps of the
// plan come one after the other, each with several requests at once; how many, and
// how long to wait when the service asks for it, is the client's pace.
//
// Words: a work is one kind of operation on one table, a sweep hands each record
// that waits for it out once, a job is the records of one request when all goes well.
//
// An error that stops the load lets the other requests under way come to their end;
// what was certainly not applied waits again, and only records whose answer was lost
// stay in flight. Memory is bounded by requests at once times records a request,
// whatever the table's size. The package knows nothing of configuration, snapshots or
// the command line.
package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

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
	// Stream is Scan for many rows that are worked on as they come.
	Stream(ctx context.Context, query string, args []any, fn func(*column.Batch) error) error
}

// book is where each record's state is kept; *ledger.Ledger is one.
type book interface {
	Next(table string, pass ledger.Pass, from uint32, max int) []ledger.Span
	Claim(ctx context.Context, table string, pass ledger.Pass, ranges []ledger.Range) error
	Settle(ctx context.Context, table string, outcomes []ledger.Outcome) error
	SettleIDs(ctx context.Context, table string, outcomes []ledger.Outcome, ids []ledger.RecordID) error
	ID(table string, seq uint32) (id [16]byte, kept bool, err error)
	Hold(ctx context.Context, table string, holdings []ledger.Holding) error
	Retry(ctx context.Context, table string, f ledger.Filter) (int, error)
	InFlight(table string) []ledger.Span
	Counts(table string) ledger.Counts
	Entry(table string, seq uint32) (ledger.Entry, bool)
	Behind(table string) bool
	CaughtUp(ctx context.Context, table string) error
	Reused(table string) bool
}

// Target is where the records go; *dataverse.Client is one. It is exported so that
// Options.Target can name it.
type Target interface {
	CreateMany(ctx context.Context, t *schema.Table, body []byte, records int) error
	UpdateMany(ctx context.Context, t *schema.Table, body []byte, records int) error
	CreateManyIDs(ctx context.Context, t *schema.Table, body []byte, records int) ([]schema.GUID, error)
	CreateID(ctx context.Context, t *schema.Table, body []byte) (schema.GUID, error)
	BatchIDs(ctx context.Context, ops []dataverse.Op) ([]schema.GUID, []error, error)
	Matching(ctx context.Context, t *schema.Table, columns, conditions []string, fn func(row json.RawMessage) error) error
	Create(ctx context.Context, t *schema.Table, body []byte) error
	Update(ctx context.Context, t *schema.Table, id schema.GUID, body []byte) error
	ReplaceParties(ctx context.Context, t *schema.Table, id schema.GUID, nav string, body []byte) error
	DeleteMany(ctx context.Context, t *schema.Table, body []byte, records int) error
	Associate(ctx context.Context, l dataverse.Link, p dataverse.Pair) error
	Batch(ctx context.Context, ops []dataverse.Op) ([]error, error)
	Do(ctx context.Context, op dataverse.Op) error
	UploadFile(ctx context.Context, t *schema.Table, id schema.GUID, column string, f dataverse.Content) error
	ClearFile(ctx context.Context, t *schema.Table, id schema.GUID, column string) error
	FileOf(ctx context.Context, t *schema.Table, id schema.GUID, column string) (name string, size int64, there bool, err error)
	UpdateNote(ctx context.Context, t *schema.Table, id schema.GUID, fields []byte, f dataverse.Content) error
	CreateAttachment(ctx context.Context, t *schema.Table, create []byte, f dataverse.Content) (schema.GUID, error)
	UpdateAttachment(ctx context.Context, t *schema.Table, id schema.GUID, f dataverse.Content) error
	Existing(ctx context.Context, t *schema.Table, ids []schema.GUID) (map[schema.GUID]struct{}, error)
	Records(ctx context.Context, t *schema.Table, ids []schema.GUID, columns []string, fn func(id schema.GUID, row json.RawMessage) error) error
	Rows(ctx context.Context, t *schema.Table, q dataverse.Query, fn func(row json.RawMessage) error) error
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
	Batch      int        // records a request; 0 = as many as prove best, from StartBatch on
	Parallel   int        // requests at once; 0 = Options.Parallel
	Message    Message    // how records travel
	ShardBy    string     // lookup column: no two requests under way have rows that point to the same record by it
	CreatedBy  bool       // records are created as the user in their column createdby
	Gone       Gone       // what becomes of records whose rows are no longer supplied
	OnConflict OnConflict // what becomes of a row that changed where somebody has changed its record in the target
	Before     bool       // the stage has the relation <table>_before: updates carry the changed columns alone
	Whole      bool       // what that relation says of the columns is not so any more: updates carry all, after they have looked
	Reopens    bool       // the stage has rows in dm.deactivated: those that are back, whose records are made active first
	Keep       bool       // what records have before they are changed is kept in Options.Undo
	OnMatch    OnMatch    // of a table with Match: what becomes of rows whose record the target had before
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
	Target    func(table string) Target                                  // where a table's writes go, if not to New's target; nil = all go there
	As        func(table string, user schema.GUID) (Target, error)       // where writes as another user go; needed with Settings.CreatedBy
	RecordSeq func(table string, id schema.GUID) (seq uint32, ours bool) // the row that an id in the stage stands for; needed where a table keeps ids
	TargetSeq func(table string, id schema.GUID) (seq uint32, ours bool) // the row of a record id in the target, asked from one side at a time; nil = deletions look at no children
	FirstID   func(table string) schema.GUID                             // id of row 0's record where ids are assigned: row n has n in the last four bytes, big-endian; nil = the stage tells each
	Collation mapping.Collation                                          // of the target: rows that it takes for one by Match are held back
	Parallel  int                                                        // requests at once where a table does not say
	Ours      []schema.GUID                                              // the users that sign in: what they changed last is ours
	Heirs     heirBook                                                   // records that may go along with one that is assigned; nil = nobody looks after them
	Undo      journal                                                    // what a rollback needs is noted there; nil = nowhere
	Files     fs.FS                                                      // where the content of files is; needed where a table takes some
	MaxErrors int64                                                      // stop when more records than this have failed in this run; 0 = no limit
	Watch     Watcher
	Log       *slog.Logger
}

// Loader loads one project. Make it with New, use it once.
type Loader struct {
	stage  stage
	book   book
	target Target
	o      Options
	warm   map[string]bool // table and action that have had their first bulk request
	failed atomic.Int64

	stopAfter, again atomic.Bool // as an operator says

	kept map[string]map[string]int64 // by table and column: see Kept

	back *Rollback // nil: it is no rollback

	notes []string

	heirs   heirs
	seqMu   sync.Mutex // one asks Options.TargetSeq at a time
	aboveMu sync.Mutex // protects above
	above   []keptBack // records that were not deleted while their children were there
}

// New makes a loader of the parts.
func New(s stage, b book, t Target, o Options) *Loader {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Watch == nil {
		o.Watch = nobody{}
	}
	if o.Target == nil {
		o.Target = func(string) Target { return t }
	}
	return &Loader{stage: s, book: b, target: t, o: o, warm: map[string]bool{}, kept: map[string]map[string]int64{}}
}

// ErrTooManyErrors says that more records failed than the project allows.
var ErrTooManyErrors = errors.New("more records failed than load.max_errors allows")

// ErrLeftOver says that the target takes no records, for a cause that should pass.
// Those sent wait again; the tables that come later were not begun.
var ErrLeftOver = errors.New("records are left over; run load again")

// ErrDrained says that the load was asked to stop, and did in good order.
var ErrDrained = errors.New("stopped on request; run load again to go on")

// Run loads until nothing is left to do. When drain ends, no new request is begun,
// those that wait for the service give up, and those in flight are settled
// (ErrDrained); when ctx ends, it stops at once and
// what is in flight is looked up by the next run.
func (l *Loader) Run(ctx, drain context.Context) error {
	err := l.settleDoubts(dataverse.Stopping(ctx, drain))
	if err == nil {
		err = l.recallHeirs()
	}
	if errors.Is(err, dataverse.ErrStopping) {
		return ErrDrained
	}
	if err != nil {
		return err
	}
	for round := true; round; round = l.again.Swap(false) {
		for _, step := range l.o.Plan.Steps {
			if l.toStop(drain) {
				return ErrDrained
			}
			if err := l.step(ctx, drain, step); err != nil {
				return fmt.Errorf("load %s (%s): %w", step.Table, step.Pass, err)
			}
		}
	}
	if err := l.giveBack(ctx, drain); err != nil {
		return err
	}
	return l.removeGone(ctx, drain)
}

// Notes are what nobody must miss of the load, sentences. They may be asked for when Run has ended.
func (l *Loader) Notes() []string { return l.notes }

// StopAfter has the load stop in good order, as when drain ends, when the step under way
// is over; false takes that back.
func (l *Loader) StopAfter(stop bool) { l.stopAfter.Store(stop) }

// Again has the load go over all steps once more before it ends, since records that it has
// passed wait again.
func (l *Loader) Again() { l.again.Store(true) }

// toStop reports whether no further step is to be begun.
func (l *Loader) toStop(drain context.Context) bool { return drain.Err() != nil || l.stopAfter.Load() }

// step runs one step of the plan: hold what depends on a failed record, then send
// what waits.
func (l *Loader) step(ctx, drain context.Context, step plan.Step) error {
	t := l.o.Tables[step.Table]
	if t == nil {
		return errors.New("the plan names a table that is not mapped")
	}
	pass := passOf(step.Pass)
	if err := l.holdDependants(ctx, t, pass, step.Deferred); err != nil {
		return err
	}
	if pass == ledger.Main {
		if err := l.holdTwins(ctx, t); err != nil {
			return fmt.Errorf("look for rows that match one record: %w", err)
		}
	}
	for _, w := range l.works(t, step, pass) {
		w.lookFirst.Store(l.book.Behind(t.Name))
		if w.update && pass == ledger.Main {
			if err := l.lookBelow(ctx, drain, t, l.waitingUpdates(w), true); err != nil {
				return err
			}
		}
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
	case plan.Files:
		return ledger.Files
	case plan.State:
		return ledger.State
	}
	return ledger.Main
}

package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Options of Open. The zero value is a good one.
type Options struct {
	Set         [16]byte      // the project's id: stored in a new ledger, compared with an existing one (ErrOtherSet); zero accepts any
	MaxSize     int64         // limit of the file in bytes; 0: the disk is the limit
	LockTimeout time.Duration // how long to wait for another process; 0: one second
	ReadOnly    bool          // only the reading methods; several processes may read, none may write meanwhile
	Logger      *slog.Logger  // told of an unclean stop; nil: nobody

	fault func(when faultTime) error // of tests: fails a commit; nil in earnest
}

// faultTime is when a commit is made to fail in a test: as if nothing, or all, of it had reached the disk.
type faultTime uint8

const (
	beforeCommit faultTime = iota
	afterCommit
)

func (o Options) lockTimeout() time.Duration {
	if o.LockTimeout <= 0 {
		return defaultLockTimeout
	}
	return o.LockTimeout
}

// Table is one table of the migration.
type Table struct {
	Name       string // logical name; unique in the ledger
	Number     uint16 // its stream; unique, and never changed
	Count      uint32 // records: every seq is below
	Generation string // the staging it was last defined for
}

// Ledger is an open ledger file. All methods may be called from any goroutine.
type Ledger struct {
	path     string
	o        Options
	db       *bolt.DB
	file     *os.File
	set      [16]byte
	epoch    uint64
	restored restoredRecord

	mu     sync.RWMutex      // protects the fields below and those of each table; only the writer changes them
	tables map[string]*table // by name
	head   AuditHead         // of the audit trail
	beside *Undo             // the journal whose length each commit notes; nil: none is open
	length Journaled         // as noted last

	failure atomic.Pointer[error] // why the ledger is poisoned; set once
	queue   chan *request         // to the writer
	closing chan struct{}         // closed by Close
	done    chan struct{}         // closed when the writer has ended
	close   sync.Once
	closed  error // of Close, valid when done is closed

	ids idPages // has a lock of its own

	commits    atomic.Uint64 // that succeeded
	committing atomic.Int64  // nanoseconds that they took

	// The rest belongs to the writer alone.
	texts   map[string]uint32 // template → id
	nextRun uint64            // id of the next Run
}

// table is what is known of one table. Its pages are replaced, never changed.
type table struct {
	Table
	behind     bool
	restoredIn string // the generation of the last restored snapshot
	pages      []page
	counts     *Counts // replaced, never changed
}

// Open opens the ledger at path, creating it when there is none (not if ReadOnly). It checks the whole
// page structure and the checksum of every page; after an unclean stop it checks everything, as Check
// does. Errors: ErrLocked, ErrDamaged, ErrNotLedger, ErrFormat, ErrOtherSet; the file is then unchanged.
func Open(ctx context.Context, path string, o Options) (*Ledger, error) {
	return open(ctx, path, o, false)
}

// open is Open; whole asks for the check of everything also after a clean stop.
func open(ctx context.Context, path string, o Options, whole bool) (*Ledger, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && !o.ReadOnly {
		err = create(path, o.Set)
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{
		path:    path,
		o:       o,
		tables:  map[string]*table{},
		texts:   map[string]uint32{},
		nextRun: 1,
		queue:   make(chan *request, maxGroup),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if l.db, l.file, err = openBolt(ctx, path, o); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	if err := guard(func() error { return l.start(ctx, whole) }); err != nil {
		_ = closeBolt(l.db, l.file, err)
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	if o.ReadOnly {
		close(l.done)
	} else {
		go l.write()
	}
	return l, nil
}

// start reads the file into memory and marks it as in use.
func (l *Ledger) start(ctx context.Context, whole bool) error {
	var m meta
	err := l.view(func(tx *bolt.Tx) (err error) {
		if m, err = readMeta(tx); err != nil {
			return err
		}
		if l.o.Set != ([16]byte{}) && m.set != l.o.Set {
			return ErrOtherSet
		}
		return l.load(ctx, tx)
	})
	if err != nil {
		return err
	}
	if !m.clean {
		l.o.Logger.InfoContext(ctx, "ledger was not closed in order, checking all of it", "path", l.path, "epoch", m.epoch)
	}
	if !m.clean || whole {
		if err := l.check(ctx); err != nil {
			return err
		}
	}
	l.set, l.epoch, l.restored, l.head, l.length = m.set, m.epoch, m.restored, m.head, m.journal
	if l.o.ReadOnly {
		return nil
	}
	l.epoch++
	if m.format != formatVersion {
		l.o.Logger.InfoContext(ctx, "ledger is brought to a newer format", "path", l.path, "from", m.format, "to", formatVersion)
	}
	return classify(l.db.Update(func(tx *bolt.Tx) error {
		if m.format != formatVersion {
			if err := upgrade(tx); err != nil {
				return err
			}
		}
		b := tx.Bucket(bucketMeta)
		return errors.Join(
			put(b, keyEpoch, binary.BigEndian.AppendUint64(nil, l.epoch)),
			put(b, keyClean, []byte{0}))
	}))
}

// view runs fn, which decodes what it reads, in a read transaction; keep it short (engines.md II 8.1).
// An error of fn is ErrDamaged, unless it has a name of its own.
func (l *Ledger) view(fn func(tx *bolt.Tx) error) error {
	err := guard(func() error { return l.db.View(fn) })
	for _, named := range []error{nil, ErrDamaged, ErrNotLedger, ErrFormat, ErrOtherSet, ErrTampered, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, named) {
			return err
		}
	}
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// load reads tables, pages, counts and texts into memory and compares counts with pages.
func (l *Ledger) load(ctx context.Context, tx *bolt.Tx) error {
	byNumber := map[uint16]*table{}
	err := tx.Bucket(bucketTables).ForEach(func(k, _ []byte) error {
		var r tableRecord
		if len(k) != 2 {
			return fmt.Errorf("table key %x has not 2 bytes", k)
		}
		if _, err := getJSON(tx.Bucket(bucketTables), k, &r); err != nil {
			return err
		}
		t := newTable(r, binary.BigEndian.Uint16(k))
		if l.tables[t.Name] != nil {
			return fmt.Errorf("table %s is there twice", t.Name)
		}
		l.tables[t.Name], byNumber[t.Number] = t, t
		return nil
	})
	if err != nil {
		return err
	}
	if err := loadPages(ctx, tx, byNumber); err != nil {
		return err
	}
	for _, t := range l.tables {
		if err := t.loadCounts(tx); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	if k, _ := tx.Bucket(bucketRuns).Cursor().Last(); len(k) == 8 {
		l.nextRun = binary.BigEndian.Uint64(k) + 1
	}
	return l.loadTexts(tx)
}

// newTable is a table without pages.
func newTable(r tableRecord, number uint16) *table {
	return &table{
		Table:  Table{Name: r.Name, Number: number, Count: r.Count, Generation: r.Generation},
		behind: r.Behind, restoredIn: r.RestoredIn,
		pages:  make([]page, (int(r.Count)+pageSize-1)>>pageBits),
		counts: &Counts{Total: r.Count},
	}
}

func (t *table) record() tableRecord {
	return tableRecord{Name: t.Name, Count: t.Count, Generation: t.Generation, Behind: t.behind, RestoredIn: t.restoredIn}
}

// loadPages reads the bucket pages.
func loadPages(ctx context.Context, tx *bolt.Tx, byNumber map[uint16]*table) error {
	return tx.Bucket(bucketPages).ForEach(func(k, sealed []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		number, n, err := parseRecordKey(k)
		if err != nil {
			return err
		}
		t := byNumber[number]
		if t == nil || int(n) >= len(t.pages) {
			return fmt.Errorf("page %d of table number %d is outside any table", n, number)
		}
		value, err := unseal(k, sealed)
		if err != nil {
			return err
		}
		if t.pages[n], err = parsePage(value); err != nil {
			return fmt.Errorf("page %d of %s: %w", n, t.Name, err)
		}
		return nil
	})
}

// loadCounts reads the stored counts and compares them with the pages.
func (t *table) loadCounts(tx *bolt.Tx) error {
	k := tableKey(t.Number)
	value, err := get(tx.Bucket(bucketCounts), k)
	if err != nil {
		return err
	}
	stored, err := decodeCounts(value, t.Count)
	if err != nil {
		return err
	}
	found := &Counts{Total: t.Count}
	for s := range spans(t.pages, Range{0, t.Count}) {
		found.add(s.Entry.word(), s.Len())
	}
	if *stored != *found {
		return errors.New("stored counts differ from the entries")
	}
	t.counts = stored
	return nil
}

// Close writes what is queued, marks the ledger as closed in order, and gives the file free. A poisoned
// ledger is closed too and returns why. Calls after the first return what the first did.
func (l *Ledger) Close() error {
	l.close.Do(func() {
		close(l.closing)
		<-l.done
		err := l.poisoned()
		if err == nil && !l.o.ReadOnly {
			err = l.transact(func(tx *bolt.Tx) error { return put(tx.Bucket(bucketMeta), keyClean, []byte{1}) })
		}
		l.closed = errors.Join(err, closeBolt(l.db, l.file, err))
	})
	return l.closed
}

// poisoned is nil, or ErrPoisoned with the cause.
func (l *Ledger) poisoned() error {
	if cause := l.failure.Load(); cause != nil {
		return fmt.Errorf("%w: %w", ErrPoisoned, *cause)
	}
	return nil
}

// Name is the file's base name; snapshots keep the ledger under it.
func (l *Ledger) Name() string { return filepath.Base(l.path) }

// Epoch counts how often the file was opened for writing, this time included.
func (l *Ledger) Epoch() uint64 { return l.epoch }

// Tables lists the tables by name.
func (l *Ledger) Tables() []Table {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]Table, 0, len(l.tables))
	for _, t := range l.tables {
		out = append(out, t.Table)
	}
	slices.SortFunc(out, func(a, b Table) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Table is the table of that name.
func (l *Ledger) Table(name string) (Table, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.tables[name]
	if t == nil {
		return Table{}, false
	}
	return t.Table, true
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// maxGroup is how many requests one transaction takes at most.
const maxGroup = 256

// fillPercent of the buckets: measured in engines.md II 3.
const fillPercent = 0.9

// request is one call on its way to the writer.
type request struct {
	fold  func(*stage) error // changes entries; folded with others into one transaction
	alone func() error       // anything else; runs by itself on the writer's goroutine
	reply chan error
}

// submit hands a request to the writer and waits for its answer, which comes after the commit. ctx ends
// the wait for a place in the queue only: once taken, a request is always answered, within one commit,
// so that the caller knows whether it happened.
func (l *Ledger) submit(ctx context.Context, r *request) error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	r.reply = make(chan error, 1)
	select {
	case <-l.closing:
		return ErrClosed
	default:
	}
	select {
	case l.queue <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.closing:
		return ErrClosed
	}
	select {
	case err := <-r.reply:
		return err
	case <-l.done:
	}
	select {
	case err := <-r.reply:
		return err
	default:
		return ErrClosed // it came into the queue as the writer left
	}
}

// write is the writer: the only goroutine that changes the file or the memory image.
func (l *Ledger) write() {
	defer close(l.done)
	for {
		select {
		case r := <-l.queue:
			l.group(r)
		case <-l.closing:
			for {
				select {
				case r := <-l.queue:
					l.group(r)
					continue
				default:
				}
				return
			}
		}
	}
}

// group serves first and all requests that wait with it, the folded ones in one transaction.
func (l *Ledger) group(first *request) {
	b := newBatch(l)
	var members []*request
	flush := func() {
		err := l.commit(b)
		for _, r := range members {
			r.reply <- err
		}
		l.gather(len(members))
		b, members = newBatch(l), nil
	}
	for r, n := first, 1; r != nil; n++ {
		switch {
		case l.poisoned() != nil:
			r.reply <- l.poisoned()
		case r.alone != nil:
			flush()
			if err := l.poisoned(); err != nil {
				r.reply <- err
			} else {
				r.reply <- guard(r.alone)
			}
		default:
			if err := b.fold(r.fold); err != nil {
				r.reply <- err
			} else {
				members = append(members, r)
			}
		}
		r = nil
		if n < maxGroup {
			select {
			case r = <-l.queue:
			default:
			}
		}
	}
	flush()
}

// A commit that answered manyRequests or more is followed by a pause of at most gatherTime, little beside a
// commit, for those that it answered.
const (
	manyRequests = 8
	gatherTime   = 200 * time.Microsecond
)

// gather lets those that were just answered come back before the next commit: who has claimed settles,
// who has settled claims the next. Without it the first of them has a commit to itself while the others
// wait for that, and a commit takes half of them on average. It only yields, so that it costs
// microseconds of an idle processor, and it does nothing for a few, who have other work.
func (l *Ledger) gather(answered int) {
	if answered < manyRequests {
		return
	}
	came, began := 0, time.Now()
	for idle := 0; came < answered && idle < 2 && time.Since(began) < gatherTime; {
		runtime.Gosched()
		if n := len(l.queue); n > came {
			came, idle = n, 0
		} else {
			idle++
		}
	}
}

// pageKey names a page.
type pageKey struct {
	table *table
	n     uint32
}

// move is n records that went from one word to another.
type move struct {
	table    *table
	from, to word
	n        int
}

// reasonOp stores (or, without reason, removes) the failures of a stretch of records.
type reasonOp struct {
	table  *table
	r      Range
	reason *Reason
	word   word
	time   uint32
}

// batch is what one transaction is going to change.
type batch struct {
	l       *Ledger
	pages   map[pageKey][]run
	moves   []move
	reasons []reasonOp
	ids     []idOp
}

func newBatch(l *Ledger) *batch { return &batch{l: l, pages: map[pageKey][]run{}} }

// stage is what one request is going to change, on top of its batch.
type stage struct {
	batch
	under *batch
	now   uint32
	spare []run // to be overwritten by the next edit
}

// fold adds a request to the batch; on its error nothing of it.
func (b *batch) fold(request func(*stage) error) error {
	s := &stage{batch: *newBatch(b.l), under: b, now: uint32(time.Now().Unix())}
	if err := request(s); err != nil {
		return err
	}
	for k, runs := range s.pages {
		b.pages[k] = runs
	}
	b.moves = append(b.moves, s.moves...)
	b.reasons = append(b.reasons, s.reasons...)
	b.ids = append(b.ids, s.ids...)
	return nil
}

// table finds a table; the writer needs no lock to read.
func (s *stage) table(name string) (*table, error) {
	t := s.l.tables[name]
	if t == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownTable, name)
	}
	return t, nil
}

// runs is page k as the stage sees it.
func (s *stage) runs(k pageKey) []run {
	if runs, ok := s.pages[k]; ok {
		return runs
	}
	if runs, ok := s.under.pages[k]; ok {
		return runs
	}
	return k.table.pages[k.n].decode()
}

// apply takes the records of r through ev. reason goes with the steps that lead to Failed or Held.
func (s *stage) apply(t *table, r Range, ev event, reason *Reason) error {
	if r.From >= r.To || r.To > t.Count {
		return fmt.Errorf("%s %s %s of %d: %w", ev, t.Name, r, t.Count, ErrRange)
	}
	for from := r.From; from < r.To; {
		k := pageKey{t, from >> pageBits}
		base := k.n << pageBits
		to := uint32(min(uint64(r.To), uint64(base)+pageSize))
		owned := s.pages[k]
		runs, err := editRuns(s.spare, s.runs(k), int(from-base), int(to-base), func(lo, hi int, old run) (run, error) {
			return s.change(t, Range{base + uint32(lo), base + uint32(hi)}, old, ev, reason)
		})
		if err != nil {
			return err
		}
		s.pages[k], s.spare = runs, owned
		from = to
	}
	return nil
}

// change takes a stretch of equal entries through ev.
func (s *stage) change(t *table, r Range, old run, ev event, reason *Reason) (run, error) {
	before := old.word.entry(old.time)
	after, err := next(before, ev)
	if err != nil {
		return run{}, &TransitionError{Table: t.Name, Range: r, Entry: before, Step: ev.String(), Why: err.Error()}
	}
	if after == before {
		return old, nil
	}
	to := run{word: after.word(), time: s.now}
	s.moves = append(s.moves, move{t, old.word, to.word, r.Len()})
	switch {
	case after.Flag.failing():
		s.reasons = append(s.reasons, reasonOp{t, r, reason, to.word, to.time})
	case before.Flag.failing():
		s.reasons = append(s.reasons, reasonOp{table: t, r: r})
	}
	return to, nil
}

// commit makes a batch durable and then visible. An error poisons the ledger.
func (l *Ledger) commit(b *batch) error {
	if len(b.pages) == 0 && len(b.ids) == 0 {
		return l.poisoned()
	}
	keys := make([]pageKey, 0, len(b.pages))
	pages := make(map[pageKey]page, len(b.pages))
	for k, runs := range b.pages {
		keys = append(keys, k)
		pages[k] = encodePage(runs)
	}
	slices.SortFunc(keys, func(a, b pageKey) int {
		return int(a.table.Number)<<32 + int(a.n) - int(b.table.Number)<<32 - int(b.n)
	})
	counts := b.counts()
	err := l.transact(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketPages)
		bucket.FillPercent = fillPercent
		for _, k := range keys {
			if err := put(bucket, recordKey(k.table.Number, k.n), []byte(pages[k])); err != nil {
				return err
			}
		}
		for t, c := range counts {
			if err := put(tx.Bucket(bucketCounts), tableKey(t.Number), c.encode()); err != nil {
				return err
			}
		}
		if err := putIDs(tx, b.ids); err != nil {
			return err
		}
		return l.putReasons(tx, b.reasons)
	})
	if err != nil {
		return err
	}
	l.ids.forget(b.ids)
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, p := range pages {
		k.table.pages[k.n] = p
	}
	for t, c := range counts {
		t.counts = c
	}
	return nil
}

// counts is the counts after the batch, of the tables it changes.
func (b *batch) counts() map[*table]*Counts {
	out := map[*table]*Counts{}
	for _, m := range b.moves {
		c := out[m.table]
		if c == nil {
			c = new(Counts)
			*c = *m.table.counts
			out[m.table] = c
		}
		c.add(m.from, -m.n)
		c.add(m.to, m.n)
	}
	return out
}

// transact runs change in one durable transaction. Any error poisons the ledger: a failed commit may
// have left its new meta page in the page cache and not on the disk (engines.md II 3).
func (l *Ledger) transact(change func(*bolt.Tx) error) error {
	began := time.Now()
	err := guard(func() (err error) {
		tx, err := l.db.Begin(true)
		if err != nil {
			return err
		}
		defer func() {
			if r := tx.Rollback(); r != nil && err == nil && !errors.Is(r, berrors.ErrTxClosed) {
				err = r
			}
		}()
		if err := change(tx); err != nil {
			return err
		}
		if err := l.noteJournal(tx); err != nil {
			return err
		}
		if err := l.faulty(beforeCommit); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		return l.faulty(afterCommit)
	})
	if err != nil {
		err = classify(err)
		l.failure.Store(&err)
	} else {
		l.commits.Add(1)
		l.committing.Add(int64(time.Since(began)))
	}
	return l.poisoned()
}

// Activity is how many transactions were made durable since the ledger was opened, how long
// they took together, and how many requests wait for the writer.
func (l *Ledger) Activity() (commits uint64, took time.Duration, waiting int) {
	return l.commits.Load(), time.Duration(l.committing.Load()), len(l.queue)
}

// faulty is where tests make a commit fail.
func (l *Ledger) faulty(when faultTime) error {
	if l.o.fault == nil {
		return nil
	}
	return l.o.fault(when)
}

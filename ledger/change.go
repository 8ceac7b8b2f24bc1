package ledger

import (
	"context"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Define makes a table known, extends its count, or gives it a new generation; repeating it is harmless.
// New records are in no plan (action Nothing). ErrConflict: the count shrinks, the number differs from
// the table's, or belongs to another table.
func (l *Ledger) Define(ctx context.Context, want Table) error {
	return l.submit(ctx, &request{alone: func() error {
		t, err := l.defined(want)
		if err != nil || t == l.tables[want.Name] {
			return err
		}
		return l.putTable(t)
	}})
}

// defined is the table that want describes: the one that is known, when it is just so.
func (l *Ledger) defined(want Table) (*table, error) {
	if want.Name == "" {
		return nil, fmt.Errorf("define table: %w: it has no name", ErrConflict)
	}
	for _, t := range l.tables {
		switch {
		case t.Name == want.Name && t.Number != want.Number:
			return nil, fmt.Errorf("define table %s: %w: its number is %d, not %d", want.Name, ErrConflict, t.Number, want.Number)
		case t.Name != want.Name && t.Number == want.Number:
			return nil, fmt.Errorf("define table %s: %w: number %d is that of %s", want.Name, ErrConflict, want.Number, t.Name)
		}
	}
	t := newTable(tableRecord{Name: want.Name, Count: want.Count, Generation: want.Generation}, want.Number)
	t.counts.add(0, int(want.Count))
	if old := l.tables[want.Name]; old != nil {
		if old.Table == want {
			return old, nil
		}
		if want.Count < old.Count {
			return nil, fmt.Errorf("define table %s: %w: it has %d records, not %d", want.Name, ErrConflict, old.Count, want.Count)
		}
		t.behind, t.restoredIn = old.behind, old.restoredIn
		copy(t.pages, old.pages)
		*t.counts = *old.counts
		t.counts.Total = want.Count
		t.counts.add(0, int(want.Count-old.Count))
	}
	return t, nil
}

// putTable stores a table's record and counts, and what else belongs into that commit, and then shows
// it. On the writer's goroutine.
func (l *Ledger) putTable(t *table, also ...func(*bolt.Tx) error) error {
	err := l.transact(func(tx *bolt.Tx) error {
		for _, put := range also {
			if err := put(tx); err != nil {
				return err
			}
		}
		if err := putJSON(tx.Bucket(bucketTables), tableKey(t.Number), t.record()); err != nil {
			return err
		}
		return put(tx.Bucket(bucketCounts), tableKey(t.Number), t.counts.encode())
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tables[t.Name] = t
	return nil
}

// Planned is an action for a stretch of records.
type Planned struct {
	Range
	Action Action
}

// Plan gives records their action and makes them Unprocessed at the main pass with no attempts; a
// failure they had is forgotten, a later pass they owed is given up. Action Nothing withdraws records
// that are not begun and leaves processed ones as they are. Records in flight cannot be planned. Later
// elements win over earlier ones.
func (l *Ledger) Plan(ctx context.Context, name string, plan []Planned) error {
	return l.submit(ctx, &request{fold: func(s *stage) error {
		t, err := s.table(name)
		if err != nil {
			return err
		}
		for _, p := range plan {
			if err := s.apply(t, p.Range, event{step: stepPlan, action: p.Action}, nil); err != nil {
				return err
			}
		}
		return nil
	}})
}

// Claim puts records in flight for a pass and counts an attempt. When it returns nil, and not before,
// they may be sent: the intent is on the disk.
func (l *Ledger) Claim(ctx context.Context, name string, pass Pass, ranges []Range) error {
	return l.submit(ctx, &request{fold: func(s *stage) error {
		t, err := s.table(name)
		if err != nil {
			return err
		}
		for _, r := range ranges {
			if err := s.apply(t, r, event{step: stepClaim, pass: pass}, nil); err != nil {
				return err
			}
		}
		return nil
	}})
}

// Result is what became of a claimed record.
type Result uint8

// The results. The zero value is none of them.
const (
	ResultSuccess  Result = iota + 1 // applied; Outcome.Next says what is owed next
	ResultFailed                     // refused for good, for Outcome.Reason
	ResultReleased                   // certainly not applied (throttled, stopped before sending): waits again
	ResultHeld                       // not applied and must wait for something else, for Outcome.Reason
)

// Reason is why a record failed or is held back.
type Reason struct {
	Class uint8  // the loader's class of error
	HTTP  uint16 // status of the answer; 0: there was none
	Code  uint32 // Dataverse error code, e.g. 0x80040237; 0: none
	Text  string // message; beyond 8 KiB it is cut
}

// Outcome is the result of a stretch of claimed records.
type Outcome struct {
	Range
	Result  Result
	Next    Pass   // of ResultSuccess: the pass owed next; Main, the zero value: none, the record is Processed
	Counted bool   // of ResultReleased: the attempt stays counted (a throttle is not an attempt)
	Reason  Reason // of ResultFailed and ResultHeld
}

// Settle records outcomes of records in flight, in any order and from all over the table, in one commit.
func (l *Ledger) Settle(ctx context.Context, name string, outcomes []Outcome) error {
	return l.submit(ctx, &request{fold: func(s *stage) error { return s.settle(name, outcomes) }})
}

func (s *stage) settle(name string, outcomes []Outcome) error {
	t, err := s.table(name)
	if err != nil {
		return err
	}
	for i := range outcomes {
		o := &outcomes[i]
		ev := event{pass: o.Next, class: o.Reason.Class, counted: o.Counted}
		switch o.Result {
		case ResultSuccess:
			ev.step = stepSucceed
		case ResultFailed:
			ev.step = stepFail
		case ResultReleased:
			ev.step = stepRelease
		case ResultHeld:
			ev.step = stepHoldF
		default:
			return fmt.Errorf("settle %s %s: unknown result %d", name, o.Range, o.Result)
		}
		if err := s.apply(t, o.Range, ev, &o.Reason); err != nil {
			return err
		}
	}
	return nil
}

// Holding is a stretch of records to hold back, and why.
type Holding struct {
	Range
	Reason Reason
}

// Hold holds waiting records (Unprocessed with an action, or Success) back: failed prevalidation, an
// orphan, a parent that failed. Each record costs an entry among the failures, so give it some ten
// thousand records a call, not millions.
func (l *Ledger) Hold(ctx context.Context, name string, holdings []Holding) error {
	return l.submit(ctx, &request{fold: func(s *stage) error {
		t, err := s.table(name)
		if err != nil {
			return err
		}
		for i := range holdings {
			h := &holdings[i]
			if err := s.apply(t, h.Range, event{step: stepHold, class: h.Reason.Class}, &h.Reason); err != nil {
				return err
			}
		}
		return nil
	}})
}

// Filter chooses failed and held records. Each empty part chooses all.
type Filter struct {
	Flags   []Flag // Failed, Held
	Classes []uint8
	Passes  []Pass
	Ranges  []Range
}

// retryPiece is how many records Retry moves in one transaction, so that others are not kept waiting.
const retryPiece = 8192

// Retry lets the chosen Failed and Held records wait again: Unprocessed at the main pass, Success at a
// later one. Attempts are kept, the reasons forgotten. It works in pieces, each its own commit; n is how
// many records were moved, also when it stops with an error.
func (l *Ledger) Retry(ctx context.Context, name string, f Filter) (n int, err error) {
	ranges := f.Ranges
	if len(ranges) == 0 {
		ranges = []Range{{0, 1<<32 - 1}}
	}
	for rest := slices.Clone(ranges); len(rest) > 0; {
		moved := 0
		err := l.submit(ctx, &request{fold: func(s *stage) (err error) {
			moved, rest, err = s.retryRanges(name, rest, f)
			return err
		}})
		if err != nil {
			return n, err
		}
		n += moved
	}
	return n, nil
}

// retryRanges moves about retryPiece records. rest are the ranges that are still to be looked at.
func (s *stage) retryRanges(name string, ranges []Range, f Filter) (moved int, rest []Range, err error) {
	for len(ranges) > 0 && moved < retryPiece {
		n, from, err := s.retry(name, ranges[0], f)
		if err != nil {
			return 0, ranges, err
		}
		moved += n
		if ranges[0].From = from; from >= ranges[0].To {
			ranges = ranges[1:]
		}
	}
	return moved, ranges, nil
}

// chooses reports whether the filter takes entries like e.
func (f Filter) chooses(e Entry) bool {
	return e.Flag.failing() &&
		(len(f.Flags) == 0 || slices.Contains(f.Flags, e.Flag)) &&
		(len(f.Classes) == 0 || slices.Contains(f.Classes, e.Class)) &&
		(len(f.Passes) == 0 || slices.Contains(f.Passes, e.Pass))
}

// retry moves up to retryPiece chosen records of r. rest is where the next piece begins.
func (s *stage) retry(name string, r Range, f Filter) (moved int, rest uint32, err error) {
	t, err := s.table(name)
	if err != nil {
		return 0, r.From, err
	}
	r.To = min(r.To, t.Count)
	for r.From < r.To && moved < retryPiece {
		k := pageKey{t, r.From >> pageBits}
		base := k.n << pageBits
		lo := base
		for _, run := range s.runs(k) {
			hi := uint32(min(uint64(base)+uint64(run.end), uint64(r.To)))
			part := Range{max(lo, r.From), hi}
			lo = hi
			if part.From >= part.To || !f.chooses(run.word.entry(run.time)) {
				continue
			}
			if err := s.apply(t, part, event{step: stepRetry}, nil); err != nil {
				return 0, r.From, err
			}
			moved += part.Len()
		}
		if r.To-base <= pageSize {
			return moved, 1<<32 - 1, nil
		}
		r.From = base + pageSize
	}
	if r.From >= r.To {
		return moved, 1<<32 - 1, nil
	}
	return moved, r.From, nil
}

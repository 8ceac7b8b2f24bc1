package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Check checks the whole open ledger: bbolt's own check, every checksum, that stored pages and counts
// equal those in memory and agree with each other, and that each failed or held record has exactly one
// failure and no other record has one. Changes wait meanwhile (about a second at 120 million records). An error is an
// ErrDamaged that names the first contradiction, or of ctx.
func (l *Ledger) Check(ctx context.Context) error {
	if l.o.ReadOnly {
		return l.check(ctx)
	}
	return l.submit(ctx, &request{alone: func() error { return l.check(ctx) }})
}

// Check checks the ledger file at path, which nobody may have open for writing, without changing it.
func Check(ctx context.Context, path string) error {
	l, err := open(ctx, path, Options{ReadOnly: true}, true)
	if err != nil {
		return err
	}
	return l.Close()
}

// check is Check; no transaction may be open.
func (l *Ledger) check(ctx context.Context) error {
	err := l.view(func(tx *bolt.Tx) error {
		var first error
		for err := range tx.Check() { // to the end: its goroutine waits for a reader
			if first == nil {
				first = err
			}
		}
		if first != nil {
			return first
		}
		return l.checkContent(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("check ledger %s: %w", l.path, err)
	}
	return nil
}

// checkContent reads everything anew and compares it with the memory image.
func (l *Ledger) checkContent(ctx context.Context, tx *bolt.Tx) error {
	if _, err := readMeta(tx); err != nil {
		return err
	}
	stored := &Ledger{tables: map[string]*table{}, texts: map[string]uint32{}}
	if err := stored.load(ctx, tx); err != nil {
		return err
	}
	if len(stored.tables) != len(l.tables) || len(stored.texts) != len(l.texts) {
		return errors.New("memory holds other tables or texts than the file")
	}
	for name, t := range stored.tables {
		if err := t.equal(l.tables[name]); err != nil {
			return err
		}
		if err := t.checkFailures(ctx, tx); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	if n, err := countStrays(tx, stored.tables); n > 0 || err != nil {
		return errors.Join(err, fmt.Errorf("%d failures or counts of tables that are not defined", n))
	}
	if err := checkIDs(tx, stored.tables); err != nil {
		return err
	}
	return tx.Bucket(bucketRuns).ForEach(func(k, sealed []byte) error {
		_, err := readRun(k, sealed)
		return err
	})
}

// equal compares a table as stored with the one in memory.
func (t *table) equal(memory *table) error {
	if memory == nil || t.Table != memory.Table || t.behind != memory.behind || *t.counts != *memory.counts {
		return fmt.Errorf("table %s differs between memory and file", t.Name)
	}
	for n, p := range t.pages {
		if p != memory.pages[n] {
			return fmt.Errorf("page %d of %s differs between memory and file", n, t.Name)
		}
	}
	return nil
}

// checkFailures walks entries and failures side by side.
func (t *table) checkFailures(ctx context.Context, tx *bolt.Tx) error {
	c := tx.Bucket(bucketErrors).Cursor()
	prefix := tableKey(t.Number)
	k, v := c.Seek(prefix)
	for s := range spans(t.pages, Range{0, t.Count}) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.Flag.failing() {
			continue
		}
		for seq := s.From; seq < s.To; seq++ {
			if !bytes.Equal(k, recordKey(t.Number, seq)) {
				return fmt.Errorf("next failure is %x, not that of record %d", k, seq)
			}
			f, err := readFailure(tx, k, v)
			if err != nil {
				return err
			}
			if f.Entry != s.Entry {
				return fmt.Errorf("failure of record %d says %s, its entry %s", seq, f.Entry, s.Entry)
			}
			k, v = c.Next()
		}
	}
	if bytes.HasPrefix(k, prefix) {
		return fmt.Errorf("failure %x belongs to a record that did not fail", k)
	}
	return nil
}

// countStrays counts keys of errors and counts that belong to no table.
func countStrays(tx *bolt.Tx, tables map[string]*table) (n int, err error) {
	known := map[uint16]bool{}
	for _, t := range tables {
		known[t.Number] = true
	}
	for _, name := range [][]byte{bucketErrors, bucketCounts} {
		err = errors.Join(err, tx.Bucket(name).ForEach(func(k, _ []byte) error {
			if len(k) < 2 || !known[binary.BigEndian.Uint16(k)] {
				n++
			}
			return nil
		}))
	}
	return n, err
}

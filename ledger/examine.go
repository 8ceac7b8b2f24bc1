package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// examine checks a ledger within a transaction and fills r. With tables in memory it compares these too.
// An error is of ctx, or says what made going on senseless.
func (l *Ledger) examine(ctx context.Context, tx *bolt.Tx, r *Report) error {
	keys := r.part("keys in order, every page used once", "pages")
	for err := range tx.Check() { // to the end: its goroutine waits for a reader
		keys.fault(err)
	}
	keys.Checked = tx.Size() / int64(tx.DB().Info().PageSize)
	head := r.part("heading", "values")
	m, err := readMeta(tx)
	if err != nil {
		head.fault(err)
		return nil
	}
	head.Checked = int64(tx.Bucket(bucketMeta).Inspect().KeyN)
	r.Format, r.Epoch, r.Clean, r.Audit = m.format, m.epoch, m.clean, m.head
	stored := examineTables(tx, r.part("tables", "tables"))
	for _, t := range stored {
		r.Tables = append(r.Tables, t.Table)
	}
	broken, err := examinePages(ctx, tx, stored, r.part("entries: checksum, form, states that can be", "records"))
	if err != nil {
		return err
	}
	examineCounts(tx, stored, broken, r.part("kept counts against entries", "counts"))
	if err := examineFailures(ctx, tx, stored, broken, r.part("failures against entries, one each", "failures")); err != nil {
		return err
	}
	texts := r.part("error texts", "texts")
	examineTexts(tx, texts)
	examineEach(tx, bucketRuns, r.part("runs", "runs"), func(k, v []byte) error { _, err := readRun(k, v); return err })
	examineEach(tx, bucketGenerations, r.part("generations", "generations"), func(k, v []byte) error { _, err := readGeneration(k, v); return err })
	examineEach(tx, bucketIDs, r.part("record ids given by the target", "pages"), func(k, _ []byte) error { return checkIDs(tx, stored, k) })
	trail := r.part("audit trail", "entries")
	n, err := verifyAudit(tx, m.set, nil)
	if trail.Checked = int64(n); err != nil {
		trail.fault(err)
	}
	if l.tables != nil {
		memory := r.part("memory against file", "tables")
		l.examineMemory(stored, memory)
		if texts.Checked != int64(len(l.texts)) {
			memory.fault(errors.New("memory holds other error texts than the file"))
		}
	}
	return nil
}

// examineEach checks every value of a bucket.
func examineEach(tx *bolt.Tx, name []byte, p *Part, check func(k, v []byte) error) {
	b := tx.Bucket(name)
	if b == nil { // version 1
		return
	}
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		p.Checked++
		if err := check(k, v); err != nil {
			p.fault(err)
		}
	}
}

func examineTables(tx *bolt.Tx, p *Part) map[uint16]*table {
	out, names := map[uint16]*table{}, map[string]bool{}
	examineEach(tx, bucketTables, p, func(k, _ []byte) error {
		var r tableRecord
		if len(k) != 2 {
			return fmt.Errorf("table key %x has not 2 bytes", k)
		}
		if _, err := getJSON(tx.Bucket(bucketTables), k, &r); err != nil {
			return err
		}
		if names[r.Name] {
			return fmt.Errorf("table %s is there twice", r.Name)
		}
		names[r.Name] = true
		t := newTable(r, binary.BigEndian.Uint16(k))
		out[t.Number] = t
		return nil
	})
	return out
}

// examinePages reads the pages into the tables. broken are the tables of which a page cannot be read.
func examinePages(ctx context.Context, tx *bolt.Tx, tables map[uint16]*table, p *Part) (broken map[uint16]bool, err error) {
	broken = map[uint16]bool{}
	examineEach(tx, bucketPages, new(Part), func(k, sealed []byte) error {
		if err = ctx.Err(); err != nil {
			return nil // told below
		}
		number, n, err := parseRecordKey(k)
		t := tables[number]
		if err != nil || t == nil || int(n) >= len(t.pages) {
			p.fault(fmt.Errorf("page %x is outside any table", k))
			return nil
		}
		value, err := unseal(k, sealed)
		if err == nil {
			t.pages[n], err = parsePage(value)
		}
		if err != nil {
			broken[number] = true
			from := n << pageBits
			p.fault(fmt.Errorf("records %d to %d of %s: %w", from, min(from+pageSize, t.Count)-1, t.Name, err))
		}
		return nil
	})
	for _, t := range tables {
		if p.Checked += int64(t.Count); broken[t.Number] || len(t.pages) == 0 {
			continue
		}
		for s := range spans(t.pages, Range{t.Count, uint32(len(t.pages)) << pageBits}) {
			if s.Entry != (Entry{}) {
				p.fault(fmt.Errorf("table %s has entries beyond its %d records", t.Name, t.Count))
				break
			}
		}
	}
	return broken, err
}

func examineCounts(tx *bolt.Tx, tables map[uint16]*table, broken map[uint16]bool, p *Part) {
	for _, t := range tables {
		if broken[t.Number] {
			p.Skipped = "entries of " + t.Name + " cannot be read"
			continue
		}
		if err := t.loadCounts(tx); err != nil {
			p.fault(fmt.Errorf("table %s: %w", t.Name, err))
		}
	}
	examineEach(tx, bucketCounts, p, func(k, v []byte) error {
		if _, err := unseal(k, v); err != nil {
			return err
		}
		if len(k) != 2 || tables[binary.BigEndian.Uint16(k)] == nil {
			return fmt.Errorf("counts %x belong to no table", k)
		}
		return nil
	})
}

// examineFailures walks entries and failures side by side.
func examineFailures(ctx context.Context, tx *bolt.Tx, tables map[uint16]*table, broken map[uint16]bool, p *Part) error {
	for _, t := range tables {
		if broken[t.Number] {
			p.Skipped = "entries of " + t.Name + " cannot be read"
		} else if err := t.examineFailures(ctx, tx, p); err != nil {
			return err
		}
	}
	examineEach(tx, bucketErrors, p, func(k, v []byte) error {
		number, _, err := parseRecordKey(k)
		if err == nil && tables[number] == nil {
			err = fmt.Errorf("failure %x belongs to no table", k)
		}
		return err
	})
	return nil
}

func (t *table) examineFailures(ctx context.Context, tx *bolt.Tx, p *Part) error {
	c := tx.Bucket(bucketErrors).Cursor()
	prefix := tableKey(t.Number)
	k, v := c.Seek(prefix)
	stray := func() {
		p.fault(fmt.Errorf("failure %x belongs to a record of %s that did not fail", k, t.Name))
		k, v = c.Next()
	}
	for s := range spans(t.pages, Range{0, t.Count}) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.Flag.failing() {
			continue
		}
		for seq := s.From; seq < s.To; seq++ {
			want := recordKey(t.Number, seq)
			for k != nil && bytes.Compare(k, want) < 0 {
				stray()
			}
			if !bytes.Equal(k, want) {
				p.fault(fmt.Errorf("record %d of %s has flag %s and no failure", seq, t.Name, s.Flag))
				continue
			}
			f, err := readFailure(tx, k, v)
			if err == nil && f.Entry != s.Entry {
				err = fmt.Errorf("failure says %s, the entry %s", f.Entry, s.Entry)
			}
			if err != nil {
				p.fault(fmt.Errorf("record %d of %s: %w", seq, t.Name, err))
			}
			k, v = c.Next()
		}
	}
	for bytes.HasPrefix(k, prefix) {
		stray()
	}
	return nil
}

func examineTexts(tx *bolt.Tx, p *Part) {
	last := uint32(0)
	examineEach(tx, bucketErrText, p, func(k, v []byte) error {
		if _, err := unseal(k, v); err != nil {
			last++
			return err
		}
		if last++; len(k) != 4 || binary.BigEndian.Uint32(k) != last {
			return fmt.Errorf("error text %x is out of order", k)
		}
		return nil
	})
}

// examineMemory compares the tables as stored with those in memory.
func (l *Ledger) examineMemory(stored map[uint16]*table, p *Part) {
	if len(stored) != len(l.tables) {
		p.fault(errors.New("memory holds other tables than the file"))
	}
	for _, t := range stored {
		p.Checked++
		if err := t.equal(l.tables[t.Name]); err != nil {
			p.fault(err)
		}
	}
}

// equal compares a table as stored with the one in memory.
func (t *table) equal(memory *table) error {
	if memory == nil || t.Table != memory.Table || t.behind != memory.behind || t.restoredIn != memory.restoredIn || *t.counts != *memory.counts {
		return fmt.Errorf("table %s differs between memory and file", t.Name)
	}
	for n, p := range t.pages {
		if p != memory.pages[n] {
			return fmt.Errorf("page %d of %s differs between memory and file", n, t.Name)
		}
	}
	return nil
}

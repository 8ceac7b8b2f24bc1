package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// Record ids that the target assigned, or that were found in it: the stage cannot compute
// them. They are kept in pages of 256 records, about what one request brings.
const (
	idBits     = 8
	idPageSize = 1 << idBits
	idBytes    = 16
	// maxIDPages is how many pages of ids are kept in memory: 64 MB, 4 million records.
	maxIDPages = 1 << 14
)

// bucketIDs is there from format version 2 on. See FORMAT.md.
var bucketIDs = []byte("ids")

// RecordID is the id in the target of one record of a table.
type RecordID struct {
	Seq uint32
	ID  [16]byte
}

// idOp keeps the ids of some records of a table.
type idOp struct {
	table *table
	ids   []RecordID
}

type idPage [idPageSize][idBytes]byte

// idPages are pages of ids in memory, read when they are asked for.
type idPages struct {
	mu    sync.Mutex
	pages map[idKey]*idPage
}

type idKey struct {
	table uint16
	n     uint32
}

// SettleIDs is Settle, and keeps ids in the same commit. The zero id forgets the one that
// was kept.
func (l *Ledger) SettleIDs(ctx context.Context, name string, outcomes []Outcome, ids []RecordID) error {
	return l.submit(ctx, &request{fold: func(s *stage) error {
		if err := s.settle(name, outcomes); err != nil {
			return err
		}
		t, err := s.table(name)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if id.Seq >= t.Count {
				return fmt.Errorf("keep id of %s %d of %d: %w", name, id.Seq, t.Count, ErrRange)
			}
		}
		if len(ids) > 0 {
			s.ids = append(s.ids, idOp{t, ids})
		}
		return nil
	}})
}

// ID is the kept id of a record; false when none is kept.
func (l *Ledger) ID(name string, seq uint32) ([16]byte, bool, error) {
	t, ok := l.Table(name)
	if !ok {
		return [16]byte{}, false, fmt.Errorf("find id: %w %q", ErrUnknownTable, name)
	}
	k := idKey{t.Number, seq >> idBits}
	l.ids.mu.Lock()
	defer l.ids.mu.Unlock()
	page := l.ids.pages[k]
	if page == nil {
		err := l.view(func(tx *bolt.Tx) (err error) {
			page, err = readIDs(tx, k)
			return err
		})
		if err != nil {
			return [16]byte{}, false, fmt.Errorf("find id of %s %d: %w", name, seq, err)
		}
		l.ids.keep(k, page)
	}
	id := page[seq&(idPageSize-1)]
	return id, id != [16]byte{}, nil
}

// keep keeps a page in memory, and lets others go when there are too many.
func (p *idPages) keep(k idKey, page *idPage) {
	if p.pages == nil {
		p.pages = map[idKey]*idPage{}
	}
	for other := range p.pages {
		if len(p.pages) < maxIDPages {
			break
		}
		delete(p.pages, other)
	}
	p.pages[k] = page
}

// IDs are all kept ids of a table, by seq. It reads some at a time, so that an id that is
// kept meanwhile may or may not come.
func (l *Ledger) IDs(name string) iter.Seq2[RecordID, error] {
	return func(yield func(RecordID, error) bool) {
		for from := uint32(0); ; {
			ids, err := l.SomeIDs(name, from, 4*idPageSize)
			if err != nil {
				yield(RecordID{}, err)
				return
			}
			if len(ids) == 0 {
				return
			}
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
			from = ids[len(ids)-1].Seq + 1
		}
	}
}

// SomeIDs are the kept ids of a table from seq from on, at most so many and of some
// hundreds; ask again from the last Seq + 1 until none comes.
func (l *Ledger) SomeIDs(name string, from uint32, limit int) ([]RecordID, error) {
	t, ok := l.Table(name)
	if !ok {
		return nil, fmt.Errorf("list ids: %w %q", ErrUnknownTable, name)
	}
	var out []RecordID
	err := l.view(func(tx *bolt.Tx) error {
		for next := (idKey{t.Number, from >> idBits}); len(out)+idPageSize <= max(limit, idPageSize); next.n++ {
			page, err := nextIDs(tx, &next)
			if page == nil || err != nil {
				return err
			}
			for i, id := range page {
				if seq := next.n<<idBits + uint32(i); seq >= from && id != [16]byte{} && len(out) < limit {
					out = append(out, RecordID{seq, id})
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list ids of %s: %w", name, err)
	}
	return out, nil
}

// nextIDs reads the first page of the table from k on, and moves k to it; nil when there
// is none.
func nextIDs(tx *bolt.Tx, k *idKey) (*idPage, error) {
	b := tx.Bucket(bucketIDs)
	if b == nil {
		return nil, nil
	}
	key, _ := b.Cursor().Seek(recordKey(k.table, k.n))
	if key == nil {
		return nil, nil
	}
	number, n, err := parseRecordKey(key)
	if err != nil || number != k.table {
		return nil, err
	}
	k.n = n
	return readIDs(tx, *k)
}

// readIDs reads a page of ids; an absent one is empty.
func readIDs(tx *bolt.Tx, k idKey) (*idPage, error) {
	page := new(idPage)
	b := tx.Bucket(bucketIDs)
	if b == nil {
		return page, nil
	}
	value, err := get(b, recordKey(k.table, k.n))
	if err != nil || value == nil {
		return page, err
	}
	if len(value)%idBytes != 0 || len(value) > idPageSize*idBytes || len(value) == 0 {
		return nil, errors.New("a page of ids has not its length")
	}
	for i := range len(value) / idBytes {
		page[i] = [idBytes]byte(value[i*idBytes:])
	}
	return page, nil
}

// putIDs stores ids, in order. On the writer's goroutine; the caller forgets the pages in
// memory afterwards.
func putIDs(tx *bolt.Tx, ops []idOp) error {
	if len(ops) == 0 {
		return nil
	}
	b := tx.Bucket(bucketIDs)
	b.FillPercent = fillPercent
	pages := map[idKey]*idPage{}
	for _, op := range ops {
		for _, id := range op.ids {
			k := idKey{op.table.Number, id.Seq >> idBits}
			if pages[k] == nil {
				page, err := readIDs(tx, k)
				if err != nil {
					return err
				}
				pages[k] = page
			}
			pages[k][id.Seq&(idPageSize-1)] = id.ID
		}
	}
	for k, page := range pages {
		value := make([]byte, 0, idPageSize*idBytes+4)
		last := 0
		for i, id := range page {
			value = append(value, id[:]...)
			if id != [16]byte{} {
				last = i + 1
			}
		}
		key := recordKey(k.table, k.n)
		var err error
		if last == 0 {
			err = b.Delete(key)
		} else {
			err = put(b, key, value[:last*idBytes])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forget drops the pages that a commit has changed.
func (p *idPages) forget(ops []idOp) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, op := range ops {
		for _, id := range op.ids {
			delete(p.pages, idKey{op.table.Number, id.Seq >> idBits})
		}
	}
}

// checkIDs checks the page of ids under key: it belongs to a table and ends within it.
func checkIDs(tx *bolt.Tx, tables map[uint16]*table, key []byte) error {
	number, n, err := parseRecordKey(key)
	if err != nil {
		return err
	}
	page, err := readIDs(tx, idKey{number, n})
	if err != nil {
		return err
	}
	for i := len(page) - 1; i >= 0; i-- {
		if page[i] == [idBytes]byte{} {
			continue
		}
		if t := tables[number]; t == nil || uint64(n)<<idBits+uint64(i) >= uint64(t.Count) {
			return fmt.Errorf("page %d of ids of table %d reaches beyond the table", n, number)
		}
		return nil
	}
	return fmt.Errorf("page %d of ids of table %d is empty", n, number)
}

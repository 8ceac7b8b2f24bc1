package ledger

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Failure is a record that failed or is held back, with everything known about why.
type Failure struct {
	Seq uint32
	Entry
	Reason
}

// maxTemplates bounds the templates kept in memory for interning; texts that would need more are stored whole.
const maxTemplates = 1 << 16

// reasonHead is the size of a failure's value before the text's values: word u32, time u32, HTTP status
// u16, code u32, text id u32.
const reasonHead = 18

// putReasons stores and removes failures, in order. On the writer's goroutine.
func (l *Ledger) putReasons(tx *bolt.Tx, ops []reasonOp) error {
	b := tx.Bucket(bucketErrors)
	b.FillPercent = fillPercent
	for _, op := range ops {
		var value []byte
		if op.reason != nil {
			id, params, err := l.intern(tx, cutText(op.reason.Text))
			if err != nil {
				return err
			}
			value = encodeFailure(Failure{Entry: op.word.entry(op.time), Reason: *op.reason}, id, params)
		}
		for seq := op.r.From; seq < op.r.To; seq++ {
			key := recordKey(op.table.Number, seq)
			var err error
			if value == nil {
				err = b.Delete(key)
			} else {
				err = put(b, key, value)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// intern finds or stores the template of text. Id 0 is no template: the text is then the only value, or
// there is none when it is empty.
func (l *Ledger) intern(tx *bolt.Tx, text string) (id uint32, params []string, err error) {
	if text == "" {
		return 0, nil, nil
	}
	template, params, ok := splitText(text)
	if !ok {
		return 0, []string{text}, nil
	}
	if id, ok := l.texts[template]; ok {
		return id, params, nil
	}
	if len(l.texts) >= maxTemplates {
		return 0, []string{text}, nil
	}
	id = uint32(len(l.texts)) + 1
	if err := put(tx.Bucket(bucketErrText), binary.BigEndian.AppendUint32(nil, id), []byte(template)); err != nil {
		return 0, nil, err
	}
	l.texts[template] = id // if the commit fails the ledger is poisoned, so this needs no undoing
	return id, params, nil
}

// loadTexts reads the templates; their ids are dense from 1.
func (l *Ledger) loadTexts(tx *bolt.Tx) error {
	return tx.Bucket(bucketErrText).ForEach(func(k, sealed []byte) error {
		template, err := unseal(k, sealed)
		if err != nil {
			return err
		}
		if len(k) != 4 || binary.BigEndian.Uint32(k) != uint32(len(l.texts))+1 {
			return fmt.Errorf("error text %x is out of order", k)
		}
		l.texts[string(template)] = uint32(len(l.texts)) + 1
		return nil
	})
}

// encodeFailure is the value of f in the bucket errors; Seq is in its key.
func encodeFailure(f Failure, text uint32, params []string) []byte {
	b := make([]byte, 0, 64)
	b = binary.BigEndian.AppendUint32(b, uint32(f.Entry.word()))
	b = binary.BigEndian.AppendUint32(b, f.Time)
	b = binary.BigEndian.AppendUint16(b, f.HTTP)
	b = binary.BigEndian.AppendUint32(b, f.Code)
	b = binary.BigEndian.AppendUint32(b, text)
	return appendParams(b, params)
}

// decodeFailure is the reverse of encodeFailure.
func decodeFailure(b []byte) (f Failure, text uint32, params []string, err error) {
	if len(b) < reasonHead {
		return f, 0, nil, errors.New("failure is cut short")
	}
	w := word(binary.BigEndian.Uint32(b))
	if !w.valid() || !w.flag().failing() {
		return f, 0, nil, errors.New("failure of a record that did not fail")
	}
	f.Entry = w.entry(binary.BigEndian.Uint32(b[4:]))
	f.Reason = Reason{
		Class: f.Entry.Class,
		HTTP:  binary.BigEndian.Uint16(b[8:]),
		Code:  binary.BigEndian.Uint32(b[10:]),
	}
	text = binary.BigEndian.Uint32(b[14:])
	params, err = parseParams(b[reasonHead:])
	if text == 0 && len(params) > 1 {
		err = errors.New("text without template has more than one value")
	}
	return f, text, params, err
}

// readFailure is the failure stored under key.
func readFailure(tx *bolt.Tx, key, sealed []byte) (Failure, error) {
	value, err := unseal(key, sealed)
	if err != nil {
		return Failure{}, err
	}
	f, id, params, err := decodeFailure(value)
	if err != nil {
		return f, err
	}
	if _, f.Seq, err = parseRecordKey(key); err != nil {
		return f, err
	}
	if id == 0 {
		if len(params) == 1 {
			f.Text = params[0]
		}
		return f, nil
	}
	template, err := get(tx.Bucket(bucketErrText), binary.BigEndian.AppendUint32(nil, id))
	if err == nil && template == nil {
		err = fmt.Errorf("error text %d is missing", id)
	}
	if err != nil {
		return f, err
	}
	f.Text, err = joinText(string(template), params)
	return f, err
}

// maxFailures is the most that one call of Failures reads, to keep its transaction short.
const maxFailures = 1000

// Newest lists the failed and held records of a table that the filter chooses, the latest change first
// (records of one second by their seq), at most limit. It looks for them in memory, so it takes as long
// for 120 million records as the scan of their runs, some 50 ms.
func (l *Ledger) Newest(name string, f Filter, limit int) ([]Failure, error) {
	t, ok := l.Table(name)
	if !ok {
		return nil, fmt.Errorf("list failures: %w %q", ErrUnknownTable, name)
	}
	newest := l.newest(name, f, limit)
	out := make([]Failure, 0, len(newest))
	for piece := range slices.Chunk(newest, maxFailures) {
		err := l.view(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketErrors)
			for _, r := range piece {
				key := recordKey(t.Number, r.seq)
				sealed := b.Get(key)
				if sealed == nil { // retried since
					continue
				}
				f, err := readFailure(tx, key, sealed)
				if err != nil {
					return err
				}
				out = append(out, f)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list failures of %s: %w", name, err)
		}
	}
	return out, nil
}

// changed is a record and when it changed.
type changed struct{ time, seq uint32 }

// later orders by time, the latest first, then by seq.
func (a changed) later(b changed) int {
	return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(a.seq, b.seq))
}

// newest finds the chosen records that changed last, in order.
func (l *Ledger) newest(name string, f Filter, limit int) []changed {
	if limit <= 0 {
		return nil
	}
	var top []changed // sorted down to limit whenever it has twice as many
	cut := func() {
		slices.SortFunc(top, changed.later)
		top = top[:min(len(top), limit)]
	}
	for s := range l.Spans(name, 0) {
		if !f.chooses(s.Entry) {
			continue
		}
		for seq := s.From; seq < s.To && int(seq-s.From) < limit; seq++ {
			if len(top) >= limit && (changed{s.Time, seq}).later(top[limit-1]) > 0 {
				break
			}
			if top = append(top, changed{s.Time, seq}); len(top) == 2*limit {
				cut()
			}
		}
	}
	cut()
	return top
}

// Failures lists a table's failed and held records from seq from on, in ascending order, at most limit
// and never more than 1000; ask again from the last Seq + 1 until none comes. During a load it may be
// one commit ahead of Spans and Counts.
func (l *Ledger) Failures(name string, from uint32, limit int) ([]Failure, error) {
	t, ok := l.Table(name)
	if !ok {
		return nil, fmt.Errorf("list failures: %w %q", ErrUnknownTable, name)
	}
	limit = min(limit, maxFailures)
	var out []Failure
	err := l.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketErrors).Cursor()
		for k, v := c.Seek(recordKey(t.Number, from)); k != nil && len(out) < limit; k, v = c.Next() {
			if number, _, err := parseRecordKey(k); err != nil || number != t.Number {
				return err
			}
			f, err := readFailure(tx, k, v)
			if err != nil {
				return err
			}
			out = append(out, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list failures of %s: %w", name, err)
	}
	return out, nil
}

package ledger

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Run is one start-to-stop of the loader.
type Run struct {
	ID      uint64    `json:"-"` // given by StartRun, ascending
	Start   time.Time `json:"start"`
	End     time.Time `json:"end,omitzero"` // zero: still running, or it died
	By      string    `json:"by,omitempty"`
	Command string    `json:"command,omitempty"`
	Records int64     `json:"records,omitempty"` // settled
	Failed  int64     `json:"failed,omitempty"`  // of these, with an error
	Note    string    `json:"note,omitempty"`    // how it ended, in the caller's words
}

// StartRun notes that a run begins and returns its id. A zero Start is now.
func (l *Ledger) StartRun(ctx context.Context, r Run) (id uint64, err error) {
	if r.Start.IsZero() {
		r.Start = time.Now()
	}
	err = l.submit(ctx, &request{alone: func() error {
		r.ID = l.nextRun
		l.nextRun++
		return l.putRun(r)
	}})
	return r.ID, err
}

// EndRun replaces what is noted of run r.ID. A zero End is now.
func (l *Ledger) EndRun(ctx context.Context, r Run) error {
	if r.End.IsZero() {
		r.End = time.Now()
	}
	return l.submit(ctx, &request{alone: func() error {
		if r.ID == 0 || r.ID >= l.nextRun {
			return fmt.Errorf("end run: there is no run %d", r.ID)
		}
		return l.putRun(r)
	}})
}

func (l *Ledger) putRun(r Run) error {
	return l.transact(func(tx *bolt.Tx) error {
		r.Start, r.End = r.Start.UTC().Round(0), r.End.UTC().Round(0)
		return putJSON(tx.Bucket(bucketRuns), binary.BigEndian.AppendUint64(nil, r.ID), r)
	})
}

// RunLog lists the last n runs, the newest first.
func (l *Ledger) RunLog(n int) ([]Run, error) {
	var out []Run
	err := l.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketRuns).Cursor()
		for k, v := c.Last(); k != nil && len(out) < n; k, v = c.Prev() {
			r, err := readRun(k, v)
			if err != nil {
				return err
			}
			out = append(out, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return out, nil
}

func readRun(key, sealed []byte) (r Run, err error) {
	if len(key) != 8 {
		return r, fmt.Errorf("run key %x has not 8 bytes", key)
	}
	text, err := unseal(key, sealed)
	if err != nil {
		return r, err
	}
	r.ID = binary.BigEndian.Uint64(key)
	return r, json.Unmarshal(text, &r)
}

package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"dvmigrate/ledger"
)

const (
	// claimTime is about how long the records of one claim last: few commits a second, and
	// few records in doubt after a crash.
	claimTime = 40 * time.Millisecond
	// mostClaimed is the most records of one claim.
	mostClaimed = 16_384
)

// claimer has the ledger note records as in flight ahead of the scan that reads them, a
// block at a time and one block ahead, so that no request waits for the disk. At the end
// of each window what was claimed and came into no job is given back: the load stops, or
// the stage does not hold it.
type claimer struct {
	l    *Loader
	w    *work
	size int // records of the next block

	spans []ledger.Span // what is meant in this window, ascending
	next  int           // the span that the next block begins in
	from  uint32        // and where
	taken []uint64      // of each record from the window's first on, a bit: it has come into a job
	left  int           // records that are claimed and have not

	claimed uint32         // records below are claimed
	block   []ledger.Range // that is being claimed
	length  int            // its records
	answer  chan error     // to its claim; nil: there is none
	began   time.Time      // when the block before was
}

// window begins a window.
func (c *claimer) window(spans []ledger.Span) {
	first := spans[0].From
	c.spans, c.next, c.from, c.claimed = spans, 0, first, first
	c.taken = slices.Grow(c.taken[:0], window/64+1)[:int(spans[len(spans)-1].To-first)/64+1]
	clear(c.taken)
}

// take sees to it that a record is claimed, for a job.
func (c *claimer) take(ctx context.Context, seq uint32) error {
	for seq >= c.claimed {
		if c.answer == nil {
			c.begin(ctx)
		}
		if err := c.end(); err != nil {
			return err
		}
		c.begin(ctx)
	}
	c.left--
	i := seq - c.spans[0].From
	c.taken[i/64] |= 1 << (i % 64)
	return nil
}

// begin claims the next block, if there is one.
func (c *claimer) begin(ctx context.Context) {
	switch since := time.Since(c.began); {
	case since < claimTime:
		c.size *= 2
	case since > 2*claimTime:
		c.size /= 2
	}
	c.began = time.Now()
	c.size = max(min(c.size, mostClaimed), c.w.settings.Parallel*int(c.w.batch.Load())) // a request for each worker
	c.block, c.length = c.block[:0], 0
	for c.next < len(c.spans) && c.length < c.size {
		r := ledger.Range{From: max(c.from, c.spans[c.next].From), To: c.spans[c.next].To}
		if n := c.size - c.length; r.Len() > n {
			r.To = r.From + uint32(n)
		} else {
			c.next++
		}
		c.block, c.length, c.from = append(c.block, r), c.length+r.Len(), r.To
	}
	if c.length == 0 {
		return
	}
	c.answer = make(chan error, 1)
	go func(block []ledger.Range, answer chan<- error) { answer <- c.l.claim(ctx, c.w, block) }(c.block, c.answer)
}

// end waits for the claim of a block.
func (c *claimer) end() error {
	err := <-c.answer
	c.answer = nil
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	c.claimed, c.left = c.from, c.left+c.length
	return nil
}

// close ends a window.
func (c *claimer) close(ctx context.Context) error {
	var err error
	if c.answer != nil {
		err = c.end()
	}
	if c.left == 0 {
		return err
	}
	var back []ledger.Outcome
	for _, s := range c.spans {
		for seq := s.From; seq < min(s.To, c.claimed); seq++ {
			if i := seq - c.spans[0].From; c.taken[i/64]>>(i%64)&1 != 0 {
				continue
			}
			if n := len(back); n > 0 && back[n-1].To == seq {
				back[n-1].To++
			} else {
				back = append(back, ledger.Outcome{Range: ledger.One(seq), Result: ledger.ResultReleased})
			}
		}
	}
	c.left = 0
	return errors.Join(err, c.l.settle(ctx, c.w, back, nil))
}

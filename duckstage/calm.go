package duckstage

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"dvmigrate/duckstage/column"
)

// calm counts the scans of Stream and remembers how many threads there were before.
type calm struct {
	mu      sync.Mutex // held while the number of threads is changed
	scans   int
	threads int
}

// Stream is Scan for long tables whose rows are worked on as they come: DuckDB reads
// with one thread, which the caller's work keeps waiting anyway. Several threads only
// read ahead, which takes 1.7 times the CPU time of one for the same rows. Other
// queries are limited to one thread too while a Stream runs.
func (s *Stage) Stream(ctx context.Context, query string, args []any, fn func(*column.Batch) error) error {
	return s.read(ctx, func(c *Conn) (err error) {
		if err := s.calmDown(ctx, c); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.calmOver(c)) }()
		_, err = c.stream(ctx, query, args, func(_ []ColumnInfo, b *column.Batch) error { return fn(b) })
		return err
	})
}

// calmDown lets DuckDB run with one thread, and no longer count its progress for the
// connection.
func (s *Stage) calmDown(ctx context.Context, c *Conn) error {
	s.calm.mu.Lock()
	defer s.calm.mu.Unlock()
	if s.calm.scans == 0 {
		if err := c.Row(ctx, []any{&s.calm.threads}, "SELECT current_setting('threads')"); err != nil {
			return err
		}
	}
	s.calm.scans++
	_, err := c.Exec(ctx, "SET enable_progress_bar=false; SET GLOBAL threads=1")
	if err != nil {
		s.calm.scans--
	}
	return err
}

// calmOver undoes calmDown when the last Stream ends; also when its caller's context
// has ended, as the connection goes back to the pool.
func (s *Stage) calmOver(c *Conn) error {
	s.calm.mu.Lock()
	defer s.calm.mu.Unlock()
	set := "SET enable_progress_bar=true"
	if s.calm.scans--; s.calm.scans == 0 {
		set += "; SET GLOBAL threads=" + strconv.Itoa(s.calm.threads)
	}
	_, err := c.Exec(context.Background(), set)
	return err
}

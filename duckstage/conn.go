package duckstage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// Conn is one connection, held for a sequence of statements: it has its own temporary
// tables, settings and transaction. It is for one goroutine.
type Conn struct {
	s   *Stage
	sql *sql.Conn
	raw mapping.Connection
}

// With runs fn with a connection that may write. Snapshots wait until fn is done.
func (s *Stage) With(ctx context.Context, fn func(*Conn) error) error {
	if err := s.gate.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait for the stage: %w", context.Cause(ctx))
	}
	defer s.gate.Release(1)
	if err := s.read(ctx, fn); err != nil {
		return err
	}
	s.noteLog()
	return nil
}

// read runs fn with a connection that does not write.
func (s *Stage) read(ctx context.Context, fn func(*Conn) error) error {
	if err := s.usable(); err != nil {
		return err
	}
	c, err := s.db.Conn(ctx)
	if err != nil {
		return s.explain(ctx, "", err)
	}
	defer c.Close()
	raw, err := rawConn(c)
	if err != nil {
		return err
	}
	return fn(&Conn{s: s, sql: c, raw: raw})
}

// rawConn takes the mapping-level connection out of the driver's, which has no
// accessor for it: streaming and progress exist only there (engines.md part I, 5).
// The field's type is checked, so that another driver version fails instead of crashing.
func rawConn(c *sql.Conn) (raw mapping.Connection, err error) {
	err = c.Raw(func(dc any) error {
		conn, ok := dc.(*duckdb.Conn)
		if !ok {
			return fmt.Errorf("unexpected driver connection %T", dc)
		}
		field := reflect.ValueOf(conn).Elem().Field(0)
		if field.Type() != reflect.TypeFor[mapping.Connection]() {
			return fmt.Errorf("unexpected driver layout: %s", field.Type())
		}
		raw = *(*mapping.Connection)(unsafe.Pointer(field.UnsafeAddr()))
		return nil
	})
	return raw, err
}

// Exec runs one or more statements and returns how many rows the last one changed.
func (c *Conn) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := c.s.usable(); err != nil {
		return 0, err
	}
	res, err := c.sql.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, c.s.explain(ctx, query, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	return n, nil
}

// progressInterval is how often ExecProgress reports.
const progressInterval = 200 * time.Millisecond

// ExecProgress runs a statement and meanwhile tells report how much of it is done,
// from 0 to 1, as far as DuckDB knows. Report is called by another goroutine, and not
// after ExecProgress has returned.
func (c *Conn) ExecProgress(ctx context.Context, report func(done float64), query string, args ...any) (int64, error) {
	if report == nil {
		return c.Exec(ctx, query, args...)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				p := mapping.QueryProgress(c.raw)
				if percent, _, _ := mapping.QueryProgressTypeMembers(&p); percent >= 0 {
					report(percent / 100)
				}
			}
		}
	}()
	n, err := c.Exec(ctx, query, args...)
	close(stop)
	<-stopped
	return n, err
}

// Row reads the first row of query into dest; sql.ErrNoRows when there is none.
func (c *Conn) Row(ctx context.Context, dest []any, query string, args ...any) error {
	found := false
	err := c.Rows(ctx, query, args, func(scan func(...any) error) error {
		if found {
			return nil
		}
		found = true
		return scan(dest...)
	})
	if err == nil && !found {
		return sql.ErrNoRows
	}
	return err
}

// Rows calls each for every row of query. The result is held in memory as a whole
// before: it is for small results; Scan is for large ones.
func (c *Conn) Rows(ctx context.Context, query string, args []any, each func(scan func(...any) error) error) error {
	if err := c.s.usable(); err != nil {
		return err
	}
	rows, err := c.sql.QueryContext(ctx, query, args...)
	if err != nil {
		return c.s.explain(ctx, query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return c.s.explain(ctx, query, rows.Err())
}

// Tx runs fn in a transaction: committed when fn returns nil, undone otherwise.
func (c *Conn) Tx(ctx context.Context, fn func() error) error {
	if _, err := c.Exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := fn(); err != nil {
		return errors.Join(err, c.rollback())
	}
	if _, err := c.Exec(ctx, "COMMIT"); err != nil {
		return errors.Join(fmt.Errorf("commit: %w", err), c.rollback())
	}
	return nil
}

// rollback undoes the transaction, if DuckDB has not done so itself. It runs although
// the caller's context may be over: the connection goes back to the pool.
func (c *Conn) rollback() error {
	_, err := c.Exec(context.Background(), "ROLLBACK")
	var refused *SQLError
	var fatal *FatalError
	if errors.As(err, &refused) || errors.As(err, &fatal) {
		return nil
	}
	return err
}

// Checkpoint writes the log into the database file, if no reader of an older state
// forbids it: a later one will then.
func (c *Conn) Checkpoint(ctx context.Context) error {
	_, err := c.Exec(ctx, "CHECKPOINT")
	var refused *SQLError
	if errors.As(err, &refused) && strings.Contains(refused.Message, "Cannot CHECKPOINT") {
		return nil
	}
	return err
}

// Exec runs one or more statements on a connection of its own.
func (s *Stage) Exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.With(ctx, func(c *Conn) error {
		n, err = c.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

// Row is Conn.Row on a connection of its own.
func (s *Stage) Row(ctx context.Context, dest []any, query string, args ...any) error {
	return s.read(ctx, func(c *Conn) error { return c.Row(ctx, dest, query, args...) })
}

// Rows is Conn.Rows on a connection of its own.
func (s *Stage) Rows(ctx context.Context, query string, args []any, each func(scan func(...any) error) error) error {
	return s.read(ctx, func(c *Conn) error { return c.Rows(ctx, query, args, each) })
}

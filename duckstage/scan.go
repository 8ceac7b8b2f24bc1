package duckstage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	bindings "github.com/duckdb/duckdb-go-bindings"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"dvmigrate/duckstage/column"
)

// Scan runs a SELECT and hands its rows to fn in batches of up to 2048, in order. The
// batch is reused: it is valid until fn returns. The rows are those of the moment the
// scan began, whatever is written meanwhile, and memory stays flat however many there
// are. An error of fn ends the scan and is returned as it is.
//
// Columns of types that column has no form for (lists, structs, times, enums) arrive
// as DuckDB's text of them. Arguments may be nil, bool, integers, float64, string,
// []byte and time.Time.
func (s *Stage) Scan(ctx context.Context, query string, args []any, fn func(*column.Batch) error) error {
	_, err := s.stream(ctx, query, args, func(_ []ColumnInfo, b *column.Batch) error { return fn(b) })
	return err
}

// Query runs one statement of a person who typed it, which must read: a SELECT in any of
// its spellings (FROM, VALUES, DESCRIBE, SHOW, PRAGMA table_info ...) or the EXPLAIN of one.
// Any other gets ErrNotQuery and is not run. fn gets the columns with every batch, and once
// with an empty batch when there are no rows.
func (s *Stage) Query(ctx context.Context, query string, fn func([]ColumnInfo, *column.Batch) error) error {
	query, err := One(query)
	if err != nil {
		return err
	}
	if err := s.reads(ctx, query); err != nil {
		return err
	}
	empty := true
	cols, err := s.stream(ctx, query, nil, func(cols []ColumnInfo, b *column.Batch) error {
		empty = false
		return fn(cols, b)
	})
	if err == nil && empty {
		return fn(cols, &column.Batch{})
	}
	return err
}

// statementType prepares a statement to see what it is.
func (s *Stage) statementType(ctx context.Context, query string) (kind mapping.StatementType, err error) {
	err = s.read(ctx, func(c *Conn) error {
		stmt, err := c.prepare(ctx, query)
		if err != nil {
			return err
		}
		kind = mapping.PreparedStatementType(*stmt)
		mapping.DestroyPrepare(stmt)
		return nil
	})
	return kind, err
}

// stream is Scan with the result's columns.
func (s *Stage) stream(ctx context.Context, query string, args []any, fn func([]ColumnInfo, *column.Batch) error) (cols []ColumnInfo, err error) {
	err = s.read(ctx, func(c *Conn) error {
		cols, err = c.stream(ctx, query, args, fn)
		return err
	})
	return cols, err
}

// Scan is Stage.Scan on the connection.
func (c *Conn) Scan(ctx context.Context, query string, args []any, fn func(*column.Batch) error) error {
	_, err := c.stream(ctx, query, args, func(_ []ColumnInfo, b *column.Batch) error { return fn(b) })
	return err
}

func (c *Conn) stream(ctx context.Context, query string, args []any, fn func([]ColumnInfo, *column.Batch) error) ([]ColumnInfo, error) {
	cols, err := c.execute(ctx, query, query, args, nil, fn)
	if !errors.Is(err, errNeedsCast) {
		return cols, err
	}
	one, err := One(query)
	if err != nil {
		return nil, err
	}
	wrapped := "SELECT " + castList(cols) + " FROM (\n" + one + "\n) AS t(" + columnNumbers(len(cols)) + ")"
	return c.execute(ctx, query, wrapped, args, cols, fn)
}

// errNeedsCast says that a result has columns that only their text can be read of.
var errNeedsCast = errors.New("a column must be cast")

// execute runs a statement, which is query or made from it, and hands out its rows as
// they come. Shown are the columns fn is told of; the result's own when nil.
func (c *Conn) execute(ctx context.Context, query, statement string, args []any, shown []ColumnInfo, fn func([]ColumnInfo, *column.Batch) error) ([]ColumnInfo, error) {
	stmt, err := c.prepare(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer mapping.DestroyPrepare(stmt)
	if err := bind(*stmt, args); err != nil {
		return nil, err
	}
	// Seen here, a cast costs nothing. With parameters the types are known only when
	// the statement runs.
	if cols, readers := preparedLayout(*stmt); len(args) == 0 && needsCast(readers) {
		return cols, errNeedsCast
	}
	defer c.interruptWhenDone(ctx)()
	var pending mapping.PendingResult
	// Deprecated in DuckDB's C interface without a successor: everything else holds the
	// whole result in memory, outside memory_limit (engines.md part I, 5).
	if bindings.PendingPreparedStreaming(*stmt, &pending) == mapping.StateError {
		err := c.s.explain(ctx, query, duckError(mapping.PendingError(pending)))
		mapping.DestroyPending(&pending)
		return nil, err
	}
	var res mapping.Result
	state := mapping.ExecutePending(pending, &res)
	mapping.DestroyPending(&pending)
	defer mapping.DestroyResult(&res)
	if state == mapping.StateError {
		return nil, c.s.explain(ctx, query, duckError(mapping.ResultError(&res)))
	}
	cols, readers := resultLayout(&res)
	if needsCast(readers) {
		return cols, errNeedsCast
	}
	if shown == nil {
		shown = cols
	}
	return shown, c.fetch(ctx, query, &res, batchFor(cols, readers), func(b *column.Batch) error { return fn(shown, b) })
}

// fetch hands out the chunks of a result as they are made.
func (c *Conn) fetch(ctx context.Context, query string, res *mapping.Result, batch *scanBatch, fn func(*column.Batch) error) error {
	for {
		chunk := mapping.FetchChunk(*res)
		if chunk.Ptr == nil {
			break
		}
		if ctx.Err() != nil {
			mapping.DestroyDataChunk(&chunk)
			return context.Cause(ctx)
		}
		batch.fill(chunk)
		mapping.DestroyDataChunk(&chunk)
		if batch.Rows == 0 {
			continue
		}
		if err := fn(&batch.Batch); err != nil {
			return err
		}
	}
	if text := mapping.ResultError(res); text != "" {
		return c.s.explain(ctx, query, duckError(text))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// interruptInterval is how long DuckDB is left to react before it is told again: an
// interrupt that arrives between two steps is forgotten.
const interruptInterval = 50 * time.Millisecond

// interruptWhenDone stops what the connection executes once ctx is done, until the
// returned function is called.
func (c *Conn) interruptWhenDone(ctx context.Context) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-stopped:
			return
		case <-ctx.Done():
		}
		tick := time.NewTicker(interruptInterval)
		defer tick.Stop()
		for {
			mapping.Interrupt(c.raw)
			select {
			case <-stopped:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(stopped)
		<-done
	}
}

// castList writes a select list that turns columns without a reader into text, or
// timestamps of other units into microseconds.
func castList(cols []ColumnInfo) string {
	list := make([]string, len(cols))
	for i, col := range cols {
		list[i] = fmt.Sprintf("c%d", i)
		switch {
		case strings.HasPrefix(col.SQLType, "TIMESTAMP_"):
			list[i] = "CAST(" + list[i] + " AS TIMESTAMP)"
		case !readable[col.SQLType] && !strings.HasPrefix(col.SQLType, "DECIMAL("):
			list[i] = "CAST(" + list[i] + " AS VARCHAR)"
		}
		list[i] += " AS " + Ident(col.Name)
	}
	return strings.Join(list, ", ")
}

func columnNumbers(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
	}
	return strings.Join(names, ", ")
}

// bind binds the arguments of a statement.
func bind(stmt mapping.PreparedStatement, args []any) error {
	if n := int(mapping.NParams(stmt)); n != len(args) {
		return fmt.Errorf("bind arguments: the statement has %d, %d were given", n, len(args))
	}
	for i, arg := range args {
		at, state := mapping.IdxT(i+1), mapping.StateError
		switch v := arg.(type) {
		case nil:
			state = mapping.BindNull(stmt, at)
		case bool:
			state = mapping.BindBoolean(stmt, at, v)
		case int:
			state = mapping.BindInt64(stmt, at, int64(v))
		case int32:
			state = mapping.BindInt32(stmt, at, v)
		case int64:
			state = mapping.BindInt64(stmt, at, v)
		case uint16:
			state = mapping.BindUInt16(stmt, at, v)
		case uint32:
			state = mapping.BindUInt32(stmt, at, v)
		case uint64:
			state = mapping.BindUInt64(stmt, at, v)
		case float64:
			state = mapping.BindDouble(stmt, at, v)
		case string:
			state = mapping.BindVarcharLength(stmt, at, v, mapping.IdxT(len(v)))
		case []byte:
			state = mapping.BindBlob(stmt, at, v)
		case time.Time:
			state = mapping.BindTimestamp(stmt, at, mapping.NewTimestamp(v.UnixMicro()))
		default:
			return fmt.Errorf("bind argument %d: %T is not supported", i+1, arg)
		}
		if state == mapping.StateError {
			return errors.New("bind argument " + fmt.Sprint(i+1) + ": refused by DuckDB")
		}
	}
	return nil
}

package duckstage

import (
	"strings"
	"testing"

	"dvmigrate/duckstage/column"
)

// TestAppendedRowsReadBack appends one table of every type, with nulls and extremes, and
// compares with DuckDB's own text of the same values.
func TestAppendedRowsReadBack(t *testing.T) {
	s := newStage(t)
	const values = `SELECT * FROM (VALUES
		(true, (-128)::TINYINT, (-32768)::SMALLINT, 2147483647, (-9223372036854775808)::BIGINT, 18446744073709551615::UBIGINT, 1.5::DOUBLE, DATE '0001-01-01', TIMESTAMP '1899-12-31 23:59:59.999999',
		 TIMESTAMPTZ '2024-02-29 12:00:00+02', UUID 'f0000000-0000-0000-0000-0000000000ff', 'short', 'longer than twelve bytes, ü', (-1.5)::DECIMAL(4,1), 12345678901234567890123456789012345678::DECIMAL(38,0), '\x00\xFF'::BLOB),
		(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
		) t(b, i1, i2, i4, i8, u8, f, d, ts, tz, id, s, l, dec, wide, blob)`
	ctx := t.Context()
	err := s.With(ctx, func(c *Conn) error {
		if _, err := c.Exec(ctx, "CREATE TABLE want AS "+values+"; CREATE TABLE got AS SELECT * FROM want LIMIT 0"); err != nil {
			return err
		}
		a, err := c.Appender(ctx, "main", "got")
		if err != nil {
			return err
		}
		defer a.Close()
		out := a.Batch()
		if err := s.Scan(ctx, "SELECT * EXCLUDE (blob) FROM want", nil, func(b *column.Batch) error {
			cols := out.Columns
			in := column.Batch{Columns: cols[:len(cols)-1]}
			in.CopyFrom(b)
			out.Columns, out.Rows = append(in.Columns, cols[len(cols)-1]), b.Rows
			return nil
		}); err != nil {
			return err
		}
		blob := &out.Columns[len(out.Columns)-1]
		blob.AppendText("\x00\xFF")
		blob.AppendText("")
		blob.SetNull(1, 2)
		if err := a.Append(out); err != nil {
			return err
		}
		return a.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
	var different, rows int
	if err := s.Row(ctx, []any{&different, &rows}, "SELECT (SELECT count(*) FROM (FROM want EXCEPT ALL FROM got)), (SELECT count(*) FROM got)"); err != nil {
		t.Fatal(err)
	}
	if different != 0 || rows != 2 {
		t.Errorf("%d rows differ, %d are there", different, rows)
	}
}

func TestAppendRefusesWhatDuckDBCouldNotRead(t *testing.T) {
	s := newStage(t)
	ctx := t.Context()
	err := s.With(ctx, func(c *Conn) error {
		if _, err := c.Exec(ctx, "CREATE TABLE t (x VARCHAR)"); err != nil {
			return err
		}
		a, err := c.Appender(ctx, "main", "t")
		if err != nil {
			return err
		}
		defer a.Close()
		b := a.Batch()
		b.Columns[0].AppendText("a\xff")
		b.Rows = 1
		return a.Append(b)
	})
	if err == nil || !strings.Contains(err.Error(), "column x: a text is not UTF-8") {
		t.Errorf("error = %v", err)
	}
	err = s.With(ctx, func(c *Conn) error {
		if _, err := c.Exec(ctx, "CREATE TABLE l (x INTEGER[])"); err != nil {
			return err
		}
		_, err := c.Appender(ctx, "main", "l")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "INTEGER[], which cannot be appended") {
		t.Errorf("error = %v", err)
	}
}

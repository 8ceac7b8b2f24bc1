package duckstage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/duckstage/column"
)

// everyType has a column of each type, with the values at the edges.
const everyType = `SELECT * FROM (VALUES
	(1, true, (-128)::TINYINT, (-32768)::SMALLINT, (-2147483648)::INTEGER, (-9223372036854775808)::BIGINT, 255::UTINYINT, 65535::USMALLINT, 4294967295::UINTEGER,
		18446744073709551615::UBIGINT, (-170141183460469231731687303715884105727)::HUGEINT, (-1.5)::FLOAT, 1e300::DOUBLE, (-99.99)::DECIMAL(4,2), 1234567.89::DECIMAL(9,2),
		(-1234567890123.4567)::DECIMAL(18,4), 123456789012345678901234567890.01234567::DECIMAL(38,8), DATE '0001-01-01', TIMESTAMP '1969-12-31 23:59:59.999999',
		TIMESTAMPTZ '2020-06-01 12:00:00+02', '00112233-4455-8677-8899-aabbccddeeff'::UUID, 'größe 東京', '123456789012', '1234567890123', '', repeat('long ', 3000)),
	(2, false, 127, 32767, 2147483647, 9223372036854775807, 0, 0, 0, 0, 0, 0, -0.0, 0.01, -0.01, 0, -0.00000001, DATE '9999-12-31', TIMESTAMP '0001-01-01 00:00:00',
		TIMESTAMPTZ '1900-01-01 00:00:00+00', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '', 'x', '''"', e'\n', 'ü'),
	(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL))
	t(id, b, i1, i2, i4, i8, u1, u2, u4, u8, i16, f4, f8, d4, d9, d18, d38, day, ts, tz, id16, t1, t2, t3, t4, t5)`

// text renders one value the way DuckDB casts it to VARCHAR.
func text(v *column.Vector, row int) string {
	if v.Null(row) {
		return "<null>"
	}
	switch v.Type {
	case column.Bool:
		return strconv.FormatBool(v.Ints[row] == 1)
	case column.Int:
		return strconv.FormatInt(v.Ints[row], 10)
	case column.Float:
		return fmt.Sprint(v.Floats[row])
	case column.Decimal:
		return string(column.AppendDecimal(nil, v.Wide[row], int(v.Scale)))
	case column.Date:
		return time.Unix(v.Ints[row]*86400, 0).UTC().Format("2006-01-02")
	case column.Timestamp:
		return time.UnixMicro(v.Ints[row]).UTC().Format("2006-01-02 15:04:05.999999")
	case column.UUID:
		id := v.UUIDs[row]
		return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	}
	return string(v.TextAt(row))
}

func scanTexts(t *testing.T, s *Stage, query string, args ...any) [][]string {
	t.Helper()
	var out [][]string
	err := s.Scan(t.Context(), query, args, func(b *column.Batch) error {
		for row := range b.Rows {
			var line []string
			for i := range b.Columns {
				line = append(line, text(&b.Columns[i], row))
			}
			out = append(out, line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sqlTexts reads the same through database/sql, with DuckDB's own casts.
func sqlTexts(t *testing.T, s *Stage, query string) [][]string {
	t.Helper()
	var out [][]string
	err := s.Rows(t.Context(), "SELECT list_value(*COLUMNS(*)) FROM (SELECT coalesce(CAST(COLUMNS(*) AS VARCHAR), '<null>') FROM ("+query+"))", nil, func(scan func(...any) error) error {
		var values any
		if err := scan(&values); err != nil {
			return err
		}
		var line []string
		for _, v := range values.([]any) {
			line = append(line, v.(string))
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestScanReadsWhatDatabaseSQLReads(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE main.every AS "+everyType)
	got, want := scanTexts(t, s, "SELECT * EXCLUDE (f4, f8, tz, day, ts) FROM every"), sqlTexts(t, s, "SELECT * EXCLUDE (f4, f8, tz, day, ts) FROM every")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = scanTexts(t, s, "SELECT f4, f8, day, ts, tz FROM every")
	want = [][]string{{"-1.5", "1e+300", "0001-01-01", "1969-12-31 23:59:59.999999", "2020-06-01 10:00:00"},
		{"0", fmt.Sprint(math.Copysign(0, -1)), "9999-12-31", "0001-01-01 00:00:00", "1900-01-01 00:00:00"}, {"<null>", "<null>", "<null>", "<null>", "<null>"}}
	if want[1][1] = got[1][1]; !strings.HasSuffix(got[1][1], "0") {
		t.Errorf("zero = %s", got[1][1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestScanManyRowsWithNulls(t *testing.T) {
	s := newStage(t)
	query := `SELECT i, CASE WHEN i % 7 <> 0 THEN 'text ' || i || repeat('x', (i % 40)::INT) END AS s, CASE WHEN i % 5 <> 0 THEN (i * 1.25)::DECIMAL(12,2) END AS d FROM range(30000) r(i)`
	mustExec(t, s, "CREATE TABLE main.many AS "+query)
	if diff := cmp.Diff(sqlTexts(t, s, "SELECT * FROM many"), scanTexts(t, s, "SELECT * FROM many")); diff != "" {
		t.Error(diff)
	}
}

func TestScanTurnsOtherTypesIntoText(t *testing.T) {
	s := newStage(t)
	got := scanTexts(t, s, "SELECT {'a': 1} AS s, [1, 2] AS l, TIME '12:30' AS t, 'x'::BLOB AS b, NULL AS n, TIMESTAMP_S '2020-01-01 00:00:01' AS ts, 7 AS i, ? AS p -- end\n;", "arg")
	if diff := cmp.Diff([][]string{{"{'a': 1}", "[1, 2]", "12:30:00", "x", "<null>", "2020-01-01 00:00:01", "7", "arg"}}, got); diff != "" {
		t.Error(diff)
	}
	got = scanTexts(t, s, "SELECT ?, ?, ?, ?::BIGINT, ?, ?::TIMESTAMP", nil, true, 1.5, int64(1)<<40, "größe", time.UnixMicro(-1).UTC())
	if diff := cmp.Diff([][]string{{"<null>", "true", "1.5", "1099511627776", "größe", "1969-12-31 23:59:59.999999"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestScanEnds(t *testing.T) {
	s := newStage(t)
	stop := errors.New("enough")
	err := s.Scan(t.Context(), "SELECT * FROM range(100000000)", nil, func(*column.Batch) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("error of fn = %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("told to")
	err = s.Scan(ctx, "SELECT * FROM range(100000000)", nil, func(*column.Batch) error { cancel(cause); return nil })
	if !errors.Is(err, cause) {
		t.Errorf("cancelled between batches: %v", err)
	}
	// A query that gives no row for hours is stopped by the context's end.
	ctx, stopLate := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stopLate()
	err = s.Scan(ctx, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", nil, func(*column.Batch) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled within a batch: %v", err)
	}
	if n := count(t, s, "SELECT count(*) FROM range(10)"); n != 10 {
		t.Errorf("after cancelled scans count = %d", n)
	}
}

func TestScanErrors(t *testing.T) {
	s := newStage(t)
	none := func(*column.Batch) error { return nil }
	var e *SQLError
	if err := s.Scan(t.Context(), "SELECT\n nothing", nil, none); !errors.As(err, &e) || e.Line != 2 {
		t.Errorf("wrong SQL: %v", err)
	}
	rows := 0
	err := s.Scan(t.Context(), "SELECT CASE WHEN i = 500000 THEN CAST('x' || i AS INTEGER) ELSE i END FROM range(1000000) r(i)", nil, func(b *column.Batch) error {
		rows += b.Rows
		return nil
	})
	if !errors.As(err, &e) || e.Kind != "Conversion" || rows > 500000 {
		t.Errorf("error in the middle, after %d rows: %v", rows, err)
	}
	if err := s.Scan(t.Context(), "SELECT ?", nil, none); err == nil {
		t.Error("a missing argument is not an error")
	}
}

func TestScanMemoryIsFlat(t *testing.T) {
	s := newStage(t)
	run := func(n int) int64 {
		var highest int64
		batches := 0
		err := s.Scan(t.Context(), fmt.Sprintf("SELECT i, 'some text of a row ' || i AS s FROM range(%d) r(i)", n), nil, func(b *column.Batch) error {
			if batches++; batches%50 == 0 {
				highest = max(highest, residentBytes(t))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return highest
	}
	if few, many := run(200_000), run(4_000_000); many > few+100<<20 {
		t.Errorf("memory grew from %d MB to %d MB with the number of rows", few>>20, many>>20)
	}
}

func residentBytes(t *testing.T) int64 {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc")
	}
	pages, err := strconv.ParseInt(strings.Fields(string(raw))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestQueryReads: what reads is answered, with its columns where it has no rows; nothing
// else is run.
func TestQueryReads(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE main.q AS SELECT * FROM (VALUES (1, 2.0), (3, 4.0)) v(a, b)")
	var lines []string
	show := func(cols []ColumnInfo, b *column.Batch) error {
		lines = append(lines, fmt.Sprint(cols, " ", b.Rows))
		return nil
	}
	for query, want := range map[string]string{
		"SELECT * FROM q;":                    "[{a INTEGER} {b DECIMAL(2,1)}] 2",
		"SELECT a FROM q WHERE false":         "[{a INTEGER}] 0",
		"FROM q SELECT [a] AS l -- text":      "[{l LIST}] 2",
		"/* a */ (SELECT 1 AS a)":             "[{a INTEGER}] 1",
		"TABLE q":                             "[{a INTEGER} {b DECIMAL(2,1)}] 2",
		"VALUES (1)":                          "[{col0 INTEGER}] 1",
		"SHOW TABLES":                         "[{name VARCHAR}] 1",
		"PRAGMA table_info('q')":              "",
		"DESCRIBE q":                          "",
		"SUMMARIZE q":                         "",
		"PIVOT q ON a IN (1, 3) USING sum(b)": "",
		"EXPLAIN SELECT * FROM q":             "",
		"explain analyze FROM q":              "",
		"EXPLAIN (FORMAT json) FROM q":        "",
		"EXPLAIN (FROM q)":                    "",
		"WITH x AS (SELECT 7 AS a) SELECT * FROM x LIMIT 10": "[{a INTEGER}] 1",
	} {
		lines = nil
		if err := s.Query(t.Context(), query, show); err != nil || len(lines) == 0 || want != "" && strings.Join(lines, ";") != want {
			t.Errorf("%s: %v, %v", query, lines, err)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	for _, query := range []string{
		"COPY q TO '" + out + "'", "EXPORT DATABASE '" + out + "'", "EXPLAIN EXPORT DATABASE '" + out + "'", "FROM enable_logging(storage = 'file', storage_path = '" + out + "')", "EXPLAIN ANALYZE SELECT * FROM (FROM checkpoint())", "FROM query('FROM q')", "ATTACH '" + out + "'", "EXPLAIN ANALYZE COPY q TO '" + out + "'",
		"EXPLAIN (ANALYZE, FORMAT json) COPY q TO '" + out + "'", "explain /* x */ analyze /* y */ INSERT INTO q VALUES (5, 6)", "EXPLAIN DELETE FROM q",
		"CALL enable_logging(storage = 'file', storage_path = '" + out + "')", "PRAGMA enable_profiling", "SET threads = 1", "PRAGMA threads = 1", "RESET threads",
		"INSERT INTO q VALUES (5, 6)", "WITH x AS (SELECT 5, 6) INSERT INTO q SELECT * FROM x", "DELETE FROM nowhere", "DROP TABLE q", "CREATE TEMP TABLE x (a INTEGER)",
		"INSTALL httpfs", "LOAD httpfs", "CHECKPOINT", "FORCE CHECKPOINT", "BEGIN", "PREPARE x AS SELECT 1", "USE temp", "VACUUM", "CREATE SECRET (TYPE http)", "SELEC 1",
	} {
		if err := s.Query(t.Context(), query, show); !errors.Is(err, ErrNotQuery) {
			t.Errorf("%s: %v", query, err)
		}
		if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s wrote: %v", query, err)
		}
	}
	for query, want := range map[string]string{"SELECT 1; DROP TABLE q": "only one", "SELECT 1 1": "syntax error", "SELECT nope FROM q": "nope", "FROM nowhere": "nowhere", "EXPLAIN": "No statement", "EXPLAIN (ANALYZE": "No statement", "EXPLAIN FROM nowhere": "line 1, column 14"} {
		if err := s.Query(t.Context(), query, show); err == nil || errors.Is(err, ErrNotQuery) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
	var n int
	if err := s.Row(t.Context(), []any{&n}, "SELECT count(*) FROM q"); err != nil || n != 2 {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := s.Row(t.Context(), []any{&n}, "SELECT 1 WHERE false"); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no row: %v", err)
	}
}

// TestStreamReadsLikeScan reads with one thread, two streams at once, and leaves the
// number of threads as it was.
func TestStreamReadsLikeScan(t *testing.T) {
	ctx := t.Context()
	s, err := OpenMemory(ctx, Options{Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	threads := func() (n int) {
		if err := s.Row(ctx, []any{&n}, "SELECT current_setting('threads')"); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const rows = 300_000
	query := fmt.Sprintf("SELECT i, 'row ' || i FROM range(%d) t(i)", rows)
	stop := errors.New("enough")
	next, inside := int64(0), 0
	err = s.Stream(ctx, query, nil, func(b *column.Batch) error {
		for i := range b.Rows {
			if b.Columns[0].Ints[i] != next {
				t.Fatalf("row %d comes after row %d", b.Columns[0].Ints[i], next-1)
			}
			next++
		}
		if next == 2048 {
			err := s.Stream(ctx, query, nil, func(*column.Batch) error { return stop })
			if !errors.Is(err, stop) {
				t.Errorf("a second stream ended with %v", err)
			}
			inside = threads()
		}
		return nil
	})
	if err != nil || next != rows {
		t.Errorf("%d rows, %v", next, err)
	}
	if after := threads(); inside != 1 || after != 3 {
		t.Errorf("%d threads during the stream and %d after it, want 1 and 3", inside, after)
	}
}

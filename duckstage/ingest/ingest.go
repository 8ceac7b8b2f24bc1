package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"dvmigrate/duckstage"
)

// run is one ingest on its way.
type run struct {
	src      Source
	inputs   []input
	total    int64 // bytes
	arrival  time.Time
	progress func(done, total int64)
	bad      []BadLine
	badCount int64
}

// Run brings a source into the stage and replaces what was there under its name.
// Progress, if not nil, is told how many of the source's bytes are done; calls may come
// from another goroutine, one at a time. It returns BadLinesError when more lines are
// unreadable than allowed.
func Run(ctx context.Context, stage *duckstage.Stage, src Source, progress func(done, total int64)) (Result, error) {
	start := time.Now()
	r := &run{src: src, arrival: start.UTC().Truncate(time.Microsecond), progress: progress}
	rows, err := r.run(ctx, stage)
	if err != nil {
		var bad *BadLinesError
		if errors.As(err, &bad) {
			return Result{}, bad
		}
		return Result{}, fmt.Errorf("ingest source %s: %w", src.Name, err)
	}
	res := Result{Rows: rows, Rejected: r.badCount, Bytes: r.total, Seconds: time.Since(start).Seconds()}
	for _, in := range r.inputs {
		res.Files = append(res.Files, in.shown)
	}
	return res, nil
}

func (r *run) run(ctx context.Context, stage *duckstage.Stage) (rows int64, err error) {
	if r.inputs, err = r.src.inputs(); err != nil {
		return 0, err
	}
	for _, in := range r.inputs {
		r.total += in.size
	}
	if r.src, err = r.src.normalize(r.inputs[0].path); err != nil {
		return 0, err
	}
	start := time.Now()
	err = stage.With(ctx, func(c *duckstage.Conn) error {
		if rows, err = r.load(ctx, stage, c); err != nil {
			_, dropErr := c.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+r.building())
			return errors.Join(err, dropErr)
		}
		return r.swap(ctx, c, rows, time.Since(start))
	})
	return rows, err
}

// building is the table that is filled before it takes the source's name.
func (r *run) building() string { return "dm." + duckstage.Ident("new_source_"+r.src.Name) }

// load fills the new table.
func (r *run) load(ctx context.Context, stage *duckstage.Stage, c *duckstage.Conn) (int64, error) {
	paths := make([]string, len(r.inputs))
	for i, in := range r.inputs {
		paths[i] = in.path
	}
	if r.src.Format != CSV {
		return r.create(ctx, c, r.src.readOther(paths), "*", nil, 0)
	}
	columns, err := r.src.columns(r.inputs)
	if err != nil {
		return 0, err
	}
	if r.src.rewritten() {
		return r.rewriteAndRead(ctx, stage, c, columns)
	}
	rows, err := r.readText(ctx, c, paths, columns, false)
	if mixedLineEnds(err) {
		return r.rewriteAndRead(ctx, stage, c, columns)
	}
	return rows, err
}

// mixedLineEnds recognises DuckDB's refusal of a file in which some lines end in
// carriage return and newline and some in newline only. The pass written in Go takes both.
func mixedLineEnds(err error) bool {
	var e *duckstage.SQLError
	return errors.As(err, &e) && strings.Contains(e.Message, "state machine reached an invalid state")
}

// rewriteAndRead reads files that DuckDB cannot read as they are.
func (r *run) rewriteAndRead(ctx context.Context, stage *duckstage.Stage, c *duckstage.Conn, columns []string) (int64, error) {
	dir, err := stage.Scratch()
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	w := &rewriter{src: &r.src, columns: len(columns), dir: dir}
	var before int64
	var paths []string
	for i, in := range r.inputs {
		// Rewriting counts for half of the work. Bytes are counted after unpacking, so
		// they are kept within the file's size.
		w.progress = func(read int64) { r.report(before + min(read, in.size)/2) }
		path, err := w.file(ctx, i, in)
		if err != nil {
			return 0, err
		}
		paths = append(paths, path)
		before += in.size / 2
	}
	r.bad, r.badCount = w.bad, w.badCount
	if err := r.tooMany(); err != nil {
		return 0, err
	}
	return r.readText(ctx, c, paths, columns, true)
}

func (r *run) report(done int64) {
	if r.progress != nil {
		r.progress(min(done, r.total), r.total)
	}
}

// readText fills the table from delimited text and collects what DuckDB refused.
func (r *run) readText(ctx context.Context, c *duckstage.Conn, paths, columns []string, rewritten bool) (int64, error) {
	read, err := r.src.readCSV(paths, columns, rewritten)
	if err != nil {
		return 0, err
	}
	for _, t := range []string{rejectErrors, rejectScans} {
		if _, err := c.Exec(ctx, "DROP TABLE IF EXISTS temp."+t); err != nil {
			return 0, err
		}
	}
	selection := make([]string, len(columns))
	for i, col := range columns {
		selection[i] = duckstage.Ident(col)
	}
	var done int64
	if rewritten {
		done = r.total / 2
	}
	rows, err := r.create(ctx, c, read, strings.Join(selection, ", "), paths, done)
	if err != nil {
		return 0, err
	}
	if err := r.collect(ctx, c, paths, rewritten); err != nil {
		return 0, err
	}
	return rows, r.tooMany()
}

// create makes the table from a table function. Where temporary files were read, the
// original's name goes into dm_file.
func (r *run) create(ctx context.Context, c *duckstage.Conn, read, columns string, paths []string, done int64) (int64, error) {
	several := len(r.inputs) > 1
	file := ""
	if several {
		names, shown := make([]string, len(r.inputs)), make([]string, len(r.inputs))
		for i, in := range r.inputs {
			names[i], shown[i] = in.path, in.shown
			if i < len(paths) {
				names[i] = paths[i]
			}
		}
		file = fmt.Sprintf(", map_extract_value(MAP(%s, %s), dm_file) AS dm_file", list(names), list(shown))
	}
	if columns == "*" && several {
		columns = "* EXCLUDE (dm_file)"
	}
	q := fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT %s, TIMESTAMP '%s' AS dm_created_at%s FROM %s",
		r.building(), columns, r.arrival.Format("2006-01-02 15:04:05.000000"), file, read)
	report := func(share float64) { r.report(done + int64(share*float64(r.total-done))) }
	if _, err := c.ExecProgress(ctx, report, q); err != nil {
		return 0, err
	}
	r.report(r.total)
	var rows int64
	err := c.Row(ctx, []any{&rows}, "SELECT count(*) FROM "+r.building())
	return rows, err
}

// tooMany says whether more lines were set aside than the source allows.
func (r *run) tooMany() error {
	if r.src.MaxBadLines < 0 || r.badCount <= int64(r.src.MaxBadLines) {
		return nil
	}
	return &BadLinesError{Source: r.src.Name, Count: r.badCount, Max: r.src.MaxBadLines, First: r.bad[:min(len(r.bad), 5)]}
}

// swap puts the new table in place of the old one, with everything that is said about
// it. The old one stays while a staged relation still reads it.
func (r *run) swap(ctx context.Context, c *duckstage.Conn, rows int64, took time.Duration) error {
	newest := slices.MaxFunc(r.inputs, func(a, b input) int { return cmp.Compare(a.mtime.UnixNano(), b.mtime.UnixNano()) })
	err := c.Tx(ctx, func() error {
		data, unused, err := r.tables(ctx, c)
		if err != nil {
			return err
		}
		queries := []string{
			"ALTER TABLE " + r.building() + " RENAME TO " + data,
			"CREATE OR REPLACE VIEW source." + duckstage.Ident(r.src.Name) + " AS SELECT * FROM dm." + data,
			"DELETE FROM dm.sources WHERE name = " + duckstage.Quote(r.src.Name),
			"DELETE FROM dm.rejects WHERE source = " + duckstage.Quote(r.src.Name),
		}
		for _, t := range unused {
			queries = append(queries, "DROP TABLE dm."+duckstage.Ident(t))
		}
		for _, q := range queries {
			if _, err := c.Exec(ctx, q); err != nil {
				return err
			}
		}
		if err := r.storeBad(ctx, c); err != nil {
			return err
		}
		_, err = c.Exec(ctx, `INSERT INTO dm.sources VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.src.Name, data, len(r.inputs), r.total,
			newest.mtime.UTC(), r.arrival, rows, r.badCount, took.Seconds())
		return err
	})
	if err != nil {
		return err
	}
	return c.Checkpoint(ctx)
}

// tables finds a name for the new table, and the old ones that nothing will read.
func (r *run) tables(ctx context.Context, c *duckstage.Conn) (data string, unused []string, err error) {
	var number int64
	err = c.Row(ctx, []any{&number}, `SELECT 1 + coalesce(max(TRY_CAST(substr(table_name, 8) AS BIGINT)), 0) FROM duckdb_tables()
		WHERE database_name = current_database() AND schema_name = 'dm' AND starts_with(table_name, 'source_')`)
	if err != nil {
		return "", nil, err
	}
	err = c.Rows(ctx, "SELECT data FROM dm.sources WHERE name = ? AND data NOT IN (SELECT source FROM dm.tables WHERE source IS NOT NULL)", []any{r.src.Name},
		func(scan func(...any) error) error {
			var t string
			defer func() { unused = append(unused, t) }()
			return scan(&t)
		})
	return fmt.Sprintf("source_%d", number), unused, err
}

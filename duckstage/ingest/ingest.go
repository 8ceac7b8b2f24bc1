package ingest

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
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

	lineOf func(row int64) int64 // the line in which a row of the new table stood; nil: not known

	longLines bool // DuckDB refused lines for their length
	oneKey    bool // it refused an object that has a key twice

	long map[string]string // columns of JSON that are read as another type than DOUBLE; nil: not looked for

	wasMasked string // MaskNote of the staging before
	wasStaged bool

	whole bool // a feed that is read whole, and takes the place of what is there

	maskedParts bool // the relation's parts were masked when they were read

	progressFrom int64 // what is done when SQL begins
	before       int64 // rows of the relations that were read before
	resumed      int64 // parts that an interrupted run had read
	notes        []string
	results      []built
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
		if errors.Is(err, syscall.ENOSPC) { // of a file of ours; DuckDB's are said by duckstage
			err = fmt.Errorf("disk is full: free space and run again: %w", err)
		}
		return Result{}, fmt.Errorf("ingest source %s: %w", src.Name, src.hideError(err))
	}
	res := Result{Rows: rows, Rejected: r.badCount, Bytes: r.total, Seconds: time.Since(start).Seconds(), Resumed: r.resumed, Notes: r.notes}
	for _, b := range r.results {
		res.Relations = append(res.Relations, Relation{Name: b.name, Rows: b.rows, Rejected: b.rejected})
	}
	for _, in := range r.inputs {
		res.Files = append(res.Files, in.shown)
	}
	return res, nil
}

func (r *run) run(ctx context.Context, stage *duckstage.Stage) (rows int64, err error) {
	if !r.src.Feed.ReadOnce {
		if err := r.prepare(); err != nil {
			return 0, err
		}
		return r.bring(ctx, stage)
	}
	read, err := r.filesRead(ctx, stage)
	if err != nil {
		return 0, err
	}
	err = r.prepare()
	switch {
	case errors.Is(err, errNoFile) && len(read.Files) > 0: // they were cleared away
		return r.nothingNew(ctx, stage)
	case err != nil:
		return 0, err
	case !r.leaveRead(read):
		return r.nothingNew(ctx, stage)
	}
	if rows, err = r.bring(ctx, stage); err != nil {
		return 0, err
	}
	return rows, r.keepFiles(ctx, stage, read)
}

// bring reads what is prepared.
func (r *run) bring(ctx context.Context, stage *duckstage.Stage) (rows int64, err error) {
	if err := errors.Join(r.src.typeNames(ctx, stage), r.src.registerMask(ctx, stage)); err != nil {
		return 0, err
	}
	if err := r.formerMask(ctx, stage); err != nil {
		return 0, err
	}
	start := time.Now()
	if r.src.supplied() {
		return r.runSupply(ctx, stage, start)
	}
	whole := r.checkPacked(ctx)
	err = stage.With(ctx, func(c *duckstage.Conn) error {
		b := built{name: r.src.Name, table: r.building()}
		b.rows, err = r.load(ctx, stage, c)
		if damaged := whole(); damaged != nil {
			err = damaged // it is the cause of whatever reading says
		}
		if err != nil {
			_, dropErr := c.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS dm."+duckstage.Ident(b.table))
			return errors.Join(err, dropErr)
		}
		b.rejected, b.bad = r.badCount, r.bad
		if len(r.src.Feed.Key) > 0 {
			if err := r.mergeFeed(ctx, c, &b); err != nil {
				_, dropErr := c.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS dm."+duckstage.Ident(b.table))
				return errors.Join(err, dropErr)
			}
		}
		rows = b.rows
		return r.swap(ctx, c, []built{b}, time.Since(start))
	})
	return rows, err
}

// prepare resolves the source's files and fills its defaults in.
func (r *run) prepare() (err error) {
	first := ""
	if r.src.fromFiles() {
		if r.inputs, err = r.src.inputs(); err != nil {
			return err
		}
		first = r.inputs[0].path
	}
	for _, in := range r.inputs {
		r.total += in.size
	}
	if r.src, err = r.src.normalize(first); err != nil {
		return err
	}
	if (r.src.Format == CSV || r.src.isJSON()) && isUTF8(r.src.Encoding) {
		marked, err := markedUTF16(r.inputs)
		if err != nil {
			return err
		}
		if marked != "" {
			r.src.Encoding = marked
		}
	}
	if r.src.Format == CSV && !r.src.NoHeader {
		return r.excelLine()
	}
	return nil
}

// excelLine takes the delimiter from the line before the header by which Excel is told it.
func (r *run) excelLine() error {
	f, err := openText(r.inputs[0].path, r.src.Encoding)
	if err != nil {
		return err
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(io.LimitReader(f, 16), 16).ReadSlice('\n')
	if err != nil { // longer, or none at all: whoever reads the rows will say
		return nil
	}
	if delimiter := excelDelimiter(line); delimiter != "" {
		r.src.Delimiter, r.src.sepLine = delimiter, true
	}
	return nil
}

// built is a new table that waits to take its source's place.
type built struct {
	name     string   // of the relation
	table    string   // in schema dm
	key      []string // columns that tell its rows apart in a message
	rows     int64
	rejected int64
	bad      []BadLine
}

// building is the table that is filled before it takes the source's name.
func (r *run) building() string { return "new_source_" + r.src.Name }

// load fills the new table.
func (r *run) load(ctx context.Context, stage *duckstage.Stage, c *duckstage.Conn) (int64, error) {
	paths := make([]string, len(r.inputs))
	for i, in := range r.inputs {
		paths[i] = in.path
	}
	if r.src.Format != CSV {
		return r.loadOther(ctx, stage, c, paths)
	}
	columns, err := r.src.columns(r.inputs)
	if err != nil {
		return 0, err
	}
	if r.src.rewritten() {
		return r.rewriteAndRead(ctx, stage, c, columns)
	}
	rows, err := r.readText(ctx, c, paths, columns, false)
	if mixedLineEnds(err) || errors.Is(err, errTypes) {
		r.bad, r.badCount = nil, 0
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
	r.badCount = w.badCount
	for _, b := range w.bad {
		b.Text = r.src.hide(b).Text // its message names no value
		r.bad = append(r.bad, b)
	}
	return r.readText(ctx, c, paths, columns, true)
}

func (r *run) report(done int64) {
	if r.progress != nil {
		r.progress(min(done, r.total), r.total)
	}
}

// readText reads delimited text. Lines of more than 2 MB, such as with a file in a column,
// are read in a second run: larger buffers cost everyone a quarter of the speed.
func (r *run) readText(ctx context.Context, c *duckstage.Conn, paths, columns []string, rewritten bool) (int64, error) {
	if r.src.AutoTypes {
		return r.readGuessed(ctx, c, paths, columns, rewritten)
	}
	bad, count := r.bad, r.badCount
	rows, err := r.readLines(ctx, c, paths, columns, rewritten)
	if r.longLines && !r.src.longLines {
		r.bad, r.badCount, r.src.longLines = bad, count, true
		rows, err = r.readLines(ctx, c, paths, columns, rewritten)
	}
	return rows, err
}

// readLines fills the table from delimited text and collects what DuckDB refused.
func (r *run) readLines(ctx context.Context, c *duckstage.Conn, paths, columns []string, rewritten bool) (int64, error) {
	read, err := r.src.readCSV(paths, columns, rewritten)
	if err != nil {
		return 0, err
	}
	for _, t := range []string{rejectErrors, rejectScans} {
		if _, err := c.Exec(ctx, "DROP TABLE IF EXISTS temp."+t); err != nil {
			return 0, err
		}
	}
	fields := make([]field, len(columns))
	for i, col := range columns {
		fields[i] = field{name: col}
	}
	if err := r.src.knownMasks(columns); err != nil {
		return 0, err
	}
	typed, err := r.src.typedText(fields)
	if err != nil {
		return 0, err
	}
	list, bad := typed.selection(r.extras(paths, rewritten)...)
	if rewritten {
		read = "(SELECT * RENAME (" + lineColumn + " AS dm_line) FROM " + read + ")"
	}
	b := built{name: r.src.Name, table: r.building()}
	var done int64
	if rewritten {
		done = r.total / 2
	}
	r.progressFrom = done
	err = r.makeTyped(ctx, c, &b, list, bad, read, rewritten)
	if err != nil {
		return 0, err
	}
	r.bad, r.badCount = append(r.bad, b.bad...), r.badCount+b.rejected
	if err := r.collect(ctx, c, paths, rewritten); err != nil {
		return 0, err
	}
	return b.rows, r.tooMany(b.rows)
}

// extras are the columns that the stage adds to those of a file.
func (r *run) extras(paths []string, rewritten bool) []string {
	extras := []string{timestamp(r.arrival) + " AS dm_created_at"}
	shown := make([]string, len(r.inputs))
	for i, in := range r.inputs {
		shown[i] = in.shown
	}
	if len(r.inputs) > 1 {
		extras = append(extras, byFile(paths, shown)+" AS dm_file")
	}
	if r.src.Partition {
		for _, key := range partitionKeys(shown) {
			values := make([]string, len(shown))
			for i, name := range shown {
				values[i] = partition(name)[key]
				if values[i] == hiveNull {
					values[i] = ""
				}
			}
			extras = append(extras, "nullif("+byFile(paths, values)+", '') AS "+duckstage.Ident(key))
		}
	}
	if rewritten {
		extras = append(extras, "dm_line")
	}
	return extras
}

// hiveNull is the value in a folder's name that stands for none, as Hive and Spark write it.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

// byFile is the value that belongs to the file a row was read from, which may be a
// temporary one.
func byFile(paths, values []string) string {
	if len(paths) == 1 {
		return duckstage.Quote(values[0])
	}
	return fmt.Sprintf("map_extract_value(MAP(%s, %s), dm_file)", list(paths), list(values))
}

// tooMany says whether more lines were set aside than the source allows.
func (r *run) tooMany(rows int64) error {
	if share := r.src.MaxBadShare; share > 0 {
		if float64(r.badCount) <= share*float64(rows+r.badCount) {
			return nil
		}
		return &BadLinesError{Source: r.src.Name, Count: r.badCount, Rows: rows + r.badCount, Share: share, First: r.bad[:min(len(r.bad), 5)]}
	}
	return r.badLimit(r.badCount, r.bad)
}

// badLimit compares with the number of lines that may be bad.
func (r *run) badLimit(count int64, bad []BadLine) error {
	if r.src.MaxBadLines < 0 || count <= int64(r.src.MaxBadLines) {
		return nil
	}
	return &BadLinesError{Source: r.src.Name, Count: count, Max: r.src.MaxBadLines, First: bad[:min(len(bad), 5)]}
}

// swap puts the new tables in place of the old ones, with everything that is said about
// them. An old one stays while a staged relation still reads it.
func (r *run) swap(ctx context.Context, c *duckstage.Conn, tables []built, took time.Duration) error {
	err := c.Tx(ctx, func() error {
		former, err := r.relations(ctx, c)
		if err != nil {
			return err
		}
		for _, b := range tables {
			if err := r.swapOne(ctx, c, b, took); err != nil {
				return err
			}
			delete(former, b.name)
		}
		for name := range former { // of a package that no longer has it
			if err := r.forget(ctx, c, name); err != nil {
				return err
			}
		}
		if err := r.noteMask(ctx, c); err != nil {
			return err
		}
		return r.storeRelations(ctx, c, tables)
	})
	if err != nil {
		return err
	}
	for _, b := range tables {
		if b.rows >= rowGroup {
			return c.Checkpoint(ctx)
		}
	}
	return nil
}

// rowGroup is how many rows DuckDB writes together, straight into the file. Where a
// source has more, its former table's place is given free at once, for the next one;
// smaller ones lie in the log until staging ends: a CHECKPOINT takes 70 ms, which was a
// third of the staging of a small project.
const rowGroup = 122_880

func (r *run) swapOne(ctx context.Context, c *duckstage.Conn, b built, took time.Duration) error {
	data, unused, err := r.tables(ctx, c, b.name)
	if err != nil {
		return err
	}
	queries := []string{
		"ALTER TABLE dm." + duckstage.Ident(b.table) + " RENAME TO " + data,
		"CREATE OR REPLACE VIEW source." + duckstage.Ident(b.name) + " AS SELECT *, " + duckstage.Quote(r.src.Name) + " AS dm_source FROM dm." + data,
		"DELETE FROM dm.sources WHERE name = " + duckstage.Quote(b.name),
		"DELETE FROM dm.rejects WHERE source = " + duckstage.Quote(b.name),
	}
	for _, t := range unused {
		queries = append(queries, "DROP TABLE dm."+duckstage.Ident(t))
	}
	for _, q := range queries {
		if _, err := c.Exec(ctx, q); err != nil {
			return err
		}
	}
	if err := r.storeBad(ctx, c, b); err != nil {
		return err
	}
	if r.src.supplied() {
		if err := r.dropParts(ctx, c, b.name); err != nil {
			return err
		}
	}
	newest := r.arrival
	if len(r.inputs) > 0 {
		newest = slices.MaxFunc(r.inputs, func(a, b input) int { return cmp.Compare(a.mtime.UnixNano(), b.mtime.UnixNano()) }).mtime.UTC()
	}
	_, err = c.Exec(ctx, `INSERT INTO dm.sources VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, b.name, data, len(r.inputs), r.total,
		newest, r.arrival, b.rows, b.rejected, took.Seconds())
	return err
}

// tables finds a name for the new table, and the old ones that nothing will read.
func (r *run) tables(ctx context.Context, c *duckstage.Conn, name string) (data string, unused []string, err error) {
	var number int64
	err = c.Row(ctx, []any{&number}, `SELECT 1 + coalesce(max(TRY_CAST(substr(table_name, 8) AS BIGINT)), 0) FROM duckdb_tables()
		WHERE database_name = current_database() AND schema_name = 'dm' AND starts_with(table_name, 'source_')`)
	if err != nil {
		return "", nil, err
	}
	err = c.Rows(ctx, "SELECT data FROM dm.sources WHERE name = ? AND data NOT IN (SELECT source FROM dm.tables WHERE source IS NOT NULL)", []any{name},
		func(scan func(...any) error) error {
			var t string
			defer func() { unused = append(unused, t) }()
			return scan(&t)
		})
	return fmt.Sprintf("source_%d", number), unused, err
}

package ingest

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

// relation is a table that is read in Go, in one or more parts: of a database, a
// spreadsheet, a package or an environment.
type relation struct {
	name   string // as SQL calls it
	fields []field
	parts  []part
	rows   int64 // how many are expected; 0: unknown
	exact  bool  // whether the source counted them in the snapshot that is read

	// extract identifies what is read. Parts that an interrupted run has finished are
	// used again by one with the same; "" = they are not kept.
	extract string
	mark    string // the source's point in time; "" = it has none

	alone bool // it is read and assembled on one connection

	key []string // columns that tell its rows apart in a message; none where it has no such
}

// field is one column of a relation.
type field struct {
	name   string
	stored string // SQL type that a part holds it in: one that can be appended
	typ    string // SQL type it gets in the stage
	expr   string // makes typ of stored, %s being the column; "" = a cast, if the types differ
	what   string // what a value is that does not become null; "" = every value fits
}

// part is a piece of a relation that is read by one worker at a time.
type part struct {
	label string // what it covers: a condition, a page, a file
	read  func(ctx context.Context, worker int, out *sink) error
}

// sink takes the rows of one part.
type sink struct {
	ctx      context.Context
	b        *column.Batch
	app      *duckstage.Appender
	rows     int64
	bad      []BadLine
	badCount int64
	count    func(rows int64)
	allowed  func(bad int64) error
	hide     func(BadLine) BadLine

	constant string // of a column that is the same in every row of the part

	keys  []int  // columns that tell one row from another in a message
	dark  bool   // one of them is masked: no message has their values
	shown string // what is read, in a message
}

// cell is the vector of a column, for the value of the row being filled.
func (s *sink) cell(i int) *column.Vector { return &s.b.Columns[i] }

// null fills a column of the row with null.
func (s *sink) null(i int) { s.b.Columns[i].AppendNull(s.b.Rows) }

// end completes a row, which has a value in every column.
func (s *sink) end() error {
	s.b.Rows++
	s.rows++
	if s.b.Rows < duckstage.MaxAppend {
		return nil
	}
	return s.flush()
}

// reject gives the row up that is being filled and keeps the reason.
func (s *sink) reject(b BadLine) error {
	for i := range s.b.Columns {
		s.b.Columns[i].Truncate(s.b.Rows)
	}
	s.badCount++
	if len(s.bad) < maxKept {
		b.Message, b.Text = strings.ToValidUTF8(b.Message, "\uFFFD"), strings.ToValidUTF8(b.Text, "\uFFFD") // or they could not be kept
		s.bad = append(s.bad, s.hide(b))
	}
	return s.allowed(s.badCount)
}

func (s *sink) flush() error {
	n := s.b.Rows
	err := s.app.Append(s.b)
	s.b.Reset()
	s.count(int64(n))
	return err
}

// partRecord is what dm.parts keeps of a part.
type partRecord struct {
	number  int
	label   string
	data    string // its table, with the schema; "" = not read yet
	mark    string
	arrival time.Time
	rows    int64
	bad     []BadLine
	badRows int64
}

// partsTable keeps the parts of an unfinished reading over a crash: a row for each that
// is planned, and one more when it is read. Rows are only added: workers that change
// the same table would disturb each other.
const partsTable = `CREATE TABLE IF NOT EXISTS dm.parts (source VARCHAR, extract VARCHAR, number BIGINT, label VARCHAR, data VARCHAR,
	mark VARCHAR, arrival TIMESTAMP, "rows" BIGINT, rejected BIGINT, bad VARCHAR)`

// loadParts reads the relation's parts, those that an interrupted run has not read yet,
// each in a transaction of its own; or, on the connection that is given, one after the
// other into its temporary tables.
func (r *run) loadParts(ctx context.Context, stage *duckstage.Stage, c *duckstage.Conn, rel *relation, workers int) ([]partRecord, error) {
	records, err := r.planParts(ctx, stage, rel)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var done, bad int64
	for i := range records {
		done += records[i].rows
		bad += records[i].badRows
	}
	count := func(rows int64) {
		mu.Lock()
		defer mu.Unlock()
		done += rows
		r.report(r.before + done)
	}
	var badTotal = bad
	allowed := func(fresh *int64) func(int64) error {
		return func(n int64) error {
			mu.Lock()
			defer mu.Unlock()
			badTotal += n - *fresh
			*fresh = n
			if r.src.MaxBadShare > 0 {
				return nil // the share is known at the end
			}
			return r.badLimit(badTotal, nil)
		}
	}
	var todo []*partRecord
	for i := range records {
		if records[i].data == "" {
			todo = append(todo, &records[i])
		}
	}
	r.resumed += int64(len(records) - len(todo))
	if c != nil {
		for _, p := range todo {
			var fresh int64
			if err := r.loadPart(ctx, c, rel, p, 0, count, allowed(&fresh)); err != nil {
				return nil, err
			}
		}
		return records, nil
	}
	next := make(chan *partRecord)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(next)
		for _, p := range todo {
			select {
			case next <- p:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for w := range min(max(workers, 1), max(len(todo), 1)) {
		g.Go(func() error {
			for p := range next {
				var fresh int64
				err := stage.With(ctx, func(c *duckstage.Conn) error {
					return c.Tx(ctx, func() error { return r.loadPart(ctx, c, rel, p, w, count, allowed(&fresh)) })
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return records, g.Wait()
}

// planParts finds what an interrupted run has left of the relation, or notes its parts.
func (r *run) planParts(ctx context.Context, stage *duckstage.Stage, rel *relation) ([]partRecord, error) {
	var records []partRecord
	if rel.extract != "" {
		if err := r.formerParts(ctx, stage, rel, &records); err != nil {
			return nil, err
		}
	}
	if len(records) > 0 {
		return records, nil
	}
	for i, p := range rel.parts {
		records = append(records, partRecord{number: i, label: p.label})
	}
	if rel.extract == "" {
		return records, nil
	}
	return records, stage.With(ctx, func(c *duckstage.Conn) error {
		return c.Tx(ctx, func() error {
			if err := r.dropParts(ctx, c, rel.name); err != nil {
				return err
			}
			for _, p := range records {
				if _, err := c.Exec(ctx, "INSERT INTO dm.parts (source, extract, number, label) VALUES (?, ?, ?, ?)", rel.name, rel.extract, p.number, r.keptLabel(p.label)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// formerParts reads what dm.parts has of the relation, if it is of the same extract.
func (r *run) formerParts(ctx context.Context, stage *duckstage.Stage, rel *relation, records *[]partRecord) error {
	if _, err := stage.Exec(ctx, partsTable); err != nil {
		return err
	}
	return stage.Rows(ctx, `SELECT number, label, coalesce(data, ''), coalesce(mark, ''), arrival, coalesce("rows", 0), coalesce(rejected, 0), coalesce(bad, '[]')
		FROM dm.parts WHERE source = ? AND extract = ? ORDER BY number, data NULLS LAST`, []any{rel.name, rel.extract}, func(scan func(...any) error) error {
		var p partRecord
		var arrival sql.NullTime
		var bad string
		if err := scan(&p.number, &p.label, &p.data, &p.mark, &arrival, &p.rows, &p.badRows, &bad); err != nil {
			return err
		}
		if n := len(*records); n > 0 && (*records)[n-1].number == p.number {
			return nil // as it was planned; it has been read since
		}
		var err error
		if p.label, err = r.readLabel(p.label); err != nil {
			return err
		}
		p.arrival = arrival.Time
		if p.data != "" {
			p.data = "dm." + p.data
		}
		*records = append(*records, p)
		return json.Unmarshal([]byte(bad), &(*records)[len(*records)-1].bad)
	})
}

// dropParts forgets the parts of a relation.
func (r *run) dropParts(ctx context.Context, c *duckstage.Conn, name string) error {
	var drops []string
	if _, err := c.Exec(ctx, partsTable); err != nil {
		return err
	}
	err := c.Rows(ctx, "SELECT data FROM dm.parts WHERE source = ? AND data IS NOT NULL", []any{name}, func(scan func(...any) error) error {
		var data string
		err := scan(&data)
		drops = append(drops, "DROP TABLE IF EXISTS dm."+duckstage.Ident(data))
		return err
	})
	if err != nil {
		return err
	}
	drops = append(drops, "DELETE FROM dm.parts WHERE source = "+duckstage.Quote(name))
	_, err = c.Exec(ctx, strings.Join(drops, ";"))
	return err
}

// loadPart reads one part into a table of its own: a temporary one if nobody but this
// connection needs it.
func (r *run) loadPart(ctx context.Context, c *duckstage.Conn, rel *relation, p *partRecord, worker int, count func(int64), allowed func(int64) error) error {
	schema, prefix := "dm", "new_part_" // removed when the stage is opened again
	switch {
	case rel.extract != "":
		prefix = "part_"
	case rel.alone:
		schema = "temp"
	}
	data := fmt.Sprintf("%s%s_%d", prefix, hex.EncodeToString([]byte(rel.name)), p.number)
	first := schema
	if r.maskedParts {
		first = "temp"
	}
	out, err := r.fillPart(ctx, c, rel, p, worker, first, data, count, allowed)
	if err == nil && r.maskedParts {
		err = r.maskPart(ctx, c, data)
	}
	if err != nil {
		return err
	}
	p.data, p.mark, p.arrival, p.rows, p.bad, p.badRows = schema+"."+data, rel.mark, r.arrival, out.rows, out.bad, out.badCount
	if rel.extract == "" {
		return nil
	}
	bad, err := json.Marshal(p.bad)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, "INSERT INTO dm.parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		rel.name, rel.extract, p.number, r.keptLabel(p.label), data, p.mark, p.arrival, p.rows, p.badRows, string(bad))
	return err
}

// maskPart makes a part that stays of one that does not.
func (r *run) maskPart(ctx context.Context, c *duckstage.Conn, data string) error {
	query, err := r.src.masked(ctx, c, "SELECT * FROM temp."+duckstage.Ident(data))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, "CREATE OR REPLACE TABLE dm."+duckstage.Ident(data)+" AS "+query+"; DROP TABLE temp."+duckstage.Ident(data))
	return err
}

// fillPart makes the table of a part, and reads the part into it.
func (r *run) fillPart(ctx context.Context, c *duckstage.Conn, rel *relation, p *partRecord, worker int, schema, data string, count func(int64), allowed func(int64) error) (*sink, error) {
	columns := make([]string, len(rel.fields))
	for i, f := range rel.fields {
		columns[i] = duckstage.Ident(f.name) + " " + f.stored
	}
	create := "CREATE OR REPLACE TABLE "
	if schema == "temp" {
		create = "CREATE OR REPLACE TEMP TABLE "
	}
	if _, err := c.Exec(ctx, create+schema+"."+duckstage.Ident(data)+" ("+strings.Join(columns, ", ")+")"); err != nil {
		return nil, err
	}
	app, err := c.Appender(ctx, schema, data)
	if err != nil {
		return nil, err
	}
	defer app.Close()
	out := &sink{ctx: ctx, b: app.Batch(), app: app, count: count, allowed: allowed, dark: r.src.anyMasked(rel.key), shown: r.src.shownName(), hide: r.src.hide}
	if err := rel.parts[p.number].read(ctx, worker, out); err != nil {
		return nil, err
	}
	if err := out.flush(); err != nil {
		return nil, err
	}
	return out, app.Flush()
}

// assemble makes the relation's new table of its parts, in their order, so that rows
// come in the same order whichever worker was first.
func (r *run) assemble(ctx context.Context, c *duckstage.Conn, rel *relation, records []partRecord) (built, error) {
	b := built{name: rel.name, table: "new_source_" + rel.name, key: rel.key}
	typed, err := r.src.typedFields(rel.fields)
	if err != nil {
		return b, err
	}
	selects := make([]string, len(records))
	for i, p := range records {
		arrival := p.arrival
		if arrival.IsZero() {
			arrival = r.arrival
		}
		selects[i] = fmt.Sprintf("SELECT *, %s AS dm_created_at FROM %s", timestamp(arrival), p.data)
		b.rejected += p.badRows
		b.bad = append(b.bad, p.bad...)
	}
	all := "(" + strings.Join(selects, " UNION ALL ") + ")"
	list, bad := typed.selection("dm_created_at")
	if err := r.makeTyped(ctx, c, &b, list, bad, all, true); err != nil {
		return b, err
	}
	for _, p := range records {
		if rel.extract != "" {
			break // they are dropped when the new table takes its place
		}
		if _, err := c.Exec(ctx, "DROP TABLE "+p.data); err != nil {
			return b, err
		}
	}
	if rel.exact && b.rows+b.rejected != rel.rows && oneMark(records) {
		if err := r.dropParts(ctx, c, rel.name); err != nil { // or the next run would go on with them
			return b, err
		}
		return b, fmt.Errorf("%d rows arrived, the source counted %d in the same snapshot: nothing was changed; run again", b.rows+b.rejected, rel.rows)
	}
	return b, nil
}

// oneMark reports whether all parts are of one point in time.
func oneMark(records []partRecord) bool {
	for _, p := range records {
		if p.mark != records[0].mark {
			return false
		}
	}
	return true
}

func timestamp(t time.Time) string {
	return "TIMESTAMP '" + t.UTC().Format("2006-01-02 15:04:05.000000") + "'"
}

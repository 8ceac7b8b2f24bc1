package transform

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"dvmigrate/duckstage"
)

// maxRows is how many rows a table may ever have: numbers are 32 bits of a record id.
const maxRows = 1 << 32

// maxTables is how many tables a stage may ever have: numbers are 16 bits.
const maxTables = 1<<16 - 1

// Run stages the tables; scripts are the views and macros that their SELECTs may use. Progress, if not nil, is told how much of a table is done, from
// 0 to 1; calls may come from another goroutine, one at a time.
//
// Faults that Verify would find are returned before anything is read, all of them joined.
func Run(ctx context.Context, stage *duckstage.Stage, scripts []Script, tables []Table, progress func(table string, done float64)) ([]Result, error) {
	var results []Result
	err := within(ctx, stage, scripts, func(c *duckstage.Conn) error {
		jobs, faults := build(ctx, c, tables)
		if len(faults) > 0 {
			return errors.Join(faults...)
		}
		run := &staging{resolver: resolver{set: stage.Set(), jobs: jobs}, c: c, progress: progress}
		err := run.stage(ctx)
		if err != nil {
			return errors.Join(err, run.clear(context.WithoutCancel(ctx)))
		}
		for _, j := range jobs {
			results = append(results, j.result)
		}
		return nil
	})
	return results, err
}

// staging is one Run.
type staging struct {
	resolver
	c          *duckstage.Conn
	generation int64
	progress   func(table string, done float64)
}

// stage goes the whole way: number the tables, first pass of all, keys of all, second
// pass where it is needed, and the swap.
func (s *staging) stage(ctx context.Context) error {
	arrival, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	for _, j := range s.jobs {
		start := time.Now()
		if err := s.firstPass(ctx, j, arrival); err != nil {
			return &TableError{Table: j.Name, File: j.File, Err: err}
		}
		j.result.Seconds = time.Since(start).Seconds()
	}
	for _, j := range s.jobs {
		start := time.Now()
		if err := s.secondPass(ctx, j); err != nil {
			return &TableError{Table: j.Name, File: j.File, Err: err}
		}
		j.result.Seconds += time.Since(start).Seconds()
	}
	if err := s.c.Tx(ctx, func() error { return s.swap(ctx) }); err != nil {
		return fmt.Errorf("finish staging: %w", err)
	}
	return s.c.Checkpoint(ctx)
}

// prepare reads what the staging before has left: generation, table numbers, next row
// numbers. It returns the time of arrival as an SQL literal.
func (s *staging) prepare(ctx context.Context) (arrival string, err error) {
	var text string
	if err := s.c.Row(ctx, []any{&text}, "SELECT value FROM dm.meta WHERE key = 'generation'"); err != nil {
		return "", fmt.Errorf("read generation: %w", err)
	}
	if s.generation, err = strconv.ParseInt(text, 10, 64); err != nil {
		return "", fmt.Errorf("read generation: %w", err)
	}
	s.generation++
	for _, end := range []string{"end1", "end2"} { // a stage of an earlier release has them not
		if _, err := s.c.Exec(ctx, "ALTER TABLE dm.gone ADD COLUMN IF NOT EXISTS "+end+" UUID"); err != nil {
			return "", fmt.Errorf("prepare the list of gone rows: %w", err)
		}
	}
	if _, err := s.c.Exec(ctx, unmappedTable); err != nil {
		return "", fmt.Errorf("prepare the list of texts without a value: %w", err)
	}
	var highest int64
	if err := s.c.Row(ctx, []any{&highest}, "SELECT coalesce(max(number), 0) FROM dm.tables"); err != nil {
		return "", fmt.Errorf("read table numbers: %w", err)
	}
	for i, j := range s.jobs {
		if err := s.number(ctx, j, &highest); err != nil {
			return "", &TableError{Table: j.Name, File: j.File, Err: err}
		}
		j.data = fmt.Sprintf("dm.data_%d_%d", j.number, s.generation)
		j.raw, j.seqs = fmt.Sprintf("dm.new_raw_%d", i), fmt.Sprintf("dm.new_seqs_%d", i)
		if !j.joined() {
			j.raw = j.data
		}
		j.result = Result{Table: j.Name, Number: j.number}
	}
	var when time.Time
	if err := s.c.Row(ctx, []any{&when}, "SELECT coalesce(max(arrival), current_localtimestamp()) FROM dm.sources WHERE NOT starts_with(name, '"+PulledPrefix+"')"); err != nil {
		return "", fmt.Errorf("read arrival: %w", err)
	}
	return "TIMESTAMP '" + when.UTC().Format("2006-01-02 15:04:05.000000") + "'", nil
}

// number finds the table's number, or takes the next one.
func (s *staging) number(ctx context.Context, j *job, highest *int64) error {
	var number int64
	var keep bool
	err := s.c.Row(ctx, []any{&number, &j.former, &j.formerSource, &j.next, &keep},
		"SELECT number, data, coalesce(source, ''), next_seq, keep_id FROM dm.tables WHERE name = ?", j.Name)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if *highest++; *highest > maxTables {
			return errors.New("there are no table numbers left")
		}
		j.number = uint16(*highest)
		return nil
	case err != nil:
		return fmt.Errorf("read table number: %w", err)
	}
	if keep != (j.KeepID != "") {
		return errors.New("its rows already have record ids: whether ids are kept or assigned cannot change any more")
	}
	j.number, j.later = uint16(number), true
	return nil
}

func (s *staging) firstPass(ctx context.Context, j *job, arrival string) error {
	share := 0.9
	if j.raw != j.data {
		share = 0.5
	}
	if light, err := j.tryLight(ctx, s.c, arrival, s.reporter(j, 0, share)); err != nil || light {
		return err
	}
	if err := j.fill(ctx, s.c, arrival, s.reporter(j, 0, share)); err != nil {
		return err
	}
	return s.identify(ctx, j)
}

// identify gives the rows of the first pass their numbers, and in a later staging says of
// those that need no second pass what has become of them.
func (s *staging) identify(ctx context.Context, j *job) error {
	if err := j.numberRows(ctx, s.c); err != nil {
		return err
	}
	if err := j.checkKeys(ctx, s.c); err != nil {
		return err
	}
	if j.next > maxRows {
		return fmt.Errorf("it has had %d rows, and row numbers end at %d", j.next, maxRows)
	}
	if j.later {
		return j.placeRows(ctx, s.c)
	}
	return nil
}

func (s *staging) secondPass(ctx context.Context, j *job) error {
	var before []duckstage.ColumnInfo // of the staging before
	if j.later {
		var err error
		if before, err = s.c.Describe(ctx, "SELECT * FROM main."+duckstage.Ident(j.Name)); err != nil {
			return err
		}
	}
	if j.raw != j.data {
		if err := s.findAll(ctx, j); err != nil {
			return err
		}
		if err := s.resolve(ctx, s.c, j, before, s.reporter(j, 0.5, 0.95)); err != nil {
			return err
		}
	}
	if err := s.keepBefore(ctx, j, before); err != nil {
		return err
	}
	if res := &j.result; j.source == "" {
		err := s.c.Row(ctx, []any{&res.Rows, &res.New, &res.Changed, &res.Same, &res.Held}, `SELECT count(*), count(*) FILTER (dm_change = 'I'),
			count(*) FILTER (dm_change = 'U'), count(*) FILTER (dm_change = 'N'), count(dm_hold) FROM `+j.data)
		if err != nil {
			return fmt.Errorf("count rows: %w", err)
		}
	}
	if err := s.countRepaired(ctx, j); err != nil {
		return err
	}
	if s.progress != nil {
		s.progress(j.Name, 1)
	}
	return nil
}

// reporter scales DuckDB's share of one statement into the table's.
func (s *staging) reporter(j *job, from, to float64) func(float64) {
	if s.progress == nil {
		return nil
	}
	return func(done float64) { s.progress(j.Name, from+done*(to-from)) }
}

// swap makes the new tables visible, in the caller's transaction.
func (s *staging) swap(ctx context.Context) error {
	for _, j := range s.jobs {
		if j.later {
			var before int64
			err := s.c.Row(ctx, []any{&before}, `SELECT "rows" FROM dm.tables WHERE name = ?`, j.Name)
			if err == nil {
				err = errors.Join(s.recordGone(ctx, j, j.there < before), j.checkGone(before))
			}
			if err != nil {
				return &TableError{Table: j.Name, File: j.File, Err: err}
			}
		}
		if err := s.recordUnmapped(ctx, j); err != nil {
			return &TableError{Table: j.Name, File: j.File, Err: err}
		}
		queries := []string{s.view(j), "DELETE FROM dm.tables WHERE name = " + duckstage.Quote(j.Name)}
		if j.former != "" {
			queries = append(queries, "DROP TABLE dm."+duckstage.Ident(j.former))
		}
		if j.raw != j.data {
			queries = append(queries, "DROP TABLE "+j.raw)
		}
		for _, q := range queries {
			if _, err := s.c.Exec(ctx, q); err != nil {
				return &TableError{Table: j.Name, File: j.File, Err: err}
			}
		}
		if err := s.swapBefore(ctx, j); err != nil {
			return &TableError{Table: j.Name, File: j.File, Err: err}
		}
		if _, err := s.c.Exec(ctx, `INSERT INTO dm.tables VALUES (?, ?, ?, ?, nullif(?, ''), ?, ?, ?)`, j.Name, int64(j.number), s.generation,
			j.data[len("dm."):], j.source, j.result.Rows, j.next, j.KeepID != ""); err != nil {
			return &TableError{Table: j.Name, File: j.File, Err: err}
		}
	}
	if err := s.dropSources(ctx); err != nil {
		return fmt.Errorf("drop replaced sources: %w", err)
	}
	return s.c.SetMeta(ctx, "generation", strconv.FormatInt(s.generation, 10))
}

// dropSources drops the tables of replaced sources that a light relation has read until
// now, and that nothing reads any more.
func (s *staging) dropSources(ctx context.Context) error {
	for i, j := range s.jobs {
		if j.formerSource == "" || slices.ContainsFunc(s.jobs[:i], func(o *job) bool { return o.formerSource == j.formerSource }) {
			continue
		}
		var readers int64
		if err := s.c.Row(ctx, []any{&readers}, "SELECT (SELECT count(*) FROM dm.sources WHERE data = $1) + (SELECT count(*) FROM dm.tables WHERE source = $1)", j.formerSource); err != nil {
			return err
		}
		if readers > 0 {
			continue
		}
		if _, err := s.c.Exec(ctx, "DROP TABLE dm."+duckstage.Ident(j.formerSource)); err != nil {
			return err
		}
	}
	return nil
}

// recordGone notes the rows that are no longer supplied, if there are any, and forgets those
// that are back.
func (s *staging) recordGone(ctx context.Context, j *job, any bool) (err error) {
	name := duckstage.Quote(j.Name)
	if _, err := s.c.Exec(ctx, `DELETE FROM dm.gone WHERE "table" = `+name+` AND seq IN (SELECT seq FROM `+j.seqs+`)`); err != nil {
		return err
	}
	if !any {
		return s.dropNumbers(ctx, j)
	}
	names, ends := "", ""
	for i, column := range j.Ends {
		names += fmt.Sprintf(", end%d", i+1)
		ends += ", p." + duckstage.Ident(column)
	}
	j.result.Gone, err = s.c.Exec(ctx, fmt.Sprintf(`INSERT INTO dm.gone ("table", seq, dm_id, legacy_key, generation%s) SELECT %s, p.dm_seq, p.dm_id, p.legacy_key, %d%s FROM main.%s p
		ANTI JOIN %s s ON s.seq = p.dm_seq`, names, name, s.generation, ends, duckstage.Ident(j.Name), j.seqs))
	if err != nil {
		return err
	}
	return s.dropNumbers(ctx, j)
}

func (s *staging) dropNumbers(ctx context.Context, j *job) error {
	_, err := s.c.Exec(ctx, "DROP TABLE "+j.seqs+"; DROP TABLE "+j.seqs+"_fresh")
	return err
}

// clear removes what a failed staging has built.
func (s *staging) clear(ctx context.Context) error {
	var errs []error
	for _, j := range s.jobs {
		for _, t := range []string{"dm." + beforeName(j.number, s.generation), j.raw, j.data, j.data + "_sorted", j.seqs, j.seqs + "_known", j.seqs + "_fresh", j.seqs + "_sent"} {
			if t == "" {
				continue
			}
			if _, err := s.c.Exec(ctx, "DROP TABLE IF EXISTS "+t); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

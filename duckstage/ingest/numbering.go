package ingest

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/duckstage"
)

// numberLines finds the lines of those rows of a new table that are bad: DuckDB says of what
// it refuses where it stood, but not of a row that it has read. Its rows are in the order of the
// files, so they are counted there, without those that it refused. It reports false where the
// counts do not agree; then the files have to be rewritten with their lines' numbers, which
// takes three times as long as all else.
func (r *run) numberLines(ctx context.Context, c *duckstage.Conn, table string) (ok bool, err error) {
	var wanted []int64
	query := fmt.Sprintf("SELECT 1 + rowid - (SELECT min(rowid) FROM %[1]s) FROM %[1]s WHERE dm_bad IS NOT NULL ORDER BY 1 LIMIT %[2]d", table, maxKept)
	err = c.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var row int64
		err := scan(&row)
		wanted = append(wanted, row)
		return err
	})
	if err != nil {
		return false, err
	}
	var rows, counted int64
	if err := c.Row(ctx, []any{&rows}, "SELECT count(*) FROM "+table); err != nil {
		return false, err
	}
	refused, err := r.refusedLines(ctx, c)
	if err != nil {
		return false, err
	}
	at := map[int64]int64{} // line by row
	for _, in := range r.inputs {
		err := r.eachLine(ctx, in, func(line int64) {
			if _, found := slices.BinarySearch(refused[in.path], line); found {
				return
			}
			if counted++; len(wanted) > 0 && wanted[0] == counted {
				at[counted], wanted = line, wanted[1:]
			}
		})
		if err != nil {
			return false, err
		}
	}
	r.lineOf = func(row int64) int64 { return at[row] }
	return counted == rows, nil
}

// refusedLines are the lines that DuckDB refused, by file, ascending.
func (r *run) refusedLines(ctx context.Context, c *duckstage.Conn) (map[string][]int64, error) {
	at, out := map[string][]int64{}, map[string][]int64{}
	query := `SELECT DISTINCT s.file_path, e.line_byte_position FROM ` + rejectErrors + ` e JOIN (SELECT DISTINCT scan_id, file_id, file_path FROM ` + rejectScans + `) s USING (scan_id, file_id)
		WHERE e.line_byte_position IS NOT NULL ORDER BY ALL`
	err := c.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var path string
		var position int64
		err := scan(&path, &position)
		at[path] = append(at[path], position)
		return err
	})
	for path, positions := range at {
		if err == nil {
			out[path], err = linesAt(path, positions)
		}
	}
	return out, err
}

// eachLine calls fn with the first line of each row of a file that has data.
func (r *run) eachLine(ctx context.Context, in input, fn func(line int64)) error {
	f, err := openText(in.path, r.src.Encoding)
	if err != nil {
		return err
	}
	defer f.Close()
	rows := newSplitter(f, &r.src)
	for n := 0; rows.next(); n++ {
		if n&0xFFF == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n > 0 || r.src.NoHeader {
			fn(rows.line)
		}
	}
	return rows.err()
}

package ingest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/duckstage"
)

// collect reads what DuckDB refused, one entry a line.
func (r *run) collect(ctx context.Context, c *duckstage.Conn, paths []string, rewritten bool) error {
	type refusal struct {
		BadLine
		file int
		at   int64 // where the line begins, in bytes
	}
	var refused []refusal
	query := `SELECT s.file_path, e.line_byte_position, any_value(e.column_name), any_value(e.error_type::VARCHAR), any_value(e.error_message), any_value(e.csv_line)
		FROM ` + rejectErrors + ` e JOIN (SELECT DISTINCT scan_id, file_id, file_path FROM ` + rejectScans + `) s USING (scan_id, file_id)
		GROUP BY s.file_path, e.line, e.line_byte_position ORDER BY s.file_path, e.line_byte_position`
	err := c.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var path, kind string
		var at *int64
		var column, message, text *string
		if err := scan(&path, &at, &column, &kind, &message, &text); err != nil {
			return err
		}
		x := refusal{file: slices.Index(paths, path)}
		if x.file < 0 {
			return fmt.Errorf("refused line of unknown file %s", path)
		}
		if at != nil {
			x.at = *at
		}
		x.File, x.Column, x.Text = r.inputs[x.file].shown, deref(column), strings.TrimRight(deref(text), "\r\n")
		if kind == "MISSING COLUMNS" || kind == "TOO MANY COLUMNS" { // no column's fault
			x.Column = ""
		}
		r.longLines = r.longLines || kind == "LINE SIZE OVER MAXIMUM"
		x.Message = reason(kind, deref(column), deref(message))
		if _, masked := r.src.maskOf(x.Column); (masked || r.src.shifts()) && kind == "CAST" {
			x.Message = r.src.hide(x.BadLine).Message
		}
		refused = append(refused, x)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read refused lines: %w", err)
	}
	for first := 0; first < len(refused); {
		last := first
		for last < len(refused) && refused[last].file == refused[first].file {
			last++
		}
		if rewritten {
			for i := first; i < last; i++ {
				number, text, _ := strings.Cut(refused[i].Text, ",")
				refused[i].Line, _ = strconv.ParseInt(number, 10, 64)
				refused[i].Text = text
			}
		} else {
			at := make([]int64, 0, last-first)
			for _, x := range refused[first:last] {
				at = append(at, x.at)
			}
			lines, err := linesAt(r.inputs[refused[first].file].path, at)
			if err != nil {
				return fmt.Errorf("number refused lines: %w", err)
			}
			for i, line := range lines {
				refused[first+i].Line = line
			}
		}
		first = last
	}
	for _, x := range refused {
		r.badCount++
		x.Text = r.src.hide(x.BadLine).Text
		if len(r.bad) < maxKept {
			r.bad = append(r.bad, x.BadLine)
		}
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// noConversion is how DuckDB says that a value is not of its type.
var noConversion = regexp.MustCompile(`Could not convert string "(.*)" to '(.*)'`)

// reason says in a few words why DuckDB refused a line.
func reason(kind, column, message string) string {
	first, _, _ := strings.Cut(message, "\n")
	switch kind {
	case "MISSING COLUMNS", "TOO MANY COLUMNS":
		var want, got int
		if n, _ := fmt.Sscanf(first, "Expected Number of Columns: %d Found: %d", &want, &got); n == 2 {
			return fmt.Sprintf("the line has %d columns, %d are expected", got, want)
		}
	case "UNQUOTED VALUE":
		return "a quoted value is not closed, or text follows its closing quote"
	case "INVALID ENCODING":
		return "the line is not UTF-8: set the encoding, such as windows-1252"
	case "LINE SIZE OVER MAXIMUM":
		return "the line is longer than 64 MB"
	case "CAST":
		if m := noConversion.FindStringSubmatch(first); m != nil {
			return fmt.Sprintf("column %s: %q is not %s", column, m[1], m[2])
		}
		return "column " + column + ": " + first
	}
	return first
}

// linesAt counts the lines before each of some ascending byte positions (from 1) of a
// file: DuckDB counts rows, and a row may have several lines. A row behind one that it refused
// begins for it between the two characters of that one's end.
func linesAt(path string, at []int64) ([]int64, error) {
	f, err := openRaw(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	lines := make([]int64, len(at))
	line, pos, last := int64(1), int64(1), byte(0)
	for i, target := range at {
		for pos < target {
			c, err := in.ReadByte()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			last = c
			if pos++; c == '\n' {
				line++
			}
		}
		lines[i] = line
		if next, err := in.Peek(1); err == nil && last == '\r' && next[0] == '\n' {
			lines[i]++
		}
	}
	return lines, nil
}

// storeBad replaces the source's entries in dm.rejects.
func (r *run) storeBad(ctx context.Context, c *duckstage.Conn, of built) error {
	for batch := range slices.Chunk(of.bad, 500) {
		rows, args := make([]string, len(batch)), make([]any, 0, 6*len(batch))
		for i, b := range batch {
			rows[i] = "(?, ?, ?, ?, ?, ?)"
			args = append(args, of.name, b.File, b.Line, b.Column, b.Message, b.Text)
		}
		if _, err := c.Exec(ctx, "INSERT INTO dm.rejects VALUES "+strings.Join(rows, ", "), args...); err != nil {
			return fmt.Errorf("store refused lines: %w", err)
		}
	}
	return nil
}

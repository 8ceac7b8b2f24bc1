package appliance

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"dvmigrate/duckstage/transform"
)

// mendedFile is a file that came back.
type mendedFile struct {
	path, table string
	names       []string // of the columns that may be mended
	rows        []mendedRow
	lines       map[string]int // by legacy key
}

type mendedRow struct {
	line   int
	key    string
	values []string
	left   bool // alone
}

// readMended reads a file. A spreadsheet may have put a byte order mark before it, semicolons or tabs between its
// columns, a line that says so, and lines of empty cells where rows were. One that it saved in another character set
// is refused, as its letters would be others.
func readMended(path string) (*mendedFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if text = bytes.TrimPrefix(text, []byte("\ufeff")); !utf8.Valid(text) {
		line := 1
		for rest := text; len(rest) > 0; {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n == 1 {
				break
			}
			if rest = rest[n:]; r == '\n' {
				line++
			}
		}
		return nil, fmt.Errorf("%s:%d: the file is not in UTF-8, so that letters such as ä would become others: save it anew as \"CSV UTF-8\"", path, line)
	}
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	above := 0
	if bytes.HasPrefix(bytes.ToLower(head), []byte("sep=")) {
		text, above = rest, 1
		head, _, _ = bytes.Cut(text, []byte("\n"))
	}
	in := csv.NewReader(bytes.NewReader(text))
	for _, c := range ";\t" {
		if bytes.Count(head, []byte(string(c))) > bytes.Count(head, []byte(string(in.Comma))) {
			in.Comma = c
		}
	}
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty", path)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	tableAt, keyAt := slices.Index(header, "dm_table"), slices.Index(header, "legacy_key")
	if tableAt < 0 || keyAt < 0 {
		return nil, fmt.Errorf("%s: the first line lacks dm_table and legacy_key: begin with a file that `dvmigrate errors export` wrote", path)
	}
	f := &mendedFile{path: path, lines: map[string]int{}}
	var from []int
	for i, name := range header {
		if name != "" && name != "legacy_key" && !strings.HasPrefix(name, "dm_") {
			f.names, from = append(f.names, name), append(from, i)
		}
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		line, _ := in.FieldPos(0)
		line += above
		if !slices.ContainsFunc(row, func(cell string) bool { return cell != "" }) {
			continue
		}
		if f.table == "" {
			f.table = row[tableAt]
		} else if f.table != row[tableAt] {
			return nil, fmt.Errorf("%s:%d: the row is of %q, those before are of %q; a file holds the rows of one table", path, line, row[tableAt], f.table)
		}
		r := mendedRow{line: line, key: row[keyAt]}
		if first, twice := f.lines[r.key]; twice {
			return nil, fmt.Errorf("%s:%d: legacy key '%s' stands in line %d already", path, line, r.key, first)
		}
		f.lines[r.key] = line
		for _, i := range from {
			r.values = append(r.values, row[i])
		}
		f.rows = append(f.rows, r)
	}
	if len(f.rows) == 0 {
		return nil, fmt.Errorf("%s has no row", path)
	}
	return f, nil
}

// explain gives an error its line in the file.
func (f *mendedFile) explain(err error) error {
	var mend *transform.MendError
	if errors.As(err, &mend) {
		return fmt.Errorf("%s:%d: %w; nothing was changed", f.path, f.lines[mend.Key], mend)
	}
	return err
}

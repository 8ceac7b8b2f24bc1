package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"modernc.org/sqlite"
)

// sqliteFile reads an SQLite file, on one connection: there is no server to share work.
type sqliteFile struct {
	*sqlBase
	path     string
	declared func(column string) string
}

func openSQLite(ctx context.Context, path string, of func(string) string) (server, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err // the driver would make a new file
	}
	connector, err := sqlite.NewConnector("file:" + filepath.ToSlash(path) + "?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	s := &sqliteFile{sqlBase: newSQLBase(connector, ""), path: path, declared: of}
	s.shown = path
	return s, s.explain(s.connect(ctx))
}

func (s *sqliteFile) quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
func (s *sqliteFile) literal(text string) string {
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

func (s *sqliteFile) start(ctx context.Context, _ int) (snapshot, error) {
	made := snapshot{workers: 1, one: true}
	if err := s.each(ctx, "BEGIN"); err != nil {
		return made, err
	}
	if _, err := s.list(ctx, "SELECT count(*) FROM sqlite_master"); err != nil { // now it sees what it will see
		return made, err
	}
	for _, path := range []string{s.path, s.path + "-wal"} { // what is new may be in the latter only
		info, err := os.Stat(path)
		switch {
		case err == nil:
			made.mark += fmt.Sprintf("%d %d ", info.Size(), info.ModTime().UnixNano())
		case !errors.Is(err, fs.ErrNotExist):
			return made, err
		}
	}
	return made, nil
}

// key is the table's primary key, which may be null unless it says otherwise.
func (s *sqliteFile) key(ctx context.Context, from string) (tableKey, error) {
	rows, err := s.list(ctx, "SELECT name FROM pragma_table_info("+s.pragma(from)+") WHERE pk > 0 ORDER BY pk")
	key := tableKey{nulls: true}
	for _, r := range rows {
		key.columns = append(key.columns, r[0])
	}
	return key, err
}

// pragma writes a name as the arguments of a pragma's function: the table, and the schema if
// there is one.
func (s *sqliteFile) pragma(name string) string {
	parts := nameParts(name)
	slices.Reverse(parts)
	for i, p := range parts {
		parts[i] = s.literal(p)
	}
	return strings.Join(parts, ", ")
}

// keyText has SQLite write a value as it reads one, as columns hold values of any type.
func (s *sqliteFile) keyText(c dbColumn) (string, func(string) string) {
	return "quote(" + s.quote(c.name) + ")", func(text string) string { return text }
}

// sqliteDecimal finds precision and scale in a declared type.
var sqliteDecimal = regexp.MustCompile(`\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)`)

// describe takes the declared types for what they say; a value of another kind is set
// aside, because SQLite lets any value stand in any column.
func (s *sqliteFile) describe(ctx context.Context, from string) ([]dbColumn, error) {
	types, err := s.columnTypes(ctx, "SELECT * FROM "+from+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	var columns []dbColumn
	for _, t := range types {
		// The plus hides the declared type from the driver, which would make times of texts.
		c := dbColumn{field: field{name: t.Name()}, selected: "+" + s.quote(t.Name()), decode: anyValue}
		c.stored, c.typ, c.note = "VARCHAR", "VARCHAR", "declare a type for the column, such as types: {"+t.Name()+": VARCHAR}"
		declared := strings.ToUpper(t.DatabaseTypeName())
		switch {
		case s.declared(t.Name()) != "": // it is made of whatever stands there
		case strings.Contains(declared, "BOOL"):
			c.stored, c.typ = "BOOLEAN", "BOOLEAN"
		case strings.Contains(declared, "DATETIME"), strings.Contains(declared, "TIMESTAMP"):
			c.typ, c.what = "TIMESTAMP", "a time such as 2024-12-31 23:59:59; "+c.note
		case strings.Contains(declared, "DATE"):
			c.typ, c.what = "DATE", "a date such as 2024-12-31; "+c.note
		case strings.Contains(declared, "INT"):
			c.stored, c.typ = "BIGINT", "BIGINT"
		case strings.Contains(declared, "BLOB"):
			c.stored, c.typ = "BLOB", "BLOB"
		case strings.Contains(declared, "REAL"), strings.Contains(declared, "FLOA"), strings.Contains(declared, "DOUB"):
			c.stored, c.typ = "DOUBLE", "DOUBLE"
		case strings.Contains(declared, "DEC"), strings.Contains(declared, "NUM"), strings.Contains(declared, "MONEY"):
			c.typ, c.what = "DECIMAL(28,10)", "a number; "+c.note
			if m := sqliteDecimal.FindStringSubmatch(declared); m != nil {
				precision, _ := strconv.Atoi(m[1])
				scale, _ := strconv.Atoi("0" + m[2])
				if precision >= 1 && precision <= 38 && scale <= precision {
					c.typ = fmt.Sprintf("DECIMAL(%d,%d)", precision, scale)
				}
			}
		}
		columns = append(columns, c)
	}
	return columns, nil
}

func (s *sqliteFile) explain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "no such table"):
		rows, listErr := s.list(context.Background(), "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
		if listErr != nil {
			return err
		}
		return errors.New(text + nearTables(rows))
	case strings.Contains(text, "not a database"):
		return fmt.Errorf("%s is not an SQLite file, or it is encrypted", s.path)
	case strings.Contains(text, "malformed"):
		return fmt.Errorf("%s is damaged: %w", s.path, err)
	}
	return err
}

package ingest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"dvmigrate/duckstage/column"
)

// Kinds of database.
const (
	Postgres  = "postgres"
	MySQL     = "mysql" // and MariaDB
	SQLServer = "sqlserver"
	SQLite    = "sqlite"
)

// Database is a database that rows come from: a table, or what a query yields.
type Database struct {
	Kind     string
	DSN      string // address and sign-in, as the driver has it; never shown
	Table    string // name, or schema.name
	Query    string
	Key      string // column that ranges are made of, and the order of rows
	Parallel int    // connections at once; 0: one

	rows int64 // of a range; 0: rangeRows
}

func (d *Database) check() error {
	switch {
	case !slices.Contains([]string{Postgres, MySQL, SQLServer, SQLite}, d.Kind):
		return fmt.Errorf("database %q is not known: postgres, mysql, sqlserver or sqlite", d.Kind)
	case d.DSN == "":
		return errors.New("the database's address (dsn) is not given")
	case (d.Table == "") == (d.Query == ""):
		return errors.New("a database needs a table or a query, and not both")
	case d.Key == "" && d.Parallel > 1:
		return errors.New("reading in parallel needs a key: a column that ranges can be made of")
	}
	return nil
}

// shown names what is read in messages.
func (d *Database) shown() string {
	if d.Table != "" {
		return d.Kind + " table " + d.Table
	}
	return d.Kind + " query"
}

// File is the file that the database is, of which relative names start in dir; "" where it is a
// server's.
func (d *Database) File(dir string) string {
	if d.Kind != SQLite {
		return ""
	}
	path := strings.TrimPrefix(strings.TrimPrefix(d.DSN, "sqlite://"), "file:")
	path, _, _ = strings.Cut(path, "?")
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, filepath.FromSlash(path))
	}
	return path
}

// server is one kind of database. Workers are numbered from 0.
type server interface {
	// describe lists the columns of a SELECT, and how each is to be selected.
	describe(ctx context.Context, from string) ([]dbColumn, error)
	// start opens connections that see one point in time, as far as the server can, at
	// most the number given, and says which that is.
	start(ctx context.Context, workers int) (snapshot, error)
	// row reads the first row of a query as text, nulls being empty.
	list(ctx context.Context, query string) ([][]string, error)
	// read appends the rows of a query.
	read(ctx context.Context, worker int, query string, columns []dbColumn, out *sink) error
	// identity says which server and database this is, without any secret.
	identity() string
	quote(name string) string
	literal(text string) string
	explain(err error) error
	close()
}

// snapshot is what the connections of a server see.
type snapshot struct {
	workers int
	mark    string // names the point in time; "" = the server has no name for it
	one     bool   // all connections see the same
	notes   []string
}

// dbColumn is a column of a database.
type dbColumn struct {
	field
	selected string // SQL that selects it, in the server's language
	note     string // said of a value that does not fit
	decode   any    // what the server needs to know to read it
}

// dbSupply reads one relation of a database.
type dbSupply struct {
	of      *Database
	server  server
	columns []dbColumn
	from    string
	made    snapshot
}

func openDatabase(ctx context.Context, src *Source) (supply, error) {
	d := &dbSupply{of: src.Database}
	var err error
	switch d.of.Kind {
	case Postgres:
		d.server, err = openPostgres(ctx, d.of.DSN, src.declared)
	case MySQL:
		d.server, err = openMySQL(ctx, d.of.DSN, src.declared)
	case SQLServer:
		d.server, err = openSQLServer(ctx, d.of.DSN)
	default:
		d.server, err = openSQLite(ctx, d.of.File(src.Dir), src.declared)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *dbSupply) workers() int    { return max(d.made.workers, 1) }
func (d *dbSupply) notes() []string { return d.made.notes }
func (d *dbSupply) close()          { d.server.close() }

// relations describes what is to be read.
func (d *dbSupply) relations(ctx context.Context, src *Source) (_ []*relation, err error) {
	if d.of.Table != "" {
		parts := nameParts(d.of.Table)
		for i, p := range parts {
			parts[i] = d.server.quote(p)
		}
		d.from = strings.Join(parts, ".")
	} else {
		d.from = "(" + strings.TrimRight(strings.TrimSpace(d.of.Query), ";") + "\n) dm_query"
	}
	if d.columns, err = d.server.describe(ctx, d.from); err != nil {
		return nil, fmt.Errorf("%s: %w", d.of.shown(), d.server.explain(err))
	}
	rel := &relation{name: src.Name}
	names := make([]string, len(d.columns))
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", d.of.Kind, d.server.identity(), d.from, d.of.Key)
	for i, c := range d.columns {
		names[i] = c.name
		rel.fields = append(rel.fields, c.field)
		fmt.Fprintf(h, "%s %s %s\x00", c.name, c.stored, c.selected)
	}
	if err := checkNames(names); err != nil {
		return nil, fmt.Errorf("%s: %w: give a query with other names, such as query: SELECT a AS b FROM ...", d.of.shown(), err)
	}
	if d.of.Key != "" && d.keyColumn() < 0 {
		return nil, fmt.Errorf("%s has no column %q to read by: its columns are %s", d.of.shown(), d.of.Key, shownList(names))
	}
	if d.of.Key != "" {
		rel.extract = hex.EncodeToString(h.Sum(nil))
	}
	return []*relation{rel}, nil
}

// nameParts cuts a name such as sales.invoices, "Sales.eu"."My Table" or [dbo].[a.b] at the
// dots that are not within quotes, and takes the quotes off.
func nameParts(name string) []string {
	var parts []string
	var part strings.Builder
	closing := rune(0)
	runes := []rune(strings.TrimSpace(name))
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case closing != 0 && r == closing && i+1 < len(runes) && runes[i+1] == closing:
			part.WriteRune(r)
			i++
		case closing != 0 && r == closing:
			closing = 0
		case closing != 0:
			part.WriteRune(r)
		case r == '.':
			parts = append(parts, strings.TrimSpace(part.String()))
			part.Reset()
		case strings.TrimSpace(part.String()) == "" && strings.ContainsRune("\"`[", r):
			part.Reset()
			if closing = r; r == '[' {
				closing = ']'
			}
		default:
			part.WriteRune(r)
		}
	}
	return append(parts, strings.TrimSpace(part.String()))
}

// keyColumn is the place of the key among the columns; -1 when there is none.
func (d *dbSupply) keyColumn() int {
	return slices.IndexFunc(d.columns, func(c dbColumn) bool { return strings.EqualFold(c.name, d.of.Key) })
}

// plan begins the snapshot, counts the rows and makes ranges of the key.
func (d *dbSupply) plan(ctx context.Context, rel *relation, former []string) (err error) {
	if d.made, err = d.server.start(ctx, max(d.of.Parallel, 1)); err != nil {
		return d.server.explain(err)
	}
	rel.mark, rel.exact = d.made.mark, d.made.one
	if rel.rows, err = d.count(ctx); err != nil {
		return d.server.explain(err)
	}
	labels := former
	if len(labels) == 0 {
		if labels, err = d.ranges(ctx, rel.rows); err != nil {
			return d.server.explain(err)
		}
	}
	for _, label := range labels {
		rel.parts = append(rel.parts, part{label: label, read: func(ctx context.Context, worker int, out *sink) error {
			out.key, out.shown = d.keyColumn(), d.of.shown()
			if err := d.server.read(ctx, worker, d.selectRange(label), d.columns, out); err != nil {
				return fmt.Errorf("%s: %w", d.of.shown(), d.server.explain(err))
			}
			return nil
		}})
	}
	return nil
}

func (d *dbSupply) count(ctx context.Context) (int64, error) {
	rows, err := d.server.list(ctx, "SELECT count(*) FROM "+d.from)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(rows[0][0], 10, 64)
}

// selectRange selects the rows of one range in the order of the key.
func (d *dbSupply) selectRange(label string) string {
	list := make([]string, len(d.columns))
	for i, c := range d.columns {
		list[i] = c.selected
	}
	q := "SELECT " + strings.Join(list, ", ") + " FROM " + d.from
	if label != "" {
		q += " WHERE " + label
	}
	if k := d.keyColumn(); k >= 0 {
		q += " ORDER BY " + d.server.quote(d.columns[k].name)
	}
	return q
}

// The sizes of a range: large enough that starting one costs nothing, small enough that
// little is read again after a kill.
const (
	rangeRows = 250_000
	maxRanges = 1000
)

// ranges makes conditions that cut the rows into pieces of about the same size. The
// first and the last are open, so that rows that are added later fall into one.
func (d *dbSupply) ranges(ctx context.Context, rows int64) ([]string, error) {
	k := d.keyColumn()
	size := cmp.Or(d.of.rows, rangeRows)
	n := min(max((rows+size-1)/size, 1), maxRanges)
	if rows >= 10_000 {
		n = max(n, int64(d.made.workers))
	}
	if k < 0 || n == 1 {
		return []string{""}, nil
	}
	bounds, err := d.bounds(ctx, d.columns[k], rows, n)
	if err != nil {
		return nil, err
	}
	if len(bounds) == 0 {
		return []string{""}, nil
	}
	key := d.server.quote(d.columns[k].name)
	labels := []string{key + " < " + bounds[0]}
	for i := 1; i < len(bounds); i++ {
		labels = append(labels, key+" >= "+bounds[i-1]+" AND "+key+" < "+bounds[i])
	}
	return append(labels, key+" >= "+bounds[len(bounds)-1], key+" IS NULL"), nil
}

// bounds finds where ranges begin: evenly between the ends for whole numbers, which asks
// for an index's ends only, and by counting along the key for everything else.
func (d *dbSupply) bounds(ctx context.Context, c dbColumn, rows, n int64) ([]string, error) {
	key := d.server.quote(c.name)
	if strings.Contains(c.stored, "INT") {
		ends, err := d.server.list(ctx, fmt.Sprintf("SELECT min(%[1]s), max(%[1]s) FROM %[2]s", key, d.from))
		if err != nil {
			return nil, err
		}
		low, err1 := strconv.ParseInt(ends[0][0], 10, 64)
		high, err2 := strconv.ParseInt(ends[0][1], 10, 64)
		if err1 == nil && err2 == nil && low < high && float64(high)-float64(low) < math.MaxInt64 {
			var bounds []string
			for i := int64(1); i < n; i++ {
				b := strconv.FormatInt(low+int64(float64(high-low)*float64(i)/float64(n)), 10)
				if len(bounds) == 0 || bounds[len(bounds)-1] != b {
					bounds = append(bounds, b)
				}
			}
			return bounds, nil
		}
	}
	size := (rows + n - 1) / n
	found, err := d.server.list(ctx, fmt.Sprintf("SELECT k FROM (SELECT %[1]s AS k, row_number() OVER (ORDER BY %[1]s) AS n FROM %[2]s WHERE %[1]s IS NOT NULL) t WHERE n %% %[3]d = 0 ORDER BY n", key, d.from, size))
	if err != nil {
		return nil, err
	}
	var bounds []string
	for _, row := range found {
		b := row[0]
		switch {
		case strings.Contains(c.stored, "INT"):
		case c.stored == "BLOB" && d.of.Kind == SQLServer:
			b = "0x" + hex.EncodeToString([]byte(b))
		case c.stored == "BLOB" && d.of.Kind != Postgres: // which gives it as a text
			b = "x'" + hex.EncodeToString([]byte(b)) + "'"
		default:
			b = d.server.literal(b)
		}
		if len(bounds) == 0 || bounds[len(bounds)-1] != b {
			bounds = append(bounds, b)
		}
	}
	return bounds, nil
}

// rejectValue sets the row aside whose value in column i cannot be taken.
func rejectValue(out *sink, columns []dbColumn, i int, value []byte, why string) error {
	shown := "the value"
	text := string(value[:min(len(value), 200)])
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		shown = strconv.Quote(text)
	} else {
		text = "" // it came in binary form
	}
	message := fmt.Sprintf("column %s: %s %s", columns[i].name, shown, why)
	if key := out.keyText(); key != "" {
		message = "key " + key + ": " + message
	}
	if columns[i].note != "" {
		message += "; " + columns[i].note
	}
	return out.reject(BadLine{File: out.shown, Column: columns[i].name, Message: message, Text: text})
}

// keyText is the key of the row that is being filled, as far as it is.
func (s *sink) keyText() string {
	if s.key < 0 || s.dark {
		return ""
	}
	v, row := s.cell(s.key), s.b.Rows
	switch {
	case v.Null(row):
	case v.Type == column.Text && row+1 < len(v.Offsets):
		return string(v.TextAt(row))
	case v.Type == column.UUID && row < len(v.UUIDs):
		u := v.UUIDs[row]
		return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	case v.Type == column.Int && row < len(v.Ints):
		return strconv.FormatInt(v.Ints[row], 10)
	}
	return ""
}

// scrub takes secrets out of an error's text.
func scrub(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

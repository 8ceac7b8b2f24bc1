package ingest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

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
	Key      []string // columns that ranges are made of, and the order of rows; none: the table's own key
	Parallel int      // connections at once; 0: one

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
	case len(d.Key) == 0 && d.Query != "" && d.Parallel > 1:
		return errors.New("reading a query in parallel needs a key: columns that ranges can be made of")
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
	// key is the key of a table, as from names it.
	key(ctx context.Context, from string) (tableKey, error)
	// keyText says how a column's value is selected as a text, and how that text is written
	// as a value to compare the column with.
	keyText(c dbColumn) (text string, literal func(text string) string)
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
	native   string // its type, as the server's driver calls it; not of PostgreSQL
}

// dbSupply reads one relation of a database.
type dbSupply struct {
	of      *Database
	server  server
	columns []dbColumn
	from    string
	made    snapshot

	key      []keyPart // none: the table has no key
	keyNulls bool      // whether it may be null

	ownKey    bool // it is the table's own, which has an index
	scattered bool // rows lie in another order than the key's
	narrowed  bool // from is less than the table
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
	if len(d.columns) == 0 {
		return nil, fmt.Errorf("%s has no columns", d.of.shown())
	}
	if err := checkNames(d.columnNames()); err != nil {
		return nil, fmt.Errorf("%s: %w: give a query with other names, such as query: SELECT a AS b FROM ...", d.of.shown(), err)
	}
	if err := d.findKey(ctx); err != nil {
		return nil, d.server.explain(err)
	}
	rel := &relation{name: src.Name}
	for _, p := range d.key {
		rel.key = append(rel.key, d.columns[p.at].name)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", d.of.Kind, d.server.identity(), d.from, d.keyList(func(p keyPart) string { return p.name }))
	for _, c := range d.columns {
		rel.fields = append(rel.fields, c.field)
		fmt.Fprintf(h, "%s %s %s\x00", c.name, c.stored, c.selected)
	}
	_, places := d.server.(placer)
	if len(d.key) > 0 || places && d.placed() {
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

// begin begins the snapshot.
func (d *dbSupply) begin(ctx context.Context, rel *relation) (err error) {
	if d.made, err = d.server.start(ctx, max(d.of.Parallel, 1)); err != nil {
		return d.server.explain(err)
	}
	rel.mark, rel.exact = d.made.mark, d.made.one
	if rel.mark == "" {
		rel.mark = rand.Text() // what another run has read is of another moment, as far as anybody knows
	}
	if d.placed() && rel.extract != "" {
		rel.extract += " at " + rel.mark // where a row lies is good for no other moment
	}
	return nil
}

// plan counts the rows and makes ranges of the key.
func (d *dbSupply) plan(ctx context.Context, rel *relation, former []string) (err error) {
	if rel.rows, err = d.count(ctx); err != nil {
		return d.explain(err, "nothing was read yet")
	}
	labels := former
	if len(labels) == 0 {
		if labels, err = d.ranges(ctx, rel.rows); err != nil {
			return d.explain(err, "nothing was read yet")
		}
	}
	if len(labels) == 1 {
		rel.extract = "" // there is nothing to go on from
	}
	for _, label := range labels {
		rel.parts = append(rel.parts, part{label: label, read: func(ctx context.Context, worker int, out *sink) error {
			out.keys, out.shown = d.keyColumns(), d.of.shown()
			kept := "it begins anew"
			if rel.extract != "" {
				kept = "it goes on with the ranges that are missing"
			}
			return d.explain(d.server.read(ctx, worker, d.selectRange(label), d.columns, out), kept)
		}})
	}
	return nil
}

// explain says what an error is of that came amid reading, and of a lost connection what
// becomes of what was read.
func (d *dbSupply) explain(err error, kept string) error {
	switch {
	case err == nil:
		return nil
	case lostConnection(err):
		return fmt.Errorf("%s: the connection to %s was lost (%w): when the server is well, run it again; %s", d.of.shown(), d.server.identity(), rootCause(err), kept)
	}
	return fmt.Errorf("%s: %w", d.of.shown(), d.server.explain(err))
}

func (d *dbSupply) count(ctx context.Context) (int64, error) {
	rows, err := d.server.list(ctx, "SELECT count(*) FROM "+d.from)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(rows[0][0], 10, 64)
}

// rejectValue sets the row aside whose value in column i cannot be taken.
func rejectValue(out *sink, columns []dbColumn, i int, value []byte, why string) error {
	shown := "the value"
	text := strings.ToValidUTF8(string(value[:min(len(value), 200)]), "\uFFFD") // a letter may be cut, too
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		shown = strconv.Quote(text)
	} else {
		text = "" // it came in binary form
	}
	message := fmt.Sprintf("column %s: %s %s", columns[i].name, shown, why)
	if key := out.keyText(); key != "" {
		message = "key " + key + ": " + message
	}
	if columns[i].note != "" && why != notUTF8 {
		message += "; " + columns[i].note
	}
	return out.reject(BadLine{File: out.shown, Column: columns[i].name, Message: message, Text: text})
}

// keyText is the key of the row that is being filled, as far as it is.
func (s *sink) keyText() string {
	if s.dark {
		return ""
	}
	texts := make([]string, len(s.keys))
	for i, k := range s.keys {
		if texts[i] = keyValue(s.cell(k), s.b.Rows); texts[i] == "" {
			return ""
		}
	}
	return strings.Join(texts, ", ")
}

// keyValue is a value of a row as a text; "" when it has none that is short.
func keyValue(v *column.Vector, row int) string {
	switch {
	case v.Null(row):
	case v.Type == column.Text && row+1 < len(v.Offsets):
		return string(v.TextAt(row))
	case v.Type == column.UUID && row < len(v.UUIDs):
		u := v.UUIDs[row]
		return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	case v.Type == column.Date && row < len(v.Ints):
		return dayText(int(v.Ints[row]))
	case v.Type == column.Decimal && row < len(v.Wide):
		return string(column.AppendDecimal(nil, v.Wide[row], int(v.Scale)))
	case v.Type == column.Int && row < len(v.Ints):
		return strconv.FormatInt(v.Ints[row], 10)
	}
	return ""
}

// lostConnection reports whether an error that came amid reading is of the connection, and not of
// what was asked: the server went down or was told to end it, or the network did.
func lostConnection(err error) bool {
	var network net.Error
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &pg):
		return strings.HasPrefix(pg.Code, "57P") // shutdowns of every kind, as PostgreSQL's errcodes.txt has them
	case errors.As(err, &my):
		return my.Number == 1053 || my.Number == 1927 // server shutdown; connection was killed (MariaDB)
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.As(err, &network)
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

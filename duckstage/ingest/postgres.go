package ingest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgres reads a PostgreSQL database by COPY in its binary form, which neither side
// has to write as text. One connection exports its snapshot and the others import it.
type postgres struct {
	config   *pgconn.Config
	conns    []*pgconn.PgConn
	declared func(column string) string
	hidden   bool // rules of the table hide rows from the user
}

func openPostgres(ctx context.Context, dsn string, declared func(string) string) (server, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		// The driver's text repeats the address.
		return nil, errors.New("the dsn of the database cannot be read: write it like postgres://user:password@host:5432/database")
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.RuntimeParams["TimeZone"] = "UTC"
	config.RuntimeParams["DateStyle"] = "ISO, YMD"
	config.RuntimeParams["application_name"] = "dvmigrate"
	p := &postgres{config: config, declared: declared}
	return p, p.connect(ctx)
}

func (p *postgres) connect(ctx context.Context) error {
	conn, err := pgconn.ConnectConfig(ctx, p.config)
	if err != nil {
		return p.explain(err)
	}
	p.conns = append(p.conns, conn)
	return nil
}

func (p *postgres) identity() string {
	return fmt.Sprintf("%s:%d/%s", p.config.Host, p.config.Port, p.config.Database)
}

func (p *postgres) close() {
	for _, c := range p.conns {
		c.Close(context.Background())
	}
}

func (p *postgres) quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
func (p *postgres) literal(text string) string {
	if strings.Contains(text, `\`) {
		return "E'" + strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), "'", "''") + "'"
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// list reads a small result as text.
func (p *postgres) list(ctx context.Context, query string) ([][]string, error) {
	results, err := p.conns[0].Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for _, r := range results {
		for _, row := range r.Rows {
			texts := make([]string, len(row))
			for i, v := range row {
				texts[i] = string(v)
			}
			out = append(out, texts)
		}
	}
	return out, nil
}

// key is the table's primary key, or its shortest unique index over columns that are not null.
func (p *postgres) key(ctx context.Context, from string) (tableKey, error) {
	if p.version() < 11 { // which tells no columns of an index from those that it only includes
		return tableKey{}, nil
	}
	rows, err := p.list(ctx, `SELECT a.attname FROM (SELECT * FROM pg_index i WHERE indrelid = `+p.literal(from)+`::regclass AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
			AND NOT EXISTS (SELECT 1 FROM unnest(indkey) WITH ORDINALITY k(att, n) JOIN pg_attribute a ON attrelid = indrelid AND attnum = att WHERE n <= indnkeyatts AND NOT attnotnull)
		ORDER BY indisprimary DESC, indnkeyatts, indexrelid LIMIT 1) i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(att, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.att
		WHERE k.n <= i.indnkeyatts ORDER BY k.n`)
	var key tableKey
	for _, r := range rows {
		key.columns = append(key.columns, r[0])
	}
	if err != nil || len(key.columns) == 0 || p.version() < pagesSince {
		return key, err
	}
	// Where the rows of a range lie all over the table, each range would have the server read all
	// of it: a table of 400 ranges 400 times. Tables that were never analyzed have no such figure.
	rows, err = p.list(ctx, "SELECT abs(correlation) < 0.5 FROM pg_stats s JOIN pg_namespace n ON nspname = schemaname JOIN pg_class c ON relnamespace = n.oid AND relname = tablename WHERE c.oid = "+
		p.literal(from)+"::regclass AND attname = "+p.literal(key.columns[0])+" AND NOT inherited")
	key.scattered = len(rows) > 0 && rows[0][0] == "t"
	return key, err
}

// pagesSince is the version that reads ranges of a table's pages without reading the others.
const pagesSince = 14

// version is the server's main version.
func (p *postgres) version() int {
	main, _, _ := strings.Cut(p.conns[0].ParameterStatus("server_version"), ".")
	n, _ := strconv.Atoi(main)
	return n
}

func (p *postgres) keyText(c dbColumn) (string, func(string) string) {
	return p.quote(c.name), p.literal
}

// places cuts a table by its pages.
func (p *postgres) places(ctx context.Context, from string, n int64) ([]string, error) {
	if p.version() < pagesSince {
		return nil, nil
	}
	rows, err := p.list(ctx, `SELECT max(pg_relation_size(oid)) / current_setting('block_size')::int FROM pg_class
		WHERE oid IN (SELECT `+p.literal(from)+`::regclass UNION SELECT relid FROM pg_partition_tree(`+p.literal(from)+`::regclass)) HAVING bool_and(relkind IN ('r', 'm', 'p'))`)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	pages, err := strconv.ParseInt(rows[0][0], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", from, err)
	}
	var labels []string
	n = min(n, pages)
	for i := range n {
		low, high := pages*i/n, pages*(i+1)/n
		label := fmt.Sprintf("ctid >= '(%d,0)' AND ctid < '(%d,0)'", low, high)
		switch {
		case i == 0:
			label = fmt.Sprintf("ctid < '(%d,0)'", high)
		case i == n-1:
			label = fmt.Sprintf("ctid >= '(%d,0)'", low)
		}
		labels = append(labels, label)
	}
	if len(labels) < 2 {
		return nil, nil
	}
	return labels, nil
}

// start begins the transactions. Nothing is locked, and nothing is written.
func (p *postgres) start(ctx context.Context, workers int) (snapshot, error) {
	// A table without a key comes in the order in which it lies, from its beginning: read
	// again it gives the same order.
	const settings = "; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL synchronize_seqscans = off; SET LOCAL max_parallel_workers_per_gather = 0"
	const begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" + settings
	if _, err := p.conns[0].Exec(ctx, begin).ReadAll(); err != nil {
		return snapshot{}, err
	}
	s := snapshot{workers: 1, one: true}
	if p.hidden {
		s.notes = append(s.notes, fmt.Sprintf("the table has row security: the server may hide rows from user %q, and does not tell; read as its owner, or as a user with BYPASSRLS, to have all", p.config.User))
	}
	mark, err := p.list(ctx, "SELECT system_identifier || ' ' || txid_current_snapshot() FROM pg_control_system()")
	if err != nil { // pg_control_system may be forbidden, and that has ended the transaction
		if _, err := p.conns[0].Exec(ctx, "ROLLBACK; "+begin).ReadAll(); err != nil {
			return s, err
		}
		if mark, err = p.list(ctx, "SELECT txid_current_snapshot()"); err != nil {
			return s, err
		}
	}
	s.mark = mark[0][0]
	if workers == 1 {
		return s, nil
	}
	exported, err := p.list(ctx, "SELECT pg_export_snapshot()")
	if err != nil {
		return s, err
	}
	for s.workers < workers {
		if err := p.connect(ctx); err != nil {
			s.notes = append(s.notes, fmt.Sprintf("read with %d connections instead of %d: %v", s.workers, workers, err))
			break
		}
		// The snapshot must be set before anything else is done in the transaction.
		q := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT " + p.literal(exported[0][0]) + settings
		if _, err := p.conns[s.workers].Exec(ctx, q).ReadAll(); err != nil {
			return s, err
		}
		s.workers++
	}
	return s, nil
}

// The object ids of the types whose binary form is read (pg_type.dat).
const (
	oidBool, oidBytea, oidChar, oidName, oidInt8, oidInt2, oidInt4, oidText, oidOID          = 16, 17, 18, 19, 20, 21, 23, 25, 26
	oidJSON, oidXML, oidFloat4, oidFloat8, oidMoney, oidBPChar, oidVarchar, oidDate, oidTime = 114, 142, 700, 701, 790, 1042, 1043, 1082, 1083
	oidTimestamp, oidTimestampTZ, oidNumeric, oidUUID, oidJSONB                              = 1114, 1184, 1700, 2950, 3802
	oidInet                                                                                  = 869
)

// describe prepares the SELECT, which tells its columns without running it.
func (p *postgres) describe(ctx context.Context, from string) ([]dbColumn, error) {
	d, err := p.conns[0].Prepare(ctx, "", "SELECT * FROM "+from, nil)
	if err != nil {
		return nil, err
	}
	var columns []dbColumn
	for _, f := range d.Fields {
		c, err := p.column(ctx, f.Name, f.DataTypeOID, f.TypeModifier)
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	if !strings.HasPrefix(from, "(") {
		rows, err := p.list(ctx, "SELECT row_security_active("+p.literal(from)+"::regclass)")
		if err != nil {
			return nil, err
		}
		p.hidden = rows[0][0] == "t"
	}
	return columns, nil
}

// column says how a column is selected and read.
func (p *postgres) column(ctx context.Context, name string, oid uint32, modifier int32) (dbColumn, error) {
	q := p.quote(name)
	c := dbColumn{field: field{name: name}, selected: q, note: "declare types: {" + name + ": VARCHAR} to have its text"}
	if oid == oidInet { // as it is shown; as a text an address gets /32
		q = "abbrev(" + q + ")"
		c.selected = q
	}
	plain := func(typ string, read pgRead) dbColumn {
		c.stored, c.typ, c.decode = typ, typ, read
		return c
	}
	if strings.EqualFold(p.declared(name), "VARCHAR") {
		c.selected = q + "::text"
		return plain("VARCHAR", pgText), nil
	}
	switch oid {
	case oidBool:
		return plain("BOOLEAN", pgBool), nil
	case oidInt2:
		return plain("SMALLINT", pgInt), nil
	case oidInt4:
		return plain("INTEGER", pgInt), nil
	case oidInt8:
		return plain("BIGINT", pgInt), nil
	case oidFloat4:
		return plain("FLOAT", pgFloat), nil
	case oidFloat8:
		return plain("DOUBLE", pgFloat), nil
	case oidUUID:
		return plain("UUID", pgUUID), nil
	case oidBytea:
		return plain("BLOB", pgText), nil
	case oidDate:
		return plain("DATE", pgDate), nil
	case oidTimestamp:
		return plain("TIMESTAMP", pgTimestamp), nil
	case oidTimestampTZ:
		return plain("TIMESTAMP WITH TIME ZONE", pgTimestamp), nil
	case oidText, oidVarchar, oidBPChar, oidName, oidXML:
		return plain("VARCHAR", pgText), nil
	case oidInet:
		return plain("VARCHAR", pgText), nil
	case oidJSON:
		c = plain("VARCHAR", pgText)
		c.typ = "JSON"
		return c, nil
	case oidJSONB:
		c = plain("VARCHAR", pgText)
		c.typ, c.selected = "JSON", q+"::text"
		return c, nil
	case oidMoney:
		c = plain("DECIMAL(22,4)", pgNumeric(4))
		c.selected = q + "::numeric"
		return c, nil
	case oidTime:
		c = plain("VARCHAR", pgText)
		c.typ, c.selected = "TIME", q+"::text"
		return c, nil
	case oidNumeric:
		precision, scale := int((modifier-4)>>16&0xFFFF), int((modifier-4)&0x7FF)
		if modifier >= 4 && precision <= 38 && scale <= precision {
			return plain(fmt.Sprintf("DECIMAL(%d,%d)", precision, scale), pgNumeric(scale)), nil
		}
		c = plain("VARCHAR", pgText) // it may have any number of digits
		c.selected = q + "::text"
		return c, nil
	}
	return p.otherColumn(ctx, c, oid)
}

// otherColumn reads arrays as lists, composites as JSON, and everything else as its text.
func (p *postgres) otherColumn(ctx context.Context, c dbColumn, oid uint32) (dbColumn, error) {
	q := p.quote(c.name)
	c.stored, c.typ, c.decode, c.selected = "VARCHAR", "VARCHAR", pgRead(pgText), q+"::text"
	rows, err := p.list(ctx, fmt.Sprintf("SELECT typtype, typcategory, typelem, typbasetype, typtypmod FROM pg_type WHERE oid = %d", oid))
	if err != nil || len(rows) == 0 {
		return c, err
	}
	kind, category := rows[0][0], rows[0][1]
	element, _ := strconv.ParseUint(rows[0][2], 10, 32)
	base, _ := strconv.ParseUint(rows[0][3], 10, 32)
	switch {
	case kind == "d" && base > 0: // a domain is its base type
		modifier, _ := strconv.ParseInt(rows[0][4], 10, 32)
		inner, err := p.column(ctx, c.name, uint32(base), int32(modifier))
		return inner, err
	case kind == "c":
		c.selected, c.typ = "to_json("+q+")::text", "JSON"
	case category == "A" && element > 0:
		types := map[uint64]string{oidBool: "BOOLEAN", oidInt2: "SMALLINT", oidInt4: "INTEGER", oidInt8: "BIGINT", oidFloat4: "FLOAT", oidFloat8: "DOUBLE",
			oidUUID: "UUID", oidDate: "DATE", oidTimestamp: "TIMESTAMP", oidTimestampTZ: "TIMESTAMP WITH TIME ZONE"}
		of, ok := types[element]
		if !ok {
			of = "VARCHAR"
		}
		c.selected = "to_json(" + q + "::text[])::text"
		if element == oidBool {
			c.selected = "to_json(" + q + ")::text"
		}
		c.typ, c.expr, c.what = of+"[]", pgList(of), "a list of "+of+"; for lists of lists declare types: {"+c.name+": JSON}"
	}
	return c, nil
}

// pgList is the expression that makes a list of an array's JSON; null where an element
// does not fit, since a type does not tell how many dimensions its arrays have.
func pgList(of string) string {
	text := "%s"
	if of == "DATE" || strings.HasPrefix(of, "TIMESTAMP") { // DuckDB writes (BC), behind the date
		text = `regexp_replace(%s, '"(\d+-\d+-\d+)([^"]*) BC"', '"\1 (BC)\2"', 'g')`
	}
	texts := "CAST(CAST(" + text + " AS JSON) AS VARCHAR[])"
	if of == "VARCHAR" {
		return texts
	}
	values := "TRY_CAST(" + texts + " AS " + of + "[])"
	return "CASE WHEN list_count(" + values + ") = list_count(" + texts + ") THEN " + values + " END"
}

// read copies the rows of a query out of the server.
func (p *postgres) read(ctx context.Context, worker int, query string, columns []dbColumn, out *sink) error {
	pr, pw := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		_, err := p.conns[worker].CopyTo(ctx, pw, "COPY ("+query+") TO STDOUT (FORMAT binary)")
		pw.CloseWithError(err)
		failed <- err
	}()
	err := readCopy(bufio.NewReaderSize(pr, 1<<18), columns, out)
	pr.CloseWithError(err)
	if copyErr := <-failed; copyErr != nil && (err == nil || errors.Is(err, copyErr) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = copyErr
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// explain says what to do about what PostgreSQL refuses.
func (p *postgres) explain(err error) error {
	if err == nil {
		return nil
	}
	var e *pgconn.PgError
	where := fmt.Sprintf("PostgreSQL at %s:%d", p.config.Host, p.config.Port)
	if errors.As(err, &e) {
		text := e.Message
		switch e.Code {
		case "28000": // which is of the server's own rules: pg_hba.conf, a role that may not sign in
			advice := "ask who runs the server, or check the dsn"
			if strings.Contains(text, "no encryption") || strings.Contains(text, "SSL off") {
				advice = "it wants TLS; write sslmode=require, or verify-full, in the dsn"
			}
			return scrub(fmt.Errorf("%s refuses user %q: %s: %s", where, p.config.User, text, advice), p.config.Password)
		case "28P01":
			return fmt.Errorf("%s refuses the sign-in of user %q: check user and password in the dsn's variable", where, p.config.User)
		case "3D000":
			return fmt.Errorf("%s has no database %q: check the dsn", where, p.config.Database)
		case "42P01":
			return fmt.Errorf("%s%s", text, p.near())
		case "42501":
			return fmt.Errorf("%s: give user %q the right to read it (GRANT SELECT)", text, p.config.User)
		case "53300":
			return fmt.Errorf("%s has no connection left: lower `parallel`", where)
		}
		if e.Hint != "" {
			text += " (" + e.Hint + ")"
		}
		return scrub(errors.New(text), p.config.Password)
	}
	var network net.Error
	if errors.As(err, &network) || strings.Contains(err.Error(), "connect") {
		return scrub(fmt.Errorf("cannot reach %s: %w: check host, port and TLS settings of the dsn", where, rootCause(err)), p.config.Password)
	}
	return scrub(err, p.config.Password)
}

// near lists tables that there are, for a name that is not one.
func (p *postgres) near() string {
	conn, err := pgconn.ConnectConfig(context.Background(), p.config)
	if err != nil {
		return ""
	}
	defer conn.Close(context.Background())
	q := postgres{conns: []*pgconn.PgConn{conn}}
	rows, err := q.list(context.Background(), `SELECT CASE WHEN table_schema = 'public' THEN '' ELSE table_schema || '.' END || table_name
			|| CASE WHEN has_schema_privilege(table_schema::text, 'USAGE') THEN '' ELSE ' (in a schema that the user may not use)' END FROM information_schema.tables
		WHERE table_schema NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		return ""
	}
	return nearTables(rows)
}

func nearTables(rows [][]string) string {
	if len(rows) == 0 {
		return "; the user sees no table there"
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r[0]
	}
	return "; there are " + shownList(names)
}

// rootCause is the innermost error, which says the least about how it was reached.
func rootCause(err error) error {
	for {
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			if e.Unwrap() == nil {
				return err
			}
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			if len(e.Unwrap()) == 0 {
				return err
			}
			err = e.Unwrap()[0]
		default:
			return err
		}
	}
}

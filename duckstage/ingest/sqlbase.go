package ingest

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"dvmigrate/duckstage/column"
)

// sqlBase is what the servers share whose driver is one of database/sql. Every worker
// has a connection of its own, which keeps its transaction.
type sqlBase struct {
	db       *sql.DB
	conns    []*sql.Conn
	password string
	shown    string
}

func newSQLBase(c driver.Connector, password string) *sqlBase {
	return &sqlBase{db: sql.OpenDB(c), password: password}
}

func (s *sqlBase) identity() string { return s.shown }

func (s *sqlBase) connect(ctx context.Context) error {
	c, err := s.db.Conn(ctx)
	if err == nil {
		s.conns = append(s.conns, c)
	}
	return err
}

// connectMore opens connections until there are so many.
func (s *sqlBase) connectMore(ctx context.Context, n int) error {
	for len(s.conns) < n {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	return nil
}

// each runs a statement on every connection.
func (s *sqlBase) each(ctx context.Context, statement string) error {
	for _, c := range s.conns {
		if _, err := c.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqlBase) close() {
	for _, c := range s.conns {
		c.Close()
	}
	s.db.Close()
}

func (s *sqlBase) columnTypes(ctx context.Context, query string) ([]*sql.ColumnType, error) {
	rows, err := s.conns[0].QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	return types, rows.Err()
}

func (s *sqlBase) list(ctx context.Context, query string) ([][]string, error) {
	rows, err := s.conns[0].QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for rows.Next() {
		values, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		texts := make([]string, len(names))
		for i, v := range values {
			texts[i] = v.String
		}
		out = append(out, texts)
	}
	return out, rows.Err()
}

// sqlDecode appends a value that is not null; "" or why it cannot be taken.
type sqlDecode func(v *column.Vector, row int, value any) (why string)

// read appends the rows of a query, one at a time as the driver gives them.
func (s *sqlBase) read(ctx context.Context, worker int, query string, columns []dbColumn, out *sink) error {
	rows, err := s.conns[worker].QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	decode, into := make([]sqlDecode, len(columns)), make([]any, len(columns))
	raw, values := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i, c := range columns {
		switch d := c.decode.(type) {
		case func(*column.Vector, int, sql.RawBytes) string:
			into[i] = &raw[i]
			decode[i] = func(v *column.Vector, row int, value any) string { return d(v, row, raw[i]) }
		case func(*column.Vector, int, any) string:
			into[i], decode[i] = &values[i], d
		}
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		bad, why := -1, ""
		for i := range columns {
			if bad >= 0 && !slices.Contains(out.keys, i) {
				continue
			}
			if raw[i] == nil && values[i] == nil {
				out.null(i)
				continue
			}
			said := decode[i](out.cell(i), out.b.Rows, values[i])
			if said == "" {
				said = columns[i].textFault(out.cell(i), out.b.Rows)
			}
			if said != "" && bad < 0 {
				bad, why = i, said
			}
		}
		if bad < 0 {
			err = out.end()
		} else {
			shown := []byte(raw[bad])
			if shown == nil {
				shown = fmt.Appendf(nil, "%v", values[bad])
			}
			err = rejectValue(out, columns, bad, shown, why)
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

// textFault says what is wrong with a text that has been read: what a database without an
// encoding, or SQLite, takes for a text may be any bytes.
func (c *dbColumn) textFault(v *column.Vector, row int) string {
	if c.stored != "VARCHAR" || v.Null(row) || utf8.Valid(v.TextAt(row)) {
		return ""
	}
	return notUTF8
}

const notUTF8 = "is not UTF-8; have a query convert it"

// zeroDate begins MySQL's date that stands for none.
var zeroDate = []byte("0000-00-00")

// mysqlText reads MySQL's text of a value into whatever the column holds.
func mysqlText(v *column.Vector, row int, text sql.RawBytes) string {
	switch v.Type {
	case column.Text:
		v.AppendBytes(text)
	case column.Bool:
		if len(text) != 1 || text[0] != '0' && text[0] != '1' {
			return "is neither 0 nor 1"
		}
		v.Ints = append(v.Ints, int64(text[0]-'0'))
	case column.Int:
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return "is not a whole number"
		}
		v.Ints = append(v.Ints, n)
	case column.Float:
		x, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return "is not a number"
		}
		v.Floats = append(v.Floats, x)
	case column.Decimal:
		x, err := parseDecimal(text, int(v.Scale))
		if err != nil {
			return "is not a number of its type"
		}
		v.Wide = append(v.Wide, x)
	case column.Date, column.Timestamp:
		if bytes.HasPrefix(text, zeroDate) {
			v.AppendNull(row)
			return ""
		}
		t, ok := parseTime(string(text))
		if !ok {
			return "is not a date that there is"
		}
		appendTime(v, t)
	default:
		return "cannot be read"
	}
	return ""
}

// mysqlBits reads a bit field: bytes, the highest first.
func mysqlBits(v *column.Vector, _ int, bits sql.RawBytes) string {
	var n uint64
	for _, b := range bits {
		n = n<<8 | uint64(b)
	}
	if v.Type == column.Bool {
		v.Ints = append(v.Ints, int64(n&1))
	} else {
		v.Wide = append(v.Wide, column.Int128{Lo: n})
	}
	return ""
}

// parseTime reads a date with or without a time as databases write it.
func parseTime(text string) (time.Time, bool) {
	layout := "2006-01-02 15:04:05.999999999"
	if len(text) == 10 {
		layout = time.DateOnly
	}
	t, err := time.Parse(layout, text)
	return t, err == nil
}

func appendTime(v *column.Vector, t time.Time) {
	if v.Type == column.Date {
		v.Ints = append(v.Ints, int64(math.Floor(float64(t.Unix())/86400)))
		return
	}
	v.Ints = append(v.Ints, t.UnixMicro())
}

// mssqlGUID turns SQL Server's order of a GUID's bytes into that of its text.
func mssqlGUID(v *column.Vector, _ int, value any) string {
	b, ok := value.([]byte)
	if !ok || len(b) != 16 {
		return "is not a GUID"
	}
	v.UUIDs = append(v.UUIDs, [16]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]})
	return ""
}

// anyValue reads a driver's value into whatever the column holds.
func anyValue(v *column.Vector, row int, value any) string {
	switch v.Type {
	case column.Text:
		switch x := value.(type) {
		case []byte:
			v.AppendBytes(x)
		case string:
			v.AppendText(x)
		case float64:
			form := byte('g')
			if size := math.Abs(x); size >= 1e-4 && size < 1e15 { // as SQLite writes it, and people do
				form = 'f'
			}
			v.AppendText(strconv.FormatFloat(x, form, -1, 64))
		case time.Time:
			v.AppendText(x.Format("2006-01-02 15:04:05.999999999"))
		default:
			v.AppendText(fmt.Sprint(x))
		}
		return ""
	case column.Bool:
		switch x := value.(type) {
		case bool:
			n := int64(0)
			if x {
				n = 1
			}
			v.Ints = append(v.Ints, n)
			return ""
		case int64:
			if x == 0 || x == 1 {
				v.Ints = append(v.Ints, x)
				return ""
			}
		}
		return "is neither true nor false"
	case column.Int:
		if x, ok := value.(int64); ok {
			v.Ints = append(v.Ints, x)
			return ""
		}
		return "is not a whole number"
	case column.Float:
		switch x := value.(type) {
		case float64:
			v.Floats = append(v.Floats, x)
			return ""
		case float32:
			v.Floats = append(v.Floats, float64(x))
			return ""
		case int64:
			v.Floats = append(v.Floats, float64(x))
			return ""
		}
		return "is not a number"
	case column.Date, column.Timestamp:
		if x, ok := value.(time.Time); ok {
			appendTime(v, x)
			return ""
		}
		return "is not a time"
	}
	return textValue(v, row, value)
}

// textValue reads a value that the driver gives as text.
func textValue(v *column.Vector, row int, value any) string {
	switch x := value.(type) {
	case []byte:
		return mysqlText(v, row, x)
	case string:
		return mysqlText(v, row, []byte(x))
	}
	return "cannot be read"
}

// dayText is the date of a day since 1970-01-01.
func dayText(days int) string { return time.Unix(int64(days)*86400, 0).UTC().Format(time.DateOnly) }

package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"

	mssql "github.com/microsoft/go-mssqldb"
)

// sqlServer reads a Microsoft SQL Server or Azure SQL database. Transactions of several
// connections cannot share a snapshot there; each sees its own moment.
type sqlServer struct {
	*sqlBase
	host, user string
}

func openSQLServer(ctx context.Context, dsn string) (server, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "sqlserver" || u.Host == "" {
		return nil, errors.New("the dsn of the database cannot be read: write it like sqlserver://user:password@host:1433?database=name")
	}
	q := u.Query()
	q.Set("app name", "dvmigrate")
	q.Set("ApplicationIntent", "ReadOnly")
	u.RawQuery = q.Encode()
	connector, err := mssql.NewConnector(u.String())
	if err != nil {
		return nil, errors.New("the dsn of the database cannot be read: write it like sqlserver://user:password@host:1433?database=name&encrypt=true")
	}
	password, _ := u.User.Password()
	s := &sqlServer{sqlBase: newSQLBase(connector, password), host: u.Host, user: u.User.Username()}
	s.shown = u.Host + "/" + q.Get("database")
	return s, s.explain(s.connect(ctx))
}

func (s *sqlServer) quote(name string) string { return "[" + strings.ReplaceAll(name, "]", "]]") + "]" }
func (s *sqlServer) literal(text string) string {
	return "N'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// start begins a transaction on each connection: of the isolation level SNAPSHOT where
// the database allows it, else plain.
func (s *sqlServer) start(ctx context.Context, workers int) (snapshot, error) {
	made := snapshot{workers: workers}
	if err := s.connectMore(ctx, workers); err != nil {
		return made, err
	}
	rows, err := s.list(ctx, "SELECT snapshot_isolation_state FROM sys.databases WHERE database_id = DB_ID()")
	allowed := err == nil && len(rows) > 0 && rows[0][0] == "1"
	level := "READ COMMITTED"
	if allowed {
		level = "SNAPSHOT"
		made.one = workers == 1
	} else {
		made.notes = append(made.notes, "the database does not allow snapshot isolation (ALTER DATABASE ... SET ALLOW_SNAPSHOT_ISOLATION ON): rows that were written meanwhile may be half of the old and half of the new")
	}
	if workers > 1 {
		made.notes = append(made.notes, "SQL Server's connections cannot share one snapshot: for one point in time set `parallel: 1`, or read from a database snapshot (CREATE DATABASE ... AS SNAPSHOT OF), or while nobody writes")
	}
	return made, s.each(ctx, "SET TRANSACTION ISOLATION LEVEL "+level+"; BEGIN TRANSACTION")
}

func (s *sqlServer) describe(ctx context.Context, from string) ([]dbColumn, error) {
	types, err := s.columnTypes(ctx, "SELECT TOP 0 * FROM "+from)
	if err != nil {
		return nil, err
	}
	var columns []dbColumn
	for _, t := range types {
		c := dbColumn{field: field{name: t.Name()}, selected: s.quote(t.Name())}
		precision, scale, _ := t.DecimalSize()
		c.native = t.DatabaseTypeName()
		c.stored = mssqlType(c.native, precision, scale)
		c.typ, c.decode = c.stored, anyValue
		switch c.native {
		case "UNIQUEIDENTIFIER":
			c.decode = mssqlGUID
		case "TIME":
			c.selected, c.typ = "CONVERT(varchar(16), "+c.selected+")", "TIME"
		case "SQL_VARIANT":
			c.selected = "CONVERT(nvarchar(4000), " + c.selected + ")"
		case "GEOMETRY", "GEOGRAPHY", "HIERARCHYID", "UDT", "":
			c.selected = c.selected + ".ToString()"
		}
		columns = append(columns, c)
	}
	return columns, nil
}

// key is the unique index that the rows lie in the order of, else the primary key, else any
// unique index over columns that are not null.
func (s *sqlServer) key(ctx context.Context, from string) (tableKey, error) {
	table := "OBJECT_ID(" + s.literal(from) + ")"
	rows, err := s.list(ctx, `SELECT c.name FROM sys.index_columns k JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id
		WHERE k.object_id = `+table+` AND k.key_ordinal > 0 AND k.index_id = (SELECT TOP 1 i.index_id FROM sys.indexes i
			WHERE i.object_id = `+table+` AND i.is_unique = 1 AND i.has_filter = 0 AND i.is_disabled = 0 AND i.is_hypothetical = 0
				AND NOT EXISTS (SELECT 1 FROM sys.index_columns n JOIN sys.columns o ON o.object_id = n.object_id AND o.column_id = n.column_id
					WHERE n.object_id = i.object_id AND n.index_id = i.index_id AND n.key_ordinal > 0 AND o.is_nullable = 1)
			ORDER BY CASE WHEN i.type = 1 THEN 0 ELSE 1 END, i.is_primary_key DESC, i.index_id)
		ORDER BY k.key_ordinal`)
	var key tableKey
	for _, r := range rows {
		key.columns = append(key.columns, r[0])
	}
	return key, err
}

// keyText writes a value with its type, so that the column and not the value decides how they are
// compared, and an index is looked into.
func (s *sqlServer) keyText(c dbColumn) (string, func(string) string) {
	name := s.quote(c.name)
	convert := func(to string, style string) func(string) string {
		return func(text string) string { return fmt.Sprintf("CONVERT(%s, '%s'%s)", to, text, style) }
	}
	switch c.native {
	case "TINYINT", "SMALLINT", "INT", "BIGINT", "DECIMAL", "NUMERIC", "MONEY", "SMALLMONEY", "FLOAT", "REAL":
		return name, plainNumber(s.literal)
	case "BIT":
		return "CONVERT(int, " + name + ")", plainNumber(s.literal)
	case "UNIQUEIDENTIFIER":
		return "CONVERT(char(36), " + name + ")", convert("uniqueidentifier", "")
	case "DATE", "DATETIME", "SMALLDATETIME":
		return "CONVERT(varchar(40), " + name + ", 126)", convert(strings.ToLower(c.native), ", 126")
	case "DATETIME2", "DATETIMEOFFSET":
		return "CONVERT(varchar(40), " + name + ", 126)", convert(strings.ToLower(c.native)+"(7)", ", 126")
	case "TIME":
		return "CONVERT(varchar(16), " + name + ")", convert("time(7)", "")
	case "VARCHAR", "CHAR":
		return name, func(text string) string {
			if strings.IndexFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
				return strings.TrimPrefix(s.literal(text), "N")
			}
			return s.literal(text)
		}
	}
	if c.stored == "BLOB" {
		return "CONVERT(varchar(max), CONVERT(varbinary(max), " + name + "), 1)", func(text string) string { return text }
	}
	return name, s.literal
}

// mssqlType is the stage's type for one of SQL Server's.
func mssqlType(name string, precision, scale int64) string {
	switch name {
	case "BIT":
		return "BOOLEAN"
	case "TINYINT": // without a sign there
		return "UTINYINT"
	case "SMALLINT":
		return "SMALLINT"
	case "INT":
		return "INTEGER"
	case "BIGINT":
		return "BIGINT"
	case "REAL":
		return "FLOAT"
	case "FLOAT":
		return "DOUBLE"
	case "DECIMAL", "NUMERIC":
		if precision == 0 || precision > 38 {
			return "VARCHAR"
		}
		return fmt.Sprintf("DECIMAL(%d,%d)", precision, scale)
	case "MONEY":
		return "DECIMAL(19,4)"
	case "SMALLMONEY":
		return "DECIMAL(10,4)"
	case "DATE":
		return "DATE"
	case "DATETIME", "DATETIME2", "SMALLDATETIME":
		return "TIMESTAMP"
	case "DATETIMEOFFSET":
		return "TIMESTAMP WITH TIME ZONE"
	case "UNIQUEIDENTIFIER":
		return "UUID"
	case "BINARY", "VARBINARY", "IMAGE", "TIMESTAMP", "ROWVERSION":
		return "BLOB"
	}
	return "VARCHAR"
}

func (s *sqlServer) explain(err error) error {
	var e mssql.Error
	var network net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		switch e.Number {
		case 18456, 18452:
			return fmt.Errorf("SQL Server at %s refuses the sign-in of user %q: check user and password in the dsn's variable", s.host, s.user)
		case 4060:
			return fmt.Errorf("SQL Server at %s has no such database, or user %q may not open it: check the dsn", s.host, s.user)
		case 208:
			return fmt.Errorf("%s: check schema and name (dbo.Customers)", e.Message)
		case 229, 230:
			return fmt.Errorf("%s: give user %q the right to read it (GRANT SELECT)", e.Message, s.user)
		}
		return scrub(errors.New(e.Message), s.password)
	case errors.As(err, &network):
		return scrub(fmt.Errorf("cannot reach SQL Server at %s: %w: check host, port and encryption settings of the dsn", s.host, rootCause(err)), s.password)
	}
	return scrub(err, s.password)
}

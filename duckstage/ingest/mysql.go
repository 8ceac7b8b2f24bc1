package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// mySQL reads a MySQL or MariaDB database.
type mySQL struct {
	*sqlBase
	config   *mysql.Config
	declared func(column string) string
	tables   string // what is read, to be locked for a moment; "" for a query
}

func openMySQL(ctx context.Context, dsn string, declared func(string) string) (server, error) {
	config, err := mysqlConfig(dsn)
	if err != nil {
		return nil, errors.New("the dsn of the database cannot be read: write it like mysql://user:password@host:3306/database")
	}
	config.ParseTime, config.InterpolateParams, config.MultiStatements = false, false, false
	config.Logger = &mysql.NopLogger{}
	if config.Params == nil {
		config.Params = map[string]string{}
	}
	config.Params["time_zone"] = "'+00:00'"
	config.Params["sql_mode"] = "''" // as far as reading goes: no strict dates, plain quotes
	if err := config.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, scrub(err, config.Passwd)
	}
	s := &mySQL{sqlBase: newSQLBase(connector, config.Passwd), config: config, declared: declared}
	s.shown = config.Addr + "/" + config.DBName
	return s, s.explain(s.connect(ctx))
}

// mysqlConfig reads an address of either form.
func mysqlConfig(dsn string) (*mysql.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return mysql.ParseDSN(dsn)
	}
	password, _ := u.User.Password()
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "3306")
	}
	config, err := mysql.ParseDSN("tcp(" + host + ")/" + strings.TrimPrefix(u.Path, "/") + "?" + u.RawQuery)
	if err != nil {
		return nil, err
	}
	config.User, config.Passwd = u.User.Username(), password
	return config, nil
}

func (s *mySQL) quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
func (s *mySQL) literal(text string) string {
	return "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(text) + "'"
}

// start begins the transactions. Several see the same only if nobody writes while they
// begin, so that moment is locked: the server as a whole, or else the table.
func (s *mySQL) start(ctx context.Context, workers int) (snapshot, error) {
	made := snapshot{workers: workers, one: true}
	begin := func() error {
		if err := s.each(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
			return err
		}
		return s.each(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
	}
	if workers == 1 {
		return made, begin()
	}
	if err := s.connectMore(ctx, workers+1); err != nil {
		return made, err
	}
	locker := s.conns[workers]
	s.conns = s.conns[:workers]
	defer locker.Close()
	_, err := locker.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK")
	if err != nil && s.tables != "" {
		_, err = locker.ExecContext(ctx, "LOCK TABLES "+s.tables+" READ")
	}
	if err != nil {
		made.one, made.workers = true, 1
		made.notes = append(made.notes, fmt.Sprintf("read with one connection: several see one point in time only if the user may lock for a moment (%v); grant RELOAD, or LOCK TABLES", scrub(err, s.password)))
		s.conns = s.conns[:1]
		return made, begin()
	}
	err = begin()
	if _, unlock := locker.ExecContext(ctx, "UNLOCK TABLES"); err == nil {
		err = unlock
	}
	return made, err
}

func (s *mySQL) describe(ctx context.Context, from string) ([]dbColumn, error) {
	if !strings.HasPrefix(from, "(") {
		s.tables = from
	}
	types, err := s.columnTypes(ctx, "SELECT * FROM "+from+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	full, err := s.fullTypes(ctx, from)
	if err != nil {
		return nil, err
	}
	var columns []dbColumn
	for _, t := range types {
		c := dbColumn{field: field{name: t.Name()}, selected: s.quote(t.Name()), decode: mysqlText}
		c.native = t.DatabaseTypeName()
		precision, scale, _ := t.DecimalSize()
		s.column(&c, c.native, precision, scale, full[strings.ToLower(t.Name())])
		columns = append(columns, c)
	}
	return columns, nil
}

// key is the table's primary key, or its first unique index over whole columns that are not null.
func (s *mySQL) key(ctx context.Context, from string) (tableKey, error) {
	rows, err := s.list(ctx, "SHOW INDEX FROM "+from)
	if err != nil {
		return tableKey{}, err
	}
	const unique, name, column, prefix, null = 1, 2, 4, 7, 9
	var keys []tableKey
	var names []string
	for _, r := range rows {
		if len(r) <= null || r[unique] != "0" {
			continue
		}
		if len(names) == 0 || names[len(names)-1] != r[name] {
			names, keys = append(names, r[name]), append(keys, tableKey{})
		}
		k := &keys[len(keys)-1]
		k.columns = append(k.columns, r[column])
		k.nulls = k.nulls || r[prefix] != "" || r[null] != "" || r[column] == ""
	}
	for i, k := range keys {
		if names[i] == "PRIMARY" {
			return k, nil
		}
	}
	for _, k := range keys {
		if !k.nulls {
			return k, nil
		}
	}
	return tableKey{}, nil
}

// keyText writes numbers without quotes: the server would compare a decimal with a text as
// floating-point numbers, and not look into an index for it.
func (s *mySQL) keyText(c dbColumn) (string, func(string) string) {
	name := s.quote(c.name)
	switch strings.TrimPrefix(c.native, "UNSIGNED ") {
	case "BIT":
		return name + " + 0", plainNumber(s.literal)
	case "FLOAT":
		return name + " + 0e0", plainNumber(s.literal)
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR", "DECIMAL", "DOUBLE":
		return name, plainNumber(s.literal)
	}
	if c.stored == "BLOB" {
		return "hex(" + name + ")", func(text string) string { return "x'" + text + "'" }
	}
	return name, s.literal
}

// fullTypes are the columns' types as they were declared, which say more than a result
// does: tinyint(1), uuid.
func (s *mySQL) fullTypes(ctx context.Context, from string) (map[string]string, error) {
	full := map[string]string{}
	if strings.HasPrefix(from, "(") {
		return full, nil
	}
	rows, err := s.list(ctx, "SHOW COLUMNS FROM "+from)
	for _, r := range rows {
		full[strings.ToLower(r[0])] = strings.ToLower(r[1])
	}
	return full, err
}

// column says how a column is held and read.
func (s *mySQL) column(c *dbColumn, name string, precision, scale int64, full string) {
	if strings.EqualFold(s.declared(c.name), "VARCHAR") && !slices.Contains([]string{"BIT", "FLOAT", "DOUBLE"}, name) && !bytesOfMySQL(name) {
		c.stored, c.typ = "VARCHAR", "VARCHAR" // as the server writes it: 0000-00-00, and 00042 of a zerofill
		if strings.HasSuffix(name, "INT") {    // of which the driver would make numbers
			c.selected = "CAST(" + c.selected + " AS CHAR)"
		}
		return
	}
	unsigned := strings.HasPrefix(name, "UNSIGNED ")
	sign := ""
	if unsigned {
		sign = "U"
	}
	c.stored = "VARCHAR"
	switch strings.TrimPrefix(name, "UNSIGNED ") {
	case "TINYINT":
		c.stored = sign + "TINYINT"
		if strings.HasPrefix(full, "tinyint(1)") && !unsigned && s.declared(c.name) == "" {
			c.stored, c.note = "BOOLEAN", "the column is tinyint(1), which stands for true and false; declare types: {"+c.name+": TINYINT} to have its numbers"
		}
	case "SMALLINT":
		c.stored = sign + "SMALLINT"
	case "YEAR":
		c.stored = "SMALLINT"
	case "MEDIUMINT", "INT":
		c.stored = sign + "INTEGER"
	case "BIGINT":
		c.stored = sign + "BIGINT"
	case "FLOAT": // as text the server rounds it to six digits
		c.stored, c.selected = "FLOAT", "("+c.selected+" + 0e0)"
	case "DOUBLE":
		c.stored = "DOUBLE"
	case "DECIMAL":
		if precision <= 38 {
			c.stored = fmt.Sprintf("DECIMAL(%d,%d)", precision, scale)
		}
	case "BIT":
		c.stored, c.decode = "UBIGINT", mysqlBits
		if full == "bit(1)" {
			c.stored = "BOOLEAN"
		}
	case "DATE":
		c.stored = "DATE"
	case "DATETIME":
		c.stored = "TIMESTAMP"
	case "TIMESTAMP":
		c.stored = "TIMESTAMP WITH TIME ZONE"
	case "JSON":
		c.typ = "JSON"
	}
	if bytesOfMySQL(name) {
		c.stored = "BLOB"
	}
	if full == "uuid" {
		c.stored, c.typ, c.what = "VARCHAR", "UUID", "a UUID"
	}
	if c.typ == "" {
		c.typ = c.stored
	}
}

// bytesOfMySQL reports whether a type's values are bytes.
func bytesOfMySQL(name string) bool {
	return slices.Contains([]string{"BLOB", "TINYBLOB", "MEDIUMBLOB", "LONGBLOB", "BINARY", "VARBINARY", "GEOMETRY"}, name)
}

func (s *mySQL) explain(err error) error {
	var e *mysql.MySQLError
	var network net.Error
	where := "MySQL at " + s.config.Addr
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		switch e.Number {
		case 1045, 1698:
			return fmt.Errorf("%s refuses the sign-in of user %q: check user and password in the dsn's variable, and write tls=true there if the server wants TLS", where, s.config.User)
		case 1049, 1044:
			return fmt.Errorf("%s has no database %q that user %q may read: check the dsn", where, s.config.DBName, s.config.User)
		case 1146:
			rows, listErr := s.list(context.Background(), "SHOW TABLES")
			if listErr != nil {
				return errors.New(e.Message)
			}
			return errors.New(e.Message + nearTables(rows))
		case 1142, 1143:
			return fmt.Errorf("%s: give user %q the right to read it (GRANT SELECT)", e.Message, s.config.User)
		case 1040, 1203:
			return fmt.Errorf("%s has no connection left: lower `parallel`", where)
		}
		return scrub(errors.New(e.Message), s.password)
	case errors.As(err, &network):
		return scrub(fmt.Errorf("cannot reach %s: %w: check host, port and TLS settings of the dsn", where, rootCause(err)), s.password)
	}
	return scrub(err, s.password)
}

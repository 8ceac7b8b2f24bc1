package duckstage

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"dvmigrate/duckstage/column"
)

// TableFunc makes Go data readable in SQL: SELECT … FROM name(arguments).
type TableFunc struct {
	Name string
	// Args are the SQL types of the arguments: VARCHAR, BIGINT or BOOLEAN.
	Args []string
	// Columns are the result's; types BOOLEAN, TINYINT to BIGINT and their unsigned
	// forms, DOUBLE, DATE, TIMESTAMP, UUID and VARCHAR.
	Columns []ColumnInfo
	// Open begins one reading. The arguments are string, int64, bool or nil. Calls come
	// from DuckDB's threads, several at once when queries run at once; each reading's own
	// Fill is called by one thread at a time.
	Open func(ctx context.Context, args []any) (Reading, error)
}

// Reading is one execution of a table function.
type Reading struct {
	Rows int64 // how many there are about; 0: unknown
	// Fill puts up to limit rows into the batch, which comes empty and with the
	// function's columns; no rows end the reading. Columns whose want is false are not
	// read by the query and may be left empty.
	Fill func(b *column.Batch, limit int, want []bool) error
	// Close, if not nil, is called once: after the last row, or when Fill fails. A query
	// that is abandoned before leaves it uncalled, so it must not guard anything scarce.
	Close func()
}

// RegisterTable makes f callable on every connection of the stage, in place of an
// earlier one of that name. Panics of Open and Fill become errors of the query: they
// must not unwind through DuckDB (engines.md part I, 6).
func (s *Stage) RegisterTable(ctx context.Context, f TableFunc) error {
	config, columns, err := f.types()
	if err != nil {
		return fmt.Errorf("register %s: %w", f.Name, err)
	}
	udf := duckdb.ChunkTableFunction{
		Config: config,
		BindArgumentsContext: func(ctx context.Context, _ map[string]any, args ...any) (src duckdb.ChunkTableSource, err error) {
			defer recovered(f.Name, &err)
			for i, arg := range args {
				if n, ok := arg.(int32); ok {
					args[i] = int64(n)
				}
			}
			reading, err := f.Open(ctx, args)
			if err != nil {
				return nil, err
			}
			return newTableSource(f, columns, reading), nil
		},
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return s.explain(ctx, "", err)
	}
	defer conn.Close()
	if err := duckdb.RegisterTableUDF(conn, f.Name, udf); err != nil {
		return fmt.Errorf("register %s: %w", f.Name, err)
	}
	return nil
}

func recovered(name string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("table function %s panicked: %v", name, r)
	}
}

// udfTypes are the types a table function may have.
var udfTypes = map[string]struct {
	duck duckdb.Type
	kind column.Type
}{
	"BOOLEAN": {duckdb.TYPE_BOOLEAN, column.Bool}, "TINYINT": {duckdb.TYPE_TINYINT, column.Int},
	"SMALLINT": {duckdb.TYPE_SMALLINT, column.Int}, "INTEGER": {duckdb.TYPE_INTEGER, column.Int},
	"BIGINT": {duckdb.TYPE_BIGINT, column.Int}, "UTINYINT": {duckdb.TYPE_UTINYINT, column.Int},
	"USMALLINT": {duckdb.TYPE_USMALLINT, column.Int}, "UINTEGER": {duckdb.TYPE_UINTEGER, column.Int},
	"DOUBLE": {duckdb.TYPE_DOUBLE, column.Float}, "DATE": {duckdb.TYPE_DATE, column.Date},
	"TIMESTAMP": {duckdb.TYPE_TIMESTAMP, column.Timestamp}, "UUID": {duckdb.TYPE_UUID, column.UUID},
	"VARCHAR": {duckdb.TYPE_VARCHAR, column.Text},
}

func (f *TableFunc) types() (duckdb.TableFunctionConfig, []duckdb.ColumnInfo, error) {
	var config duckdb.TableFunctionConfig
	var columns []duckdb.ColumnInfo
	info := func(name string) (duckdb.TypeInfo, error) {
		t, ok := udfTypes[strings.ToUpper(name)]
		if !ok {
			return nil, fmt.Errorf("type %s is not supported", name)
		}
		return duckdb.NewTypeInfo(t.duck)
	}
	for _, arg := range f.Args {
		t, err := info(arg)
		if err != nil {
			return config, nil, err
		}
		config.Arguments = append(config.Arguments, t)
	}
	for _, c := range f.Columns {
		t, err := info(c.SQLType)
		if err != nil {
			return config, nil, err
		}
		columns = append(columns, duckdb.ColumnInfo{Name: c.Name, T: t})
	}
	return config, columns, nil
}

// tableSource is one reading in the form the driver calls.
type tableSource struct {
	name    string
	columns []duckdb.ColumnInfo
	reading Reading
	batch   column.Batch
	want    []bool
	ended   bool
}

func newTableSource(f TableFunc, columns []duckdb.ColumnInfo, reading Reading) *tableSource {
	t := &tableSource{name: f.Name, columns: columns, reading: reading}
	t.batch.Columns = make([]column.Vector, len(f.Columns))
	for i, c := range f.Columns {
		t.batch.Columns[i].Name, t.batch.Columns[i].Type = c.Name, udfTypes[strings.ToUpper(c.SQLType)].kind
	}
	return t
}

// ColumnInfos is part of the driver's interface.
func (t *tableSource) ColumnInfos() []duckdb.ColumnInfo { return t.columns }

// Cardinality is part of the driver's interface.
func (t *tableSource) Cardinality() *duckdb.CardinalityInfo {
	if t.reading.Rows <= 0 {
		return nil
	}
	return &duckdb.CardinalityInfo{Cardinality: uint(t.reading.Rows)}
}

// Init is part of the driver's interface.
func (t *tableSource) Init() {}

// FillChunk asks the reading for rows and copies them into DuckDB's chunk.
func (t *tableSource) FillChunk(chunk duckdb.DataChunk) (err error) {
	defer func() {
		if err != nil {
			t.end()
		}
	}()
	defer recovered(t.name, &err)
	if t.want == nil {
		// A value set in a column that is not read costs an allocation each time.
		t.want = make([]bool, len(t.columns))
		for i := range t.columns {
			_, unread := chunk.GetVector(i)
			t.want[i] = unread == nil
		}
	}
	t.batch.Reset()
	if !t.ended {
		if err := t.reading.Fill(&t.batch, duckdb.GetDataChunkCapacity(), t.want); err != nil {
			return err
		}
	}
	for i := range t.batch.Columns {
		if !t.want[i] || t.batch.Rows == 0 {
			continue
		}
		if err := writeColumn(chunk, i, &t.batch.Columns[i], t.batch.Rows); err != nil {
			return fmt.Errorf("column %s: %w", t.columns[i].Name, err)
		}
	}
	if t.batch.Rows == 0 {
		t.end()
	}
	return chunk.SetSize(t.batch.Rows)
}

func (t *tableSource) end() {
	if !t.ended && t.reading.Close != nil {
		t.reading.Close()
	}
	t.ended = true
}

// writeColumn copies one column into a chunk.
func writeColumn(chunk duckdb.DataChunk, i int, v *column.Vector, rows int) error {
	switch v.Type {
	case column.Bool:
		return writeValues(chunk, i, v, rows, func(row int) bool { return v.Ints[row] != 0 })
	case column.Int:
		return writeValues(chunk, i, v, rows, func(row int) int64 { return v.Ints[row] })
	case column.Float:
		return writeValues(chunk, i, v, rows, func(row int) float64 { return v.Floats[row] })
	case column.Date:
		return writeValues(chunk, i, v, rows, func(row int) time.Time { return time.Unix(v.Ints[row]*86400, 0).UTC() })
	case column.Timestamp:
		return writeValues(chunk, i, v, rows, func(row int) time.Time { return time.UnixMicro(v.Ints[row]).UTC() })
	case column.UUID:
		return writeValues(chunk, i, v, rows, func(row int) duckdb.UUID { return duckdb.UUID(v.UUIDs[row]) })
	}
	return writeValues(chunk, i, v, rows, func(row int) []byte { return v.TextAt(row) })
}

func writeValues[T any](chunk duckdb.DataChunk, i int, v *column.Vector, rows int, at func(int) T) error {
	for row := range rows {
		if v.HasNulls() && v.Null(row) {
			if err := duckdb.SetChunkValue[any](chunk, i, row, nil); err != nil {
				return err
			}
			continue
		}
		if err := duckdb.SetChunkValue(chunk, i, row, at(row)); err != nil {
			return err
		}
	}
	return nil
}

// Columns lists the columns of one relation in order; sql.ErrNoRows when there is none.
func (s *Stage) Columns(ctx context.Context, schema, table string) ([]ColumnInfo, error) {
	var cols []ColumnInfo
	err := s.Rows(ctx, `SELECT column_name, data_type FROM duckdb_columns()
		WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY column_index`,
		[]any{schema, table}, func(scan func(...any) error) error {
			var c ColumnInfo
			defer func() { cols = append(cols, c) }()
			return scan(&c.Name, &c.SQLType)
		})
	if err == nil && len(cols) == 0 {
		err = sql.ErrNoRows
	}
	return slices.Clip(cols), err
}

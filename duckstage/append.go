package duckstage

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	bindings "github.com/duckdb/duckdb-go-bindings"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"dvmigrate/duckstage/column"
)

// Appender adds rows to a table a batch at a time, without SQL. It is for one
// goroutine, and its rows belong to the transaction of its connection, if there is one.
type Appender struct {
	ctx   context.Context
	c     *Conn
	table string
	cols  []appendColumn
	types []mapping.LogicalType
	app   mapping.Appender
	chunk mapping.DataChunk
}

// appendColumn is how one column's values get into DuckDB's vector.
type appendColumn struct {
	name  string
	kind  column.Type
	scale uint8
	text  bool // must be UTF-8
	write func(v *column.Vector, data unsafe.Pointer, rows int)
}

// MaxAppend is how many rows one Append takes: DuckDB's own vector.
const MaxAppend = 2048

// Appender begins to add rows to a table that is there. Its columns may have the types
// that a Scan reads without a cast, and BLOB. Schema temp is that of the connection's
// temporary tables.
func (c *Conn) Appender(ctx context.Context, schema, table string) (*Appender, error) {
	if err := c.s.usable(); err != nil {
		return nil, err
	}
	a := &Appender{ctx: ctx, c: c, table: schema + "." + table}
	catalog, within := "", schema
	if schema == "temp" {
		catalog, within = "temp", "main"
	}
	if mapping.AppenderCreateExt(c.raw, catalog, within, table, &a.app) == mapping.StateError {
		return nil, errors.Join(a.fail(), a.Close())
	}
	infos, err := c.tableColumns(ctx, schema, table)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	for i, info := range infos {
		lt := mapping.AppenderColumnType(a.app, mapping.IdxT(i))
		a.types = append(a.types, lt)
		col, ok := writerOf(lt)
		if !ok {
			return nil, errors.Join(fmt.Errorf("append to %s: column %s has type %s, which cannot be appended", a.table, info.Name, info.SQLType), a.Close())
		}
		col.name = info.Name
		a.cols = append(a.cols, col)
	}
	a.chunk = mapping.CreateDataChunk(a.types)
	return a, nil
}

// Batch makes an empty batch with the table's columns.
func (a *Appender) Batch() *column.Batch {
	b := &column.Batch{Columns: make([]column.Vector, len(a.cols))}
	for i, col := range a.cols {
		b.Columns[i].Name, b.Columns[i].Type, b.Columns[i].Scale = col.name, col.kind, col.scale
	}
	return b
}

// Append adds the batch's rows, at most MaxAppend; its columns are those of Batch.
func (a *Appender) Append(b *column.Batch) error {
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	if b.Rows == 0 {
		return nil
	}
	if b.Rows > MaxAppend || len(b.Columns) != len(a.cols) {
		return fmt.Errorf("append to %s: %d rows of %d columns", a.table, b.Rows, len(b.Columns))
	}
	mapping.DataChunkReset(a.chunk)
	for i := range b.Columns {
		if err := a.cols[i].put(mapping.DataChunkGetVector(a.chunk, mapping.IdxT(i)), &b.Columns[i], b.Rows); err != nil {
			return fmt.Errorf("append to %s: column %s: %w", a.table, a.cols[i].name, err)
		}
	}
	mapping.DataChunkSetSize(a.chunk, mapping.IdxT(b.Rows))
	if mapping.AppendDataChunk(a.app, a.chunk) == mapping.StateError {
		return a.fail()
	}
	return nil
}

// Flush hands over what DuckDB has buffered: only then are the rows in the table.
func (a *Appender) Flush() error {
	if mapping.AppenderFlush(a.app) == mapping.StateError {
		return a.fail()
	}
	return nil
}

func (a *Appender) fail() error {
	return a.c.s.explain(a.ctx, "", duckError(mapping.AppenderError(a.app)))
}

// Close lets go of the appender; rows that were not flushed may be lost.
func (a *Appender) Close() error {
	if a.chunk.Ptr != nil {
		mapping.DestroyDataChunk(&a.chunk)
	}
	for i := range a.types {
		mapping.DestroyLogicalType(&a.types[i])
	}
	a.types = nil
	if a.app.Ptr != nil {
		mapping.AppenderClear(a.app)
		mapping.AppenderDestroy(&a.app)
	}
	return nil
}

// put copies one column into DuckDB's vector.
func (c *appendColumn) put(vec mapping.Vector, v *column.Vector, rows int) error {
	if v.HasNulls() {
		mapping.VectorEnsureValidityWritable(vec)
		mask := unsafe.Slice((*uint64)(mapping.VectorGetValidity(vec)), (rows+63)/64)
		for i := range rows {
			if v.Null(i) {
				mask[i>>6] &^= 1 << (i & 63)
			}
		}
	}
	if v.Type != c.kind {
		return fmt.Errorf("values of type %s, %s is expected", v.Type, c.kind)
	}
	data := mapping.VectorGetData(vec)
	if c.write != nil {
		c.write(v, data, rows)
		return nil
	}
	return c.putTexts(vec, v, data, rows)
}

// putTexts writes short texts in place and lets DuckDB copy the long ones.
func (c *appendColumn) putTexts(vec mapping.Vector, v *column.Vector, data unsafe.Pointer, rows int) error {
	texts, nulls := unsafe.Slice((*stringT)(data), rows), v.HasNulls()
	for i := range rows {
		t := v.TextAt(i)
		if nulls && v.Null(i) {
			continue
		}
		if c.text && !utf8.Valid(t) {
			return errors.New("a text is not UTF-8")
		}
		if len(t) > inlineLength {
			bindings.UnsafeVectorAssignStringElementLen(vec, mapping.IdxT(i), t)
			continue
		}
		texts[i] = stringT{length: uint32(len(t))}
		copy(texts[i].inline[:], t)
	}
	return nil
}

// writerOf is the other side of readerOf.
func writerOf(lt mapping.LogicalType) (appendColumn, bool) {
	switch mapping.GetTypeId(lt) {
	case mapping.TypeBoolean:
		return appendColumn{kind: column.Bool, write: putInts[uint8]}, true
	case mapping.TypeTinyInt:
		return appendColumn{kind: column.Int, write: putInts[int8]}, true
	case mapping.TypeSmallInt:
		return appendColumn{kind: column.Int, write: putInts[int16]}, true
	case mapping.TypeInteger:
		return appendColumn{kind: column.Int, write: putInts[int32]}, true
	case mapping.TypeBigInt:
		return appendColumn{kind: column.Int, write: putInts[int64]}, true
	case mapping.TypeUTinyInt:
		return appendColumn{kind: column.Int, write: putInts[uint8]}, true
	case mapping.TypeUSmallInt:
		return appendColumn{kind: column.Int, write: putInts[uint16]}, true
	case mapping.TypeUInteger:
		return appendColumn{kind: column.Int, write: putInts[uint32]}, true
	case mapping.TypeUBigInt:
		return appendColumn{kind: column.Decimal, write: putWide(func(x column.Int128) uint64 { return x.Lo })}, true
	case mapping.TypeHugeInt:
		return appendColumn{kind: column.Decimal, write: putWide(huge)}, true
	case mapping.TypeDecimal:
		col := appendColumn{kind: column.Decimal, scale: mapping.DecimalScale(lt)}
		switch mapping.DecimalInternalType(lt) {
		case mapping.TypeSmallInt:
			col.write = putWide(func(x column.Int128) int16 { return int16(x.Lo) })
		case mapping.TypeInteger:
			col.write = putWide(func(x column.Int128) int32 { return int32(x.Lo) })
		case mapping.TypeBigInt:
			col.write = putWide(func(x column.Int128) int64 { return int64(x.Lo) })
		default:
			col.write = putWide(huge)
		}
		return col, true
	case mapping.TypeFloat:
		return appendColumn{kind: column.Float, write: putFloats[float32]}, true
	case mapping.TypeDouble:
		return appendColumn{kind: column.Float, write: putFloats[float64]}, true
	case mapping.TypeDate:
		return appendColumn{kind: column.Date, write: putInts[int32]}, true
	case mapping.TypeTimestamp, mapping.TypeTimestampTZ:
		return appendColumn{kind: column.Timestamp, write: putInts[int64]}, true
	case mapping.TypeUUID:
		return appendColumn{kind: column.UUID, write: putUUIDs}, true
	case mapping.TypeVarchar:
		return appendColumn{kind: column.Text, text: true}, true
	case mapping.TypeBlob:
		return appendColumn{kind: column.Text}, true
	}
	return appendColumn{}, false
}

func putInts[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](v *column.Vector, data unsafe.Pointer, rows int) {
	out := unsafe.Slice((*T)(data), rows)
	for i := range out {
		out[i] = T(v.Ints[i])
	}
}

func putFloats[T float32 | float64](v *column.Vector, data unsafe.Pointer, rows int) {
	out := unsafe.Slice((*T)(data), rows)
	for i := range out {
		out[i] = T(v.Floats[i])
	}
}

func putWide[T any](narrow func(column.Int128) T) func(*column.Vector, unsafe.Pointer, int) {
	return func(v *column.Vector, data unsafe.Pointer, rows int) {
		out := unsafe.Slice((*T)(data), rows)
		for i := range out {
			out[i] = narrow(v.Wide[i])
		}
	}
}

func huge(x column.Int128) hugeInt { return hugeInt{lo: x.Lo, hi: x.Hi} }

// putUUIDs flips the top bit as DuckDB does.
func putUUIDs(v *column.Vector, data unsafe.Pointer, rows int) {
	out := unsafe.Slice((*hugeInt)(data), rows)
	for i := range out {
		var hi, lo uint64
		for k, b := range v.UUIDs[i] {
			if k < 8 {
				hi = hi<<8 | uint64(b)
			} else {
				lo = lo<<8 | uint64(b)
			}
		}
		out[i] = hugeInt{lo: lo, hi: int64(hi ^ 1<<63)}
	}
}

// tableColumns lists the columns of one table as this connection's transaction sees it.
func (c *Conn) tableColumns(ctx context.Context, schema, table string) ([]ColumnInfo, error) {
	return c.columns(ctx, "SELECT * FROM "+Ident(schema)+"."+Ident(table))
}

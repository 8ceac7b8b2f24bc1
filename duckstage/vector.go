package duckstage

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"dvmigrate/duckstage/column"
)

// reader copies one kind of DuckDB vector into a column.Vector.
type reader struct {
	kind  column.Type
	scale uint8
	fill  func(v *column.Vector, data unsafe.Pointer, rows int) // nil: the column must be cast first
}

// scanBatch is a batch with what it takes to fill it.
type scanBatch struct {
	column.Batch
	readers []reader
}

func batchFor(cols []ColumnInfo, readers []reader) *scanBatch {
	b := &scanBatch{readers: readers}
	b.Columns = make([]column.Vector, len(cols))
	for i := range cols {
		b.Columns[i].Name, b.Columns[i].Type, b.Columns[i].Scale = cols[i].Name, readers[i].kind, readers[i].scale
	}
	return b
}

// fill copies a chunk. Nothing of the chunk is referred to afterwards.
func (b *scanBatch) fill(chunk mapping.DataChunk) {
	b.Rows = int(mapping.DataChunkGetSize(chunk))
	for i := range b.Columns {
		v := &b.Columns[i]
		v.Reset()
		vec := mapping.DataChunkGetVector(chunk, mapping.IdxT(i))
		var mask []uint64
		if p := mapping.VectorGetValidity(vec); p != nil {
			mask = unsafe.Slice((*uint64)(p), (b.Rows+63)/64)
		}
		v.SetValid(mask, b.Rows)
		b.readers[i].fill(v, mapping.VectorGetData(vec), b.Rows)
	}
}

// preparedLayout lists a prepared statement's columns and how to read them.
func preparedLayout(stmt mapping.PreparedStatement) ([]ColumnInfo, []reader) {
	return layoutOf(int(mapping.PreparedStatementColumnCount(stmt)), func(i mapping.IdxT) (string, mapping.LogicalType) {
		return mapping.PreparedStatementColumnName(stmt, i), mapping.PreparedStatementColumnLogicalType(stmt, i)
	})
}

// resultLayout lists a result's columns and how to read them.
func resultLayout(res *mapping.Result) ([]ColumnInfo, []reader) {
	return layoutOf(int(mapping.ColumnCount(res)), func(i mapping.IdxT) (string, mapping.LogicalType) {
		return mapping.ColumnName(res, i), mapping.ColumnLogicalType(res, i)
	})
}

func layoutOf(n int, column func(mapping.IdxT) (string, mapping.LogicalType)) ([]ColumnInfo, []reader) {
	cols, readers := make([]ColumnInfo, n), make([]reader, n)
	for i := range n {
		name, lt := column(mapping.IdxT(i))
		cols[i] = ColumnInfo{Name: name, SQLType: typeName(lt)}
		readers[i] = readerOf(lt)
		mapping.DestroyLogicalType(&lt)
	}
	return cols, readers
}

func needsCast(readers []reader) bool {
	return slices.ContainsFunc(readers, func(r reader) bool { return r.fill == nil })
}

// readable are the types that readerOf has a reader for, beside DECIMAL.
var readable = map[string]bool{
	"BOOLEAN": true, "TINYINT": true, "SMALLINT": true, "INTEGER": true, "BIGINT": true, "UTINYINT": true, "USMALLINT": true,
	"UINTEGER": true, "UBIGINT": true, "HUGEINT": true, "FLOAT": true, "DOUBLE": true, "DATE": true, "TIMESTAMP": true,
	"TIMESTAMP WITH TIME ZONE": true, "UUID": true, "VARCHAR": true,
}

// scalarNames are the SQL names of the types that have no parameters.
var scalarNames = map[mapping.Type]string{
	mapping.TypeBoolean: "BOOLEAN", mapping.TypeTinyInt: "TINYINT", mapping.TypeSmallInt: "SMALLINT",
	mapping.TypeInteger: "INTEGER", mapping.TypeBigInt: "BIGINT", mapping.TypeUTinyInt: "UTINYINT",
	mapping.TypeUSmallInt: "USMALLINT", mapping.TypeUInteger: "UINTEGER", mapping.TypeUBigInt: "UBIGINT",
	mapping.TypeFloat: "FLOAT", mapping.TypeDouble: "DOUBLE", mapping.TypeTimestamp: "TIMESTAMP",
	mapping.TypeDate: "DATE", mapping.TypeTime: "TIME", mapping.TypeInterval: "INTERVAL",
	mapping.TypeHugeInt: "HUGEINT", mapping.TypeUHugeInt: "UHUGEINT", mapping.TypeVarchar: "VARCHAR",
	mapping.TypeBlob: "BLOB", mapping.TypeTimestampS: "TIMESTAMP_S", mapping.TypeTimestampMS: "TIMESTAMP_MS",
	mapping.TypeTimestampNS: "TIMESTAMP_NS", mapping.TypeEnum: "ENUM", mapping.TypeList: "LIST",
	mapping.TypeStruct: "STRUCT", mapping.TypeMap: "MAP", mapping.TypeArray: "ARRAY", mapping.TypeUUID: "UUID",
	mapping.TypeUnion: "UNION", mapping.TypeBit: "BIT", mapping.TypeTimeTZ: "TIME WITH TIME ZONE",
	mapping.TypeTimestampTZ: "TIMESTAMP WITH TIME ZONE", mapping.TypeSQLNull: "NULL",
}

func typeName(lt mapping.LogicalType) string {
	t := mapping.GetTypeId(lt)
	if t == mapping.TypeDecimal {
		return fmt.Sprintf("DECIMAL(%d,%d)", mapping.DecimalWidth(lt), mapping.DecimalScale(lt))
	}
	if name, ok := scalarNames[t]; ok {
		return name
	}
	return "UNKNOWN"
}

func readerOf(lt mapping.LogicalType) reader {
	switch mapping.GetTypeId(lt) {
	case mapping.TypeBoolean:
		return reader{kind: column.Bool, fill: fillInts[uint8]}
	case mapping.TypeTinyInt:
		return reader{kind: column.Int, fill: fillInts[int8]}
	case mapping.TypeSmallInt:
		return reader{kind: column.Int, fill: fillInts[int16]}
	case mapping.TypeInteger:
		return reader{kind: column.Int, fill: fillInts[int32]}
	case mapping.TypeBigInt:
		return reader{kind: column.Int, fill: fillInts[int64]}
	case mapping.TypeUTinyInt:
		return reader{kind: column.Int, fill: fillInts[uint8]}
	case mapping.TypeUSmallInt:
		return reader{kind: column.Int, fill: fillInts[uint16]}
	case mapping.TypeUInteger:
		return reader{kind: column.Int, fill: fillInts[uint32]}
	case mapping.TypeUBigInt:
		return reader{kind: column.Decimal, fill: fillUnsigned}
	case mapping.TypeHugeInt:
		return reader{kind: column.Decimal, fill: fillWide}
	case mapping.TypeDecimal:
		return decimalReader(lt)
	case mapping.TypeFloat:
		return reader{kind: column.Float, fill: fillFloats[float32]}
	case mapping.TypeDouble:
		return reader{kind: column.Float, fill: fillFloats[float64]}
	case mapping.TypeDate:
		return reader{kind: column.Date, fill: fillInts[int32]}
	case mapping.TypeTimestamp, mapping.TypeTimestampTZ:
		return reader{kind: column.Timestamp, fill: fillInts[int64]}
	case mapping.TypeUUID:
		return reader{kind: column.UUID, fill: fillUUIDs}
	case mapping.TypeVarchar:
		return reader{kind: column.Text, fill: fillText}
	}
	return reader{}
}

func decimalReader(lt mapping.LogicalType) reader {
	r := reader{kind: column.Decimal, scale: mapping.DecimalScale(lt)}
	switch mapping.DecimalInternalType(lt) {
	case mapping.TypeSmallInt:
		r.fill = fillNarrow[int16]
	case mapping.TypeInteger:
		r.fill = fillNarrow[int32]
	case mapping.TypeBigInt:
		r.fill = fillNarrow[int64]
	default:
		r.fill = fillWide
	}
	return r
}

func fillInts[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](v *column.Vector, data unsafe.Pointer, rows int) {
	for _, x := range unsafe.Slice((*T)(data), rows) {
		v.Ints = append(v.Ints, int64(x))
	}
}

func fillFloats[T float32 | float64](v *column.Vector, data unsafe.Pointer, rows int) {
	for _, x := range unsafe.Slice((*T)(data), rows) {
		v.Floats = append(v.Floats, float64(x))
	}
}

func fillNarrow[T int16 | int32 | int64](v *column.Vector, data unsafe.Pointer, rows int) {
	for _, x := range unsafe.Slice((*T)(data), rows) {
		v.Wide = append(v.Wide, column.FromInt64(int64(x)))
	}
}

func fillUnsigned(v *column.Vector, data unsafe.Pointer, rows int) {
	for _, x := range unsafe.Slice((*uint64)(data), rows) {
		v.Wide = append(v.Wide, column.Int128{Lo: x})
	}
}

// hugeInt is DuckDB's: the low half first.
type hugeInt struct {
	lo uint64
	hi int64
}

func fillWide(v *column.Vector, data unsafe.Pointer, rows int) {
	for _, x := range unsafe.Slice((*hugeInt)(data), rows) {
		v.Wide = append(v.Wide, column.Int128{Hi: x.hi, Lo: x.lo})
	}
}

// fillUUIDs undoes DuckDB's flip of the top bit, which makes UUIDs sort as signed numbers.
func fillUUIDs(v *column.Vector, data unsafe.Pointer, rows int) {
	for _, x := range unsafe.Slice((*hugeInt)(data), rows) {
		var id [16]byte
		hi := uint64(x.hi) ^ 1<<63
		for i := range 8 {
			id[i] = byte(hi >> (56 - 8*i))
			id[8+i] = byte(x.lo >> (56 - 8*i))
		}
		v.UUIDs = append(v.UUIDs, id)
	}
}

// stringT is DuckDB's string_t: up to twelve bytes in place, longer ones behind a
// pointer after the four bytes of the prefix.
type stringT struct {
	length uint32
	inline [12]byte
}

const inlineLength = 12

func fillText(v *column.Vector, data unsafe.Pointer, rows int) {
	texts := unsafe.Slice((*stringT)(data), rows)
	v.Offsets = append(v.Offsets, 0)
	nulls := v.HasNulls()
	for i := range texts {
		t := &texts[i]
		switch {
		case nulls && v.Null(i): // the slot of a null may hold anything
		case t.length <= inlineLength:
			v.Bytes = append(v.Bytes, t.inline[:t.length]...)
		default:
			p := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(t), 8))
			v.Bytes = append(v.Bytes, unsafe.Slice((*byte)(p), t.length)...)
		}
		v.Offsets = append(v.Offsets, uint32(len(v.Bytes)))
	}
}

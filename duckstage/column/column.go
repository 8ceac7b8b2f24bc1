// Package column is the batch that travels: typed columns of a few thousand rows,
// filled by the stage and read by the mapping, with no DuckDB in it.
//
// A Batch and everything in it is valid until the function it was handed to
// returns; who needs it longer copies it (Batch.CopyFrom). Values are reached by
// index without boxing, so that a row costs no allocation on its way to JSON.
package column

import "slices"

// Type is how a column's values are held.
type Type uint8

// The types. The comment names the field that holds the values.
const (
	Bool      Type = iota + 1 // Ints, 0 or 1
	Int                       // Ints
	Float                     // Floats
	Decimal                   // Wide, scaled by Scale digits
	Date                      // Ints, days since 1970-01-01
	Timestamp                 // Ints, microseconds since 1970-01-01T00:00:00Z
	UUID                      // UUIDs
	Text                      // Bytes and Offsets, UTF-8
)

// typeNames are the words of String, by Type.
var typeNames = [...]string{"", "bool", "int", "float", "decimal", "date", "timestamp", "uuid", "text"}

// String names the type in lower case.
func (t Type) String() string {
	if int(t) < len(typeNames) && t != 0 {
		return typeNames[t]
	}
	return "unknown"
}

// Vector is one column of a batch. Only the slice that Type names is filled, each
// with one element a row (Offsets with one more).
type Vector struct {
	Name  string
	Type  Type
	Scale uint8 // of Decimal: digits after the point

	nulls []uint64 // bit set = null; empty when no value is null

	Ints    []int64
	Floats  []float64
	Wide    []Int128
	UUIDs   [][16]byte // in the order of the text form
	Bytes   []byte
	Offsets []uint32 // value i is Bytes[Offsets[i]:Offsets[i+1]]
}

// Batch is a run of rows of one stage table, column by column.
type Batch struct {
	Rows    int
	Columns []Vector
}

// Null reports whether the value of row i is null.
func (v *Vector) Null(i int) bool {
	return i>>6 < len(v.nulls) && v.nulls[i>>6]&(1<<(i&63)) != 0
}

// HasNulls reports whether any value may be null: when it is false no row needs asking.
func (v *Vector) HasNulls() bool { return len(v.nulls) > 0 }

// SetNull marks the value of row i as null in a batch of rows rows. The value
// slices need an element for the row all the same.
func (v *Vector) SetNull(i, rows int) {
	if words := (rows + 63) / 64; len(v.nulls) < words {
		v.nulls = append(v.nulls, make([]uint64, words-len(v.nulls))...)
	}
	v.nulls[i>>6] |= 1 << (i & 63)
}

// SetValid takes over a mask in which a set bit means a value and a clear one null,
// for a batch of rows rows. A nil mask means that no value is null.
func (v *Vector) SetValid(mask []uint64, rows int) {
	v.nulls = v.nulls[:0]
	if mask == nil {
		return
	}
	words, any := (rows+63)/64, uint64(0)
	for i := range words {
		null := ^mask[i]
		if i == words-1 && rows&63 != 0 {
			null &= 1<<(rows&63) - 1
		}
		any |= null
		v.nulls = append(v.nulls, null)
	}
	if any == 0 {
		v.nulls = v.nulls[:0]
	}
}

// TextAt returns the text of row i without copying it.
func (v *Vector) TextAt(i int) []byte { return v.Bytes[v.Offsets[i]:v.Offsets[i+1]] }

// AppendText adds one text value, for who fills a batch row by row.
func (v *Vector) AppendText(s string) {
	if len(v.Offsets) == 0 {
		v.Offsets = append(v.Offsets, 0)
	}
	v.Bytes = append(v.Bytes, s...)
	v.Offsets = append(v.Offsets, uint32(len(v.Bytes)))
}

// AppendBytes is AppendText for bytes, which are copied.
func (v *Vector) AppendBytes(b []byte) {
	if len(v.Offsets) == 0 {
		v.Offsets = append(v.Offsets, 0)
	}
	v.Bytes = append(v.Bytes, b...)
	v.Offsets = append(v.Offsets, uint32(len(v.Bytes)))
}

// AppendNull makes the value of row i, the next one, null.
func (v *Vector) AppendNull(i int) {
	v.SetNull(i, i+1)
	switch v.Type {
	case Float:
		v.Floats = append(v.Floats, 0)
	case Decimal:
		v.Wide = append(v.Wide, Int128{})
	case UUID:
		v.UUIDs = append(v.UUIDs, [16]byte{})
	case Text:
		v.AppendBytes(nil)
	default:
		v.Ints = append(v.Ints, 0)
	}
}

// Truncate leaves the first rows values: for who gives up a row half filled.
func (v *Vector) Truncate(rows int) {
	switch v.Type {
	case Float:
		v.Floats = v.Floats[:min(rows, len(v.Floats))]
	case Decimal:
		v.Wide = v.Wide[:min(rows, len(v.Wide))]
	case UUID:
		v.UUIDs = v.UUIDs[:min(rows, len(v.UUIDs))]
	case Text:
		if rows+1 < len(v.Offsets) {
			v.Offsets = v.Offsets[:rows+1]
			v.Bytes = v.Bytes[:v.Offsets[rows]]
		}
	default:
		v.Ints = v.Ints[:min(rows, len(v.Ints))]
	}
	if word := rows >> 6; word < len(v.nulls) {
		v.nulls[word] &= 1<<(rows&63) - 1
		v.nulls = v.nulls[:word+1]
	}
}

// Reset empties the vector and keeps its memory for the next batch.
func (v *Vector) Reset() {
	v.nulls = v.nulls[:0]
	v.Ints, v.Floats, v.Wide = v.Ints[:0], v.Floats[:0], v.Wide[:0]
	v.UUIDs, v.Bytes, v.Offsets = v.UUIDs[:0], v.Bytes[:0], v.Offsets[:0]
}

// Reset empties every column and keeps the memory for the next batch.
func (b *Batch) Reset() {
	b.Rows = 0
	for i := range b.Columns {
		b.Columns[i].Reset()
	}
}

// Column finds a column by name; nil when the batch has none such.
func (b *Batch) Column(name string) *Vector {
	for i := range b.Columns {
		if b.Columns[i].Name == name {
			return &b.Columns[i]
		}
	}
	return nil
}

// CopyFrom makes b a copy of src that shares no memory with it, reusing b's own.
func (b *Batch) CopyFrom(src *Batch) {
	b.Rows = src.Rows
	b.Columns = slices.Grow(b.Columns[:0], len(src.Columns))[:len(src.Columns)]
	for i := range src.Columns {
		b.Columns[i].copyFrom(&src.Columns[i])
	}
}

func (v *Vector) copyFrom(src *Vector) {
	v.Name, v.Type, v.Scale = src.Name, src.Type, src.Scale
	v.nulls = append(v.nulls[:0], src.nulls...)
	v.Ints = append(v.Ints[:0], src.Ints...)
	v.Floats = append(v.Floats[:0], src.Floats...)
	v.Wide = append(v.Wide[:0], src.Wide...)
	v.UUIDs = append(v.UUIDs[:0], src.UUIDs...)
	v.Bytes = append(v.Bytes[:0], src.Bytes...)
	v.Offsets = append(v.Offsets[:0], src.Offsets...)
}

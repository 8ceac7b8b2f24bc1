package ingest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"dvmigrate/duckstage/column"
)

// pgRead appends a value in binary form; "" or why it cannot be taken.
type pgRead func(v *column.Vector, row int, data []byte) (why string)

// copySignature begins PostgreSQL's binary form of COPY.
const copySignature = "PGCOPY\n\xff\r\n\x00"

// readCopy reads rows in PostgreSQL's binary form.
func readCopy(r *bufio.Reader, columns []dbColumn, out *sink) error {
	header := make([]byte, len(copySignature)+8)
	if _, err := io.ReadFull(r, header); err != nil {
		return err
	}
	if string(header[:len(copySignature)]) != copySignature {
		return errors.New("the server's answer is not a binary copy")
	}
	extra := binary.BigEndian.Uint32(header[len(copySignature)+4:])
	if _, err := r.Discard(int(extra)); err != nil {
		return err
	}
	reads := make([]pgRead, len(columns))
	for i, c := range columns {
		reads[i] = c.decode.(pgRead)
	}
	var data []byte
	var word [4]byte
	for {
		if _, err := io.ReadFull(r, word[:2]); err != nil {
			return err
		}
		n := int16(binary.BigEndian.Uint16(word[:2]))
		if n == -1 {
			return nil
		}
		if int(n) != len(columns) {
			return fmt.Errorf("a row of %d columns, %d are expected", n, len(columns))
		}
		bad, why, badData := -1, "", []byte(nil)
		for i := range columns {
			if _, err := io.ReadFull(r, word[:]); err != nil {
				return err
			}
			length := int32(binary.BigEndian.Uint32(word[:]))
			if length < 0 {
				if bad < 0 || slices.Contains(out.keys, i) {
					out.null(i)
				}
				continue
			}
			if cap(data) < int(length) {
				data = make([]byte, length)
			}
			data = data[:length]
			if _, err := io.ReadFull(r, data); err != nil {
				return err
			}
			if bad >= 0 && !slices.Contains(out.keys, i) {
				continue
			}
			said := reads[i](out.cell(i), out.b.Rows, data)
			if said == "" {
				said = columns[i].textFault(out.cell(i), out.b.Rows)
			}
			if said != "" && bad < 0 {
				bad, why, badData = i, said, append(badData, data...)
			}
		}
		var err error
		if bad >= 0 {
			err = rejectValue(out, columns, bad, badData, why)
		} else {
			err = out.end()
		}
		if err != nil {
			return err
		}
	}
}

func pgBool(v *column.Vector, _ int, data []byte) string {
	v.Ints = append(v.Ints, int64(data[0]))
	return ""
}

func pgInt(v *column.Vector, _ int, data []byte) string {
	switch len(data) {
	case 2:
		v.Ints = append(v.Ints, int64(int16(binary.BigEndian.Uint16(data))))
	case 4:
		v.Ints = append(v.Ints, int64(int32(binary.BigEndian.Uint32(data))))
	default:
		v.Ints = append(v.Ints, int64(binary.BigEndian.Uint64(data)))
	}
	return ""
}

func pgFloat(v *column.Vector, _ int, data []byte) string {
	if len(data) == 4 {
		v.Floats = append(v.Floats, float64(math.Float32frombits(binary.BigEndian.Uint32(data))))
	} else {
		v.Floats = append(v.Floats, math.Float64frombits(binary.BigEndian.Uint64(data)))
	}
	return ""
}

func pgUUID(v *column.Vector, _ int, data []byte) string {
	v.UUIDs = append(v.UUIDs, [16]byte(data))
	return ""
}

func pgText(v *column.Vector, _ int, data []byte) string {
	v.AppendBytes(data)
	return ""
}

// PostgreSQL counts days and microseconds from 2000-01-01.
const (
	pgEpochDays   = 10957
	pgEpochMicros = pgEpochDays * 86_400_000_000
)

func pgDate(v *column.Vector, _ int, data []byte) string {
	days := int64(int32(binary.BigEndian.Uint32(data)))
	switch days {
	case math.MaxInt32:
	case math.MinInt32:
		days = -math.MaxInt32 // DuckDB's own infinity
	default:
		days += pgEpochDays
	}
	v.Ints = append(v.Ints, days)
	return ""
}

func pgTimestamp(v *column.Vector, _ int, data []byte) string {
	t := int64(binary.BigEndian.Uint64(data))
	switch {
	case t == math.MaxInt64:
	case t == math.MinInt64:
		t = -math.MaxInt64
	case t > math.MaxInt64-pgEpochMicros-1:
		return "is later than the stage can hold"
	default:
		t += pgEpochMicros
	}
	v.Ints = append(v.Ints, t)
	return ""
}

// pgNumeric reads PostgreSQL's numbers: digits to the base of 10,000, the place of the
// first, and a sign.
func pgNumeric(scale int) pgRead {
	return func(v *column.Vector, _ int, data []byte) string {
		digits, weight := int(binary.BigEndian.Uint16(data)), int(int16(binary.BigEndian.Uint16(data[2:])))
		sign := binary.BigEndian.Uint16(data[4:])
		if sign != 0 && sign != 0x4000 {
			return "is not a number (NaN or infinity)"
		}
		group := func(i int) uint64 {
			if i < 0 || i >= digits {
				return 0
			}
			return uint64(binary.BigEndian.Uint16(data[8+2*i:]))
		}
		var hi, lo uint64
		ok := true
		times := func(d uint64) {
			if ok {
				hi, lo, ok = timesTen(hi, lo, d)
			}
		}
		for i := 0; i <= weight; i++ {
			for _, unit := range [4]uint64{1000, 100, 10, 1} {
				times(group(i) / unit % 10)
			}
		}
		for at := 0; at < max(scale, 4*(digits-weight-1)); at++ {
			digit := group(weight+1+at/4) / [4]uint64{1000, 100, 10, 1}[at%4] % 10
			if at < scale {
				times(digit)
			} else if digit != 0 {
				return "has more decimals than its type"
			}
		}
		if !ok {
			return "is too large"
		}
		v.Wide = append(v.Wide, signed(hi, lo, sign == 0x4000))
		return ""
	}
}

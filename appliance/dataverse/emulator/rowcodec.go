package emulator

import (
	"encoding/binary"
	"math"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// storage is how a column's value lies in an encoded row.
type storage uint8

const (
	storeText    storage = iota // length, bytes
	storeInt                    // zigzag varint: integers, choices, yes/no, times, dates
	storeDecimal                // length, bytes of the decimal text
	storeFloat                  // 8 bytes
	storeGUID                   // 16 bytes
	storeRef                    // target's place among the column's targets, 16 bytes
	storeShared                 // target's place, number of the GUID in the store's shared list
	storeNothing                // computed when read
)

// derivation is how a computed column gets its value.
type derivation uint8

const (
	notDerived  derivation = iota
	fromVersion            // versionnumber
	fromOwner              // owninguser, owningteam, owningbusinessunit
	fromNames              // fullname
	fromMoney              // <col>_base
)

func storageOf(c *schema.Column) storage {
	switch c.Type {
	case schema.Integer, schema.BigInt, schema.YesNo, schema.Choice, schema.State, schema.Status, schema.DateTime:
		return storeInt
	case schema.Decimal, schema.Money:
		return storeDecimal
	case schema.Float:
		return storeFloat
	case schema.UniqueID, schema.File:
		return storeGUID
	case schema.Owner:
		return storeShared
	case schema.Lookup, schema.Customer:
		for _, t := range c.Targets {
			if t != "systemuser" && t != "team" && t != "transactioncurrency" && t != "businessunit" {
				return storeRef
			}
		}
		return storeShared
	}
	return storeText
}

// An encoded row is: version (uvarint), then for each column that is not null, in
// column order: how far its number is beyond the one before (uvarint), and its
// value as column.storage says. 20 filled columns cost 20 bytes beside their
// values.

// appendRow encodes the values, which are indexed by column number.
func (s *store) appendRow(dst []byte, t *table, version int64, vals []value) []byte {
	dst = binary.AppendUvarint(dst, uint64(version))
	last := -1
	for i := range vals {
		v := &vals[i]
		if v.kind == kindNull {
			continue
		}
		c := t.cols[i]
		if c.storage == storeNothing {
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(i-last))
		last = i
		switch c.storage {
		case storeText, storeDecimal:
			dst = binary.AppendUvarint(dst, uint64(len(v.text)))
			dst = append(dst, v.text...)
		case storeInt:
			dst = binary.AppendVarint(dst, v.n)
		case storeFloat:
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v.n))
		case storeGUID:
			dst = append(dst, v.guid[:]...)
		case storeRef:
			dst = binary.AppendUvarint(dst, uint64(slices.Index(c.targets, v.target)))
			dst = append(dst, v.guid[:]...)
		case storeShared:
			dst = binary.AppendUvarint(dst, uint64(slices.Index(c.targets, v.target)))
			dst = binary.AppendUvarint(dst, uint64(s.share(v.guid)))
		}
	}
	return dst
}

// rowVersion reads the version of an encoded row.
func rowVersion(data []byte) int64 {
	v, _ := binary.Uvarint(data)
	return int64(v)
}

// columnAt decodes the stored value of one column; null when the row has none.
func (s *store) columnAt(t *table, data []byte, want *column) value {
	_, p := binary.Uvarint(data)
	last := -1
	for p < len(data) {
		d, n := binary.Uvarint(data[p:])
		p += n
		last += int(d)
		if last > want.idx {
			return value{}
		}
		c := t.cols[last]
		if last == want.idx {
			v, _ := s.decodeValue(c, data[p:])
			return v
		}
		p += skipValue(c, data[p:])
	}
	return value{}
}

// decodeRow decodes all stored values into vals, which has one element a column.
func (s *store) decodeRow(t *table, data []byte, vals []value) {
	clear(vals)
	_, p := binary.Uvarint(data)
	last := -1
	for p < len(data) {
		d, n := binary.Uvarint(data[p:])
		p += n
		last += int(d)
		v, n := s.decodeValue(t.cols[last], data[p:])
		vals[last] = v
		p += n
	}
}

func (s *store) decodeValue(c *column, data []byte) (value, int) {
	switch c.storage {
	case storeText, storeDecimal:
		l, n := binary.Uvarint(data)
		text := string(data[n : n+int(l)])
		if c.storage == storeDecimal {
			return decimalValue(text), n + int(l)
		}
		return textValue(text), n + int(l)
	case storeInt:
		i, n := binary.Varint(data)
		return value{kind: intKind(c), n: i}, n
	case storeFloat:
		return floatValue(math.Float64frombits(binary.LittleEndian.Uint64(data))), 8
	case storeGUID:
		return guidValue(schema.GUID(data[:16])), 16
	case storeRef:
		i, n := binary.Uvarint(data)
		return refValue(c.targets[i], schema.GUID(data[n:n+16])), n + 16
	case storeShared:
		i, n := binary.Uvarint(data)
		k, m := binary.Uvarint(data[n:])
		return refValue(c.targets[i], s.shared[k]), n + m
	}
	return value{}, 0
}

func skipValue(c *column, data []byte) int {
	switch c.storage {
	case storeText, storeDecimal:
		l, n := binary.Uvarint(data)
		return n + int(l)
	case storeInt:
		_, n := binary.Varint(data)
		return n
	case storeFloat:
		return 8
	case storeGUID:
		return 16
	case storeRef:
		_, n := binary.Uvarint(data)
		return n + 16
	case storeShared:
		_, n := binary.Uvarint(data)
		_, m := binary.Uvarint(data[n:])
		return n + m
	}
	return 0
}

func intKind(c *column) kind {
	switch c.Type {
	case schema.YesNo:
		return kindBool
	case schema.DateTime:
		if c.DateBehavior == schema.DateOnly {
			return kindDate
		}
		return kindTime
	}
	return kindInt
}

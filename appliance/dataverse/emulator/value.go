package emulator

import (
	"math"
	"strconv"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// kind tells which field of a value holds its content.
type kind uint8

const (
	kindNull    kind = iota
	kindBool         // n is 0 or 1
	kindInt          // n
	kindDecimal      // text, in plain decimal notation without a superfluous sign or zeros
	kindFloat        // n holds the bits
	kindText         // text; also choices ("1,2") and images (base64)
	kindTime         // n is seconds since 1970, UTC
	kindDate         // n is days since 1970
	kindGUID         // guid
	kindRef          // guid and target
)

// value is one column's content. The zero value is null. Values are comparable
// with == where both come from the same column.
type value struct {
	kind   kind
	n      int64
	text   string
	guid   schema.GUID
	target *table // of a lookup: the table the record is in
}

func boolValue(b bool) value {
	if b {
		return value{kind: kindBool, n: 1}
	}
	return value{kind: kindBool}
}
func intValue(n int64) value        { return value{kind: kindInt, n: n} }
func decimalValue(s string) value   { return value{kind: kindDecimal, text: s} }
func floatValue(f float64) value    { return value{kind: kindFloat, n: int64(math.Float64bits(f))} }
func textValue(s string) value      { return value{kind: kindText, text: s} }
func guidValue(g schema.GUID) value { return value{kind: kindGUID, guid: g} }
func refValue(target *table, g schema.GUID) value {
	return value{kind: kindRef, guid: g, target: target}
}

func (v value) isNull() bool   { return v.kind == kindNull }
func (v value) float() float64 { return math.Float64frombits(uint64(v.n)) }
func (v value) time() time.Time {
	if v.kind == kindDate {
		return time.Unix(v.n*86400, 0).UTC()
	}
	return time.Unix(v.n, 0).UTC()
}

// appendJSON appends the value as the service reads it back (section 4.1).
func (v value) appendJSON(dst []byte, c *column) []byte {
	switch v.kind {
	case kindBool:
		return strconv.AppendBool(dst, v.n != 0)
	case kindInt:
		return strconv.AppendInt(dst, v.n, 10)
	case kindDecimal:
		dst = append(dst, v.text...)
		if c != nil && c.Type == schema.Money {
			dst = padDecimals(dst, v.text, 4)
		}
		return dst
	case kindFloat:
		return appendFloat(dst, v.float())
	case kindText:
		return appendString(dst, v.text)
	case kindTime, kindDate:
		dst = append(dst, '"')
		dst = v.appendText(dst)
		return append(dst, '"')
	case kindGUID, kindRef:
		dst = append(dst, '"')
		dst = v.guid.Append(dst)
		return append(dst, '"')
	}
	return append(dst, "null"...)
}

// appendText appends the value as bare text, as in key URLs.
func (v value) appendText(dst []byte) []byte {
	switch v.kind {
	case kindText:
		return append(dst, v.text...)
	case kindTime:
		return v.time().AppendFormat(dst, "2006-01-02T15:04:05Z")
	case kindDate:
		return v.time().AppendFormat(dst, "2006-01-02")
	case kindGUID, kindRef:
		return v.guid.Append(dst)
	case kindNull:
		return dst
	}
	return v.appendJSON(dst, nil)
}

// appendRaw appends the value as $value answers it: money with its four decimals.
func (v value) appendRaw(dst []byte, c *column) []byte {
	if v.kind == kindDecimal {
		return v.appendJSON(dst, c)
	}
	return v.appendText(dst)
}

func (v value) String() string { return string(v.appendText(nil)) }

// padDecimals appends the zeros that text lacks to have n digits after its point.
func padDecimals(dst []byte, text string, n int) []byte {
	for i := range len(text) {
		if text[i] == '.' {
			n -= len(text) - i - 1
			for ; n > 0; n-- {
				dst = append(dst, '0')
			}
			return dst
		}
	}
	dst = append(dst, '.')
	for ; n > 0; n-- {
		dst = append(dst, '0')
	}
	return dst
}

func appendFloat(dst []byte, f float64) []byte {
	n := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	for _, c := range dst[n:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Invalid UTF-8 cannot be in the store.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

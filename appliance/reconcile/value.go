package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/column"
)

// same reports whether got, a value in JSON as the service gave it, is what the
// staged value in row i reads back as (dataverse-web-api.md 4). Nothing staged is
// the same as null, and as the value that the service puts there by itself: any where that is
// not known.
func (f *field) same(v *column.Vector, i int, got []byte) bool {
	if v.Null(i) || v.Type == column.Text && (len(v.TextAt(i)) == 0 || f.loose && len(bytes.TrimSpace(v.TextAt(i))) == 0) {
		return isNull(got) || f.defaulted && (f.standard == "" || f.standard == string(got))
	}
	if isNull(got) {
		return false
	}
	switch f.kind {
	case fileName, fileSize:
		return f.fileText(v, i) == string(unquote(got))
	case text:
		if f.loose {
			return bytes.EqualFold(bytes.TrimSpace(v.TextAt(i)), bytes.TrimSpace(unquote(got)))
		}
		return bytes.Equal(v.TextAt(i), unquote(got))
	case choices:
		want, ok1 := optionSet(v.TextAt(i))
		have, ok2 := optionSet(unquote(got))
		return ok1 && ok2 && slices.Equal(want, have)
	case integer:
		n, err := strconv.ParseInt(string(unquote(got)), 10, 64)
		return err == nil && n == v.Ints[i]
	case decimal:
		var text [48]byte
		return f.sameDecimal(column.AppendDecimal(text[:0], v.Wide[i], int(v.Scale)), unquote(got))
	case float:
		return f.sameFloat(v.Floats[i], unquote(got))
	case boolean:
		return string(got) == strconv.FormatBool(v.Ints[i] != 0)
	case date:
		have := unquote(got)
		var text [len(time.DateOnly) + 4]byte
		return len(have) >= len(time.DateOnly) && bytes.Equal(have[:len(time.DateOnly)], appendDate(text[:0], v, i))
	case timestamp:
		have, err := time.Parse(time.RFC3339, string(unquote(got)))
		return err == nil && have.Unix() == seconds(v, i)
	case guid:
		var id schema.GUID
		return id.UnmarshalText(unquote(got)) == nil && id == schema.GUID(v.UUIDs[i])
	}
	return false
}

// isNull reports whether a JSON value is null; so are one that is not there, and an
// empty text (dataverse-web-api.md 17, trap 20).
func isNull(got []byte) bool {
	return len(got) == 0 || string(got) == "null" || string(got) == `""`
}

// unquote is the text of a JSON string, and any other value as it stands.
func unquote(got []byte) []byte {
	if len(got) < 2 || got[0] != '"' {
		return got
	}
	if bytes.IndexByte(got, '\\') < 0 {
		return got[1 : len(got)-1]
	}
	var s string
	if json.Unmarshal(got, &s) != nil {
		return got
	}
	return []byte(s)
}

// optionSet reads "3,1,1" as 1, 3.
func optionSet(s []byte) ([]int64, bool) {
	var set []int64
	for part := range strings.SplitSeq(string(s), ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 64)
		if err != nil {
			return nil, false
		}
		set = append(set, n)
	}
	slices.Sort(set)
	return slices.Compact(set), true
}

// sameDecimal compares by value, exactly but for the rounding to the precision.
func (f *field) sameDecimal(want, got []byte) bool {
	a, ok := plainNumber(want)
	b, ok2 := plainNumber(got)
	if ok && ok2 && a == b {
		return true
	}
	return f.sameRounded(want, string(got))
}

// sameRounded is sameDecimal for what is not the same as it stands.
func (f *field) sameRounded(want []byte, g string) bool {
	if strings.ContainsAny(g, "eE") {
		x, err := strconv.ParseFloat(g, 64)
		if err != nil {
			return false
		}
		g = strconv.FormatFloat(x, 'f', -1, 64)
	}
	if trimZeros(string(want)) == trimZeros(g) {
		return true
	}
	a, ok1 := new(big.Rat).SetString(string(want))
	b, ok2 := new(big.Rat).SetString(g)
	if !ok1 || !ok2 {
		return false
	}
	gap := a.Sub(a, b)
	half := big.NewRat(1, 2*pow10(f.digitsIn(g)))
	return gap.Abs(gap).Cmp(half) <= 0
}

func (f *field) sameFloat(want float64, got []byte) bool {
	g, err := strconv.ParseFloat(string(got), 64)
	if err != nil {
		return false
	}
	half := 0.5 / float64(pow10(f.digitsIn(string(got))))
	return math.Abs(want-g) <= half*(1+1e-9)+math.Abs(want)*1e-15
}

// digitsIn is the precision to which a value was rounded. Where the schema does not
// say it (an organisation's pricing precision, a poor schema), the digits that came
// back do, but no fewer than two.
func (f *field) digitsIn(got string) int {
	if f.digits >= 0 {
		return f.digits
	}
	_, fraction, _ := strings.Cut(trimZeros(got), ".")
	return min(max(len(fraction), 2), -f.digits)
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// trimZeros drops the zeros after the last digit of a fraction.
func trimZeros[T string | []byte](s T) T {
	end := len(s)
	if point := strings.IndexByte(string(s), '.'); point >= 0 {
		for end > point && (s[end-1] == '0' || end-1 == point) {
			end--
		}
	}
	if s = s[:end]; string(s) == "-0" {
		return s[1:]
	}
	return s
}

func appendDate(dst []byte, v *column.Vector, i int) []byte {
	return time.Unix(v.Ints[i]*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
}

// seconds is a staged time in whole seconds since 1970: what is sent of it.
func seconds(v *column.Vector, i int) int64 { return time.UnixMicro(v.Ints[i]).Unix() }

// wantText shows a staged value the way it would read back.
func (f *field) wantText(v *column.Vector, i int) string { return string(f.appendWant(nil, v, i)) }

func (f *field) appendWant(dst []byte, v *column.Vector, i int) []byte {
	if v.Null(i) {
		return dst
	}
	switch f.kind {
	case fileName, fileSize:
		return append(dst, f.fileText(v, i)...)
	case text, choices:
		return append(dst, v.TextAt(i)...)
	case integer:
		return strconv.AppendInt(dst, v.Ints[i], 10)
	case decimal:
		return column.AppendDecimal(dst, v.Wide[i], int(v.Scale))
	case float:
		return strconv.AppendFloat(dst, v.Floats[i], 'f', -1, 64)
	case boolean:
		return strconv.AppendBool(dst, v.Ints[i] != 0)
	case date:
		return appendDate(dst, v, i)
	case timestamp:
		return time.Unix(seconds(v, i), 0).UTC().AppendFormat(dst, time.RFC3339)
	}
	return schema.GUID(v.UUIDs[i]).Append(dst)
}

// gotText shows a value that was read back.
func (w *comparison) gotText(f *field, got []byte) string {
	if isNull(got) {
		return ""
	}
	text := string(unquote(got))
	if w.o.Hide && f.maskable {
		return hidden(text)
	}
	return text
}

// hidden stands for a value that is not shown.
func hidden(text string) string {
	return fmt.Sprintf("(not shown: %d characters)", utf8.RuneCountInString(text))
}

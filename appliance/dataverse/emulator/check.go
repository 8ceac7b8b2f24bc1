package emulator

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"dvmigrate/appliance/dataverse/schema"
)

// checked turns a literal from a body into the column's value, or says what the
// service would object to (section 4.1). Null is a value.
func (c *column) checked(l jsonLiteral) (value, *apiError) {
	if l.kind == '0' {
		return value{}, nil
	}
	switch c.Type {
	case schema.Text, schema.Memo, schema.TableName:
		return c.checkText(l)
	case schema.Integer:
		return c.checkInteger(l)
	case schema.BigInt:
		n, err := strconv.ParseInt(l.text, 10, 64)
		if err != nil || l.kind != 'n' && l.kind != 's' {
			return value{}, errLiteral(c.t, l.text, "Edm.Int64")
		}
		return intValue(n), nil
	case schema.Decimal, schema.Money:
		return c.checkDecimal(l)
	case schema.Float:
		return c.checkFloat(l)
	case schema.YesNo:
		if l.kind != 't' && l.kind != 'f' {
			return value{}, errLiteral(c.t, l.text, "Edm.Boolean")
		}
		return boolValue(l.kind == 't'), nil
	case schema.Choice, schema.State, schema.Status:
		return c.checkChoice(l)
	case schema.Choices:
		return c.checkChoices(l)
	case schema.DateTime:
		return c.checkTime(l)
	case schema.UniqueID, schema.File:
		g, err := schema.ParseGUID(l.text)
		if err != nil || l.kind != 's' {
			return value{}, errLiteral(c.t, l.text, "Edm.Guid")
		}
		return guidValue(g), nil
	case schema.Image:
		return c.checkImage(l)
	}
	return value{}, nil
}

func (c *column) checkText(l jsonLiteral) (value, *apiError) {
	if l.kind != 's' {
		return value{}, errLiteral(c.t, l.text, "Edm.String")
	}
	if l.text == "" {
		return value{}, nil
	}
	if e := c.checkCharacters(l.text); e != nil {
		return value{}, e
	}
	if c.MaxLength > 0 && len(l.text) > c.MaxLength && utf16Len(l.text) > c.MaxLength {
		return value{}, errorf(http.StatusBadRequest, "0x80044331",
			"A validation error occurred.  The length of the '%s' attribute of the '%s' entity exceeded the maximum allowed length of '%d'.", c.LogicalName, c.t.LogicalName, c.MaxLength)
	}
	return textValue(l.text), nil
}

// checkCharacters refuses what XML 1.0 has no character for (section 4.2).
func (c *column) checkCharacters(s string) *apiError {
	for i := range len(s) {
		b := s[i]
		if b >= 0x20 && b < 0x80 || b == '\t' || b == '\n' || b == '\r' {
			continue
		}
		if b >= 0x80 && !c.ASCII {
			if b == 0xEF && strings.HasPrefix(s[i:], "\uFFFE") || b == 0xEF && strings.HasPrefix(s[i:], "\uFFFF") {
				return c.errCharacters()
			}
			continue
		}
		return c.errCharacters()
	}
	return nil
}

func (c *column) errCharacters() *apiError {
	return errorf(http.StatusBadRequest, "0x80040278", "The field '%s' contains one or more invalid characters.", c.LogicalName)
}

// utf16Len counts UTF-16 code units, which is how the service measures text.
func utf16Len(s string) int {
	n := utf8.RuneCountInString(s)
	for i := range len(s) {
		if s[i] >= 0xF0 {
			n++
		}
	}
	return n
}

func (c *column) checkInteger(l jsonLiteral) (value, *apiError) {
	n, err := strconv.ParseInt(l.text, 10, 32)
	if err != nil || l.kind != 'n' && l.kind != 's' {
		return value{}, errLiteral(c.t, l.text, "Edm.Int32")
	}
	if c.outside(float64(n)) {
		return value{}, c.errRange()
	}
	return intValue(n), nil
}

func (c *column) outside(f float64) bool {
	return c.Min != nil && f < *c.Min || c.Max != nil && f > *c.Max
}

func (c *column) errRange() *apiError {
	return errorf(http.StatusBadRequest, "0x80044330", "A validation error occurred. The value of '%s' on record of type '%s' is outside the valid range.", c.LogicalName, c.t.LogicalName)
}

const (
	maxMoney   = 922337203685477
	maxDecimal = 1e11
)

func (c *column) checkDecimal(l jsonLiteral) (value, *apiError) {
	d, ok := canonicalDecimal(l.text)
	if !ok || l.kind != 'n' && l.kind != 's' {
		return value{}, errLiteral(c.t, l.text, "Edm.Decimal")
	}
	digits := precision(c)
	if c.Type == schema.Money && c.PrecisionSource != 0 {
		digits = 2 // the organisation's pricing precision, and the base currency's
	}
	d = roundDecimal(d, digits)
	f, _ := strconv.ParseFloat(d, 64)
	if c.Type == schema.Money {
		if math.Abs(f) > maxMoney || c.outside(f) {
			return value{}, errorf(http.StatusBadRequest, "0x80040317", "Supplied value exceeded the MIN/MAX value of Money Type field.")
		}
		return decimalValue(d), nil
	}
	if math.Abs(f) > maxDecimal || c.outside(f) {
		return value{}, c.errRange()
	}
	return decimalValue(d), nil
}

func (c *column) checkFloat(l jsonLiteral) (value, *apiError) {
	f, err := strconv.ParseFloat(l.text, 64)
	if err != nil || l.kind != 'n' && l.kind != 's' || math.IsNaN(f) || math.IsInf(f, 0) {
		return value{}, errLiteral(c.t, l.text, "Edm.Double")
	}
	if math.Abs(f) > maxDecimal || c.outside(f) {
		return value{}, c.errRange()
	}
	scale := math.Pow10(precision(c))
	return floatValue(math.Round(f*scale) / scale), nil
}

func (c *column) checkChoice(l jsonLiteral) (value, *apiError) {
	n, err := strconv.ParseInt(l.text, 10, 32)
	if err != nil || l.kind != 'n' && l.kind != 's' {
		return value{}, errLiteral(c.t, l.text, "Edm.Int32")
	}
	if len(c.Options) > 0 && c.Option(int32(n)) == nil && c.Type == schema.Choice {
		return value{}, c.errOption(l.text)
	}
	return intValue(n), nil
}

func (c *column) errOption(text string) *apiError {
	accepted := make([]string, len(c.Options))
	for i, o := range c.Options {
		accepted[i] = strconv.Itoa(int(o.Value))
	}
	return errorf(http.StatusBadRequest, "0x8004431A", "A validation error occurred. The value %s of '%s' on record of type '%s' is outside the valid range. Accepted Values: %s",
		text, c.LogicalName, c.t.LogicalName, strings.Join(accepted, ","))
}

const maxSelections = 150

func (c *column) checkChoices(l jsonLiteral) (value, *apiError) {
	if l.kind != 's' {
		return value{}, errLiteral(c.t, l.text, "Edm.String")
	}
	if l.text == "" {
		return value{}, nil
	}
	var out []byte
	n := 0
	for part := range strings.SplitSeq(l.text, ",") {
		part = strings.TrimSpace(part)
		v, err := strconv.ParseInt(part, 10, 32)
		if err != nil {
			return value{}, errLiteral(c.t, l.text, "Edm.Int32")
		}
		if len(c.Options) > 0 && c.Option(int32(v)) == nil {
			return value{}, c.errOption(part)
		}
		if n++; n > 1 {
			out = append(out, ',')
		}
		out = strconv.AppendInt(out, v, 10)
	}
	if n > maxSelections {
		return value{}, errorf(http.StatusBadRequest, "0x80050222", "Number of selections for MultiSelectPicklist Attribute Type exceeded maximum limit: %d.", maxSelections)
	}
	return textValue(string(out)), nil
}

// The first and last moment of a date column (section 4.4).
const (
	minTime = -6847804800  // 1753-01-01T00:00:00Z
	maxTime = 253402214399 // 9999-12-30T23:59:59Z
)

func (c *column) checkTime(l jsonLiteral) (value, *apiError) {
	v := value{kind: intKind(c)}
	var ok bool
	edm := "Edm.DateTimeOffset"
	seconds := int64(1)
	if v.kind == kindDate {
		edm, seconds = "Edm.Date", 86400
		v.n, ok = parseDate(l.text)
	} else {
		v.n, ok = parseTime(l.text)
	}
	if !ok || l.kind != 's' {
		return value{}, errLiteral(c.t, l.text, edm)
	}
	const form = "01/02/2006 15:04:05"
	if v.n*seconds < minTime {
		return value{}, errorf(http.StatusBadRequest, "0x80040239", "DateTime is less than minumum value supported by CrmDateTime. Actual value: %s, Minimum value supported: 01/01/1753 00:00:00", v.time().Format(form))
	}
	if v.n*seconds > maxTime {
		return value{}, errorf(http.StatusBadRequest, "0x80040239", "DateTime is greater than maximum value supported by CrmDateTime. Actual value: %s, Maximum value supported: 12/30/9999 23:59:59", v.time().Format(form))
	}
	return v, nil
}

func (c *column) checkImage(l jsonLiteral) (value, *apiError) {
	if l.kind != 's' {
		return value{}, errLiteral(c.t, l.text, "Edm.Binary")
	}
	data, err := base64.StdEncoding.DecodeString(l.text)
	switch {
	case err != nil:
		return value{}, errLiteral(c.t, fmt.Sprintf("%.20s", l.text), "Edm.Binary")
	case len(data) > c.most():
		return value{}, errFileTooBig()
	case !isImage(data):
		return value{}, errImage()
	}
	return textValue(l.text), nil
}

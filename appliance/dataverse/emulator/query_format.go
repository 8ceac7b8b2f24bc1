package emulator

import (
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// formatted is a value as a person in the United States reads it: labels, the
// names of looked-up rows, dates in UTC. ok is false for text, which is not
// formatted, and for null.
func formatted(tx *tx, c *column, v value) (text string, ok bool) {
	switch v.kind {
	case kindNull, kindGUID:
		return "", false
	case kindBool:
		return yesNoLabel(c, v.n), true
	case kindInt:
		if c.Type == schema.BigInt || c.Type == schema.Integer {
			return groupDigits(v.String()), true
		}
		return optionLabel(c, v.String()), true
	case kindDecimal:
		text := fixed(v.text, shownDigits(c))
		if c.Type == schema.Money {
			return strings.Replace("$"+groupDigits(text), "$-", "-$", 1), true
		}
		return groupDigits(text), true
	case kindFloat:
		return groupDigits(strconv.FormatFloat(v.float(), 'f', shownDigits(c), 64)), true
	case kindTime:
		if c.Format == "DateOnly" {
			return v.time().Format("1/2/2006"), true
		}
		return v.time().Format("1/2/2006 3:04 PM"), true
	case kindDate:
		return v.time().Format("1/2/2006"), true
	case kindRef:
		name := recordName(tx, v)
		return name, name != ""
	}
	if c.Type != schema.Choices {
		return "", false
	}
	var labels []string
	for part := range strings.SplitSeq(v.text, ",") {
		labels = append(labels, optionLabel(c, part))
	}
	return strings.Join(labels, "; "), true
}

func yesNoLabel(c *column, n int64) string {
	if o := c.Option(int32(n)); o != nil {
		return o.Label
	}
	return [...]string{"No", "Yes"}[n&1]
}

// optionLabel is the label of an option's value, or the value where it has none.
func optionLabel(c *column, text string) string {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		if o := c.Option(int32(n)); o != nil && o.Label != "" {
			return o.Label
		}
	}
	return text
}

// recordName is the primary name of a looked-up row.
func recordName(tx *tx, v value) string {
	if v.target == nil || v.target.byName[v.target.PrimaryName] == nil {
		return ""
	}
	r, ok := tx.row(v.target, v.guid)
	if !ok {
		return ""
	}
	return r.value(v.target.byName[v.target.PrimaryName]).text
}

// fixed gives a decimal n digits after its point.
func fixed(text string, n int) string {
	text = roundDecimal(text, n)
	if n == 0 {
		return text
	}
	return string(padDecimals([]byte(text), text, n))
}

// groupDigits puts a comma between groups of three digits.
func groupDigits(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	whole, frac, point := strings.Cut(text, ".")
	var b strings.Builder
	b.WriteString(sign)
	for i, d := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	if point {
		b.WriteString("." + frac)
	}
	return b.String()
}

// shownDigits is how many digits after the point a formatted value has: two where the schema does not say.
func shownDigits(c *column) int {
	if c.Precision == nil {
		return 2
	}
	return *c.Precision
}

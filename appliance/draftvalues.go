package appliance

import (
	"fmt"
	"regexp"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage"
)

// Forms of texts, as a profile writes them.
var (
	germanNumber  = regexp.MustCompile(`^-?[9…]+(\.[9…]+)*,9+$`)
	englishNumber = regexp.MustCompile(`^-?[9…]+(,[9…]+)+(\.9+)?$`)
	germanDay     = regexp.MustCompile(`^99?\.99?\.9999$`)
	germanTime    = regexp.MustCompile(`^99?\.99?\.9999 99?:99$`)
	germanSecond  = regexp.MustCompile(`^99?\.99?\.9999 99?:99:99$`)
	slashDay      = regexp.MustCompile(`^99?/99?/9999$`)
)

// convert is a text as a value of the target's type.
func convert(value string, c SourceColumn, col *schema.Column) (expr, remark string) {
	form := ""
	if len(c.Patterns) > 0 {
		form = c.Patterns[0].Value
	}
	isText := c.SQLType == "VARCHAR"
	switch col.Type {
	case schema.Text, schema.Memo:
		if col.MaxLength > 0 && c.MaxLength > int64(col.MaxLength) {
			remark = fmt.Sprintf("the longest has %d characters, %d fit ???", c.MaxLength, col.MaxLength)
		}
		if isText {
			value = "nullif(trim(" + value + "), '')"
		}
	case schema.Integer, schema.BigInt, schema.Decimal, schema.Money, schema.Float:
		switch {
		case isText && germanNumber.MatchString(form):
			value = "replace(replace(" + value + ", '.', ''), ',', '.')"
		case isText && englishNumber.MatchString(form):
			value = "replace(" + value + ", ',', '')"
		}
	case schema.DateTime:
		for _, f := range []struct {
			form *regexp.Regexp
			text string
		}{{germanDay, "%d.%m.%Y"}, {germanTime, "%d.%m.%Y %H:%M"}, {germanSecond, "%d.%m.%Y %H:%M:%S"}, {slashDay, "%m/%d/%Y"}} {
			if isText && f.form.MatchString(form) {
				value = "try_strptime(" + value + ", '" + f.text + "')"
				if f.form == slashDay {
					remark = "month first ???"
				}
			}
		}
	case schema.YesNo:
		if yes := yesOf(c); isText && yes != "" {
			value = value + " = " + duckstage.Quote(yes)
		} else if isText {
			remark = "which value means yes ???"
		}
	}
	return value, remark
}

// yesOf is the value that means yes; "" when none does.
func yesOf(c SourceColumn) string {
	for _, v := range c.Top {
		switch strings.ToLower(v.Value) {
		case "j", "ja", "y", "yes", "true", "1", "x", "s", "si", "sí", "o", "oui":
			return v.Value
		}
	}
	return ""
}

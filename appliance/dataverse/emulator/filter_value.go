package emulator

import (
	"math/big"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// valueKind is the kind of a column's values.
func valueKind(c *column) kind {
	switch c.Type {
	case schema.Integer, schema.BigInt, schema.Choice, schema.State, schema.Status:
		return kindInt
	case schema.YesNo, schema.DateTime:
		return intKind(c)
	case schema.Decimal, schema.Money:
		return kindDecimal
	case schema.Float:
		return kindFloat
	case schema.UniqueID, schema.File:
		return kindGUID
	case schema.Lookup, schema.Customer, schema.Owner:
		return kindRef
	}
	return kindText
}

// edmType is the column's EDM type (section 4).
func edmType(c *column) string {
	switch valueKind(c) {
	case kindInt:
		if c.Type == schema.BigInt {
			return "Edm.Int64"
		}
		return "Edm.Int32"
	case kindBool:
		return "Edm.Boolean"
	case kindDecimal:
		return "Edm.Decimal"
	case kindFloat:
		return "Edm.Double"
	case kindTime:
		return "Edm.DateTimeOffset"
	case kindDate:
		return "Edm.Date"
	case kindGUID, kindRef:
		return "Edm.Guid"
	}
	if c.Type == schema.Image {
		return "Edm.Binary"
	}
	return "Edm.String"
}

// literalFor brings a literal to the form of the column's values; ok is false when
// the types do not go together. Numbers of any kind may be compared.
func literalFor(c *column, l literal) (v value, ok bool) {
	if l.kind == litNull {
		return value{}, true
	}
	switch k := valueKind(c); k {
	case kindText:
		return textValue(l.text), l.kind == litString
	case kindBool:
		return boolValue(l.text == "true"), l.kind == litBool
	case kindInt, kindDecimal, kindFloat:
		if l.kind != litNumber {
			return v, false
		}
		if n, err := strconv.ParseInt(l.text, 10, 64); err == nil && k == kindInt {
			return intValue(n), true
		}
		if k == kindFloat {
			return floatValue(parseFloat(l.text)), true
		}
		d, ok := canonicalDecimal(l.text)
		if n, err := strconv.ParseInt(d, 10, 64); err == nil && k == kindInt {
			return intValue(n), true // 5.0
		}
		return decimalValue(d), ok
	case kindTime:
		n, ok := parseTime(l.text)
		return value{kind: k, n: n}, ok && (l.kind == litTime || l.kind == litDate)
	case kindDate:
		n, ok := parseDate(l.text)
		return value{kind: k, n: n}, ok && l.kind == litDate
	}
	g, err := schema.ParseGUID(l.text)
	return guidValue(g), err == nil && l.kind == litGUID
}

// textFor reads a value that a query function's arguments give as a string,
// whatever the column's type (Microsoft.Dynamics.CRM.In takes strings only).
func textFor(c *column, l literal) (value, bool) {
	if l.kind == litString && valueKind(c) != kindText {
		bare, ok := bareLiteral(l.text)
		if !ok {
			bare = literal{kind: litTime, text: l.text}
		}
		l = bare
	} else if valueKind(c) == kindText {
		l.kind = litString
	}
	return literalFor(c, l)
}

// sameValues reports whether two values that are not null are the same.
func (k *collation) sameValues(a, b value) bool {
	if a.kind == kindText {
		return k.same(a.text, b.text)
	}
	return k.compareValues(a, b) == 0
}

// compareValues orders two values that are not null: text by the collation, GUIDs as SQL
// Server does, numbers by what they are worth.
func (k *collation) compareValues(a, b value) int {
	switch {
	case a.kind == kindText:
		return k.compare(a.text, b.text)
	case a.kind == kindGUID || a.kind == kindRef:
		return compareIDs(a.guid, b.guid)
	case a.kind == b.kind && a.kind != kindDecimal && a.kind != kindFloat:
		return compareInts(a.n, b.n)
	case a.kind == kindFloat || b.kind == kindFloat:
		x, y := a.asFloat(), b.asFloat()
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return compareDecimals(a.String(), b.String())
}

func compareIDs(a, b schema.GUID) int {
	x, y := orderOf(a), orderOf(b)
	switch {
	case x == y:
		return 0
	case x.less(y):
		return -1
	}
	return 1
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (v value) asFloat() float64 {
	if v.kind == kindFloat {
		return v.float()
	}
	return parseFloat(v.String())
}

// compareDecimals compares two numbers in plain notation without losing a digit.
func compareDecimals(a, b string) int {
	if a == b {
		return 0
	}
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	if !ok1 || !ok2 {
		return strings.Compare(a, b)
	}
	return x.Cmp(y)
}

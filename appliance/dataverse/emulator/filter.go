package emulator

import (
	"fmt"
	"strconv"
	"strings"
)

// A $filter is parsed into a tree of nodes that knows no table (filter_parse.go),
// then either bound to a table (filter_bind.go) or tried on the objects that
// metadata is made of (filter_object.go).

// node is one condition of a filter.
type node interface{ isNode() }

// logical is terms joined by and, or by or; never fewer than two.
type logical struct {
	or    bool
	terms []node
}

// negation is not(x).
type negation struct{ x node }

// comparison is left op right; op is eq, ne, gt, ge, lt or le.
type comparison struct {
	op          string
	left, right operand
}

// stringTest is contains, startswith or endswith.
type stringTest struct {
	fn          string
	left, right operand
}

// crmTest is a query function of the service: Microsoft.Dynamics.CRM.fn(
// PropertyName=…, PropertyValue=… or PropertyValue1=…, PropertyValue2=… or
// PropertyValues=…).
type crmTest struct {
	fn     string
	path   path
	values []literal
}

// truth is a path to a yes/no column, or true or false, standing alone.
type truth struct{ x operand }

// lambda is nav/any(v:body) or nav/all(v:body); body is nil for any().
type lambda struct {
	nav      string
	all      bool
	variable string
	body     node
}

func (logical) isNode()    {}
func (negation) isNode()   {}
func (comparison) isNode() {}
func (stringTest) isNode() {}
func (crmTest) isNode()    {}
func (truth) isNode()      {}
func (lambda) isNode()     {}

// operand is a path or, when that is nil, a literal.
type operand struct {
	path path
	lit  literal
}

// path is a property, or a navigation property and a property after it.
type path []string

func (p path) String() string { return strings.Join(p, "/") }

type literalKind uint8

const (
	litNull literalKind = iota
	litBool
	litNumber
	litString
	litGUID
	litTime // 2024-05-31T22:00:00Z
	litDate // 2024-05-31
	litEnum // Namespace.Type'Member': text is Member
	litList
)

// literal is a value as it stands in the URL: its text, without quotes.
type literal struct {
	kind literalKind
	text string
	list []literal // litList
}

func (l literal) String() string {
	switch l.kind {
	case litNull:
		return "null"
	case litString:
		return "'" + l.text + "'"
	}
	return l.text
}

// edmName is the type of the literal as error messages name it.
func (l literal) edmName() string {
	switch l.kind {
	case litBool:
		return "Edm.Boolean"
	case litNumber:
		switch {
		case strings.ContainsAny(l.text, ".eE"):
			return "Edm.Decimal"
		case len(l.text) > 10:
			return "Edm.Int64"
		}
		return "Edm.Int32"
	case litGUID:
		return "Edm.Guid"
	case litTime:
		return "Edm.DateTimeOffset"
	case litDate:
		return "Edm.Date"
	}
	return "Edm.String"
}

// errIncompatible is the service's answer to a comparison of two types.
func errIncompatible(left, right, op string) *apiError {
	names := map[string]string{"eq": "Equal", "ne": "NotEqual", "gt": "GreaterThan", "ge": "GreaterThanOrEqual", "lt": "LessThan", "le": "LessThanOrEqual"}
	return errURL("A binary operator with incompatible types was detected. Found operand types '%s' and '%s' for operator kind '%s'.", left, right, names[op])
}

// errSyntax is the service's answer to a filter it cannot read.
func errSyntax(text string, at int) *apiError {
	return errURL("Syntax error at position %d in '%s'.", at, clip(text))
}

func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "..."
	}
	return s
}

// unsupported is the answer to a construct that OData has and the service lacks.
func unsupported(what string, args ...any) *apiError {
	return errURL("%s is not supported.", fmt.Sprintf(what, args...))
}

func parseFloat(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

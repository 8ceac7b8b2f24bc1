package emulator

import (
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// holds tries a filter on an object of the metadata, or on a made-up row. Only
// what section 12.1 lists is known: primitives, enumerations and X/Value, which
// is also how a made-up row's expanded parent is reached.
func (o object) holds(n node, typ string) (bool, error) {
	switch n := n.(type) {
	case logical:
		for _, t := range n.terms {
			ok, err := o.holds(t, typ)
			if err != nil || ok == n.or {
				return ok, err
			}
		}
		return !n.or, nil
	case negation:
		ok, err := o.holds(n.x, typ)
		return !ok, err
	case truth:
		v, err := o.operand(n.x, typ)
		return v == true, err
	case comparison:
		return o.compare(n, typ)
	case stringTest:
		return o.stringTest(n, typ)
	case crmTest:
		return o.crmTest(n, typ)
	}
	return false, unsupported("A lambda expression on '%s'", typ)
}

func (o object) operand(x operand, typ string) (any, error) {
	if x.path == nil {
		return literalAny(x.lit), nil
	}
	var v any = o
	for _, name := range x.path {
		inner, ok := v.(object)
		if !ok {
			if v == nil {
				return nil, nil
			}
			return nil, errURL("Could not find a property named '%s' on type 'Microsoft.Dynamics.CRM.%s'.", name, typ)
		}
		if v, ok = inner.get(name); !ok {
			return nil, errURL("Could not find a property named '%s' on type 'Microsoft.Dynamics.CRM.%s'.", name, typ)
		}
	}
	return v, nil
}

// literalAny brings a literal to the form of an object's values.
func literalAny(l literal) any {
	switch l.kind {
	case litBool:
		return l.text == "true"
	case litNumber:
		return parseFloat(l.text)
	case litGUID:
		g, _ := schema.ParseGUID(l.text)
		return g
	case litNull, litList:
		return nil
	}
	return l.text
}

func (o object) compare(c comparison, typ string) (bool, error) {
	a, err := o.operand(c.left, typ)
	if err != nil {
		return false, err
	}
	b, err := o.operand(c.right, typ)
	if err != nil {
		return false, err
	}
	if a == nil || b == nil {
		return (a == nil && b == nil) == (c.op == "eq") && (c.op == "eq" || c.op == "ne"), nil
	}
	order, ok := compareAny(a, b)
	if !ok {
		return false, errIncompatible(edmOf(a), edmOf(b), c.op)
	}
	return holdsOrder(c.op, order), nil
}

// holdsOrder tells whether an order of -1, 0 or 1 satisfies the operator.
func holdsOrder(op string, order int) bool {
	switch op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	}
	return order <= 0
}

func compareAny(a, b any) (int, bool) {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return strings.Compare(strings.ToLower(a), strings.ToLower(b)), ok
	case bool:
		b, ok := b.(bool)
		switch {
		case a == b:
			return 0, ok
		case b:
			return -1, ok
		}
		return 1, ok
	case schema.GUID:
		b, ok := b.(schema.GUID)
		return strings.Compare(string(a[:]), string(b[:])), ok
	case int:
		return compareAny(float64(a), b)
	case float64:
		if i, ok := b.(int); ok {
			b = float64(i)
		}
		b, ok := b.(float64)
		switch {
		case a < b:
			return -1, ok
		case a > b:
			return 1, ok
		}
		return 0, ok
	}
	return 0, false
}

func edmOf(v any) string {
	switch v.(type) {
	case bool:
		return "Edm.Boolean"
	case int:
		return "Edm.Int32"
	case float64:
		return "Edm.Double"
	case schema.GUID:
		return "Edm.Guid"
	}
	return "Edm.String"
}

func (o object) stringTest(t stringTest, typ string) (bool, error) {
	a, err := o.operand(t.left, typ)
	if err != nil {
		return false, err
	}
	b, err := o.operand(t.right, typ)
	if err != nil {
		return false, err
	}
	text, _ := a.(string)
	part, _ := b.(string)
	return matchText(t.fn, strings.ToLower(text), strings.ToLower(part)), nil
}

// matchText runs contains, startswith or endswith on text already folded.
func matchText(fn, text, part string) bool {
	switch fn {
	case "contains":
		return strings.Contains(text, part)
	case "startswith":
		return strings.HasPrefix(text, part)
	}
	return strings.HasSuffix(text, part)
}

func (o object) crmTest(t crmTest, typ string) (bool, error) {
	if t.fn != "In" && t.fn != "NotIn" {
		return false, unsupported("The function '%s%s' on '%s'", namespace, t.fn, typ)
	}
	v, err := o.operand(operand{path: t.path}, typ)
	if err != nil {
		return false, err
	}
	text := ""
	switch v := v.(type) {
	case string:
		text = v
	case nil:
	default:
		text = strings.Trim(string(appendAny(nil, v)), `"`)
	}
	for _, l := range t.values {
		if v != nil && strings.EqualFold(l.text, text) {
			return t.fn == "In", nil
		}
	}
	return t.fn == "NotIn", nil
}

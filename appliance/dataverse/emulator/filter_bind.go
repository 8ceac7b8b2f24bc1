package emulator

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// predicate tells whether a row satisfies a filter. A comparison with null is
// false, but for ne (and eq null): the service adds "or is null" to ne.
type predicate func(tx *tx, r row) bool

// binding is what a filter is bound to: the table its paths start at, the caller
// and the time that EqualUserId, LastXDays and their like need.
type binding struct {
	t    *table
	user schema.GUID
	now  int64
}

// accessor reads a property of a row, or of the row an N:1 path leads to.
type accessor struct {
	nav *relation // nil for the row's own
	col *column
}

func (a accessor) value(tx *tx, r row) value {
	if a.nav == nil {
		return r.value(a.col)
	}
	ref := r.value(a.nav.col)
	if ref.kind != kindRef || ref.target != a.nav.target {
		return value{}
	}
	if a.col == a.nav.target.id {
		return guidValue(ref.guid)
	}
	parent, ok := tx.row(ref.target, ref.guid)
	if !ok {
		return value{}
	}
	return parent.value(a.col)
}

// resolve finds what a path names: a property, or one property after one
// single-valued navigation property (section 10.1).
func (t *table) resolve(p path) (accessor, error) {
	if len(p) > 2 {
		return accessor{}, unsupported("The path '%s', which has more than one navigation property,", p)
	}
	a := accessor{}
	if len(p) == 2 {
		if a.nav = t.navs[p[0]]; a.nav == nil {
			return a, errNoProperty(t, p[0])
		}
		if a.nav.target == nil { // an owner is a principal, which has nothing but its id
			if p[1] != "ownerid" {
				return a, errURL("Could not find a property named '%s' on type '%sprincipal'.", p[1], namespace)
			}
			return accessor{col: a.nav.col}, nil
		}
		t = a.nav.target
	}
	if a.col = t.find(p[len(p)-1]); a.col == nil || a.col.hidden() {
		return a, errNoProperty(t, p[len(p)-1])
	}
	return a, nil
}

// bind compiles a filter for rows of the binding's table.
func (b binding) bind(n node) (predicate, error) {
	switch n := n.(type) {
	case logical:
		return b.bindLogical(n)
	case negation:
		x, err := b.bind(n.x)
		return func(tx *tx, r row) bool { return !x(tx, r) }, err
	case comparison:
		return b.bindComparison(n)
	case stringTest:
		return b.bindStringTest(n)
	case truth:
		return b.bindComparison(comparison{"eq", n.x, operand{lit: literal{kind: litBool, text: "true"}}})
	case crmTest:
		return b.bindCRMTest(n)
	case lambda:
		return b.bindLambda(n)
	}
	return nil, errSyntax("", 0)
}

func (b binding) bindLogical(n logical) (predicate, error) {
	terms := make([]predicate, len(n.terms))
	for i, t := range n.terms {
		var err error
		if terms[i], err = b.bind(t); err != nil {
			return nil, err
		}
	}
	return func(tx *tx, r row) bool {
		for _, t := range terms {
			if t(tx, r) == n.or {
				return n.or
			}
		}
		return !n.or
	}, nil
}

func (b binding) bindComparison(n comparison) (predicate, error) {
	left, right := n.left, n.right
	if left.path == nil {
		if right.path == nil {
			return nil, unsupported("A comparison of two literals")
		}
		left, right, n.op = right, left, mirror[n.op]
	}
	a, err := b.t.resolve(left.path)
	if err != nil {
		return nil, err
	}
	if right.path != nil {
		other, err := b.t.resolve(right.path)
		if err != nil {
			return nil, err
		}
		if edmType(a.col) != edmType(other.col) {
			return nil, errIncompatible(edmType(a.col), edmType(other.col), n.op)
		}
		return func(tx *tx, r row) bool { return holdsValues(n.op, a.value(tx, r), other.value(tx, r)) }, nil
	}
	want, ok := literalFor(a.col, right.lit)
	if !ok {
		return nil, errIncompatible(edmType(a.col), right.lit.edmName(), n.op)
	}
	return func(tx *tx, r row) bool { return holdsValues(n.op, a.value(tx, r), want) }, nil
}

var mirror = map[string]string{"eq": "eq", "ne": "ne", "gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}

func holdsValues(op string, a, b value) bool {
	if a.isNull() || b.isNull() {
		same := a.isNull() && b.isNull()
		return op == "eq" && same || op == "ne" && !same
	}
	return holdsOrder(op, compareValues(a, b))
}

func (b binding) bindStringTest(n stringTest) (predicate, error) {
	if n.left.path == nil || n.right.path != nil || n.right.lit.kind != litString {
		return nil, unsupported("The function '%s' on anything but a property and a string", n.fn)
	}
	a, err := b.t.resolve(n.left.path)
	if err != nil {
		return nil, err
	}
	if edmType(a.col) != "Edm.String" {
		return nil, errURL("No function signature for the function with name '%s' matches the specified arguments. The function signatures considered are: %s(Edm.String Nullable=true, Edm.String Nullable=true).", n.fn, n.fn)
	}
	part := strings.ToLower(n.right.lit.text)
	return func(tx *tx, r row) bool {
		v := a.value(tx, r)
		return v.kind == kindText && matchText(n.fn, strings.ToLower(v.text), part)
	}, nil
}

// bindLambda compiles any and all over a collection. The body's rows are those of
// the collection.
func (b binding) bindLambda(n lambda) (predicate, error) {
	each, of, err := b.t.collection(n.nav)
	if err != nil {
		return nil, err
	}
	body := predicate(func(*tx, row) bool { return true })
	if n.body != nil {
		inner := b
		inner.t = of
		if body, err = inner.bind(n.body); err != nil {
			return nil, err
		}
	}
	return func(tx *tx, r row) bool {
		for _, id := range each(tx, r.id) {
			child, ok := tx.row(of, id)
			if ok && body(tx, child) != n.all {
				return !n.all
			}
		}
		return n.all
	}, nil
}

// collection finds a collection navigation property: what lists the ids at its
// other end, and the table they are in.
func (t *table) collection(nav string) (func(*tx, schema.GUID) []schema.GUID, *table, error) {
	if rel := t.collections[nav]; rel != nil {
		return func(tx *tx, id schema.GUID) []schema.GUID { return tx.children(rel, id) }, rel.from, nil
	}
	if end, ok := t.nn[nav]; ok {
		return func(tx *tx, id schema.GUID) []schema.GUID { return tx.linked(end, id) }, end.m.tables[1-end.side], nil
	}
	return nil, nil, errNoProperty(t, nav)
}

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

// compareValues orders two values that are not null: text without regard to case
// and trailing blanks, GUIDs as SQL Server does, numbers by what they are worth.
func compareValues(a, b value) int {
	switch {
	case a.kind == kindText:
		return strings.Compare(foldKey(a.text), foldKey(b.text))
	case a.kind == kindGUID || a.kind == kindRef:
		x, y := orderOf(a.guid), orderOf(b.guid)
		switch {
		case x == y:
			return 0
		case x.less(y):
			return -1
		}
		return 1
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

// candidates lists the ids of the rows that may satisfy a filter, in primary-key
// order, where an index can tell: primary keys and alternate keys in eq, In and
// chains of or. ok is false when every row has to be looked at.
func (t *table) candidates(tx *tx, n node) (ids []schema.GUID, ok bool) {
	ids, ok = t.indexed(tx, n)
	slices.SortFunc(ids, func(a, b schema.GUID) int { return compareValues(guidValue(a), guidValue(b)) })
	return slices.Compact(ids), ok
}

func (t *table) indexed(tx *tx, n node) (ids []schema.GUID, ok bool) {
	switch n := n.(type) {
	case comparison:
		return t.keyed(tx, []node{n})
	case logical:
		if !n.or {
			for _, term := range n.terms {
				if ids, ok := t.indexed(tx, term); ok {
					return ids, true
				}
			}
			return t.keyed(tx, n.terms)
		}
		for _, term := range n.terms {
			more, ok := t.indexed(tx, term)
			if !ok {
				return nil, false
			}
			ids = append(ids, more...)
		}
		return ids, true
	case crmTest:
		if n.fn != "In" || len(n.path) != 1 {
			return nil, false
		}
		for _, l := range n.values {
			v, fits := textFor(t.column(n.path[0]), l)
			if !fits {
				continue
			}
			more, ok := t.byEqual(tx, map[*column]value{t.column(n.path[0]): v})
			if !ok {
				return nil, false
			}
			ids = append(ids, more...)
		}
		return ids, len(n.values) > 0
	}
	return nil, false
}

// column is find for a name already known to be good.
func (t *table) column(wire string) *column {
	if c := t.find(wire); c != nil {
		return c
	}
	return t.id
}

// keyed uses the equalities among terms that all have to hold.
func (t *table) keyed(tx *tx, terms []node) ([]schema.GUID, bool) {
	equal := map[*column]value{}
	for _, term := range terms {
		c, ok := term.(comparison)
		if !ok || c.op != "eq" || len(c.left.path) != 1 || c.right.path != nil {
			continue
		}
		col := t.find(c.left.path[0])
		if col == nil {
			continue
		}
		if v, ok := literalFor(col, c.right.lit); ok && !v.isNull() {
			equal[col] = v
		}
	}
	return t.byEqual(tx, equal)
}

func (t *table) byEqual(tx *tx, equal map[*column]value) ([]schema.GUID, bool) {
	if v, ok := equal[t.id]; ok {
		return []schema.GUID{v.guid}, true
	}
	for _, k := range t.keys {
		vals := make([]value, len(k.cols))
		all := !k.Inactive
		for i, c := range k.cols {
			v, ok := equal[c]
			vals[i], all = v, all && ok && !v.isNull()
		}
		if !all {
			continue
		}
		if id, ok := tx.byKey(k, vals); ok {
			return []schema.GUID{id}, true
		}
		return nil, true
	}
	return nil, false
}

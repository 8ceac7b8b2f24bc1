package emulator

import (
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
	as  *table    // the row as one of a derived type; nil without a cast
	nav *relation // nil for the row's own
	to  *table    // the row it leads to as one of a derived type
	col *column
}

func (a accessor) value(tx *tx, r row) value {
	if a.as != nil {
		own, ok := tx.row(a.as, r.id)
		if !ok {
			return value{}
		}
		r = own
	}
	if a.nav == nil {
		return r.value(a.col)
	}
	ref := r.value(a.nav.col)
	if a.to == nil && a.col == a.nav.target.id {
		if ref.kind != kindRef || ref.target != a.nav.target {
			return value{}
		}
		return guidValue(ref.guid)
	}
	parent, ok := tx.led(a.nav, a.to, ref)
	if !ok {
		return value{}
	}
	return parent.value(a.col)
}

// resolve finds what a path names: a property, or one property after one
// single-valued navigation property (section 10.1). A type-cast segment may stand before
// either.
func (t *table) resolve(p path) (a accessor, err error) {
	whole := p
	if len(p) > 1 && isType(p[0]) {
		if t, err = castOf([]*table{t}, p[0]); err != nil {
			return a, err
		}
		a.as, p = t, p[1:]
	}
	if len(p) > 1 {
		if a.nav = t.navs[p[0]]; a.nav == nil {
			return a, errNoProperty(t, p[0])
		}
		if t.isElastic() {
			return a, errElasticLink()
		}
		t, p = a.nav.target, p[1:]
		if len(p) > 1 && isType(p[0]) {
			if a.to, err = castOf(a.nav.leadsTo(), p[0]); err != nil {
				return a, err
			}
			t, p = a.to, p[1:]
		}
		if len(p) > 1 {
			return a, unsupported("The path '%s', which has more than one navigation property,", whole)
		}
		if t == nil { // an owner is a principal, which has nothing but its id
			if p[0] != "ownerid" {
				return a, errPrincipal(p[0])
			}
			return accessor{as: a.as, col: a.nav.col}, nil
		}
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
		return func(tx *tx, r row) bool { return b.t.texts.holds(n.op, a.value(tx, r), other.value(tx, r)) }, nil
	}
	want, ok := literalFor(a.col, right.lit)
	if !ok {
		return nil, errIncompatible(edmType(a.col), right.lit.edmName(), n.op)
	}
	return func(tx *tx, r row) bool { return b.t.texts.holds(n.op, a.value(tx, r), want) }, nil
}

var mirror = map[string]string{"eq": "eq", "ne": "ne", "gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}

func (k *collation) holds(op string, a, b value) bool {
	if a.isNull() || b.isNull() {
		same := a.isNull() && b.isNull()
		return op == "eq" && same || op == "ne" && !same
	}
	switch op {
	case "eq", "ne": // the order costs more
		return k.sameValues(a, b) == (op == "eq")
	}
	return holdsOrder(op, k.compareValues(a, b))
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
	part := b.t.texts.fold(n.right.lit.text)
	return func(tx *tx, r row) bool {
		v := a.value(tx, r)
		return v.kind == kindText && matchText(n.fn, b.t.texts.fold(v.text), part)
	}, nil
}

// bindLambda compiles any and all over a collection. The body's rows are those of
// the collection.
func (b binding) bindLambda(n lambda) (predicate, error) {
	each, of, err := b.t.collection(n.nav)
	if err != nil {
		return nil, err
	}
	if b.t.isElastic() || of.isElastic() {
		return nil, errElasticLink()
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
// A type-cast segment may follow its name.
func (t *table) collection(nav string) (func(*tx, schema.GUID) []schema.GUID, *table, error) {
	if name, cast, ok := strings.Cut(nav, "/"); ok {
		each, of, err := t.collection(name)
		if err != nil {
			return nil, nil, err
		}
		return castCollection(each, of, cast)
	}
	if rel := t.collections[nav]; rel != nil {
		return func(tx *tx, id schema.GUID) []schema.GUID { return tx.collected(rel, id) }, rel.from, nil
	}
	if end, ok := t.nn[nav]; ok {
		return func(tx *tx, id schema.GUID) []schema.GUID { return tx.linked(end, id) }, end.m.tables[1-end.side], nil
	}
	return nil, nil, errNoProperty(t, nav)
}

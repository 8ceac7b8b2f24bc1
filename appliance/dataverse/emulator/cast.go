package emulator

import (
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// A type-cast segment (Microsoft.Dynamics.CRM.task) takes rows as those of a type that
// derives from the declared one: a kind of activity of activitypointer, a user or team
// of the principal that ownerid leads to (section 12.6), and of any table itself. It
// may follow a set, a row or a navigation property, in a path, $expand, $filter and
// $orderby. Rows of another type are left out; a property of one is null.

// isType reports whether a name may be a type-cast segment: bound operations look alike.
func isType(name string) bool { return strings.HasPrefix(name, namespace) }

// castOf finds the table that a type-cast segment names, where rows of one of the tables
// may be of it.
func castOf(tables []*table, name string) (*table, error) {
	for _, t := range tables {
		for _, d := range append([]*table{t}, t.activities...) {
			if namespace+d.LogicalName == name {
				return d, nil
			}
		}
	}
	return nil, errURL("Encountered invalid type cast. '%s' is not assignable from '%s'.", clip(name), namespace+declared(tables))
}

// declared names the type of what leads to one of the tables.
func declared(tables []*table) string {
	if len(tables) == 1 {
		return tables[0].LogicalName
	}
	return "principal"
}

// led is the row that a lookup leads to, as a row of the table to where there is a cast.
func (tx *tx) led(rel *relation, to *table, v value) (row, bool) {
	want := rel.target
	if want == nil {
		want = to // of a principal
	}
	if v.kind != kindRef || want != nil && v.target != want {
		return row{}, false
	}
	if to == nil {
		to = v.target
	}
	return tx.row(to, v.guid)
}

// leadsTo lists the tables of the rows that a lookup may lead to by the relationship.
func (rel *relation) leadsTo() []*table {
	if rel.target == nil {
		return rel.col.targets
	}
	return []*table{rel.target}
}

// errPrincipal refuses a column of a user or team where what leads there says no more
// than that it is a principal.
func errPrincipal(name string) error {
	return errURL("Could not find a property named '%s' on type '%sprincipal'.", clip(name), namespace)
}

// castCollection takes of a collection's rows those of the type.
func castCollection(each func(*tx, schema.GUID) []schema.GUID, of *table, cast string) (func(*tx, schema.GUID) []schema.GUID, *table, error) {
	to, err := castOf([]*table{of}, cast)
	if err != nil || to == of {
		return each, of, err
	}
	return func(tx *tx, id schema.GUID) []schema.GUID {
		return slices.DeleteFunc(each(tx, id), func(id schema.GUID) bool { _, ok := tx.row(to, id); return !ok })
	}, to, nil
}

// castPath takes the type-cast segments off the path's beginning, where they follow a set
// or a row: what comes after is as if the path began with the derived type's set.
func (c *call) castPath() error {
	for len(c.segs) > 1 && isType(c.segs[1].name) {
		first, cast := c.segs[0], c.segs[1]
		if operation := strings.TrimPrefix(cast.name, namespace); c.srv.model.byName[operation] == nil || cast.hasKey && first.hasKey {
			return nil
		}
		to, err := castOf([]*table{c.table}, cast.name)
		if err != nil {
			return err
		}
		c.resource = or(c.resource, first.name) + "/" + cast.name
		if cast.hasKey {
			first.key, first.hasKey = cast.key, true
		}
		c.table, c.segs = to, append([]segment{first}, c.segs[2:]...)
	}
	return nil
}

// resourceOf is what an answer's context says its rows are: a table's set, with the
// casts of the request's path.
func (c *call) resourceOf(t *table) string {
	if c.resource != "" && t == c.table {
		return c.resource
	}
	return t.EntitySet
}

// follow goes on from the row that a lookup of the path leads to, as if the rest of the
// path began there; 204 where there is none.
func (c *call) follow(rel *relation, to *table, rest []segment) error {
	var parent row
	found := false
	err := c.view(func(tx *tx) error {
		r, err := c.findRow(tx, c.table, c.segs[0].key)
		if err == nil {
			parent, found = tx.led(rel, to, r.value(rel.col))
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !found:
		return c.noContent()
	}
	return c.goOn(parent, rest)
}

// goOn answers a GET of the rest of the path from a row.
func (c *call) goOn(from row, rest []segment) error {
	defer func(t *table, segs []segment) { c.table, c.segs = t, segs }(c.table, c.segs) // what it counts as
	c.table, c.resource = from.t, ""
	c.segs = append([]segment{{from.t.EntitySet, from.id.String(), true}}, rest...)
	sh, err := c.shapeOfRow()
	if err != nil {
		return err
	}
	r, ok := c.srv.routes[sh][c.method]
	if !ok {
		return errMethod(c.method)
	}
	if err := c.mayCall(sh); err != nil {
		return err
	}
	return r.handle(c)
}

package schema

import (
	"cmp"
	"slices"
	"strings"
)

// links finds the N:N relationships: two collections that are each other's
// partner. The relationship's name is its collection's; where the two differ, as
// in x_association and x_association_referenced, it is the shorter one.
func (d *csdlDoc) links(tables []*Table) []ManyToMany {
	byName := make(map[string]*Table, len(tables))
	for _, t := range tables {
		byName[t.LogicalName] = t
	}
	var links []ManyToMany
	taken := map[string]bool{}
	for _, t := range tables {
		for _, n := range d.byName[t.LogicalName].navs {
			back := d.partner(n)
			other := byName[n.target]
			if back == nil || other == nil {
				continue
			}
			m := ManyToMany{SchemaName: n.name, Table1: t.LogicalName, Nav1: n.name, Table2: n.target, Nav2: back.name}
			if !m.first() {
				continue // the other side brings it
			}
			if i := intersect(m, t, other, tables, taken); i != nil {
				taken[i.LogicalName] = true
				i.Kind = Intersect
				m.Intersect = i.LogicalName
				m.Column1, m.Column2 = ends(i, t, other)
			}
			links = append(links, m)
		}
	}
	slices.SortFunc(links, func(a, b ManyToMany) int {
		return cmp.Or(strings.Compare(a.SchemaName, b.SchemaName), strings.Compare(a.Table1, b.Table1))
	})
	return links
}

// partner returns the collection that n is the partner of, or nil when n is not
// half of an N:N relationship.
func (d *csdlDoc) partner(n csdlNav) *csdlNav {
	target := d.byName[n.target]
	if !n.collection || target == nil {
		return nil
	}
	for i := range target.navs {
		if back := &target.navs[i]; back.name == n.partner && back.partner == n.name && back.collection {
			return back
		}
	}
	return nil
}

// first reports whether the relationship is seen from the side that names it.
func (m ManyToMany) first() bool {
	return cmp.Or(
		cmp.Compare(len(m.Nav1), len(m.Nav2)),
		strings.Compare(m.Nav1, m.Nav2),
		strings.Compare(m.Table1, m.Table2),
	) <= 0
}

// intersect finds the table that holds the pairs: one without lookups that has
// an id column for either side, named like the relationship (its schema name
// less "_association"), or the only one with just these columns.
func intersect(m ManyToMany, a, b *Table, tables []*Table, taken map[string]bool) *Table {
	name := strings.ToLower(m.SchemaName)
	var fits []*Table
	for _, t := range tables {
		if taken[t.LogicalName] || t == a || t == b || !t.isPair(a, b) {
			continue
		}
		if t.LogicalName == name || t.LogicalName == strings.TrimSuffix(name, "_association") {
			return t
		}
		fits = append(fits, t)
	}
	if len(fits) == 1 && a != b {
		return fits[0]
	}
	return nil
}

// isPair reports whether the table is nothing but its key and the ids of two records.
func (t *Table) isPair(a, b *Table) bool {
	ids := 0
	for _, c := range t.Columns {
		if c.Type.IsLookup() {
			return false
		}
		if c.Type == UniqueID && c.LogicalName != t.PrimaryID {
			ids++
		}
	}
	one, two := ends(t, a, b)
	return ids == 2 && one != "" && two != ""
}

// ends names the intersect table's columns with the ids of the two sides. Where a
// table meets itself, the second column is the one that is not named for it.
func ends(t, a, b *Table) (one, two string) {
	for _, c := range t.Columns {
		switch {
		case c.Type != UniqueID || c.LogicalName == t.PrimaryID:
		case c.LogicalName == a.PrimaryID && one == "":
			one = c.LogicalName
		case c.LogicalName == b.PrimaryID || a == b:
			two = c.LogicalName
		}
	}
	return one, two
}

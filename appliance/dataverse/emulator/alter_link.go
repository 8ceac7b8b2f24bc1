package emulator

import (
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// addLookup makes a lookup column and its relationship, or gives a lookup that is
// there another target (section 12.9).
func (a *alteration) addLookup(w *wireRelationship) (*schema.Table, error) {
	from, to := a.table(w.ReferencingEntity), a.table(w.ReferencedEntity)
	if from == nil || to == nil {
		return nil, errMetadata("The relationship %s refers to an entity that does not exist.", w.SchemaName)
	}
	if w.SchemaName == "" || w.Lookup == nil || w.Lookup.SchemaName == "" {
		return nil, errMetadata("A one-to-many relationship needs a SchemaName and a Lookup with a SchemaName.")
	}
	for _, r := range from.ManyToOne {
		if r.SchemaName == w.SchemaName {
			return nil, errMetadata("A relationship with the name %s already exists.", w.SchemaName)
		}
	}
	name := strings.ToLower(w.Lookup.SchemaName)
	i := slices.IndexFunc(from.Columns, func(c *schema.Column) bool { return c.LogicalName == name })
	nav := w.Lookup.SchemaName
	if i < 0 {
		c := &schema.Column{LogicalName: name, SchemaName: w.Lookup.SchemaName, Type: schema.Lookup, Targets: []string{to.LogicalName}}
		if err := a.describe(c, w.Lookup); err != nil {
			return nil, err
		}
		from.Columns = append(from.Columns, c)
	} else {
		from.Columns[i].Targets = append(from.Columns[i].Targets, to.LogicalName)
		nav += "_" + to.LogicalName
	}
	from.ManyToOne = append(from.ManyToOne, schema.Relationship{SchemaName: w.SchemaName, Column: name, Target: to.LogicalName, Nav: nav,
		Collection: or(w.ReferencedEntityNavigationPropertyName, w.SchemaName), Cascade: w.CascadeConfiguration})
	return from, nil
}

// addCustomer makes a lookup to account and contact: CreateCustomerRelationships.
func (a *alteration) addCustomer(lookup *wireAttribute, rels []wireRelationship) error {
	for i := range rels {
		rels[i].Lookup = &wireAttribute{SchemaName: lookup.SchemaName, DisplayName: lookup.DisplayName}
		t, err := a.addLookup(&rels[i])
		if err != nil {
			return err
		}
		r := &t.ManyToOne[len(t.ManyToOne)-1]
		r.Nav = lookup.SchemaName + "_" + r.Target
		c := t.Columns[slices.IndexFunc(t.Columns, func(c *schema.Column) bool { return c.LogicalName == r.Column })]
		c.Type = schema.Customer
	}
	return nil
}

// addLink makes an N:N relationship and its intersect table.
func (a *alteration) addLink(w *wireRelationship) error {
	one, two := a.table(w.Entity1LogicalName), a.table(w.Entity2LogicalName)
	name := strings.ToLower(or(w.IntersectEntityName, w.SchemaName))
	switch {
	case one == nil || two == nil:
		return errMetadata("The relationship %s refers to an entity that does not exist.", w.SchemaName)
	case name == "" || a.table(name) != nil:
		return errMetadata("The intersect entity %s of the relationship has no name or exists already.", name)
	}
	m := schema.ManyToMany{SchemaName: w.SchemaName, Intersect: name, Table1: one.LogicalName, Column1: one.PrimaryID, Nav1: or(w.Entity1NavigationPropertyName, w.SchemaName),
		Table2: two.LogicalName, Column2: two.PrimaryID, Nav2: or(w.Entity2NavigationPropertyName, w.SchemaName)}
	if one == two {
		m.Column1, m.Column2 = one.PrimaryID+"one", one.PrimaryID+"two"
	}
	a.ManyToMany = append(a.ManyToMany, m)
	t := &schema.Table{LogicalName: name, SchemaName: or(w.IntersectEntityName, w.SchemaName), EntitySet: name + "set", PrimaryID: name + "id", Kind: schema.Intersect, Custom: true, Ownership: schema.NotOwned}
	for _, c := range []string{t.PrimaryID, m.Column1, m.Column2} {
		t.Columns = append(t.Columns, &schema.Column{LogicalName: c, SchemaName: c, Type: schema.UniqueID, NoCreate: true, NoUpdate: true})
	}
	t.Columns = append(t.Columns, &schema.Column{LogicalName: "versionnumber", SchemaName: "versionnumber", Type: schema.BigInt, NoCreate: true, NoUpdate: true})
	a.Tables = append(a.Tables, t)
	return nil
}

// dropRelationship removes an N:N relationship with its intersect table, or a 1:N
// one with its lookup, which stays while it has another target.
func (a *alteration) dropRelationship(name string) error {
	for i, m := range a.ManyToMany {
		if m.SchemaName == name {
			a.ManyToMany = slices.Delete(a.ManyToMany, i, i+1)
			a.removeTable(m.Intersect)
			return nil
		}
	}
	for _, t := range a.Tables {
		for i, r := range t.ManyToOne {
			if r.SchemaName != name {
				continue
			}
			t.ManyToOne = slices.Delete(t.ManyToOne, i, i+1)
			if !slices.ContainsFunc(t.ManyToOne, func(o schema.Relationship) bool { return o.Column == r.Column }) {
				return a.dropColumn(t, r.Column)
			}
			c := t.Columns[slices.IndexFunc(t.Columns, func(c *schema.Column) bool { return c.LogicalName == r.Column })]
			c.Targets = slices.DeleteFunc(c.Targets, func(s string) bool { return s == r.Target })
			return nil
		}
	}
	return errMetadata("There is no relationship %s.", name)
}

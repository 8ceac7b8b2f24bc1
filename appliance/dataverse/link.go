package dataverse

import (
	"fmt"

	"dvmigrate/appliance/dataverse/schema"
)

// Link is an N:N relationship with the entity sets that its requests name. Make it
// with NewLink.
type Link struct {
	set1, nav1   string
	set2         string
	intersect    string // entity set
	col1, col2   string
	relationship string
}

// Pair is the two records of a link, in the relationship's order.
type Pair struct{ ID1, ID2 schema.GUID }

// NewLink looks up what the relationship's tables are called in addresses. All
// three tables have to be in the schema.
func NewLink(s *schema.Schema, m *schema.ManyToMany) (Link, error) {
	t1, t2, t := s.Table(m.Table1), s.Table(m.Table2), s.Table(m.Intersect)
	switch {
	case t1 == nil:
		return Link{}, fmt.Errorf("link %s: table %s is not in the schema", m.SchemaName, m.Table1)
	case t2 == nil:
		return Link{}, fmt.Errorf("link %s: table %s is not in the schema", m.SchemaName, m.Table2)
	case t == nil:
		return Link{}, fmt.Errorf("link %s: intersect table %s is not in the schema", m.SchemaName, m.Intersect)
	}
	return Link{
		set1: t1.EntitySet, nav1: m.Nav1, set2: t2.EntitySet,
		intersect: t.EntitySet, col1: m.Column1, col2: m.Column2, relationship: m.SchemaName,
	}, nil
}

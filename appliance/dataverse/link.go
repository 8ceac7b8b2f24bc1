package dataverse

import (
	"fmt"

	"dvmigrate/appliance/dataverse/schema"
)

// Link is an N:N relationship with the entity sets that its requests name. Make it
// with NewLink.
type Link struct {
	set1, nav1, set2 string
}

// Pair is the two records of a link, in the relationship's order.
type Pair struct{ ID1, ID2 schema.GUID }

// NewLink looks up what the relationship's tables are called in addresses. All
// three tables have to be in the schema: who compares links reads the intersect table.
func NewLink(s *schema.Schema, m *schema.ManyToMany) (Link, error) {
	t1, t2 := s.Table(m.Table1), s.Table(m.Table2)
	switch {
	case t1 == nil:
		return Link{}, fmt.Errorf("link %s: table %s is not in the schema", m.SchemaName, m.Table1)
	case t2 == nil:
		return Link{}, fmt.Errorf("link %s: table %s is not in the schema", m.SchemaName, m.Table2)
	case s.Table(m.Intersect) == nil:
		return Link{}, fmt.Errorf("link %s: intersect table %s is not in the schema", m.SchemaName, m.Intersect)
	}
	return Link{set1: t1.EntitySet, nav1: m.Nav1, set2: t2.EntitySet}, nil
}

package emulator

import (
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// identityTest is the query functions about the caller and about hierarchies, on the
// values of a column; nil for others, and where the column does not go with them.
func identityTest(fn string, c *column, user schema.GUID, values []value) func(*tx, value) bool {
	if k := valueKind(c); k != kindRef && k != kindGUID {
		return nil
	}
	if len(values) == 1 {
		return hierarchyTest(fn, c, values[0].guid)
	}
	if len(values) > 0 {
		return nil
	}
	switch fn {
	case "EqualUserId", "NotEqualUserId":
		return func(_ *tx, v value) bool { return (!v.isNull() && v.guid == user) == (fn == "EqualUserId") }
	case "EqualBusinessId", "NotEqualBusinessId", "EqualRoleBusinessUnits":
		return func(_ *tx, v value) bool {
			return (!v.isNull() && v.guid == BusinessUnitID) == (fn != "NotEqualBusinessId")
		}
	case "EqualUserTeams", "EqualUserOrUserTeams", "EqualUserOrUserHierarchy", "EqualUserOrUserHierarchyAndTeams":
		return func(tx *tx, v value) bool { return !v.isNull() && tx.isMine(fn, user, v.guid) }
	}
	return nil
}

// isMine reports whether an owner is the user, one of its teams, or one who reports
// to it, as far as the function asks.
func (tx *tx) isMine(fn string, user, owner schema.GUID) bool {
	m := tx.s.model
	if owner == user {
		return fn != "EqualUserTeams"
	}
	if fn != "EqualUserOrUserHierarchy" && slices.Contains(tx.through(m.end("systemuser", "teammembership_association"), user), owner) {
		return true
	}
	users := m.byName["systemuser"]
	if users == nil || fn == "EqualUserTeams" || fn == "EqualUserOrUserTeams" {
		return false
	}
	manager := users.relationOf("parentsystemuserid")
	return manager != nil && slices.Contains(ancestors(tx, manager, owner), user)
}

// hierarchyTest is Under, Above and their like: of the table that the column leads to,
// or of the column's own table for its primary key.
func hierarchyTest(fn string, c *column, at schema.GUID) func(*tx, value) bool {
	t := c.t
	if c != t.id {
		if len(c.targets) != 1 {
			return nil
		}
		t = c.targets[0]
	}
	up := t.selfRelation()
	if up == nil {
		return nil
	}
	under := func(tx *tx, low, high schema.GUID) bool {
		return low != high && slices.Contains(ancestors(tx, up, low), high)
	}
	switch fn {
	case "Under", "UnderOrEqual", "NotUnder":
		return func(tx *tx, v value) bool {
			is := !v.isNull() && (fn == "UnderOrEqual" && v.guid == at || under(tx, v.guid, at))
			return is == (fn != "NotUnder")
		}
	case "Above", "AboveOrEqual":
		return func(tx *tx, v value) bool {
			return !v.isNull() && (fn == "AboveOrEqual" && v.guid == at || under(tx, at, v.guid))
		}
	}
	return nil
}

// selfRelation is the table's lookup to itself that its hierarchy goes by; nil when
// there is none, or several of which none is named as the service's own are.
func (t *table) selfRelation() *relation {
	var found []*relation
	for _, r := range t.incoming {
		if r.from == t {
			found = append(found, r)
		}
	}
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(r *relation) bool { return r.col.LogicalName != "parent"+t.LogicalName+"id" })
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// relationOf is the table's lookup to itself of that name.
func (t *table) relationOf(lookup string) *relation {
	for _, r := range t.incoming {
		if r.from == t && r.col.LogicalName == lookup {
			return r
		}
	}
	return nil
}

// ancestors lists the ids above a row, nearest first. A cycle ends it.
func ancestors(tx *tx, rel *relation, id schema.GUID) []schema.GUID {
	var up []schema.GUID
	for {
		r, ok := tx.row(rel.from, id)
		if !ok {
			return up
		}
		v := r.value(rel.col)
		if v.kind != kindRef || slices.Contains(up, v.guid) {
			return up
		}
		id = v.guid
		up = append(up, id)
	}
}

// wirePath puts the name of a lookup's property in place of its column's: a query
// function takes either.
func (t *table) wirePath(p path) path {
	at := t
	if len(p) == 2 {
		if nav := t.navs[p[0]]; nav != nil && nav.target != nil {
			at = nav.target
		}
	}
	if len(p) == 0 || at.find(p[len(p)-1]) != nil {
		return p
	}
	if c := at.byName[p[len(p)-1]]; c != nil {
		p = slices.Clone(p)
		p[len(p)-1] = c.wire
	}
	return p
}

package appliance

import (
	"fmt"
	"maps"
	"slices"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// need is one privilege that the load needs (dataverse-web-api.md 14.4, 9).
type need struct {
	names []string // of the privilege; any of them will do
	why   string   // "to ...", "for ..."
	owned bool     // reaches as far as the user's role says, and should reach all
}

// touched are the tables on whose records the load needs rights: the mapped ones, and
// those that their lookups point to.
func (p *Project) touched(b *bound) []string {
	names := map[string]bool{}
	for _, t := range b.tables {
		for _, name := range endsOf(t) {
			names[name] = true
		}
		for _, l := range t.Lookups {
			if l.Type == schema.Owner {
				continue
			}
			for _, target := range l.Targets {
				names[target.Table] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// needs are the privileges that loading these tables needs, with the settings as they
// are. names are the privileges' names by table and kind, as far as the environment
// told them.
func (p *Project) needs(b *bound, names map[string]map[string]string) []need {
	n := &needList{schema: p.Schema, names: names, seen: map[string]bool{}}
	if b != nil {
		for _, t := range b.tables {
			n.table(t)
			if p.Config.Table(t.Name).Impersonate != "" {
				n.headers(config.Headers{ImpersonateUser: "createdby"})
			}
			if p.Config.Table(t.Name).Gone == "delete" && t.Link == nil {
				n.on("Delete", t.Name, "for gone: delete")
			}
			n.headers(p.Config.Table(t.Name).Headers)
		}
	} else {
		n.headers(p.Config.Load.Headers)
	}
	return n.list
}

type needList struct {
	schema *schema.Schema
	names  map[string]map[string]string
	seen   map[string]bool
	list   []need
}

func (n *needList) add(why string, owned bool, names ...string) {
	if !n.seen[names[0]] {
		n.seen[names[0]] = true
		n.list = append(n.list, need{names: names, why: why, owned: owned})
	}
}

// on adds a privilege on a table's records.
func (n *needList) on(kind, table, why string) {
	if n.names[table] != nil && n.names[table][kind] == "" && len(n.names[table]) > 0 {
		return // the table has no such right: Assign where nobody owns a record
	}
	t := n.schema.Table(table)
	owned := t == nil || t.Ownership == schema.UserOwned
	if name := n.names[table][kind]; name != "" {
		n.add(why, owned, name)
		return
	}
	own := table
	if t != nil && t.SchemaName != "" {
		own = t.SchemaName
	}
	all := []string{"prv" + kind + own}
	if t != nil && t.Kind == schema.Activity {
		all = append(all, "prv"+kind+"Activity") // all activities share theirs (14.4)
	}
	n.add(why, owned, all...)
}

func (n *needList) table(t *mapping.Table) {
	why := "to load " + t.Name
	if t.Link != nil {
		for _, end := range endsOf(t) {
			n.on("Append", end, why)
			n.on("AppendTo", end, why)
		}
		return
	}
	for _, kind := range []string{"Create", "Read", "Write"} {
		n.on(kind, t.Name, why)
	}
	for _, l := range t.Lookups {
		if l.Type == schema.Owner {
			n.on("Assign", t.Name, "to set the owner of "+t.Name)
			continue
		}
		n.on("Append", t.Name, why)
		for _, target := range l.Targets {
			n.on("AppendTo", target.Table, fmt.Sprintf("for the lookup %s of %s", l.LogicalName, t.Name))
		}
	}
	for _, c := range t.Columns {
		if c.LogicalName == "overriddencreatedon" {
			n.add("to set overriddencreatedon", false, "prvOverrideCreatedOnCreatedBy")
		}
	}
}

// headers adds what the optional headers need.
func (n *needList) headers(h config.Headers) {
	if len(h.Bypass)+len(h.BypassSteps) > 0 {
		n.add("for headers.bypass", false, "prvBypassCustomBusinessLogic")
	}
	if h.Impersonate+h.ImpersonateUser != "" {
		n.add("for headers.impersonate, in a role of its own and not of a team", false, "prvActOnBehalfOfAnotherUser")
	}
}

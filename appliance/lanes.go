package appliance

import (
	"fmt"
	"slices"
	"sync"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
)

// routesAs gives the ways of requests as another user, each made once.
func (p *Project) routesAs(u *users) func(table string, user schema.GUID) (load.Target, error) {
	type key struct {
		table string
		user  schema.GUID
	}
	var mu sync.Mutex // protects made
	made := map[key]*route{}
	return func(table string, user schema.GUID) (load.Target, error) {
		mu.Lock()
		defer mu.Unlock()
		k := key{table, user}
		if made[k] == nil {
			h := p.Config.Table(table).Headers
			h.Impersonate, h.ImpersonateUser = "", user.String()
			r, err := u.route(h)
			if err != nil {
				return nil, err
			}
			made[k] = r
		}
		return made[k], nil
	}
}

// laneFaults are settings that name lookups which the transform does not yield.
func (p *Project) laneFaults(f transformFile, t *mapping.Table) config.Faults {
	s := p.Config.Table(t.Name)
	var faults config.Faults
	at := func(key, message string) {
		faults = append(faults, p.Config.FaultAt("tables."+t.Name+"."+key, fmt.Sprintf("table %s: %s", t.Name, message)))
	}
	if s.ShardBy != "" && t.Lookup(s.ShardBy) == nil {
		at("shard_by", fmt.Sprintf("shard_by: the SELECT yields no lookup %s", s.ShardBy))
	}
	creator := t.Lookup(mapping.CreatedBy)
	switch {
	case s.Impersonate != "" && creator == nil:
		at("impersonate", "impersonate: createdby: the SELECT yields no column createdby, such as existing('systemuser', id) AS createdby")
	case s.Impersonate != "" && slices.ContainsFunc(creator.Targets, func(t mapping.Target) bool { return t.Staged }):
		at("impersonate", "impersonate: createdby: the users have to be in the target already, and are not loaded by this migration")
	case s.Impersonate == "" && creator != nil:
		line, column := findWord(f.sql, mapping.CreatedBy)
		faults = append(faults, config.Fault{File: f.path, Line: line, Column: column, Key: mapping.CreatedBy,
			Message: "column createdby: Dataverse ignores values for this column (set by the service)",
			Hint:    fmt.Sprintf("leave it out, or create the records as those users, with tables: {%s: {impersonate: createdby}}", t.Name)})
	}
	return faults
}

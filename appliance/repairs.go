package appliance

import (
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/preflight"
	"dvmigrate/duckstage/transform"
)

// policy is what the settings say of one column: its own entry, else that of the
// table's other columns, else that of all tables.
func (p *Project) policy(table, column string) preflight.Policy {
	policies := p.Config.Tables[table].Repair
	own := policyOf(policies[column])
	return own.Over(policyOf(policies["*"])).Over(policyOf(p.Config.Repair))
}

func policyOf(r config.Repair) preflight.Policy {
	return preflight.Policy{TooLong: r.TooLong, NotOption: r.NotOption, OutOfRange: r.OutOfRange, WrongType: r.WrongType, Empty: r.Empty, NoTarget: r.NoTarget}
}

// named reports whether a policy is stated for this very column: then it must go with
// it, while one for many columns holds only for those with which it goes.
func (p *Project) named(table, column string) bool {
	_, ok := p.Config.Tables[table].Repair[column]
	return ok
}

// repair puts the project's policies into what the stage computes for a table.
func (p *Project) repair(t *mapping.Table, spec *transform.Table) error {
	at := func(column string, err error) error {
		return config.Faults{p.Config.FaultAt("tables."+t.Name+".repair."+column, fmt.Sprintf("repair of %s: %v", column, err))}
	}
	for column := range p.Config.Tables[t.Name].Repair {
		if column != "*" && t.Lookup(column) == nil && !slices.ContainsFunc(t.Columns, func(c mapping.Column) bool { return c.LogicalName == column }) {
			known := make([]string, 0, len(t.Columns)+len(t.Lookups))
			for _, c := range t.Columns {
				known = append(known, c.LogicalName)
			}
			for _, l := range t.Lookups {
				known = append(known, l.LogicalName)
			}
			f := p.Config.FaultAt("tables."+t.Name+".repair."+column, fmt.Sprintf("repair of %s: the transform of %s yields no such column", column, t.Name))
			f.Hint = didYouMean(column, known)
			return config.Faults{f}
		}
	}
	for i, c := range t.Columns {
		policy := p.policy(t.Name, c.LogicalName)
		value, err := preflight.WrongType(c, policy)
		if err != nil && p.named(t.Name, c.LogicalName) {
			return at(c.LogicalName, err)
		}
		spec.Columns[i].Default = value
	}
	for _, c := range t.Columns {
		repairs, err := preflight.Repairs(&mapping.Table{Columns: []mapping.Column{c}}, func(column string) preflight.Policy { return p.policy(t.Name, column) })
		if err != nil {
			if p.named(t.Name, c.LogicalName) {
				return at(c.LogicalName, err)
			}
			continue
		}
		for _, r := range repairs {
			spec.Repairs = append(spec.Repairs, transform.Repair{Column: r.Column, Bad: r.Bad, Value: r.Value, Note: r.Note})
		}
	}
	if t.Link != nil { // half a link is none
		return nil
	}
	for i, l := range t.Lookups {
		policy := p.policy(t.Name, l.LogicalName)
		var err error
		if spec.Lookups[i].NoTarget, err = standOf(&l, policy.NoTarget); err == nil {
			spec.Lookups[i].Empty, err = standOf(&l, policy.Empty)
		}
		if err != nil && p.named(t.Name, l.LogicalName) {
			return at(l.LogicalName, err)
		}
	}
	return nil
}

// standOf reads what a policy lets stand in for a lookup's record: blank, a legacy key or
// a GUID, and before a colon the table where it may be one of several; nil = none.
func standOf(l *mapping.Lookup, value string) (*transform.Stand, error) {
	switch value {
	case "", preflight.KeepHold:
		return nil, nil
	case preflight.Blank:
		return &transform.Stand{}, nil
	}
	target := &l.Targets[0]
	if table, rest, ok := strings.Cut(value, ":"); ok {
		at := slices.IndexFunc(l.Targets, func(t mapping.Target) bool { return t.Table == table })
		if at < 0 {
			return nil, fmt.Errorf("it cannot point to %s", table)
		}
		target, value = &l.Targets[at], rest
	} else if l.Polymorphic() {
		return nil, fmt.Errorf("it may point to several tables: write %s:%s", target.Table, value)
	}
	if id, err := schema.ParseGUID(value); err == nil {
		return &transform.Stand{Table: target.Table, ID: id.String()}, nil
	}
	if !target.Staged {
		return nil, fmt.Errorf("%q is not a GUID, and %s is not staged", value, target.Table)
	}
	return &transform.Stand{Table: target.Table, Key: value}, nil
}

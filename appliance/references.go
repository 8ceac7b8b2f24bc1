package appliance

import (
	"slices"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/transform"
)

// referenceFaults are the calls of ref() and existing() whose table or column there is not, as
// far as they are written as texts: DuckDB takes any, and staging would say it only when
// the rows have been read, without the place.
func (p *Project) referenceFaults(specs []transform.Table) (config.Faults, error) {
	scripts, err := p.scripts()
	if err != nil {
		return nil, err
	}
	var faults config.Faults
	for i := range specs {
		for _, c := range duckstage.Calls(specs[i].SQL, "ref", "existing") {
			faults = append(faults, p.referenceFault(specs[i].File, c, specs, targetsOf(&specs[i]))...)
		}
	}
	for _, s := range scripts {
		for _, c := range duckstage.Calls(s.SQL, "ref", "existing") {
			faults = append(faults, p.referenceFault(s.File, c, specs, nil)...)
		}
	}
	return faults, nil
}

// targetsOf are the tables that a transform's lookups and lists may point to.
func targetsOf(spec *transform.Table) []string {
	var out []string
	for _, l := range spec.Lookups {
		for _, t := range l.Targets {
			out = append(out, t.Table)
		}
	}
	for _, l := range spec.Lists {
		for _, t := range l.Targets {
			out = append(out, t.Table)
		}
	}
	return out
}

// referenceFault judges one call; targets are the tables it may name, nil = not known.
func (p *Project) referenceFault(file string, c duckstage.Call, specs []transform.Table, targets []string) config.Faults {
	if len(c.Args) == 0 {
		return nil
	}
	table := c.Args[0]
	fault := func(at duckstage.Text, message, hint string) config.Faults {
		return config.Faults{{File: file, Line: at.Line, Column: at.Column, Message: c.Name + "('" + table.Value + "', ...): " + message, Hint: hint}}
	}
	at := slices.IndexFunc(specs, func(s transform.Table) bool { return s.Name == table.Value })
	var known []string
	switch {
	case c.Name == "ref" && at < 0:
		for _, s := range specs {
			known = append(known, s.Name)
		}
		hint := didYouMean(table.Value, known)
		if hint == "" && p.Schema.Table(table.Value) != nil {
			hint = "records that the target has are named with existing('" + table.Value + "', ...)"
		}
		return fault(table, "no transform makes the table "+table.Value, hint)
	case c.Name == "existing" && p.Schema.Table(table.Value) == nil && usualPulls[table.Value] == nil:
		return fault(table, "schema.json has no table "+table.Value, didYouMean(table.Value, p.Schema.TableNames()))
	case targets != nil && !slices.Contains(targets, table.Value):
		return fault(table, "no lookup of this transform can point to "+table.Value, strings.Replace(didYouMean(table.Value, targets), "there are", "they point to", 1))
	case len(c.Args) < 2 || len(c.Args) == 2 && !c.More:
		return nil // by legacy key or GUID
	case c.Name == "ref":
		for _, col := range specs[at].Columns {
			known = append(known, col.Name)
		}
	case p.Schema.Table(table.Value) == nil:
		return nil // the target knows what it has
	default:
		known = p.Schema.Table(table.Value).ColumnNames()
	}
	column := c.Args[1]
	for name := range strings.SplitSeq(column.Value, ",") {
		name = strings.TrimSpace(name)
		if slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			continue
		}
		what := "the transform of " + table.Value + " yields no column " + name
		if c.Name == "existing" {
			what = "table " + table.Value + " has no column " + name
		} else if name == "legacy_key" {
			return fault(column, "the legacy key goes without a column", "ref('"+table.Value+"', key)")
		}
		return fault(column, what, didYouMean(name, known))
	}
	return nil
}

// didYouMean is the hint for an unknown name: the nearest that is known, all of a few, or none.
func didYouMean(name string, known []string) string {
	if near := config.Nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return "there are " + strings.Join(slices.Compact(known), ", ")
}

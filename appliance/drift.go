package appliance

import (
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// Change is something about a mapped table that is not as the schema file has it.
type Change struct {
	Column string `json:"column,omitempty"` // "" = the table itself
	What   string `json:"what"`
	Was    string `json:"was"` // "" = it was not there
	Is     string `json:"is"`  // "" = it is gone

	level string
}

// String says the change in one line.
func (c Change) String() string {
	what := c.What
	if c.Column != "" {
		what = c.Column + ": " + what
	}
	switch {
	case c.Was == "":
		return fmt.Sprintf("%s %s is new", what, c.Is)
	case c.Is == "":
		return fmt.Sprintf("%s %s is gone", what, c.Was)
	}
	return fmt.Sprintf("%s was %s and is %s", what, c.Was, c.Is)
}

// changes gathers the changes of one table.
type changes struct {
	column string
	list   []Change
}

// differ notes a value that is another now.
func (c *changes) differ(level, what string, was, is any) {
	if a, b := fmt.Sprint(was), fmt.Sprint(is); a != b {
		c.list = append(c.list, Change{Column: c.column, What: what, Was: a, Is: b, level: level})
	}
}

// tableChanges compares a mapped table and its mapped columns with the table as the
// environment has it now.
func tableChanges(t *mapping.Table, is *schema.Table) []Change {
	c := &changes{}
	was := t.Schema
	c.differ(LevelError, "entity set", was.EntitySet, is.EntitySet)
	c.differ(LevelError, "primary key", was.PrimaryID, is.PrimaryID)
	c.differ(LevelError, "kind", was.Kind, is.Kind)
	c.differ(LevelWarning, "ownership", was.Ownership, is.Ownership)
	c.differ(LevelWarning, "bulk actions", listText(sorted(was.Bulk)), listText(sorted(is.Bulk)))
	mapped := map[string]bool{}
	for _, col := range t.Columns {
		mapped[col.LogicalName] = true
		c.compare(col.Column, is)
	}
	for _, l := range t.Lookups {
		mapped[l.LogicalName] = true
		if c.compare(l.Column, is) {
			c.navigation(&l, is)
		}
	}
	for _, p := range t.Parties {
		mapped[p.LogicalName] = true
		c.compare(p.Column, is)
	}
	for _, col := range is.Columns {
		if old := was.Column(col.LogicalName); col.Required == schema.SystemRequired && !mapped[col.LogicalName] && !col.NoCreate && (old == nil || old.Required != schema.SystemRequired) {
			c.list = append(c.list, Change{Column: col.LogicalName, What: "required column", Is: string(col.Type), level: LevelWarning})
		}
	}
	return c.list
}

func listText(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// compare compares one column; false where it is gone.
func (c *changes) compare(was *schema.Column, table *schema.Table) bool {
	is := table.Column(was.LogicalName)
	c.column = was.LogicalName
	defer func() { c.column = "" }()
	if is == nil {
		c.list = append(c.list, Change{Column: was.LogicalName, What: "column", Was: string(was.Type), level: LevelError})
		return false
	}
	if was.Type != is.Type {
		c.differ(LevelError, "type", was.Type, is.Type)
		return true // the rest says nothing more
	}
	c.differ(narrower(is.MaxLength < was.MaxLength), "most characters", was.MaxLength, is.MaxLength)
	c.differ(LevelWarning, "least value", limitText(was.Min), limitText(is.Min))
	c.differ(LevelWarning, "greatest value", limitText(was.Max), limitText(is.Max))
	if was.Precision != nil && is.Precision != nil {
		c.differ(LevelWarning, "digits after the point", *was.Precision, *is.Precision)
	}
	c.differ(LevelError, "date behaviour", was.DateBehavior, is.DateBehavior)
	c.differ(LevelError, "writable on create", was.Writable(false), is.Writable(false))
	c.differ(LevelWarning, "writable on update", was.Writable(true), is.Writable(true))
	c.options(was, is)
	return true
}

func narrower(yes bool) string {
	if yes {
		return LevelError
	}
	return LevelWarning
}

func limitText(f *float64) string {
	if f == nil {
		return "none"
	}
	return fmt.Sprint(*f)
}

// options compares a choice's values; labels are no matter.
func (c *changes) options(was, is *schema.Column) {
	for _, o := range was.Options {
		now := is.Option(o.Value)
		switch {
		case now == nil:
			c.list = append(c.list, Change{Column: c.column, What: "option", Was: optionText(o), level: LevelError})
		case o.State != nil && now.State != nil && *o.State != *now.State:
			c.differ(LevelError, "state of status reason "+optionText(o), *o.State, *now.State)
		}
	}
	for _, o := range is.Options {
		if was.Option(o.Value) == nil {
			c.list = append(c.list, Change{Column: c.column, What: "option", Is: optionText(o), level: LevelWarning})
		}
	}
}

func optionText(o schema.Option) string { return fmt.Sprintf("%d (%s)", o.Value, o.Label) }

// navigation compares what a lookup binds by.
func (c *changes) navigation(l *mapping.Lookup, table *schema.Table) {
	c.column = l.LogicalName
	defer func() { c.column = "" }()
	for _, target := range l.Targets {
		r := table.Relationship(l.LogicalName, target.Table)
		if r == nil {
			c.list = append(c.list, Change{Column: c.column, What: "lookup to", Was: target.Table, level: LevelError})
			continue
		}
		c.differ(LevelError, "navigation property to "+target.Table, target.Nav, r.Nav)
	}
}

// linkChanges compares an N:N relationship with the environment's.
func linkChanges(was *schema.ManyToMany, now *schema.Schema) []Change {
	i := slices.IndexFunc(now.ManyToMany, func(m schema.ManyToMany) bool { return m.SchemaName == was.SchemaName })
	if i < 0 {
		return []Change{{What: "N:N relationship", Was: was.SchemaName, level: LevelError}}
	}
	c, is := &changes{}, now.ManyToMany[i]
	c.differ(LevelError, "first end", was.Table1+" by "+was.Nav1, is.Table1+" by "+is.Nav1)
	c.differ(LevelError, "second end", was.Table2+" by "+was.Nav2, is.Table2+" by "+is.Nav2)
	return c.list
}

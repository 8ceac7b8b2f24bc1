package emulator

import (
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// optionSets makes the navigation properties OptionSet and GlobalOptionSet of a
// column with options (section 12.3). A global choice answers both.
func (m *model) optionSets(t *table, c *column) []navigation {
	declared := "OptionSetMetadata"
	if c.Type == schema.YesNo {
		declared = "BooleanOptionSetMetadata"
	}
	one := func() []definition { return []definition{optionSet(t, c)} }
	global := func() []definition {
		if c.GlobalChoice == "" {
			return nil
		}
		return one()
	}
	return []navigation{
		{name: "OptionSet", declared: declared, single: true, items: one},
		{name: "GlobalOptionSet", declared: declared, single: true, items: global},
	}
}

// optionSet makes a choice's definition: named and identified by the global
// choice, or by its column.
func optionSet(t *table, c *column) definition {
	name, global := t.LogicalName+"_"+c.LogicalName, c.GlobalChoice != ""
	if global {
		name = c.GlobalChoice
	}
	d := definition{typ: "OptionSetMetadata"}
	d.props = object{
		{"MetadataId", metadataID("optionset", name)},
		{"HasChanged", nil},
		{"IsCustomOptionSet", strings.Contains(name, "_")},
		{"IsGlobal", global},
		{"IsManaged", false},
		{"Name", name},
		{"ExternalTypeName", nil},
		{"OptionSetType", or(map[schema.ColumnType]string{schema.YesNo: "Boolean", schema.State: "State", schema.Status: "Status"}[c.Type], "Picklist")},
		{"IntroducedVersion", "1.0"},
		{"ParentOptionSetName", nil},
		{"DisplayName", label(c.DisplayName, "optionset", name)},
		{"Description", label("", "optionset", name)},
		{"IsCustomizable", managed(true, "iscustomizable")},
	}
	if c.Type == schema.YesNo {
		d.typ = "BooleanOptionSetMetadata"
		d.props = append(d.props, field{"TrueOption", yesNoOption(c, name, 1)}, field{"FalseOption", yesNoOption(c, name, 0)})
		return d
	}
	options := []object{}
	for _, o := range c.Options {
		options = append(options, option(c, name, o))
	}
	d.props = append(d.props, field{"Options", options})
	return d
}

func yesNoOption(c *column, name string, v int32) object {
	if o := c.Option(v); o != nil {
		return option(c, name, *o)
	}
	return option(c, name, schema.Option{Value: v, Label: [...]string{"No", "Yes"}[v]})
}

// option makes one option. A state and a status reason have a type of their own.
func option(c *column, name string, o schema.Option) object {
	id := strconv.Itoa(int(o.Value))
	out := object{
		{"Value", int(o.Value)}, {"Color", nil}, {"IsManaged", false}, {"ExternalValue", ""}, {"ParentValues", []string{}},
		{"Tag", nil}, {"IsHidden", false}, {"MetadataId", nil}, {"HasChanged", nil},
		{"Label", label(o.Label, "option", name, id)}, {"Description", label("", "option", name, id)},
	}
	switch c.Type {
	case schema.State:
		status := -1
		if o.DefaultStatus != nil {
			status = int(*o.DefaultStatus)
		}
		return append(object{{"@odata.type", "#Microsoft.Dynamics.CRM.StateOptionMetadata"}, {"DefaultStatus", status}, {"InvariantName", o.Label}}, out...)
	case schema.Status:
		state := 0
		if o.State != nil {
			state = int(*o.State)
		}
		return append(object{{"@odata.type", "#Microsoft.Dynamics.CRM.StatusOptionMetadata"}, {"State", state}, {"TransitionData", transitions(o)}}, out...)
	}
	return out
}

// transitions is the XML in which the service keeps the status reasons allowed
// after one (section 4.5); null where all are.
func transitions(o schema.Option) any {
	if len(o.Next) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(`<allowedtransitions xmlns="http://schemas.microsoft.com/crm/2009/WebServices">`)
	for _, next := range o.Next {
		b.WriteString(`<allowedtransition tostatusid="` + strconv.Itoa(int(next)) + `" />`)
	}
	b.WriteString(`</allowedtransitions>`)
	return b.String()
}

// globalChoices makes the definitions of all global choices, each once.
func (m *model) globalChoices() []definition {
	var out []definition
	seen := map[string]bool{}
	none := &table{Table: new(schema.Table)}
	for _, c := range m.choices {
		seen[c.GlobalChoice] = true
		out = append(out, optionSet(none, &column{Column: c, t: none}))
	}
	for _, t := range m.tables {
		for _, c := range t.cols {
			if c.GlobalChoice != "" && !seen[c.GlobalChoice] {
				seen[c.GlobalChoice] = true
				out = append(out, optionSet(t, c))
			}
		}
	}
	return out
}

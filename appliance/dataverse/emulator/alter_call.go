package emulator

import (
	"net/http"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// postDefinition answers the POSTs of section 12.9: a table, a column, a key, a
// relationship or a global choice is made.
func (c *call) postDefinition() error {
	switch path := c.definitionPath(); path {
	case "EntityDefinitions":
		var w wireEntity
		return c.made(&w, "EntityDefinitions", func(a *alteration) (schema.GUID, error) {
			t, err := a.addTable(&w)
			if err != nil {
				return schema.GUID{}, err
			}
			return metadataID("entity", t.LogicalName), nil
		})
	case "EntityDefinitions/Attributes":
		var w wireAttribute
		return c.madeIn(&w, func(a *alteration, t *schema.Table) (schema.GUID, error) {
			col, err := a.column(&w)
			if err != nil {
				return schema.GUID{}, err
			}
			return metadataID("attribute", t.LogicalName, col.LogicalName), a.add(t, col)
		})
	case "EntityDefinitions/Keys":
		var w wireKey
		return c.madeIn(&w, func(a *alteration, t *schema.Table) (schema.GUID, error) {
			name, err := a.addKey(t, &w)
			if err != nil {
				return schema.GUID{}, err
			}
			return metadataID("key", t.LogicalName, name), c.buildKey(a, t, &t.Keys[len(t.Keys)-1])
		})
	case "RelationshipDefinitions":
		return c.postRelationship()
	case "GlobalOptionSetDefinitions":
		var w wireOptionSet
		return c.made(&w, path, func(a *alteration) (schema.GUID, error) {
			if w.Name == "" || a.choice("(Name='"+w.Name+"')") != nil {
				return schema.GUID{}, errMetadata("The option set %s has no name or exists already.", w.Name)
			}
			a.choices = append(a.choices, &schema.Column{Type: schema.Choice, GlobalChoice: w.Name, DisplayName: w.DisplayName.text(), Options: w.options()})
			return metadataID("optionset", w.Name), nil
		})
	}
	return errMethod(c.method)
}

// definitionPath is the path without keys and casts.
func (c *call) definitionPath() string {
	var names []string
	for _, s := range c.segs {
		if !strings.HasPrefix(s.name, namespace) {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, "/")
}

// made reads the body, changes the schema and answers with the new piece's URL.
func (c *call) made(body any, path string, fn func(*alteration) (schema.GUID, error)) error {
	if c.segs[len(c.segs)-1].hasKey {
		return errMethod(c.method)
	}
	if err := c.wire(body); err != nil {
		return err
	}
	var id schema.GUID
	err := c.alter(func(a *alteration) (err error) {
		id, err = fn(a)
		return err
	})
	if err != nil {
		return err
	}
	c.res.entityID = c.api + "/" + path + "(" + id.String() + ")"
	return c.noContent()
}

// madeIn is made for a piece of the table that the path names.
func (c *call) madeIn(body any, fn func(*alteration, *schema.Table) (schema.GUID, error)) error {
	name, err := c.definedTable()
	if err != nil {
		return err
	}
	path := "EntityDefinitions(" + metadataID("entity", name).String() + ")/" + c.segs[1].name
	return c.made(body, path, func(a *alteration) (schema.GUID, error) { return fn(a, a.table(name)) })
}

// definedTable is the logical name of the table in EntityDefinitions(key)/….
func (c *call) definedTable() (string, error) {
	r, err := c.definitionsRoot()
	if err != nil {
		return "", err
	}
	return r.items[0].text("LogicalName"), nil
}

func (d definition) text(name string) string {
	v, _ := d.props.get(name)
	s, _ := v.(string)
	return s
}

func (c *call) postRelationship() error {
	var w wireRelationship
	return c.made(&w, "RelationshipDefinitions", func(a *alteration) (schema.GUID, error) {
		if wireType(w.Type) == "ManyToManyRelationshipMetadata" {
			return metadataID("relationship", w.SchemaName), a.addLink(&w)
		}
		t, err := a.addLookup(&w)
		if err != nil {
			return schema.GUID{}, err
		}
		r := t.ManyToOne[len(t.ManyToOne)-1]
		return metadataID("relationship", r.SchemaName, t.LogicalName, r.Column, r.Target), nil
	})
}

// defined finds the one piece of metadata that the whole path names.
func (c *call) defined() (resource, error) {
	r, err := c.definitionsRoot()
	for _, seg := range c.segs[1:] {
		if err != nil {
			return r, err
		}
		r, err = r.follow(seg)
	}
	if err == nil && !r.single {
		err = errMethod(c.method)
	}
	return r, err
}

// putDefinition answers a PUT: what the body says of a piece is taken over. Names
// and types cannot be changed.
func (c *call) putDefinition() error {
	r, err := c.defined()
	if err != nil {
		return err
	}
	d := r.items[0]
	switch c.definitionPath() {
	case "EntityDefinitions":
		var w wireEntity
		return c.described(&w, func(a *alteration) error {
			a.describeTable(a.table(d.text("LogicalName")), &w)
			return nil
		})
	case "EntityDefinitions/Attributes":
		var w wireAttribute
		return c.described(&w, func(a *alteration) error {
			t := a.table(d.text("EntityLogicalName"))
			i := slices.IndexFunc(t.Columns, func(col *schema.Column) bool { return col.LogicalName == d.text("LogicalName") })
			return a.describe(t.Columns[i], &w)
		})
	case "RelationshipDefinitions":
		var w wireRelationship
		return c.described(&w, func(a *alteration) error {
			for _, t := range a.Tables {
				for i := range t.ManyToOne {
					if t.ManyToOne[i].SchemaName == d.text("SchemaName") && w.CascadeConfiguration != nil {
						t.ManyToOne[i].Cascade = w.CascadeConfiguration
					}
				}
			}
			return nil
		})
	case "GlobalOptionSetDefinitions":
		var w wireOptionSet
		return c.described(&w, func(a *alteration) error { return a.describeChoice(d.text("Name"), &w) })
	}
	return errMethod(c.method)
}

func (c *call) described(body any, fn func(*alteration) error) error {
	if err := c.wire(body); err != nil {
		return err
	}
	if err := c.alter(fn); err != nil {
		return err
	}
	return c.noContent()
}

// describeChoice changes a global choice wherever it is used.
func (a *alteration) describeChoice(name string, w *wireOptionSet) error {
	set := func(c *schema.Column, label bool) {
		if len(w.Options) > 0 {
			c.Options = w.options()
		}
		if text := w.DisplayName.text(); label && text != "" {
			c.DisplayName = text
		}
	}
	for i, c := range a.choices {
		if c.GlobalChoice == name {
			fresh := *c
			set(&fresh, true)
			a.choices[i] = &fresh
		}
	}
	for _, t := range a.Tables {
		for _, c := range t.Columns {
			if c.GlobalChoice == name {
				set(c, false)
			}
		}
	}
	return nil
}

// deleteDefinition answers a DELETE of a piece of metadata.
func (c *call) deleteDefinition() error {
	r, err := c.defined()
	if err != nil {
		return err
	}
	d := r.items[0]
	err = c.alter(func(a *alteration) error {
		switch c.definitionPath() {
		case "EntityDefinitions":
			return a.dropTable(d.text("LogicalName"))
		case "EntityDefinitions/Attributes":
			return a.dropColumn(a.table(d.text("EntityLogicalName")), d.text("LogicalName"))
		case "EntityDefinitions/Keys":
			t := a.table(d.text("EntityLogicalName"))
			t.Keys = slices.DeleteFunc(t.Keys, func(k schema.Key) bool { return k.LogicalName == d.text("LogicalName") })
		case "RelationshipDefinitions":
			return a.dropRelationship(d.text("SchemaName"))
		case "GlobalOptionSetDefinitions":
			return a.dropChoice(d.text("Name"))
		default:
			return errMethod(c.method)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.noContent()
}

func (a *alteration) dropChoice(name string) error {
	for _, t := range a.Tables {
		for _, c := range t.Columns {
			if c.GlobalChoice == name {
				return errorf(http.StatusBadRequest, "0x8004f01f", "The OptionSet(%s) component cannot be deleted because it is referenced by the attribute %s of %s.", name, c.LogicalName, t.LogicalName)
			}
		}
	}
	a.choices = slices.DeleteFunc(a.choices, func(c *schema.Column) bool { return c.GlobalChoice == name })
	return nil
}

// createCustomerRelationships answers the action of that name.
func (c *call) createCustomerRelationships() error {
	var w struct {
		Lookup                *wireAttribute
		OneToManyRelationship []wireRelationship `json:"OneToManyRelationships"`
	}
	if err := c.wire(&w); err != nil {
		return err
	}
	if w.Lookup == nil {
		return errorf(http.StatusBadRequest, "0x80040203", "The required parameter 'Lookup' is missing from the request 'CreateCustomerRelationships'.")
	}
	var from string
	err := c.alter(func(a *alteration) error {
		if len(w.OneToManyRelationship) > 0 {
			from = w.OneToManyRelationship[0].ReferencingEntity
		}
		return a.addCustomer(w.Lookup, w.OneToManyRelationship)
	})
	if err != nil {
		return err
	}
	ids := make([]string, len(w.OneToManyRelationship))
	column := strings.ToLower(w.Lookup.SchemaName)
	for i, r := range w.OneToManyRelationship {
		ids[i] = metadataID("relationship", r.SchemaName, from, column, r.ReferencedEntity).String()
	}
	return c.answerType("CreateCustomerRelationshipsResponse", object{{"AttributeId", metadataID("attribute", from, column)}, {"RelationshipIds", ids}})
}

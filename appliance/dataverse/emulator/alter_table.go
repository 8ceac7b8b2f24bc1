package emulator

import (
	"net/http"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// addTable makes a table with the columns that every table has.
func (a *alteration) addTable(w *wireEntity) (*schema.Table, error) {
	name := strings.ToLower(w.SchemaName)
	switch {
	case name == "":
		return nil, errMetadata("The SchemaName of the entity is missing.")
	case !strings.Contains(name, "_"):
		return nil, errMetadata("The schema name %s must begin with a customization prefix.", w.SchemaName)
	case a.table(name) != nil:
		return nil, errorf(400, "0x80044154", "An entity with the specified name %s already exists.", w.SchemaName)
	}
	t := &schema.Table{LogicalName: name, SchemaName: w.SchemaName, EntitySet: or(w.EntitySetName, plural(name)), PrimaryID: name + "id", Kind: schema.Standard,
		Ownership: schema.OrganizationOwned, Custom: true, OptimisticConcurrency: true, Bulk: []string{"create", "update", "upsert"}, ObjectTypeCode: 10000 + len(a.Tables)}
	if w.OwnershipType == "UserOwned" {
		t.Ownership = schema.UserOwned
	}
	t.Columns = append(t.Columns, &schema.Column{LogicalName: t.PrimaryID, SchemaName: w.SchemaName + "Id", Type: schema.UniqueID, NoUpdate: true, Required: schema.SystemRequired})
	if w.TableType == "Elastic" {
		t.Kind, t.Bulk = schema.Elastic, append(t.Bulk, "delete")
		t.Columns = append(t.Columns, &schema.Column{LogicalName: "partitionid", SchemaName: "PartitionId", Type: schema.Text, MaxLength: 100},
			&schema.Column{LogicalName: "ttlinseconds", SchemaName: "TTLInSeconds", Type: schema.Integer})
	}
	for i := range w.Attributes {
		c, err := a.column(&w.Attributes[i])
		if err != nil {
			return nil, err
		}
		if w.Attributes[i].IsPrimaryName || c.LogicalName == strings.ToLower(w.PrimaryNameAttribute) {
			t.PrimaryName = c.LogicalName
		}
		if err := a.add(t, c); err != nil {
			return nil, err
		}
	}
	if t.PrimaryName == "" {
		return nil, errMetadata("The entity %s has no attribute that is the primary name.", w.SchemaName)
	}
	a.addSystemColumns(t)
	a.describeTable(t, w)
	a.Tables = append(a.Tables, t)
	return t, nil
}

func (a *alteration) describeTable(t *schema.Table, w *wireEntity) {
	if text := w.DisplayName.text(); text != "" {
		t.DisplayName = text
	}
	for at, v := range map[*bool]*bool{&t.HasNotes: w.HasNotes, &t.ChangeTracking: w.ChangeTrackingEnabled} {
		if v != nil {
			*at = *v
		}
	}
}

// plural is the entity set's name of a new table.
func plural(name string) string {
	switch {
	case strings.HasSuffix(name, "y") && !strings.ContainsAny(name[len(name)-2:len(name)-1], "aeiou"):
		return name[:len(name)-1] + "ies"
	case strings.HasSuffix(name, "s"), strings.HasSuffix(name, "x"), strings.HasSuffix(name, "z"), strings.HasSuffix(name, "ch"), strings.HasSuffix(name, "sh"):
		return name + "es"
	}
	return name + "s"
}

// addSystemColumns adds what the service keeps of every row (sections 4.5, 4.7, 4.12).
func (a *alteration) addSystemColumns(t *schema.Table) {
	own := func(name string, typ schema.ColumnType, targets ...string) {
		t.Columns = append(t.Columns, &schema.Column{LogicalName: name, SchemaName: name, Type: typ, NoCreate: true, NoUpdate: true, Targets: targets})
	}
	lookup := func(name, target string) {
		own(name, schema.Lookup, target)
		t.ManyToOne = append(t.ManyToOne, schema.Relationship{SchemaName: "lk_" + t.LogicalName + "_" + name, Column: name, Target: target, Nav: name})
	}
	for _, name := range []string{"createdby", "modifiedby", "createdonbehalfby", "modifiedonbehalfby"} {
		lookup(name, "systemuser")
	}
	own("createdon", schema.DateTime)
	own("modifiedon", schema.DateTime)
	own("versionnumber", schema.BigInt)
	t.Columns = append(t.Columns,
		&schema.Column{LogicalName: "overriddencreatedon", SchemaName: "OverriddenCreatedOn", Type: schema.DateTime, NoUpdate: true, Format: "DateOnly"},
		&schema.Column{LogicalName: "importsequencenumber", SchemaName: "ImportSequenceNumber", Type: schema.Integer, NoUpdate: true})
	if t.Ownership == schema.UserOwned {
		t.Columns = append(t.Columns, &schema.Column{LogicalName: "ownerid", SchemaName: "OwnerId", Type: schema.Owner, Required: schema.SystemRequired, Targets: []string{"systemuser", "team"}})
		t.ManyToOne = append(t.ManyToOne, schema.Relationship{SchemaName: "owner_" + t.LogicalName, Column: "ownerid", Target: "owner", Nav: "ownerid"})
		lookup("owninguser", "systemuser")
		lookup("owningteam", "team")
		lookup("owningbusinessunit", "businessunit")
	} else {
		lookup("organizationid", "organization")
	}
	zero, one, active, inactive := int32(0), int32(1), int32(1), int32(2)
	t.Columns = append(t.Columns,
		&schema.Column{LogicalName: "statecode", SchemaName: "statecode", Type: schema.State, Options: []schema.Option{
			{Value: 0, Label: "Active", DefaultStatus: &active}, {Value: 1, Label: "Inactive", DefaultStatus: &inactive}}},
		&schema.Column{LogicalName: "statuscode", SchemaName: "statuscode", Type: schema.Status, Options: []schema.Option{
			{Value: 1, Label: "Active", State: &zero}, {Value: 2, Label: "Inactive", State: &one}}})
}

// dropTable removes a custom table and every relationship with it; one that a lookup of
// another table leads to stays, as do those that every environment has.
func (a *alteration) dropTable(name string) error {
	t := a.table(name)
	if !t.Custom {
		return errNotDeletable(t.SchemaName, metadataID("entity", name))
	}
	if used := len(lookupsTo(a.Tables, name)); used > 0 {
		return errorf(http.StatusBadRequest, "0x8004F01F", "The Entity(%s) component cannot be deleted because it is referenced by %d other components. For a list of referenced components, use the RetrieveDependenciesForDeleteRequest.",
			metadataID("entity", name), used)
	}
	a.removeTable(name)
	return nil
}

// removeTable removes a table of any kind, and every relationship with it.
func (a *alteration) removeTable(name string) {
	a.Tables = slices.DeleteFunc(a.Tables, func(t *schema.Table) bool { return t.LogicalName == name })
	for _, t := range a.Tables {
		t.ManyToOne = slices.DeleteFunc(t.ManyToOne, func(r schema.Relationship) bool { return r.Target == name })
	}
	a.ManyToMany = slices.DeleteFunc(a.ManyToMany, func(m schema.ManyToMany) bool { return m.Table1 == name || m.Table2 == name })
}

// errNotDeletable refuses to delete what came with the environment.
func errNotDeletable(name string, id schema.GUID) *apiError {
	return errorf(http.StatusBadRequest, "0x8004F032", "The 'Delete' operation on the current component(name='%s', id='%s') failed during managed property evaluation of condition: 'Evaluation of the current component is custom.'", name, id)
}

// dropColumn removes a column, the columns that are part of it and its relationships.
func (a *alteration) dropColumn(t *schema.Table, name string) error {
	c := &schema.Column{LogicalName: name}
	if i := slices.IndexFunc(t.Columns, func(c *schema.Column) bool { return c.LogicalName == name }); i >= 0 {
		c = t.Columns[i]
	}
	switch {
	case name == t.PrimaryID || name == t.PrimaryName:
		return errorf(http.StatusBadRequest, "0x80047002", "The Primary UI Attribute is not valid for deletion")
	case c.CalculationOf != "":
		return errorf(http.StatusBadRequest, "0x80048cfe", "The base money calculation Attribute is not valid for deletion")
	case c.PartOf != "":
		return errorf(http.StatusBadRequest, "0x80047016", "The Child Attribute is not valid for deletion")
	case !strings.Contains(name, "_"):
		return errNotDeletable(or(c.SchemaName, name), metadataID("attribute", t.LogicalName, name))
	}
	for _, k := range t.Keys {
		if slices.Contains(k.Columns, name) {
			return errMetadata("The attribute %s is part of the key %s.", name, k.LogicalName)
		}
	}
	t.Columns = slices.DeleteFunc(t.Columns, func(c *schema.Column) bool {
		return c.LogicalName == name || c.PartOf == name || c.CalculationOf == name
	})
	t.ManyToOne = slices.DeleteFunc(t.ManyToOne, func(r schema.Relationship) bool { return r.Column == name })
	return nil
}

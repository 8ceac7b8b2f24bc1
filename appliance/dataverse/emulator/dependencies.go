package emulator

import (
	"net/http"
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
)

// The kinds of solution component that the emulator has dependencies of.
const (
	componentTable  = 1
	componentColumn = 2
	componentKey    = 14
)

// tableColumn is a column with its table.
type tableColumn struct {
	t *schema.Table
	c *schema.Column
}

// lookupsTo lists the lookups of other tables that lead to a table.
func lookupsTo(tables []*schema.Table, name string) (found []tableColumn) {
	for _, t := range tables {
		for _, c := range t.Columns {
			if t.LogicalName != name && slices.Contains(c.Targets, name) {
				found = append(found, tableColumn{t, c})
			}
		}
	}
	return found
}

// retrieveDependencies answers what keeps a component from being deleted: of a table the
// lookups of others to it, of a column the keys that it is part of. A DELETE that is
// refused for one refers to this function.
func (c *call) retrieveDependencies() error {
	component, given, err := c.parameter(c.segs[0], "ObjectId")
	if err != nil {
		return err
	}
	kind, kindGiven, err := c.parameter(c.segs[0], "ComponentType")
	if err != nil {
		return err
	}
	id, err := schema.ParseGUID(component.text)
	typ, err2 := strconv.Atoi(kind.text)
	if !given || !kindGiven || err != nil || err2 != nil {
		return errorf(http.StatusBadRequest, "0x80040203", "Required field 'ObjectId' or 'ComponentType' is missing for unbound function 'RetrieveDependenciesForDelete'.")
	}
	rows := []object{}
	add := func(kind int, dependent, parent, requiredParent schema.GUID) {
		rows = append(rows, object{{"@odata.etag", etag(1)}, {"dependencyid", metadataID("dependency", id.String(), dependent.String())}, {"dependencytype", 2},
			{"dependentcomponenttype", kind}, {"dependentcomponentobjectid", dependent}, {"dependentcomponentparentid", parent}, {"dependentcomponentbasesolutionid", activeSolutionID},
			{"requiredcomponenttype", typ}, {"requiredcomponentobjectid", id}, {"requiredcomponentparentid", requiredParent}, {"requiredcomponentbasesolutionid", activeSolutionID}})
	}
	for _, t := range c.srv.model.schema.Tables {
		self := metadataID("entity", t.LogicalName)
		if typ == componentTable && self == id {
			for _, l := range lookupsTo(c.srv.model.schema.Tables, t.LogicalName) {
				add(componentColumn, metadataID("attribute", l.t.LogicalName, l.c.LogicalName), metadataID("entity", l.t.LogicalName), schema.GUID{})
			}
		}
		if typ != componentColumn {
			continue
		}
		for _, k := range t.Keys {
			for _, name := range k.Columns {
				if metadataID("attribute", t.LogicalName, name) == id {
					add(componentKey, metadataID("key", t.LogicalName, k.LogicalName), self, self)
				}
			}
		}
	}
	body := append(c.contextOf("dependencies"), `,"value":`...)
	return c.json(http.StatusOK, append(appendAny(body, rows), '}'))
}

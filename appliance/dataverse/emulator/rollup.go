package emulator

import (
	"encoding/json"
	"net/http"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// calculateRollupField answers CalculateRollupField(Target=@t,FieldName=@f) (section
// 4.11): the rollup's <column>_date and <column>_state tell that it was computed. What
// it sums up is not in the schema, so its value stays what it is.
func (c *call) calculateRollupField() error {
	target, err := c.targetOf(c.segs[0])
	if err != nil {
		return err
	}
	field, _, err := c.parameter(c.segs[0], "FieldName")
	if err != nil {
		return err
	}
	t := target.t
	col := t.byName[field.text]
	if col == nil {
		return errorf(http.StatusBadRequest, "0x80041103", "'%s' entity doesn't contain attribute with Name = '%s' and NameMapping = 'Logical'.", t.LogicalName, clip(field.text))
	}
	if col.SourceType != 2 {
		return errorf(http.StatusBadRequest, "0x80040203", "The attribute '%s' of entity '%s' is not a rollup field.", col.LogicalName, t.LogicalName)
	}
	names := []string{col.wire}
	rec := &record{t: t}
	for _, part := range []struct {
		suffix string
		typ    schema.ColumnType
		v      value
	}{{"_date", schema.DateTime, value{kind: kindTime, n: c.srv.store.now()}}, {"_state", schema.Integer, intValue(1)}} {
		if of := t.byName[col.LogicalName+part.suffix]; of != nil && of.Type == part.typ {
			rec.set = append(rec.set, assign{of, part.v})
			names = append(names, of.wire)
		}
	}
	p, err := c.newProjection(t, options{columns: names, top: -1}, false)
	if err != nil {
		return err
	}
	return c.change(func(w *writer) error {
		old, err := w.tx.find(target)
		if err == nil && len(rec.set) > 0 {
			err = w.update(old, rec)
		}
		if err != nil {
			return err
		}
		r, _ := w.tx.row(t, old.id)
		head := appendString([]byte(`"@odata.context":`), c.api+"/$metadata#"+t.EntitySet+"/$entity")
		if !p.full {
			head = appendNamed(head, "@odata.type", "#"+namespace+t.LogicalName)
		}
		body := p.appendRow(nil, w.tx, r, head)
		return c.json(http.StatusOK, body)
	})
}

// targetOf reads the parameter Target of a function: an alias whose value is
// {"@odata.id":"set(key)"}, in double quotes or single ones.
func (c *call) targetOf(seg segment) (rowKey, error) {
	for _, part := range splitTop(seg.key, ',') {
		name, text, _ := strings.Cut(part, "=")
		if strings.TrimSpace(name) != "Target" {
			continue
		}
		if value, ok := c.option(strings.TrimSpace(text)); ok {
			text = value
		}
		var ref map[string]string
		if json.Unmarshal([]byte(text), &ref) != nil && json.Unmarshal([]byte(strings.ReplaceAll(text, "'", `"`)), &ref) != nil {
			return rowKey{}, errURL("The value of the parameter 'Target' is not an entity reference.")
		}
		return c.parseRef(ref["@odata.id"])
	}
	return rowKey{}, errURL("The parameter 'Target' of the function '%s' is missing.", strings.TrimPrefix(seg.name, namespace))
}

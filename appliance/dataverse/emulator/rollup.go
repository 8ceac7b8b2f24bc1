package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// Rollup is what a rollup column is computed from: a function over the rows whose lookup
// points to its row.
type Rollup struct {
	Table, Column string
	Function      string // count, sum, avg, min or max
	From, Lookup  string // the table of those rows, and its lookup
	Of            string // its column that is summed up; not of count
}

// rollup is a Rollup made ready.
type rollup struct {
	aggregation
	rel *relation
}

func (m *model) addRollups(rollups []Rollup) error {
	for _, r := range rollups {
		what := "rollup " + r.Table + "." + r.Column
		t, from := m.byName[r.Table], m.byName[r.From]
		if t == nil || t.byName[r.Column] == nil || t.byName[r.Column].SourceType != 2 {
			return fmt.Errorf("%s: the schema has no such rollup column", what)
		}
		if from == nil || from.byName[r.Lookup] == nil || !slices.Contains(from.byName[r.Lookup].targets, t) {
			return fmt.Errorf("%s: %s.%s is no lookup to %s", what, r.From, r.Lookup, r.Table)
		}
		a := rollup{aggregation{method: fetchMethods[r.Function], col: from.byName[r.Of]}, &relation{from: from, col: from.byName[r.Lookup]}}
		switch {
		case a.method == "" || a.method == "countcolumn":
			return fmt.Errorf("%s: %q is none of count, sum, avg, min and max", what, r.Function)
		case a.method == "count":
		case a.col == nil:
			return fmt.Errorf("%s: the table %s has no column %q", what, r.From, r.Of)
		case checkAggregation(a.aggregation) != nil:
			return fmt.Errorf("%s: the column %s.%s has no %s", what, r.From, r.Of, r.Function)
		}
		t.byName[r.Column].rollup = &a
	}
	return nil
}

// compute sums the rollup up for one row, in the form of its column.
func (r *rollup) compute(tx *tx, into *column, id schema.GUID) value {
	var sum total
	for _, child := range tx.collected(r.rel, id) {
		row, ok := tx.row(r.rel.from, child)
		switch {
		case !ok:
		case r.col == nil:
			sum.add(into.t.texts, r.aggregation, value{})
		default:
			sum.add(into.t.texts, r.aggregation, row.value(r.col))
		}
	}
	v := sum.result(r.aggregation)
	switch kind := valueKind(into); {
	case v.isNull() || v.kind == kind:
		return v
	case kind == kindInt:
		n, _ := strconv.ParseInt(roundDecimal(v.String(), 0), 10, 64)
		return intValue(n)
	case kind == kindDecimal:
		return decimalValue(roundDecimal(v.String(), precision(into)))
	}
	return value{}
}

// calculateRollupField answers CalculateRollupField(Target=@t,FieldName=@f) (section
// 4.11): the rollup's <column>_date and <column>_state tell that it was computed. A
// column that no Options.Rollups speaks of keeps its value.
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
		if err == nil && col.rollup != nil {
			rec.set = append(rec.set, assign{col, col.rollup.compute(w.tx, col, old.id)})
		}
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

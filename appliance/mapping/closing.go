package mapping

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/column"
)

// closing is a state of a table that no plain write sets, but an action that takes an
// activity telling how the record came to its end (dataverse-web-api.md 4.5).
type closing struct {
	table   string
	state   int64
	path    string // of the action, below the service root
	param   string // the activity's parameter
	class   string // the activity's table
	subject string // of the activity
	from    int64  // the state that the record must have before; -1: any
}

// closings are the states in question. The activity's lookup of the record has the name of
// the record's primary key.
var closings = []closing{
	{"opportunity", 1, "WinOpportunity", "OpportunityClose", "opportunityclose", "Won", -1},
	{"opportunity", 2, "LoseOpportunity", "OpportunityClose", "opportunityclose", "Lost", -1},
	{"incident", 1, "CloseIncident", "IncidentResolution", "incidentresolution", "Resolved", -1},
	{"quote", 2, "WinQuote", "QuoteClose", "quoteclose", "Won", 1},
	{"quote", 3, "CloseQuote", "QuoteClose", "quoteclose", "Closed", 1},
	{"salesorder", 2, "CancelSalesOrder", "OrderClose", "orderclose", "Canceled", -1},
	{"salesorder", 3, "salesorders/Microsoft.Dynamics.CRM.FulfillSalesOrder", "OrderClose", "orderclose", "Fulfilled", -1},
}

// closeValues are the columns of a record that its closing activity carries too: Dataverse
// takes them from there.
var closeValues = []struct{ table, column, of string }{
	{"opportunity", "actualvalue", "actualrevenue"},
	{"opportunity", "actualclosedate", "actualend"},
}

func closingOf(table string, state int64) *closing {
	for i := range closings {
		if c := &closings[i]; c.table == table && c.state == state {
			return c
		}
	}
	return nil
}

// ClosedByAction reports whether records of the table get into a state by an action of
// its own only, and by no plain write.
func ClosedByAction(table string, state int64) bool { return closingOf(table, state) != nil }

// ClosingsSQL is the condition, over a staged row's columns, that its state is set by such
// an action; false where the table has none.
func (t *Table) ClosingsSQL() string {
	if t.Closer() == nil {
		return "false"
	}
	var states []string
	for i := range closings {
		if closings[i].table == t.Name {
			states = append(states, strconv.FormatInt(closings[i].state, 10))
		}
	}
	return "coalesce(statecode IN (" + strings.Join(states, ", ") + "), false)"
}

// ClosingActions names the actions that close records of the table, as the service does.
func ClosingActions(table string) []string {
	var names []string
	for i := range closings {
		if c := &closings[i]; c.table == table {
			names = append(names, c.path[strings.LastIndexByte(c.path, '.')+1:])
		}
	}
	return names
}

// IsClosingAction reports whether a path below the service root is that of such an action.
func IsClosingAction(path string) bool {
	for i := range closings {
		if closings[i].path == path {
			return true
		}
	}
	return false
}

// Closing is the request that brings a record into a state by such an action.
type Closing struct {
	Path   string // of the POST, below the service root
	Body   []byte
	State  int64 // that the record then has
	Status int64 // -1: the state's default
	From   int64 // the state that it must have before; -1: any
}

// Closer makes the Closings of a table's rows.
type Closer struct {
	table  *Table
	status bool // the SELECT yields a status reason
	values *Encoder
}

// Closer returns nil for a table none of whose states needs an action.
func (t *Table) Closer() *Closer {
	if t.Schema == nil || t.Link != nil {
		return nil
	}
	c := &Closer{table: t, values: &Encoder{table: t}}
	state := false
	for _, col := range t.Columns {
		state = state || col.Type == schema.State
		c.status = c.status || col.Type == schema.Status
		for _, v := range closeValues {
			if v.table != t.Name || v.column != col.LogicalName {
				continue
			}
			f := plainField(col, v.of)
			if f.kind == date && v.of == "actualend" {
				f.kind = noon
			}
			c.values.fields = append(c.values.fields, f)
		}
	}
	for i := range closings {
		if state && closings[i].table == t.Name {
			return c
		}
	}
	return nil
}

// StageColumns names the stage columns that the Closer reads.
func (c *Closer) StageColumns() []string {
	names := append(c.values.StageColumns(), "statecode")
	if c.status {
		names = append(names, "statuscode")
	}
	return names
}

// ClosingRows reads the rows of one batch for a Closer.
type ClosingRows struct {
	closer        *Closer
	values        *Rows
	state, status *column.Vector
}

// Rows finds the closer's columns in the batch, which has to have StageColumns.
func (c *Closer) Rows(b *column.Batch) (*ClosingRows, error) {
	values, err := c.values.Rows(b)
	if err != nil {
		return nil, err
	}
	r := &ClosingRows{closer: c, values: values, state: b.Column("statecode")}
	if c.status {
		r.status = b.Column("statuscode")
	}
	if r.state == nil || c.status && r.status == nil {
		return nil, fmt.Errorf("encode %s: the batch lacks a state or status reason", c.table.Name)
	}
	return r, nil
}

// Closing is the request that brings row i into its state; needed is false where a plain
// write of the state does.
func (r *ClosingRows) Closing(i int) (out Closing, needed bool) {
	if r.state.Null(i) {
		return out, false
	}
	c := closingOf(r.closer.table.Name, r.state.Ints[i])
	if c == nil {
		return out, false
	}
	status := int64(-1)
	if r.status != nil && !r.status.Null(i) {
		status = r.status.Ints[i]
	}
	out = c.of(r.closer.table.Schema, r.values.ID(i), status)
	out.Body = append(r.values.appendFields(out.Body, i), "}}"...)
	return out, true
}

// of is the closing of a record, whose body lacks the values that the activity takes, and its end.
func (c *closing) of(t *schema.Table, id schema.GUID, status int64) Closing {
	body := fmt.Appendf(nil, `{"Status":%d,"%s":{"@odata.type":"Microsoft.Dynamics.CRM.%s","subject":"%s","%s@odata.bind":"/%s(%s)"`,
		status, c.param, c.class, c.subject, t.PrimaryID, t.EntitySet, id)
	return Closing{Path: c.path, Body: body, State: c.state, Status: status, From: c.from}
}

// CloseColumns names the columns of a table that its closing activities carry too.
func CloseColumns(t *schema.Table) (names []string) {
	for _, v := range closeValues {
		if v.table == t.LogicalName && t.Column(v.column) != nil {
			names = append(names, v.column)
		}
	}
	return names
}

// CloseAs is the request that brings a record into a state and status reason, -1 for the state's default, by an action;
// needed is false where a plain write does. read are the CloseColumns as the service gives them.
func CloseAs(t *schema.Table, id schema.GUID, state, status int64, read map[string]any) (out Closing, needed bool, err error) {
	c := closingOf(t.LogicalName, state)
	if c == nil {
		return out, false, nil
	}
	out = c.of(t, id, status)
	for _, v := range closeValues {
		value := read[v.column]
		if v.table != t.LogicalName || value == nil {
			continue
		}
		if day, ok := value.(string); ok && v.of == "actualend" && len(day) == len(time.DateOnly) {
			value = day + noonOfDay
		}
		text, err := json.Marshal(value)
		if err != nil {
			return out, true, fmt.Errorf("read %s: %w", v.column, err)
		}
		out.Body = append(fmt.Appendf(out.Body, `,"%s":`, v.of), text...)
	}
	out.Body = append(out.Body, "}}"...)
	return out, true, nil
}

package emulator

import (
	"net/http"
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
)

// closing is an action that closes a row by way of a closing activity (section 4.5):
// {"Status":5,"IncidentResolution":{"subject":"…","incidentid@odata.bind":"incidents(g)"}}.
type closing struct {
	name     string
	table    string // of the row
	param    string // the activity's parameter
	activity string // the activity's table
	nav      string // from the activity to the row
	state    int32  // that the row gets
	from     int32  // that it must have; -1: any in which it is not closed
}

var closings = []closing{
	{"CloseIncident", "incident", "IncidentResolution", "incidentresolution", "incidentid", 1, -1},
	{"WinOpportunity", "opportunity", "OpportunityClose", "opportunityclose", "opportunityid", 1, -1},
	{"LoseOpportunity", "opportunity", "OpportunityClose", "opportunityclose", "opportunityid", 2, -1},
	{"WinQuote", "quote", "QuoteClose", "quoteclose", "quoteid", 2, 1},
	{"CloseQuote", "quote", "QuoteClose", "quoteclose", "quoteid", 3, 1},
	{"CancelSalesOrder", "salesorder", "OrderClose", "orderclose", "salesorderid", 2, -1},
	{fulfillOrder, "salesorder", "OrderClose", "orderclose", "salesorderid", 3, -1},
}

// fulfillOrder is the one of them that is bound, to the set of orders.
const fulfillOrder = "FulfillSalesOrder"

// closingTables are the tables of closing activities that a schema lacks although it has
// those they close: every environment has them.
func closingTables(s *schema.Schema) []*schema.Table {
	var out []*schema.Table
	for _, a := range closings {
		closed := s.Table(a.table)
		if closed == nil || s.Table(a.activity) != nil || slices.ContainsFunc(out, func(t *schema.Table) bool { return t.LogicalName == a.activity }) {
			continue
		}
		t := &schema.Table{LogicalName: a.activity, SchemaName: a.param, EntitySet: a.activity + "s", DisplayName: a.param, PrimaryID: "activityid", PrimaryName: "subject",
			Kind: schema.Activity, Ownership: schema.UserOwned,
			ManyToOne: []schema.Relationship{{SchemaName: closed.SchemaName + "_" + a.param, Column: a.nav, Target: a.table, Nav: a.nav,
				Collection: closed.SchemaName + "_" + a.param, Cascade: map[string]string{"Delete": "Cascade"}}},
			Columns: []*schema.Column{
				{LogicalName: "activityid", Type: schema.UniqueID, NoUpdate: true},
				{LogicalName: "subject", Type: schema.Text, MaxLength: 200, Required: "business"},
				{LogicalName: "description", Type: schema.Memo, MaxLength: 2000},
				{LogicalName: a.nav, Type: schema.Lookup, Targets: []string{a.table}},
				{LogicalName: "actualend", Type: schema.DateTime, DateBehavior: "UserLocal", Format: "DateAndTime"},
			}}
		if a.table == "opportunity" {
			t.Columns = append(t.Columns, &schema.Column{LogicalName: "actualrevenue", Type: schema.Money})
		}
		out = append(out, t)
	}
	return out
}

// post answers the action. Status -1 means the state's default status.
func (a closing) post(c *call) error {
	t := c.srv.model.byName[a.activity]
	if t == nil {
		return c.errNoOperation() // an environment without the app that brings it
	}
	c.table, c.records = c.srv.model.byName[a.table], 1
	rec, status, err := a.decode(c, t)
	if err != nil {
		return inPayload(t.EntitySet, err)
	}
	var target *bind
	for i := range rec.binds {
		if rec.binds[i].rel.Nav == a.nav {
			target = &rec.binds[i]
		}
	}
	if target == nil || target.key.t == nil {
		return errorf(http.StatusBadRequest, "0x80040203", "The %s of the %s is missing.", a.nav, a.param)
	}
	return c.change(func(w *writer) error {
		old, err := w.tx.find(target.key)
		if err != nil {
			return err
		}
		if old.t.state == nil || old.t.status == nil {
			return errorf(http.StatusBadRequest, "0x80040203", "The %s has no state.", old.t.LogicalName)
		}
		if e := a.refuses(old); e != nil {
			return e
		}
		set := []assign{{old.t.state, intValue(int64(a.state))}}
		set = append(set, a.taken(old.t, rec)...)
		if status >= 0 {
			set = append(set, assign{old.t.status, intValue(status)})
		}
		if _, err := w.create(rec); err != nil {
			return err
		}
		if err := w.update(old, &record{t: old.t, set: set, closing: true}); err != nil {
			return err
		}
		return c.noContent()
	})
}

// taken are the columns of the row that get their values from the activity.
func (a closing) taken(t *table, activity *record) (out []assign) {
	for i := range activity.set {
		name := map[string]string{"actualrevenue": "actualvalue", "actualend": "actualclosedate"}[activity.set[i].col.LogicalName]
		to, v := t.byName[name], activity.set[i].v
		if to == nil {
			continue
		}
		if v.kind == kindTime && valueKind(to) == kindDate {
			v = value{kind: kindDate, n: v.n / 86400}
		}
		out = append(out, assign{to, v})
	}
	return out
}

// refuses says why a row cannot be closed: it is already, or not yet in the state before.
func (a closing) refuses(old row) error {
	state := old.value(old.t.state).n
	switch {
	case a.table == "incident" && state == int64(a.state):
		return errorf(http.StatusBadRequest, "0x800404cf", "This case has already been resolved. Close and reopen the case record to see the updates.")
	case slices.Contains(closedStates[a.table], state):
		return errorf(http.StatusBadRequest, "0x80040203", "The %s has already been closed.", old.t.LogicalName)
	case a.from >= 0 && state != int64(a.from):
		return errorf(http.StatusBadRequest, "0x80040203", "The %s cannot be closed because it is not in the active state.", old.t.LogicalName)
	}
	return nil
}

// decode reads the closing activity and the status.
func (a closing) decode(c *call, t *table) (*record, int64, error) {
	if err := c.checkContentType(); err != nil {
		return nil, 0, err
	}
	d := c.newDecoder(false)
	rec, status := &record{t: t}, int64(-1)
	err := d.expect('{')
	for first := true; err == nil; first = false {
		var more bool
		var name string
		if more, err = d.next('}', first); err != nil || !more {
			break
		}
		if name, err = d.name(); err != nil {
			break
		}
		switch name {
		case a.param:
			err = d.record(rec, 1)
		case "Status":
			var l jsonLiteral
			if l, _, err = d.literal(); err == nil {
				if status, err = strconv.ParseInt(l.text, 10, 32); err != nil {
					err = errLiteral(t, l.text, "Edm.Int32")
				}
			}
		default:
			err = errPayload(t.EntitySet, "Microsoft.OData.ODataException: The parameter '"+name+"' in the request payload is not a valid parameter for the operation '"+a.name+"'.")
		}
	}
	if err == nil {
		err = d.end()
	}
	return rec, status, err
}

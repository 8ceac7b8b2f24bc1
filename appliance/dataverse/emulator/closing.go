package emulator

import (
	"net/http"
	"strconv"
)

// closing is an action that closes a row by way of a closing activity (section 4.5):
// {"Status":5,"IncidentResolution":{"subject":"…","incidentid@odata.bind":"incidents(g)"}}.
type closing struct {
	name     string
	param    string // the activity's parameter; its table is the name in lower case
	activity string
	nav      string // from the activity to the row
	state    int32  // that the row gets
}

var closings = []closing{
	{"CloseIncident", "IncidentResolution", "incidentresolution", "incidentid", 1},
	{"WinOpportunity", "OpportunityClose", "opportunityclose", "opportunityid", 1},
	{"LoseOpportunity", "OpportunityClose", "opportunityclose", "opportunityid", 2},
	{"WinQuote", "QuoteClose", "quoteclose", "quoteid", 2},
	{"CloseQuote", "QuoteClose", "quoteclose", "quoteid", 3},
	{"CancelSalesOrder", "OrderClose", "orderclose", "salesorderid", 2},
	{"FulfillSalesOrder", "OrderClose", "orderclose", "salesorderid", 3},
}

// post answers the action. Status -1 means the state's default status.
func (a closing) post(c *call) error {
	t := c.srv.model.byName[a.activity]
	if t == nil {
		return c.errNoOperation() // an environment without the app that brings it
	}
	c.table, c.records = t, 1
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
		if old.t.LogicalName == "incident" && old.value(old.t.state).n == int64(a.state) {
			return errorf(http.StatusBadRequest, "0x800404cf", "This case has already been resolved. Close and reopen the case record to see the updates.")
		}
		set := []assign{{old.t.state, intValue(int64(a.state))}}
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

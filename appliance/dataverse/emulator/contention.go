package emulator

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"dvmigrate/appliance/dataverse/schema"
)

// contention is what requests do to each other in the service's database: the race of
// the first bulk requests on a table to build its procedures, and deadlocks. A request
// is in the way from when it runs until its cost is over.
type contention struct {
	parents map[string]bool // "table.column": lookups whose targets are locked

	mu     sync.Mutex
	warm   map[warmKey]warmth
	held   map[heldRow]*call // the request that writes the row
	losers int               // of the race
}

// warmKey is a bulk action on a table, and warmth how far its procedures are.
type warmKey struct{ table, action string }

type warmth uint8

const (
	warming warmth = iota + 1
	warm
)

// heldRow is a row that a request writes, or whose children it writes.
type heldRow struct {
	table string
	id    schema.GUID
}

// deadlockParents checks the names of Options.DeadlockParents.
func (m *model) deadlockParents(names []string) (map[string]bool, error) {
	parents := map[string]bool{}
	for _, name := range names {
		tableName, columnName, _ := strings.Cut(name, ".")
		t := m.byName[tableName]
		if t == nil || t.byName[columnName] == nil || !t.byName[columnName].Type.IsLookup() {
			return nil, fmt.Errorf("deadlock parent %q: the schema has no such table and lookup column; it is table.column, such as contact.parentcustomerid", name)
		}
		parents[name] = true
	}
	return parents, nil
}

// request is the HTTP request that a call is, or is a part of.
func (c *call) request() *call {
	if c.whole != nil {
		return c.whole
	}
	return c
}

// warmUp makes the first bulk request of an action on a table take its time, and those
// that come meanwhile fail in one of the three ways seen (section 1.8).
func (c *call) warmUp(action string) error {
	o, k, x := &c.srv.opts, warmKey{c.table.LogicalName, action}, &c.srv.contention
	if o.WarmUp <= 0 || c.table.isElastic() {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch x.warm[k] {
	case warm:
		return nil
	case warming:
		x.losers++
		number := []int{3732, 2766, 2812}[x.losers%3]
		return errSQL(number)
	}
	if x.warm == nil {
		x.warm = map[warmKey]warmth{}
	}
	x.warm[k] = warming
	c.cost += o.WarmUp
	req := c.request()
	req.warming = append(req.warming, k)
	return nil
}

// errSQL is an error of the database, of which only the number tells the cause.
func errSQL(number int) *apiError {
	return errorf(http.StatusInternalServerError, "0x80044150", " Sql error: Generic SQL error. CRM ErrorCode: -2147204784 Sql ErrorCode: -2146232060 Sql Number: %d", number)
}

// hold locks a row for the request, or makes it the victim of a deadlock where another
// has it.
func (w *writer) hold(t *table, id schema.GUID) error {
	if !w.c.srv.opts.Deadlocks {
		return nil
	}
	return w.c.lock(heldRow{t.LogicalName, id})
}

// holdParent locks the row that a lookup of the kind that deadlocks is bound to.
func (w *writer) holdParent(col *column, target value) error {
	parents := w.c.srv.contention.parents
	if len(parents) == 0 || target.target == nil || !parents[col.t.LogicalName+"."+col.LogicalName] {
		return nil
	}
	return w.c.lock(heldRow{"parent " + target.target.LogicalName, target.guid})
}

func (c *call) lock(row heldRow) error {
	req, x := c.request(), &c.srv.contention
	if !req.open {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch x.held[row] {
	case req:
		return nil
	case nil:
	default:
		return errSQL(1205)
	}
	if x.held == nil {
		x.held = map[heldRow]*call{}
	}
	x.held[row] = req
	req.holds = append(req.holds, row)
	return nil
}

// unlock lets go of the rows that a request holds, but for the first ones.
func (c *call) unlock(but int) {
	if len(c.holds) <= but {
		return
	}
	x := &c.srv.contention
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, row := range c.holds[but:] {
		delete(x.held, row)
	}
	c.holds = c.holds[:but]
}

// end is when a request is over on the server.
func (c *call) end() {
	c.open = false
	c.unlock(0)
	if len(c.warming) == 0 {
		return
	}
	x := &c.srv.contention
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, k := range c.warming {
		x.warm[k] = warm
	}
}

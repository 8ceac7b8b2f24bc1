package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// The states of an asynchronous operation (section 15.2).
const (
	jobReady, jobLocked, jobCompleted       = 0, 2, 3
	jobWaiting, jobInProgress, jobSucceeded = 0, 20, 30
	operationDetectDuplicates               = 8
	operationBulkDelete                     = 13
)

// jobTables names the tables that keep jobs. Every environment has them: they are
// added when first asked for, where the schema lacks them.
var jobTables = map[string]string{"asyncoperations": "asyncoperation", "bulkdeleteoperations": "bulkdeleteoperation"}

// addJobTables makes them.
func (c *call) addJobTables() error {
	return c.alter(func(a *alteration) error {
		a.Tables = withJobs(a.Tables)
		return nil
	})
}

// needJobTables makes them for a job that writes to them.
func (c *call) needJobTables() error {
	if c.srv.model.byName["asyncoperation"] != nil && c.srv.model.byName["bulkdeleteoperation"] != nil {
		return nil
	}
	return c.addJobTables()
}

// actor is the call as a job goes on with it when the request is over.
func (c *call) actor() *call {
	actor := *c
	actor.open, actor.rights = false, nil
	return &actor
}

// withJobs adds those that a schema lacks, and what they lack. A state file, which a new
// table has written anew, has them from the start.
func withJobs(tables []*schema.Table) []*schema.Table {
	tables = slices.Clone(tables)
	one := func(name, schemaName, set string, cols ...*schema.Column) int {
		if i := slices.IndexFunc(tables, func(t *schema.Table) bool { return t.LogicalName == name }); i >= 0 {
			return i
		}
		t := &schema.Table{LogicalName: name, SchemaName: schemaName, EntitySet: set, PrimaryID: name + "id", PrimaryName: "name", Kind: schema.Standard, Ownership: schema.OrganizationOwned}
		t.Columns = append([]*schema.Column{{LogicalName: t.PrimaryID, SchemaName: schemaName + "Id", Type: schema.UniqueID, NoUpdate: true},
			{LogicalName: "name", SchemaName: "Name", Type: schema.Text, MaxLength: 256}, {LogicalName: "createdon", SchemaName: "CreatedOn", Type: schema.DateTime, NoCreate: true, NoUpdate: true},
			{LogicalName: "statecode", SchemaName: "StateCode", Type: schema.State}, {LogicalName: "statuscode", SchemaName: "StatusCode", Type: schema.Status}}, cols...)
		tables = append(tables, t)
		return len(tables) - 1
	}
	one("asyncoperation", "AsyncOperation", "asyncoperations",
		&schema.Column{LogicalName: "operationtype", SchemaName: "OperationType", Type: schema.Integer},
		&schema.Column{LogicalName: "message", SchemaName: "Message", Type: schema.Memo}, &schema.Column{LogicalName: "friendlymessage", SchemaName: "FriendlyMessage", Type: schema.Memo},
		&schema.Column{LogicalName: "startedon", SchemaName: "StartedOn", Type: schema.DateTime}, &schema.Column{LogicalName: "completedon", SchemaName: "CompletedOn", Type: schema.DateTime})
	at := one("bulkdeleteoperation", "BulkDeleteOperation", "bulkdeleteoperations",
		&schema.Column{LogicalName: "asyncoperationid", SchemaName: "AsyncOperationId", Type: schema.Lookup, Targets: []string{"asyncoperation"}},
		&schema.Column{LogicalName: "successcount", SchemaName: "SuccessCount", Type: schema.Integer}, &schema.Column{LogicalName: "failurecount", SchemaName: "FailureCount", Type: schema.Integer})
	if !slices.ContainsFunc(tables[at].ManyToOne, func(r schema.Relationship) bool { return r.Column == "asyncoperationid" }) {
		t := *tables[at]
		t.ManyToOne = append(slices.Clone(t.ManyToOne), schema.Relationship{SchemaName: "AsyncOperation_BulkDeleteOperation", Column: "asyncoperationid", Target: "asyncoperation", Nav: "asyncoperationid", Collection: "AsyncOperation_BulkDeleteOperation"})
		tables[at] = &t
	}
	return tables
}

// wireQuery is a QueryExpression as jobs take it (section 15.1).
type wireQuery struct {
	EntityName   string
	Criteria     *wireFilter
	LinkEntities []json.RawMessage
}

type wireFilter struct {
	FilterOperator string
	Conditions     []struct {
		AttributeName, Operator string
		Values                  []struct{ Value any }
	}
	Filters []*wireFilter
}

// fetchNames are the condition operators whose names in FetchXML are not their own
// in lower case with hyphens.
var fetchNames = map[string]string{"Equal": "eq", "NotEqual": "ne", "GreaterThan": "gt", "GreaterEqual": "ge", "LessThan": "lt", "LessEqual": "le",
	"DoesNotBeginWith": "not-begin-with", "DoesNotEndWith": "not-end-with", "EqualUserId": "eq-userid", "NotEqualUserId": "ne-userid"}

// fetch turns the filter into FetchXML's form.
func (f *wireFilter) fetch() *fetchFilter {
	out := &fetchFilter{Type: strings.ToLower(f.FilterOperator)}
	for _, c := range f.Conditions {
		op, ok := fetchNames[c.Operator]
		if !ok {
			for i, r := range c.Operator {
				if r >= 'A' && r <= 'Z' && i > 0 {
					op += "-"
				}
				op += strings.ToLower(string(r))
			}
		}
		values := make([]string, len(c.Values))
		for i, v := range c.Values {
			values[i] = fmt.Sprint(v.Value)
			if c.Operator == "Contains" {
				op, values[i] = "like", "%"+values[i]+"%"
			}
		}
		out.Conditions = append(out.Conditions, fetchCondition{Attribute: c.AttributeName, Operator: op, Values: values})
	}
	for _, inner := range f.Filters {
		out.Filters = append(out.Filters, *inner.fetch())
	}
	return out
}

// testOf makes the test of a job's query.
func (c *call) testOf(q wireQuery) (fetchTest, error) {
	t := c.srv.model.byName[q.EntityName]
	switch {
	case t == nil:
		return nil, errNoTable(q.EntityName)
	case len(q.LinkEntities) > 0:
		return nil, errNotImplemented("A job's query with LinkEntities")
	case q.Criteria == nil:
		return func(*tx, joined) bool { return true }, nil
	}
	query := &fetchQuery{call: c, nodes: []*fetchNode{{t: t}}}
	return query.bindFilter(q.Criteria.fetch(), 0)
}

// bulkDelete answers the action: a job that deletes what the queries find (15.1).
func (c *call) bulkDelete() error {
	var body struct {
		QuerySet                   []wireQuery
		JobName, RecurrencePattern string
		StartDateTime              *time.Time
		SendEmailNotification      bool
		ToRecipients, CCRecipients json.RawMessage
		RunNow                     *bool
	}
	if err := c.wire(&body); err != nil {
		return err
	}
	if body.RecurrencePattern != "" {
		return errNotImplemented("BulkDelete with a RecurrencePattern")
	}
	if len(body.QuerySet) == 0 {
		return errorf(http.StatusBadRequest, "0x80040203", "The required parameter 'QuerySet' is missing from the request 'BulkDelete'.")
	}
	if err := c.needJobTables(); err != nil {
		return err
	}
	for _, q := range body.QuerySet {
		if _, err := c.testOf(q); err != nil {
			return err
		}
		if err := c.view(func(tx *tx) error { return c.may(tx, "Delete", c.srv.model.byName[q.EntityName]) }); err != nil {
			return err
		}
	}
	j := &deleteJob{s: c.srv, c: c.actor(), id: c.srv.nextID(), result: c.srv.nextID(), queries: body.QuerySet, name: body.JobName}
	if err := j.note(jobReady, jobWaiting); err != nil {
		return err
	}
	if body.StartDateTime != nil && (body.RunNow == nil || !*body.RunNow) {
		j.start = *body.StartDateTime
	}
	c.srv.work.Go(j.run)
	return c.answerType("BulkDeleteResponse", object{{"JobId", j.id}})
}

// deleteJob is a running BulkDelete.
type deleteJob struct {
	s          *Server
	c          *call // whose user acts
	id, result schema.GUID
	name       string
	start      time.Time
	queries    []wireQuery
	done, lost int64
}

// deleteStep is how many rows are deleted between two looks at the job.
const deleteStep = 100

// run deletes, in steps that each take what Options.Cost says of the action
// BulkDelete, until all is done, the job is cancelled or the server is closed.
func (j *deleteJob) run() {
	if !j.s.sleep(time.Until(j.start)) {
		return
	}
	if err := j.guarded(jobLocked, jobInProgress); err != nil {
		return
	}
	for _, d := range j.queries {
		after := schema.GUID{}
		for more := true; more; {
			n := 0
			n, after, more = j.step(d, after)
			if !j.s.sleep(j.s.real(j.s.opts.Cost.of(d.EntityName, "BulkDelete", n))) || j.cancelled() {
				return
			}
			if err := j.guarded(jobLocked, jobInProgress); err != nil {
				return
			}
		}
	}
	_ = j.guarded(jobCompleted, jobSucceeded)
}

// sleep waits; false says that the server is closed.
func (s *Server) sleep(d time.Duration) bool {
	if d <= 0 {
		select {
		case <-s.closed:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.closed:
		return false
	case <-timer.C:
		return true
	}
}

// step deletes the next rows that match, each for itself.
func (j *deleteJob) step(q wireQuery, after schema.GUID) (n int, last schema.GUID, more bool) {
	j.s.gate.RLock()
	defer j.s.gate.RUnlock()
	test, err := j.c.testOf(q)
	if err != nil { // the table went meanwhile
		return 0, after, false
	}
	t := j.s.model.byName[q.EntityName]
	var ids []schema.GUID
	looked := 0
	_ = j.s.store.view(func(tx *tx) error {
		tx.scan(t, after, func(r row) bool {
			looked++
			after = r.id
			if test(tx, joined{r}) {
				ids = append(ids, r.id)
			}
			more = len(ids) == deleteStep || looked == scanStep
			return !more
		})
		return nil
	})
	for _, id := range ids {
		err := j.s.store.update(func(tx *tx) error {
			old, ok := tx.row(t, id)
			if !ok {
				return nil
			}
			return (&writer{c: j.c, tx: tx, now: j.s.store.now()}).remove(old)
		})
		if err != nil {
			j.lost++
		} else {
			j.done++
		}
	}
	return len(ids), after, more
}

func (j *deleteJob) cancelled() bool {
	j.s.gate.RLock()
	defer j.s.gate.RUnlock()
	t := j.s.model.byName["asyncoperation"]
	stopped := false
	_ = j.s.store.view(func(tx *tx) error {
		r, ok := tx.row(t, j.id)
		stopped = !ok || t.state != nil && r.value(t.state).n == jobCompleted
		return nil
	})
	return stopped
}

func (j *deleteJob) guarded(state, status int64) error {
	j.s.gate.RLock()
	defer j.s.gate.RUnlock()
	return j.note(state, status)
}

// note writes the job's rows.
func (j *deleteJob) note(state, status int64) error {
	m := j.s.model
	job, result := m.byName["asyncoperation"], m.byName["bulkdeleteoperation"]
	name := or(j.name, "Bulk Delete")
	return j.s.store.update(func(tx *tx) error {
		if err := tx.putJob(j.id, operationBulkDelete, name, state, status); err != nil {
			return err
		}
		return tx.putRow(result, j.result, map[string]value{"name": textValue(name), "statecode": intValue(state), "statuscode": intValue(status), "createdon": {kind: kindTime, n: j.s.store.now()},
			"asyncoperationid": refValue(job, j.id), "successcount": intValue(j.done), "failurecount": intValue(j.lost)})
	})
}

// putJob writes the row of an asynchronous operation.
func (tx *tx) putJob(id schema.GUID, operation int64, name string, state, status int64) error {
	now := value{kind: kindTime, n: tx.s.now()}
	set := map[string]value{"name": textValue(name), "statecode": intValue(state), "statuscode": intValue(status), "createdon": now, "operationtype": intValue(operation)}
	switch state {
	case jobLocked:
		set["startedon"] = now
	case jobCompleted:
		set["completedon"] = now
	}
	return tx.putRow(tx.s.model.byName["asyncoperation"], id, set)
}

// putRow writes a row of the server's own: the columns that the table has of those
// given; createdon is only set where the row is new.
func (tx *tx) putRow(t *table, id schema.GUID, set map[string]value) error {
	old, there := tx.row(t, id)
	vals := make([]value, len(t.cols))
	if there {
		vals = old.values()
	}
	for name, v := range set {
		if c := t.byName[name]; c != nil && c.derived == notDerived && !(there && name == "createdon") && (v.target == nil || slices.Contains(c.targets, v.target)) {
			vals[c.idx] = v
		}
	}
	if there {
		return tx.replace(old, vals)
	}
	return tx.insert(t, id, vals)
}

package emulator

import (
	"encoding/json"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// bulkDetectDuplicates answers the action: a job that looks for rows that a rule finds
// alike, among those of a query (section 15.3).
func (c *call) bulkDetectDuplicates() error {
	var body struct {
		Query                                  wireQuery
		JobName, TemplateId, RecurrencePattern string
		RecurrenceStartTime                    *time.Time
		SendEmailNotification                  bool
		ToRecipients, CCRecipients             json.RawMessage
	}
	if err := c.wire(&body); err != nil {
		return err
	}
	if body.RecurrencePattern != "" {
		return errNotImplemented("BulkDetectDuplicates with a RecurrencePattern")
	}
	if err := c.needJobTables(); err != nil {
		return err
	}
	if _, err := c.testOf(body.Query); err != nil {
		return err
	}
	if err := c.view(func(tx *tx) error { return c.may(tx, "Read", c.srv.model.byName[body.Query.EntityName]) }); err != nil {
		return err
	}
	j := &detectJob{s: c.srv, c: c.actor(), id: c.srv.nextID(), query: body.Query, name: or(body.JobName, "Detect Duplicates")}
	if body.RecurrenceStartTime != nil {
		j.start = *body.RecurrenceStartTime
	}
	if err := j.note(jobReady, jobWaiting); err != nil {
		return err
	}
	c.srv.work.Go(j.run)
	return c.answerType("BulkDetectDuplicatesResponse", object{{"JobId", j.id}})
}

// detectJob is a running search for duplicates. What it finds are rows of
// duplicaterecord, where the schema has the table.
type detectJob struct {
	s     *Server
	c     *call
	id    schema.GUID
	name  string
	start time.Time
	query wireQuery
}

func (j *detectJob) run() {
	if !j.s.sleep(time.Until(j.start)) || j.guarded(jobLocked, jobInProgress) != nil {
		return
	}
	after := schema.GUID{}
	for more := true; more; {
		n := 0
		n, after, more = j.step(after)
		if !j.s.sleep(j.s.real(j.s.opts.Cost.of(j.query.EntityName, "BulkDetectDuplicates", n))) {
			return
		}
	}
	_ = j.guarded(jobCompleted, jobSucceeded)
}

// step looks at the next rows.
func (j *detectJob) step(after schema.GUID) (n int, last schema.GUID, more bool) {
	j.s.gate.RLock()
	defer j.s.gate.RUnlock()
	test, err := j.c.testOf(j.query)
	if err != nil { // the table went meanwhile
		return 0, after, false
	}
	t := j.s.model.byName[j.query.EntityName]
	_ = j.s.store.update(func(tx *tx) error {
		var rows []row
		tx.scan(t, after, func(r row) bool {
			n++
			after = r.id
			if test(tx, joined{r}) {
				rows = append(rows, r)
			}
			more = n == scanStep
			return !more
		})
		for _, r := range rows {
			if err := j.record(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	return n, after, more
}

// record writes what a row is a duplicate of.
func (j *detectJob) record(tx *tx, r row) error {
	found, job := j.s.model.byName["duplicaterecord"], j.s.model.byName["asyncoperation"]
	if found == nil {
		return nil
	}
	for _, k := range r.t.keys {
		if !k.rule {
			continue
		}
		for other := range tx.s.others(k, r.id, r.value) {
			err := tx.putRow(found, j.s.nextID(), map[string]value{"asyncoperationid": refValue(job, j.id), "createdon": {kind: kindTime, n: j.s.store.now()},
				"baserecordid": refValue(r.t, r.id), "duplicaterecordid": refValue(r.t, other)})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *detectJob) guarded(state, status int64) error {
	j.s.gate.RLock()
	defer j.s.gate.RUnlock()
	return j.note(state, status)
}

func (j *detectJob) note(state, status int64) error {
	return j.s.store.update(func(tx *tx) error { return tx.putJob(j.id, operationDetectDuplicates, j.name, state, status) })
}

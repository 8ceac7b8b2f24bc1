package dataverse

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"dvmigrate/appliance/dataverse/schema"
)

// CreateManyIDs is CreateMany for records whose ids the service assigns: it returns them
// in the order of the records. On a standard table only; an answer without all of them
// is Lost.
func (c *Client) CreateManyIDs(ctx context.Context, t *schema.Table, body []byte, records int) ([]schema.GUID, error) {
	r := c.bulk("CreateMultiple", t, body, records)
	a, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer a.release()
	var answer struct{ Ids []schema.GUID }
	if err := json.Unmarshal(a.body(), &answer); err != nil || len(answer.Ids) != records {
		e := r.fail(Lost, err, "the answer does not hold the %d ids expected", records)
		e.Status = a.status
		return nil, e
	}
	return answer.Ids, nil
}

// CreateID is Create for a record whose id the service assigns. An answer without it is
// Lost.
func (c *Client) CreateID(ctx context.Context, t *schema.Table, body []byte) (schema.GUID, error) {
	r := c.writing(http.MethodPost, "Create", t.EntitySet, body)
	r.path = t.EntitySet
	a, err := c.send(ctx, r)
	if err != nil {
		return schema.GUID{}, err
	}
	defer a.release()
	id, ok := entityID([]byte(a.header.Get("Odata-Entityid")))
	if !ok {
		e := r.fail(Lost, nil, "the answer does not say the record's id")
		e.Status = a.status
		return id, e
	}
	return id, nil
}

// BatchIDs is Batch, and returns the ids of the records that its creates have made; the
// other ids are zero. A create that was done and whose answer does not say the id is Lost.
func (c *Client) BatchIDs(ctx context.Context, ops []Op) ([]schema.GUID, []error, error) {
	ids := make([]schema.GUID, len(ops))
	errs, err := c.batch(ctx, ops, ids)
	return ids, errs, err
}

// created reads the id that a part of a batch tells, where it made a record.
func (op *Op) created(p part) (schema.GUID, bool) {
	if op.method != http.MethodPost || op.nav != "" {
		return schema.GUID{}, true
	}
	return entityID([]byte(lineValue(p.head, "OData-EntityId")))
}

// entityID is the id at the end of https://acme.crm4.dynamics.com/api/data/v9.2/accounts(id).
func entityID(address []byte) (schema.GUID, bool) {
	open := bytes.LastIndexByte(address, '(')
	if open < 0 || !bytes.HasSuffix(address, []byte(")")) {
		return schema.GUID{}, false
	}
	id, err := schema.ParseGUID(string(address[open+1 : len(address)-1]))
	return id, err == nil
}

// Matching calls fn with each row of a table for which one of the conditions holds, with
// the columns that are named and the primary key. The conditions are OData's, each with
// so many comparisons; they are asked for as many at once as one address takes.
func (c *Client) Matching(ctx context.Context, t *schema.Table, columns, conditions []string, fn func(row json.RawMessage) error) error {
	var f filter
	read := func() error {
		return c.Rows(ctx, t, Query{Select: append([]string{t.PrimaryID}, columns...), Filter: f.take()}, fn)
	}
	for _, condition := range conditions {
		if f.terms > 0 && (f.full(len(columns)) || Query{Filter: string(f.text) + or + condition}.tooLong()) {
			if err := read(); err != nil {
				return err
			}
		}
		at := f.begin()
		f.text = append(append(append(f.text, '('), condition...), ')')
		f.last = len(f.text) - at
	}
	if f.terms == 0 {
		return nil
	}
	return read()
}

// tooLong reports whether the query does not fit an address.
func (q Query) tooLong() bool {
	return 3*len(q.Filter) > maxQuery && len(q.encode()) > maxQuery
}

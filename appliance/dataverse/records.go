package dataverse

import (
	"bytes"
	"context"
	"net/http"

	"dvmigrate/appliance/dataverse/schema"
)

const actionSpace = "/Microsoft.Dynamics.CRM."

// allDetails asks for the error details that name the failed records of an elastic
// table (dataverse-web-api.md 6.3).
const allDetails = `odata.include-annotations="*"`

// CreateMany creates the records of a body {"Targets":[...]} by CreateMultiple
// (dataverse-web-api.md 6.1). The ids are in the body, so the answer's are only
// counted. On a standard table all are created or none.
func (c *Client) CreateMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	r := c.bulk("CreateMultiple", t, body, records)
	a, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer a.release()
	if a.status == http.StatusNoContent {
		return nil
	}
	if n, whole := countIDs(a.body()); !whole || n != records {
		e := r.fail(Lost, nil, "the answer does not hold the %d ids expected", records)
		e.Status = a.status
		return e
	}
	return nil
}

// UpdateMany changes the records of a body {"Targets":[...]}, each with its primary
// key, by UpdateMultiple.
func (c *Client) UpdateMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	return c.done(ctx, c.bulk("UpdateMultiple", t, body, records))
}

// UpsertMany creates or changes the records of a body {"Targets":[...]} by
// UpsertMultiple. The service does not tell which it did.
func (c *Client) UpsertMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	return c.done(ctx, c.bulk("UpsertMultiple", t, body, records))
}

// DeleteMany deletes the records of a body {"Targets":[...]} by DeleteMultiple, which
// only elastic tables take.
func (c *Client) DeleteMany(ctx context.Context, t *schema.Table, body []byte, records int) error {
	return c.done(ctx, c.bulk("DeleteMultiple", t, body, records))
}

// Create creates one record; its id is in the body.
func (c *Client) Create(ctx context.Context, t *schema.Table, body []byte) error {
	r := c.writing(http.MethodPost, "Create", t.EntitySet, body)
	r.path = t.EntitySet
	return c.done(ctx, r)
}

// Update changes one record and does not create it when it is missing (If-Match: *,
// dataverse-web-api.md 3.2).
func (c *Client) Update(ctx context.Context, t *schema.Table, id schema.GUID, body []byte) error {
	r := c.writing(http.MethodPatch, "Update", t.EntitySet, body)
	r.path, r.ifMatch = recordPath(t.EntitySet, id), "*"
	return c.done(ctx, r)
}

// ReplaceParties gives an activity other parties than it had: those of a body
// {"value":[...]}, by PUT on their collection (dataverse-web-api.md 4.8).
func (c *Client) ReplaceParties(ctx context.Context, t *schema.Table, id schema.GUID, nav string, body []byte) error {
	r := c.writing(http.MethodPut, "Update", t.EntitySet, body)
	r.path = recordPath(t.EntitySet, id) + "/" + nav
	return c.done(ctx, r)
}

// Associate links two records; Duplicate means that they are linked already.
func (c *Client) Associate(ctx context.Context, l Link, p Pair) error {
	r := c.writing(http.MethodPost, "Associate", l.set1, nil)
	r.path = recordPath(l.set1, p.ID1) + "/" + l.nav1 + "/$ref"
	r.body = appendRef(nil, c.base, l.set2, p.ID2)
	return c.done(ctx, r)
}

// done sends a write whose answer says nothing more than that it was done.
func (c *Client) done(ctx context.Context, r *request) error {
	a, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	a.release()
	return nil
}

func (c *Client) bulk(action string, t *schema.Table, body []byte, records int) *request {
	r := c.writing(http.MethodPost, action, t.EntitySet, body)
	r.path = t.EntitySet + actionSpace + action
	r.work = records
	if r.pieces = t.Kind == schema.Elastic; r.pieces {
		r.prefer = allDetails
	}
	return r
}

func (c *Client) writing(method, name, target string, body []byte) *request {
	return &request{method: method, name: name, target: target, header: c.write, query: c.tag, body: body, work: 1}
}

func recordPath(set string, id schema.GUID) string {
	return string(append(id.Append(append(make([]byte, 0, len(set)+38), set+"("...)), ')'))
}

// appendRef appends the body that names the record to link to, by its absolute
// address (dataverse-web-api.md 5.1).
func appendRef(dst []byte, base, set string, id schema.GUID) []byte {
	dst = append(dst, `{"@odata.id":"`...)
	dst = append(append(append(dst, base...), apiPath...), set...)
	dst = id.Append(append(dst, '('))
	return append(dst, `)"}`...)
}

// countIDs counts the ids in a CreateMultipleResponse without decoding it, and tells
// whether the answer is whole.
func countIDs(body []byte) (n int, whole bool) {
	body = bytes.TrimSpace(body)
	_, rest, found := bytes.Cut(body, []byte(`"Ids"`))
	if !found || !bytes.HasSuffix(body, []byte("}")) {
		return 0, false
	}
	rest = bytes.TrimLeft(rest, ": \r\n\t")
	end := bytes.IndexByte(rest, ']')
	if end < 0 || rest[0] != '[' {
		return 0, false
	}
	return bytes.Count(rest[:end], []byte(`"`)) / 2, true
}

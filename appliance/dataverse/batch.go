package dataverse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"dvmigrate/appliance/dataverse/schema"
)

// MaxBatch is the largest number of operations in a batch (dataverse-web-api.md 7.1).
const MaxBatch = 1000

// Op is one operation of a batch. Make it with CreateOp and its siblings; making one
// allocates nothing.
type Op struct {
	method  string
	set     string
	id      schema.GUID // zero: the set itself
	nav     string      // of a link; "": the record
	set2    string
	id2     schema.GUID
	body    []byte
	ifMatch bool   // If-Match: *
	query   string // of a read
	all     []Op   // of a change set: its operations
}

// CreateOp creates a record; its id is in the body.
func CreateOp(t *schema.Table, body []byte) Op {
	return Op{method: http.MethodPost, set: t.EntitySet, body: body}
}

// UpdateOp changes a record that has to be there.
func UpdateOp(t *schema.Table, id schema.GUID, body []byte) Op {
	return Op{method: http.MethodPatch, set: t.EntitySet, id: id, body: body, ifMatch: true}
}

// UpsertOp changes a record, or creates it with this id.
func UpsertOp(t *schema.Table, id schema.GUID, body []byte) Op {
	return Op{method: http.MethodPatch, set: t.EntitySet, id: id, body: body}
}

// DeleteOp deletes a record.
func DeleteOp(t *schema.Table, id schema.GUID) Op {
	return Op{method: http.MethodDelete, set: t.EntitySet, id: id}
}

// AssociateOp links two records.
func AssociateOp(l Link, p Pair) Op {
	return Op{method: http.MethodPost, set: l.set1, id: p.ID1, nav: l.nav1, set2: l.set2, id2: p.ID2}
}

// DisassociateOp unlinks two records.
func DisassociateOp(l Link, p Pair) Op {
	return Op{method: http.MethodDelete, set: l.set1, id: p.ID1, nav: l.nav1, id2: p.ID2}
}

// ActionOp calls an action at a path below the service root.
func ActionOp(path string, body []byte) Op {
	return Op{method: http.MethodPost, set: path, body: body}
}

// ChangeSetOp does all of some operations, none of them a read, or nothing (dataverse-web-api.md 7.1). Elastic tables
// keep no such promise.
func ChangeSetOp(ops ...Op) Op { return Op{method: "change set", set: ops[0].set, all: ops} }

// Do sends one operation that makes no link, as a request of its own.
func (c *Client) Do(ctx context.Context, op Op) error {
	if op.all != nil { // there is no other way
		errs, err := c.Batch(ctx, []Op{op})
		if err != nil {
			return err
		}
		return errs[0]
	}
	r := c.writing(op.method, op.method, op.set, op.body)
	r.path = string(op.appendPath(nil))
	if op.ifMatch {
		r.ifMatch = "*"
	}
	return c.done(ctx, r)
}

// readOp reads an address below the service root.
func readOp(path, query string) Op { return Op{method: http.MethodGet, set: path, query: query} }

// Batch sends operations in one $batch request, which the service runs in order,
// each for itself (dataverse-web-api.md 7). The list holds one error for each
// operation, nil for those done. The second error is set when the request as a whole
// failed; then there is no list, and its Kind holds for all operations.
//
// Operations that were certainly not applied, for a cause that passes, are sent
// again as single requests are.
func (c *Client) Batch(ctx context.Context, ops []Op) ([]error, error) { return c.batch(ctx, ops, nil) }

// batch is Batch; ids, where it is not nil, receives those of created records.
func (c *Client) batch(ctx context.Context, ops []Op, ids []schema.GUID) ([]error, error) {
	if len(ops) > MaxBatch {
		return nil, fmt.Errorf("send batch: %d operations are more than %d", len(ops), MaxBatch)
	}
	errs := make([]error, len(ops))
	open := make([]int, len(ops)) // the operations to send
	for i := range open {
		open[i] = i
	}
	for attempt := 1; len(open) > 0; {
		again, worst, err := c.batchRound(ctx, ops, open, errs, ids)
		switch {
		case err != nil && len(open) == len(ops):
			return nil, err
		case err != nil:
			for _, i := range open {
				errs[i] = worse(err, errs[i])
			}
			return errs, nil
		}
		if open = again; len(open) > 0 {
			c = c.staying()
		}
		switch {
		case len(open) == 0:
		case worst.Kind == Throttled:
			c.pace.Hold(facet(worst.Code), worst.RetryAfter)
		case attempt >= c.attempts:
			return errs, nil
		default:
			if backoff(ctx, attempt, worst, false) != nil {
				return errs, nil
			}
			attempt++
		}
	}
	return errs, nil
}

// worse is the error of an operation that was sent before as last tells, and then err
// came of the batch.
func worse(err, last error) error {
	var e, before *Error
	if errors.As(err, &e) && e.Kind == Stopped && errors.As(last, &before) {
		return stopped(e, before)
	}
	return err
}

// batchRound sends the open operations once and settles each in errs. It returns
// those to send again and the error that decides how long to wait before.
func (c *Client) batchRound(ctx context.Context, ops []Op, open []int, errs []error, ids []schema.GUID) (again []int, worst *Error, err error) {
	r := c.writing(http.MethodPost, "$batch", "", nil)
	r.keepCut, r.pieces = true, true
	a, parts, err := c.exchange(ctx, r, ops, open)
	if err != nil {
		return nil, nil, err
	}
	defer a.release()
	var lost *Error
	for k, i := range open {
		if k >= len(parts) || !parts[k].whole {
			if lost == nil {
				lost = c.missing(r, a, len(parts), len(open))
			}
			errs[i] = lost
			if lost.Kind == Lost {
				continue
			}
			again, worst = append(again, i), heavier(worst, lost)
			continue
		}
		e := c.partError(parts[k], ops[i])
		if e != nil && e.RequestID == "" { // a part without an id of its own: that of all
			e.RequestID = a.header.Get("x-ms-service-request-id")
		}
		if e == nil && ids != nil {
			var told bool
			if ids[i], told = ops[i].created(parts[k]); !told {
				e = r.fail(Lost, nil, "its part of the answer does not say the record's id")
			}
		}
		if e == nil {
			errs[i] = nil
			continue
		}
		errs[i] = e
		if passes(e.Kind) || e.Kind == Throttled {
			again, worst = append(again, i), heavier(worst, e)
		}
	}
	return again, worst, nil
}

// heavier is the error that asks for more patience: a throttle before all else.
func heavier(a, b *Error) *Error {
	switch {
	case a == nil:
		return b
	case (a.Kind == Throttled) != (b.Kind == Throttled):
		if b.Kind == Throttled {
			return b
		}
		return a
	case b.RetryAfter > a.RetryAfter:
		return b
	}
	return a
}

// missing is the error of an operation whose part is not in the answer. Where the
// service ended the batch with an error, whole and well-formed, it did not run what
// follows (7.4); in any other case nothing is known.
func (c *Client) missing(r *request, a *answer, parts, ops int) *Error {
	if a.cut == nil && a.status >= 400 && parts > 0 {
		e := r.fail(Transient, nil, "not run: the batch ended at operation %d of %d", parts, ops)
		e.Status = a.status
		return e
	}
	e := r.fail(Lost, nil, "the answer holds %d of %d parts", parts, ops)
	if a.cut != nil {
		e.Message += ": " + bare(a.cut)
	}
	e.Status = a.status
	return e
}

// partError judges one part; nil when its operation was done.
func (c *Client) partError(p part, op Op) *Error {
	if p.status >= 200 && p.status <= 299 {
		return nil
	}
	r := &request{name: "$batch " + op.method, target: op.set}
	if p.status == 0 {
		return r.fail(Lost, nil, "its part of the answer cannot be read")
	}
	return c.judge(r, readFault(p.status, p.headers(), p.body))
}

// exchange sends the open operations as one request and reads the parts of its
// answer, which lie in the answer's body: release it when done.
func (c *Client) exchange(ctx context.Context, r *request, ops []Op, open []int) (*answer, []part, error) {
	boundary := "batch_" + c.clientID()
	r.path, r.query = "$batch", "" // a tag goes with each part
	r.prefer = "odata.continue-on-error"
	r.contentType = `multipart/mixed; boundary="` + boundary + `"`
	r.body = c.appendBatch(getBuffer().Bytes(), boundary, ops, open)
	defer func() { putBuffer(bytes.NewBuffer(r.body)) }()
	r.work = len(open)
	a, err := c.send(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	parts, closed, err := readParts(a.header, a.body(), len(open))
	switch {
	case err != nil:
		a.cut = err
	case !closed && a.cut == nil:
		a.cut = errors.New("it has no closing boundary")
	}
	return a, parts, nil
}

// appendBatch writes the request's body in the form of dataverse-web-api.md 7.2.
func (c *Client) appendBatch(dst []byte, boundary string, ops []Op, open []int) []byte {
	for _, i := range open {
		op := &ops[i]
		if op.all == nil {
			dst = c.appendOp(dst, boundary, op, "")
			continue
		}
		inner := fmt.Sprintf("changeset_%s_%d", boundary, i)
		dst = fmt.Appendf(dst, "--%s\r\nContent-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n", boundary, inner)
		for k := range op.all {
			dst = c.appendOp(dst, inner, &op.all[k], fmt.Sprintf("Content-ID: %d%03d\r\n", i+1, k))
		}
		dst = fmt.Appendf(dst, "--%s--\r\n\r\n", inner)
	}
	return append(append(append(dst, "--"...), boundary...), "--\r\n"...)
}

// appendOp writes one operation; id is the header that names it within a change set.
func (c *Client) appendOp(dst []byte, boundary string, op *Op, id string) []byte {
	dst = append(append(append(dst, "--"...), boundary...), "\r\n"...)
	dst = append(dst, "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"...)
	dst = append(append(dst, id...), "\r\n"...)
	dst = append(append(dst, op.method...), ' ')
	dst = op.appendPath(append(dst, apiPath...))
	if c.tag != "" && op.method != http.MethodGet {
		dst = append(append(dst, '?'), c.tag...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	if op.method == http.MethodGet {
		return append(dst, "Accept: application/json\r\n\r\n\r\n"...)
	}
	if op.body != nil || op.set2 != "" {
		dst = append(dst, "Content-Type: application/json; type=entry\r\n"...)
	}
	if op.ifMatch {
		dst = append(dst, "If-Match: *\r\n"...)
	}
	dst = append(append(dst, c.part...), "\r\n"...)
	if op.set2 != "" {
		dst = appendRef(dst, c.base, op.set2, op.id2)
	}
	return append(append(dst, op.body...), "\r\n"...)
}

// appendPath writes the operation's address below the service root.
func (op *Op) appendPath(dst []byte) []byte {
	dst = append(dst, op.set...)
	if !op.id.IsZero() {
		dst = append(op.id.Append(append(dst, '(')), ')')
	}
	if op.nav != "" {
		dst = append(append(dst, '/'), op.nav...)
		if op.set2 == "" {
			dst = append(op.id2.Append(append(dst, '(')), ')')
		}
		dst = append(dst, "/$ref"...)
	}
	if op.query != "" {
		dst = append(append(dst, '?'), op.query...)
	}
	return dst
}

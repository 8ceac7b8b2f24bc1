package emulator

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/textproto"
	"strings"
)

// maxBatch is the number of operations a $batch may carry (section 7.1).
const maxBatch = 1000

// maxPartURL is how long the URL of a part may be (section 1.1).
const maxPartURL = 65536

// errStream is what the service makes of wrong line ends (section 1.9).
func errStream() *apiError {
	return errPayload("", "System.ArgumentException: Stream was not readable.")
}

// batchItem is one part of a batch: one operation, or a change set of several.
type batchItem struct {
	ops []batchOp
	set bool // a change set
}

type batchOp struct {
	contentID string
	method    string
	url       string
	header    http.Header
	body      []byte
}

// postBatch answers $batch (section 7).
func (c *call) postBatch() error {
	boundary, err := boundaryOf(c.header.Get("Content-Type"))
	if err != nil {
		return err
	}
	items, err := parseBatch(c.body, boundary, c.srv.opts.LooseBatch)
	var e *apiError
	if errors.As(err, &e) && e.code == payloadCode {
		var out batchWriter
		out.start("batchresponse_")
		out.operation(c.failed(e), "")
		return c.answerBatch(&out, e.status)
	}
	if err != nil {
		return err
	}
	n := 0
	for _, it := range items {
		n += len(it.ops)
	}
	if n > maxBatch {
		return errorf(http.StatusBadRequest, "0x80040203", "The number of operations in the batch has exceeded the maximum batch size of %d", maxBatch)
	}
	return c.runBatch(items)
}

func boundaryOf(contentType string) (string, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return "", errorf(http.StatusUnsupportedMediaType, "0x80060888", "The content type '%s' of a batch request is not multipart/mixed with a boundary.", contentType)
	}
	return params["boundary"], nil
}

func (c *call) runBatch(items []batchItem) error {
	var out batchWriter
	out.start("batchresponse_")
	status := http.StatusOK
	if c.half {
		items = items[:(len(items)+1)/2]
	}
	for _, it := range items {
		var failed int
		var err error
		if it.set {
			failed, err = c.runChangeSet(it.ops, &out)
		} else {
			failed, err = c.runAlone(it.ops[0], &out)
		}
		if err != nil {
			return err // the whole batch is answered by this error
		}
		if failed != 0 && !c.prefer.continueOnErr {
			status = failed
			break
		}
	}
	if c.prefer.continueOnErr {
		c.applied("odata.continue-on-error")
	}
	if c.half {
		c.abort = abortEnd
		return c.answerBatch(&out, status)
	}
	return c.answerBatch(&out, status)
}

func (c *call) answerBatch(out *batchWriter, status int) error {
	c.res.status, c.res.body = status, out.buf
	if !c.half {
		c.res.body = out.end()
	}
	c.set("Content-Type", "multipart/mixed; boundary="+out.boundary)
	return nil
}

// runAlone runs an operation outside a change set; failed is its status when it is
// an error.
func (c *call) runAlone(op batchOp, out *batchWriter) (failed int, err error) {
	held := len(c.holds)
	part, perr := c.part(op, nil, nil, nil)
	if perr == nil {
		perr = part.run()
	}
	c.unlock(held) // the part is over
	if err := c.absorb(part, perr); err != nil {
		return 0, err
	}
	code := ""
	if perr != nil {
		part.fail(perr)
		failed, code = part.res.status, codeOf(perr)
	}
	c.srv.stats.notePart(part, part.res.status, code)
	out.operation(part, "")
	return failed, nil
}

// runChangeSet runs the operations of a change set in one transaction. When one
// fails nothing stays, and only its error is answered (section 7.3).
func (c *call) runChangeSet(ops []batchOp, out *batchWriter) (failed int, err error) {
	refs, asked := map[string]string{}, map[*faultRule]bool{}
	var done []*call
	var bad *call // the operation that failed
	var why error // that it failed
	terr := c.srv.store.update(func(tx *tx) error {
		for _, op := range ops {
			part, perr := c.part(op, tx, refs, asked)
			if perr == nil {
				perr = part.run()
			}
			if err = c.absorb(part, perr); err != nil {
				return err
			}
			if perr != nil {
				bad, why = part, perr
				part.fail(perr)
				if onlyElastic(append(done, part)) {
					return nil // what was written before stays (section 6.3)
				}
				return perr
			}
			refs[op.contentID] = part.ref
			done = append(done, part)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if terr != nil && bad == nil { // the commit itself failed
		bad, why, done = done[len(done)-1], terr, done[:len(done)-1]
		bad.fail(terr)
	}
	for _, part := range done {
		status := part.res.status
		if terr != nil {
			status = 0 // undone
		}
		c.srv.stats.notePart(part, status, "")
	}
	var set batchWriter
	set.start("changesetresponse_")
	if bad != nil {
		c.srv.stats.notePart(bad, bad.res.status, codeOf(why))
		set.operation(bad, bad.contentID)
		failed = bad.res.status
	} else {
		for _, part := range done {
			set.operation(part, part.contentID)
		}
	}
	out.nested(&set)
	return failed, nil
}

// codeOf is the error code of an error that is answered.
func codeOf(err error) string {
	var e *apiError
	if errors.As(err, &e) {
		return e.code
	}
	return ""
}

// part makes the call of one operation.
func (c *call) part(op batchOp, tx *tx, refs map[string]string, asked map[*faultRule]bool) (*call, error) {
	p := &call{srv: c.srv, method: op.method, api: c.api, header: op.header, prefer: parsePrefer(op.header), level: levelOf(op.header.Get("Accept")), body: op.body,
		user: c.user, caller: c.caller, token: c.token, message: "Unknown", tx: tx, refs: refs, contentID: op.contentID, inBatch: true, asked: asked, whole: c}
	target := op.url
	if len(target) > maxPartURL {
		return p, errURL("The request URL is too long: a part of a batch may have up to %d characters.", maxPartURL)
	}
	if _, rest, ok := strings.Cut(target, apiPrefix); ok {
		_, target, _ = strings.Cut(rest, "/")
	}
	target = strings.TrimPrefix(target, "/")
	path, query, _ := strings.Cut(target, "?")
	if strings.HasPrefix(path, "$") && len(path) > 1 && digit(path[1]) {
		id, rest, _ := strings.Cut(path[1:], "/")
		ref, ok := refs[id]
		if !ok {
			return p, errURL("Content-ID Reference: '$%s' does not exist in the batch context.", id)
		}
		path = ref
		if rest != "" {
			path += "/" + rest
		}
	}
	p.path = path
	var err error
	p.query, err = parseQuery(query)
	if strings.HasPrefix(path, "$batch") {
		return p, errPayload("", "Microsoft.OData.ODataException: A batch request cannot be nested in a batch request.")
	}
	if err == nil {
		err = p.impersonate()
	}
	return p, err
}

// absorb adds a part's counts to the batch. It returns the error that answers the
// batch as a whole: what comes from in front of the service, not from the part.
func (c *call) absorb(part *call, err error) error {
	c.cost += part.cost
	if part.letGo != nil {
		c.held, c.letGo = c.held+part.held, part.letGo
	}
	c.records += part.records
	if part.abort != notAborted {
		c.abort = part.abort
	}
	var e *apiError
	if errors.As(err, &e) && (e.html != "" || e.status == http.StatusTooManyRequests && part.fault != FaultRow429 || e.status == http.StatusUnauthorized) {
		c.fault = part.fault
		return e
	}
	if part.abort != notAborted {
		c.fault = part.fault
	}
	return nil
}

// failed is a call that has answered with an error.
func (c *call) failed(e *apiError) *call {
	part := &call{srv: c.srv, prefer: c.prefer}
	part.fail(e)
	return part
}

// parseBatch reads a batch body. Line ends must be CRLF wherever the format has
// them, after the closing boundary too unless loose is set.
func parseBatch(body []byte, boundary string, loose bool) ([]batchItem, error) {
	parts, err := splitParts(body, boundary, !loose)
	if err != nil {
		return nil, err
	}
	var items []batchItem
	for _, p := range parts {
		head, rest, ok := cutHead(p)
		if !ok {
			return nil, errStream()
		}
		kind, params, _ := mime.ParseMediaType(head.Get("Content-Type"))
		if kind == "multipart/mixed" {
			it, err := parseChangeSet(rest, params["boundary"], loose)
			if err != nil {
				return nil, err
			}
			items = append(items, it)
			continue
		}
		op, err := parseOperation(kind, head, rest)
		if err != nil {
			return nil, err
		}
		items = append(items, batchItem{ops: []batchOp{op}})
	}
	return items, nil
}

func parseChangeSet(body []byte, boundary string, loose bool) (batchItem, error) {
	it := batchItem{set: true}
	parts, err := splitParts(body, boundary, false)
	if err != nil {
		return it, err
	}
	seen := map[string]bool{}
	for _, p := range parts {
		head, rest, ok := cutHead(p)
		if !ok {
			return it, errStream()
		}
		kind, _, _ := mime.ParseMediaType(head.Get("Content-Type"))
		op, err := parseOperation(kind, head, rest)
		if err != nil {
			return it, err
		}
		if op.contentID == "" {
			op.contentID = op.header.Get("Content-ID")
		}
		switch {
		case op.method == http.MethodGet:
			return it, errPayload("", "Microsoft.OData.ODataException: An invalid HTTP method 'GET' was detected for a request in a change set. Requests in change sets only support the HTTP methods 'POST', 'PUT', 'DELETE', and 'PATCH'.")
		case op.contentID == "" && loose:
			it.ops = append(it.ops, op)
			continue
		case op.contentID == "":
			return it, errPayload("", "Microsoft.OData.ODataException: The header with name 'Content-ID' was not present in the header collection of the batch operation.")
		case seen[op.contentID]:
			return it, errPayload("", "Microsoft.OData.ODataException: The content ID '"+op.contentID+"' was found more than once in the same change set or same batch operation. Content IDs have to be unique across all operations of a change set for OData V4.0.")
		}
		seen[op.contentID] = true
		it.ops = append(it.ops, op)
	}
	return it, nil
}

// parseOperation reads the HTTP request in a part.
func parseOperation(kind string, head textproto.MIMEHeader, rest []byte) (op batchOp, err error) {
	if kind != "application/http" {
		return op, errPayload("", "Microsoft.OData.ODataException: The content type '"+head.Get("Content-Type")+"' of a batch operation is not valid. A value of 'application/http' was expected.")
	}
	if !strings.EqualFold(head.Get("Content-Transfer-Encoding"), "binary") {
		return op, errPayload("", "Microsoft.OData.ODataException: The 'Content-Transfer-Encoding' of a batch operation is not 'binary'.")
	}
	line, rest, ok := bytes.Cut(rest, []byte("\r\n"))
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ') // the URL may have blanks in it
	if !ok || bytes.ContainsRune(line, '\n') || first < 0 {
		return op, errStream()
	}
	if first == 0 || last == first || string(line[last+1:]) != "HTTP/1.1" || len(bytes.TrimSpace(line[first:last])) == 0 {
		return op, errPayload("", "Microsoft.OData.ODataException: The request line '"+string(line)+"' is invalid. The request line is expected to be in the format 'Method URL HTTP/1.1'.")
	}
	h, body, ok := cutHead(rest)
	if !ok {
		return op, errStream()
	}
	op = batchOp{contentID: head.Get("Content-ID"), method: string(line[:first]), url: strings.TrimSpace(string(line[first:last])), header: http.Header(h), body: bytes.TrimSpace(body)}
	return op, nil
}

// splitParts cuts a multipart body at its boundary. final asks for the CRLF after
// the closing boundary.
func splitParts(body []byte, boundary string, final bool) ([][]byte, error) {
	delimiter := []byte("--" + boundary)
	if boundary == "" {
		return nil, errStream()
	}
	rest := body
	if !bytes.HasPrefix(rest, delimiter) { // a preamble
		_, after, ok := bytes.Cut(rest, append([]byte("\r\n"), delimiter...))
		if !ok {
			return nil, errStream()
		}
		rest = after
	} else {
		rest = rest[len(delimiter):]
	}
	var parts [][]byte
	for {
		if closing, ok := bytes.CutPrefix(rest, []byte("--")); ok {
			if final && !bytes.HasPrefix(closing, []byte("\r\n")) {
				return nil, errStream()
			}
			return parts, nil
		}
		content, ok := bytes.CutPrefix(bytes.TrimLeft(rest, " \t"), []byte("\r\n"))
		if !ok {
			return nil, errStream()
		}
		part, after, ok := bytes.Cut(content, append([]byte("\r\n"), delimiter...))
		if !ok {
			return nil, errStream()
		}
		parts = append(parts, part)
		rest = after
	}
}

// cutHead reads header lines up to the empty line; at the end of the part the empty
// line may be the one before the boundary.
func cutHead(p []byte) (textproto.MIMEHeader, []byte, bool) {
	h := textproto.MIMEHeader{}
	for {
		line, rest, ok := bytes.Cut(p, []byte("\r\n"))
		if bytes.ContainsRune(line, '\n') {
			return nil, nil, false
		}
		if len(line) == 0 {
			return h, rest, ok || len(p) == 0
		}
		name, val, colon := strings.Cut(string(line), ":")
		if !ok || !colon {
			return nil, nil, false
		}
		h.Add(strings.TrimSpace(name), strings.TrimSpace(val))
		p = rest
	}
}

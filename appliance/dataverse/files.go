package dataverse

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// MaxChunk is the most of a file that one request carries, in bytes
// (dataverse-web-api.md 13.1).
const MaxChunk = 4 << 20

// maxInline is up to what size a note's or attachment's body travels in its record: as
// Base64 it is a third larger, and inline is fine below 4 MB (dataverse-web-api.md 13.3).
const maxInline = 2 << 20

// Content is a file on its way into a column.
type Content struct {
	Name string
	Size int64
	io.ReaderAt
}

// ReadError says that a file's content could not be read; nothing is wrong with the target.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "read the file: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// piece reads n bytes from an offset.
func (f *Content) piece(from, n int64) ([]byte, error) {
	b := make([]byte, n)
	if got, err := f.ReadAt(b, from); int64(got) < n {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, &ReadError{err}
	}
	return b, nil
}

// UploadFile puts a file into a file or image column of a record, in place of what is
// there: in one request, or from MaxChunk on in chunks (dataverse-web-api.md 13.1 A, B).
// It has the column whole or not at all. After Lost it may be sent again.
func (c *Client) UploadFile(ctx context.Context, t *schema.Table, id schema.GUID, column string, f Content) error {
	if f.Size > MaxChunk {
		return c.uploadChunks(ctx, t, id, column, f)
	}
	body, err := f.piece(0, f.Size)
	if err != nil {
		return err
	}
	return c.done(ctx, c.fileRequest(t, id, column, f.Name, body))
}

// fileRequest is a PATCH of a file column. A name that a header cannot carry goes into the
// query.
func (c *Client) fileRequest(t *schema.Table, id schema.GUID, column, name string, body []byte) *request {
	r := c.writing(http.MethodPatch, "Upload", t.EntitySet, body)
	r.path, r.contentType = recordPath(t.EntitySet, id)+"/"+column, "application/octet-stream"
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' || name[i] == '%' {
			r.query = joinQuery(r.query, "x-ms-file-name="+url.QueryEscape(name))
			return r
		}
	}
	r.extra = []headerLine{{"X-Ms-File-Name", name}}
	return r
}

func joinQuery(a, b string) string {
	if a == "" {
		return b
	}
	return a + "&" + b
}

func (c *Client) uploadChunks(ctx context.Context, t *schema.Table, id schema.GUID, column string, f Content) error {
	begin := c.fileRequest(t, id, column, "", nil)
	begin.extra = []headerLine{{"X-Ms-Transfer-Mode", "chunked"}}
	begin.query = joinQuery(c.tag, "x-ms-file-name="+url.QueryEscape(f.Name))
	a, err := c.send(ctx, begin)
	if err != nil {
		return err
	}
	session, size := a.header.Get("Location"), int64(MaxChunk)
	if n, err := strconv.ParseInt(a.header.Get("X-Ms-Chunk-Size"), 10, 64); err == nil && n > 0 {
		size = min(n, MaxChunk)
	}
	a.release()
	at, err := url.Parse(session)
	if err != nil || !strings.Contains(at.Path, apiPath) {
		return begin.fail(Lost, err, "the answer does not say where the chunks of the file go")
	}
	_, path, _ := strings.Cut(at.EscapedPath(), apiPath)
	for from := int64(0); from < f.Size; from += size {
		n := min(size, f.Size-from)
		body, err := f.piece(from, n)
		if err != nil {
			return err
		}
		r := c.fileRequest(t, id, column, f.Name, body)
		r.path, r.query = path, joinQuery(at.RawQuery, r.query)
		r.extra = append(r.extra, headerLine{"Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, f.Size)})
		if err := c.done(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// ClearFile empties a file column; one that is empty already stays so.
func (c *Client) ClearFile(ctx context.Context, t *schema.Table, id schema.GUID, column string) error {
	_, _, there, err := c.FileOf(ctx, t, id, column)
	if err != nil || !there {
		return err
	}
	r := c.writing(http.MethodDelete, "Delete", t.EntitySet, nil)
	r.path = recordPath(t.EntitySet, id) + "/" + column
	return c.done(ctx, r)
}

// FileOf tells the name and the size of the file that a column holds.
func (c *Client) FileOf(ctx context.Context, t *schema.Table, id schema.GUID, column string) (name string, size int64, there bool, err error) {
	r := &request{method: http.MethodGet, name: "Read", target: t.EntitySet, header: c.read, work: 1, read: true, bytes: true,
		path: recordPath(t.EntitySet, id) + "/" + column + "/$value", extra: []headerLine{{"Range", "bytes=0-0"}}}
	a, err := c.send(ctx, r)
	if KindOf(err) == NotFound {
		return "", 0, false, nil
	}
	if err != nil {
		return "", 0, false, err
	}
	defer a.release()
	if a.status == http.StatusNoContent {
		return "", 0, false, nil
	}
	name = a.header.Get("X-Ms-File-Name")
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	if size, err = strconv.ParseInt(a.header.Get("X-Ms-File-Size"), 10, 64); err != nil {
		return name, 0, true, r.fail(Lost, err, "the answer does not say the file's size")
	}
	return name, size, true, nil
}

// UpdateNote gives a note that is there its body, with the other columns of fields,
// which begin with a comma: in one request, or in blocks where it is larger
// (dataverse-web-api.md 13.3). After Lost it may be sent again.
func (c *Client) UpdateNote(ctx context.Context, t *schema.Table, id schema.GUID, fields []byte, f Content) error {
	if f.Size <= maxInline {
		body, err := f.inline([]byte(`{"documentbody":"`), append(append([]byte(`"`), fields...), '}'))
		if err != nil {
			return err
		}
		return c.Update(ctx, t, id, body)
	}
	target := fmt.Appendf(nil, `{"@odata.type":"Microsoft.Dynamics.CRM.%s","%s":"%s"%s}`, t.LogicalName, t.PrimaryID, id, fields)
	_, err := c.uploadBlocks(ctx, "Annotation", t, target, f)
	return err
}

// CreateAttachment makes an attachment with its body, by the body {...} of its create:
// in one request, or in blocks. It returns the id. A record that is there already is a
// Duplicate; one whose answer is Lost may be there.
func (c *Client) CreateAttachment(ctx context.Context, t *schema.Table, create []byte, f Content) (schema.GUID, error) {
	comma := ","
	if len(create) == 2 {
		comma = ""
	}
	if f.Size <= maxInline {
		body, err := f.inline([]byte(string(create[:len(create)-1])+comma+`"body":"`), []byte(`"}`))
		if err != nil {
			return schema.GUID{}, err
		}
		return c.CreateID(ctx, t, body)
	}
	target := []byte(`{"@odata.type":"Microsoft.Dynamics.CRM.` + t.LogicalName + `"` + comma + string(create[1:]))
	return c.uploadBlocks(ctx, "Attachment", t, target, f)
}

// UpdateAttachment gives an attachment that is there another body. Blocks only make new
// ones (dataverse-web-api.md 13.3), so that one that is too large for one request is the
// row's fault.
func (c *Client) UpdateAttachment(ctx context.Context, t *schema.Table, id schema.GUID, f Content) error {
	if f.Size > maxInline {
		r := c.writing(http.MethodPatch, "Update", t.EntitySet, nil)
		return r.fail(RowFault, nil, "an attachment of more than %d MB can be made, but its content cannot be replaced: delete it in the target, and load it as a new row", maxInline>>20)
	}
	body, err := f.inline([]byte(`{"body":"`), []byte(`"}`))
	if err != nil {
		return err
	}
	return c.Update(ctx, t, id, body)
}

// inline is the whole content as Base64 between two texts.
func (f *Content) inline(before, after []byte) ([]byte, error) {
	b, err := f.piece(0, f.Size)
	if err != nil {
		return nil, err
	}
	return append(base64.StdEncoding.AppendEncode(before, b), after...), nil
}

// uploadBlocks sends a body in blocks and commits it: nothing is there before.
func (c *Client) uploadBlocks(ctx context.Context, kind string, t *schema.Table, target []byte, f Content) (id schema.GUID, err error) {
	var begun struct{ FileContinuationToken string }
	if err := c.fileAction(ctx, "Initialize"+kind+"BlocksUpload", t, fmt.Appendf(nil, `{"Target":%s}`, target), &begun); err != nil {
		return id, err
	}
	var list []string
	for from := int64(0); from < f.Size; from += MaxChunk / 2 {
		block := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "block-%08d", len(list)))
		body, err := f.piece(from, min(MaxChunk/2, f.Size-from))
		if err != nil {
			return id, err
		}
		text := fmt.Appendf(nil, `{"BlockId":"%s","FileContinuationToken":%q,"BlockData":"`, block, begun.FileContinuationToken)
		if err := c.fileAction(ctx, "UploadBlock", t, append(base64.StdEncoding.AppendEncode(text, body), `"}`...), nil); err != nil {
			return id, err
		}
		list = append(list, block)
	}
	blocks, err := json.Marshal(list)
	if err != nil {
		return id, fmt.Errorf("list the blocks: %w", err)
	}
	var done struct{ AnnotationID, ActivityMimeAttachmentID schema.GUID }
	err = c.fileAction(ctx, "Commit"+kind+"BlocksUpload", t, fmt.Appendf(nil, `{"Target":%s,"BlockList":%s,"FileContinuationToken":%q}`, target, blocks, begun.FileContinuationToken), &done)
	if kind == "Attachment" {
		return done.ActivityMimeAttachmentID, err
	}
	return done.AnnotationID, err
}

// fileAction calls an action and reads its answer into one, unless that is nil.
func (c *Client) fileAction(ctx context.Context, action string, t *schema.Table, body []byte, into any) error {
	r := c.writing(http.MethodPost, action, t.EntitySet, body)
	r.path = action
	a, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer a.release()
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(a.body(), into); err != nil {
		return r.fail(Lost, err, "the answer is not that of the action")
	}
	return nil
}

package emulator

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"dvmigrate/appliance/dataverse/schema"
)

// file is the content of a file column (section 13.1). The row holds its id.
type file struct {
	name, mime string
	data       []byte
}

// The bounds of section 13.1.
const (
	maxChunk      = 4 << 20
	maxSingleFile = 128 << 20
)

// The sizes of a column that says none, in KB (sections 13.1, 13.2).
const (
	defaultFileKB  = 32768
	defaultImageKB = 10240
)

// blockedExtensions are those of organization.blockedattachments where the row has none.
const blockedExtensions = "exe;bat;cmd;com;js;vbs"

// most is the largest content of a file or image column, in bytes.
func (c *column) most() int {
	switch {
	case c.MaxSizeKB > 0:
		return c.MaxSizeKB * 1024
	case c.Type == schema.Image:
		return defaultImageKB * 1024
	}
	return defaultFileKB * 1024
}

// organizationText is a setting of the organization row; empty where it has none.
func (tx *tx) organizationText(name string) string {
	t := tx.s.model.byName["organization"]
	if t == nil || t.byName[name] == nil {
		return ""
	}
	r, _ := tx.row(t, OrganizationID)
	if r.t == nil {
		return ""
	}
	return r.value(t.byName[name]).String()
}

// mayStore refuses a file whose extension or type the organization does not let in.
func (tx *tx) mayStore(name, mimeType string) error {
	ext := strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), ".")
	in := func(list, item string) bool {
		return item != "" && slices.ContainsFunc(strings.Split(list, ";"), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), item) })
	}
	allowed := tx.organizationText("allowedmimetypes")
	mimeType, _, _ = strings.Cut(mimeType, ";") // without its parameters
	if in(or(tx.organizationText("blockedattachments"), blockedExtensions), ext) || in(tx.organizationText("blockedmimetypes"), mimeType) ||
		allowed != "" && mimeType != "" && !in(allowed, mimeType) {
		return errorf(http.StatusBadRequest, "0x80043E09", "The attachment is either not a valid type or is too large. It cannot be uploaded or downloaded.")
	}
	return nil
}

// isImage reports whether bytes begin as a gif, jpg, tif, bmp or png does.
func isImage(b []byte) bool {
	for _, magic := range []string{"GIF8", "\xff\xd8\xff", "II*\x00", "MM\x00*", "BM", "\x89PNG"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return true
		}
	}
	return false
}

func errImage() *apiError {
	return errorf(http.StatusBadRequest, "0x80072553", "Error occured when processing image. Reason: the content is not of a supported image format.")
}

// holds reports whether a column stores values of the kind.
func (c *column) holds(v value) bool {
	switch v.kind {
	case kindNull:
		return true
	case kindInt:
		return c.storage == storeInt
	case kindGUID:
		return c.storage == storeGUID
	}
	return c.storage == storeText
}

// setImages does setImage for the images that a record sets.
func (w *writer) setImages(rec *record, id schema.GUID, vals []value) {
	for _, c := range rec.t.images {
		if rec.sets(c) {
			w.setImage(id, c, vals[c.idx], vals)
		}
	}
}

// setImage puts an image or null into a row's values, with what goes with it.
func (w *writer) setImage(id schema.GUID, col *column, v value, vals []value) {
	vals[col.idx] = v
	url := value{}
	if !v.isNull() {
		url = textValue("/Image/download.aspx?Entity=" + col.t.LogicalName + "&Attribute=" + col.LogicalName + "&Id=" + id.String() + "&Timestamp=" + strconv.FormatInt(w.now, 10))
	}
	for name, with := range map[string]value{col.LogicalName + "id": guidValue(id), col.LogicalName + "_timestamp": intValue(w.now), col.LogicalName + "_url": url} {
		c := col.t.byName[name]
		switch {
		case c == nil || c.derived != notDerived || !c.holds(with):
		case v.isNull():
			vals[c.idx] = value{}
		default:
			vals[c.idx] = with
		}
	}
}

func errFileTooBig() *apiError {
	return errorf(http.StatusBadRequest, "0x80044a02", "Attachment file size is too big.")
}

// uploads are the files that are being sent in parts, by continuation token.
type uploads struct {
	mu     sync.Mutex
	byName map[string]*upload
}

// upload is one file on its way: chunks in order, or blocks put together at the end.
type upload struct {
	set, key, column string // the row's set and key; empty for a note or attachment
	target           []byte // of a note or attachment: the row's JSON
	name             string
	data             []byte
	blocks           map[string][]byte
	download         bool
}

func (u *uploads) begin(one *upload) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byName == nil {
		u.byName = map[string]*upload{}
	}
	token := newGUID().String()
	u.byName[token] = one
	return token
}

// with runs fn on an upload; done says that it is over.
func (u *uploads) with(token string, fn func(*upload) (done bool, err error)) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	one := u.byName[token]
	if one == nil {
		return errorf(http.StatusBadRequest, "0x80040203", "The file continuation token is not valid or has expired.")
	}
	done, err := fn(one)
	if done {
		delete(u.byName, token)
	}
	return err
}

// uploadFile answers PATCH {set}({key})/{column}: a whole file, the start of a
// chunked upload, or a chunk (section 13.1 A, B).
func (c *call) uploadFile() error {
	col := c.table.find(c.segs[1].name)
	if col.Type != schema.File && col.Type != schema.Image {
		return errMethod(c.method)
	}
	name := c.header.Get("x-ms-file-name")
	if query, ok := c.option("x-ms-file-name"); ok && name == "" {
		name = query
	}
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	if token, ok := c.option("sessiontoken"); ok {
		return c.uploadChunk(col, token)
	}
	if c.header.Get("x-ms-transfer-mode") == "chunked" {
		return c.beginChunks(col, name)
	}
	if len(c.body) > maxSingleFile {
		return errFileTooBig()
	}
	c.records = 1
	if _, err := c.storeFile(c.table, c.segs[0].key, col, &file{name: name, mime: mimeOf(name), data: slices.Clone(c.body)}); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) beginChunks(col *column, name string) error {
	err := c.view(func(tx *tx) error {
		_, err := c.findRow(tx, c.table, c.segs[0].key)
		return err
	})
	if err != nil {
		return err
	}
	token := c.srv.uploads.begin(&upload{set: c.table.EntitySet, key: c.segs[0].key, column: col.LogicalName, name: name})
	c.set("Location", c.api+"/"+c.table.EntitySet+"("+c.segs[0].key+")/"+col.LogicalName+"?sessiontoken="+token)
	c.res.header["x-ms-chunk-size"] = []string{strconv.Itoa(maxChunk)}
	c.set("Accept-Ranges", "bytes")
	c.set("Access-Control-Expose-Headers", "x-ms-chunk-size")
	c.res.status = http.StatusOK
	return nil
}

// uploadChunk takes the next bytes of a chunked upload, which must come in order.
func (c *call) uploadChunk(col *column, token string) error {
	from, to, total, ok := parseContentRange(c.header.Get("Content-Range"))
	if !ok {
		return errorf(http.StatusBadRequest, "0x80040203", "The Content-Range header '%s' is not valid.", c.header.Get("Content-Range"))
	}
	var whole *file
	err := c.srv.uploads.with(token, func(u *upload) (bool, error) {
		if u.set != c.table.EntitySet || u.column != col.LogicalName || len(c.body) > maxChunk || from != int64(len(u.data)) || to-from+1 != int64(len(c.body)) {
			return false, errorf(http.StatusBadRequest, "0x80040203", "The chunk %d-%d/%d does not follow what was uploaded before, or is not what its Content-Range says.", from, to, total)
		}
		u.data = append(u.data, c.body...)
		if int64(len(u.data)) < total {
			return false, nil
		}
		whole = &file{name: u.name, mime: mimeOf(u.name), data: u.data}
		return true, nil
	})
	if err != nil {
		return err
	}
	if whole == nil {
		c.res.status = http.StatusPartialContent
		return nil
	}
	c.records = 1
	if _, err := c.storeFile(c.table, c.segs[0].key, col, whole); err != nil {
		return err
	}
	return c.noContent()
}

// parseContentRange reads "bytes 0-9/10".
func parseContentRange(s string) (from, to, total int64, ok bool) {
	span, size, _ := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	a, b, _ := strings.Cut(span, "-")
	from, err1 := strconv.ParseInt(a, 10, 64)
	to, err2 := strconv.ParseInt(b, 10, 64)
	total, err3 := strconv.ParseInt(size, 10, 64)
	return from, to, total, err1 == nil && err2 == nil && err3 == nil
}

func mimeOf(name string) string {
	return or(mime.TypeByExtension(filepath.Ext(name)), "application/octet-stream")
}

// storeFile puts a file into a row's column and returns the file's id. An image is
// kept in the row itself.
func (c *call) storeFile(t *table, key string, col *column, f *file) (id schema.GUID, err error) {
	if len(f.data) > col.most() {
		return id, errFileTooBig()
	}
	if col.Type == schema.Image && !isImage(f.data) {
		return id, errImage()
	}
	id = c.srv.nextID()
	err = c.change(func(w *writer) error {
		if err := w.tx.mayStore(f.name, f.mime); err != nil {
			return err
		}
		old, err := c.findRow(w.tx, t, key)
		if err == nil {
			err = c.may(w.tx, "Write", t)
		}
		if err == nil {
			err = w.hold(t, old.id)
		}
		if err != nil {
			return err
		}
		vals := old.values()
		if col.Type == schema.Image {
			w.setImage(old.id, col, textValue(base64.StdEncoding.EncodeToString(f.data)), vals)
		} else {
			vals[col.idx] = guidValue(id)
			w.tx.setFile(id, f)
			if err := w.tx.attach(t, old.id, col, id, f); err != nil {
				return err
			}
		}
		if n := t.byName[col.LogicalName+"_name"]; n != nil && n.storage == storeText {
			vals[n.idx] = textValue(f.name)
		}
		w.stamp(t, vals)
		return w.tx.replace(old, vals)
	})
	return id, err
}

// setFile adds a file that a row of the transaction refers to.
func (tx *tx) setFile(id schema.GUID, f *file) {
	tx.s.files[id] = f
	tx.newFiles = append(tx.newFiles, id)
	if tx.logging {
		tx.log = appendFile(tx.log, id, f)
	}
}

func appendFile(dst []byte, id schema.GUID, f *file) []byte {
	dst = append(append(dst, 'F'), id[:]...)
	for _, part := range [][]byte{[]byte(f.name), []byte(f.mime), f.data} {
		dst = append(binary.AppendUvarint(dst, uint64(len(part))), part...)
	}
	return dst
}

// clearFile empties a file column; its content goes with the commit.
func (c *call) clearFile(col *column) error {
	c.records = 1
	return c.change(func(w *writer) error {
		old, err := c.findRow(w.tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		if err := w.clearFile(old, col); err != nil {
			return err
		}
		return c.noContent()
	})
}

func (w *writer) clearFile(old row, col *column) error {
	if err := w.c.may(w.tx, "Write", old.t); err != nil {
		return err
	}
	vals := old.values()
	vals[col.idx] = value{}
	if n := old.t.byName[col.LogicalName+"_name"]; n != nil {
		vals[n.idx] = value{}
	}
	w.stamp(old.t, vals)
	return w.tx.replace(old, vals)
}

// dropFiles forgets the files that the rows a transaction changed no longer hold.
func (s *store) dropFiles(tx *tx) {
	for i := range tx.undo {
		u := &tx.undo[i]
		if u.t == nil || u.old == nil || len(u.t.files) == 0 {
			continue
		}
		now, _ := tx.row(u.t, u.id)
		s.dropReplaced(u.t, u.old, now.data)
	}
}

// dropReplaced forgets the files that a row's former bytes refer to and its present
// ones do not.
func (s *store) dropReplaced(t *table, old, data []byte) {
	for _, c := range t.files {
		if old == nil {
			return
		}
		was, now := s.columnAt(t, old, c), value{}
		if data != nil {
			now = s.columnAt(t, data, c)
		}
		if !was.isNull() && now.guid != was.guid {
			delete(s.files, was.guid)
		}
	}
}

// downloadFile answers GET of a file or image column: its bytes with $value, or in
// JSON without; a part of it with Range (section 13.1).
func (c *call) downloadFile(inJSON bool) error {
	col := c.table.find(c.segs[1].name)
	var f *file
	err := c.view(func(tx *tx) error {
		r, err := c.findRow(tx, c.table, c.segs[0].key)
		if err != nil {
			return err
		}
		v := r.value(col)
		if col.Type == schema.Image && !v.isNull() {
			data, _ := base64.StdEncoding.DecodeString(v.text)
			f = &file{name: col.LogicalName, mime: http.DetectContentType(data), data: data}
		} else if !v.isNull() {
			f = tx.s.files[v.guid]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if f == nil {
		return c.noContent()
	}
	status, data := http.StatusOK, f.data
	if from, to, ok := parseRange(c.header.Get("Range"), len(f.data)); ok {
		if from == to && len(f.data) > 0 {
			return errorf(http.StatusRequestedRangeNotSatisfiable, "0x80040203", "The Range header '%s' lies outside the file.", clip(c.header.Get("Range")))
		}
		status, data = http.StatusPartialContent, f.data[from:to]
		c.set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(f.data)))
	}
	for name, v := range map[string]string{"x-ms-file-name": f.name, "x-ms-file-size": strconv.Itoa(len(f.data)), "mimetype": f.mime} {
		c.set(name, v)
	}
	c.set("Location", c.api+"/"+c.path+"?FileContinuationToken="+newGUID().String())
	c.set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.name}))
	if inJSON {
		body := appendString([]byte(`{"@odata.context":`), c.api+"/$metadata#"+c.table.EntitySet+"("+c.segs[0].key+")/"+col.LogicalName)
		body = append(appendString(append(body, `,"value":`...), base64.StdEncoding.EncodeToString(data)), '}')
		return c.json(status, body)
	}
	c.set("Content-Type", "application/octet-stream")
	c.res.status, c.res.body = status, data
	return nil
}

// parseRange reads "bytes=0-9", cut off at the file's end, or "bytes=-9", its last.
func parseRange(s string, size int) (from, to int, ok bool) {
	span, ok := strings.CutPrefix(s, "bytes=")
	a, b, dash := strings.Cut(strings.TrimSpace(span), "-")
	if last, err := strconv.Atoi(b); ok && dash && a == "" && err == nil && last >= 0 {
		return max(0, size-last), size, true
	}
	from, err := strconv.Atoi(a)
	if !ok || !dash || err != nil || from < 0 {
		return 0, 0, false
	}
	to = size
	if last, err := strconv.Atoi(b); err == nil {
		to = min(size-1, last) + 1
	}
	from = min(from, size)
	return from, max(from, to), true
}

// primaryImage is the image column that a create may set (section 13.2). A $metadata
// document does not say which it is: entityimage is, where there is one.
func primaryImage(t *schema.Table) string {
	if t.PrimaryImage == "" && slices.ContainsFunc(t.Columns, func(c *schema.Column) bool { return c.LogicalName == "entityimage" && c.Type == schema.Image }) {
		return "entityimage"
	}
	return t.PrimaryImage
}

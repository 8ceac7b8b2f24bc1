package emulator

import (
	"net/http"
	"slices"
	"strconv"
)

// batchWriter writes a multipart answer (section 7.3).
type batchWriter struct {
	boundary string
	buf      []byte
}

func (b *batchWriter) start(prefix string) { b.boundary = prefix + newGUID().String() }

func (b *batchWriter) line(s ...string) {
	for _, p := range s {
		b.buf = append(b.buf, p...)
	}
	b.buf = append(b.buf, "\r\n"...)
}

// operation adds the answer of one operation; contentID only inside change sets.
func (b *batchWriter) operation(c *call, contentID string) {
	b.line("--", b.boundary)
	b.line("Content-Type: application/http")
	b.line("Content-Transfer-Encoding: binary")
	if contentID != "" {
		b.line("Content-ID: ", contentID)
	}
	b.line()
	b.line("HTTP/1.1 ", strconv.Itoa(c.res.status), " ", http.StatusText(c.res.status))
	if c.res.status >= 400 {
		b.line("REQ_ID: ", newGUID().String())
	}
	names := make([]string, 0, len(c.res.header))
	for name := range c.res.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range c.res.header[name] {
			b.line(name, ": ", v)
		}
	}
	b.line("OData-Version: 4.0")
	if c.res.entityID != "" {
		b.line("Location: ", c.res.entityID)
		b.line("OData-EntityId: ", c.res.entityID)
	}
	b.line()
	b.buf = append(b.buf, c.res.body...)
	b.line()
}

// nested adds a change set's answer.
func (b *batchWriter) nested(set *batchWriter) {
	b.line("--", b.boundary)
	b.line("Content-Type: multipart/mixed; boundary=", set.boundary)
	b.line()
	b.buf = append(b.buf, set.end()...)
}

func (b *batchWriter) end() []byte {
	b.line("--", b.boundary, "--")
	return b.buf
}

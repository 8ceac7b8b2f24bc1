package emulator

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fail turns an error into the answer.
func (c *call) fail(err error) {
	var e *apiError
	if !errors.As(err, &e) {
		e = errorf(http.StatusInternalServerError, "0x80040216", "An unexpected error occurred. %v", err)
	}
	c.res = response{status: e.status}
	switch {
	case e.html != "":
		c.res.body = []byte(e.html)
		c.set("Content-Type", "text/html")
	case e.challenge:
		org, _, _ := strings.Cut(c.api, apiPrefix)
		c.set("WWW-Authenticate", "Bearer authorization_uri=https://login.microsoftonline.com/"+OrganizationID.String()+"/oauth2/authorize, resource_id="+org+"/")
	default:
		c.res.body = e.appendJSON(nil, c.prefer.wants)
		c.set("Content-Type", c.level.jsonType())
	}
	if e.retryAfter > 0 {
		wait := c.srv.real(time.Duration(e.retryAfter) * time.Second)
		c.set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
}

// verbs is what the front end says it takes, whatever the path (section 1.4).
var verbs = []string{"OPTIONS,GET,HEAD,POST"}

// send writes the answer, or ends the connection as a fault asked for.
func (c *call) send(w http.ResponseWriter) {
	if c.abort == abortReset {
		reset(w)
		return
	}
	h := w.Header()
	for name, vals := range c.res.header {
		h[name] = vals
	}
	id := newGUID().String()
	h["OData-Version"] = []string{"4.0"}
	h["x-ms-service-request-id"] = []string{id}
	h["REQ_ID"] = []string{id}
	h["Allow"], h["Public"] = verbs, verbs
	shareWith(c.header.Get("Origin"), h)
	h["Strict-Transport-Security"] = []string{"max-age=31536000; includeSubDomains"}
	if c.res.entityID != "" {
		h["OData-EntityId"] = []string{c.res.entityID}
	}
	if c.srv.opts.DopHint > 0 {
		h["x-ms-dop-hint"] = []string{strconv.Itoa(c.srv.opts.DopHint)}
	}
	if len(c.res.body) > gzipFrom && acceptsGzip(c.header) {
		h["Content-Encoding"], h["Vary"] = []string{"gzip"}, []string{"Accept-Encoding"}
		c.res.body = zipped(c.res.body)
	}
	if c.abort != notAborted {
		c.sendPart(w)
		return
	}
	if c.res.status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.Itoa(len(c.res.body))}
	}
	w.WriteHeader(c.res.status)
	w.Write(c.res.body)
}

// sendPart writes what a fault lets through: half the body or the parts of a $batch
// that were answered, then the connection breaks; or the whole in drops.
func (c *call) sendPart(w http.ResponseWriter) {
	out := http.NewResponseController(w)
	body := c.res.body
	w.Header()["Content-Length"] = []string{strconv.Itoa(max(len(body), 1))}
	switch c.abort {
	case abortCut:
		body = body[:len(body)/2]
	case abortEnd:
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body) + 1)}
	case abortTrickle:
		w.WriteHeader(c.res.status)
		const drops = 20
		for i := range drops {
			time.Sleep(c.srv.real(c.trickle) / drops)
			if _, err := w.Write(body[i*len(body)/drops : (i+1)*len(body)/drops]); err != nil {
				return
			}
			out.Flush()
		}
		return
	}
	w.WriteHeader(c.res.status)
	w.Write(body)
	out.Flush()
	panic(http.ErrAbortHandler)
}

// gzipFrom is the size from which a body is compressed for a client that asks.
const gzipFrom = 2048

func acceptsGzip(h http.Header) bool {
	return slices.ContainsFunc(strings.Split(h.Get("Accept-Encoding"), ","), func(s string) bool {
		name, q, _ := strings.Cut(strings.TrimSpace(s), ";")
		return name == "gzip" && strings.TrimSpace(q) != "q=0"
	})
}

var zippers = sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed); return z }}

func zipped(body []byte) []byte {
	var out bytes.Buffer
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(&out)
	z.Write(body)
	z.Close()
	return out.Bytes()
}

// reset closes the connection without an answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2: the stream is reset
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

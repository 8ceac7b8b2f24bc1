package dataverse

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/dataverse/pace"
)

// The largest answers that are read.
const (
	maxWriteAnswer = 64 << 20
	maxReadAnswer  = 512 << 20
)

// request is one HTTP request before it is sent, as often as need be.
type request struct {
	name, target string // for messages: CreateMultiple, accounts
	method       string
	path         string // below the service root, already escaped
	query        string
	header       http.Header // the client's read or write; shared
	prefer       string
	ifMatch      string
	contentType  string // instead of JSON
	extra        []headerLine
	body         []byte
	work         int  // records it carries
	read         bool // sending it again does no harm
	pieces       bool // may be applied in part: a batch, a bulk request on an elastic table
	keepCut      bool // an answer that breaks off is of use as far as it goes
	bytes        bool // the answer is a file's content, not JSON
}

// headerLine is one line more in a request's head.
type headerLine struct{ name, value string }

func (r *request) op() string { return strings.TrimSpace(r.name + " " + r.target) }

// fail is an error of our own making about the request.
func (r *request) fail(kind Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: r.op(), Message: fmt.Sprintf(format, args...), Err: err}
}

// answer is a success as it came. Its body is the pool's: release it when done.
type answer struct {
	status int
	header http.Header
	buf    *bytes.Buffer
	cut    error // the body broke off; only with keepCut
	rows   []int // of a page: where each begins and ends
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (a *answer) body() []byte { return a.buf.Bytes() }

func (a *answer) release() {
	putBuffer(a.buf)
	a.buf = nil
}

func getBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= 8<<20 { // let giants go
		b.Reset()
		buffers.Put(b)
	}
}

// send sends a request until it succeeds or an error has to go up. It is the one
// place that decides what is sent again:
//
//	throttled               after the hold, without end, until the context ends;
//	                        not by a client that passes on
//	token refused           once, with a new token
//	not applied for certain, and the cause passes (Transient, RolledBack)
//	                        Options.Attempts times, with growing waits
//	a read without answer   the same; one that a deadlock undid, or for which the database took too
//	                        long, twice as often, within a minute: a load that reads back what a
//	                        lost answer did ends with it
//	no service (Unreachable; a read that meets a gateway's page)
//	                        for Options.Patience, if it was there before
func (c *Client) send(ctx context.Context, r *request) (*answer, error) {
	var last *Error
	wait := waits{ctx: ctx, read: r.read}
	defer wait.done()
	var missing time.Time // since then no service is there
	refreshed := false
	for attempt := 1; ; {
		a, token, e := c.attempt(ctx, &wait, r)
		if e == nil {
			c.known.met.Store(true)
			return a, nil
		}
		if e.Kind == Stopped { // after an earlier try, that one tells more
			return nil, stopped(e, last)
		}
		if r.read && e.Kind == Lost {
			e.Kind = Transient
		}
		last = e
		switch {
		case e.Kind == Throttled && c.passOn:
			return nil, e
		case e.Kind == Throttled:
			continue
		case e.Status == http.StatusUnauthorized && !refreshed:
			refreshed, last = true, nil
			c.token.Expire(token)
			continue
		case !passes(e.Kind) && !(r.read && e.timedOut()) || ctx.Err() != nil:
			return nil, e
		case e.noService() && c.patience > 0 && c.known.met.Load():
			if missing.IsZero() {
				missing = time.Now()
			}
			if time.Since(missing) >= c.patience {
				return nil, e
			}
		case e.Kind == Unreachable || attempt >= c.tries(r, e):
			return nil, e
		}
		c.log.Debug("try again", "op", e.Op, "attempt", attempt, "request", e.RequestID)
		if err := pace.Backoff(wait.context(), attempt, e.RetryAfter); err != nil {
			return nil, stopped(r.fail(Stopped, err, ""), e)
		}
		attempt++
	}
}

// tries is how often a request is sent that met such an error each time.
func (c *Client) tries(r *request, e *Error) int {
	if r.read && (e.Kind == RolledBack || e.timedOut()) {
		return 2 * c.attempts
	}
	return c.attempts
}

// passes tells whether trying again may help, and does no harm.
func passes(k Kind) bool { return k == Transient || k == RolledBack || k == Unreachable }

// stopped is the error of a request whose context ended while it waited: what it met
// last when that says more, with the context's error as cause.
func stopped(e, last *Error) *Error {
	if last == nil {
		return e
	}
	s := *last
	s.Err = errors.Join(last.Err, e.Err)
	return &s
}

// attempt sends a request once: token, permit, round trip. It waits for its permit as
// long as wait lasts. It also returns the token it used.
func (c *Client) attempt(ctx context.Context, wait *waits, r *request) (*answer, string, *Error) {
	token, err := c.token.Token(ctx)
	if err != nil {
		return nil, "", c.tokenError(ctx, r, err)
	}
	permit, err := c.permit(wait)
	if err == errHeld {
		return nil, token, r.fail(Throttled, err, "not sent: %v", err)
	}
	if err != nil {
		return nil, token, r.fail(Stopped, err, "stopped before it was sent")
	}
	began := time.Now()
	a, e := c.roundTrip(ctx, r, token)
	x := Exchange{Op: r.name, Set: r.target, Records: r.work, Bytes: len(r.body), Took: time.Since(began)}
	if e != nil {
		x.Kind, x.Status = e.Kind, e.Status
	} else {
		x.Status = a.status
	}
	c.tell(ctx, x)
	permit.Done(c.outcome(r, a, e))
	if e != nil {
		e.Message = scrub(e.Message, token)
		e.Detail = scrub(e.Detail, token)
		c.logFailure(ctx, x, e)
	}
	return a, token, e
}

func (c *Client) tokenError(ctx context.Context, r *request, err error) *Error {
	if ctx.Err() != nil {
		return r.fail(Stopped, context.Cause(ctx), "stopped before it was sent")
	}
	var t interface{ Temporary() bool }
	if errors.As(err, &t) && t.Temporary() {
		return r.fail(Unreachable, err, "%v", err)
	}
	return r.fail(SignIn, err, "%v", err)
}

// roundTrip sends the bytes and reads the whole answer.
func (c *Client) roundTrip(parent context.Context, r *request, token string) (*answer, *Error) {
	began := time.Now()
	if c.overWire(r, token) {
		res, connected, err := c.wire.do(parent, c.timeout, r.body, func(dst []byte) []byte { return c.wireHead(dst, r, token) })
		if err != nil {
			return nil, c.noAnswer(parent, r, err, connected, time.Since(began))
		}
		defer res.Body.Close()
		return c.readAnswer(parent, r, res)
	}
	ctx, cancel := context.WithTimeout(parent, c.timeout)
	defer cancel()
	var connected atomic.Bool // bytes may have been sent
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connected.Store(false) }, // the transport tries again when no byte was sent
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	body := &payload{bytes: r.body}
	defer body.takeBack()
	res, err := c.http.Do(c.httpRequest(ctx, r, token, body))
	if err != nil {
		return nil, c.noAnswer(parent, r, err, connected.Load(), time.Since(began))
	}
	defer res.Body.Close()
	return c.readAnswer(parent, r, res)
}

// readAnswer reads the whole answer whose head has come.
func (c *Client) readAnswer(parent context.Context, r *request, res *http.Response) (*answer, *Error) {
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return c.refused(r, res)
	}
	a := &answer{status: res.StatusCode, header: res.Header, buf: getBuffer()}
	limit := int64(maxWriteAnswer)
	if r.read {
		limit = maxReadAnswer
	}
	n, err := a.buf.ReadFrom(io.LimitReader(res.Body, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("it is longer than %d MB", limit>>20)
	}
	if err != nil && !r.keepCut {
		a.release()
		e := r.fail(Lost, ended(parent), "the answer (HTTP %d) broke off: %v", res.StatusCode, bare(err))
		e.Status = res.StatusCode
		return nil, e
	}
	a.cut = err
	if e := c.strange(r, a); e != nil {
		a.release()
		return nil, e
	}
	return a, nil
}

// httpRequest makes the request for one try.
func (c *Client) httpRequest(ctx context.Context, r *request, token string, body *payload) *http.Request {
	h := maps.Clone(r.header)
	h["Authorization"] = []string{"Bearer " + token}
	h["X-Ms-Client-Request-Id"] = []string{c.clientID()}
	if r.prefer != "" {
		h["Prefer"] = []string{r.prefer}
	}
	if r.ifMatch != "" {
		h["If-Match"] = []string{r.ifMatch}
	}
	if r.contentType != "" {
		h["Content-Type"] = []string{r.contentType}
	}
	if r.body == nil {
		delete(h, "Content-Type")
	}
	for _, l := range r.extra {
		h[l.name] = []string{l.value}
	}
	u := &url.URL{Scheme: c.scheme, Host: c.host, RawQuery: r.query}
	u.RawPath = apiPath + r.path
	u.Path, _ = url.PathUnescape(u.RawPath) // of our own making: always readable
	req := &http.Request{Method: r.method, URL: u, Host: u.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if r.body != nil {
		req.ContentLength = int64(len(r.body))
		req.GetBody = body.reader
		req.Body, _ = body.reader()
	}
	return req.WithContext(ctx)
}

// noAnswer judges a round trip without any answer: before a connection was there
// nothing was sent, after it nothing is known.
func (c *Client) noAnswer(parent context.Context, r *request, err error, connected bool, took time.Duration) *Error {
	cause := ended(parent)
	switch {
	case connected && parent.Err() != nil:
		return r.fail(Lost, cause, "stopped after %.1fs while waiting for the answer", took.Seconds())
	case connected && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)):
		return r.fail(Lost, cause, "no answer within %v", c.timeout)
	case connected:
		return r.fail(Lost, cause, "the connection broke after %.1fs without an answer: %v", took.Seconds(), bare(err))
	case parent.Err() != nil:
		return r.fail(Stopped, cause, "stopped before it was sent")
	}
	if untrusted := new(tls.CertificateVerificationError); errors.As(err, &untrusted) {
		return r.fail(Unreachable, cause, "the certificate of %s is not accepted: %v: is this machine's clock right, and does a proxy put its own certificate there? Then its authority has to be known here (SSL_CERT_FILE)", c.base, untrusted.Err)
	}
	return r.fail(Unreachable, cause, "cannot connect to %s: %v: is the address right, and is a proxy needed?", c.base, bare(err))
}

// ended is the cause with which the caller's context has ended; nil when it has not.
// Network errors are told in words only, as they may hold what must not show.
func ended(parent context.Context) error {
	if parent.Err() == nil {
		return nil
	}
	return context.Cause(parent)
}

// bare is an error's text without the address it was about, whose query may be long,
// and without the password of a proxy.
func bare(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return scrub(err.Error(), "")
}

// refused reads an answer that is not a success.
func (c *Client) refused(r *request, res *http.Response) (*answer, *Error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, maxWriteAnswer))
	if r.keepCut && isMultipart(res.Header) {
		return &answer{status: res.StatusCode, header: res.Header, buf: bytes.NewBuffer(body), cut: err}, nil
	}
	f := readFault(res.StatusCode, res.Header, body)
	f.broken = err != nil
	if res.StatusCode < 400 {
		f.message = "the address answers with a redirect: is it the environment's?"
		if to, err := res.Location(); err == nil {
			f.message = fmt.Sprintf("the address answers with a redirect to %s: is it the environment's?", to.Host)
		}
	}
	return nil, c.judge(r, f)
}

// judge makes the Error of a fault. Where no one transaction holds the whole request,
// a server's error says nothing of what was applied before it.
func (c *Client) judge(r *request, f fault) *Error {
	kind := classify(f, c)
	if r.pieces {
		switch {
		case len(f.rows) > 0:
			kind = Partial
		case f.status >= 500:
			kind = Lost
		}
	}
	return f.err(r.op(), kind)
}

// strange finds a success that the service cannot have meant: a page of a proxy or
// a sign-in in place of JSON, or JSON that a read cannot use.
func (c *Client) strange(r *request, a *answer) *Error {
	if a.status == http.StatusNoContent || a.buf.Len() == 0 || r.bytes {
		return nil
	}
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if r.read && media == "application/json" {
		var ok bool
		if a.rows, ok = checked(a.body()); !ok {
			e := r.fail(Lost, nil, "the answer is broken JSON")
			e.Status = a.status
			return e
		}
	}
	if media == "application/json" || media == "text/plain" || strings.HasPrefix(media, "multipart/") {
		return nil
	}
	kind := Lost
	if r.read {
		kind = Setup
	}
	e := r.fail(kind, nil, "the answer is %q, not JSON: %s", media, pageText(a.status, a.body()))
	e.Status = a.status
	return e
}

func isMultipart(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "multipart/")
}

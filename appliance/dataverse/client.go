package dataverse

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
)

// apiPath is the service root below the environment's URL (dataverse-web-api.md 1.1).
const apiPath = "/api/data/v9.2/"

const jsonType = "application/json; charset=utf-8"

// credential gives tokens. Package identity has several.
type credential interface {
	// Token returns a token that is good for some minutes. An error that has
	// Temporary() true is one of the network; any other is of the sign-in.
	Token(ctx context.Context) (string, error)
	// Expire says that the service refused the token: the next Token is a new one.
	Expire(token string)
}

// Options say which environment, as whom and how.
type Options struct {
	URL     string        // https://acme.crm4.dynamics.com; http only for loopback
	Token   credential    // who sends
	Limiter *pace.Limiter // shared by all clients of the same user; nil: one of its own
	HTTP    *http.Client  // nil: one made for this; its redirects and cookies are not used
	HTTP2   bool          // allow HTTP/2, which puts all requests on one connection (20)
	// Dial makes the connections, without a proxy; nil: as the environment says.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Timeout time.Duration // of one request with its answer; 0: 150 s
	// Attempts is how often a request is sent that was certainly not applied, or
	// only reads; throttles do not count. 0: 4.
	Attempts int
	// Patience is how long a request is tried that finds no service, and a read that
	// finds only a gateway's page, once the service has answered at all. 0: 30 minutes;
	// less: none.
	Patience  time.Duration
	UserAgent string      // "" : dvmigrate
	RunID     schema.GUID // starts each x-ms-client-request-id; zero: random
	// Headers go with every write, also inside a batch: MSCRM.* options,
	// impersonation (dataverse-web-api.md 9).
	Headers map[string]string
	Logger  *slog.Logger // nil: none
	// Observe is told of every request that was answered, or met nobody, from many
	// goroutines; nil: nobody is.
	Observe func(Exchange)
}

// Exchange is one request and its answer, as who measures a target sees it.
type Exchange struct {
	Op      string        // CreateMultiple, Create, $batch, WhoAmI …
	Set     string        // the entity set; "" = none
	Records int           // that the request carried
	Bytes   int           // of its body
	Took    time.Duration // from the first byte sent to the last one read
	Kind    Kind          // of the error; 0 = a success
	Status  int           // HTTP; 0 = no answer
}

// Client sends requests to one environment as one user. Its methods may be called
// at once from many goroutines; pace bounds how many are under way.
type Client struct {
	base      string // https://acme.crm4.dynamics.com
	scheme    string
	host      string
	token     credential
	pace      *pace.Limiter
	http      *http.Client
	wire      *wire // of writes; nil: they go through http too
	timeout   time.Duration
	attempts  int
	patience  time.Duration
	read      http.Header       // of every read; shared, never changed
	write     http.Header       // of every write; shared, never changed
	batchRead http.Header       // of a batch that only reads; shared, never changed
	own       map[string]string // Options.Headers as header lines, by canonical name
	part      []byte            // the same as they stand in a batch's parts
	head      []byte            // write as header lines, without the content's type
	tag       string            // ?tag= of every write, escaped; "": none
	passOn    bool              // a throttled request is not sent again
	run       schema.GUID
	log       *slog.Logger
	observe   func(Exchange)
	known     *known
}

// known is what a client and its With copies learn on the way.
type known struct {
	requests atomic.Uint64               // numbers the client request ids
	caller   atomic.Pointer[schema.GUID] // who we are, after WhoAmI
	limits   atomic.Pointer[Limits]      // as the last answer told them
	met      atomic.Bool                 // the service has answered with a success
}

// New makes a client; it sends nothing.
func New(o Options) (*Client, error) {
	root, err := serviceRoot(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Token == nil {
		return nil, errors.New("connect to dataverse: no credential given")
	}
	c := &Client{
		base: root.Scheme + "://" + root.Host, scheme: root.Scheme, host: root.Host, token: o.Token, pace: o.Limiter, timeout: o.Timeout, attempts: o.Attempts, patience: o.Patience,
		run: o.RunID, log: o.Logger, observe: o.Observe, known: new(known),
	}
	if c.pace == nil {
		c.pace = pace.New(pace.Options{})
	}
	if c.timeout <= 0 {
		c.timeout = 150 * time.Second
	}
	if c.attempts <= 0 {
		c.attempts = 4
	}
	if c.patience == 0 {
		c.patience = 30 * time.Minute
	}
	if c.run.IsZero() {
		_, _ = rand.Read(c.run[:]) // never fails
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.http, c.wire = httpClient(o, c.pace.Max()), newWire(root, o)
	c.read = http.Header{
		"Accept":           {"application/json"},
		"Odata-Maxversion": {"4.0"},
		"Odata-Version":    {"4.0"},
		"If-None-Match":    {"null"},
		"User-Agent":       {first(o.UserAgent, "dvmigrate")},
	}
	c.write = maps.Clone(c.read)
	c.write["Content-Type"] = []string{jsonType}
	c.batchRead = maps.Clone(c.read)
	// Answers to writes are small; unpacking them costs more than it saves.
	c.write["Accept-Encoding"] = []string{"identity"}
	return c.With(o.Headers)
}

// With returns a client that sends more headers with each write, as Options.Headers
// do; all else is shared.
func (c *Client) With(headers map[string]string) (*Client, error) {
	d := *c
	d.write, d.own, d.part = maps.Clone(c.write), make(map[string]string), nil
	maps.Copy(d.own, c.own)
	for name, value := range headers {
		if !headerName(name) || strings.ContainsFunc(value, notHeader) {
			return nil, fmt.Errorf("set header %q: not a valid header", name)
		}
		key := http.CanonicalHeaderKey(name)
		if forbidden[key] {
			return nil, fmt.Errorf("set header %q: the client sets it itself", name)
		}
		d.write[key] = []string{value}
		d.own[key] = name + ": " + value
	}
	for _, name := range slices.Sorted(maps.Keys(d.own)) {
		d.part = append(append(d.part, d.own[name]...), "\r\n"...)
	}
	d.head = headLines(d.write)
	return &d, nil
}

// Tagged returns a client whose writes carry a text that plug-ins find in the shared
// variable tag (dataverse-web-api.md 9).
func (c *Client) Tagged(tag string) *Client {
	d := *c
	d.tag = ""
	if tag != "" {
		d.tag = "tag=" + strings.ReplaceAll(url.QueryEscape(tag), "+", "%20")
	}
	return &d
}

// forbidden are the headers that Options.Headers cannot set.
var forbidden = map[string]bool{
	"Authorization": true, "Content-Type": true, "Content-Length": true, "Host": true, "Connection": true,
	"Transfer-Encoding": true, "Accept-Encoding": true, "Prefer": true, "If-Match": true, "If-None-Match": true,
}

func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '-' || r == '.' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	})
}

func notHeader(r rune) bool { return r < ' ' && r != '\t' || r > '~' }

// serviceRoot checks the environment's URL, with or without the path of the Web API.
func serviceRoot(s string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("connect to dataverse: %s: the address looks like https://acme.crm4.dynamics.com", why)
	}
	s = strings.TrimSpace(s)
	if s == "" {
		return bad("no address given")
	}
	u, err := url.Parse(s)
	if err != nil {
		return bad("the address cannot be read") // the text may hold a secret
	}
	switch {
	case u.User != nil:
		return bad("the address holds a user name or password")
	case u.Scheme == "" || u.Host == "":
		return bad(fmt.Sprintf("%q has no https:// or no host", s))
	case u.Scheme != "https" && u.Scheme != "http":
		return bad(fmt.Sprintf("%q is neither https nor http", u.Scheme))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return bad(fmt.Sprintf("http to %s would send the token in the clear", u.Hostname()))
	case u.RawQuery != "" || u.Fragment != "":
		return bad("the address has a query or a fragment")
	}
	path := strings.TrimSuffix(u.Path, "/")
	if path != "" && path+"/" != apiPath {
		return bad(fmt.Sprintf("the path %q does not belong to it", u.Path))
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// httpClient makes the client that requests go through: no cookies, so that requests
// spread over the servers (8.3); no redirects, which would carry the token elsewhere.
func httpClient(o Options, parallel int) *http.Client {
	var c http.Client
	if o.HTTP != nil {
		c = *o.HTTP
	} else {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(o.HTTP2)
		conns := max(parallel, 16)
		t := &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   30 * time.Second,
			MaxIdleConns:          2 * conns,
			MaxIdleConnsPerHost:   conns,
			MaxConnsPerHost:       conns,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: 0, // the request's own deadline
			WriteBufferSize:       64 << 10,
			ReadBufferSize:        32 << 10,
			Protocols:             protocols,
		}
		if o.Dial != nil {
			t.DialContext, t.Proxy = o.Dial, nil
		}
		c.Transport = t
	}
	c.Jar = nil
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// caller is who we are; zero before WhoAmI.
func (c *Client) caller() schema.GUID {
	if g := c.known.caller.Load(); g != nil {
		return *g
	}
	return schema.GUID{}
}

// clientID numbers a request: the run's id with the number in its last six bytes.
func (c *Client) clientID() string { return string(c.appendClientID(make([]byte, 0, 36))) }

func (c *Client) appendClientID(dst []byte) []byte {
	id := c.run
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], c.known.requests.Add(1))
	copy(id[10:], n[2:])
	return id.Append(dst)
}

// Limiter is the client's pace, for a display.
func (c *Client) Limiter() *pace.Limiter { return c.pace }

// Base is the environment's URL without a path, https://acme.crm4.dynamics.com.
func (c *Client) Base() string { return c.base }

// Close closes idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	if c.wire != nil {
		c.wire.close()
	}
}

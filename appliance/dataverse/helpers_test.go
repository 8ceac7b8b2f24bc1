package dataverse

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

const theToken = "eyJ0eXAi.very-secret-token.sig"

// tokens is a credential with numbered tokens.
type tokens struct {
	mu      sync.Mutex
	number  int
	expired []string
	err     error
}

func (k *tokens) Token(context.Context) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return "", k.err
	}
	return theToken + strings.Repeat("+", k.number), nil
}

func (k *tokens) Expire(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expired = append(k.expired, token)
	k.number++
}

// transport answers requests without a network, as inside a synctest bubble.
type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// respond makes an answer; header lines are "Name: value".
func respond(status int, body string, header ...string) *http.Response {
	h := make(http.Header)
	if body != "" {
		h.Set("Content-Type", "application/json; odata.metadata=minimal")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		h.Set(name, value)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
}

func fault1(code, message string) string {
	return `{"error":{"code":"` + code + `","message":"` + message + `"}}`
}

// newClient makes a client of a server's URL, or of a transport.
func newClient(t testing.TB, url string, via http.RoundTripper, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{URL: url, Token: &tokens{}, RunID: schema.GUID{1, 2, 3}}
	if via != nil {
		o.URL, o.HTTP = "https://acme.crm4.dynamics.com", &http.Client{Transport: via}
	}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func once(o *Options) { o.Attempts = 1 }

// newServer serves on loopback until the test ends.
func newServer(t testing.TB, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// rawServer hands each connection's request, whole, to answer, which writes what it
// likes; then the connection is closed.
func rawServer(t *testing.T, answer func(conn net.Conn, request string)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				answer(conn, readRaw(conn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "http://" + l.Addr().String()
}

// readRaw reads a request with a Content-Length, or none.
func readRaw(conn net.Conn) string {
	var all bytes.Buffer
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		all.Write(buf[:n])
		head, body, ok := strings.Cut(all.String(), "\r\n\r\n")
		if err != nil || ok && len(body) >= contentLength(head) {
			return all.String()
		}
	}
}

func contentLength(head string) int {
	n := 0
	if _, after, ok := strings.Cut(head, "Content-Length: "); ok {
		for _, d := range after {
			if d < '0' || d > '9' {
				break
			}
			n = n*10 + int(d-'0')
		}
	}
	return n
}

// wantError checks an error's kind and returns it.
func wantError(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want one of kind %v", err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("kind %v of %q, want %v", e.Kind, e.Error(), kind)
	}
	return e
}

// logTo makes the client's log readable.
func logTo(w io.Writer) func(*Options) {
	return func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

var (
	orders   = &schema.Table{LogicalName: "contoso_order", EntitySet: "contoso_orders", PrimaryID: "contoso_orderid", Kind: schema.Standard}
	contacts = &schema.Table{LogicalName: "contact", EntitySet: "contacts", PrimaryID: "contactid", Kind: schema.Standard}
	sensors  = &schema.Table{LogicalName: "contoso_sensor", EntitySet: "contoso_sensors", PrimaryID: "contoso_sensorid", Kind: schema.Elastic}
	pairs    = &schema.Table{LogicalName: "contoso_order_contact", EntitySet: "contoso_order_contactset", Kind: schema.Intersect}
)

func newLink(t testing.TB) Link {
	t.Helper()
	s, err := schema.New([]*schema.Table{orders, contacts, pairs}, []schema.ManyToMany{{
		SchemaName: "contoso_Order_Contact", Intersect: "contoso_order_contact",
		Table1: "contoso_order", Column1: "contoso_orderid", Nav1: "contoso_Order_Contact",
		Table2: "contact", Column2: "contactid", Nav2: "contoso_Order_Contact",
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLink(s, &s.ManyToMany[0])
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustGUID(s string) schema.GUID {
	g, err := schema.ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

func id(n byte) schema.GUID {
	return schema.GUID{0: 0xab, 6: 0x40, 8: 0x80, 15: n}
}

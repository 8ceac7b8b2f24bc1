package dataverse

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestWireSendsLikeNetHTTP sends the same writes over the wire and through net/http,
// plain and over TLS, and compares what arrives: method, address, headers, body.
func TestWireSendsLikeNetHTTP(t *testing.T) {
	type arrival struct {
		line, body string
		header     http.Header
		length     int64
	}
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %t", secure), func(t *testing.T) {
			var got []arrival
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				h := r.Header.Clone()
				h.Del("X-Ms-Client-Request-Id")
				got = append(got, arrival{r.Method + " " + r.RequestURI + " " + r.Host, string(body), h, r.ContentLength})
				w.WriteHeader(http.StatusNoContent)
			}))
			server.Start()
			if secure {
				server.Close()
				server = httptest.NewTLSServer(server.Config.Handler)
			}
			defer server.Close()
			var dials atomic.Int32
			client := func(change func(*Options)) *Client {
				c := newClient(t, server.URL, nil, func(o *Options) {
					o.Headers = map[string]string{"MSCRM.SuppressDuplicateDetection": "false"}
					change(o)
				})
				if c.wire != nil && secure {
					c.wire.tls.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
				}
				return c.Tagged("a tag & more")
			}
			wired := client(func(o *Options) {
				o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					dials.Add(1)
					return (&net.Dialer{}).DialContext(ctx, network, address)
				}
			})
			defer wired.Close()
			plain := client(func(o *Options) { o.HTTP = server.Client() })
			big := append(bytes.Repeat([]byte(" "), 300<<10), oneOrder...)
			for _, c := range []*Client{wired, plain} {
				for _, send := range []func() error{
					func() error { return c.CreateMany(t.Context(), orders, oneOrder, 1) },
					func() error { return c.CreateMany(t.Context(), orders, big, 1) },
					func() error { return c.Update(t.Context(), orders, c.run, oneOrder) },
					func() error { return c.Do(t.Context(), DeleteOp(orders, c.run)) },
					func() error {
						_, err := c.Batch(t.Context(), []Op{CreateOp(orders, oneOrder)})
						if KindOf(err) == Lost || err == nil { // a 204 is no answer to a batch
							return nil
						}
						return err
					},
				} {
					if err := send(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if len(got) != 10 {
				t.Fatalf("%d requests arrived", len(got))
			}
			for i := range 5 {
				w, n := got[i], got[5+i]
				boundary := w.header.Get("Content-Type") != n.header.Get("Content-Type") // of a batch: numbered
				if w.line != n.line || w.length != n.length || !boundary && w.body != n.body {
					t.Errorf("over the wire %s, %d bytes; through net/http %s, %d bytes", w.line, w.length, n.line, n.length)
				}
				for name := range n.header {
					if name != "Content-Type" && fmt.Sprint(w.header[name]) != fmt.Sprint(n.header[name]) {
						t.Errorf("%s: %q over the wire, %q through net/http", name, w.header[name], n.header[name])
					}
				}
				if len(w.header) != len(n.header) {
					t.Errorf("headers over the wire %v, through net/http %v", w.header, n.header)
				}
			}
			if n := dials.Load(); n != 1 {
				t.Errorf("%d connections for five requests, one after the other", n)
			}
		})
	}
}

// speaks is a server that answers by hand, connection by connection.
func speaks(t *testing.T, serve func(n int, c net.Conn, r *bufio.Reader)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestWireTakesAnswerBeforeRequestIsSent: a gateway that refuses a large body does not
// read it to its end; what it said counts.
func TestWireTakesAnswerBeforeRequestIsSent(t *testing.T) {
	over := make(chan struct{})
	url := speaks(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if _, err := r.Peek(100); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		<-over // without reading on
	})
	c := newClient(t, url, nil)
	defer c.Close()
	err := c.CreateMany(t.Context(), orders, bytes.Repeat([]byte("x"), 32<<20), 1)
	close(over)
	if KindOf(err) != TooBig {
		t.Errorf("got %v, want too big", err)
	}
}

// TestWireLeavesClosedConnections: a connection that the service has closed while it was
// idle is not used again, and nothing is lost by it.
func TestWireLeavesClosedConnections(t *testing.T) {
	closed := make(chan struct{})
	url := speaks(t, func(n int, c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
			if n == 0 {
				c.Close()
				close(closed)
				return
			}
		}
	})
	c := newClient(t, url, nil)
	defer c.Close()
	if err := c.CreateMany(t.Context(), orders, oneOrder, 1); err != nil {
		t.Fatal(err)
	}
	<-closed
	c.wire.mu.Lock()
	c.wire.idle[0].last = time.Now().Add(-time.Second)
	c.wire.mu.Unlock()
	if err := c.CreateMany(t.Context(), orders, oneOrder, 1); err != nil {
		t.Errorf("after the service closed the idle connection: %v", err)
	}
}

// TestWireKeepsNoConnectionInDoubt: what comes behind an answer must not be taken for
// the answer to the next request.
func TestWireKeepsNoConnectionInDoubt(t *testing.T) {
	var conns atomic.Int32
	url := speaks(t, func(n int, c net.Conn, r *bufio.Reader) {
		conns.Add(1)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	c := newClient(t, url, nil)
	defer c.Close()
	for range 3 {
		if err := c.CreateMany(t.Context(), orders, oneOrder, 1); err != nil {
			t.Fatal(err)
		}
	}
	if conns.Load() != 3 {
		t.Errorf("%d connections for three requests whose answers were followed by another", conns.Load())
	}
}

// TestWireIsNotUsedBesideProxy: where a proxy stands between, net/http does it all.
func TestWireIsNotUsedBesideProxy(t *testing.T) {
	if c := newClient(t, "http://127.0.0.1:1", nil, func(o *Options) { o.HTTP2 = true }); c.wire != nil {
		t.Error("the wire is used though HTTP/2 is asked for")
	}
	c := newClient(t, "https://acme.crm4.dynamics.com", nil)
	if c.wire == nil || c.wire.address != "acme.crm4.dynamics.com:443" || c.wire.tls.MinVersion != tls.VersionTLS12 {
		t.Errorf("the wire to the service: %+v", c.wire)
	}
	r := c.writing(http.MethodPost, "Create", "accounts", oneOrder)
	if r.path = "accounts"; !c.overWire(r, "token") || c.overWire(r, "to\r\nken") {
		t.Error("a token with a line end must not make lines of its own")
	}
}

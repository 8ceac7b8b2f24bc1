package dataverse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/dataverse/pace"
)

var oneOrder = []byte(`{"Targets":[{"contoso_orderid":"x"}]}`)

const oneID = `{"@odata.context":"c","Ids":["` + me + `"]}`

// TestLostAnswers: once a byte may have gone out, whatever breaks is Lost and is not
// sent again.
func TestLostAnswers(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n"
	for _, test := range []struct {
		name   string
		answer func(conn net.Conn, request string)
	}{
		{"closed after reading", func(net.Conn, string) {}},
		{"reset after reading", func(c net.Conn, _ string) { c.(*net.TCPConn).SetLinger(0) }},
		{"half a head", func(c net.Conn, _ string) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Ty") }},
		{"half a body", func(c net.Conn, _ string) { io.WriteString(c, ok+`{"Ids":["`) }},
		{"half a chunked body", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"Ids\r\n")
		}},
		{"broken JSON", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"Ids\":[\"")
		}},
		{"too few ids", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"Ids\":[]}")
		}},
		{"a page in place of JSON", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>")
		}},
		{"no HTTP", func(c net.Conn, _ string) { io.WriteString(c, "220 smtp.example.com\r\n") }},
		{"bad gateway", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		}},
		{"a server's error that broke off", func(c net.Conn, _ string) {
			io.WriteString(c, "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"err")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var sent atomic.Int32
			c := newClient(t, rawServer(t, func(conn net.Conn, request string) {
				if strings.HasSuffix(request, string(oneOrder)) {
					sent.Add(1)
				}
				test.answer(conn, request)
			}), nil)
			e := wantError(t, c.CreateMany(t.Context(), orders, oneOrder, 1), Lost)
			if e.Kind.Certain() || sent.Load() != 1 {
				t.Errorf("sent %d times, certain %v", sent.Load(), e.Kind.Certain())
			}
		})
	}
}

// TestTimeout: no answer in time is Lost too; the caller's own end as well, with its
// cause.
func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 2)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-release
	})
	defer close(release)
	c := newClient(t, s.URL, nil, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	e := wantError(t, c.CreateMany(t.Context(), orders, oneOrder, 1), Lost)
	if !strings.Contains(e.Message, "no answer within 50ms") {
		t.Error(e)
	}
	<-arrived
	c = newClient(t, s.URL, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	err := c.CreateMany(ctx, orders, oneOrder, 1)
	wantError(t, err, Lost)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not tell why it was stopped", err)
	}
	cause := errors.New("the operator's stop")
	ended, stop := context.WithCancelCause(t.Context())
	stop(cause)
	if err = c.CreateMany(ended, orders, oneOrder, 1); !errors.Is(err, cause) {
		t.Errorf("%v does not hold the cause", err)
	}
	wantError(t, err, Stopped)
}

// TestUnreachable: what never left says so, and how to go on.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := newClient(t, "http://"+l.Addr().String(), nil, once)
	e := wantError(t, c.CreateMany(t.Context(), orders, oneOrder, 1), Unreachable)
	if !e.Kind.Certain() || !strings.Contains(e.Error(), "cannot connect to http://127.0.0.1") || !strings.Contains(e.Error(), "proxy") {
		t.Error(e)
	}
	plain := newServer(t, nil)
	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	c = newClient(t, strings.Replace(plain.URL, "http:", "https:", 1), nil, once)
	wantError(t, c.CreateMany(t.Context(), orders, oneOrder, 1), Unreachable) // the TLS handshake fails
	unknown := httptest.NewUnstartedServer(nil)
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	unknown.StartTLS()
	defer unknown.Close()
	c = newClient(t, unknown.URL, nil, once)
	e = wantError(t, c.CreateMany(t.Context(), orders, oneOrder, 1), Unreachable)
	if !strings.Contains(e.Error(), "the certificate of "+unknown.URL+" is not accepted: x509: ") || strings.Contains(e.Error(), "address right") {
		t.Error(e)
	}
}

// TestStrangersAreAskedAbout: what answers is a web server, but not that of an environment.
func TestStrangersAreAskedAbout(t *testing.T) {
	for _, status := range []int{404, 302, 200} {
		c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) { return respond(status, "{}"), nil }))
		for name, ask := range map[string]func() error{
			"WhoAmI":          func() error { _, err := c.WhoAmI(t.Context()); return err },
			"RetrieveVersion": func() error { _, err := c.Version(t.Context()); return err },
		} {
			if err := ask(); (name == "WhoAmI" || status != 200) && (err == nil || !strings.Contains(err.Error(), "environment") || strings.Count(err.Error(), "?") != 1) {
				t.Errorf("%s, %d: %v", name, status, err)
			}
		}
	}
}

// TestThrottleIsAbsorbed: however often the service throttles, the request waits as
// told and is done; no attempt is counted.
func TestThrottleIsAbsorbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := newClient(t, "", transport(func(r *http.Request) (*http.Response, error) {
			if n++; n <= 20 {
				return respond(429, fault1("0x80072321", "Combined execution time"), "Retry-After: 30"), nil
			}
			return respond(200, oneID), nil
		}), once)
		began := time.Now()
		if err := c.CreateMany(t.Context(), orders, oneOrder, 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 600*time.Second || took > 660*time.Second {
			t.Errorf("took %v for 20 holds of 30 s", took)
		}
		if s := c.Limiter().Stats(); s.Throttled.Time != 20 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestThrottleEndsWithContext: then it surfaces, as not applied.
func TestThrottleEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) {
			return respond(429, fault1("0x80072326", "Number of concurrent requests exceeded the limit of 52."), "Retry-After: 100"), nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := c.CreateMany(ctx, orders, oneOrder, 1)
		e := wantError(t, err, Throttled)
		if !e.Kind.Certain() || !errors.Is(err, context.DeadlineExceeded) || e.Code != 0x80072326 {
			t.Errorf("%+v", e)
		}
	})
}

// TestRetries: what was undone or passes is tried again a few times; what is a row's
// fault, or may have been applied, is not.
func TestRetries(t *testing.T) {
	deadlock := fault1("0x80044150", "Sql error: Generic SQL error. Sql Number: 1205")
	for _, test := range []struct {
		name     string
		status   int
		body     string
		kind     Kind
		attempts int
	}{
		{"a deadlock", 500, deadlock, RolledBack, 4},
		{"something unexpected", 500, fault1("0x80040216", "An unexpected error occurred."), Transient, 4},
		{"a row's fault", 400, fault1("0x80044331", "too long"), RowFault, 1},
		{"a duplicate", 412, fault1("0x80040237", "there"), Duplicate, 1},
		{"a gateway", 502, "", Lost, 1},
		{"too big", 413, "", TooBig, 1},
		{"too long for the service", 500, fault1("0x8004418A", "request length"), TooBig, 1},
		{"too slow for the database", 500, fault1("0x80044151", "SQL timeout expired. Sql Number: -2"), TooBig, 1},
		{"a missing privilege", 403, fault1("0x80040220", "missing prvCreate"), Setup, 1},
		{"no bulk action", 400, fault1("0x80040216", "CreateMultiple is not enabled on the entity team"), Unsupported, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) {
					n++
					return respond(test.status, test.body), nil
				}))
				wantError(t, c.CreateMany(t.Context(), orders, oneOrder, 1), test.kind)
				if n != test.attempts {
					t.Errorf("sent %d times, want %d", n, test.attempts)
				}
				n = 0
				err := c.Rows(t.Context(), orders, Query{}, nil)
				want := map[Kind]int{RolledBack: 8, Transient: 4, Lost: 4}[test.kind]
				if strings.Contains(test.name, "database") {
					want = 8
				}
				if n != max(want, 1) {
					t.Errorf("a read was sent %d times, want %d: %v", n, want, err)
				}
			})
		})
	}
}

// TestElastic: without a transaction, the rows named failed and the others are
// applied; a server's error says nothing, a refusal before the write all.
func TestElastic(t *testing.T) {
	status, body := 0, ""
	c := newClient(t, "", transport(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Prefer") != allDetails {
			t.Errorf("Prefer %q", r.Header.Get("Prefer"))
		}
		return respond(status, body), nil
	}))
	status = 429
	body = `{"error":{"code":"0x80072322","message":"m","@Microsoft.PowerApps.CDS.ErrorDetails.Plugin.BulkApiErrorDetails":"[{\"RequestIndex\":3,\"Id\":\"` + me + `\",\"StatusCode\":429}]"}}`
	e := wantError(t, c.CreateMany(t.Context(), sensors, oneOrder, 1), Partial)
	if e.Kind.Certain() || len(e.Rows) != 1 || e.Rows[0] != (RowStatus{3, mustGUID(me), 429}) {
		t.Errorf("%+v", e)
	}
	status, body = 500, fault1("0x80040216", "An unexpected error occurred.")
	wantError(t, c.CreateMany(t.Context(), sensors, oneOrder, 1), Lost)
	status, body = 400, fault1("0x80044331", "too long")
	wantError(t, c.CreateMany(t.Context(), sensors, oneOrder, 1), RowFault)
}

// TestTokenRefresh: one refusal brings a new token, a second is a sign-in error.
func TestTokenRefresh(t *testing.T) {
	refuse := 1
	var seen []string
	c := newClient(t, "", transport(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, r.Header.Get("Authorization"))
		if len(seen) <= refuse {
			return respond(401, "", `WWW-Authenticate: Bearer authorization_uri=x`), nil
		}
		return respond(200, oneID), nil
	}))
	if err := c.CreateMany(t.Context(), orders, oneOrder, 1); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0] == seen[1] || !strings.HasPrefix(seen[1], "Bearer ") {
		t.Errorf("tokens %q", seen)
	}
	refuse, seen = 9, nil
	e := wantError(t, c.CreateMany(t.Context(), orders, oneOrder, 1), SignIn)
	if len(seen) != 2 || e.Status != 401 {
		t.Errorf("sent %d times: %v", len(seen), e)
	}
}

// passing is an error of the network.
type passing struct{ error }

func (passing) Temporary() bool { return true }

// TestTokenErrors: no token is a sign-in error, unless the network is at fault.
func TestTokenErrors(t *testing.T) {
	none := transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("sent without a token") })
	c := newClient(t, "", none, once, func(o *Options) { o.Token = &tokens{err: errors.New("sign in: the client secret is wrong")} })
	e := wantError(t, c.Create(t.Context(), orders, oneOrder), SignIn)
	if !strings.Contains(e.Error(), "the client secret is wrong") {
		t.Error(e)
	}
	c = newClient(t, "", none, once, func(o *Options) { o.Token = &tokens{err: passing{errors.New("no network")}} })
	wantError(t, c.Create(t.Context(), orders, oneOrder), Unreachable)
}

// TestNoSecrets: whatever goes wrong, and even if the service repeats the token, it
// shows in no error and no log; nor does a proxy's password, nor the body sent.
func TestNoSecrets(t *testing.T) {
	echo := "you sent Bearer " + theToken + " and that is wrong"
	secretBody := []byte(`{"Targets":[{"name":"hidden-value"}]}`)
	for name, via := range map[string]transport{
		"JSON": func(*http.Request) (*http.Response, error) { return respond(400, fault1("0x80040203", echo)), nil },
		"text": func(*http.Request) (*http.Response, error) { return respond(502, echo), nil },
		"refusal": func(r *http.Request) (*http.Response, error) {
			return respond(401, "you sent "+r.Header.Get("Authorization")), nil
		},
		"deadlock": func(*http.Request) (*http.Response, error) {
			return respond(500, fault1("0x80040255", echo+`\r\n`+echo)), nil
		},
		"redirect": func(r *http.Request) (*http.Response, error) {
			res := respond(302, "", "Location: https://login.example.com/?x="+theToken)
			res.Request = r
			return res, nil
		},
		"network": func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("proxyconnect http://user:hunter22@proxy:8080: refused %s", theToken)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lines bytes.Buffer
				c := newClient(t, "", via, logTo(&lines))
				err := c.CreateMany(t.Context(), orders, secretBody, 1)
				if err == nil {
					t.Fatal("no error")
				}
				var e *Error
				errors.As(err, &e)
				all := fmt.Sprintf("%v %+v %+v %v %s", err, err, *e, errors.Unwrap(err), lines.String())
				for _, secret := range []string{theToken, "hunter22", "hidden-value"} {
					if strings.Contains(all, secret) {
						t.Errorf("%s shows in %s", secret, all)
					}
				}
			})
		})
	}
}

// TestConnectionsAreReused: sequential requests share a connection, also after errors,
// and parallel ones need no more than there are at once.
func TestConnectionsAreReused(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, fault1("0x80040217", "does not exist"))
			return
		}
		w.Header().Set("Set-Cookie", "ARRAffinity=x; path=/")
		if r.Header.Get("Cookie") != "" {
			t.Error("a cookie came back")
		}
		io.WriteString(w, oneID)
	}))
	t.Cleanup(s.Close)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	c := newClient(t, s.URL, nil)
	for range 20 {
		if err := c.CreateMany(t.Context(), orders, oneOrder, 1); err != nil {
			t.Fatal(err)
		}
		wantError(t, c.Do(t.Context(), DeleteOp(orders, id(1))), NotFound)
	}
	if got := conns.Load(); got != 1 {
		t.Errorf("%d connections for requests one after another", got)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := c.CreateMany(t.Context(), orders, oneOrder, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := conns.Load(); got > 9 {
		t.Errorf("%d connections for 8 at once", got)
	}
}

// TestBodyIsGivenBack: once the call is over the caller may change the bytes, even
// when the answer came before they were read (the race detector watches).
func TestBodyIsGivenBack(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge) // without reading
	})
	c := newClient(t, s.URL, nil)
	body := bytes.Repeat([]byte("x"), 8<<20)
	for range 10 {
		err := c.CreateMany(t.Context(), orders, body, 1)
		if k := KindOf(err); k != TooBig && k != Lost { // the reset may overtake the answer
			t.Fatal(err)
		}
		for i := range body {
			body[i]++
		}
	}
}

// TestHintAndLimitsReachPace: what the headers say is taken in.
func TestHintAndLimitsReachPace(t *testing.T) {
	c := newClient(t, "", transport(func(*http.Request) (*http.Response, error) {
		return respond(200, `{"UserId":"`+me+`"}`, "x-ms-dop-hint: 17", "x-ms-ratelimit-time-remaining-xrm-requests: 1,200.00",
			"x-ms-ratelimit-burst-remaining-xrm-requests: 7999"), nil
	}))
	who, err := c.WhoAmI(t.Context())
	if err != nil || who.UserID != mustGUID(me) || c.caller() != who.UserID {
		t.Fatal(who, err)
	}
	if s := c.Limiter().Stats(); s.Hint != 17 || s.Window != 17 {
		t.Errorf("stats %+v", s)
	}
	var o pace.Outcome
	readLimits(&o, respond(204, "", "x-ms-ratelimit-time-remaining-xrm-requests: 1,200.00", "x-ms-ratelimit-burst-remaining-xrm-requests: 7,999").Header)
	if !o.HasLeft || o.BurstLeft != 7999 || o.TimeLeft != 1200*time.Second {
		t.Errorf("%+v", o)
	}
}

// TestWrongAddress: what answers is no Dataverse, and the error says so.
func TestWrongAddress(t *testing.T) {
	for _, test := range []struct {
		res  func() *http.Response
		kind Kind
		want string
	}{
		{func() *http.Response {
			return respond(200, "<html><title>Welcome</title></html>", "Content-Type: text/html")
		}, Setup, "Welcome"},
		{func() *http.Response {
			return respond(404, "<html><title>Not here</title></html>", "Content-Type: text/html")
		}, Setup, "Not here"},
		{func() *http.Response { return respond(302, "", "Location: https://login.example.com/signin?x=1") }, Setup, "login.example.com: is it the environment's?"},
		{func() *http.Response { return respond(200, "{}") }, Setup, "names no user"},
		{func() *http.Response {
			return respond(403, fault1("0x80072560", "The user is not a member of the organization."))
		}, SignIn, "not a member"},
	} {
		c := newClient(t, "", transport(func(r *http.Request) (*http.Response, error) {
			res := test.res()
			res.Request = r
			return res, nil
		}), once)
		_, err := c.WhoAmI(t.Context())
		if e := wantError(t, err, test.kind); !strings.Contains(e.Error(), test.want) {
			t.Errorf("%v, want %q", e, test.want)
		}
	}
}

// TestNew refuses addresses that cannot be meant, in words.
func TestNew(t *testing.T) {
	for url, want := range map[string]string{
		"":                                             "no address given",
		"acme.crm4.dynamics.com":                       "no https://",
		"http://acme.crm4.dynamics.com":                "in the clear",
		"http://localhost.evil.example":                "in the clear",
		"ftp://acme.crm4.dynamics.com":                 "neither https nor http",
		"https://u:p@acme.crm4.dynamics.com":           "user name or password",
		"https://acme.crm4.dynamics.com/main.aspx?x=1": "query",
		"https://acme.crm4.dynamics.com/apps":          "does not belong",
		"https://acme crm4":                            "cannot be read",
	} {
		_, err := New(Options{URL: url, Token: &tokens{}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
	}
	for url, want := range map[string]string{
		"https://ACME.crm4.dynamics.com/":                   "https://acme.crm4.dynamics.com",
		"https://acme.crm4.dynamics.com/api/data/v9.2":      "https://acme.crm4.dynamics.com",
		" http://127.0.0.1:8080 ":                           "http://127.0.0.1:8080",
		"http://localhost:1":                                "http://localhost:1",
		"http://[::1]:80":                                   "http://[::1]:80",
		"https://acme.api.crm4.dynamics.com/api/data/v9.2/": "https://acme.api.crm4.dynamics.com",
	} {
		c, err := New(Options{URL: url, Token: &tokens{}})
		if err != nil || c.Base() != want {
			t.Errorf("%q: %v, %v", url, c, err)
		}
	}
	if _, err := New(Options{URL: "https://acme.crm4.dynamics.com"}); err == nil {
		t.Error("no credential is accepted")
	}
}

// TestHeaders: what would break a request or a batch is refused.
func TestHeaders(t *testing.T) {
	c := newClient(t, "https://acme.crm4.dynamics.com", nil)
	for name, value := range map[string]string{
		"MSCRM.X\r\nEvil": "1", "MSCRM.X": "1\r\nEvil: 2", "": "x", "Authorization": "x", "prefer": "x", "If-Match": "x", "MSCRM.Y": "ü",
	} {
		if _, err := c.With(map[string]string{name: value}); err == nil {
			t.Errorf("%q: %q is accepted", name, value)
		}
	}
}

// BenchmarkCreateMany is the whole way of a bulk request with 500 records of 400
// bytes through a loopback connection, server included.
func BenchmarkCreateMany(b *testing.B) {
	const records = 500
	answer := `{"Ids":["` + me + `"` + strings.Repeat(`,"`+me+`"`, records-1) + `]}`
	s := newServer(b, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer)
	})
	body := []byte(`{"Targets":[` + strings.Repeat(`{"x":"`+strings.Repeat("v", 390)+`"},`, records-1) + `{}]}`)
	c := newClient(b, s.URL, nil)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := c.CreateMany(context.Background(), orders, body, records); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n*records), "µs/record")
}

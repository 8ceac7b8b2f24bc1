package emulator

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// call does one WhoAmI-like request straight at the handler: in a bubble there is
// no network.
func get(srv *Server, token string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/api/data/v9.2/accounts("+acc1+")/name", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return w
}

func limited(t *testing.T, o Options) *Server {
	o.Schema = world(t)
	srv, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func want429(t *testing.T, w *httptest.ResponseRecorder, code, text string) (retryAfter int) {
	t.Helper()
	a := answer{w.Code, w.Header(), w.Body.String()}
	if a.status != 429 || a.code() != code {
		t.Fatalf("answered %d %s, want 429 %s", a.status, a.body, code)
	}
	(&env{t: t}).has(a, text)
	n, err := strconv.Atoi(w.Header().Get("Retry-After"))
	if err != nil || n < 1 {
		t.Fatalf("Retry-After is %q", w.Header().Get("Retry-After"))
	}
	return n
}

func TestRequestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Limits: Limits{Requests: 10, Window: 60 * time.Second}})
		for i := range 10 {
			w := get(srv, "a")
			if w.Code == 429 {
				t.Fatalf("request %d was refused", i+1)
			}
			if got, want := w.Result().Header["x-ms-ratelimit-burst-remaining-xrm-requests"], strconv.Itoa(9-i); len(got) != 1 || got[0] != want {
				t.Errorf("8.1: remaining is %v, want %s", got, want)
			}
			time.Sleep(time.Second)
		}
		const text = "Number of requests exceeded the limit of 10 over time window of 60 seconds."
		if n := want429(t, get(srv, "a"), "0x80072322", text); n != 50 {
			t.Errorf("Retry-After is %d, want 50: the oldest request leaves the window then", n)
		}
		if n := want429(t, get(srv, "a"), "0x80072322", text); n <= 50 {
			t.Errorf("8.1: pushing on did not make Retry-After longer: %d", n)
		}
		if get(srv, "b").Code == 429 {
			t.Error("8.1: another user was refused")
		}
		time.Sleep(51 * time.Second)
		if get(srv, "a").Code == 429 {
			t.Error("refused after Retry-After has passed")
		}
	})
}

func TestExecutionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Limits: Limits{Execution: 1200 * time.Second, Window: 300 * time.Second}, Cost: Cost{PerRequest: 100 * time.Second}})
		var done sync.WaitGroup
		for range 12 { // a hundred seconds each, side by side
			done.Go(func() { get(srv, "a") })
		}
		done.Wait()
		w := get(srv, "a") // 1200 s are used, not yet more
		if w.Code == 429 {
			t.Fatal("refused at the limit, not beyond it")
		}
		if got := w.Result().Header["x-ms-ratelimit-time-remaining-xrm-requests"]; len(got) != 1 || got[0] != "0.00" {
			t.Errorf("1.4: time remaining is %v", got)
		}
		want429(t, get(srv, "a"), "0x80072321", "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window of 300 seconds.")
		time.Sleep(301 * time.Second)
		if w := get(srv, "a"); w.Result().Header["x-ms-ratelimit-time-remaining-xrm-requests"][0] != "1,200.00" {
			t.Errorf("trap 26: time remaining is %v", w.Result().Header["x-ms-ratelimit-time-remaining-xrm-requests"])
		}
	})
}

func TestConcurrencyLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Limits: Limits{Concurrency: 2}, Cost: Cost{PerRequest: 10 * time.Second}})
		var done sync.WaitGroup
		for range 2 {
			done.Go(func() { get(srv, "a") })
		}
		synctest.Wait()
		want429(t, get(srv, "a"), "0x80072326", "Number of concurrent requests exceeded the limit of 2.")
		done.Wait()
		if get(srv, "a").Code == 429 {
			t.Error("refused when nothing else runs")
		}
		if s := srv.Stats(); s.Peak != 2 || s.Throttled["concurrency"] != 1 {
			t.Errorf("peak %d, refused %v", s.Peak, s.Throttled)
		}
	})
}

func TestServersHaveTheirOwnLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Limits: Limits{Requests: 2, Servers: 3}})
		for i := range 6 {
			if get(srv, "a").Code == 429 {
				t.Fatalf("8.3: request %d of 6 to 3 servers was refused", i+1)
			}
		}
		want429(t, get(srv, "a"), "0x80072322", "over time window of 300 seconds")
		cookie := get(srv, "b").Result().Cookies()[0]
		get(srv, "b", cookie)
		want429(t, get(srv, "b", cookie), "0x80072322", "") // pinned to one server
		if get(srv, "b").Code == 429 {
			t.Error("8.3: without the cookie the next server was not asked")
		}
	})
}

// TestRandomServers: requests without a cookie go to any server, those with one to its.
func TestRandomServers(t *testing.T) {
	srv := limited(t, Options{Limits: Limits{Servers: 4, Spread: Random}})
	seen, inOrder := map[string]int{}, 0
	last := ""
	for range 400 {
		cookie := get(srv, "a").Result().Cookies()[0].Value
		n, _ := strconv.Atoi(cookie)
		if before, _ := strconv.Atoi(last); n == (before+1)%4 {
			inOrder++
		}
		seen[cookie]++
		last = cookie
	}
	if len(seen) != 4 || inOrder > 200 {
		t.Errorf("the servers are %v, %d of 400 the next one", seen, inOrder)
	}
}

func TestTokens(t *testing.T) {
	e := start(t)
	for name, auth := range map[string]string{"no token": "", "an expired token": "Bearer expired", "another scheme": "Basic x"} {
		a := e.do("GET", "accounts", "", "Authorization", auth)
		if a.status != 401 || a.body != "" {
			t.Errorf("%s: answered %d %s", name, a.status, a.body)
		}
		if h := a.header.Get("WWW-Authenticate"); h == "" {
			t.Errorf("%s: no WWW-Authenticate", name)
		}
	}
}

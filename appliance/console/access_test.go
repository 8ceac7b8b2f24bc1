package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// still is a project in which nothing happens but what an operator does.
type still struct {
	state State
	acted []Action
}

func (c *still) State(context.Context) (State, error) { return c.state, nil }

func (c *still) Ask(_ context.Context, q Question) (any, error) { return q, nil }

func (c *still) Act(_ context.Context, a Action) (string, error) {
	c.acted = append(c.acted, a)
	return "done: " + a.Do, nil
}

// browser asks a console as one browser does.
type browser struct {
	t       *testing.T
	h       http.Handler
	cookies []*http.Cookie
	header  http.Header
	host    string
}

func newConsole(t *testing.T, c Controller, o Options) *Server {
	t.Helper()
	o.Controller = c
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.listener.Close() })
	return s
}

func (s *Server) browse(t *testing.T) *browser {
	return &browser{t: t, h: s.handler(), header: http.Header{"Sec-Fetch-Site": {"same-origin"}}, host: "127.0.0.1:8790"}
}

func (b *browser) ask(method, path, body string) (int, string) {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), method, path, strings.NewReader(body))
	r.Host, r.Header = b.host, b.header.Clone()
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	b.cookies = append(b.cookies, w.Result().Cookies()...)
	return w.Code, w.Body.String()
}

// enter uses a link and takes the session's secret, as the page does.
func (b *browser) enter(link string) {
	b.t.Helper()
	_, token, _ := strings.Cut(link, "#")
	if status, body := b.ask("POST", "/enter", `"`+token+`"`); status != http.StatusNoContent {
		b.t.Fatalf("not let in: %d %s", status, body)
	}
	var me session
	if _, body := b.ask("GET", "/api/me", ""); json.Unmarshal([]byte(body), &me) != nil {
		b.t.Fatal(body)
	}
	b.header.Set(secretHeader, me.Secret)
}

func TestALinkLetsOneBrowserInOnce(t *testing.T) {
	s := newConsole(t, &still{}, Options{})
	link := s.Link(Viewer)
	_, token, _ := strings.Cut(link, "#")
	first, second := s.browse(t), s.browse(t)
	if status, _ := first.ask("GET", "/api/me", ""); status != http.StatusUnauthorized {
		t.Errorf("without a link: %d", status)
	}
	first.enter(link)
	if c := first.cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure {
		t.Errorf("the cookie is %v", c)
	}
	if status, body := second.ask("POST", "/enter", `"`+token+`"`); status != http.StatusForbidden || !strings.Contains(body, "used already") {
		t.Errorf("a used link: %d %s", status, body)
	}
	if status, body := second.ask("POST", "/enter", `"nonsense"`); status != http.StatusForbidden || !strings.Contains(body, "not one of this console") {
		t.Errorf("a wrong token: %d %s", status, body)
	}
	first.ask("POST", "/api/leave", "")
	if status, _ := first.ask("GET", "/api/me", ""); status != http.StatusUnauthorized {
		t.Errorf("after leaving: %d", status)
	}
}

func TestOnlyAnOperatorsPageActs(t *testing.T) {
	c := &still{}
	s := newConsole(t, c, Options{})
	viewer, operator := s.browse(t), s.browse(t)
	viewer.enter(s.Link(Viewer))
	operator.enter(s.Link(Operator))
	if status, body := viewer.ask("POST", "/api/act", `{"do":"pause"}`); status != http.StatusForbidden || !strings.Contains(body, "--operator") {
		t.Errorf("a viewer: %d %s", status, body)
	}
	if status, body := viewer.ask("POST", "/api/link?role=operator", ""); status != http.StatusOK {
		t.Errorf("a new link: %d %s", status, body)
	} else {
		var made struct{ Link string }
		_ = json.Unmarshal([]byte(body), &made)
		other := s.browse(t)
		other.enter(made.Link)
		if status, _ := other.ask("POST", "/api/act", `{"do":"pause"}`); status != http.StatusForbidden {
			t.Errorf("a viewer made an operator's link: %d", status)
		}
	}
	for name, spoil := range map[string]func(h http.Header){
		"without the secret":  func(h http.Header) { h.Del(secretHeader) },
		"a wrong secret":      func(h http.Header) { h.Set(secretHeader, "x") },
		"from another site":   func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") },
		"from another origin": func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "http://evil.example") },
	} {
		spoilt := *operator
		spoilt.header = operator.header.Clone()
		spoil(spoilt.header)
		if status, _ := spoilt.ask("POST", "/api/act", `{"do":"pause"}`); status != http.StatusForbidden {
			t.Errorf("%s: %d", name, status)
		}
	}
	if len(c.acted) > 0 {
		t.Fatalf("somebody acted: %v", c.acted)
	}
	if status, body := operator.ask("POST", "/api/act", `{"do":"pause"}`); status != http.StatusOK || !strings.Contains(body, "done: pause") {
		t.Errorf("the operator: %d %s", status, body)
	}
	if len(c.acted) != 1 || c.acted[0].From == "" {
		t.Errorf("acted %+v", c.acted)
	}
}

func TestANameThatIsNotOursIsRefused(t *testing.T) {
	s := newConsole(t, &still{}, Options{Hosts: []string{"Console.Example"}})
	for host, want := range map[string]int{
		"127.0.0.1:8790": http.StatusOK, "localhost:9000": http.StatusOK, "[::1]:1": http.StatusOK, "console.example.": http.StatusOK, machineName(): http.StatusOK,
		"rebound.example:8790": http.StatusMisdirectedRequest, "127.0.0.1.rebound.example": http.StatusMisdirectedRequest, "": http.StatusMisdirectedRequest,
	} {
		b := s.browse(t)
		b.host = host
		if status, body := b.ask("GET", "/enter", ""); status != want {
			t.Errorf("host %q: %d %s", host, status, body)
		}
	}
}

func TestElsewhereItSpeaksTLSOnly(t *testing.T) {
	s := newConsole(t, &still{}, Options{Listen: "0.0.0.0:0"})
	if !strings.HasPrefix(s.Link(Viewer), "https://") || len(s.Fingerprint()) != 95 {
		t.Errorf("link %s, fingerprint %q", s.Link(Viewer), s.Fingerprint())
	}
	b := s.browse(t)
	b.enter(s.Link(Viewer))
	if c := b.cookies[0]; !c.Secure || !strings.HasPrefix(c.Name, "__Host-") {
		t.Errorf("the cookie is %v", c)
	}
	if _, err := Listen(Options{Listen: "0.0.0.0:0", Cert: "missing.pem", Key: "missing.key", Controller: &still{}}); err == nil {
		t.Error("a certificate that is not there was taken")
	}
}

func TestAnAddressThatIsTakenIsSaid(t *testing.T) {
	first := newConsole(t, &still{}, Options{})
	_, err := Listen(Options{Listen: "127.0.0.1:" + first.port(), Controller: &still{}})
	if err == nil || !strings.Contains(err.Error(), first.port()+" already") {
		t.Errorf("error %v", err)
	}
}

func TestALinkMadeInThePageRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccess(false, "1", nil)
		early, late := a.token(Viewer, linkLife), a.token(Viewer, linkLife)
		time.Sleep(linkLife - time.Second)
		if _, err := a.exchange(early); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if _, err := a.exchange(late); err == nil || !strings.Contains(err.Error(), "was good until") {
			t.Errorf("error %v", err)
		}
	})
}

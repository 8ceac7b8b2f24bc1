package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Who gets in, and what pages of other sites cannot do.
//
// A token is 130 random bits and works once: whoever presents it gets a cookie. It travels
// behind the # of a link, so that neither a log nor a preview of the link uses it up. The
// cookie is not for scripts and goes along only with requests of our own pages
// (SameSite=Strict). What changes something also needs the session's second secret in a
// header, which only our page knows, and must come from our page (Origin, Sec-Fetch-Site).
// A site whose name is made to point here (DNS rebinding) sends its own name as Host, and
// is refused.

// Role is what a session may do.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
)

// The life of a session that nobody uses, and of a link made in the page.
const (
	sessionLife = 7 * 24 * time.Hour
	linkLife    = 15 * time.Minute
	maxSessions = 1000
)

// session is one browser that is in.
type session struct {
	Role   Role   `json:"role"`
	Secret string `json:"secret"` // to be sent with what changes something
	Number int    `json:"number"` // of the link it came with, for the audit trail
	used   time.Time
}

// token is the way in of a link.
type token struct {
	role   Role
	number int
	until  time.Time // zero: until it is used
	used   time.Time // zero: not yet
}

type access struct {
	cookie string // its name: cookies know no ports, so the port is in it
	secure bool
	hosts  map[string]bool

	mu       sync.Mutex // protects what follows
	tokens   map[[32]byte]*token
	sessions map[[32]byte]*session
	links    int // made so far
}

func newAccess(secure bool, port string, hosts map[string]bool) *access {
	a := &access{cookie: "dvmigrate-" + port, secure: secure, hosts: hosts, tokens: map[[32]byte]*token{}, sessions: map[[32]byte]*session{}}
	if secure {
		a.cookie = "__Host-" + a.cookie
	}
	return a
}

// token makes a token of a role; a life of 0 is until it is used.
func (a *access) token(r Role, life time.Duration) string {
	text := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.links++
	t := &token{role: r, number: a.links}
	if life > 0 {
		t.until = time.Now().Add(life)
	}
	a.tokens[sha256.Sum256([]byte(text))] = t
	return text
}

// refusal is why somebody is not let in, for the page to say.
type refusal string

func (r refusal) Error() string { return string(r) }

// exchange uses a token up and begins a session: value is its cookie's.
func (a *access) exchange(text string) (value string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, now := a.tokens[sha256.Sum256([]byte(text))], time.Now()
	switch {
	case t == nil:
		return "", refusal("this link is not one of this console, or not all of it was copied; copy it whole, from the terminal in which the console was started")
	case !t.used.IsZero():
		return "", refusal(fmt.Sprintf("this link was used already, at %s; each lets one browser in, once. Ask somebody who is in for a new one (menu: New link), or start the console again", t.used.Format("15:04:05")))
	case !t.until.IsZero() && now.After(t.until):
		return "", refusal(fmt.Sprintf("this link was good until %s; ask for a new one", t.until.Format("15:04")))
	}
	t.used = now
	a.forget(now)
	value = rand.Text()
	a.sessions[sha256.Sum256([]byte(value))] = &session{Role: t.role, Secret: rand.Text(), Number: t.number, used: now}
	return value, nil
}

// forget ends the sessions that nobody has used for long, and the oldest of too many.
func (a *access) forget(now time.Time) {
	var oldest [32]byte
	for key, s := range a.sessions {
		if now.Sub(s.used) > sessionLife {
			delete(a.sessions, key)
		} else if o := a.sessions[oldest]; o == nil || s.used.Before(o.used) {
			oldest = key
		}
	}
	if len(a.sessions) >= maxSessions {
		delete(a.sessions, oldest)
	}
}

// session is who a request comes from.
func (a *access) session(r *http.Request) (session, bool) {
	c, err := r.Cookie(a.cookie)
	if err != nil {
		return session{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, now := a.sessions[sha256.Sum256([]byte(c.Value))], time.Now()
	if s == nil || now.Sub(s.used) > sessionLife {
		return session{}, false
	}
	s.used = now
	return *s, true
}

// end ends a session.
func (a *access) end(r *http.Request) {
	if c, err := r.Cookie(a.cookie); err == nil {
		a.mu.Lock()
		delete(a.sessions, sha256.Sum256([]byte(c.Value)))
		a.mu.Unlock()
	}
}

// secretHeader carries a session's secret.
const secretHeader = "Dvmigrate-Secret"

// may reports whether a request that changes something comes from our page.
func (s session) may(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.Header.Get(secretHeader)), []byte(s.Secret)) == 1
}

// policy lets the page load what comes from here, and nothing else from anywhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard refuses requests under names that are not ours, and sets the headers of all answers.
func (a *access) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		set := w.Header().Set
		set("Content-Security-Policy", policy)
		set("X-Content-Type-Options", "nosniff")
		set("Referrer-Policy", "no-referrer")
		set("Cross-Origin-Opener-Policy", "same-origin")
		set("Cross-Origin-Resource-Policy", "same-origin")
		set("Cache-Control", "no-store")
		if !a.ours(r.Host) {
			http.Error(w, fmt.Sprintf("this console does not answer under the name %q; start it with --host %s if it should", r.Host, hostOf(r.Host)), http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ours reports whether a request may name this host: an address, which no name server
// makes up, or a name of ours. The port may be another one, as through a tunnel.
func (a *access) ours(host string) bool {
	name := hostOf(host)
	return net.ParseIP(name) != nil || a.hosts[name]
}

func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// enter lets a browser in that has a token.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) {
	var text string
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&text); err != nil {
		refuse(w, http.StatusBadRequest, "a token was expected")
		return
	}
	value, err := s.access.exchange(text)
	if err != nil {
		refuse(w, http.StatusForbidden, err.Error())
		return
	}
	http.SetCookie(w, &http.Cookie{Name: s.access.cookie, Value: value, Path: "/", HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteStrictMode})
	w.WriteHeader(http.StatusNoContent)
}

type handler func(w http.ResponseWriter, r *http.Request, who session)

// seen lets whoever is in look.
func (s *Server) seen(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, ok := s.access.session(r)
		if !ok {
			refuse(w, http.StatusUnauthorized, "you are not in, or no longer; open a link of this console")
			return
		}
		h(w, r, who)
	}
}

// done is seen for what changes something, or costs much.
func (s *Server) done(h handler) http.HandlerFunc {
	return s.seen(func(w http.ResponseWriter, r *http.Request, who session) {
		if !who.may(r) {
			refuse(w, http.StatusForbidden, "this request does not come from the console's page; load the page again")
			return
		}
		h(w, r, who)
	})
}

// refuse answers with an error that the page shows.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // whoever asked is gone
}

// reply answers with a value, or an error that the page shows.
func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

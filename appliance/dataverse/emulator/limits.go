package emulator

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// limiter keeps the service protection limits (section 8.1): for each user and
// server, what happened in the window.
//
// All its times are the emulator's, which pass Options.Speed times faster than real
// ones, so that the same requests at the same of its times get the same answers at any
// speed. Execution time is counted as the service would count it: the modelled cost,
// and what running really took.
type limiter struct {
	limits Limits
	now    func() time.Duration // the emulator's time since its start

	mu    sync.Mutex
	users map[meterKey]*meter
	turns map[string]int // round robin over the servers, for each who signs in
	stats limitStats
}

type meterKey struct {
	token  string
	server int
}

// limitStats counts refusals and the most requests at once.
type limitStats struct {
	Requests, Execution, Concurrency int64 // refusals by facet
	Peak                             int   // most requests at once, over all users and servers
	now                              int
}

// meter is one user on one server. spans are the requests in the window, by time
// of arrival; used is the sum of their execution times.
type meter struct {
	spans   []span
	first   int // spans before it have left the window
	dropped int // spans cut off the front since the start
	used    time.Duration
	running int
	refused int           // refusals since a request was last let in
	until   time.Duration // refuse everything before
	code    facet         // why until was set
}

type span struct{ at, dur time.Duration }

type facet int

const (
	byRequests facet = iota
	byExecution
	byConcurrency
)

func newLimiter(l Limits, now func() time.Duration) *limiter {
	if l.Window <= 0 {
		l.Window = 300 * time.Second
	}
	l.Servers = max(l.Servers, 1)
	return &limiter{limits: l, now: now, users: map[meterKey]*meter{}, turns: map[string]int{}}
}

// on reports whether anything is limited.
func (l *limiter) on() bool {
	return l.limits.Requests > 0 || l.limits.Execution > 0 || l.limits.Concurrency > 0
}

// server picks the server: the one of the affinity cookie, else the next, or any. Each
// who signs in has turns of their own: two who send by turns would each meet every other
// server only.
func (l *limiter) server(r *http.Request) (n int, pinned bool) {
	if ck, err := r.Cookie("ARRAffinity"); err == nil {
		if n, err := strconv.ParseInt(ck.Value, 16, 32); err == nil && n >= 0 && int(n) < l.limits.Servers {
			return int(n), true
		}
	}
	if l.limits.Spread == Random {
		return rand.IntN(l.limits.Servers), false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	who := r.Header.Get("Authorization")
	l.turns[who] = (l.turns[who] + 1) % l.limits.Servers
	return l.turns[who], false
}

// reset forgets what was counted, but for the requests that are running.
func (l *limiter) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.users {
		m.dropped += len(m.spans)
		*m = meter{running: m.running, dropped: m.dropped}
	}
	l.stats = limitStats{now: l.stats.now}
}

// admission is a request that was let in, until it is released.
type admission struct {
	l     *limiter
	m     *meter
	index int // of its span, counted from the meter's first ever
	// What is left after this request, for the headers.
	requests int
	time     time.Duration
}

// admit lets a request in or says why not.
func (l *limiter) admit(token string, server int) (*admission, *apiError) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.users[meterKey{token, server}]
	if m == nil {
		m = &meter{}
		l.users[meterKey{token, server}] = m
	}
	m.forget(now - l.limits.Window)
	if e := l.refuse(m, now); e != nil {
		return nil, e
	}
	m.refused = 0
	m.running++
	l.stats.now++
	l.stats.Peak = max(l.stats.Peak, l.stats.now)
	if l.on() {
		m.spans = append(m.spans, span{at: now})
	}
	return &admission{l: l, m: m, index: m.dropped + len(m.spans) - 1, requests: l.limits.Requests - len(m.spans) + m.first, time: l.limits.Execution - m.used}, nil
}

// release counts what a request took.
func (a *admission) release(spent time.Duration) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	a.m.running--
	a.l.stats.now--
	if i := a.index - a.m.dropped; a.l.on() && i >= a.m.first {
		a.m.spans[i].dur = spent
		a.m.used += spent
	}
}

// forget drops what has left the window.
func (m *meter) forget(before time.Duration) {
	for m.first < len(m.spans) && m.spans[m.first].at <= before {
		m.used -= m.spans[m.first].dur
		m.first++
	}
	if m.first > 1024 && m.first > len(m.spans)/2 {
		m.dropped += m.first
		m.spans = append(m.spans[:0], m.spans[m.first:]...)
		m.first = 0
	}
}

func (l *limiter) refuse(m *meter, now time.Duration) *apiError {
	if l.limits.Concurrency > 0 && m.running >= l.limits.Concurrency {
		m.refused++
		l.stats.Concurrency++
		return errThrottled(byConcurrency, l.limits, 1+m.refused/l.limits.Concurrency)
	}
	code, wait := m.code, m.until-now
	if wait <= 0 {
		wait = 0
		inWindow := m.spans[m.first:]
		if l.limits.Requests > 0 && len(inWindow) >= l.limits.Requests {
			code, wait = byRequests, inWindow[len(inWindow)-l.limits.Requests].at+l.limits.Window-now
		} else if l.limits.Execution > 0 && m.used > l.limits.Execution {
			code, wait = byExecution, l.untilUnder(m, now)
		}
	}
	if wait <= 0 {
		return nil
	}
	// Pushing on makes the wait longer: a second for each refusal, up to a window.
	m.refused++
	wait = min(wait+time.Duration(m.refused-1)*time.Second, l.limits.Window)
	m.until, m.code = now+wait, code
	if code == byRequests {
		l.stats.Requests++
	} else {
		l.stats.Execution++
	}
	return errThrottled(code, l.limits, int((wait+time.Second-time.Microsecond)/time.Second))
}

// untilUnder is how long it takes until enough execution time has left the window.
func (l *limiter) untilUnder(m *meter, now time.Duration) time.Duration {
	over := m.used - l.limits.Execution
	for _, s := range m.spans[m.first:] {
		if over -= s.dur; over <= 0 {
			return s.at + l.limits.Window - now
		}
	}
	return l.limits.Window
}

// errThrottled is a 429 with the facet's own code and figures.
func errThrottled(f facet, l Limits, retryAfter int) *apiError {
	window := int(l.Window.Seconds())
	var e *apiError
	switch f {
	case byRequests:
		e = errorf(http.StatusTooManyRequests, "0x80072322", "Number of requests exceeded the limit of %d over time window of %d seconds.", l.Requests, window)
	case byExecution:
		e = errorf(http.StatusTooManyRequests, "0x80072321", "Combined execution time of incoming requests exceeded limit of %s milliseconds over time window of %d seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later.",
			thousands(l.Execution.Milliseconds()), window)
	default:
		e = errorf(http.StatusTooManyRequests, "0x80072326", "Number of concurrent requests exceeded the limit of %d.", l.Concurrency)
	}
	e.retryAfter = max(retryAfter, 1)
	return e
}

// thousands writes a number with commas: 1,200,000.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	var groups []string
	for len(s) > 3 {
		groups = append([]string{s[len(s)-3:]}, groups...)
		s = s[:len(s)-3]
	}
	return strings.Join(append([]string{s}, groups...), ",")
}

// headers adds what is left of the limits (section 1.4; trap 26: with commas).
func (a *admission) headers(h http.Header) {
	if a.l.limits.Requests > 0 {
		h["x-ms-ratelimit-burst-remaining-xrm-requests"] = []string{strconv.Itoa(max(a.requests, 0))}
	}
	if a.l.limits.Execution > 0 {
		left := max(a.time, 0)
		cents := left.Milliseconds() / 10
		h["x-ms-ratelimit-time-remaining-xrm-requests"] = []string{thousands(cents/100) + "." + strconv.FormatInt(100+cents%100, 10)[1:]}
	}
}

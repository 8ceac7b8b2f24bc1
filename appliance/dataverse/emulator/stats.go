package emulator

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// traceSize is how many requests the trace remembers.
const traceSize = 1000

// stats counts what was asked and answered. Requests of a $batch count as one.
type stats struct {
	mu       sync.Mutex
	requests map[string]int64 // by message
	statuses map[int]int64
	codes    map[string]int64 // of errors
	records  map[string]int64 // rows carried, by message
	counts   map[countKey]*tally
	days     map[dayKey]int64
	trace    [traceSize]traced
	n        int // requests traced in all
}

// countKey is what operations are counted by. Status 0 is an operation of a change set
// that was undone because a later one failed.
type countKey struct {
	User   string    `json:"user"`
	Table  string    `json:"table,omitempty"`
	Action string    `json:"action"`
	Status int       `json:"status"`
	Code   string    `json:"code,omitempty"`
	Fault  FaultKind `json:"fault,omitempty"`
}

type tally struct {
	Operations int64 `json:"operations"`
	Rows       int64 `json:"rows"`
}

// Count is how many operations there were of one kind: the requests, and the parts of
// every $batch, which itself counts as ExecuteBatch without rows.
type Count struct {
	countKey
	tally
}

// dayKey is a user in one period of 24 hours of the emulator's time, from 1.
type dayKey struct {
	User string `json:"user"`
	Day  int    `json:"day"`
}

// Entitlement is how many Power Platform requests a user made in 24 hours (section 8.5):
// one an operation, or one a row that it writes. What is refused before it
// reaches the service is not among them.
type Entitlement struct {
	dayKey
	Requests int64 `json:"requests"`
}

// userLabel names a token's user without telling the token: the client id of one from
// the emulator's own endpoint, else the beginning of a hash.
func userLabel(token string) string {
	if client, ours := strings.CutPrefix(token, tokenPrefix); ours {
		return client
	}
	if token == "" {
		return "none"
	}
	sum := sha256.Sum256([]byte(token))
	return "token-" + hex.EncodeToString(sum[:4])
}

// traced is one line of the trace.
type traced struct {
	Time    time.Time `json:"time"`
	User    string    `json:"user"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Message string    `json:"message"`
	Table   string    `json:"table,omitempty"`
	Records int       `json:"records"`
	Status  int       `json:"status"`
	Code    string    `json:"code,omitempty"`
	Error   string    `json:"error,omitempty"`
	Fault   FaultKind `json:"fault,omitempty"`
	Wait    int       `json:"retryAfter,omitempty"` // seconds, before Options.Speed
	Aborted bool      `json:"aborted,omitempty"`    // the answer was not sent, or not whole
	Millis  float64   `json:"ms"`
}

// note counts a request that has been answered.
func (s *stats) note(c *call, err error, took time.Duration) {
	line := traced{Time: time.Now(), User: userLabel(c.token), Method: c.method, Path: c.path + c.queryText(), Message: c.message, Table: c.tableName(), Records: c.records,
		Status: c.res.status, Fault: c.fault, Aborted: c.abort != notAborted && c.abort != abortTrickle, Millis: float64(took.Microseconds()) / 1000}
	var e *apiError
	if errors.As(err, &e) {
		line.Code, line.Error, line.Wait = e.code, e.message, e.retryAfter
	} else if err != nil {
		line.Error = err.Error()
	}
	s.mu.Lock()
	if s.requests == nil {
		s.requests, s.statuses, s.codes, s.records = map[string]int64{}, map[int]int64{}, map[string]int64{}, map[string]int64{}
	}
	s.requests[c.message]++
	s.statuses[c.res.status]++
	if c.records > 0 {
		s.records[c.message] += int64(c.records)
	}
	if line.Code != "" {
		s.codes[line.Code]++
	}
	s.count(c, c.res.status, line.Code)
	s.trace[s.n%traceSize] = line
	s.n++
	s.mu.Unlock()
	if log := c.srv.opts.Log; log != nil && err != nil {
		log.Debug("refused", "method", c.method, "path", line.Path, "status", line.Status, "code", line.Code, "error", line.Error)
	}
}

// notePart counts one operation of a $batch, or the error that it answered.
func (s *stats) notePart(c *call, status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(c, status, code)
}

// count adds an operation; mu is held.
func (s *stats) count(c *call, status int, code string) {
	if s.counts == nil {
		s.counts, s.days = map[countKey]*tally{}, map[dayKey]int64{}
	}
	user, rows := userLabel(c.token), int64(c.records)
	if c.message == batchMessage {
		rows = 0 // those of its parts
	}
	k := countKey{user, c.tableName(), c.message, status, code, c.fault}
	if s.counts[k] == nil {
		s.counts[k] = &tally{}
	}
	s.counts[k].Operations++
	s.counts[k].Rows += rows
	if c.message != batchMessage && c.ran {
		if c.method == http.MethodGet {
			rows = 1 // a read is one, however much it brings
		}
		s.days[dayKey{user, 1 + int(c.srv.elapsed()/(24*time.Hour))}] += max(1, rows)
	}
}

func (c *call) tableName() string {
	if c.table == nil {
		return ""
	}
	return c.table.LogicalName
}

// sortedCounts lists the counts, and sortedDays the entitlements, in order.
func (s *stats) sortedCounts() []Count {
	out := make([]Count, 0, len(s.counts))
	for k, v := range s.counts {
		out = append(out, Count{k, *v})
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Action, b.Action),
			cmp.Compare(a.Status, b.Status), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Fault, b.Fault))
	})
	return out
}

func (s *stats) sortedDays() []Entitlement {
	out := make([]Entitlement, 0, len(s.days))
	for k, n := range s.days {
		out = append(out, Entitlement{k, n})
	}
	slices.SortFunc(out, func(a, b Entitlement) int { return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Day, b.Day)) })
	return out
}

// last returns the newest lines of the trace, oldest first.
func (s *stats) last(n int) []traced {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, s.n, traceSize)
	lines := make([]traced, 0, max(n, 0))
	for i := s.n - n; i < s.n; i++ {
		lines = append(lines, s.trace[i%traceSize])
	}
	return lines
}

func (s *stats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.statuses, s.codes, s.records, s.n = nil, nil, nil, nil, 0
	s.counts, s.days = nil, nil
	clear(s.trace[:])
}

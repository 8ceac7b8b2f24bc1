package emulator

import (
	"errors"
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
	trace    [traceSize]traced
	n        int // requests traced in all
}

// traced is one line of the trace.
type traced struct {
	Time    time.Time `json:"time"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Message string    `json:"message"`
	Records int       `json:"records"`
	Status  int       `json:"status"`
	Code    string    `json:"code,omitempty"`
	Error   string    `json:"error,omitempty"`
	Aborted bool      `json:"aborted,omitempty"` // the answer was not sent, or not whole
	Millis  float64   `json:"ms"`
}

func (s *stats) note(c *call, err error, took time.Duration) {
	line := traced{Time: time.Now(), Method: c.method, Path: c.path + c.queryText(), Message: c.message, Records: c.records,
		Status: c.res.status, Aborted: c.abort != notAborted && c.abort != abortTrickle, Millis: float64(took.Microseconds()) / 1000}
	var e *apiError
	if errors.As(err, &e) {
		line.Code, line.Error = e.code, e.message
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
	s.trace[s.n%traceSize] = line
	s.n++
	s.mu.Unlock()
	if log := c.srv.opts.Log; log != nil && err != nil {
		log.Debug("refused", "method", c.method, "path", line.Path, "status", line.Status, "code", line.Code, "error", line.Error)
	}
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
	clear(s.trace[:])
}

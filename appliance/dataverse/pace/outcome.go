package pace

import "time"

// Throttle is the facet of the service protection limits that refused a request
// (dataverse-web-api.md 8.1).
type Throttle uint8

// The facets, and what the Limiter does about each.
const (
	None        Throttle = iota
	Requests             // too many requests in the window of time: spread them
	Time                 // too much execution time together: spread it
	Concurrency          // too many at once: fewer at once
	Other                // any other "too busy": fewer at once
)

// Outcome tells the Limiter how a request went.
type Outcome struct {
	Throttle   Throttle
	RetryAfter time.Duration // 0: not said
	Failed     bool          // not a sample of how fast the server works
	Work       int           // records the request carried; a request counts at least 1
	Hint       int           // x-ms-dop-hint; 0: not said
	// Away: no service was there, only a gateway's page or nothing at all.
	Away bool
	// Limit and Per are the numbers in a throttle's text: so many requests, or
	// milliseconds of execution, in that time; or so many at once. 0: not said.
	Limit float64
	Per   time.Duration
	// BurstLeft and TimeLeft are the x-ms-ratelimit headers: requests and execution
	// time that the answering server still grants. Known only when HasLeft is set.
	HasLeft   bool
	BurstLeft int
	TimeLeft  time.Duration
}

// Throttles counts throttles by facet.
type Throttles struct{ Requests, Time, Concurrency, Other uint64 }

func (t *Throttles) add(k Throttle) {
	switch k {
	case Requests:
		t.Requests++
	case Time:
		t.Time++
	case Concurrency:
		t.Concurrency++
	default:
		t.Other++
	}
}

// Total is the number of throttles of all facets.
func (t Throttles) Total() uint64 { return t.Requests + t.Time + t.Concurrency + t.Other }

// Stats is how things stand, for a display and for the choice among several users.
type Stats struct {
	InFlight  int           // requests under way
	Waiting   int           // requests that wait for a permit
	Window    int           // how many may be under way at once
	Hint      int           // the server's x-ms-dop-hint; 0: not said yet
	Headroom  float64       // of the scarcer limit, the part not spent: 1 none is, 0 all is
	Pause     time.Duration // how long a request would wait now although the window has room
	Rate      float64       // requests a second that the limits bear for long; 0: not known
	Requests  uint64        // permits given so far
	Throttled Throttles     // so far
	HeldUntil time.Time     // no request before; zero or past when not held
	Away      time.Time     // since then no service answers; zero: it does
	Bound     int           // how many may ever be under way at once (Limiter.Bound)
	Paused    bool          // by Limiter.Pause
	ByTime    bool          // Pause is that of the execution time, not of requests
	Count     Limit         // of requests
	Time      Limit         // of execution time
}

// Stats tells how things stand.
func (l *Limiter) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s := Stats{
		InFlight: l.inFlight, Waiting: l.waiting.Len(), Window: l.window.size, Hint: l.window.hint,
		Pause: l.pause(now), Requests: l.requests, Throttled: l.counts, HeldUntil: l.held, Away: l.away,
		Bound: l.window.max, Paused: l.paused, Count: l.count.limitOf(now, 0), Time: l.time.limitOf(now, l.pending),
	}
	s.ByTime = l.time.pause(now, l.pending) > l.count.pause(now, 0)
	s.Headroom = min(l.count.headroom(0), l.time.headroom(l.pending))
	if l.count.known {
		s.Rate = l.count.total() / l.count.window.Seconds()
	}
	if l.time.known && l.cost > 0 {
		if r := l.time.total() / l.time.window.Seconds() / l.cost; s.Rate == 0 || r < s.Rate {
			s.Rate = r
		}
	}
	return s
}

package pace

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// service is a model of the real one's limits (dataverse-web-api.md 8.1), in simulated
// time: for each server and user a sliding window of requests and of execution time.
type service struct {
	requests  int
	execution time.Duration
	at        int // requests at once
	window    time.Duration
	servers   int
	random    bool // which server answers; else one after the other
	hint      int
	silent    bool // tells nothing in headers
	wordless  bool // a throttle's text has no numbers
	network   time.Duration
	request   time.Duration // execution time of a request
	record    time.Duration // and of each of its records
	before    time.Duration // spent in the window before we came
	exact     bool          // the same time for each; else it varies by 30 %
	workers   int           // so many requests make headway at once, the rest queue; 0: all

	mu     *sync.Mutex
	meters map[[2]int]*meter
	turn   int
	chance *rand.Rand // the same in every run
	slots  chan struct{}
}

type meter struct {
	began   []time.Time
	took    []time.Duration
	used    time.Duration
	running int
}

// refuse looks whether a request may come in; the answer of a throttle says why not.
func (s *service) refuse(m *meter, now time.Time) (Outcome, bool) {
	for len(m.began) > 0 && now.Sub(m.began[0]) >= s.window {
		m.used -= m.took[0]
		m.began, m.took = m.began[1:], m.took[1:]
	}
	o := Outcome{Failed: true, Per: s.window, RetryAfter: time.Second}
	switch {
	case s.at > 0 && m.running >= s.at:
		o.Throttle, o.Limit = Concurrency, float64(s.at)
	case s.requests > 0 && len(m.began) >= s.requests:
		o.Throttle, o.Limit, o.RetryAfter = Requests, float64(s.requests), m.began[len(m.began)-s.requests].Add(s.window).Sub(now)
	case s.execution > 0 && m.used > s.execution:
		o.Throttle, o.Limit = Time, float64(s.execution.Milliseconds())
		over := m.used - s.execution
		for i := 0; over > 0; i++ {
			over -= m.took[i]
			o.RetryAfter = m.began[i].Add(s.window).Sub(now)
		}
	}
	o.RetryAfter = o.RetryAfter.Truncate(time.Second) + time.Second
	if s.wordless {
		o.Limit, o.Per = 0, 0
	}
	return o, o.Throttle != None
}

// answer handles one request of a user.
func (s *service) answer(user, records int) Outcome {
	time.Sleep(s.network / 2)
	defer time.Sleep(s.network - s.network/2)
	s.mu.Lock()
	s.turn = (s.turn + 1) % s.servers
	if s.chance == nil {
		s.chance = rand.New(rand.NewPCG(1, 1))
	}
	if s.random {
		s.turn = s.chance.IntN(s.servers)
	}
	vary := 0.7 + 0.6*s.chance.Float64()
	m := s.meters[[2]int{user, s.turn}]
	if m == nil {
		m = new(meter)
		s.meters[[2]int{user, s.turn}] = m
	}
	now := time.Now()
	if o, refused := s.refuse(m, now); refused {
		s.mu.Unlock()
		return o
	}
	m.began, m.took = append(m.began, now), append(m.took, 0)
	m.running++
	o := Outcome{Work: records, Hint: s.hint}
	if !s.silent {
		o.HasLeft, o.BurstLeft, o.TimeLeft = true, s.requests-len(m.began), max(s.execution-m.used, 0)
	}
	s.mu.Unlock()

	cost := time.Duration(float64(s.request+time.Duration(records)*s.record) * vary)
	if s.exact {
		cost = s.request + time.Duration(records)*s.record
	}
	if s.workers > 0 {
		s.slots <- struct{}{}
	}
	time.Sleep(cost)
	if s.workers > 0 {
		<-s.slots
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.running--
	m.used += cost
	for i := len(m.began) - 1; i >= 0; i-- {
		if m.began[i].Equal(now) && m.took[i] == 0 {
			m.took[i] = cost
			break
		}
	}
	return o
}

// ceiling is the records a second that the limits bear for all users together.
func (s *service) ceiling(users, batch int) float64 {
	each := (s.request + time.Duration(batch)*s.record).Seconds()
	n := float64(s.servers)
	c := math.Inf(1)
	if s.execution > 0 {
		c = min(c, n*s.execution.Seconds()/s.window.Seconds()/each)
	}
	if s.requests > 0 {
		c = min(c, n*float64(s.requests)/s.window.Seconds())
	}
	at := n * float64(s.at)
	if s.hint > 0 {
		at = min(at, float64(s.hint))
	}
	c = min(c, min(at, 52)/(each+s.network.Seconds()))
	c *= float64(users)
	if s.workers > 0 {
		c = min(c, float64(s.workers)/each)
	}
	return c * float64(batch)
}

// figures are what a run came to.
type figures struct {
	ratio     float64 // records a second over the ceiling
	throttled float64 // of the requests after the first minute
	stats     Stats
}

// load sends for so long as several users and measures.
func (s service) load(users, batch int, d time.Duration) figures {
	s.mu, s.meters = new(sync.Mutex), map[[2]int]*meter{}
	s.slots = make(chan struct{}, max(s.workers, 1))
	begin := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	records, late, lateThrottled := 0, 0, 0
	var limiter *Limiter
	for user := range users {
		if s.before > 0 {
			m := &meter{used: s.before}
			for i := range 300 {
				m.began, m.took = append(m.began, begin.Add(time.Duration(i-299)*time.Second)), append(m.took, s.before/300)
			}
			s.meters[[2]int{user, 0}] = m
		}
		limiter = New(Options{})
		l := limiter
		p, _ := l.Acquire(context.Background())
		time.Sleep(s.network)
		p.Done(Outcome{Hint: s.hint, HasLeft: !s.silent, BurstLeft: s.requests - 1, TimeLeft: s.execution - s.before})
		for range 60 {
			wg.Go(func() {
				for time.Since(begin) < d {
					p, _ := l.Acquire(context.Background())
					o := s.answer(user, batch)
					p.Done(o)
					mu.Lock()
					if o.Throttle == None {
						records += batch
					}
					if time.Since(begin) > time.Minute {
						late++
						if o.Throttle != None {
							lateThrottled++
						}
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	f := figures{stats: limiter.Stats()}
	f.ratio = float64(records) / time.Since(begin).Seconds() / s.ceiling(users, batch)
	f.throttled = float64(lateThrottled) / float64(max(late, 1))
	return f
}

// standard is a service with the documented limits.
func standard(record time.Duration) service {
	return service{requests: 6000, execution: 1200 * time.Second, at: 52, window: 300 * time.Second, servers: 1,
		network: 20 * time.Millisecond, request: 5 * time.Millisecond, record: record}
}

func with(s service, change func(*service)) service {
	change(&s)
	return s
}

// TestSaturates: the limits are used up and hardly ever met, whatever they are. With
// DVMIGRATE_LONG set it takes all cases and two simulated hours for each, half a minute
// of real time.
func TestSaturates(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name         string
		s            service
		users, batch int
		short        bool
		want         float64 // 0: 0.97
	}{
		{"5 ms a record", standard(5 * ms), 1, 100, true, 0},
		{"5 ms a record, 500 a request", standard(5 * ms), 1, 500, true, 0},
		{"two users", standard(5 * ms), 2, 100, false, 0},
		{"eight users", standard(5 * ms), 8, 100, false, 0},
		{"eight users, 500 a request", standard(5 * ms), 8, 500, false, 0},
		{"20 ms a record", standard(20 * ms), 1, 100, true, 0},
		{"20 ms a record, 500 a request", standard(20 * ms), 1, 500, true, 0.94},
		{"0.2 ms a record, 10 a request", standard(ms / 5), 1, 10, true, 0},
		{"1 record a request, always as long", with(standard(ms), func(s *service) { s.exact = true }), 1, 1, true, 0},
		{"0.2 ms a record, 100 a request", standard(ms / 5), 1, 100, false, 0},
		{"far away", with(standard(5*ms), func(s *service) { s.network = 300 * ms }), 1, 100, false, 0},
		{"far away, 10 a request", with(standard(ms/5), func(s *service) { s.network = 300 * ms }), 1, 10, false, 0},
		{"hint 4", with(standard(5*ms), func(s *service) { s.hint = 4 }), 1, 100, true, 0},
		{"hint 4, 0.2 ms a record", with(standard(ms/5), func(s *service) { s.hint = 4 }), 1, 500, false, 0},
		{"queues beyond 3 at once", with(standard(5*ms), func(s *service) { s.workers = 3 }), 1, 100, false, 0.9},                                                          // where queueing looks like execution,
		{"queues beyond 8 at once, no limits", with(standard(5*ms), func(s *service) { s.workers, s.requests, s.execution, s.silent = 8, 0, 0, true }), 1, 100, true, 0.9}, // with eight under way, some are on the road,
		{"half the limits", with(standard(5*ms), func(s *service) { s.requests, s.execution, s.at = 3000, 600*time.Second, 26 }), 1, 100, true, 0.92},                      // at first it seems that others have spent half
		{"twice the limits", with(standard(5*ms), func(s *service) { s.requests, s.execution, s.at = 12000, 2400*time.Second, 104 }), 1, 100, false, 0},
		{"8000 requests", with(standard(ms/5), func(s *service) { s.requests = 8000 }), 1, 10, false, 0},
		{"a window of a minute", with(standard(5*ms), func(s *service) { s.requests, s.execution, s.window = 1200, 240*time.Second, time.Minute }), 1, 100, true, 0.88}, // no header tells its length
		{"nearly all spent before", with(standard(5*ms), func(s *service) { s.before = 1100 * time.Second }), 1, 100, false, 0.94},                                      // of the first window
		{"no headers", with(standard(5*ms), func(s *service) { s.silent = true }), 1, 100, true, 0},
		{"no headers, half the limits", with(standard(5*ms), func(s *service) { s.silent, s.requests, s.execution, s.at = true, 3000, 600*time.Second, 10 }), 1, 100, true, 0},
		{"no headers, 10 a request", with(standard(ms/5), func(s *service) { s.silent = true }), 1, 10, false, 0},
		{"no headers, no numbers", with(standard(5*ms), func(s *service) { s.silent, s.wordless, s.execution = true, true, 700*time.Second }), 1, 100, false, 0},
		{"four servers in turn", with(standard(20*ms), func(s *service) { s.servers = 4 }), 1, 100, true, 0.94},
		{"four servers at random", with(standard(5*ms), func(s *service) { s.servers, s.random = 4, true }), 1, 100, false, 0.94}, // one is always ahead of the others
		{"four servers, 10 a request", with(standard(ms/5), func(s *service) { s.servers = 4 }), 1, 10, false, 0},
		{"four servers, no headers", with(standard(5*ms), func(s *service) { s.servers, s.silent = 4, true }), 1, 100, false, 0},
	} {
		long := os.Getenv("DVMIGRATE_LONG") != ""
		if !c.short && !long {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, want := 20*time.Minute, cmp.Or(c.want, 0.97)
				if long {
					d = 2 * time.Hour
				}
				f := c.s.load(c.users, c.batch, d)
				if c.s.workers > 0 { // what a window is worth to a queue varies by 2 % (one sigma) from run to run: the mean of four
					for range 3 {
						again := c.s.load(c.users, c.batch, d)
						f.ratio, f.throttled = f.ratio+again.ratio, max(f.throttled, again.throttled)
					}
					f.ratio /= 4
				}
				t.Logf("%.3f of the ceiling of %.0f records/s, %.2f %% throttled, %d in all, window %d", f.ratio, c.s.ceiling(c.users, c.batch), 100*f.throttled, f.stats.Throttled.Total(), f.stats.Window)
				if c.s.workers > 0 && f.stats.Window > 2*c.s.workers {
					t.Errorf("a window of %d for a server that works on %d at once", f.stats.Window, c.s.workers)
				}
				if f.ratio < want || f.throttled > 0.005 {
					t.Errorf("%.3f of the ceiling, %.2f %% throttled; want at least %.2f and at most 0.5 %%", f.ratio, 100*f.throttled, want)
				}
			})
		})
	}
}

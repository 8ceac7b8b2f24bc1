package plan

import "math"

// step is one work under way, as one user sees it.
type step struct {
	*simulation
	w         Work
	now       float64
	batch     int
	left      int     // jobs to begin
	last      int     // records of the last one
	busy      int     // workers
	workers   int     // of this user
	stretch   float64 // a worker that is shared among users answers the later
	feed      float64 // seconds that the client, or the line, takes for a job
	fed       float64 // when the next job is ready
	inFlight  int
	pending   float64 // execution time under way
	nextBad   int     // records until the next that is refused
	rotten    bool    // of the job before so many were bad that halving does not pay
	warming   bool
	waits     map[Bound]float64
	blocked   Bound // why the next request waits; "" = it does not
	begun     float64
	requests  float64
	throttled float64
	failed    float64

	chunk       chunk
	chunks      []chunk
	chunkNumber int64
}

// chunk is a fifth of a window of the limits.
type chunk struct{ jobs, requests, busy, failed, throttled float64 }

func newStep(m *simulation, w Work, records float64) *step {
	s := &step{simulation: m, w: w, now: m.now, batch: max(w.Batch, 1), waits: map[Bound]float64{}}
	jobs := math.Ceil(records / float64(s.batch))
	key := w.Table + " " + w.Action
	s.warming = w.Message == Bulk && !m.warm[key]
	s.left = int(math.Ceil(jobs / m.users))
	if s.warming { // one user sends the first job, all share the others
		m.warm[key] = true
		s.left = 1 + int(math.Ceil((jobs-1)/m.users))
	}
	s.last = s.batch
	if float64(s.left) == jobs { // one user, or a single job
		s.last = max(int(math.Round(records))-(s.left-1)*s.batch, 1)
	}
	each := float64(max(w.Parallel, 1)) / m.users
	s.workers = max(int(math.Round(each)), 1)
	s.stretch = max(float64(s.workers)/each, 1)
	s.feed = float64(s.batch) * m.users * m.a.ClientRecord.Seconds() * m.scales.cost
	if m.a.Bandwidth > 0 {
		s.feed = max(s.feed, float64(s.batch)*m.users*w.Bytes/m.a.Bandwidth)
	}
	s.fed = s.now
	s.nextBad = s.gap()
	s.chunkNumber = s.chunkOf()
	s.begun = s.now
	return s
}

func (s *step) chunkOf() int64 { return int64(s.now / s.count.window * 5) }

// gap is how many good records come before the next bad one.
func (s *step) gap() int {
	p := s.w.BadRows * s.scales.faults
	if p <= 0 {
		return math.MaxInt
	}
	return int(math.Log(1-s.random.Float64()) / math.Log(1-min(p, 0.999999)))
}

func (s *step) run() {
	for s.left > 0 || s.busy > 0 {
		wake := s.admit()
		next := s.flight.first()
		if next < 0 && wake < 0 {
			return
		}
		if wake >= 0 && (next < 0 || wake < next) {
			s.wait(wake)
			continue
		}
		s.wait(next)
		s.take(s.flight.pop())
		if n := s.chunkOf(); n != s.chunkNumber {
			s.newChunk(n)
		}
	}
}

// wait lets time pass, and notes for what.
func (s *step) wait(until float64) {
	if s.blocked != "" {
		s.waits[s.blocked] += until - s.now
	}
	s.now = max(s.now, until)
}

// admit sends what may be sent now. wake is when to look again; less than 0: when an
// answer comes.
func (s *step) admit() (wake float64) {
	for {
		s.blocked = ""
		waiting := len(s.retry) > 0
		if !waiting {
			switch {
			case s.left == 0:
				return -1
			case s.warming && s.busy > 0:
				s.blocked = ByRamp
				return -1
			case s.busy >= s.workers:
				s.blocked = ByParallel
				if s.workers >= s.ramp.most {
					s.blocked = ByConcurrency
				}
				return -1
			case s.fed > s.now:
				s.blocked = ByClient
				return s.fed
			}
		}
		if s.inFlight >= s.ramp.size {
			s.ramp.full = true
			s.blocked = ByRamp
			if s.ramp.size >= s.ramp.most*3/4 {
				s.blocked = ByConcurrency
			}
			return -1
		}
		if s.held > s.now {
			s.blocked = ByThrottles
			return s.held
		}
		if p := s.simulation.count.pause(s.now, 0); p > 0 {
			s.blocked = ByRequests
			return s.now + min(p, 1)
		}
		if p := s.simulation.time.pause(s.now, s.pending); p > 0 {
			s.blocked = ByExecution
			return s.now + min(p, 1)
		}
		s.send(s.pick())
	}
}

// serverTime is the execution time of a request.
func (s *step) serverTime(records int, single, read bool) float64 {
	if read {
		return s.a.PerRequest.Seconds() * s.scales.cost
	}
	each := s.w.PerRecord
	if single && s.w.PerSingle > 0 {
		each = s.w.PerSingle
	}
	return (s.a.PerRequest.Seconds() + s.w.PerRequest.Seconds() + float64(records)*each.Seconds()) * s.scales.cost
}

// pick takes the job to send: one that waits for another try, or a new one.
func (s *step) pick() *job {
	if len(s.retry) > 0 {
		j := s.retry[0]
		s.retry = s.retry[1:]
		return j
	}
	s.left--
	s.busy++
	j := s.fresh()
	*j = job{size: s.batch, single: s.w.Message != Bulk, rotten: s.rotten, bad: j.bad[:0], stack: j.stack[:0]}
	if s.left == 0 {
		j.size = s.last
	}
	s.fed = max(s.fed+s.feed, s.now)
	at := 0
	for s.nextBad != math.MaxInt && at+s.nextBad < j.size {
		at += s.nextBad
		j.bad = append(j.bad, at)
		at++
		s.nextBad = s.gap()
	}
	if s.nextBad != math.MaxInt {
		s.nextBad -= j.size - at
	}
	return j
}

func (s *step) fresh() *job {
	n := len(s.spare)
	if n == 0 {
		return new(job)
	}
	j := s.spare[n-1]
	s.spare = s.spare[:n-1]
	return j
}

// send puts a request on its way.
func (s *step) send(j *job) {
	cost := s.serverTime(j.size, j.single, j.read)
	s.count.sent(s.now, 1, 0)
	if s.guess == 0 {
		s.guess = cost
	}
	s.time.sent(s.now, s.guess, s.pending)
	s.count.spend(s.now, s.now, 1)
	s.requests++
	s.chunk.requests++
	s.inFlight++
	latency := s.latency()
	j.began, j.cost, j.fate = s.now, cost, s.fateOf(j)
	s.turn = (s.turn + 1) % len(s.meters)
	j.meter = nil
	m := &s.meters[s.turn]
	if number, wait := m.arrive(s.now); wait > 0 {
		j.fate = throttle
		s.hold(wait)
	} else {
		j.meter, j.number, j.used, j.spent = m, number, m.busy, s.time.sum
	}
	switch j.fate {
	case throttle:
		j.cost = 0
	case away, undone:
		j.cost = s.a.PerRequest.Seconds() * s.scales.cost
	}
	j.guess = s.guess
	s.pending += j.guess
	took := (j.cost + latency) * s.stretch
	s.order++
	s.flight.push(event{at: s.now + took, order: s.order, job: j})
}

func (s *step) latency() float64 {
	median := s.a.Latency.Seconds() * s.scales.latency
	if s.a.LatencyP99 <= s.a.Latency || median <= 0 {
		return median
	}
	sigma := math.Log(s.a.LatencyP99.Seconds()/s.a.Latency.Seconds()) / 2.3263478740408408
	return median * math.Exp(sigma*s.random.NormFloat64())
}

// fateOf draws what becomes of a request.
func (s *step) fateOf(j *job) fate {
	f := s.a.Faults
	if f == (Faults{}) {
		return answered
	}
	x := s.random.Float64() / max(s.scales.faults, 1e-9)
	for _, c := range []struct {
		share float64
		fate  fate
	}{{f.Away, away}, {f.Undone, undone}, {f.Lost, unheard}, {f.Throttled, throttle}} {
		if x < c.share {
			if j.read && c.fate == unheard {
				return undone
			}
			return c.fate
		}
		x -= c.share
	}
	return answered
}

// hold stops all requests of the user, with the jitter that pace adds.
func (s *step) hold(wait float64) {
	wait = min(max(wait, 1), 300)
	s.held = max(s.held, s.now+wait+s.random.Float64()*min(wait/10, 3))
}

// take deals with an answer, or with the end of a pause before another try.
func (s *step) take(e event) {
	j := e.job
	if e.again {
		s.retry = append(s.retry, j)
		return
	}
	if e.free { // claim and settle are over: the worker takes the next
		s.busy--
		if s.warming {
			s.warming = false
		}
		return
	}
	s.inFlight--
	if j.meter != nil {
		j.meter.leave(j.number, j.cost)
		s.time.report(j.used, j.spent)
	}
	s.pending = max(s.pending-j.guess, 0)
	switch j.fate {
	case throttle:
		s.throttled++
		s.chunk.throttled++
		if s.held <= s.now {
			s.hold(max(s.a.Faults.RetryAfter.Seconds(), 1))
		}
		s.ramp.restart()
		s.retry = append(s.retry, j)
		return
	case away:
		s.hold(1)
		s.ramp.restart()
		s.backoff(j)
		return
	case undone:
		s.ramp.restart()
		s.backoff(j)
		return
	case unheard:
		s.ramp.restart()
		j.attempt = 0
		if s.w.Action == "insert" {
			for n := j.size; n > 0; n -= readSize {
				j.stack = append(j.stack, piece{read: true})
			}
		} else {
			j.stack = append(j.stack, piece{lo: j.lo, size: j.size, single: j.single}, piece{read: true})
		}
		s.proceed(j)
		return
	}
	s.ramp.done(s.now, s.now-j.began, j.size)
	s.book(j)
	j.attempt = 0
	if !j.read {
		s.narrow(j)
	}
	s.proceed(j)
}

const (
	readSize    = 100 // ids that are read back in one request
	smallSearch = 16  // records at which a refused request is no longer halved
	mostRefused = 12  // refusals of a job, after which the rest goes as single requests
	rottenShare = 32
)

// book counts the execution time of an answered request as the client guesses it: its
// time without the network's.
func (s *step) book(j *job) {
	took := s.now - j.began
	if s.near == 0 || took < s.near {
		s.near = took
	}
	cost := max(took-s.near, took/2)
	s.time.spend(j.began, s.now, cost)
	s.guess += (cost - s.guess) / 8
	s.chunk.busy += cost
}

// backoff sends once more after a while that doubles.
func (s *step) backoff(j *job) {
	j.attempt++
	d := min(0.5*math.Exp2(float64(min(j.attempt-1, 6))), 30)
	s.order++
	s.flight.push(event{at: s.now + d*(1+s.random.Float64()/2), order: s.order, again: true, job: j})
}

// narrow looks for the guilty rows of a refused request, as the loader does.
func (s *step) narrow(j *job) {
	bad := 0
	for _, b := range j.bad {
		if b >= j.lo && b < j.lo+j.size {
			bad++
		}
	}
	switch {
	case bad == 0:
		return
	case j.single || j.size == 1:
		s.failed += float64(bad)
		s.chunk.failed += float64(bad)
		return
	}
	j.refused++
	if j.refused > mostRefused || j.rotten || j.size <= smallSearch {
		for at := 0; at < j.size; at += max(min(s.batch, 100), smallSearch) {
			j.stack = append(j.stack, piece{j.lo + at, min(max(min(s.batch, 100), smallSearch), j.size-at), true, false})
		}
		return
	}
	half := j.size / 2
	j.stack = append(j.stack, piece{j.lo + half, j.size - half, false, false}, piece{j.lo, half, false, false})
}

// proceed sends the job's next request, or ends it.
func (s *step) proceed(j *job) {
	if n := len(j.stack); n > 0 {
		p := j.stack[n-1]
		j.stack = j.stack[:n-1]
		j.lo, j.size, j.single, j.read = p.lo, p.size, p.single, p.read
		s.retry = append(s.retry, j)
		return
	}
	s.rotten = len(j.bad)*rottenShare > s.batch
	s.chunk.jobs++
	s.spare = append(s.spare, j)
	if d := s.a.Claim.Seconds(); d > 0 {
		s.order++
		s.flight.push(event{at: s.now + d, order: s.order, free: true})
		return
	}
	s.busy--
	s.warming = false
}

// newChunk looks whether the last fifths of a window were alike, and then skips what
// will be like them.
func (s *step) newChunk(number int64) {
	c := s.chunk
	s.chunk = chunk{}
	if number != s.chunkNumber+1 {
		s.chunks = nil
	}
	s.chunkNumber = number
	s.chunks = append(s.chunks, c)
	if len(s.chunks) < 4 || s.neverSkip { // the first one was cut off by the step's begin
		return
	}
	last := s.chunks[len(s.chunks)-3:]
	var mean chunk
	for _, c := range last {
		mean.jobs += c.jobs / 3
		mean.requests += c.requests / 3
		mean.busy += c.busy / 3
		mean.failed += c.failed / 3
		mean.throttled += c.throttled / 3
	}
	alike := 0.005*mean.jobs + 1.01
	if s.a.Faults != (Faults{}) || s.w.BadRows > 0 || s.a.LatencyP99 > s.a.Latency {
		alike += 3 * math.Sqrt(mean.jobs*0.05)
	}
	for _, c := range last {
		if abs(c.jobs-mean.jobs) > alike {
			return
		}
	}
	if mean.jobs < 1 || !s.count.settled(mean.requests) || !s.time.settled(mean.busy) {
		return
	}
	if n := math.Floor(float64(s.left)/mean.jobs) - 1; n >= 1 {
		s.left -= int(math.Round(n * mean.jobs))
		s.ahead += n * s.count.window / 5
		s.requests += n * mean.requests
		s.failed += n * mean.failed
		s.throttled += n * mean.throttled
		for b := range s.waits {
			s.waits[b] *= 1 + n/float64(len(s.chunks))
		}
		s.chunks = nil
	}
}

// bound is what requests waited for most.
func (s *step) bound() Bound {
	best, most := ByLatency, 0.1*(s.now-s.begun) // less is not worth a word
	for _, b := range []Bound{ByRequests, ByExecution, ByConcurrency, ByParallel, ByClient, ByThrottles, ByRamp} {
		if s.waits[b] > most {
			best, most = b, s.waits[b]
		}
	}
	if best == ByLatency && s.serverTime(s.batch, s.w.Message != Bulk, false) > s.a.Latency.Seconds() {
		best = ByAnswer
	}
	if server := s.serverTime(s.batch, s.w.Message != Bulk, false); (best == ByConcurrency || best == ByParallel || best == ByRamp) && s.a.Latency.Seconds() > server {
		return ByLatency
	}
	return best
}

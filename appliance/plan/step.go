package plan

import "math"

// step is one work under way: the workers of package load, and the clients of all users
// that they share.
type step struct {
	*simulation
	w       Work
	now     float64
	batch   int // records a request
	inBatch int // records in one $batch
	left    int // records to begin
	busy    int // workers
	workers int
	stretch float64 // a worker that stands for less than one answers the later
	feed    float64 // seconds that the client, or the line, takes for a record
	fed     float64 // when the next job is ready
	nextBad int     // records until the next that is refused
	warming bool
	sizer   *SizeSearch // nil: the size is fixed
	waits   [causeCount]float64
	why     cause // why the loader begins no job; byNone = it does
	begun   float64

	refusedShare, badShare running // of first bulk requests, and of rows
	hopes                  int

	requests  float64
	throttled float64
	failed    float64

	chunk       chunk
	chunks      []chunk
	chunkNumber int64
}

// chunk is a fifth of a window of the limits.
type chunk struct{ records, requests, busy, failed, throttled float64 }

func newStep(m *simulation, w Work, records float64) *step {
	s := &step{simulation: m, w: w, now: m.now, batch: max(w.Batch, 1)}
	key := w.Table + " " + w.Action
	s.warming = w.Message == Bulk && !m.warm[key] && w.Pass != Delete && w.Pass != Deactivate
	if s.warming {
		m.warm[key] = true
	}
	s.left = max(int(math.Round(records/m.weight)), 1)
	each := float64(max(w.Parallel, 1)) / m.weight
	s.workers = max(int(math.Round(each)), 1)
	s.stretch = max(float64(s.workers)/each, 1)
	if w.Sharded && s.workers > 1 { // each worker has rows of its own, so its last request is small
		lane := math.Ceil(float64(s.left) / float64(s.workers))
		s.batch = max(int(math.Ceil(lane/math.Ceil(lane/float64(s.batch)))), 1)
	}
	s.inBatch = min(s.batch, 100)
	if w.Message != Bulk {
		s.inBatch = s.batch
	}
	if w.Auto && w.Message == Bulk {
		s.sizer = NewSizeSearch(s.batch, w.Elastic, w.Bytes)
	}
	s.feed = m.weight * m.a.ClientRecord.Seconds() * m.scales.cost
	if m.a.Bandwidth > 0 {
		s.feed = max(s.feed, m.weight*w.Bytes/m.a.Bandwidth)
	}
	s.fed = s.now
	s.nextBad = s.gap()
	s.chunkNumber = s.chunkOf()
	s.begun = s.now
	return s
}

func (s *step) chunkOf() int64 { return int64(s.now / s.clients[0].count.window * 5) }

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
	took := (until - s.now) / float64(len(s.clients))
	for _, c := range s.clients {
		why := c.why
		if why == byNone {
			why = s.why
		}
		s.waits[why] += took
	}
	s.now = max(s.now, until)
}

// admit begins what may be begun and sends what may be sent. wake is when to look again;
// less than 0: when an answer comes.
func (s *step) admit() (wake float64) {
	wake = -1
	sooner := func(at float64) {
		if at >= 0 && (wake < 0 || at < wake) {
			wake = at
		}
	}
	for s.why = byNone; s.why == byNone; {
		switch {
		case s.left == 0:
			s.why = byTail
		case s.warming && s.busy > 0:
			s.why = byRamp
		case s.busy >= s.workers:
			s.why = byParallel
			if s.workers >= len(s.clients)*s.clients[0].ramp.most {
				s.why = byConcurrency
			}
		case s.fed > s.now:
			s.why = byClient
			sooner(s.fed)
		default:
			s.start()
		}
	}
	for _, c := range s.clients {
		if c.stale || c.due >= 0 && c.due <= s.now {
			c.stale = false
			c.due = c.dispatch(s)
		}
		sooner(c.due)
	}
	return wake
}

// start begins a new job.
func (s *step) start() {
	size := s.batch
	if s.sizer != nil {
		size = s.sizer.Next(s.now)
	}
	j := s.fresh()
	*j = job{n: min(size, s.left), bad: j.bad[:0], stack: j.stack[:0]}
	s.left -= j.n
	s.busy++
	s.fed = max(s.fed, s.now-s.feed*float64(j.n)) + s.feed*float64(j.n)
	at := 0
	for s.nextBad != math.MaxInt && at+s.nextBad < j.n {
		at += s.nextBad
		j.bad = append(j.bad, at)
		at++
		s.nextBad = s.gap()
	}
	if s.nextBad != math.MaxInt {
		s.nextBad -= j.n - at
	}
	s.begin(j)
	s.proceed(j)
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

// ask gives a request to the user with the most room.
func (s *step) ask(j *job) {
	best := s.clients[0]
	if len(s.clients) > 1 {
		for _, c := range s.clients[1:] {
			if s.roomier(c, best) {
				best = c
			}
		}
	}
	best.calls++
	j.client = best
	best.queues(j)
}

// longHold is from what wait on a user's calls go to others first.
const longHold = 1.0

func (s *step) roomier(c, than *client) bool {
	pause, pauseThan := c.pause(s.now), than.pause(s.now)
	if a, b := longOnly(pause), longOnly(pauseThan); a != b {
		return a < b
	}
	queues, queuesThan := pause > 0 || c.calls >= c.ramp.size, pauseThan > 0 || than.calls >= than.ramp.size
	if queues != queuesThan {
		return queuesThan
	}
	a, b := float64(c.calls+1)/float64(c.ramp.size), float64(than.calls+1)/float64(than.ramp.size)
	if queues {
		a, b = float64(c.calls-c.inFlight), float64(than.calls-than.inFlight)
	}
	if a != b {
		return a < b
	}
	return c.sent < than.sent
}

func longOnly(pause float64) float64 {
	if pause < longHold {
		return 0
	}
	return pause
}

// serverTime is the execution time of a request.
func (s *step) serverTime(p piece) float64 {
	if p.way == reading {
		return s.a.PerRequest.Seconds() * s.scales.cost
	}
	each := s.w.PerRecord
	if p.way != inBulk && s.w.PerSingle > 0 {
		each = s.w.PerSingle
	}
	return (s.a.PerRequest.Seconds() + s.w.PerRequest.Seconds() + float64(p.size)*each.Seconds()) * s.scales.cost
}

// send sends a request as a user. Its requests go to the servers in turn.
func (s *step) send(c *client, j *job) {
	s.requests++
	s.chunk.requests++
	c.permit(s.now, j)
	j.began, j.meter, j.facet = s.now, nil, byNone
	j.cost, j.fate = s.serverTime(j.at), s.fateOf(j)
	c.turn = (c.turn + 1) % len(c.meters)
	m := &c.meters[c.turn]
	if number, wait, facet := m.arrive(s.now); wait > 0 {
		j.fate, j.facet, j.cost = throttle, facet, wait
		s.schedule(s.now+s.latency(), came, j)
		return
	} else {
		j.meter, j.number, j.place, j.used = m, number, m.count, m.busy
	}
	switch j.fate {
	case throttle:
		j.cost = 0
	case away, undone:
		j.cost = s.a.PerRequest.Seconds() * s.scales.cost
	}
	s.schedule(s.now+(j.cost+s.latency())*s.stretch, came, j)
}

func (s *step) schedule(at float64, k eventKind, j *job) {
	s.order++
	s.flight.push(event{at: at, order: s.order, kind: k, job: j})
}

// latency draws one from the log-normal distribution of median and p99.
func (s *step) latency() float64 {
	median := s.a.Latency.Seconds() * s.scales.latency
	if s.sigma == 0 || median <= 0 {
		return median
	}
	return median * math.Exp(s.sigma*s.random.NormFloat64())
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
			if j.at.way == reading && (c.fate == unheard || c.fate == away) {
				return undone // a read is simply sent again
			}
			return c.fate
		}
		x -= c.share
	}
	return answered
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
	if len(s.chunks) < 4 || s.neverSkip || s.sizer != nil && !s.sizer.resting() { // the first one was cut off by the step's begin
		return
	}
	last := s.chunks[len(s.chunks)-3:]
	var mean chunk
	for _, c := range last {
		mean.records += c.records / 3
		mean.requests += c.requests / 3
		mean.busy += c.busy / 3
		mean.failed += c.failed / 3
		mean.throttled += c.throttled / 3
	}
	batch := float64(s.batch)
	if s.sizer != nil {
		batch = float64(s.sizer.Size)
	}
	jobs := mean.records / batch
	alike := 0.005*jobs + 1.01
	if s.a.Faults != (Faults{}) || s.w.BadRows > 0 || s.a.LatencyP99 > s.a.Latency || s.sizer != nil {
		alike += 3 * math.Sqrt(jobs*0.05)
	}
	for _, c := range last {
		if abs(c.records-mean.records) > alike*batch {
			return
		}
	}
	n := float64(len(s.clients))
	for _, c := range s.clients {
		if !c.count.settled(mean.requests/n) || !c.time.settled(mean.busy/n) {
			return
		}
	}
	if mean.records < 1 {
		return
	}
	if n := math.Floor(float64(s.left)/mean.records) - 1; n >= 1 {
		s.left -= int(math.Round(n * mean.records))
		s.ahead += n * s.clients[0].count.window / 5
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
	for c, b := range causes {
		if b != "" && s.waits[c] > most {
			best, most = b, s.waits[c]
		}
	}
	server := s.serverTime(piece{size: s.batch, way: s.usual()})
	slow := s.a.Latency.Seconds() <= server
	switch {
	case best == ByLatency && slow:
		return ByAnswer
	case !slow && (best == ByConcurrency || best == ByParallel || best == ByRamp):
		return ByLatency
	}
	return best
}

// usual is how most requests travel.
func (s *step) usual() way {
	if s.w.Message != Bulk {
		return inBatch
	}
	return inBulk
}

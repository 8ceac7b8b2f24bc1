package plan

import "math"

// job is one request of the loader's, or several one after the other: it mirrors the
// sender of package load.
type job struct {
	n       int   // records
	bad     []int // places of rows that will be refused, ascending
	stack   []piece
	at      piece // that is sent or waits
	refused int
	attempt int
	failed  int

	client  *client
	began   float64
	cost    float64
	fate    fate
	facet   cause   // that a throttle is for
	guess   float64 // what the client thought that it would cost
	booked  float64 // and what it booked
	counted float64 // that the client had spent: requests
	spent   float64 // execution time
	meter   *meter  // that let it in; nil = none did
	number  int     // there
	place   int     // requests in the meter's window
	used    float64 // execution time that the meter had counted when it came

	toll Toll
}

// count adds one request to what the job took.
func (j *job) count(took float64) {
	switch j.fate {
	case throttle:
		return
	case away, unheard:
		j.toll.Vague = true
		return
	case undone:
		j.toll.Undone = true
	default:
		j.toll.Longest = max(j.toll.Longest, took)
	}
	j.toll.Add(took)
}

// piece is one request of a job.
type piece struct {
	lo, size int
	way      way
	again    bool // it was sent before, or is part of what was
}

// way is how a piece travels.
type way uint8

const (
	inBulk way = iota
	inBatch
	reading // reads records back
	further // what a record needs besides the request that writes it
)

type fate uint8

const (
	answered fate = iota
	away          // a gateway's page, or no connection
	undone        // rolled back
	unheard       // applied, and the answer was lost
	throttle
)

const (
	readSize    = 250 // ids that are read back in one request
	fewEnough   = 16  // records at which a refused request is no longer halved
	mostRefused = 12  // refusals of a job, after which the rest goes in a $batch
	hopeless    = 0.75
	hopeEvery   = 8
	worthHalves = 1.5
)

// running is a running share.
type running struct {
	known bool
	share float64
}

func (r *running) note(now float64) {
	if !r.known {
		r.share, r.known = now, true
	}
	r.share += (now - r.share) / 4
}

// expected is how many rows of a refused request of n are guilty.
func (r *running) expected(n int) float64 {
	if r.share <= 0 {
		return 1
	}
	refused := 1 - math.Pow(1-min(r.share, 1), float64(n))
	return max(r.share*float64(n)/max(refused, 1e-9), 1)
}

// badIn is how many rows of a piece will be refused.
func (j *job) badIn(p piece) (n int) {
	for _, b := range j.bad {
		if b >= p.lo && b < p.lo+p.size {
			n++
		}
	}
	return n
}

// push adds a piece to be sent next; a $batch in as many requests as it takes.
func (s *step) push(j *job, p piece) {
	most := p.size
	if p.way == inBatch {
		most = s.inBatch
	}
	for end := p.lo + p.size; end > p.lo; {
		n := (end-p.lo-1)%most + 1 // the last first: it is a stack
		j.stack = append(j.stack, piece{end - n, n, p.way, p.again})
		if s.w.ReadFirst {
			s.reads(j, n)
		}
		end -= n
	}
}

// reads adds the requests that read so many records back.
func (s *step) reads(j *job, records int) {
	for n := records; n > 0; n -= readSize {
		j.stack = append(j.stack, piece{size: min(n, readSize), way: reading, again: true})
	}
}

// begin pushes a job's first requests.
func (s *step) begin(j *job) {
	w := inBulk
	switch {
	case s.w.Message != Bulk:
		w = inBatch
	case s.refusedShare.share > hopeless:
		if s.hopes++; s.hopes%hopeEvery != 0 {
			w = inBatch
		}
	}
	s.push(j, piece{0, j.n, w, false})
}

// narrow looks for the guilty rows of a refused request.
func (s *step) narrow(j *job) {
	p, bad := j.at, j.badIn(j.at)
	if p.way == inBulk && !p.again {
		s.refusedShare.note(min(float64(bad), 1))
	}
	switch {
	case bad == 0:
		return
	case p.way != inBulk || p.size == 1:
		j.failed += bad
		return
	}
	j.refused++
	if j.refused > mostRefused || p.size <= max(s.inBatch, fewEnough) || s.badShare.expected(p.size) > worthHalves {
		s.push(j, piece{p.lo, p.size, inBatch, true})
		return
	}
	half := p.size / 2
	s.push(j, piece{p.lo + half, p.size - half, inBulk, true})
	s.push(j, piece{p.lo, half, inBulk, true})
}

// proceed sends the job's next request, or ends it.
func (s *step) proceed(j *job) {
	if n := len(j.stack); n > 0 {
		j.at, j.stack = j.stack[n-1], j.stack[:n-1]
		j.attempt = 0
		s.ask(j)
		return
	}
	s.badShare.note(float64(j.failed) / float64(j.n))
	s.failed += float64(j.failed)
	s.chunk.failed += float64(j.failed)
	s.chunk.records += float64(j.n)
	if s.sizer != nil {
		s.sizer.Learn(s.now, Sized{Toll: j.toll, Size: j.n, Sent: j.n, Records: float64(j.n), Bytes: s.w.Bytes})
	}
	s.spare = append(s.spare, j)
	if d := s.a.Claim.Seconds(); d > 0 {
		s.schedule(s.now+d, freed, nil)
		return
	}
	s.free()
}

func (s *step) free() {
	s.busy--
	s.warming = false
}

// take deals with an event.
func (s *step) take(e event) {
	j := e.job
	switch e.kind {
	case again:
		j.client.queues(j)
		return
	case freed: // claim and settle are over: the worker takes the next
		s.free()
		return
	}
	c := j.client
	c.back(j)
	if j.meter != nil {
		j.meter.leave(j.number, j.cost)
	}
	j.count(s.now - j.began)
	switch j.fate {
	case throttle:
		s.throttled++
		s.chunk.throttled++
		wait := j.cost
		if j.meter != nil {
			wait = max(s.a.Faults.RetryAfter.Seconds(), 1)
		}
		c.throttled(s.now, j, wait, s.random.Float64())
		c.queues(j)
		return
	case undone: // the client tries once more, after a while that doubles
		c.away, c.absent = false, 0
		d := min(0.5*math.Pow(2, float64(min(j.attempt, 6))), 30)
		j.attempt++
		s.schedule(s.now+d*(1+s.random.Float64()/2), again, j)
		return
	case away:
		c.gone(s.now, j, s.random.Float64())
		s.lost(j, false)
	case unheard:
		c.away, c.absent = false, 0
		s.lost(j, true)
	default:
		refused := j.at.way == inBulk && len(j.bad) > 0 && j.badIn(j.at) > 0
		c.answered(s.now, j, refused)
		s.chunk.busy += j.booked
		if j.at.way != reading {
			s.narrow(j)
			s.follow(j)
		}
	}
	c.calls--
	if c.inFlight == 0 && len(c.queue) == 0 {
		c.ramp.idle(s.now)
	}
	s.proceed(j)
}

// lost finds out what became of a request without an answer. An insert is read back, and
// sent again if it was not applied; all else is sent again once a read is answered.
func (s *step) lost(j *job, applied bool) {
	p := j.at
	insert := s.w.Action == "insert"
	if p.way == reading || !insert || !applied {
		p.again = true
		j.stack = append(j.stack, p)
	}
	switch {
	case p.way == reading:
	case insert:
		s.reads(j, p.size)
	default:
		s.reads(j, 1)
	}
}

// follow pushes what a record needs besides its first request: an activity's parties, a
// file's blocks.
func (s *step) follow(j *job) {
	if s.w.Further == 0 || j.at.way == further {
		return
	}
	for range int(s.w.Further*float64(j.at.size) + 0.5) {
		j.stack = append(j.stack, piece{lo: j.n, size: 1, way: further, again: true})
	}
}

package load

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// What a load starts from (method.md M13).
const (
	startBuiltIn = 200 // built-in business tables
	startOther   = 100
	startWide    = 20 // more than wideColumns or wideLookups
	wideColumns  = 100
	wideLookups  = 20
)

// StartBatch is the number of records in a bulk request, or in a $batch where the table
// takes none, from which a load looks for the best one when the settings do not fix it.
func StartBatch(t *mapping.Table) int {
	switch {
	case t.Link != nil || !t.Schema.CanBulk("create"):
		return fallbackBatch
	case len(t.Columns)+len(t.Lookups) > wideColumns || len(t.Lookups) > wideLookups:
		return startWide
	case t.Schema.Kind != schema.Elastic && !t.Schema.Custom:
		return startBuiltIn
	}
	return startOther
}

const (
	mostRecords = 1000             // a bulk request may have (dataverse-web-api.md 6.1)
	mostElastic = 100              // on an elastic table (6.3)
	leastSize   = 10               // no smaller request is tried
	mostBody    = 4 << 20          // bytes of a request's body, about
	mostTook    = 10 * time.Second // a request is to take; the service gives up after 120 s
	tooLong     = 20 * time.Second // an answer that makes requests smaller

	// leastToll is what a request counts at least, however soon it is answered: the service
	// grants 6,000 requests and 1,200 s of execution in the same time (8.1), so that shorter
	// ones use up the first limit before the second, and larger ones bring more.
	leastToll = 200 * time.Millisecond

	stepUp     = 1.5              // a step of size
	worthStep  = 1.1              // a smaller step is not worth a trial
	worthGain  = 0.03             // from so many more records a second on a size is better
	fewJobs    = 8                // of each size, before a trial is decided
	manyJobs   = 40               // of each size, after which it is
	errorsRise = 0.1              // of the jobs undone: smaller ones are tried soon
	restAtOnce = 10 * time.Second // after a trial that brought nothing, or a request that was too big
	restFirst  = time.Minute      // after one upwards and one downwards that brought nothing, at first
	restMost   = 16 * time.Minute
	lidFirst   = 10 * time.Minute // a size that was too big is not tried again for so long, at first
	lidMost    = 2 * time.Hour
)

// sizer looks for the number of records in a bulk request with which the service does
// most in its time: all its requests are told apart by how long they took, with what the
// halves, reads and further tries of a job took when something went wrong. So bad rows,
// deadlocks and timeouts, which cost more in larger requests, count.
//
// It makes trials: while one runs, every other job has another size, so that both meet
// the same moments of the service, whose speed is never the same for long. The other
// size is taken when it brings 3 % more records a second; then the next step is tried.
// When it does not, smaller ones and larger ones are tried in turn, ever more seldom.
// A size that the service cannot do is told by the one request that tries it first.
type sizer struct {
	size *atomic.Int32 // of requests now
	note func(string)
	most int

	mu     sync.Mutex // protects what follows
	warm   bool       // the first job, which makes the service's procedures, is over
	took   float64    // seconds a job, about; 0: not known
	bytes  float64    // a record, about
	undone float64    // share of jobs of which some request was rolled back
	trial  trial
	down   bool          // the next trial is of a smaller size
	due    time.Time     // when it may be
	ended  time.Time     // when the last one ended
	idle   int           // trials in a row that brought nothing
	rest   time.Duration // after the next two of them
	lid    int           // a size that was too big, until lidUntil; 0: none
	until  time.Time
	shut   time.Duration // how long the next lid holds

	told int     // the size that was last told of
	gain float64 // the records a second since then, as a multiple
}

// trial compares two sizes.
type trial struct {
	size   int  // 0: none runs
	proved bool // a job of this size went well
	out    bool // the first one is under way
	odd    bool // the next job has this size
	now    arm  // with the size that is used
	other  arm
}

// arm is what was measured of one size.
type arm struct {
	jobs, records          int
	seconds, each, squares float64 // each: sum of the seconds a record, squares: of their squares
}

func (a *arm) add(records int, size int, seconds float64) {
	x := seconds / float64(max(records, 1))
	if records == 0 {
		x = seconds / float64(size)
	}
	a.jobs, a.records = a.jobs+1, a.records+records
	a.seconds, a.each, a.squares = a.seconds+seconds, a.each+x, a.squares+x*x
}

// cost is the seconds a record, and its relative standard error.
func (a *arm) cost() (seconds, uncertain float64) {
	n := float64(a.jobs)
	mean := a.each / n
	variance := max(a.squares/n-mean*mean, 0)
	return a.seconds / float64(max(a.records, 1)), math.Sqrt(variance/n) / max(mean, 1e-12)
}

func newSizer(t *mapping.Table, size *atomic.Int32, note func(string)) *sizer {
	s := &sizer{size: size, note: note, most: mostRecords, rest: restFirst, shut: lidFirst, told: StartBatch(t), gain: 1}
	if t.Schema.Kind == schema.Elastic {
		s.most = mostElastic
	}
	return s
}

// toll is what the requests of a job took.
type toll struct {
	took    time.Duration // together, each at least leastToll
	longest time.Duration
	bytes   int  // of the largest body
	undone  bool // some were rolled back
	vague   bool // some say nothing of the size: nobody was there, or the answer was lost
}

// take adds one request.
func (t *toll) take(x dataverse.Exchange) {
	switch x.Kind {
	case dataverse.Throttled:
		return
	case dataverse.Lost, dataverse.Unreachable, dataverse.Transient, dataverse.Stopped:
		t.vague = true
		return
	case dataverse.RolledBack:
		t.undone = true
	case 0:
		t.longest = max(t.longest, x.Took)
	}
	t.took += max(x.Took, leastToll)
	t.bytes = max(t.bytes, x.Bytes)
}

// full reports whether a job has its records, or its request would be too large.
func (j *job) full() bool {
	if j.size == 0 {
		return len(j.seqs) >= int(j.w.batch.Load())
	}
	return len(j.seqs) >= j.size || len(j.body) >= mostBody
}

// next is the size of the next job.
func (s *sizer) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, t := int(s.size.Load()), &s.trial
	if t.size == 0 {
		s.begin(time.Now())
	}
	switch t.odd = !t.odd; {
	case t.size == 0 || !t.odd || !t.proved && t.out:
		return size
	}
	t.out = true
	return t.size
}

// begin begins a trial if one is due and there is a size to try.
func (s *sizer) begin(now time.Time) {
	if s.took == 0 || now.Before(s.due) && (s.undone < errorsRise || now.Sub(s.ended) < restFirst) {
		return
	}
	if now.Before(s.due) {
		s.down = true
	}
	size := int(s.size.Load())
	other := s.larger(now, size)
	if s.down {
		other = max(int(float64(size)/stepUp), leastSize)
	}
	if worth := float64(other) / float64(size); worth < worthStep && worth > 1/worthStep || !s.down && other < size {
		s.over(now)
		return
	}
	s.trial = trial{size: other, proved: s.down}
}

// larger is the next larger size that may be tried.
func (s *sizer) larger(now time.Time, size int) int {
	n := min(float64(size)*stepUp, float64(s.most), float64(size)*mostTook.Seconds()/s.took)
	if s.bytes > 0 {
		n = min(n, mostBody/s.bytes)
	}
	if s.lid > 0 && now.Before(s.until) {
		n = min(n, float64(size+s.lid)/2)
	}
	return int(n)
}

// learn takes in a job that has come to its end, with how many of its records have an
// outcome.
func (s *sizer) learn(j *job, records int64, bulk bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, size := time.Now(), int(s.size.Load())
	t, other := &s.trial, j.size != size && j.size == s.trial.size
	switch {
	case !bulk:
		s.trial = trial{}
		return
	case j.toll.longest > tooLong && len(j.seqs) > 1:
		if n := len(j.seqs); s.cannot(now, n) {
			s.note(fmt.Sprintf("an answer took %.0f s; going on with %d records each", j.toll.longest.Seconds(), n/2))
		}
		return
	case j.toll.vague || j.toll.took == 0 || len(j.seqs)*5 < j.size*4:
		t.out = t.out && !other // another one tries the size first
		if other && !j.toll.vague && len(j.body) >= mostBody {
			s.over(now)
		}
		return
	}
	if !s.warm {
		s.warm = true
		return
	}
	seconds := j.toll.took.Seconds()
	s.undone -= s.undone / 16
	if j.toll.undone {
		s.undone += 1.0 / 16
	}
	s.bytes += (float64(j.toll.bytes)/float64(len(j.seqs)) - s.bytes) / 4
	switch {
	case other:
		t.proved = true
		t.other.add(int(records), j.size, seconds)
	case j.size != size:
		return // of a size that was left
	default:
		if s.took == 0 {
			s.took = seconds
		}
		s.took += (seconds - s.took) / 8
		if t.size > 0 && t.proved {
			t.now.add(int(records), j.size, seconds)
		}
	}
	s.judge(now, size)
}

// judge ends a trial when it is decided.
func (s *sizer) judge(now time.Time, size int) {
	t := &s.trial
	if t.size == 0 || min(t.now.jobs, t.other.jobs) < fewJobs {
		return
	}
	is, uncertain := t.now.cost()
	would, more := t.other.cost()
	gain, doubt := is/would-1, 2*math.Hypot(uncertain, more)
	switch done := min(t.now.jobs, t.other.jobs) >= manyJobs; {
	case gain-doubt >= worthGain, done && gain >= worthGain:
		s.gain *= 1 + gain
		s.took = t.other.seconds / float64(t.other.jobs)
		s.size.Store(int32(t.size))
		s.trial, s.idle, s.rest, s.due, s.ended = trial{}, 0, restFirst, now, now
	case gain+doubt < worthGain, done:
		s.over(now)
	}
}

// over ends a search in one direction: the next is in the other, and when neither brought
// anything it rests.
func (s *sizer) over(now time.Time) {
	s.trial, s.down, s.ended, s.due = trial{}, !s.down, now, now.Add(restAtOnce)
	if s.idle++; s.idle%2 == 0 {
		s.due = now.Add(s.rest)
		s.rest = min(2*s.rest, restMost)
	}
	if size := int(s.size.Load()); size != s.told {
		s.note(fmt.Sprintf("requests carry %d records now, no longer %d: so the service does %.0f %% more in its time", size, s.told, 100*(s.gain-1)))
		s.told, s.gain = size, 1
	}
}

// tooBig takes in that a request of n records was too much for the service, and reports
// whether requests are smaller from now on.
func (w *work) tooBig(n int) (shrunk bool) {
	if w.sizer == nil {
		return w.shrinkTo(n / 2)
	}
	w.sizer.mu.Lock()
	defer w.sizer.mu.Unlock()
	return w.sizer.cannot(time.Now(), n)
}

// cannot notes a size that the service cannot do: a trial of it ends, and where it is the
// one in use, half of it is used.
func (s *sizer) cannot(now time.Time, n int) (shrunk bool) {
	if s.lid == 0 || n < s.lid || now.After(s.until) {
		s.lid, s.until = n, now.Add(s.shut)
		s.shut = min(2*s.shut, lidMost)
	}
	size := int(s.size.Load())
	switch {
	case n > size && s.trial.size > size: // more careful steps may do
		s.trial, s.ended, s.due, s.down = trial{}, now, now.Add(restAtOnce), false
	case n <= size && n > 1:
		s.size.Store(int32(n / 2))
		s.took, s.told, s.gain = 0, n/2, 1
		s.trial, s.ended, s.due, s.down, s.rest = trial{}, now, now.Add(restAtOnce), false, restFirst
		return true
	}
	return false
}

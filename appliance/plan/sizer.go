package plan

import "math"

const (
	// MostBody is about how many bytes a request's body has at most.
	MostBody = 4 << 20

	mostRecords = 1000 // a bulk request may have (dataverse-web-api.md 6.1)
	mostElastic = 100  // on an elastic table (6.3)
	leastSize   = 10   // no smaller request is tried
	mostTook    = 10.0 // seconds that a request is to take; the service gives up after 120 s
	tooLong     = 20.0 // an answer that makes requests smaller

	// leastToll is the seconds that a request counts at least, however soon it is answered:
	// the service grants 6,000 requests and 1,200 s of execution in the same time (8.1), so
	// that shorter ones use up the first limit before the second, and larger ones bring more.
	leastToll = 0.2

	stepUp     = 1.5  // a step of size
	worthStep  = 1.1  // a smaller step is not worth a trial
	worthGain  = 0.03 // from so many more records a second on a size is better
	fewJobs    = 8    // of each size, before a trial is decided
	manyJobs   = 40   // of each size, after which it is
	errorsRise = 0.1  // of the jobs undone: smaller ones are tried soon

	// In seconds.
	restAtOnce = 10.0 // after a trial that brought nothing, or a request that was too big
	restFirst  = 60.0 // after one upwards and one downwards that brought nothing, at first
	restMost   = 960.0
	lidFirst   = 600.0 // a size that was too big is not tried again for so long, at first
	lidMost    = 7200.0
)

// SizeSearch looks for the number of records in a bulk request with which the service does
// most in its time, for a load as for the simulation of one: all its requests are told
// apart by how long they took, with what the halves, reads and further tries of a job took
// when something went wrong. So bad rows, deadlocks and timeouts, which cost more in larger
// requests, count.
//
// It makes trials: while one runs, every other job has another size, so that both meet
// the same moments of the service, whose speed is never the same for long. The other
// size is taken when it brings 3 % more records a second; then the next step is tried.
// When it does not, smaller ones and larger ones are tried in turn, ever more seldom.
// A size that the service cannot do is told by the one request that tries it first.
//
// Moments are seconds since any one of them. It is not for several goroutines at once.
type SizeSearch struct {
	Size int // of requests now
	// Changed, if set, is called when a search is over that changed the size, with how many
	// records a second more it brings, as a multiple.
	Changed func(from, to int, gain float64)

	most   float64
	warm   bool    // the first job, which makes the service's procedures, is over
	took   float64 // seconds a job, about; 0: not known
	bytes  float64 // a record, about
	undone float64 // share of jobs of which some request was rolled back
	trial  trial
	down   bool    // the next trial is of a smaller size
	due    float64 // when it may be
	ended  float64 // when the last one ended
	idle   int     // trials in a row that brought nothing
	rest   float64 // after the next two of them
	lid    int     // a size that was too big, until; 0: none
	until  float64
	shut   float64 // how long the next lid holds

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
type arm struct{ jobs, records, seconds, each, squares float64 } // each: sum of the seconds a record, squares: of their squares

func (a *arm) add(j Sized) {
	x := j.Took / max(j.Records, 1)
	if j.Records == 0 {
		x = j.Took / float64(j.Size)
	}
	a.jobs, a.records = a.jobs+1, a.records+j.Records
	a.seconds, a.each, a.squares = a.seconds+j.Took, a.each+x, a.squares+x*x
}

// cost is the seconds a record, and its relative standard error.
func (a *arm) cost() (seconds, uncertain float64) {
	mean := a.each / a.jobs
	return a.seconds / max(a.records, 1), math.Sqrt(max(a.squares/a.jobs-mean*mean, 0)/a.jobs) / max(mean, 1e-12)
}

// Toll is what the requests of a job took.
type Toll struct {
	Took    float64 // seconds, together, each at least leastToll
	Longest float64 // seconds, of one that was answered
	Undone  bool    // some were rolled back
	Vague   bool    // some say nothing of the size: nobody was there, or the answer was lost
}

// Add adds a request that took so many seconds.
func (t *Toll) Add(took float64) { t.Took += max(took, leastToll) }

// Sized is a job that has come to its end.
type Sized struct {
	Toll
	Size    int     // that it was to have
	Sent    int     // records that it had
	Records float64 // of these, those with an outcome
	Bytes   float64 // a record
	Full    bool    // no larger request can be sent
}

// NewSizeSearch begins with a size; bytes is what a record has, as far as it is known.
func NewSizeSearch(size int, elastic bool, bytes float64) *SizeSearch {
	s := &SizeSearch{Size: size, most: mostRecords, bytes: bytes, rest: restFirst, shut: lidFirst, told: size, gain: 1}
	if elastic {
		s.most = mostElastic
	}
	return s
}

// resting tells whether it is found, for a while.
func (s *SizeSearch) resting() bool { return s.trial.size == 0 && s.idle >= 2 }

// GiveUp ends a trial without a result.
func (s *SizeSearch) GiveUp() { s.trial = trial{} }

// Next is the size of the next job.
func (s *SizeSearch) Next(now float64) int {
	t := &s.trial
	if t.size == 0 {
		s.begin(now)
	}
	switch t.odd = !t.odd; {
	case t.size == 0 || !t.odd || !t.proved && t.out:
		return s.Size
	}
	t.out = true
	return t.size
}

// begin begins a trial if one is due and there is a size to try.
func (s *SizeSearch) begin(now float64) {
	if s.took == 0 || now < s.due && (s.undone < errorsRise || now-s.ended < restFirst) {
		return
	}
	if now < s.due {
		s.down = true
	}
	other := s.larger(now)
	if s.down {
		other = max(int(float64(s.Size)/stepUp), leastSize)
	}
	if worth := float64(other) / float64(s.Size); worth < worthStep && worth > 1/worthStep || !s.down && other < s.Size {
		s.over(now)
		return
	}
	s.trial = trial{size: other, proved: s.down}
}

// larger is the next larger size that may be tried.
func (s *SizeSearch) larger(now float64) int {
	n := min(float64(s.Size)*stepUp, s.most, float64(s.Size)*mostTook/s.took)
	if s.bytes > 0 {
		n = min(n, MostBody/s.bytes)
	}
	if s.lid > 0 && now < s.until {
		n = min(n, float64(s.Size+s.lid)/2)
	}
	return int(n)
}

// Learn takes in a job, and reports whether requests are smaller from now on because an
// answer took too long.
func (s *SizeSearch) Learn(now float64, j Sized) (shrunk bool) {
	t, other := &s.trial, j.Size != s.Size && j.Size == s.trial.size
	switch {
	case j.Longest > tooLong && j.Sent > 1:
		return s.Cannot(now, j.Sent)
	case j.Vague || j.Took == 0 || j.Sent*5 < j.Size*4:
		t.out = t.out && !other // another one tries the size first
		if other && !j.Vague && j.Full {
			s.over(now)
		}
		return false
	case !s.warm:
		s.warm = true
		return false
	}
	s.undone -= s.undone / 16
	if j.Undone {
		s.undone += 1.0 / 16
	}
	s.bytes += (j.Bytes - s.bytes) / 4
	switch {
	case other:
		t.proved = true
		t.other.add(j)
	case j.Size != s.Size:
		return false // of a size that was left
	default:
		if s.took == 0 {
			s.took = j.Took
		}
		s.took += (j.Took - s.took) / 8
		if t.size > 0 && t.proved {
			t.now.add(j)
		}
	}
	s.judge(now)
	return false
}

// judge ends a trial when it is decided.
func (s *SizeSearch) judge(now float64) {
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
		s.took, s.Size = t.other.seconds/t.other.jobs, t.size
		s.trial, s.idle, s.rest, s.due, s.ended = trial{}, 0, restFirst, now, now
	case gain+doubt < worthGain, done:
		s.over(now)
	}
}

// over ends a search in one direction: the next is in the other, and when neither brought
// anything it rests.
func (s *SizeSearch) over(now float64) {
	s.trial, s.down, s.ended, s.due = trial{}, !s.down, now, now+restAtOnce
	if s.idle++; s.idle%2 == 0 {
		s.due = now + s.rest
		s.rest = min(2*s.rest, restMost)
	}
	if s.Size != s.told {
		if s.Changed != nil {
			s.Changed(s.told, s.Size, s.gain)
		}
		s.told, s.gain = s.Size, 1
	}
}

// Cannot notes a size that the service cannot do: a trial of it ends, and where it is the
// one in use, half of it is used. It reports whether requests are smaller from now on.
func (s *SizeSearch) Cannot(now float64, n int) (shrunk bool) {
	if s.lid == 0 || n < s.lid || now > s.until {
		s.lid, s.until = n, now+s.shut
		s.shut = min(2*s.shut, lidMost)
	}
	switch {
	case n > s.Size && s.trial.size > s.Size: // more careful steps may do
		s.trial, s.ended, s.due, s.down = trial{}, now, now+restAtOnce, false
	case n <= s.Size && n > 1:
		s.Size = n / 2
		s.took, s.told, s.gain = 0, n/2, 1
		s.trial, s.ended, s.due, s.down, s.rest = trial{}, now, now+restAtOnce, false, restFirst
		return true
	}
	return false
}

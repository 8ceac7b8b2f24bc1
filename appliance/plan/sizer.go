package plan

import "math"

// sizer is how the load finds the number of records in a bulk request where the settings
// do not fix it. It mirrors that of package load: trials in which every other job has
// another size, which is taken when it brings 3 % more records a second of the service's
// time; larger and smaller ones in turn, ever more seldom when neither brings anything.
type sizer struct {
	size  int
	most  float64
	bytes float64

	warm   bool
	took   float64 // seconds a job, about; 0: not known
	undone float64
	trial  trial
	down   bool
	due    float64
	ended  float64
	idle   int
	rest   float64
	lid    int
	until  float64
	shut   float64
}

// trial compares two sizes.
type trial struct {
	size        int // 0: none runs
	proved, out bool
	odd         bool
	now, other  arm
}

// arm is what was measured of one size.
type arm struct{ jobs, records, seconds, each, squares float64 }

const (
	sizeMost      = 1000
	sizeLeast     = 10
	sizeBody      = 4 << 20 // bytes
	sizeTook      = 10.0    // seconds that a request is to take
	sizeTooLong   = 20.0
	sizeToll      = 0.2 // seconds that a request counts at least
	sizeStep      = 1.5
	sizeWorthStep = 1.1
	sizeWorthGain = 0.03
	sizeFewJobs   = 8
	sizeManyJobs  = 40
	sizeErrors    = 0.1
	sizeAtOnce    = 10.0
	sizeRest      = 60.0
	sizeRestMost  = 960.0
	sizeLid       = 600.0
	sizeLidMost   = 7200.0
)

func newSizer(w Work, start int) *sizer {
	s := &sizer{size: start, most: sizeMost, bytes: w.Bytes, rest: sizeRest, shut: sizeLid}
	if w.Elastic {
		s.most = 100
	}
	return s
}

// take adds one request of a job.
func (t *toll) take(j *job, took float64) {
	switch j.fate {
	case throttle:
		return
	case away, unheard:
		t.vague = true
		return
	case undone:
		t.undone = true
	default:
		t.longest = max(t.longest, took)
	}
	t.took += max(took, sizeToll)
}

// resting tells whether it is found, for a while.
func (s *sizer) resting() bool { return s.trial.size == 0 && s.idle >= 2 }

// next is the size of the next job.
func (s *sizer) next(now float64) int {
	t := &s.trial
	if t.size == 0 {
		s.begin(now)
	}
	switch t.odd = !t.odd; {
	case t.size == 0 || !t.odd || !t.proved && t.out:
		return s.size
	}
	t.out = true
	return t.size
}

func (s *sizer) begin(now float64) {
	if s.took == 0 || now < s.due && (s.undone < sizeErrors || now-s.ended < sizeAtOnce) {
		return
	}
	if now < s.due {
		s.down = true
	}
	other := s.larger(now)
	if s.down {
		other = max(int(float64(s.size)/sizeStep), sizeLeast)
	}
	if worth := float64(other) / float64(s.size); worth < sizeWorthStep && worth > 1/sizeWorthStep || !s.down && other < s.size {
		s.over(now)
		return
	}
	s.trial = trial{size: other, proved: s.down}
}

func (s *sizer) larger(now float64) int {
	n := min(float64(s.size)*sizeStep, s.most, float64(s.size)*sizeTook/s.took)
	if s.bytes > 0 {
		n = min(n, sizeBody/s.bytes)
	}
	if s.lid > 0 && now < s.until {
		n = min(n, float64(s.size+s.lid)/2)
	}
	return int(n)
}

// learn takes in a job that has come to its end.
func (s *sizer) learn(now float64, j *job) {
	t := &s.trial
	other := j.n != s.size && j.n == t.size
	switch {
	case j.toll.longest > sizeTooLong && j.n > 1:
		s.cannot(now, j.n)
		return
	case j.toll.vague || j.toll.took == 0 || j.n != s.size && !other:
		t.out = t.out && !other
		return
	case !s.warm:
		s.warm = true
		return
	}
	s.undone -= s.undone / 16
	if j.toll.undone {
		s.undone += 1.0 / 16
	}
	if other {
		t.proved = true
		t.other.add(j)
	} else {
		if s.took == 0 {
			s.took = j.toll.took
		}
		s.took += (j.toll.took - s.took) / 8
		if t.size > 0 && t.proved {
			t.now.add(j)
		}
	}
	s.judge(now)
}

func (a *arm) add(j *job) {
	x := j.toll.took / float64(j.n)
	a.jobs, a.records = a.jobs+1, a.records+float64(j.n)
	a.seconds, a.each, a.squares = a.seconds+j.toll.took, a.each+x, a.squares+x*x
}

// cost is the seconds a record, and its relative standard error.
func (a *arm) cost() (seconds, uncertain float64) {
	mean := a.each / a.jobs
	return a.seconds / max(a.records, 1), math.Sqrt(max(a.squares/a.jobs-mean*mean, 0)/a.jobs) / max(mean, 1e-12)
}

// judge ends a trial when it is decided.
func (s *sizer) judge(now float64) {
	t := &s.trial
	if t.size == 0 || min(t.now.jobs, t.other.jobs) < sizeFewJobs {
		return
	}
	is, uncertain := t.now.cost()
	would, more := t.other.cost()
	gain, doubt := is/would-1, 2*math.Hypot(uncertain, more)
	switch done := min(t.now.jobs, t.other.jobs) >= sizeManyJobs; {
	case gain-doubt >= sizeWorthGain, done && gain >= sizeWorthGain:
		s.took, s.size = t.other.seconds/t.other.jobs, t.size
		s.trial, s.idle, s.rest, s.due, s.ended = trial{}, 0, sizeRest, now, now
	case gain+doubt < sizeWorthGain, done:
		s.over(now)
	}
}

// over ends a search in one direction.
func (s *sizer) over(now float64) {
	s.trial, s.down, s.ended, s.due = trial{}, !s.down, now, now+sizeAtOnce
	if s.idle++; s.idle%2 == 0 {
		s.due = now + s.rest
		s.rest = min(2*s.rest, sizeRestMost)
	}
}

// cannot notes a size that takes too long.
func (s *sizer) cannot(now float64, n int) {
	if s.lid == 0 || n < s.lid || now > s.until {
		s.lid, s.until = n, now+s.shut
		s.shut = min(2*s.shut, sizeLidMost)
	}
	switch {
	case n > s.size && s.trial.size > s.size:
		s.trial, s.ended, s.due, s.down = trial{}, now, now+sizeAtOnce, false
	case n <= s.size && n > 1:
		s.size, s.took = max(n/2, 1), 0
		s.trial, s.ended, s.due, s.down, s.rest = trial{}, now, now+sizeAtOnce, false, sizeRest
	}
}

package plan

// How the number of requests under way comes to its size. It mirrors the window of package
// pace, written from what that promises: it starts small, grows by a quarter a round while that brings throughput, and now and
// then tries a quarter less. Times are seconds since the load began.
const (
	rampStart     = 4
	rampRound     = 0.25 // seconds that a round lasts at least
	rampPause     = 5.0
	rampPauseMost = 300.0
	rampDoubt     = 30.0
	rampDoubtMost = 600.0
	rampLid       = 300.0 // how long a throttled size is remembered
)

type ramp struct {
	size, most int
	hint       int
	full       bool

	began   float64 // of the round; less than 0: none
	count   int
	records int
	took    float64

	before   rampRoundResult
	pause    float64
	noGrowth float64
	doubt    float64
	doubtAt  float64 // less than 0: not set
	lid      int     // not above, until lidUntil
	lidUntil float64
}

type rampRoundResult struct {
	size       int
	rate, took float64
}

func newRamp(most, hint int) ramp {
	r := ramp{most: max(most, 1), hint: hint, began: -1, doubtAt: -1, pause: rampPause, doubt: rampDoubt}
	r.size = min(rampStart, r.most)
	if hint > 0 { // told by the first answer, before anything is written
		r.most = min(r.most, hint)
		r.size = r.most
	}
	return r
}

// ceiling is the largest size now allowed.
func (r *ramp) ceiling(now float64) int {
	if now < r.lidUntil {
		return max(min(r.most, r.lid), 1)
	}
	return r.most
}

func (r *ramp) restart() { r.began, r.count, r.records, r.took, r.full = -1, 0, 0, 0, false }

// idle says that nothing is under way: what comes next cannot be compared with what was.
func (r *ramp) idle(now float64) {
	if r.before.size > r.size {
		r.size = min(r.before.size, r.ceiling(now))
	}
	r.before = rampRoundResult{}
	r.restart()
}

// done takes in one answer.
func (r *ramp) done(now, took float64, records int) {
	if r.began < 0 {
		r.began = now - took
	}
	r.count++
	r.records += max(records, 1)
	r.took += took
	round := 4 * r.size
	if r.before.size > r.size {
		round *= 3
	}
	if r.count < round || now-r.began < rampRound {
		return
	}
	s := rampRoundResult{r.size, float64(r.records) / (now - r.began), r.took / float64(r.count)}
	full := r.full
	r.restart()
	r.judge(now, s, full)
}

func (r *ramp) judge(now float64, s rampRoundResult, full bool) {
	b := r.before
	r.before = rampRoundResult{}
	switch {
	case b.size == 0:
	case b.size < s.size: // after a step up
		half := (float64(s.size)/float64(b.size) - 1) / 2
		if s.took > b.took*(1+half) && s.rate <= b.rate*(1+half) {
			r.size = b.size
			r.rest(now)
			return
		}
		r.pause = rampPause
		r.doubt, r.doubtAt = rampDoubt, now+rampDoubt
	case b.size > s.size: // after a step down
		if s.rate < b.rate*(1-(1-float64(s.size)/float64(b.size))/10) {
			r.size = min(b.size, r.ceiling(now))
			r.doubt = min(2*r.doubt, rampDoubtMost)
			r.doubtAt = now + r.doubt
			return
		}
		r.rest(now)
		r.doubt, r.doubtAt = rampDoubt, now
	}
	if r.doubtAt < 0 {
		r.doubtAt = now + r.doubt
	}
	switch next := min(r.size+1+r.size/4, r.ceiling(now)); {
	case !full:
	case now >= r.doubtAt && r.size > 1:
		r.before = s
		r.size -= 1 + (r.size-1)/4
	case now >= r.noGrowth && next > r.size:
		r.before = s
		r.size = next
	}
}

func (r *ramp) rest(now float64) {
	r.noGrowth = now + r.pause
	r.pause = min(2*r.pause, rampPauseMost)
}

// throttled shrinks it, when so many were under way.
func (r *ramp) throttled(now float64, under int) {
	at := min(r.size, under)
	r.lid, r.lidUntil = max(at-1, 1), now+rampLid
	r.size = min(max(at*7/10, 1), r.lid)
	r.noGrowth = now + 10
	r.before = rampRoundResult{}
}

package progress

import "time"

// Sample is a short time of a load, for charts.
type Sample struct {
	Records   float64 `json:"records"`   // a second that the target took
	Failed    float64 `json:"failed"`    // a second that it refused
	Requests  float64 `json:"requests"`  // a second that were answered
	Latency   float64 `json:"latency"`   // mean seconds of an answer; 0 = there was none
	Slow      float64 `json:"slow"`      // seconds that one answer in twenty exceeds
	InFlight  float64 `json:"inFlight"`  // requests at once
	Throttled float64 `json:"throttled"` // share of the time in which the service let nothing through
	CPU       float64 `json:"cpu"`       // share of the machine's that is busy; Unknown
}

// The first step of a history, and how many steps it has at most: a number that halves.
const (
	firstStep  = 2 * time.Second
	mostPoints = 600
)

// History is the samples of a whole run, in steps of equal time. When there are too many,
// two become one and the steps twice as long, so that a run of weeks takes the memory of
// one of minutes. Its methods are not for several goroutines at once.
type History struct {
	Began   time.Time `json:"began"`
	Step    float64   `json:"stepSeconds"`
	Samples []Sample  `json:"samples"`

	part  Sample  // of the step that runs, as sums weighted by seconds
	taken float64 // seconds of it
}

// NewHistory begins a history.
func NewHistory(now time.Time) *History {
	return &History{Began: now, Step: firstStep.Seconds(), Samples: []Sample{}}
}

// Add takes a sample of the last seconds.
func (h *History) Add(s Sample, seconds float64) {
	h.part.add(s, seconds)
	h.taken += seconds
	if h.taken < h.Step {
		return
	}
	h.Samples = append(h.Samples, h.part.divided(h.taken))
	h.part, h.taken = Sample{}, 0
	if len(h.Samples) < mostPoints {
		return
	}
	for i := range mostPoints / 2 {
		var both Sample
		both.add(h.Samples[2*i], 1)
		both.add(h.Samples[2*i+1], 1)
		h.Samples[i] = both.divided(2)
	}
	h.Samples, h.Step = h.Samples[:mostPoints/2], 2*h.Step
}

// Copy is the history for reading, while others are added.
func (h *History) Copy() History {
	c := *h
	c.Samples = append([]Sample{}, h.Samples...)
	return c
}

// add adds a sample with a weight. Latencies weigh as much as the answers they are of.
func (s *Sample) add(o Sample, weight float64) {
	s.Records += o.Records * weight
	s.Failed += o.Failed * weight
	s.Requests += o.Requests * weight
	s.Latency += o.Latency * o.Requests * weight
	s.Slow = max(s.Slow, o.Slow)
	s.InFlight += o.InFlight * weight
	s.Throttled += o.Throttled * weight
	s.CPU += o.CPU * weight
}

func (s Sample) divided(weight float64) Sample {
	if s.Requests > 0 {
		s.Latency /= s.Requests
	}
	s.Records /= weight
	s.Failed /= weight
	s.Requests /= weight
	s.InFlight /= weight
	s.Throttled /= weight
	s.CPU /= weight
	return s
}

// latencySlots and latencyGrowth make a histogram from a millisecond to ten minutes in
// which a quantile is right within a tenth.
const (
	latencySlots  = 140
	latencyGrowth = 1.1
	shortest      = 0.001
)

// Latencies counts the times of answers.
type Latencies struct {
	slots [latencySlots]int64
	n     int64
	sum   float64
}

// Add takes the time of an answer.
func (l *Latencies) Add(d time.Duration) {
	slot, up := 0, shortest
	for s := d.Seconds(); up < s && slot < latencySlots-1; slot++ {
		up *= latencyGrowth
	}
	l.slots[slot]++
	l.n++
	l.sum += d.Seconds()
}

// Take returns how many there were, their mean, and what a share of them does not exceed,
// and begins anew.
func (l *Latencies) Take(share float64) (n int64, mean, most float64) {
	n = l.n
	if n > 0 {
		mean = l.sum / float64(n)
	}
	seen, up := int64(0), shortest
	for _, count := range l.slots {
		if seen += count; n > 0 && float64(seen) >= share*float64(n) {
			most = up
			break
		}
		up *= latencyGrowth
	}
	*l = Latencies{}
	return n, mean, most
}

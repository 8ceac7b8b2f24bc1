package appliance

import "dvmigrate/appliance/progress"

// Remaining is how long a load will still take, all its steps together: what was
// predicted of the steps to come, corrected by what the steps so far took.
type Remaining struct {
	Predicted float64 `json:"predictedSeconds"` // for the whole load, before it began
	Seconds   float64 `json:"seconds"`
	Factor    float64 `json:"factor"` // actual to predicted so far: 1.2 = it takes a fifth longer
}

// measuredFrom: before so many seconds of the load are over, they correct nothing.
const measuredFrom = 30

// remaining corrects the prediction for the load that is running; nil when nothing is
// predicted, or too little done to say.
func (p *Project) remaining(live progress.Snapshot) *Remaining {
	predicted := p.predicted.Load()
	if predicted == nil || live.Worked < measuredFrom {
		return nil
	}
	return corrected(*predicted, live)
}

// Look is what a person watches of a load that is running in this process: its state, with
// the time left of all its steps where the estimate knows it, and its pulse.
func (p *Project) Look() (s progress.Snapshot, pulse *progress.Pulse, ok bool) {
	s, ok = p.live()
	if !ok {
		return s, nil, false
	}
	if r := p.remaining(s); r != nil && !s.Paused && !s.Ended {
		s.Total.Speed = s.Total.Speed.Foretold(r.Seconds)
	}
	return s, p.feelPulse(), true
}

// announce tells the tracker of the steps to come, as they are predicted, so that what is
// left counts them too.
func announce(t *progress.Tracker, predicted []Prediction) {
	totals := map[string]int64{}
	for _, x := range predicted {
		totals[x.Table+" "+string(x.Pass)] += x.Operations
	}
	for _, x := range predicted {
		if n := totals[x.Table+" "+string(x.Pass)]; n > 0 {
			t.Expect(x.Table, string(x.Pass), n)
		}
	}
}

func corrected(predicted []Prediction, live progress.Snapshot) *Remaining {
	share := map[string]float64{} // that is done of a table's pass
	for _, t := range live.Tables {
		if t.State == progress.Waiting { // it is announced, not begun
			continue
		}
		key := t.Name + " " + t.Pass
		share[key] = 1
		if t.State != progress.Ended && t.Total > 0 {
			share[key] = 1 - float64(t.Remaining())/float64(t.Total)
		}
	}
	var r Remaining
	done, left, reached := 0.0, 0.0, false
	for i := len(predicted) - 1; i >= 0; i-- { // what comes before a step that has begun is over
		x := predicted[i]
		key := x.Table + " " + string(x.Pass)
		s, begun := share[key]
		if reached && !begun {
			s = 1
		}
		reached = reached || begun
		r.Predicted += x.Seconds
		done += x.Seconds * s
		left += x.Seconds * (1 - s)
	}
	if done < 1 {
		return nil
	}
	r.Factor = live.Worked / done // what came before the first step, as after a restore, is not to come again
	r.Seconds = left * r.Factor
	return &r
}

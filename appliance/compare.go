package appliance

import (
	"errors"
	"time"

	"dvmigrate/appliance/plan"
)

// Comparison is what was predicted for a load beside what it took.
type Comparison struct {
	Version int            `json:"version"`
	Kind    string         `json:"kind"` // measured, rehearsed
	Start   time.Time      `json:"start"`
	Steps   []ComparedStep `json:"steps"`
	Total   ComparedStep   `json:"total"`
}

// ComparedStep is one action of one step.
type ComparedStep struct {
	Table     string    `json:"table"`
	Pass      plan.Pass `json:"pass"`
	Action    string    `json:"action"`
	Expected  int64     `json:"expected"` // operations
	Records   int64     `json:"records"`
	Predicted float64   `json:"predictedSeconds"`
	Actual    float64   `json:"actualSeconds"`
	Note      string    `json:"note,omitempty"`
}

// Compare sets the newest load, or rehearsal, beside what was predicted when it began.
func (p *Project) Compare() (Comparison, error) {
	f, err := p.LoadProfile()
	if err != nil {
		return Comparison{}, err
	}
	for i := len(f.Runs) - 1; i >= 0; i-- {
		if r := f.Runs[i]; len(r.Predicted) > 0 && r.Kind != plan.Calibrated {
			return compare(r), nil
		}
	}
	return Comparison{}, errors.New("there is nothing to compare yet: a load or a rehearsal keeps what was predicted and what it took; run `dvmigrate load` or `dvmigrate rehearse`")
}

func compare(r ProfileRun) Comparison {
	c := Comparison{Version: 1, Kind: r.Kind, Start: r.Start}
	for _, x := range r.Predicted {
		s := ComparedStep{Table: x.Table, Pass: x.Pass, Action: x.Action, Expected: x.Operations, Predicted: x.Seconds}
		for _, m := range r.Tables {
			if m.Table == x.Table && m.Pass == x.Pass && (m.Action == x.Action || x.Action == "link") {
				s.Records, s.Actual = m.Records, m.Seconds
			}
		}
		switch {
		case s.Expected == 0 && s.Records == 0:
			continue
		case s.Records == 0:
			s.Note = "not loaded in this run"
		case s.Records < s.Expected*99/100:
			s.Note = "in part: failed, held back, or the load was stopped"
		}
		if s.Records > 0 { // the total compares like with like
			c.Total.Expected += s.Expected
			c.Total.Predicted += s.Predicted * min(float64(s.Records)/float64(max(s.Expected, 1)), 1)
		}
		c.Total.Records += s.Records
		c.Total.Actual += s.Actual
		c.Steps = append(c.Steps, s)
	}
	return c
}

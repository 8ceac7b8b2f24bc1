package appliance

import (
	"context"

	"dvmigrate/appliance/plan"
)

// predict is what an estimate says now, to be kept beside what the load takes. Without
// one the load goes on: it is not what it was asked for.
func (p *Project) predict(ctx context.Context) []Prediction {
	f, err := p.forecast(ctx, EstimateOptions{})
	if err != nil {
		p.o.Log.Warn("no estimate to compare the load with", "error", err)
		return nil
	}
	return predictions(f.work, f.a)
}

func predictions(work []plan.Work, a plan.Assumptions) []Prediction {
	var out []Prediction
	for _, r := range plan.Expect(work, a).Rows {
		out = append(out, Prediction{Table: r.Table, Pass: r.Pass, Action: r.Action, Operations: r.Operations, Seconds: r.Seconds})
	}
	return out
}

// keepSurvey adds what a load measured to the profile. A load that sent next to nothing
// measured nothing.
func (p *Project) keepSurvey(s *surveyor, target *users, finished bool) error {
	r := s.result()
	var requests int64
	for _, m := range r.Tables {
		requests += m.Requests
	}
	if requests == 0 {
		return nil
	}
	r.URL, r.Users, r.Finished = p.Config.Target.Environment(), len(target.each), finished
	if pin, err := p.pin(); err == nil && pin != nil {
		r.Organization = pin.Organization
	}
	for _, u := range target.each {
		r.Hint = max(r.Hint, u.client.Limiter().Stats().Hint)
	}
	return p.keepRun(r)
}

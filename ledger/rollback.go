package ledger

import "context"

// Reset gives records an action anew and says at once how that stands, all in one commit: done, so that
// they are Processed; or not, so that they wait, with the attempt counted. It is plan, claim and settle in
// one, for records whose state in the target somebody else than the load has brought about.
func (l *Ledger) Reset(ctx context.Context, name string, ranges []Range, action Action, done bool) error {
	settle := event{step: stepRelease, counted: true}
	if done {
		settle = event{step: stepSucceed}
	}
	return l.submit(ctx, &request{fold: func(s *stage) error {
		t, err := s.table(name)
		if err != nil {
			return err
		}
		for _, r := range ranges {
			for _, ev := range []event{{step: stepPlan, action: action}, {step: stepClaim}, settle} {
				if err := s.apply(t, r, ev, nil); err != nil {
					return err
				}
			}
		}
		return nil
	}})
}

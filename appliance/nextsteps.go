package appliance

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
)

// arrive adds what somebody who has just arrived asks first: which environment it is, why
// records failed, and what to do next. What cannot be read for it is left out: a look must
// not fail for it.
func (p *Project) arrive(ctx context.Context, s *Status) {
	s.Target = p.Config.Target.Environment()
	if pin, err := p.pin(); err == nil && pin != nil {
		s.Target, s.Organization, s.Pinned = pin.URL, pin.Organization.String(), &pin.Since
	}
	s.Failures = p.failureCounts()
	if kept, err := p.Reconciled(); err == nil && kept != nil {
		generation, err := p.stage.Meta(ctx, "generation")
		if err != nil {
			generation = "" // of no staging: then the comparison does not hold
		}
		s.Compared = &ComparedBriefly{Time: kept.Time, Values: kept.Values, Pass: kept.Pass, Mismatches: kept.Mismatches, Holds: kept.Holds(generation, s.Summary)}
	}
	s.Next = nextSteps(*s)
}

// ComparedBriefly is how the last whole comparison with the target ended.
type ComparedBriefly struct {
	Time       time.Time `json:"time"`
	Values     bool      `json:"values"` // columns were compared, too
	Pass       bool      `json:"pass"`
	Mismatches int64     `json:"mismatches"`
	Holds      bool      `json:"holds"` // nothing was staged or loaded since
}

// nextSteps says what a person does next, the most pressing first; at most three things.
func nextSteps(s Status) []string {
	c := s.Summary
	waiting := c.Left()
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case s.Rollback != "" && s.Live == nil:
		add("dvmigrate rollback goes on taking %s back; dvmigrate rollback --stop ends that as it is", s.Rollback)
		return out
	case s.Live != nil:
		add("let it run; Ctrl-C in its terminal, or kill -INT of the process, ends it cleanly, and dvmigrate %s goes on later", goingOn(s))
	case c.InFlight > 0:
		add("dvmigrate load: it looks up what became of %s in flight, and goes on", progress.Counted(c.InFlight, "record"))
	case waiting > 0 && len(s.Runs) == 0:
		add("dvmigrate estimate says how long it will take; dvmigrate load begins")
	case waiting > 0 && len(s.Runs) > 0 && s.Runs[0].Command == "rollback":
		add("mend what was wrong, dvmigrate stage, dvmigrate load: what was rolled back waits, and a load at once would send the same again")
	case waiting > 0 && stoppedByErrors(s):
		add("see to what stopped the last load, then dvmigrate load: it goes on where it was")
	case waiting > 0:
		add("dvmigrate load: it goes on where it was")
	}
	if c.Error+c.Held > 0 {
		f := mostPressing(s.Failures)
		add("dvmigrate errors --groups says what failed, by cause; begin with %s of %s: %s", f.Class, f.Table, f.Todo)
		if s.Live == nil && waiting == 0 {
			add("then dvmigrate stage (a row was mended) or dvmigrate retry (the target was), and dvmigrate load")
		}
	}
	if len(out) > 0 {
		return out
	}
	switch {
	case s.Compared == nil:
		add("dvmigrate reconcile compares what is in the target with what was loaded")
	case !s.Compared.Holds:
		add("dvmigrate reconcile: something was staged or loaded since the last comparison")
	case !s.Compared.Pass:
		add("look at the %d differences: dvmigrate reconcile, and dvmigrate guide reconcile", s.Compared.Mismatches)
	default:
		add("dvmigrate report --html report.html, to hand over; dvmigrate report --sign NAME when it is accepted")
		add("dvmigrate delta brings over what changes in the source until the cutover (dvmigrate guide cutover)")
	}
	return out
}

// goingOn is the command that goes on with what runs now.
func goingOn(s Status) string {
	if s.Rollback != "" {
		return "rollback"
	}
	return "load"
}

// stoppedByErrors reports whether the last load ended with an error.
func stoppedByErrors(s Status) bool {
	return len(s.Runs) > 0 && s.Runs[0].End != nil && s.Runs[0].Note != "done" && !strings.Contains(s.Runs[0].Note, load.ErrDrained.Error())
}

// mostPressing is the class to begin with: the one with the most records, but what is held
// behind others comes last, since it goes with those.
func mostPressing(list []FailureCount) (out FailureCount) {
	weight := func(f FailureCount) int64 {
		if f.Class == load.ClassParent.String() {
			return f.Records - math.MaxInt64
		}
		return f.Records
	}
	for i, f := range list {
		if i == 0 || weight(f) > weight(out) {
			out = f
		}
	}
	return out
}

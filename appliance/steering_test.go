package appliance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestALoadIsSteeredFromAnotherProcess: an operator's actions reach the load through the
// control socket, each is in the audit trail, and what needs a load says so when none runs.
func TestALoadIsSteeredFromAnotherProcess(t *testing.T) {
	url, inflight, release := environmentThatHolds(t)
	dir := stagedSample(t, url)
	l := NewLookout(dir, Options{Command: "serve", Env: targetAt(url)})
	steer := func(s Steer) (said string, err error) {
		s.From = "operator"
		err = l.Change(t.Context(), func(v Viewer) error { said, err = v.Steer(t.Context(), s); return err })
		return said, err
	}
	status := func() Status {
		t.Helper()
		s, err := l.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s.Live != nil || s.Running != nil {
		t.Errorf("before: %+v", s.Running)
	}
	if _, err := steer(Steer{Do: SteerPause}); !errors.Is(err, errNothingRuns) {
		t.Errorf("nothing runs, but %v", err)
	}
	p, ended := loadMeanwhile(t, dir, url)
	<-inflight
	for _, c := range []struct {
		s    Steer
		want string
		is   func(Status) bool
	}{
		{Steer{Do: SteerPause}, "paused", func(s Status) bool { return s.Live.Paused && s.Running.Command == "load" }},
		{Steer{Do: SteerResume}, "goes on", func(s Status) bool { return !s.Live.Paused }},
		{Steer{Do: SteerParallel, Parallel: 3}, "at most 3 requests at once", nil},
		{Steer{Do: SteerParallel}, "at most 52 requests at once", nil},
		{Steer{Do: SteerRetry, Failures: FailureFilter{Tables: []string{"account"}}}, "no record was to be retried", nil},
		{Steer{Do: SteerStopAfter}, "stops when the step", nil},
	} {
		said, err := steer(c.s)
		if err != nil || !strings.HasPrefix(said, c.want) {
			t.Errorf("%s: %q, %v", c.s.Do, said, err)
		}
		if c.is != nil && !c.is(status()) {
			t.Errorf("%s: %+v", c.s.Do, status().Live)
		}
	}
	if _, err := steer(Steer{Do: "dance"}); err == nil || !strings.Contains(err.Error(), "dance") {
		t.Errorf("an unknown action: %v", err)
	}
	if h, err := p.History(t.Context()); err != nil || h.Began.IsZero() {
		t.Errorf("history: %+v, %v", h, err)
	}
	close(release)
	if err := <-ended; !errors.Is(err, ErrDrained) {
		t.Fatalf("the load ended with %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if s := status(); s.Summary.Unprocessed == 0 || s.Summary.Processed+s.Summary.Success == 0 {
		t.Errorf("it was to stop on the way: %+v", s.Summary)
	}
	var noted []string
	err := l.Look(t.Context(), func(ctx context.Context, v Viewer) error {
		page, err := v.Audit(ctx, AuditQuery{Prove: true})
		for _, e := range page.Entries {
			if e.Event == AuditEnd && strings.HasPrefix(e.Command, "console") {
				noted = append(noted, strings.TrimPrefix(e.Command, "console "))
			}
		}
		return err
	})
	if want := []string{"pause", "pause", "resume", "parallel", "parallel", "retry", "stop-after", "dance"}; err != nil || !slices.Equal(noted, want) {
		t.Errorf("the trail has %q, want %q (%v)", noted, want, err)
	}
}

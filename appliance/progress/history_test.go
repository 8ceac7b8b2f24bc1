package progress

import (
	"math"
	"testing"
	"time"
)

func same(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

func TestAHistoryOfWeeksKeepsItsSizeAndItsSums(t *testing.T) {
	h := NewHistory(time.Now())
	var records, seconds float64
	for i := range 3 * 7 * 86400 / 10 { // every ten seconds, as when the machine is busy
		rate := float64(i % 1000)
		h.Add(Sample{Records: rate, Requests: 10, Latency: 0.5, Slow: 1}, 10)
		records, seconds = records+rate*10, seconds+10
		if len(h.Samples) >= mostPoints {
			t.Fatalf("%d samples", len(h.Samples))
		}
	}
	var kept, covered float64
	for _, s := range h.Samples {
		kept, covered = kept+s.Records*h.Step, covered+h.Step
		if !same(s.Latency, 0.5) || !same(s.Requests, 10) || s.Slow != 1 {
			t.Fatalf("sample %+v", s)
		}
	}
	if len(h.Samples) < mostPoints/2-1 || covered > seconds || kept/records < 0.95 || kept > records {
		t.Errorf("%d samples of %g s; they cover %g of %g s, %g of %g records", len(h.Samples), h.Step, covered, seconds, kept, records)
	}
}

func TestLatenciesWeighAsMuchAsTheirAnswers(t *testing.T) {
	h := NewHistory(time.Now())
	h.Add(Sample{Requests: 30, Latency: 1}, 1)
	h.Add(Sample{}, 0.5) // no answer came
	h.Add(Sample{Requests: 20, Latency: 3}, 0.5)
	if s := h.Samples[0]; !same(s.Latency, 1.5) || !same(s.Requests, 20) {
		t.Errorf("%+v; want 40 answers in 2 s, of 1.5 s", s)
	}
}

func TestAQuantileIsRightWithinATenth(t *testing.T) {
	var l Latencies
	for i := range 1000 {
		l.Add(time.Duration(i+1) * time.Millisecond)
	}
	if n, mean, slow := l.Take(0.95); n != 1000 || !same(mean, 0.5005) || slow < 0.95 || slow > 1.05 {
		t.Errorf("%d answers, mean %g, 95 %% below %g", n, mean, slow)
	}
	if n, mean, slow := l.Take(0.95); n != 0 || mean != 0 || slow != 0 {
		t.Errorf("none is left, but %d, %g, %g", n, mean, slow)
	}
	l.Add(time.Hour)
	if _, _, slow := l.Take(0.95); slow < 500 {
		t.Errorf("an hour counts as %g s", slow)
	}
}

func TestTheBottleneckIsNamed(t *testing.T) {
	usual := Strain{InFlight: 20, Waiting: 5, Window: 20, Bound: 52, Most: 52, Parallel: 52, Users: 1, CPU: 0.3}
	for _, c := range []struct {
		name   string
		change func(*Strain)
		want   string
	}{
		{"the window is full and requests wait", func(*Strain) {}, "the target: more than 20 requests at once bring no more"},
		{"paused", func(s *Strain) { s.Paused = true }, "paused by the operator"},
		{"nobody answers", func(s *Strain) { s.Away = true }, "the target, which does not answer"},
		{"held off", func(s *Strain) { s.Held = 0.7 }, "the service asks to wait (Retry-After)"},
		{"spreading requests", func(s *Strain) { s.Count = 0.9 }, "the service's limit of requests, for 1 user; more application users would raise it"},
		{"spreading execution time", func(s *Strain) { s.Time, s.Count = 0.9, 0.6; s.Users = 3 }, "the service's limit of execution time, for 3 users; more application users would raise it"},
		{"a busy machine", func(s *Strain) { s.CPU = 0.97 }, "the processor of this machine, 97 % busy"},
		{"bounded by the operator", func(s *Strain) { s.Bound, s.InFlight, s.Window = 4, 4, 4 }, "the bound of 4 requests at once that the operator has set"},
		{"as many as the settings allow", func(s *Strain) { s.Waiting, s.Parallel = 0, 20; s.Window = 40 }, "the target's answers: all 20 requests that may be under way at once are (load.parallel)"},
		{"nothing to send", func(s *Strain) { s.Waiting, s.InFlight = 0, 2 }, "what is ready to be sent, less than the target takes: this machine or its disk is slower, a step is at its end, or requests wait before they are repeated"},
		{"nothing known", func(s *Strain) { *s = Strain{CPU: Unknown} }, ""},
	} {
		s := usual
		c.change(&s)
		if got := s.Bottleneck(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

package appliance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

// line is a channel that answers as it is told to, and remembers what it was asked.
type line struct {
	answer func(try int) error
	got    []string
	at     []time.Duration
	began  time.Time
	tries  int
}

func (l *line) send(ctx context.Context, c Call) (string, error) {
	l.tries++
	l.at = append(l.at, time.Since(l.began))
	if err := l.answer(l.tries); err != nil {
		return "", err
	}
	l.got = append(l.got, c.Text)
	return "ok", nil
}

// deaf neither answers nor heeds its context.
type deaf struct{ forever chan struct{} }

func (d deaf) send(context.Context, Call) (string, error) { <-d.forever; return "", errors.New("gone") }

func callOf(text string) Call { return Call{Alert: progress.Alert{Text: text}} }

func TestCallsAreTriedAgain(t *testing.T) {
	always := func(err error) func(int) error { return func(int) error { return err } }
	first := func(n int, err error) func(int) error {
		return func(try int) error {
			if try <= n {
				return err
			}
			return nil
		}
	}
	for name, tc := range map[string]struct {
		answer func(int) error
		at     string // of the tries, in seconds
		told   string
	}{
		"it works":                            {first(0, nil), "[0s]", ""},
		"the network is back after two tries": {first(2, errors.New("no route")), "[0s 2s 6s]", ""},
		"429 says when":                       {first(1, &refusal{answer: "HTTP 429", again: true, after: 90 * time.Second}), "[0s 1m30s]", ""},
		"429 says next week":                  {first(1, &refusal{answer: "HTTP 429", again: true, after: 200 * time.Hour}), "[0s 5m0s]", ""},
		"a refusal is not tried again":        {always(&refusal{answer: "HTTP 404 gone"}), "[0s]", "alerts do not arrive by duty: HTTP 404 gone"},
		"it never works":                      {always(errors.New("no route")), "[0s 2s 6s 14s 30s]", "alerts do not arrive by duty: no route"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &line{answer: tc.answer, began: time.Now()}
				var told []string
				c := newCaller("duty", config.Channel{}, l, func(s string) { told = append(told, s) })
				go c.run(t.Context())
				c.call(callOf("a"))
				close(c.queue)
				<-c.idle
				if got := fmt.Sprint(l.at); got != tc.at {
					t.Errorf("tried at %s, want %s", got, tc.at)
				}
				if got := strings.Join(told, "|"); !strings.HasPrefix(got, tc.told) || got != "" && tc.told == "" {
					t.Errorf("told %q, want %q", got, tc.told)
				}
			})
		})
	}
}

// TestAFailingChannelIsToldOnce: many calls, a channel that is out for a time, and works
// again.
func TestAFailingChannelIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := &line{began: began, answer: func(int) error {
			if time.Since(began) < 10*time.Minute {
				return errors.New("refused")
			}
			return nil
		}}
		var told []string
		c := newCaller("duty", config.Channel{}, l, func(s string) { told = append(told, s) })
		go c.run(t.Context())
		for i := range 2 * callQueue {
			c.call(callOf(fmt.Sprint(i)))
		}
		if time.Since(began) != 0 {
			t.Errorf("calling took %v", time.Since(began))
		}
		close(c.queue)
		<-c.idle
		if len(told) != 2 || !strings.Contains(told[0], "do not arrive by duty: refused") || !strings.Contains(told[1], "again; 6") {
			t.Errorf("told %q", told)
		}
		if n := len(l.got); n == 0 || l.got[n-1] != fmt.Sprint(2*callQueue-1) {
			t.Errorf("the newest call did not arrive: %v", l.got)
		}
	})
}

func TestAHangingChannelIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deaf{make(chan struct{})}
		var told []string
		c := newCaller("duty", config.Channel{}, d, func(s string) { told = append(told, s) })
		began := time.Now()
		go c.run(t.Context())
		c.call(callOf("a"))
		close(c.queue)
		<-c.idle
		if len(told) != 1 || !strings.Contains(told[0], "no answer in 15s") {
			t.Errorf("told %q", told)
		}
		if took := time.Since(began); took != 5*(callTime+time.Second)+30*time.Second {
			t.Errorf("it was given up after %v", took)
		}
		close(d.forever)
	})
}

// TestTheEndWaitsForCallsAShortWhile: a channel that hangs costs the end of a load callGrace,
// one that is known to fail nothing, one that works only what it takes.
func TestTheEndWaitsForCallsAShortWhile(t *testing.T) {
	for name, tc := range map[string]struct {
		channel func() channel
		failing bool
		want    time.Duration
	}{
		"it works": {func() channel { return &line{answer: func(int) error { time.Sleep(time.Second); return nil }} }, false, time.Second},
		"it hangs": {func() channel { return deaf{make(chan struct{})} }, false, callGrace},
		"it fails": {func() channel { return &line{answer: func(int) error { return errors.New("x") }} }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := sampleProject(t, "http://127.0.0.1:1", nil)
			synctest.Test(t, func(t *testing.T) {
				ch := tc.channel()
				a, finish := p.alerting(t.Context(), "load", 0)
				c := newCaller("duty", config.Channel{}, ch, a.say)
				c.failing.Store(tc.failing)
				a.callers = append(a.callers, c)
				go c.run(t.Context())
				began := time.Now()
				finish("nothing sent", nil)
				if took := time.Since(began); took != tc.want {
					t.Errorf("the end took %v, want %v", took, tc.want)
				}
				if l, ok := ch.(*line); ok && !tc.failing && fmt.Sprint(l.got) != "[load is done: nothing sent]" {
					t.Errorf("called with %q", l.got)
				}
				if d, ok := ch.(deaf); ok {
					close(d.forever)
				}
			})
		})
	}
}

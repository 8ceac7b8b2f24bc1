package progress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// course is a load as its observations tell of it, every ten seconds.
type course struct {
	o      Observation
	alarms *Alarms
	told   []string // minute, rule, state
	texts  []string
	begun  time.Time
}

func newCourse(l Limits) *course {
	begun := time.Date(2026, 12, 5, 8, 0, 0, 0, time.UTC)
	return &course{alarms: NewAlarms(l), begun: begun, o: Observation{Time: begun, Step: "account insert", Left: 1e9, DiskLeft: Unknown}}
}

// goes lets minutes pass in each of which so many records are done and fail.
func (c *course) goes(minutes int, done, failed int64, change ...func(*Observation)) {
	for range minutes * 6 {
		c.o.Time = c.o.Time.Add(10 * time.Second)
		c.o.Done, c.o.Failed = c.o.Done+done/6, c.o.Failed+failed/6
		c.o.Moved = c.o.Done + c.o.Failed
		for _, f := range change {
			f(&c.o)
		}
		for _, a := range c.alarms.Observe(c.o) {
			c.told = append(c.told, fmt.Sprintf("%d %s %s", int(a.Time.Sub(c.begun).Minutes()), a.Rule, a.State))
			c.texts = append(c.texts, a.Text)
		}
	}
}

func TestAlarms(t *testing.T) {
	gb := func(n float64) func(*Observation) { return func(o *Observation) { o.DiskLeft = int64(n * 1e9) } }
	held := func(d time.Duration) func(*Observation) { return func(o *Observation) { o.Throttled += d } }
	idle := func(o *Observation) { o.Idle = true }
	for name, tc := range map[string]struct {
		limits Limits
		course func(*course)
		want   []string
		text   string // of the first
	}{
		"all is well":                    {Limits{Errors: .05, Rate: .3, Still: 15 * time.Minute, Throttled: .8, Disk: 1e9, Snapshot: time.Hour, Token: time.Minute, Schema: true, Identity: true}, func(c *course) { c.goes(300, 6000, 6, gb(50)) }, nil, ""},
		"no rule is given":               {Limits{}, func(c *course) { c.goes(30, 600, 600, gb(0)); c.goes(60, 0, 0, held(10*time.Second)) }, nil, ""},
		"errors, told once, then better": {Limits{Errors: .05}, func(c *course) { c.goes(20, 6000, 0); c.goes(30, 6000, 600); c.goes(20, 6000, 0) }, []string{"22 errors firing", "55 errors resolved"}, "1,600 of the last 31,600 records failed (5.06 %)"},
		"errors that waver at the limit": {Limits{Errors: .05}, func(c *course) {
			for range 20 {
				c.goes(5, 6000, 330)
				c.goes(5, 6000, 282)
			}
		}, []string{"0 errors firing"}, ""},
		"a few errors of a few records": {Limits{Errors: .05}, func(c *course) { c.goes(2, 0, 12) }, nil, ""},
		"the rate drops and comes back": {Limits{Rate: .3}, func(c *course) { c.goes(60, 60000, 0); c.goes(30, 6000, 0); c.goes(30, 60000, 0) }, []string{"64 rate firing", "93 rate resolved"}, "account insert: 280 records a second, where 1,000 are usual"},
		"a drop that outlasts the run":  {Limits{Rate: .3}, func(c *course) { c.goes(30, 60000, 0); c.goes(300, 6000, 0) }, []string{"34 rate firing"}, ""},
		"a slow table after a fast one": {Limits{Rate: .3}, func(c *course) {
			c.goes(60, 60000, 0)
			c.goes(60, 600, 0, func(o *Observation) { o.Step = "email insert" })
		}, nil, ""},
		"the last records of a table": {Limits{Rate: .3}, func(c *course) { c.goes(60, 60000, 0); c.goes(30, 60, 0, func(o *Observation) { o.Left = 5000 }) }, nil, ""},
		"nothing moves":               {Limits{Still: 15 * time.Minute}, func(c *course) { c.goes(5, 600, 0); c.goes(40, 0, 0); c.goes(5, 600, 0) }, []string{"20 still firing", "47 still resolved"}, "no record has had an outcome for 15m00s"},
		"a pause is no standstill":    {Limits{Still: 15 * time.Minute, Rate: .3}, func(c *course) { c.goes(30, 600, 0); c.goes(600, 0, 0, idle); c.o.Idle = false; c.goes(30, 600, 0) }, nil, ""},
		"the service throttles": {Limits{Throttled: .8}, func(c *course) {
			c.goes(10, 600, 0)
			c.goes(10, 60, 0, held(9500*time.Millisecond))
			c.goes(10, 600, 0)
		}, []string{"14 throttled firing", "23 throttled resolved"}, "the service let nothing through for 82.3 % of the last 5m00s"},
		"the disk fills up": {Limits{Disk: 5e9}, func(c *course) {
			c.goes(1, 0, 0, gb(6))
			c.goes(9, 0, 0, gb(4.9))
			c.goes(9, 0, 0, gb(5.5))
			c.goes(9, 0, 0, gb(7))
		}, []string{"1 disk firing", "21 disk resolved"}, "4.9 GB left on the disk of the work folder, of the 5.0 GB that it should have"},
		"no snapshot succeeds":   {Limits{Snapshot: time.Hour}, func(c *course) { c.o.Snapshot = c.begun; c.goes(90, 1, 0); c.o.Snapshot = c.o.Time; c.goes(20, 1, 0) }, []string{"60 snapshot firing", "92 snapshot resolved"}, "the newest snapshot is 1h00m old"},
		"it ends too late":       {Limits{Finish: time.Date(2026, 12, 5, 12, 0, 0, 0, time.UTC)}, func(c *course) { c.goes(10, 1, 0, ends(3)); c.goes(20, 1, 0, ends(5)); c.goes(20, 1, 0, ends(3)) }, []string{"15 finish firing", "32 finish resolved"}, ""},
		"the expectation wavers": {Limits{Finish: time.Date(2026, 12, 5, 12, 0, 0, 0, time.UTC)}, func(c *course) { c.goes(3, 1, 0, ends(5)); c.goes(3, 1, 0, ends(3)); c.goes(3, 1, 0, ends(5)) }, nil, ""},
		"the window is over":     {Limits{Finish: time.Date(2026, 12, 5, 8, 30, 0, 0, time.UTC)}, func(c *course) { c.goes(60, 1, 0) }, []string{"35 finish firing"}, ""},
		"a token ends": {Limits{Token: 10 * time.Minute}, func(c *course) {
			c.o.TokenEnds = c.begun.Add(time.Hour)
			c.goes(55, 1, 0)
			c.o.TokenEnds = time.Time{}
			c.goes(5, 1, 0)
		}, []string{"50 token firing", "57 token resolved"}, ""},
		"the schema changes twice": {Limits{Schema: true}, func(c *course) {
			c.goes(5, 1, 0)
			c.o.Schema = []string{"a"}
			c.goes(5, 1, 0)
			c.o.Schema = []string{"a", "b"}
			c.goes(5, 1, 0)
			c.o.Schema = nil
			c.goes(5, 1, 0)
		}, []string{"5 schema firing", "10 schema firing", "15 schema resolved"}, "the target has changed: a"},
		"a new identity": {Limits{Identity: true}, func(c *course) { c.o.New = []string{"user 1"}; c.goes(5, 1, 0) }, []string{"0 identity notice"}, "user 1 signed in, who never loaded this project before"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCourse(tc.limits)
			tc.course(c)
			if diff := cmp.Diff(tc.want, c.told); diff != "" {
				t.Errorf("%s\n%s", diff, strings.Join(c.texts, "\n"))
			}
			if tc.text != "" && len(c.texts) > 0 && c.texts[0] != tc.text {
				t.Errorf("it says %q, want %q", c.texts[0], tc.text)
			}
		})
	}
}

// ends expects the load to end so many hours after it began.
func ends(hours int) func(*Observation) {
	return func(o *Observation) { o.Finish = time.Date(2026, 12, 5, 8+hours, 0, 0, 0, time.UTC) }
}

func TestFiringAreThoseThatHold(t *testing.T) {
	c := newCourse(Limits{Disk: 5e9, Still: time.Minute})
	c.goes(5, 0, 0, func(o *Observation) { o.DiskLeft = 1 })
	got := c.alarms.Firing()
	if len(got) != 2 || got[0].Rule != StandsStill || got[1].Rule != DiskLow || got[1].Text != "0.0 GB left on the disk of the work folder, of the 5.0 GB that it should have" {
		t.Errorf("firing: %v", got)
	}
	c.goes(5, 600, 0, func(o *Observation) { o.DiskLeft = 9e9 })
	if got := c.alarms.Firing(); len(got) != 0 {
		t.Errorf("firing: %v", got)
	}
}

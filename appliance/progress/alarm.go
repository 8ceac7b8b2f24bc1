package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rule names what somebody is called for.
type Rule string

// The rules.
const (
	TooManyErrors Rule = "errors"    // records that failed, of those of the last five minutes
	TooSlow       Rule = "rate"      // records a second, beside the median of the same step
	StandsStill   Rule = "still"     // no record has an outcome for so long
	TooThrottled  Rule = "throttled" // the service lets nothing through, for so much of the last five minutes
	DiskLow       Rule = "disk"      // what is left on the disk of the work folder
	SnapshotOld   Rule = "snapshot"  // the newest one's age
	FinishLate    Rule = "finish"    // it is expected to end later than it has to
	TokenFails    Rule = "token"     // a token ends, and there is no other
	SchemaChanged Rule = "schema"    // the target's tables are no longer those that the mapping was checked against
	NewIdentity   Rule = "identity"  // a user signed in that never loaded this project
	LoadEnded     Rule = "ended"     // the load is over; Alarms does not know, who runs it tells
)

// AlarmRules are all of them, in the order in which they are listed.
var AlarmRules = []Rule{TooManyErrors, TooSlow, StandsStill, TooThrottled, DiskLow, SnapshotOld, FinishLate, TokenFails, SchemaChanged, NewIdentity, LoadEnded}

// Limits are where the rules begin to hold. What is zero is not looked at.
type Limits struct {
	Errors    float64 // share
	Rate      float64 // share of the median
	Still     time.Duration
	Throttled float64 // share
	Disk      int64   // bytes
	Snapshot  time.Duration
	Finish    time.Time
	Token     time.Duration
	Schema    bool
	Identity  bool
}

// Observation is what the rules look at, at one moment.
type Observation struct {
	Time      time.Time
	Idle      bool          // paused, or nothing runs: no rule about the work holds
	Step      string        // table and pass under way; "" = none
	Left      int64         // records of the step without an outcome
	Done      int64         // records that the target has taken, in this run
	Failed    int64         // records refused, in this run
	Moved     int64         // records with any outcome, in this run
	Throttled time.Duration // waited because the service asked, in this run
	DiskLeft  int64         // Unknown where it cannot be told
	Snapshot  time.Time     // when the newest was taken; zero = not known
	Finish    time.Time     // when the load is expected to end; zero = not known
	TokenEnds time.Time     // after which nobody can sign in any more; zero = there is no such time
	Schema    []string      // how the target differs from what was checked
	New       []string      // users that signed in for the first time
}

// AlertState is what an alert says about its rule.
type AlertState string

// The states.
const (
	Firing   AlertState = "firing"   // the rule holds from now on; told once
	Resolved AlertState = "resolved" // it holds no more
	Notice   AlertState = "notice"   // something happened that has no end
)

// Alert is one message to those who are called.
type Alert struct {
	Rule  Rule       `json:"rule"`
	State AlertState `json:"state"`
	Text  string     `json:"text"`
	Since time.Time  `json:"since"` // when the rule began to hold
	Time  time.Time  `json:"time"`
}

// The spans and margins of the rules. A rule holds at its limit, and no more when things
// have been clearly better than that for calmFor, so that a figure which wavers around the
// limit calls once.
const (
	alarmSpan  = 5 * time.Minute // what shares and rates are taken over
	mostOfSpan = 4 * time.Minute // less of it says nothing
	calmFor    = 2 * time.Minute
	lateFor    = 5 * time.Minute // the expected end wavers more than other figures
	margin     = 0.2             // of the limit
	leastSeen  = 50              // records of which a share means something
	medianFrom = 10              // minutes of a step before its median means something
)

// Alarms turns a sequence of observations into alerts. It is a pure function of them: it
// looks at no clock and starts nothing. Not for several goroutines at once.
type Alarms struct {
	limits  Limits
	recent  []Observation // of the last alarmSpan, without those while it was idle
	step    string
	stepped time.Time // when the step began
	minutes []float64 // rates of the step, one a minute, in order of size
	counted time.Time // when the newest of them was taken
	moved   int64
	movedAt time.Time
	holds   map[Rule]*hold
	told    map[string]bool // new users, and differences of the schema
}

// hold is how a rule stands.
type hold struct {
	firing bool
	alert  Alert     // the last that was told
	since  time.Time // of what is now: it holds, or it is better
	turned time.Time // since then things are the other way; zero = they are not
}

// NewAlarms begins a sequence.
func NewAlarms(l Limits) *Alarms {
	return &Alarms{limits: l, holds: map[Rule]*hold{}, told: map[string]bool{}}
}

// Firing are the alerts whose rules hold, as they were told, in the order of AlarmRules.
func (a *Alarms) Firing() []Alert {
	var out []Alert
	for _, r := range AlarmRules {
		if h := a.holds[r]; h != nil && h.firing {
			out = append(out, h.alert)
		}
	}
	return out
}

// Observe takes the next observation and returns what is to be told, mostly nothing.
func (a *Alarms) Observe(o Observation) []Alert {
	a.take(o)
	var out []Alert
	for _, j := range []struct {
		rule  Rule
		after time.Duration
		judge func(Observation) (verdict, string)
	}{
		{TooManyErrors, 0, a.errors}, {TooSlow, 0, a.slow}, {StandsStill, 0, a.still}, {TooThrottled, 0, a.throttled}, {DiskLow, 0, a.disk},
		{SnapshotOld, 0, a.snapshot}, {FinishLate, lateFor, a.late}, {TokenFails, 0, a.token},
	} {
		v, text := j.judge(o)
		out = a.turn(out, o.Time, j.rule, v, j.after, text)
	}
	out = a.schema(out, o)
	for _, who := range o.New {
		if a.limits.Identity && !a.told["user "+who] {
			a.told["user "+who] = true
			out = append(out, Alert{NewIdentity, Notice, who + " signed in, who never loaded this project before", o.Time, o.Time})
		}
	}
	return out
}

// verdict is what an observation says about a rule.
type verdict uint8

const (
	unsure verdict = iota // as it was
	bad
	good
)

// turn moves a rule on and adds what is to be told.
func (a *Alarms) turn(out []Alert, now time.Time, rule Rule, v verdict, after time.Duration, text string) []Alert {
	h := a.holds[rule]
	if h == nil {
		h = &hold{}
		a.holds[rule] = h
	}
	other := bad
	if h.firing {
		other, after = good, calmFor
	}
	switch {
	case v != other:
		if v != unsure {
			h.turned = time.Time{}
		}
		return out
	case h.turned.IsZero():
		h.turned = now
	}
	if now.Sub(h.turned) < after {
		return out
	}
	h.firing = !h.firing
	alert := Alert{Rule: rule, State: Firing, Text: text, Since: h.turned, Time: now}
	if !h.firing {
		alert.State, alert.Since = Resolved, h.since
	}
	h.since, h.turned, h.alert = h.turned, time.Time{}, alert
	return append(out, alert)
}

// take keeps an observation as far as shares, rates and the median need it.
func (a *Alarms) take(o Observation) {
	if a.movedAt.IsZero() || o.Moved != a.moved || o.Idle {
		a.moved, a.movedAt = o.Moved, o.Time
	}
	if o.Idle {
		a.recent, a.stepped = nil, o.Time
		return
	}
	if o.Step != a.step {
		a.step, a.stepped, a.minutes, a.counted = o.Step, o.Time, nil, o.Time
	}
	a.recent = append(a.recent, o)
	for len(a.recent) > 1 && o.Time.Sub(a.recent[1].Time) >= alarmSpan {
		a.recent = a.recent[1:]
	}
	h := a.holds[TooSlow]
	if r, known := a.perSecond(o); known && o.Time.Sub(a.counted) >= time.Minute && (h == nil || !h.firing) {
		at, _ := slices.BinarySearch(a.minutes, r)
		a.minutes, a.counted = slices.Insert(a.minutes, at, r), o.Time
	}
}

// span is the oldest observation that shares are taken from, and whether it is old enough.
func (a *Alarms) span(o Observation) (from Observation, enough bool) {
	if len(a.recent) == 0 {
		return o, false
	}
	return a.recent[0], o.Time.Sub(a.recent[0].Time) >= mostOfSpan
}

// perSecond is records a second of the step, over the span.
func (a *Alarms) perSecond(o Observation) (records float64, known bool) {
	for _, from := range a.recent {
		if from.Time.Before(a.stepped) {
			continue
		}
		t := o.Time.Sub(from.Time)
		return float64(o.Done+o.Failed-from.Done-from.Failed) / max(t.Seconds(), 1), t >= mostOfSpan
	}
	return 0, false
}

// above judges a share that must not reach its limit.
func above(share, limit float64) verdict {
	switch {
	case share >= limit:
		return bad
	case share < limit*(1-margin):
		return good
	}
	return unsure
}

func (a *Alarms) errors(o Observation) (verdict, string) {
	from, _ := a.span(o)
	failed, all := o.Failed-from.Failed, o.Done+o.Failed-from.Done-from.Failed
	if a.limits.Errors <= 0 || all < leastSeen {
		return unsure, ""
	}
	share := float64(failed) / float64(all)
	return above(share, a.limits.Errors), fmt.Sprintf("%s of the last %s failed (%s)", Grouped(failed), Counted(all, "record"), percentOf(share))
}

func (a *Alarms) slow(o Observation) (verdict, string) {
	now, known := a.perSecond(o)
	if a.limits.Rate <= 0 || !known || len(a.minutes) < medianFrom || o.Step == "" {
		return unsure, ""
	}
	median := a.minutes[len(a.minutes)/2]
	if median <= 0 || float64(o.Left) < median*alarmSpan.Seconds() { // the last ones of a step are the slow ones
		return unsure, ""
	}
	text := fmt.Sprintf("%s: %s records a second, where %s are usual", o.Step, rate(now), rate(median))
	switch {
	case now < median*a.limits.Rate:
		return bad, text
	case now >= median*min(a.limits.Rate*(1+margin), 1):
		return good, text
	}
	return unsure, ""
}

func (a *Alarms) still(o Observation) (verdict, string) {
	if a.limits.Still <= 0 {
		return unsure, ""
	}
	if since := o.Time.Sub(a.movedAt); since >= a.limits.Still {
		return bad, fmt.Sprintf("no record has had an outcome for %s", spell(since.Seconds()))
	}
	return good, "records have outcomes again"
}

func (a *Alarms) throttled(o Observation) (verdict, string) {
	from, enough := a.span(o)
	if a.limits.Throttled <= 0 || !enough {
		return unsure, ""
	}
	share := (o.Throttled - from.Throttled).Seconds() / o.Time.Sub(from.Time).Seconds()
	return above(share, a.limits.Throttled), fmt.Sprintf("the service let nothing through for %s of the last %s", percentOf(min(share, 1)), spell(o.Time.Sub(from.Time).Seconds()))
}

func (a *Alarms) disk(o Observation) (verdict, string) {
	if a.limits.Disk <= 0 || o.DiskLeft < 0 {
		return unsure, ""
	}
	text := fmt.Sprintf("%s left on the disk of the work folder, of the %s that it should have", gigabytes(o.DiskLeft), gigabytes(a.limits.Disk))
	switch {
	case o.DiskLeft < a.limits.Disk:
		return bad, text
	case float64(o.DiskLeft) > float64(a.limits.Disk)*(1+margin):
		return good, text
	}
	return unsure, ""
}

func (a *Alarms) snapshot(o Observation) (verdict, string) {
	if a.limits.Snapshot <= 0 || o.Snapshot.IsZero() {
		return unsure, ""
	}
	text := fmt.Sprintf("the newest snapshot is %s old", spell(o.Time.Sub(o.Snapshot).Seconds()))
	if o.Time.Sub(o.Snapshot) > a.limits.Snapshot {
		return bad, text
	}
	return good, text
}

func (a *Alarms) late(o Observation) (verdict, string) {
	end := a.limits.Finish
	if end.IsZero() || o.Finish.IsZero() && o.Time.Before(end) {
		return unsure, ""
	}
	expected := o.Finish
	if expected.Before(o.Time) {
		expected = o.Time
	}
	text := fmt.Sprintf("it is expected to end at %s; it has to at %s", moment(expected), moment(end))
	switch {
	case expected.After(end):
		return bad, text
	case expected.Before(end.Add(-time.Duration(float64(end.Sub(o.Time)) * margin / 10))):
		return good, text
	}
	return unsure, ""
}

func (a *Alarms) token(o Observation) (verdict, string) {
	switch {
	case a.limits.Token <= 0:
		return unsure, ""
	case o.TokenEnds.IsZero():
		return good, "there is a token that lasts"
	case o.TokenEnds.Sub(o.Time) > a.limits.Token:
		return unsure, ""
	}
	return bad, fmt.Sprintf("the token ends at %s, and there is no other: sign-in fails then", moment(o.TokenEnds))
}

// schema tells of each difference once, and when none is left.
func (a *Alarms) schema(out []Alert, o Observation) []Alert {
	if !a.limits.Schema {
		return out
	}
	h := a.holds[SchemaChanged]
	if h == nil {
		h = &hold{}
		a.holds[SchemaChanged] = h
	}
	var fresh []string
	for _, d := range o.Schema {
		if !a.told["schema "+d] {
			a.told["schema "+d] = true
			fresh = append(fresh, d)
		}
	}
	switch {
	case len(fresh) > 0:
		if !h.firing {
			h.since = o.Time
		}
		h.firing = true
		const shown = 5
		text := "the target has changed: " + strings.Join(fresh[:min(len(fresh), shown)], "; ")
		if n := len(fresh) - shown; n > 0 {
			text += fmt.Sprintf("; and %d more", n)
		}
		h.alert = Alert{SchemaChanged, Firing, text, h.since, o.Time}
		out = append(out, h.alert)
	case h.firing && len(o.Schema) == 0:
		h.firing = false
		for k := range a.told {
			if strings.HasPrefix(k, "schema ") {
				delete(a.told, k)
			}
		}
		out = append(out, Alert{SchemaChanged, Resolved, "the target is again as it was checked", h.since, o.Time})
	}
	return out
}

func percentOf(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }

func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }

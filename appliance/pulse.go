package appliance

import (
	"context"
	"sync"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/progress"
)

// The pulse is what a load that runs tells of itself beyond counts: how it sends, what sets
// its pace, how the machine is, and how all that was since it began. It is felt once a
// second by a goroutine of its own, which no request waits for.

// beat is the time from one look to the next, and lately is over how many of them figures
// are evened out.
const (
	beat   = time.Second
	lately = 10
)

// pulse feels a load's pulse.
type pulse struct {
	users    *users
	tracker  *progress.Tracker
	gauge    *gauge
	parallel int
	load     *steering

	answers struct {
		mu        sync.Mutex
		latencies progress.Latencies
		bytes     int64
	}

	mu      sync.Mutex // protects what follows
	history *progress.History
	now     progress.Pulse
	strain  progress.Strain // evened out
	counted progress.Counts // at the last look
	took    time.Time       // when that was
}

// observe takes the time of an answer. It is called by each request.
func (u *pulse) observe(x dataverse.Exchange) {
	u.answers.mu.Lock()
	u.answers.latencies.Add(x.Took)
	u.answers.bytes += int64(x.Bytes)
	u.answers.mu.Unlock()
}

// run feels the pulse until ctx ends.
func (u *pulse) run(ctx context.Context) {
	u.feel(time.Now())
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			u.feel(now)
		}
	}
}

// feel looks once.
func (u *pulse) feel(now time.Time) {
	u.answers.mu.Lock()
	n, mean, slow := u.answers.latencies.Take(0.95)
	bytes := u.answers.bytes
	u.answers.mu.Unlock()
	s := u.tracker.Snapshot()
	machine := u.gauge.read()
	list, strain := u.users.strain(now)
	strain.Paused, strain.CPU, strain.Parallel = s.Paused, machine.CPU, u.parallel

	u.mu.Lock()
	defer u.mu.Unlock()
	passed := now.Sub(u.took).Seconds()
	first := u.took.IsZero()
	c := s.Total.Counts
	sample := progress.Sample{Records: float64(c.Done-u.counted.Done) / passed, Failed: float64(c.Failed-u.counted.Failed) / passed,
		Requests: float64(n) / passed, Latency: mean, Slow: slow, InFlight: strain.InFlight, Throttled: strain.Held, CPU: machine.CPU}
	u.took, u.counted = now, c
	u.now.Bytes = bytes
	u.now.Users, u.now.Machine, u.now.Bound, u.now.Most, u.now.StopAfter = list, machine, strain.Bound, strain.Most, u.load.stopAfter.Load()
	if first || passed <= 0 || u.strain.InFlight == 0 { // nothing was under way: no part of how it goes
		u.strain = strain
	}
	if first || passed <= 0 {
		return
	}
	u.history.Add(sample, passed)
	u.strain = evened(u.strain, strain)
	u.now.Bottleneck = u.strain.Bottleneck()
	u.now.Requests += (sample.Requests - u.now.Requests) / lately
	if n > 0 {
		u.now.Latency, u.now.Slow = mean, slow
	}
}

// evened is the strain of the last while, of which now is the newest part.
func evened(before, now progress.Strain) progress.Strain {
	for _, v := range []struct {
		before float64
		now    *float64
	}{{before.Held, &now.Held}, {before.Count, &now.Count}, {before.Time, &now.Time}, {before.InFlight, &now.InFlight},
		{before.Waiting, &now.Waiting}, {before.Window, &now.Window}, {before.CPU, &now.CPU}} {
		*v.now = v.before + (*v.now-v.before)/lately
	}
	return now
}

// feelPulse is the pulse of now; nil = no load is running.
func (p *Project) feelPulse() *progress.Pulse {
	u := p.pulse.Load()
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now
	return &now
}

// History is what the load that runs has done since it began; none is running: an empty one.
func (p *Project) History(context.Context) (progress.History, error) {
	u := p.pulse.Load()
	if u == nil {
		return *progress.NewHistory(time.Time{}), nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.history.Copy(), nil
}

// History implements Viewer.
func (r *remote) History(ctx context.Context) (h progress.History, err error) {
	err = r.ask(ctx, "history", nil, &h)
	return h, err
}

// strain tells how each user does, and all of them together.
func (u *users) strain(now time.Time) (list []progress.User, all progress.Strain) {
	all.Away, all.Users = true, len(u.each)
	each := 1 / float64(len(u.each))
	for _, one := range u.each {
		s := one.client.Limiter().Stats()
		list = append(list, paceOf(one.name, s, now))
		all.InFlight += float64(s.InFlight)
		all.Waiting += float64(s.Waiting)
		all.Window += float64(s.Window)
		all.Bound += s.Bound
		all.Most += one.client.Limiter().Max()
		all.Away = all.Away && !s.Away.IsZero()
		switch {
		case s.HeldUntil.After(now):
			all.Held += each
		case s.Pause <= 0:
		case s.ByTime:
			all.Time += each
		default:
			all.Count += each
		}
	}
	return list, all
}

// paceOf is one user's pace, for people.
func paceOf(name string, s pace.Stats, now time.Time) progress.User {
	if name == "" {
		name = "the application user"
	}
	most := s.Bound
	if s.Hint > 0 {
		most = min(most, s.Hint)
	}
	return progress.User{Name: name, InFlight: s.InFlight, Waiting: s.Waiting, Window: s.Window, Hint: s.Hint, Requests: s.Requests,
		Throttled: map[string]int64{progress.LimitRequests: int64(s.Throttled.Requests), progress.LimitTime: int64(s.Throttled.Time),
			progress.LimitAtOnce: int64(s.Throttled.Concurrency), "other": int64(s.Throttled.Other)},
		Held: max(s.HeldUntil.Sub(now).Seconds(), 0), Away: !s.Away.IsZero(),
		Limits: []progress.Use{{Limit: progress.LimitRequests, Used: s.Count.Spent, Most: s.Count.Most, Known: s.Count.Known},
			{Limit: progress.LimitTime, Used: s.Time.Spent, Most: s.Time.Most, Known: s.Time.Known},
			{Limit: progress.LimitAtOnce, Used: float64(s.InFlight), Most: float64(most), Known: s.Hint > 0}}}
}

package appliance

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// tally counts the requests of a load by kind, status and user. Each request takes its lock
// once, for two additions.
type tally struct {
	mu       sync.Mutex // protects what follows
	requests map[tallied]uint64
	answers  map[string]*progress.AnswerTimes // by kind
}

type tallied struct {
	kind   string
	status int
	user   string
}

func newTally() *tally {
	return &tally{requests: map[tallied]uint64{}, answers: map[string]*progress.AnswerTimes{}}
}

// observe adds a request of a user.
func (t *tally) observe(user string, x dataverse.Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests[tallied{x.Op, x.Status, user}]++
	a := t.answers[x.Op]
	if a == nil {
		a = &progress.AnswerTimes{Kind: x.Op}
		t.answers[x.Op] = a
	}
	took := x.Took.Seconds()
	a.Count++
	a.Seconds += took
	a.Records += uint64(max(x.Records, 0))
	a.Bytes += uint64(x.Bytes)
	for i := len(progress.AnswerBounds) - 1; i >= 0 && took <= progress.AnswerBounds[i]; i-- {
		a.Within[i]++
	}
}

// add writes the counts into figures.
func (t *tally) add(f *progress.Figures) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, n := range t.requests {
		status := "none"
		if k.status != 0 {
			status = strconv.Itoa(k.status)
		}
		f.Requests = append(f.Requests, progress.RequestCount{Kind: k.kind, Status: status, User: k.user, Count: n})
	}
	for _, a := range t.answers {
		f.Answers = append(f.Answers, *a)
	}
	slices.SortFunc(f.Requests, func(a, b progress.RequestCount) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Status, b.Status), cmp.Compare(a.User, b.User))
	})
	slices.SortFunc(f.Answers, func(a, b progress.AnswerTimes) int { return cmp.Compare(a.Kind, b.Kind) })
}

// Figures are what is measured of the project and of the load that runs. It reads what is
// in memory, and once a minute at the most which snapshot is the newest.
func (p *Project) Figures(ctx context.Context) (progress.Figures, error) {
	f := progress.Figures{Project: p.Config.Name, Version: p.o.Version, Records: p.recordCounts(), Queues: map[string]int{}, Firing: []progress.Rule{}, Channels: map[string]int{}}
	var waiting int
	var took time.Duration
	f.Commits, took, waiting = p.ledger.Activity()
	f.Committed, f.Queues["ledger"] = took.Seconds(), waiting
	f.Queues["log"] = p.log.depth()
	if p.log != nil {
		f.LogLost = p.log.lost.Load()
	}
	f.Snapshot = p.newest.time(ctx, p)
	if t := p.tally.Load(); t != nil {
		t.add(&f)
	}
	if a := p.alerter.Load(); a != nil {
		a.add(&f)
	}
	f.Pulse = p.feelPulse()
	if f.Pulse != nil {
		f.Pulse.Users = slices.Clone(f.Pulse.Users)
		for i, s := range p.Config.Target.SignIns() {
			if i < len(f.Pulse.Users) {
				f.Pulse.Users[i].Name = userLabel(s, i)
				f.Queues["requests"] += f.Pulse.Users[i].Waiting
			}
		}
	}
	if live, ok := p.live(); ok {
		live.Events = nil
		f.Live = &live
		if left := p.remaining(live); left != nil {
			f.Finish = live.Time.Add(seconds(left.Seconds))
		}
	}
	return f, nil
}

// recordCounts is the ledger's book by table, action and flag.
func (p *Project) recordCounts() []progress.RecordCount {
	out := []progress.RecordCount{}
	for _, t := range p.ledger.Tables() {
		c := p.ledger.Counts(t.Name)
		for _, action := range []ledger.Action{ledger.Insert, ledger.Update, ledger.Delete, ledger.Nothing} {
			for _, flag := range []ledger.Flag{ledger.Unprocessed, ledger.InFlight, ledger.Success, ledger.Processed, ledger.Failed, ledger.Held} {
				n := 0
				for _, pass := range []ledger.Pass{ledger.Main, ledger.Lookups, ledger.Files, ledger.State} {
					n += c.Of(flag, pass, action)
				}
				if n > 0 {
					out = append(out, progress.RecordCount{Table: t.Name, Action: action.String(), Flag: flag.String(), Count: int64(n)})
				}
			}
		}
	}
	return out
}

// add writes how the alerts stand into figures.
func (a *alerter) add(f *progress.Figures) {
	f.Deadline = a.limits.Finish
	if firing := a.firing.Load(); firing != nil {
		for _, alert := range *firing {
			f.Firing = append(f.Firing, alert.Rule)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.callers {
		f.Queues["alerts"] += len(c.queue)
		f.Channels[c.name] = 0
		if c.failing.Load() {
			f.Channels[c.name] = 1
		}
	}
}

// newest remembers when the newest snapshot was taken.
type newest struct {
	mu     sync.Mutex // protects what follows
	at     time.Time
	looked time.Time
}

// lookEvery is how often the folder of the snapshots is looked at.
const lookEvery = time.Minute

// time is when the newest snapshot of the settings' folder was taken; zero = there is none,
// or it cannot be told.
func (n *newest) time(ctx context.Context, p *Project) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if taken := p.snapped.Load(); taken != nil && taken.After(n.at) {
		n.at, n.looked = *taken, time.Now()
	}
	if !n.looked.IsZero() && time.Since(n.looked) < lookEvery {
		return n.at
	}
	n.looked = time.Now()
	dir := p.Config.Path(p.Config.Snapshots.To)
	if !exists(dir) {
		return n.at
	}
	list, err := Snapshots(ctx, dir, p.Config, KeySource{}, p.o)
	if err != nil {
		p.o.Log.Info("the snapshots cannot be looked at", "folder", dir, "error", err)
		return n.at
	}
	for _, s := range list {
		if s.Fault == "" && s.Time.After(n.at) {
			n.at = s.Time
		}
	}
	return n.at
}

// Figures implements Viewer.
func (r *remote) Figures(ctx context.Context) (f progress.Figures, err error) {
	err = r.ask(ctx, "figures", nil, &f)
	return f, err
}

package appliance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/progress"
)

// observeEvery is how often the rules of the alerts look at a load.
const observeEvery = 10 * time.Second

// alerter looks at a load, or a delta, by the rules of the settings and calls whom they
// name. All of it runs beside the work, which waits for none of it but, at the end, for
// calls under way, and for those callGrace at the most.
type alerter struct {
	p       *Project
	command string
	begun   time.Time
	limits  progress.Limits
	stop    context.CancelFunc
	done    sync.WaitGroup

	firing  atomic.Pointer[[]progress.Alert]
	drifted atomic.Pointer[[]string]  // how the target differs; nil = not looked yet
	target  atomic.Pointer[users]     // of the load that runs
	loading atomic.Pointer[time.Time] // since when it does
	fresh   atomic.Pointer[[]string]  // users that signed in for the first time

	mu      sync.Mutex // protects what follows
	callers []*caller
	closed  bool
}

// alerting begins to look, or gives the alerter of the delta that the load is a part of.
// finish says how it ended; that of a part does nothing.
func (p *Project) alerting(ctx context.Context, command string, snapshots time.Duration) (a *alerter, finish func(did string, err error)) {
	if a := p.alerter.Load(); a != nil {
		return a, func(string, error) {}
	}
	s := p.Config.Alerts
	a = &alerter{p: p, command: command, begun: time.Now()}
	a.limits = progress.Limits{Errors: s.ErrorShare(), Rate: s.RateShare(), Still: s.Still, Throttled: s.ThrottledShare(), Disk: int64(s.Disk),
		Finish: s.Deadline(a.begun, p.Config.Estimate.Window), Token: s.Token, Schema: s.Schema > 0, Identity: s.Identity}
	switch {
	case snapshots < 0:
	case snapshots > 0 && s.Snapshot == 0:
		a.limits.Snapshot = 3 * snapshots
	default:
		a.limits.Snapshot = p.Config.SnapshotAge()
	}
	work := ctx
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx)) // the end is told when all else has ended
	for _, name := range slices.Sorted(maps.Keys(s.To)) {
		c := newCaller(name, s.To[name], newChannel(s.To[name]), a.say)
		a.callers = append(a.callers, c)
		go c.run(ctx)
	}
	a.done.Add(1)
	go a.watch(ctx)
	p.alerter.Store(a)
	return a, func(did string, err error) { a.finish(work, did, err) }
}

// say tells who watches the load, and the log.
func (a *alerter) say(text string) {
	a.p.o.Log.Warn(text)
	if t := a.p.tracker.Load(); t != nil {
		t.Note("", text)
	} else if a.p.o.Warn != nil {
		a.p.o.Warn(text)
	}
}

// watch looks at the load until ctx ends.
func (a *alerter) watch(ctx context.Context) {
	defer a.done.Done()
	alarms := progress.NewAlarms(a.limits)
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, alert := range alarms.Observe(a.observe(time.Now())) {
			a.raise(alert)
		}
		firing := alarms.Firing()
		a.firing.Store(&firing)
	}
}

// observe is how things stand.
func (a *alerter) observe(now time.Time) progress.Observation {
	o := progress.Observation{Time: now, Idle: true}
	o.DiskLeft, _ = diskOf(a.p.work())
	if d := a.drifted.Load(); d != nil {
		o.Schema = *d
	}
	if f := a.fresh.Load(); f != nil {
		o.New = *f
	}
	if u := a.target.Load(); u != nil {
		o.TokenEnds = u.tokenEnds()
	}
	live, ok := a.p.live()
	if !ok {
		return o
	}
	a.work(&o, live)
	return o
}

// work adds what a load that runs tells of itself.
func (a *alerter) work(o *progress.Observation, live progress.Snapshot) {
	o.Idle = live.Paused || live.Ended
	if at := a.loading.Load(); at != nil { // the first of this load is due so long after its begin
		o.Snapshot = *at
	}
	if at := a.p.snapped.Load(); at != nil && at.After(o.Snapshot) {
		o.Snapshot = *at
	}
	for _, t := range live.Tables {
		if t.State == progress.Running {
			o.Step, o.Left = t.Name+" "+t.Pass, t.Remaining()
			break
		}
	}
	c := live.Total
	o.Done, o.Failed, o.Moved = c.Done, c.Failed, c.Done+c.Failed+c.Held+c.Skipped
	o.Throttled = seconds(c.Throttled)
	if left := a.p.remaining(live); left != nil && !o.Idle {
		o.Finish = o.Time.Add(seconds(left.Seconds))
	}
}

// raise tells of an alert wherever it is to be told.
func (a *alerter) raise(alert progress.Alert) {
	alert.Text = a.p.withoutSecrets(alert.Text)
	a.p.o.Log.Warn("alert", "rule", string(alert.Rule), "state", string(alert.State), "text", alert.Text)
	if t := a.p.tracker.Load(); t != nil {
		mark := map[progress.AlertState]string{progress.Firing: "alert", progress.Resolved: "no alert any more", progress.Notice: "notice"}[alert.State]
		t.Note("", mark+": "+alert.Text)
	}
	a.send(alert)
}

func (a *alerter) send(alert progress.Alert) {
	x := a.p.newCall(a.command, alert)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	for _, c := range a.callers {
		if c.wants(alert.Rule) {
			c.call(x)
		}
	}
}

// newCall is an alert of this project on this machine.
func (p *Project) newCall(command string, alert progress.Alert) Call {
	host, _ := os.Hostname() // empty where the machine has no name
	return Call{Version: 1, Project: p.Config.Name, Target: p.Config.Target.Environment(), Host: host, Command: command, Alert: alert}
}

// finish tells how the work ended, and gives calls under way a little time, unless ctx has
// ended: whoever interrupts twice wants no more. A channel that fails already is not waited for.
func (a *alerter) finish(ctx context.Context, did string, err error) {
	if a.p.Config.Alerts.Ended {
		text := a.command + " is done: " + did
		if err != nil {
			reason, _, _ := strings.Cut(err.Error(), "\n")
			text = a.p.withoutSecrets(fmt.Sprintf("%s has stopped: %.300s (%s)", a.command, reason, did))
		}
		a.send(progress.Alert{Rule: progress.LoadEnded, State: progress.Notice, Text: text, Since: a.begun, Time: time.Now()})
	}
	a.mu.Lock()
	a.closed = true
	for _, c := range a.callers {
		close(c.queue)
	}
	a.mu.Unlock()
	grace, cancel := context.WithTimeout(ctx, callGrace)
	defer cancel()
	for _, c := range a.callers {
		if !c.failing.Load() {
			select {
			case <-c.idle:
			case <-grace.Done():
			}
		}
		if text := c.late(a.command); text != "" {
			a.say(text)
		}
	}
	a.stop()
	a.done.Wait()
	a.p.alerter.Store(nil)
}

// alerts are the alerts that hold now.
func (p *Project) alerts() []progress.Alert {
	if a := p.alerter.Load(); a != nil {
		if firing := a.firing.Load(); firing != nil {
			return *firing
		}
	}
	return nil
}

// meets tells the alerter who signed in, and lets it look at the target's tables now and
// then, until ctx ends.
func (a *alerter) meets(ctx context.Context, u *users, b *bound) {
	now := time.Now()
	a.loading.Store(&now)
	a.target.Store(u)
	if fresh := a.p.newcomers(u); len(fresh) > 0 {
		a.fresh.Store(&fresh)
	}
	every := a.p.Config.Alerts.Schema
	if every <= 0 {
		return
	}
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			drifted, err := a.p.drifted(ctx, u, b)
			if err != nil {
				a.p.o.Log.Info("the target's tables could not be compared", "error", err)
				continue
			}
			a.drifted.Store(&drifted)
		}
	}()
}

// leaves says that the users are about to be closed.
func (a *alerter) leaves() { a.target.Store(nil) }

// drifted compares the target's tables with those that the mapping was checked against.
func (p *Project) drifted(ctx context.Context, u *users, b *bound) ([]string, error) {
	names, err := u.first().TablePrivileges(ctx, p.touched(b))
	if err != nil {
		return nil, err
	}
	var o Online
	if err := p.checkTables(ctx, &o, u.first(), b, names); err != nil {
		return nil, err
	}
	out := []string{}
	for _, t := range b.tables {
		for _, end := range endsOf(t) {
			if names[end] == nil {
				out = append(out, end+" is gone")
			}
		}
	}
	for _, t := range o.Tables {
		for _, c := range t.Changes {
			out = append(out, t.Name+": "+c.String())
		}
	}
	return out, nil
}

// identitiesFile notes, in the work folder, who has loaded the project.
const identitiesFile = "identities.json"

// knownUser is one who has loaded.
type knownUser struct {
	ID    schema.GUID `json:"id"`
	Since time.Time   `json:"since"`
}

// newcomers notes who signed in and returns those who never did before. The first load of
// a project has none. An emulator on this machine makes its users up.
func (p *Project) newcomers(u *users) []string {
	if p.Config.Target.Loopback() {
		return nil
	}
	path := filepath.Join(p.work(), identitiesFile)
	fresh, err := noteUsers(path, u)
	if err != nil { // the load itself is well
		p.o.Log.Warn("who has loaded this project is not known", "file", path, "error", err)
	}
	return fresh
}

func noteUsers(path string, u *users) (fresh []string, err error) {
	var file struct {
		Version int         `json:"version"`
		Users   []knownUser `json:"users"`
	}
	there, err := readNote(path, &file)
	if err != nil {
		return nil, err
	}
	known := len(file.Users)
	for i, id := range u.ids {
		if slices.ContainsFunc(file.Users, func(k knownUser) bool { return k.ID == id }) {
			continue
		}
		file.Users = append(file.Users, knownUser{id, time.Now().UTC().Truncate(time.Second)})
		if there {
			fresh = append(fresh, strings.TrimSpace(u.each[i].name+" user "+id.String()))
		}
	}
	if len(file.Users) == known {
		return nil, nil
	}
	file.Version = 1
	return fresh, keepNote(path, file)
}

// AlertTried is what came of trying a channel.
type AlertTried struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind"` // webhook, teams, smtp, command
	OK      bool    `json:"ok"`
	Answer  string  `json:"answer"` // as it came; of a failure what is known of it
	Seconds float64 `json:"seconds"`
}

// TestAlerts sends a test by the channels of that name; all when none is given. Each is
// tried once.
func (p *Project) TestAlerts(ctx context.Context, only []string) ([]AlertTried, error) {
	all := p.Config.Alerts.To
	names := slices.Sorted(maps.Keys(all))
	if len(names) == 0 {
		return nil, errors.New("the settings name nobody to call: write channels under alerts.to in migration.yaml (`dvmigrate guide monitoring`)")
	}
	for _, name := range only {
		if _, there := all[name]; !there {
			return nil, unknownName("alert channel", name, names)
		}
	}
	if len(only) > 0 {
		names = only
	}
	now := time.Now()
	x := p.newCall("alert test", progress.Alert{Rule: progress.LoadEnded, State: progress.Notice, Text: "this is a test: nothing has happened", Since: now, Time: now})
	x.Test = true
	out := []AlertTried{}
	for _, name := range names {
		began := time.Now()
		c := newCaller(name, all[name], newChannel(all[name]), nil)
		answer, err := c.once(ctx, x)
		tried := AlertTried{Name: name, Kind: all[name].Kind(), OK: err == nil, Answer: answer, Seconds: time.Since(began).Seconds()}
		if err != nil {
			tried.Answer = err.Error()
		}
		out = append(out, tried)
	}
	return out, ctx.Err()
}

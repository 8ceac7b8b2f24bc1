package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/identity"
	"dvmigrate/appliance/dataverse/pace"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
)

// A rehearsal is a load of the staged data on a copy of the ledger, which is thrown
// away, into an emulator on this machine that takes as long as the estimate says. All
// durations are shorter by the speed-up: the emulator's costs and windows, and the
// client's windows. So what it takes, times the speed-up, is what loader, client and
// limits make of those figures, which the estimate has only computed.

// RehearsalModel is how the emulator must behave, in true durations.
type RehearsalModel struct {
	Latency, LatencyP99 time.Duration
	PerRequest          time.Duration
	Requests            int
	Execution, Window   time.Duration
	Concurrent, Servers int
	Hint                int
	Costs               []RehearsalCost
}

// RehearsalCost is the server time of an action on a table.
type RehearsalCost struct {
	Table, Action   string // CreateMultiple, UpdateMultiple, Create, Update, Associate
	Request, Record time.Duration
}

// RehearsalModel is what the estimate assumes, for an emulator. The project is open as
// DryRunning.
func (p *Project) RehearsalModel(ctx context.Context) (RehearsalModel, error) {
	f, err := p.forecast(ctx, EstimateOptions{})
	if err != nil {
		return RehearsalModel{}, err
	}
	l := f.a.Limits
	m := RehearsalModel{Latency: f.a.Latency, LatencyP99: f.a.LatencyP99, PerRequest: f.a.PerRequest, Requests: l.Requests, Execution: l.Execution, Window: l.Window,
		Concurrent: l.Concurrent, Servers: l.Servers, Hint: f.a.Hint}
	ofFiles := func(w plan.Work) bool { return w.Pass == plan.Files }
	others := slices.DeleteFunc(slices.Clone(f.work), ofFiles)
	files := slices.DeleteFunc(slices.Clone(f.work), func(w plan.Work) bool { return !ofFiles(w) })
	for _, w := range slices.Concat(others, files) { // a later rule goes first: single updates are of files, others go in bulk
		record := w.PerRecord
		if w.Rate > 0 { // a stated rate is of the table as a whole: as if execution time were its bound
			record = seconds(l.Execution.Seconds() / l.Window.Seconds() * float64(l.Users*l.Servers) / w.Rate)
		}
		names := map[string][]string{"insert": {"CreateMultiple", "Create", "Upsert"}, "update": {"UpdateMultiple", "Update"}, "delete": {"DeleteMultiple", "Delete", "Disassociate"}}[w.Action]
		table := w.Table
		if link := f.bound.byName[w.Table].Link; link != nil {
			table = link.Table1
		}
		if w.Action == "link" {
			names = []string{"Associate"}
		}
		if w.Pass == plan.State {
			names = append(names, mapping.ClosingActions(table)...)
		}
		for _, name := range names {
			m.Costs = append(m.Costs, RehearsalCost{Table: table, Action: name, Request: w.PerRequest, Record: record})
		}
	}
	return m, nil
}

// Rehearsal is how a rehearsal ended.
type Rehearsal struct {
	Version int     `json:"version"`
	Speed   float64 `json:"speed"`
	Seconds float64 `json:"simulatedSeconds"`
	Comparison
	Summary Counts `json:"summary"`
}

// Rehearse loads the copy of the ledger into the emulator at address, whose durations
// are shorter by speed, and keeps what it measured. The project is open as DryRunning.
func (p *Project) Rehearse(ctx, drain context.Context, address string, speed float64) (Rehearsal, error) {
	r := Rehearsal{Version: 1, Speed: speed}
	b, links, err := p.bindCopy(ctx)
	if err != nil {
		return r, err
	}
	tracker := progress.New()
	survey := newSurveyor(p.Schema, tracker)
	survey.run.Kind, survey.run.Predicted = plan.Rehearsed, p.predict(ctx)
	if survey.run.Predicted == nil {
		return r, errors.New("rehearse: there is no estimate to compare with; `dvmigrate estimate` says why")
	}
	target, err := p.emulated(ctx, address, speed, survey)
	if err != nil {
		return r, err
	}
	defer target.close()
	routes, err := p.routes(target, b)
	if err != nil {
		return r, err
	}
	files, closeFiles, err := p.openFiles(b)
	if err != nil {
		return r, err
	}
	defer closeFiles()
	tracker.Phase("rehearse")
	announce(tracker, survey.run.Predicted)
	p.tracker.Store(tracker)
	defer p.tracker.Store(nil)
	err = load.New(p.stage, p.ledger, routes[""], load.Options{
		Plan: b.plan, Tables: b.byName, Links: links, Settings: p.loadSettings, Parallel: p.parallel(LoadOptions{}, len(target.each)),
		Target: func(table string) load.Target { return routes[table] }, RecordSeq: p.recordSeq(), FirstID: p.firstID(), Files: files, Watch: survey, Log: p.o.Log,
		// The emulator has none of the users as whom records are created: they go as the one that it has.
		As: func(table string, _ schema.GUID) (load.Target, error) { return routes[table], nil },
	}).Run(ctx, drain)
	tracker.Finish()
	if err != nil {
		return r, fmt.Errorf("rehearse: %w", err)
	}
	run := survey.result().times(speed)
	run.URL, run.Users, run.Finished = "rehearsal", len(target.each), true
	if len(run.Tables) == 0 {
		return r, errors.New("rehearse: nothing waits to be loaded")
	}
	r.Comparison, r.Seconds = compare(run), run.Seconds
	s, err := p.Status(ctx)
	r.Summary = s.Summary
	return r, errors.Join(err, p.keepRun(run))
}

// emulated makes the clients of an emulator that is quicker by speed.
func (p *Project) emulated(ctx context.Context, address string, speed float64, survey *surveyor) (*users, error) {
	u := &users{}
	l := p.Config.Limits
	for i := range p.Config.Users() {
		token, err := identity.New(identity.Options{Kind: identity.Token, Token: fmt.Sprintf("rehearsal-%d", i+1)})
		if err != nil {
			return nil, err
		}
		c, err := dataverse.New(dataverse.Options{URL: address, Token: token, Observe: survey.observe, Logger: p.o.Log,
			Limiter: pace.New(pace.Options{Max: l.Concurrent, MostRequests: l.Requests, Window: faster(l.Window, speed), Execution: faster(l.Execution, speed)})})
		if err == nil {
			_, err = c.WhoAmI(ctx)
		}
		if err != nil {
			u.close()
			return nil, err
		}
		u.each = append(u.each, &user{name: fmt.Sprintf("user %d", i+1), client: c})
	}
	return u, nil
}

func faster(d time.Duration, speed float64) time.Duration {
	return time.Duration(float64(d) / speed)
}

// times is the run as it would have been without the speed-up.
func (r ProfileRun) times(speed float64) ProfileRun {
	r.Seconds *= speed
	r.Latency = time.Duration(float64(r.Latency) * speed)
	r.ClientCPU = 0 // shared with the emulator
	for i := range r.Tables {
		m := &r.Tables[i]
		m.Seconds *= speed
		m.Sum *= speed
		m.Squares *= speed * speed
		m.Cross *= speed
	}
	return r
}

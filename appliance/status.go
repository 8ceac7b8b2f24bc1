package appliance

import (
	"context"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// Counts is how many records stand where (method.md M3). Source is all that this
// migration has to do something with; the others add up to it.
type Counts struct {
	Source      int64 `json:"source"`
	Processed   int64 `json:"processed"`   // P: everything is done
	Success     int64 `json:"success"`     // S: the target has the row, a later pass is owed
	InFlight    int64 `json:"inFlight"`    // F: sent, no outcome recorded yet
	Unprocessed int64 `json:"unprocessed"` // U
	Error       int64 `json:"error"`       // E
	Held        int64 `json:"held"`        // H
}

// Left is how many records a load has still to do something with.
func (c Counts) Left() int64 { return c.Unprocessed + c.Success + c.InFlight }

func (c *Counts) add(o Counts) {
	c.Source += o.Source
	c.Processed += o.Processed
	c.Success += o.Success
	c.InFlight += o.InFlight
	c.Unprocessed += o.Unprocessed
	c.Error += o.Error
	c.Held += o.Held
}

// TableStatus is how one table stands.
type TableStatus struct {
	Name string `json:"name"`
	Counts
	Classes map[string]int64 `json:"classes,omitempty"` // failed and held records by class
	Next    string           `json:"next,omitempty"`    // the pass that records wait for
}

// RunStatus is one start-to-stop of the loader.
type RunStatus struct {
	Command string     `json:"command"` // load, rollback
	Start   time.Time  `json:"start"`
	End     *time.Time `json:"end,omitempty"` // nil: running, or it was killed
	Records int64      `json:"records"`
	Failed  int64      `json:"failed"`
	Note    string     `json:"note,omitempty"`
}

// Status is how the whole migration stands.
type Status struct {
	Version  int                `json:"version"`
	Project  string             `json:"project"`
	Summary  Counts             `json:"summary"`
	Tables   []TableStatus      `json:"tables"`
	Runs     []RunStatus        `json:"runs"`               // newest first, at most ten
	Rollback string             `json:"rollback,omitempty"` // the generation from which on a rollback is under way
	GoesBack int64              `json:"goesBack,omitempty"` // how many records wait for that; what has gone back counts as processed meanwhile
	Live     *progress.Snapshot `json:"live,omitempty"`     // of a load that is running now
	Left     *Remaining         `json:"left,omitempty"`     // of that load: the estimate, corrected by what was measured
	Pulse    *progress.Pulse    `json:"pulse,omitempty"`
	Running  *Owner             `json:"running,omitempty"`
	Alerts   []progress.Alert   `json:"alerts,omitempty"` // that hold now, of a load that is running
	Due      *time.Time         `json:"due,omitempty"`    // when the planned window of the newest generation ends (estimate.window)

	Target       string           `json:"target"`                 // the environment's address
	Organization string           `json:"organization,omitempty"` // and its id, once a load has met it
	Pinned       *time.Time       `json:"pinned,omitempty"`       // since when the project belongs to it
	Failures     []FailureCount   `json:"failures"`               // failed and held records by table and class, the most first
	Compared     *ComparedBriefly `json:"compared,omitempty"`     // the last whole comparison with the target
	Next         []string         `json:"next"`                   // what a person does next, in words

	Generations []GenerationStatus `json:"generations"` // oldest first
	UndoBytes   int64              `json:"undoBytes"`   // size of the journal of changes, which a rollback needs
	Audit       string             `json:"audit"`       // number and hash of the newest audit entry
}

// GenerationStatus is one staging of the sources and what was planned from it.
type GenerationStatus struct {
	Number   uint32     `json:"number"`
	Kind     string     `json:"kind"` // full, delta
	Name     string     `json:"name"` // full, delta 1, delta 2 ...
	Planned  *time.Time `json:"planned,omitempty"`
	Begun    *time.Time `json:"begun,omitempty"` // its first load
	Finished *time.Time `json:"finished,omitempty"`
	Insert   int64      `json:"insert"`
	Update   int64      `json:"update"`
	Delete   int64      `json:"delete"`
	Gone     int64      `json:"gone"` // withdrawn from the plan
}

// generations are the ledger's generations.
func (p *Project) generations() ([]GenerationStatus, error) {
	all, err := p.ledger.Generations()
	out := []GenerationStatus{}
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	for _, g := range all {
		c := g.Total()
		out = append(out, GenerationStatus{Number: g.Number, Kind: g.Kind, Name: g.Name(), Planned: at(g.Planned), Begun: at(g.Begun), Finished: at(g.Finished),
			Insert: c.Insert, Update: c.Update, Delete: c.Delete, Gone: c.Gone})
	}
	return out, err
}

// Status reads how the migration stands, from the ledger's memory.
func (p *Project) Status(ctx context.Context) (Status, error) {
	s := Status{Version: 1, Project: p.Config.Name, Tables: []TableStatus{}, Runs: []RunStatus{}}
	for _, t := range p.ledger.Tables() {
		ts := tableStatus(t.Name, p.ledger.Counts(t.Name))
		s.Summary.add(ts.Counts)
		s.Tables = append(s.Tables, ts)
	}
	runs, err := p.ledger.RunLog(10)
	if err != nil {
		return s, err
	}
	for _, r := range runs {
		s.Runs = append(s.Runs, runStatus(r))
	}
	if n, err := p.rolling(); err != nil {
		return s, err
	} else if n != nil {
		s.Rollback = n.Name
		if n.Stage == rollbackSending {
			s.GoesBack = max(0, p.goesBack(n)-n.Aside)
		}
	}
	if s.Generations, err = p.generations(); err != nil {
		return s, err
	}
	s.Audit, s.UndoBytes = p.ledger.AuditHead().String(), p.undoSize()
	if n := len(s.Generations); n > 0 && s.Generations[n-1].Begun != nil && p.Config.Estimate.Window > 0 {
		due := s.Generations[n-1].Begun.Add(p.Config.Estimate.Window)
		s.Due = &due
	}
	if p.owns {
		owner := readOwner(p.work())
		s.Running = &owner
	}
	s.Alerts = p.alerts()
	if live, ok := p.live(); ok {
		s.Live = &live
		s.Left = p.remaining(live)
		s.Pulse = p.feelPulse()
	}
	p.arrive(ctx, &s)
	return s, nil
}

func tableStatus(name string, c ledger.Counts) TableStatus {
	ts := TableStatus{Name: name, Counts: Counts{
		Source:    int64(c.Total) - int64(c.Action(ledger.Nothing)),
		Processed: int64(c.Flag(ledger.Processed)),
		Success:   int64(c.Flag(ledger.Success)),
		InFlight:  int64(c.Flag(ledger.InFlight)),
		Error:     int64(c.Flag(ledger.Failed)),
		Held:      int64(c.Flag(ledger.Held)),
	}}
	ts.Unprocessed = int64(c.Waiting(ledger.Main))
	for class, name := range load.ClassNames() {
		if n := c.Class(ledger.Failed, uint8(class)) + c.Class(ledger.Held, uint8(class)); n > 0 {
			if ts.Classes == nil {
				ts.Classes = map[string]int64{}
			}
			ts.Classes[name] = int64(n)
		}
	}
	for _, pass := range []ledger.Pass{ledger.Main, ledger.Lookups, ledger.Files, ledger.State} {
		if c.Waiting(pass) > 0 {
			ts.Next = pass.String()
			break
		}
	}
	return ts
}

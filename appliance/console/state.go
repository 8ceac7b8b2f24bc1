package console

import (
	"context"
	"time"

	"dvmigrate/appliance/progress"
)

// Controller is the project that the console watches. Its methods are called from many
// goroutines; none may keep the load waiting.
type Controller interface {
	// State is how the migration stands now: counts, never rows. It is asked once a
	// second while somebody watches.
	State(ctx context.Context) (State, error)
	// Ask answers a question of the page with what JSON is made of.
	Ask(ctx context.Context, q Question) (any, error)
	// Act does what an operator asked for, notes it in the audit trail, and says in a
	// sentence what came of it.
	Act(ctx context.Context, a Action) (string, error)
}

// State is what the page shows live. Its JSON form is the page's alone.
type State struct {
	Time    time.Time          `json:"time"`
	Project string             `json:"project"`
	Target  string             `json:"target"`            // URL of the environment
	Process *Process           `json:"process,omitempty"` // that works on the project; nil = none
	Summary Counts             `json:"summary"`
	Tables  []Table            `json:"tables"`
	Live    *progress.Snapshot `json:"live,omitempty"` // of a load that runs
	Pulse   *progress.Pulse    `json:"pulse,omitempty"`
	Left    *float64           `json:"left,omitempty"`  // seconds until the load ends, all steps to come included
	Due     *time.Time         `json:"due,omitempty"`   // when it has to have ended
	Plan    string             `json:"plan"`            // the generation, in words
	Runs    []Run              `json:"runs"`            // newest first
	Fault   string             `json:"fault,omitempty"` // why the project could not be looked at
}

// Process is who works on the project.
type Process struct {
	Command string    `json:"command"`
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Since   time.Time `json:"since"`
}

// Counts is how many records stand where (method.md M3).
type Counts struct {
	Source      int64 `json:"source"`
	Processed   int64 `json:"processed"`
	Success     int64 `json:"success"`
	InFlight    int64 `json:"inFlight"`
	Unprocessed int64 `json:"unprocessed"`
	Error       int64 `json:"error"`
	Held        int64 `json:"held"`
}

// Table is how one table stands.
type Table struct {
	Name string `json:"name"`
	Counts
	Classes map[string]int64 `json:"classes,omitempty"` // failed and held records by class
	Next    string           `json:"next,omitempty"`    // the pass that records wait for
}

// Run is one start-to-stop of the loader.
type Run struct {
	Command string     `json:"command"` // load, rollback
	Start   time.Time  `json:"start"`
	End     *time.Time `json:"end,omitempty"`
	Records int64      `json:"records"`
	Failed  int64      `json:"failed"`
	Note    string     `json:"note,omitempty"`
}

// Question is what the page asks when somebody looks closer.
type Question struct {
	What  string `json:"what"` // one of Questions
	Table string `json:"table"`
	Key   string `json:"key"` // legacy key, or how it begins
	Flag  string `json:"flag"`
	Class string `json:"class"`
	SQL   string `json:"sql"`
	From  int64  `json:"from"`
	Limit int    `json:"limit"`
}

// The questions: how the load went since it began; which table waits for which; failures by
// cause; snapshots; a page of a table's rows; one row with what is sent for it; a SELECT.
const (
	AskHistory   = "history"
	AskGraph     = "graph"
	AskErrors    = "errors"
	AskSnapshots = "snapshots"
	AskRows      = "rows"
	AskRecord    = "record"
	AskSQL       = "sql"
)

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
	Tables  []Table            `json:"tables"` // in the order of the plan
	Live    *progress.Snapshot `json:"live,omitempty"`
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

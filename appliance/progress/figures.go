package progress

import "time"

// Figures are what is measured of a project and of the load that runs, for who collects
// metrics: counts that only grow, and how things stand.
type Figures struct {
	Project   string         `json:"project"`
	Version   string         `json:"version"` // of dvmigrate
	Records   []RecordCount  `json:"records"`
	Live      *Snapshot      `json:"live,omitempty"`
	Pulse     *Pulse         `json:"pulse,omitempty"`
	Requests  []RequestCount `json:"requests"` // of this load
	Answers   []AnswerTimes  `json:"answers"`
	Queues    map[string]int `json:"queues"` // what waits: to be sent, for the ledger, for the log, to be called
	Commits   uint64         `json:"commits"`
	Committed float64        `json:"committedSeconds"`       // that the commits took
	Snapshot  time.Time      `json:"snapshot,omitzero"`      // when the newest was taken
	Finish    time.Time      `json:"finish,omitzero"`        // when the load is expected to end
	Deadline  time.Time      `json:"deadline,omitzero"`      // and has to
	Firing    []Rule         `json:"firing"`                 // rules of the alerts that hold
	Channels  map[string]int `json:"failingChannels"`        // channels of the alerts: 1 = it does not take them
	LogLost   int64          `json:"logLinesLost,omitempty"` // since a line was last written
}

// RecordCount is how many of a table's records stand where (method.md M3).
type RecordCount struct {
	Table  string `json:"table"`
	Action string `json:"action"` // I, U, D, N
	Flag   string `json:"flag"`   // U, F, S, P, E, H
	Count  int64  `json:"count"`
}

// RequestCount is how many requests ended in a way.
type RequestCount struct {
	Kind   string `json:"kind"`   // CreateMultiple, $batch, WhoAmI ...
	Status string `json:"status"` // of HTTP; none = there was no answer
	User   string `json:"user"`
	Count  uint64 `json:"count"`
}

// AnswerTimes is how long the answers to requests of a kind took, and what they carried.
type AnswerTimes struct {
	Kind    string                    `json:"kind"`
	Count   uint64                    `json:"count"`
	Seconds float64                   `json:"seconds"`
	Within  [len(AnswerBounds)]uint64 `json:"within"` // how many took no longer than the bound
	Records uint64                    `json:"records"`
	Bytes   uint64                    `json:"bytes"`
}

// AnswerBounds are the bounds of Within in seconds.
var AnswerBounds = [...]float64{0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60, 150}

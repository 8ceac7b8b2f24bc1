package emulator

import (
	"io"
	"log/slog"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// The ids of the rows that exist from the start, where the schema has their tables.
var (
	OrganizationID = schema.GUID{0x0a, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}
	BusinessUnitID = schema.GUID{0x0b, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1} // the root business unit
	UserID         = schema.GUID{0x0c, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1} // the caller
	TeamID         = schema.GUID{0x0d, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1} // the root unit's default team
	CurrencyID     = schema.GUID{0x0e, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1} // US Dollar, the base currency
)

// Options says what a Server is and how it behaves. Only Schema is required.
type Options struct {
	// Schema is what the environment holds. It is read at New and never changed.
	Schema *schema.Schema
	// AssumeBulk lets every standard and activity table that the schema knows no bulk
	// actions of take CreateMultiple, UpdateMultiple and UpsertMultiple, but for those
	// of section 6.2: for a schema read from a $metadata document, which does not say.
	AssumeBulk bool
	// AssumeTracking lets every standard and activity table track its changes where the
	// schema says of none that it does: for a $metadata document without annotations.
	AssumeTracking bool
	// Seed reads rows that exist from the start, by table logical name: one JSON
	// object a line, in the form of a create's body; lookups may be bound to rows
	// of tables seeded before (tables are seeded in the schema's order) or after.
	Seed map[string]io.Reader
	// StatePath names a file that keeps the data across restarts: every change is
	// appended to it before it is answered. Empty keeps nothing.
	StatePath string
	// Discard checks and counts writes but keeps no rows written through the API:
	// for measuring a client. Lookups are taken to exist.
	Discard bool
	// Limits are the service protection limits; the zero value has none.
	Limits Limits
	// WarmUp is how much longer the first bulk request of an action on a standard table
	// takes; others that come meanwhile fail with SQL 3732, 2766 or 2812 (section 6.2).
	// Zero: tables are ready at once.
	WarmUp time.Duration
	// Deadlocks fails a request that writes a row which another one is writing, as
	// victim of a deadlock (SQL 1205; section 6.1, trap 13). DeadlockParents does so for
	// rows that are bound to the same one by a lookup, each named table.column.
	Deadlocks       bool
	DeadlockParents []string
	// PlainClose takes a plain write that wins or loses an opportunity, which the service
	// refuses: WinOpportunity and LoseOpportunity must be used (section 4.5).
	PlainClose bool
	// Cost is the time that requests take on the server; the zero value is none.
	Cost Cost
	// Latency is added to every answer and does not count as execution time. With
	// LatencyP99 it is the median of a log-normal distribution of which one answer in a
	// hundred is later than LatencyP99.
	Latency, LatencyP99 time.Duration
	// Faults are the faults on order; ParseFault reads one from its text form.
	Faults []Fault
	// DopHint is the value of x-ms-dop-hint; zero leaves the header out.
	DopHint int
	// RolePrivileges turns privileges on: what each security role holds, by the role's
	// name, as privilege names such as prvReadAccount, in which * and ? stand for any
	// text and any character. There is also System Administrator, which holds all and
	// which the user of a token has that names no application user. Roles are made in
	// every business unit and given by association (section 14.2). A token of the
	// emulator's token endpoint acts for the systemuser with its client id as
	// applicationid, also where privileges are off.
	RolePrivileges map[string][]string
	// Rollups say what the rollup columns are computed from, which no schema tells.
	Rollups []Rollup
	// Language is the environment's base language, a Windows LCID, by which texts are
	// compared (collation.go). Zero is that of the seed or state file, else 1033.
	Language int
	// DuplicateRules are the published duplicate detection rules.
	DuplicateRules []DuplicateRule
	// CustomActions are the environment's custom APIs: unbound actions that do nothing
	// and take so long, in the background when asked with Prefer: respond-async.
	CustomActions map[string]time.Duration
	// Speed is how many times faster than real time the emulator's durations pass;
	// zero means 1. Windows, Retry-After, costs, latencies and jobs shrink by it, dates
	// and the execution time that is counted do not. Retry-After is whole seconds, so
	// that what is less than a second becomes one.
	Speed float64
	// LooseBatch takes a $batch without CRLF after its closing boundary and without
	// Content-ID in a change set, as some public clients send it: the documentation says
	// that the service refuses the first (section 7.1), the second is not confirmed.
	LooseBatch bool
	// MaxBody is the largest request body in bytes, beyond which the answer is 413;
	// zero means 128 MiB.
	MaxBody int64
	// Log gets one line a refused or failed request at debug level; nil is silent.
	Log *slog.Logger
}

// Limits are the service protection limits of section 8.1, each counted per user
// (bearer token) and server. A zero figure is no limit.
type Limits struct {
	Requests    int           // requests in Window
	Execution   time.Duration // combined execution time in Window
	Concurrency int           // requests at once
	Window      time.Duration // zero means 300 s
	Servers     int           // how many servers the environment has; zero means 1
	Spread      Spread        // how requests without an affinity cookie get to a server
}

// Spread is how requests that carry no affinity cookie are given to the servers.
type Spread string

const (
	RoundRobin Spread = "round-robin" // the next one; the zero value too
	Random     Spread = "random"
)

// DefaultLimits are the documented limits on one server (section 8.1): what the
// emulator command starts with.
func DefaultLimits() Limits {
	return Limits{Requests: 6000, Execution: 1200 * time.Second, Concurrency: 52, Window: 300 * time.Second, Servers: 1}
}

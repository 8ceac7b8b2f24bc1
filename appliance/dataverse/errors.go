package dataverse

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
)

// Kind is what a caller decides on. Each says whether the request was applied.
type Kind uint8

// The kinds of error. But for Lost and Partial, nothing of the request was applied,
// for certain: it was refused, rolled back, or never sent.
const (
	// RowFault: a record is at fault and will be refused again; of a bulk request,
	// one of its records, and none was applied.
	RowFault Kind = iota + 1
	// Duplicate: a record with the id, the alternate key or the link is there
	// already. Whether it is ours only reading it back tells; nothing was changed.
	Duplicate
	// NotFound: the record to change, or one that a lookup points to, is missing;
	// Error.IDs has the ids that the service named. A row's fault, or the order's.
	NotFound
	// Conflict: the record is of another version than the request demanded.
	Conflict
	// Throttled: the service asked to wait, and the context ended while waiting, or
	// the client passes on.
	Throttled
	// Transient: the service refused for a cause that passes; tried several times.
	Transient
	// RolledBack: a deadlock or a race in the database undid the request; tried
	// several times.
	RolledBack
	// Unreachable: no connection; no byte of the request was sent.
	Unreachable
	// Stopped: the context ended before the request was sent.
	Stopped
	// Lost: the request was sent and no whole answer came back. It may have been
	// applied, may be under way still, or not: read back before anything else.
	Lost
	// TooBig: the request is too large or takes too long; send less at once.
	TooBig
	// Partial: of a bulk request on an elastic table, the records in Error.Rows
	// failed and all others were applied (dataverse-web-api.md 6.3).
	Partial
	// SignIn: the service does not know or not admit who sends.
	SignIn
	// Setup: a privilege, table, column, relationship or address is wrong for all
	// requests of this sort; going on is of no use.
	Setup
	// Unsupported: the table does not take this bulk action; send singly or by Batch.
	Unsupported
)

var kindNames = [...]string{
	RowFault: "row fault", Duplicate: "duplicate", NotFound: "not found", Conflict: "conflict",
	Throttled: "throttled", Transient: "transient", RolledBack: "rolled back", Unreachable: "unreachable",
	Stopped: "stopped", Lost: "answer lost", TooBig: "too big", Partial: "partly applied",
	SignIn: "sign-in", Setup: "setup", Unsupported: "unsupported",
}

// String is the kind in words, for messages and reports.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Certain reports whether it is certain that nothing of the request was applied.
func (k Kind) Certain() bool { return k != 0 && k != Lost && k != Partial }

// RowStatus is one record that an elastic table refused (dataverse-web-api.md 6.3).
type RowStatus struct {
	Index  int // place in Targets
	ID     schema.GUID
	Status int // like HTTP: 409 there already, 413 too large, 429 throttled
}

// Error is a request that did not succeed. It never holds a token or a body sent.
type Error struct {
	Kind       Kind
	Op         string // CreateMultiple accounts
	Status     int    // HTTP; 0: no answer
	Code       uint32 // of the service, 0x80040237; 0: none
	Message    string // the first line of the service's words, or ours
	Detail     string // the rest of them: stack frames, plug-in trace
	RequestID  string // for a support case
	RetryAfter time.Duration
	IDs        []schema.GUID // NotFound: the records that the service named
	Rows       []RowStatus   // Partial
	Err        error         // the cause when it was not an answer
}

// codeText is a code as the service writes it; "" for none.
func codeText(code uint32) string {
	if code == 0 {
		return ""
	}
	return fmt.Sprintf("0x%08x", code)
}

// Error says what was tried, what came of it and the service's own words.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	b.WriteString(e.Kind.String())
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	var marks []string
	if e.Status != 0 {
		marks = append(marks, fmt.Sprintf("HTTP %d", e.Status))
	}
	if e.Code != 0 {
		marks = append(marks, codeText(e.Code))
	}
	if e.RequestID != "" {
		marks = append(marks, "request "+e.RequestID)
	}
	if len(marks) > 0 {
		b.WriteString(" (" + strings.Join(marks, ", ") + ")")
	}
	return b.String()
}

// noService reports whether no service was there: no connection, or only a gateway's
// page.
func (e *Error) noService() bool {
	return e.Kind == Unreachable || e.Code == 0 && (e.Kind == Lost || e.Kind == Transient) && e.Status >= 502 && e.Status <= 504
}

// timedOut tells that the service gave a request up because it took too long there. A write is sent
// again with less; a read, which is as large as it has to be, as it is, since a database that is
// busy now may not be so in a moment.
func (e *Error) timedOut() bool {
	return e.Kind == TooBig && e.Status >= http.StatusInternalServerError && e.Code != 0x8004418A // the request's length
}

// Unwrap is the cause: a context's error, a network error.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the Kind of the *Error in err's chain; 0 when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

package ledger

import (
	"errors"
	"fmt"
)

// Errors of Open, Check and RestoreFrom.
var (
	// ErrLocked: another process has the ledger open.
	ErrLocked = errors.New("ledger is in use by another process")
	// ErrDamaged: the file is a ledger, or was one, and its content contradicts itself. The file is left as it is.
	ErrDamaged = errors.New("ledger file is damaged")
	// ErrNotLedger: the file is no ledger at all. It is left as it is.
	ErrNotLedger = errors.New("file is not a ledger")
	// ErrFormat: the file is a ledger in a format version that this program does not know.
	ErrFormat = errors.New("ledger has another format version")
	// ErrOtherSet: the ledger belongs to another project (Options.Set).
	ErrOtherSet = errors.New("ledger belongs to another project")
)

// Errors of a request.
var (
	// ErrPoisoned: an earlier commit failed; what is on disk is known only after the ledger is opened anew.
	// It wraps the failure, so errors.Is(err, ErrFull) works on it.
	ErrPoisoned = errors.New("ledger is poisoned by a failed commit, restart the process")
	// ErrFull: the disk, or Options.MaxSize, is used up.
	ErrFull = errors.New("no space left for the ledger")
	// ErrClosed: the ledger was closed before the request was taken.
	ErrClosed = errors.New("ledger is closed")
	// ErrReadOnly: the ledger was opened with Options.ReadOnly.
	ErrReadOnly = errors.New("ledger is open read-only")
	// ErrOpen: the file cannot be replaced while this process has it open.
	ErrOpen = errors.New("ledger is open, close it first")
	// ErrUnknownTable: no table of that name is defined.
	ErrUnknownTable = errors.New("unknown table")
	// ErrConflict: Define contradicts what the ledger holds: a shrunken table, another number, a number in use.
	ErrConflict = errors.New("table definition conflicts with the ledger")
	// ErrRange: a range is empty, reversed, or reaches beyond the table's count.
	ErrRange = errors.New("range outside the table")
	// ErrTampered: what every *ChainError is.
	ErrTampered = errors.New("audit trail was tampered with")
	// ErrTransition: what every *TransitionError is.
	ErrTransition = errors.New("step not allowed")
)

// TransitionError says which records a request asked to take a step that their entry does not allow.
// The whole request was rejected and changed nothing.
type TransitionError struct {
	Table string
	Range Range  // the first stretch of equal entries that does not allow the step
	Entry Entry  // what those records are
	Step  string // what was asked: "claim insert", "settle failed", ...
	Why   string // in one clause
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("%s %s %s: %s: %s (%s)", e.Step, e.Table, e.Range, ErrTransition, e.Why, e.Entry)
}

// Is makes every TransitionError an ErrTransition.
func (e *TransitionError) Is(target error) bool { return target == ErrTransition }

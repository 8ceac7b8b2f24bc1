// Package ledger keeps every record's action and processing flag on disk, so that a load of millions
// of records can be killed at any moment and go on without losing a record or sending one twice.
//
// # Words
//
// A record is (table, seq): a table's staged rows are numbered densely from 0. Its Entry says what is
// to be done (Action), how far that is (Flag), which pass it is at (Pass), how often it was tried, why
// it failed (Class) and when it changed. Entries of one state lie in long stretches; a Span is one of
// them, and most of the interface speaks in spans and ranges.
//
// A load goes round: Next (what may be sent) → Claim (the intent is on disk) → send → Settle (the
// outcome is on disk). The states and who moves a record between them are in transition.go.
//
// # Promises
//
//   - Claim, Settle and every other change return after the change is durable (fdatasync), not before,
//     and Counts and Spans show nothing that is not.
//   - One request is all or nothing. A request that asks for a step that is not allowed changes nothing
//     and returns a *TransitionError.
//   - A record found in flight when the ledger is opened was claimed by a process that died: its answer
//     is unknown. InFlight lists it; only Settle moves it. The ledger never hands it out again by itself.
//   - What was planned when is kept by generation (full, delta 1, ...), who changed what in an audit trail
//     that shows tampering: Record, Audit, VerifyAudit.
//   - A file that is opened with Options.ReadOnly is not changed by a byte, whatever state it is in.
//   - When a commit fails, the ledger is poisoned: every later change returns ErrPoisoned, because what
//     the disk holds is then known only after a new open. The process has to restart.
//   - A file that is damaged, cut short, foreign or empty is reported (ErrDamaged, ErrNotLedger) and
//     neither changed nor allowed to crash the process. Every value carries a CRC-32C over its key and
//     itself, because bbolt checksums only its two meta pages.
//
// # What it does not do
//
// It does not know Dataverse, the staged rows, or what a class of error means. It does not decide what
// is sent or when. Of record ids it keeps only those that the stage cannot compute (ids.go). One process at a time may open a
// ledger for writing (flock); network file systems are not supported.
//
// Undo is a second file, of its own: the journal of what each generation made and changed, for a
// rollback (undo.go, UNDO.md).
//
// # How it is built
//
// One bbolt file, described byte by byte in FORMAT.md. Entries are stored as run-length pages of 4096
// records and held in memory in the same form. One goroutine writes: it folds all requests that wait,
// up to 256, into one transaction. Readers work on the memory image, which is replaced page by page
// after each commit, so no bbolt read transaction is open on the hot path (engines.md II 3 and 5).
package ledger

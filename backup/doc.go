// Package backup takes snapshots of a running migration at intervals, keeps as many
// as a retention asks for, and brings one back when the disk is lost (method.md M10).
//
// A snapshot is a set of parts: what the caller passes to [Take], in that order, say
// the ledger, then the stage, then the configuration. A part is anything that can
// write a consistent copy of itself while it is in use, and read one. The parts of a
// set are copied one after another, so the first is the oldest: the ledger comes
// first, because a ledger that is behind is looked up at the target, while one that
// is ahead of its stage is not.
//
// What it promises. A set appears whole or not at all, and has been read back and
// compared before it does. An attempt that fails, for want of space or by a crash,
// leaves the earlier snapshots as they were; its remains are removed by the next Take.
// Old snapshots are removed only after a new one has succeeded. Restore reads every
// stored byte of the set before the first part is touched, and checks the content again
// while it is handed over. An error names the file and the snapshot that are damaged
// and the newest one that is whole. One Take or Prune works in a folder at a time,
// others get [ErrLocked].
//
// What it does not do: it does not decide when to stop a load, it does not copy the
// folder to another disk (the folder may be copied with any tool while nothing is
// being taken; a copy is a snapshot folder), and it does not encrypt.
//
// Package archive has the format and FORMAT.md beside it the bytes.
package backup

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
// Old snapshots are removed only after a new one has succeeded. Restore reads and checks
// everything once, and no part is put in place before the last has been checked. An error
// names the file and the snapshot that are damaged and the newest one that is whole. With
// [Keys] everything is encrypted. One Take works in a folder at a time, others
// get [ErrLocked]. Copy brings a snapshot to other places, whole or not at all:
// folders, S3 buckets, containers of Azure Blob Storage.
//
// What it does not do: it does not decide when to stop a load, and it does not keep the
// keys: whoever loses the secret key or the passphrase has lost the snapshots.
//
// Package archive has the format and FORMAT.md beside it the bytes.
package backup

package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// SnapshotTo writes a copy of the ledger as of one commit to w while changes go on. The copy is a ledger
// file. It is first copied to a temporary file beside the ledger and sent from there, so that a slow w
// does not keep bbolt's read transaction open, which would make the file grow and the writer slow
// (engines.md II 8, traps 1 and 3).
func (l *Ledger) SnapshotTo(ctx context.Context, w io.Writer) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("snapshot ledger: %w", err)
		}
	}()
	temp, err := os.CreateTemp(filepath.Dir(l.path), "."+filepath.Base(l.path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	err = guard(func() error {
		return l.db.View(func(tx *bolt.Tx) error {
			_, err := tx.WriteTo(pieces{ctx, temp})
			return err
		})
	})
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	if err != nil {
		return classify(err)
	}
	if _, err := temp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(pieces{ctx, w}, temp)
	return err
}

// pieces passes writes on, and between them lets others work and looks whether to stop. It hides w's
// ReadFrom, so that io.Copy works in pieces of 32 KiB.
type pieces struct {
	ctx context.Context
	w   io.Writer
}

func (p pieces) Write(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	n, err := p.w.Write(b)
	runtime.Gosched()
	return n, err
}

// RestoreFrom is refused: an open ledger cannot be replaced. Close it and use a Store.
func (l *Ledger) RestoreFrom(context.Context, io.Reader) error { return ErrOpen }

// Store is a ledger file that this process does not have open. Together with *Ledger it is what
// snapshots need: a name, a copy out, a copy in.
type Store struct {
	Path string
	Set  [16]byte // the project's id; a copy of another project's ledger is refused (ErrOtherSet); zero accepts any
}

// Name is the file's base name.
func (s Store) Name() string { return filepath.Base(s.Path) }

// SnapshotTo writes a copy of the file to w; ErrLocked when a process has it open for writing.
func (s Store) SnapshotTo(ctx context.Context, w io.Writer) error {
	l, err := Open(ctx, s.Path, Options{Set: s.Set, ReadOnly: true})
	if err != nil {
		return err
	}
	return errors.Join(l.SnapshotTo(ctx, w), l.Close())
}

// RestoreFrom puts the ledger in r in the place of the file, which need not exist. The copy is written
// under a temporary name, checked as a whole, and marked as restored: every table is Behind until
// CaughtUp, because the target may hold more than the copy knows. Only then does it replace the file.
// On an error, and after a crash at any point, the file is the old one. ErrLocked when it is in use.
func (s Store) RestoreFrom(ctx context.Context, r io.Reader) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore ledger: %w", err)
		}
	}()
	temp, err := tempFile(s.Path)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := receive(ctx, temp, r); err != nil {
		return err
	}
	l, err := open(ctx, temp, Options{Set: s.Set}, true)
	if err != nil {
		return err
	}
	if err := errors.Join(l.markRestored(ctx), l.Close()); err != nil {
		return err
	}
	return s.replace(ctx, temp)
}

// receive writes r to the file at path and syncs it.
func receive(ctx context.Context, path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(pieces{ctx, f}, r)
	return classify(errors.Join(err, f.Sync(), f.Close()))
}

// replace renames temp to the store's path unless a process has that open.
func (s Store) replace(ctx context.Context, temp string) error {
	old, err := os.OpenFile(s.Path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		err := waitLock(ctx, old, true, defaultLockTimeout)
		if err != nil || runtime.GOOS == "windows" { // Windows replaces no open file
			old.Close()
		} else {
			defer old.Close()
		}
		if err != nil {
			return err
		}
	}
	if err := os.Rename(temp, s.Path); err != nil {
		return err
	}
	return syncDir(s.Path)
}

// markRestored notes that the ledger comes from a snapshot.
func (l *Ledger) markRestored(ctx context.Context) error {
	asOf := l.lastChange()
	return l.submit(ctx, &request{alone: func() error {
		return l.transact(func(tx *bolt.Tx) error {
			for _, t := range l.tables {
				r := t.record()
				r.Behind, r.RestoredIn = true, r.Generation
				if err := putJSON(tx.Bucket(bucketTables), tableKey(t.Number), r); err != nil {
					return err
				}
			}
			return putJSON(tx.Bucket(bucketMeta), keyRestored, restoredRecord{At: time.Now().UTC().Round(0), AsOf: asOf})
		})
	}})
}

// lastChange is when an entry has changed last: what was done to the target later the ledger does not
// know. A copy that had not caught up since an earlier restore knows no more than that one did.
func (l *Ledger) lastChange() uint32 {
	last, behind := uint32(0), false
	for _, t := range l.Tables() {
		behind = behind || l.Behind(t.Name)
		for span := range l.Spans(t.Name, 0) {
			last = max(last, span.Time)
		}
	}
	if behind && l.restored.AsOf > 0 {
		last = min(last, l.restored.AsOf)
	}
	return last
}

// AsOf is until when the snapshot that was restored knows what became of records, by this machine's
// clock then; the zero time where nothing was restored, or a release before this one did it.
func (l *Ledger) AsOf() time.Time {
	if l.restored.AsOf == 0 {
		return time.Time{}
	}
	return time.Unix(int64(l.restored.AsOf), 0)
}

// AsRestored reports that a table has still the generation of the snapshot that was restored: later
// ones may have been lost, and what the target holds of records is then not what the copy says.
func (l *Ledger) AsRestored(name string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.tables[name]
	return t != nil && !l.restored.At.IsZero() && t.Generation == t.restoredIn
}

// Behind reports that the ledger was restored and the table has not been compared with the target since:
// records that the ledger calls Unprocessed, in flight or waiting may have been applied already. Look
// them up before sending (as with InFlight), then call CaughtUp.
func (l *Ledger) Behind(name string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.tables[name]
	return t != nil && t.behind
}

// Reused reports that the table was staged anew after a snapshot was restored. The numbers, and so the
// ids, of the rows that are new since then may be those of other rows, which were new between the snapshot
// and the loss: a record with such an id is ours, but not what the row says.
func (l *Ledger) Reused(name string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.tables[name]
	return t != nil && !l.restored.At.IsZero() && t.Generation != t.restoredIn
}

// CaughtUp ends Behind for a table, durably.
func (l *Ledger) CaughtUp(ctx context.Context, name string) error {
	return l.submit(ctx, &request{alone: func() error {
		t := l.tables[name]
		if t == nil {
			return fmt.Errorf("%w %q", ErrUnknownTable, name)
		}
		after := *t
		after.behind = false
		return l.putTable(&after)
	}})
}

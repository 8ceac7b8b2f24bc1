package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"dvmigrate/backup/archive"
)

// DamagedError says that a snapshot cannot be restored and which one can.
type DamagedError struct {
	ID    string // the damaged snapshot
	Fault error  // which of its files, and where
	Good  string // the newest snapshot that is whole; empty if there is none
}

// Error names the damage and what to do about it.
func (e *DamagedError) Error() string {
	s := fmt.Sprintf("snapshot %s is damaged: %v; ", e.ID, e.Fault)
	if e.Good == "" {
		return s + "no other snapshot in the folder is whole, look for a copy of the folder"
	}
	return s + "choose snapshot " + e.Good + ", the newest one that is whole"
}

// Unwrap returns the fault.
func (e *DamagedError) Unwrap() error { return e.Fault }

// Verify reads every chunk of a snapshot, decompresses it and compares its hash. With
// an empty id it is the newest one. The error is a *DamagedError if there is damage.
func Verify(ctx context.Context, dir, id string) error {
	store := archive.Open(dir, archive.OS{})
	if _, err := choose(ctx, store, id, archive.Content); err != nil {
		return fmt.Errorf("verify snapshot: %w", err)
	}
	return nil
}

// Restore brings back the parts that the targets name, in the targets' order, from the
// snapshot id, or from the newest one if id is empty. If that one is damaged nothing
// has been changed and the error is a *DamagedError, whose Good is the id to choose
// instead; Restore never chooses an older one by itself. What a target does with what it
// holds already is its own and the caller's decision.
func Restore(ctx context.Context, dir, id string, to ...restorer) (Snapshot, error) {
	unlock, err := archive.Lock(dir, false)
	if err != nil {
		return Snapshot{}, fmt.Errorf("restore snapshot: %w", err)
	}
	defer unlock()
	store := archive.Open(dir, archive.OS{})
	m, err := choose(ctx, store, id, archive.Stored)
	if err != nil {
		return Snapshot{}, fmt.Errorf("restore snapshot (nothing was changed): %w", err)
	}
	if len(to) == 0 {
		return Snapshot{}, errors.New("restore snapshot: no part was asked for")
	}
	for _, t := range to {
		if _, err := m.Part(t.Name()); err != nil {
			return Snapshot{}, fmt.Errorf("restore snapshot (nothing was changed): %w", err)
		}
	}
	var done []string
	for _, t := range to {
		err := store.ReadPart(ctx, m, t.Name(), func(r io.Reader) error { return t.RestoreFrom(ctx, r) })
		if err != nil {
			return Snapshot{}, partial(m.ID, t.Name(), done, err)
		}
		done = append(done, t.Name())
	}
	return describe(m), nil
}

// partial says what a restore that failed half way has changed already.
func partial(id, name string, done []string, err error) error {
	state := "nothing was changed"
	if len(done) > 0 {
		state = "restored already and to be restored again with the rest: " + strings.Join(done, ", ")
	}
	return fmt.Errorf("restore part %q of snapshot %s (%s): %w", name, id, state, err)
}

// choose returns the manifest of a snapshot that has been checked to that depth.
func choose(ctx context.Context, store *archive.Store, id string, depth archive.Depth) (*archive.Manifest, error) {
	ids, err := store.IDs()
	if err != nil {
		return nil, err
	}
	if id == "" {
		if len(ids) == 0 {
			return nil, fmt.Errorf("a snapshot in this folder: %w", ErrNotFound)
		}
		id = ids[0]
	}
	m, err := inspect(ctx, store, id, depth)
	if err == nil {
		return m, nil
	}
	if ctx.Err() != nil || errors.Is(err, ErrVersion) || errors.Is(err, ErrNotFound) {
		return nil, err
	}
	damaged := &DamagedError{ID: id, Fault: err}
	for _, other := range ids {
		if other == id {
			continue
		}
		if _, err := inspect(ctx, store, other, archive.Stored); err == nil {
			damaged.Good = other
			break
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, damaged
}

// inspect reads a snapshot and returns what is wrong with it.
func inspect(ctx context.Context, store *archive.Store, id string, depth archive.Depth) (*archive.Manifest, error) {
	m, err := store.Manifest(id)
	if err != nil {
		return nil, err
	}
	if err := store.CheckPacks(m); err != nil {
		return nil, stillThere(store, id, err)
	}
	if err := store.Verify(ctx, m, depth); err != nil {
		return nil, stillThere(store, id, err)
	}
	return m, nil
}

// stillThere tells damage from a snapshot that was removed while it was being read.
func stillThere(store *archive.Store, id string, err error) error {
	if _, gone := store.Manifest(id); errors.Is(gone, ErrNotFound) {
		return gone
	}
	return err
}

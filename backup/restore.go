package backup

import (
	"context"
	"errors"
	"fmt"

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

// Verify reads every chunk of a snapshot, decrypts and decompresses it and compares its
// hash. With an empty id it is the newest one. With a sample greater than 1 it reads one
// chunk in so many, chosen at random. The error is a *DamagedError if there is damage.
func (p *Place) Verify(ctx context.Context, id string, keys *Keyring, sample int) (Snapshot, error) {
	store := p.store(keys)
	m, err := choose(ctx, p, store, id, func(m *archive.Manifest) error { return store.VerifySample(ctx, m, sample) })
	if err != nil {
		return Snapshot{}, fmt.Errorf("verify snapshot: %w", err)
	}
	return describe(m), nil
}

// Restore brings back the parts that the targets name, in the targets' order, from the
// snapshot id, or from the newest one if id is empty. Everything is read once and checked
// while it is read; no target gets to the end of its part before the last part has been
// read to its end and found good. So if there is damage nothing has been changed, and the
// error is a *DamagedError, whose Good is the id to choose instead; Restore never chooses
// an older one by itself. What a target does with what it holds already is its own and
// the caller's decision. Parts that no target names are not read.
func (p *Place) Restore(ctx context.Context, id string, keys *Keyring, to ...restorer) (Snapshot, error) {
	unlock, err := p.lock()
	if err != nil {
		return Snapshot{}, fmt.Errorf("restore snapshot: %w", err)
	}
	defer unlock()
	store := p.store(keys)
	m, err := choose(ctx, p, store, id, func(*archive.Manifest) error { return nil })
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
	r := &restoring{store: store, m: m}
	if err := r.run(ctx, to); err != nil {
		if errors.Is(err, archive.ErrDamaged) {
			err = damage(ctx, p, store, m.ID, err)
		}
		return Snapshot{}, err
	}
	return describe(m), nil
}

// choose returns the manifest of a snapshot whose packs are there and that passes check.
func choose(ctx context.Context, p *Place, store *archive.Store, id string, check func(*archive.Manifest) error) (*archive.Manifest, error) {
	if id == "" {
		ids, err := p.ids()
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			return nil, fmt.Errorf("a snapshot in %s: %w", p.name, ErrNotFound)
		}
		id = ids[0]
	}
	m, err := inspect(ctx, p, store, id, check)
	if err == nil {
		return m, nil
	}
	if ctx.Err() != nil || !errors.Is(err, archive.ErrDamaged) {
		return nil, err
	}
	return nil, damage(ctx, p, store, id, err)
}

// damage looks for a snapshot that can be restored instead of the damaged one.
func damage(ctx context.Context, p *Place, store *archive.Store, id string, fault error) error {
	damaged := &DamagedError{ID: id, Fault: fault}
	ids, err := p.ids()
	if err != nil {
		return damaged
	}
	for _, other := range ids {
		if other == id {
			continue
		}
		stored := func(m *archive.Manifest) error { return store.Verify(ctx, m, archive.Stored) }
		if _, err := inspect(ctx, p, store, other, stored); err == nil {
			damaged.Good = other
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return damaged
}

// inspect reads a snapshot and returns what is wrong with it.
func inspect(ctx context.Context, p *Place, store *archive.Store, id string, check func(*archive.Manifest) error) (*archive.Manifest, error) {
	if err := p.need(ctx, id); err != nil {
		return nil, err
	}
	m, err := store.Manifest(id)
	if err != nil {
		return nil, err
	}
	if err := store.CheckPacks(m); err != nil {
		return nil, stillThere(store, id, err)
	}
	if err := check(m); err != nil {
		return nil, stillThere(store, id, err)
	}
	return m, nil
}

// stillThere tells damage from a snapshot that was removed while it was being read.
func stillThere(store *archive.Store, id string, err error) error {
	if _, gone := store.Outline(id); errors.Is(gone, ErrNotFound) {
		return gone
	}
	return err
}

package appliance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"dvmigrate/backup"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// snapshots restores each snapshot of every place that the settings name beside, and searches it.
// One that is in several places is restored of each: a copy is what it is, not what it should be.
func (s *maskSearch) snapshots(ctx context.Context, k KeySource) error {
	p := s.p
	keys, err := p.snapshotKeys()
	if k.IdentityFile != "" {
		keys, err = keyring(p.Config, k, p.o.Env)
	}
	if err != nil {
		return err
	}
	dir, copies := p.snapshotDirs(nil)
	for _, place := range append([]string{dir}, copies...) {
		if !backup.Distant(place) && !exists(place) {
			if place != dir {
				s.unread("snapshots in "+place, "the folder is not there")
			}
			continue
		}
		if err := s.snapshotsIn(ctx, place, place != dir, keys); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.unread("snapshots in "+place, "%v", err)
		}
	}
	return nil
}

func (s *maskSearch) snapshotsIn(ctx context.Context, name string, away bool, keys *backup.Keyring) error {
	place, err := reach(ctx, name, s.scratch, s.p.Config, s.p.o.Env)
	if err != nil {
		return err
	}
	defer place.Close()
	list, err := place.List(ctx, keys)
	if err != nil {
		return explainSnapshot(name, err)
	}
	for i, snap := range list {
		shown := "snapshot " + snap.ID
		if away {
			shown += " in " + name
		}
		s.watch("searching "+shown, 100*float64(i)/float64(len(list)))
		switch {
		case snap.Locked:
			s.unread(shown, "it is encrypted, and no key that opens it was given: --identity FILE, or the passphrase of the settings")
		case snap.Fault != nil:
			s.unread(shown, "it cannot be restored: %v", snap.Fault)
		default:
			if err := s.snapshot(ctx, place, shown, snap.ID, keys); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				s.unread(shown, "%v", err)
			}
		}
	}
	return nil
}

func (s *maskSearch) snapshot(ctx context.Context, from *backup.Place, place, id string, keys *backup.Keyring) error {
	to := filepath.Join(s.scratch, "snapshot")
	if err := os.MkdirAll(filepath.Join(to, "files"), 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(to)
	path := filepath.Join(to, "stage.duckdb")
	_, err := from.Restore(ctx, id, keys, ledger.Store{Path: filepath.Join(to, "files", "ledger.bolt")}, duckstage.Restorer{Path: path}, backup.Files(filesPart, filepath.Join(to, "files"), nil))
	if err != nil {
		return err
	}
	if err := s.bytes(place+": the stage's file", path); err != nil { // before it is open
		return err
	}
	if err := s.files(ctx, place+": ", filepath.Join(to, "files")); err != nil {
		return err
	}
	stage, err := duckstage.Open(ctx, path, duckstage.Options{ReadOnly: true, Temp: s.scratch, Set: s.p.set})
	if err != nil {
		return fmt.Errorf("its stage cannot be opened: %w", err)
	}
	defer stage.Close()
	if err := s.stage(ctx, place, stage); err != nil {
		return err
	}
	return s.freeBlocks(ctx, place, stage)
}

// bytes searches a file as it lies.
func (s *maskSearch) bytes(place, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	seek := seeker{needles: &s.needles, hit: s.hit(place)}
	if _, err := f.WriteTo(&seek); err != nil {
		return err
	}
	s.place(place, "its bytes as they lie", seek.size)
	return seek.Close()
}

package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/backup"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// RestoreOptions say which snapshot goes where.
type RestoreOptions struct {
	From string // the folder of snapshots, or the distant place
	ID   string // "" = the newest
	Dest string // the new project folder; must be empty or absent
	Seal string // of the snapshot, as noted when it was taken; another is refused; "" = any
	Keys KeySource
	// Watch is told how far it is, by several goroutines; nil = nobody looks.
	Watch StageWatch
}

// Restore brings a snapshot back into an empty folder. The target may be ahead of
// it: the next load finds out what it has, and sends nothing twice. On an error the
// folder is as empty as it was. What is fetched of a distant place is kept beside it
// meanwhile, on its disk.
func Restore(ctx context.Context, o RestoreOptions, open Options) (info SnapshotInfo, err error) {
	began := time.Now()
	entries, err := os.ReadDir(o.Dest)
	if err == nil && len(entries) > 0 {
		return SnapshotInfo{}, fmt.Errorf("%s is not empty; a snapshot is restored into an empty folder, so that nothing is lost there", o.Dest)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return SnapshotInfo{}, err
	}
	fresh := err != nil
	if !backup.Distant(o.From) && !exists(o.From) {
		return SnapshotInfo{}, fmt.Errorf("there is no folder %s with snapshots", o.From)
	}
	if err := os.MkdirAll(o.Dest, 0o700); err != nil {
		return SnapshotInfo{}, err
	}
	defer func() {
		if err != nil {
			clearFolder(o.Dest, fresh)
		}
	}()
	place, err := reachBeside(ctx, o, open)
	if err != nil {
		return SnapshotInfo{}, err
	}
	defer place.Close()
	s, keys, err := restoreFiles(ctx, place, o, open)
	if err != nil {
		return SnapshotInfo{}, explainSnapshot(o.From, err)
	}
	if err := o.checkSeal(s); err != nil {
		return SnapshotInfo{}, err
	}
	// The settings, which are there now, say where the rest belongs. What they need
	// from the environment is not needed for that.
	c, err := config.Load(o.Dest, standIn(open.Env))
	if err != nil {
		return SnapshotInfo{}, err
	}
	p := &Project{Config: c}
	if err := os.MkdirAll(p.work(), 0o700); err != nil {
		return SnapshotInfo{}, err
	}
	if exists(p.ledgerPath()) || exists(p.stagePath()) {
		return SnapshotInfo{}, fmt.Errorf("%s has a stage or a ledger already, and the settings of the snapshot point there; move it away first", p.work())
	}
	watch := o.Watch
	if watch == nil {
		watch = unwatched
	}
	done := new(atomic.Int64)
	s, err = place.Restore(ctx, s.ID, keys, watchedTarget{ledger.Store{Path: p.ledgerPath()}, done, s.Size, watch}, watchedTarget{duckstage.Restorer{Path: p.stagePath()}, done, s.Size, watch})
	if err != nil {
		return SnapshotInfo{}, explainSnapshot(o.From, err)
	}
	if err := o.checkSeal(s); err != nil { // somebody has changed it between the two readings
		return SnapshotInfo{}, err
	}
	note := Options{Version: open.Version, Command: open.Command, Args: open.Args, Env: standIn(open.Env)}
	if err := Note(ctx, o.Dest, note, NewHappened("restore", open.Args, began, nil, "snapshot "+s.ID+" of "+s.Time.Format(time.RFC3339))); err != nil {
		return SnapshotInfo{}, err
	}
	return snapshotInfo(s), nil
}

// checkSeal refuses a snapshot that is not the one whose seal was noted.
func (o RestoreOptions) checkSeal(s backup.Snapshot) error {
	if o.Seal == "" || strings.EqualFold(o.Seal, s.Seal) {
		return nil
	}
	return fmt.Errorf("snapshot %s has the seal %s, and not the one that was noted, %s: it is another snapshot (--id chooses one), or somebody has put it there\nnothing was restored", s.ID, s.Seal, o.Seal)
}

// reachBeside opens the place that a restore reads. There is no project yet whose settings
// could say how a distant one is reached.
func reachBeside(ctx context.Context, o RestoreOptions, open Options) (*backup.Place, error) {
	dest, err := filepath.Abs(o.Dest)
	if err != nil {
		return nil, err
	}
	return reach(ctx, o.From, filepath.Dir(dest), nil, open.Env)
}

// restoreFiles brings back the small files, with a passphrase that a person is asked for
// where that is what is missing.
func restoreFiles(ctx context.Context, place *backup.Place, o RestoreOptions, open Options) (backup.Snapshot, *backup.Keyring, error) {
	keys, err := keyring(nil, o.Keys, open.Env)
	if err != nil {
		return backup.Snapshot{}, nil, err
	}
	files := backup.Files(filesPart, o.Dest, nil)
	s, err := place.Restore(ctx, o.ID, keys, files)
	if !errors.Is(err, backup.ErrEncrypted) || o.Keys.Ask == nil {
		return s, keys, err
	}
	passphrase, err := o.Keys.Ask()
	if err != nil {
		return s, nil, err
	}
	if keys, err = backup.NewKeyring(backup.Keys{Passphrase: passphrase}); err != nil {
		return s, nil, err
	}
	s, err = place.Restore(ctx, o.ID, keys, files)
	return s, keys, err
}

// clearFolder takes back what a restore that failed has put into a folder that was empty,
// or was not there.
func clearFolder(dir string, all bool) {
	if all {
		os.RemoveAll(dir)
		return
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		os.RemoveAll(filepath.Join(dir, e.Name()))
	}
}

// standIn gives a value for every variable, since a restored project is not used
// for signing in here.
func standIn(env func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if v, ok := env(name); ok && !strings.HasPrefix(name, "DVMIGRATE_") {
			return v, true
		}
		return "", !strings.HasPrefix(name, "DVMIGRATE_")
	}
}

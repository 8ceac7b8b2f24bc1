package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/backup"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// snapshotMeta is kept with every snapshot.
type snapshotMeta struct {
	Project string `json:"project"`
	Tool    string `json:"tool"`
	Summary Counts `json:"summary"`
}

// SnapshotInfo describes one snapshot.
type SnapshotInfo struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Size    int64     `json:"size"`  // of the files when restored
	Added   int64     `json:"added"` // that it took in the folder
	Summary *Counts   `json:"summary,omitempty"`
	Fault   string    `json:"fault,omitempty"` // why it cannot be restored
}

func (p *Project) snapshotDir(to string) string {
	if to != "" {
		return to
	}
	return p.Config.Path(p.Config.Snapshots.To)
}

// Snapshot copies ledger, stage and settings into the folder to ("" = as the
// settings say), and verifies the copy. It may run while a load does.
func (p *Project) Snapshot(ctx context.Context, to string) (backup.Snapshot, error) {
	s, err := p.Status(ctx)
	if err != nil {
		return backup.Snapshot{}, err
	}
	k := p.Config.Snapshots.Keep
	taken, err := backup.Take(ctx, backup.Options{Dir: p.snapshotDir(to), Logger: p.o.Log,
		Keep: backup.Retention{Last: k.Last, Hourly: k.Hourly, Daily: k.Daily},
		Meta: snapshotMeta{Project: p.Config.Name, Tool: p.o.Version, Summary: s.Summary},
	}, p.ledger, p.stage, backup.Files(filesPart, p.Config.Dir, p.projectFiles()))
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w\nfree space on the disk of %s, or choose another folder: dvmigrate snapshot --to DIR", err, p.snapshotDir(to))
	}
	return taken, err
}

// filesPart is the part of a snapshot with the project's small files.
const filesPart = "files"

// projectFiles are the files that a restored project needs besides stage and ledger.
func (p *Project) projectFiles() []string {
	c := p.Config
	files := []string{"migration.yaml"}
	add := func(name string) {
		if rel, err := filepath.Rel(c.Dir, c.Path(name)); err == nil && filepath.IsLocal(rel) && exists(filepath.Join(c.Dir, rel)) {
			files = append(files, filepath.ToSlash(rel))
		}
	}
	add(c.Schema)
	add(c.Transforms)
	add(path.Join(c.Work, "project.json"))
	add(path.Join(c.Work, pinFile))
	if c.Snapshots.Sources {
		for _, s := range c.Sources {
			for _, pattern := range s.Path {
				found, _ := filepath.Glob(c.Path(pattern)) // a bad pattern was refused when it was staged
				for _, f := range found {
					add(f)
				}
			}
		}
	}
	return files
}

// Snapshots lists the snapshots in a folder, newest first.
func Snapshots(dir string) ([]SnapshotInfo, error) {
	list, err := backup.List(dir)
	if err != nil {
		return nil, err
	}
	out := []SnapshotInfo{}
	for _, s := range list {
		out = append(out, snapshotInfo(s))
	}
	return out, nil
}

// RestoreOptions say which snapshot goes where.
type RestoreOptions struct {
	From string // the folder of snapshots
	ID   string // "" = the newest
	Dest string // the new project folder; must be empty or absent
}

// Restore brings a snapshot back into an empty folder. The target may be ahead of
// it: the next load finds out what it has, and sends nothing twice.
func Restore(ctx context.Context, o RestoreOptions, open Options) (SnapshotInfo, error) {
	if entries, err := os.ReadDir(o.Dest); err == nil && len(entries) > 0 {
		return SnapshotInfo{}, fmt.Errorf("%s is not empty; a snapshot is restored into an empty folder, so that nothing is lost there", o.Dest)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return SnapshotInfo{}, err
	}
	if !exists(o.From) {
		return SnapshotInfo{}, fmt.Errorf("there is no folder %s with snapshots", o.From)
	}
	if err := os.MkdirAll(o.Dest, 0o700); err != nil {
		return SnapshotInfo{}, err
	}
	s, err := backup.Restore(ctx, o.From, o.ID, backup.Files(filesPart, o.Dest, nil))
	if err != nil {
		return SnapshotInfo{}, explainSnapshot(o.From, err)
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
	_, err = backup.Restore(ctx, o.From, s.ID, ledger.Store{Path: p.ledgerPath()}, duckstage.Restorer{Path: p.stagePath()})
	if err != nil {
		return SnapshotInfo{}, explainSnapshot(o.From, err)
	}
	return snapshotInfo(s), nil
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

func explainSnapshot(from string, err error) error {
	var damaged *backup.DamagedError
	if errors.As(err, &damaged) && damaged.Good != "" {
		return fmt.Errorf("%w: restore it with --id %s", err, damaged.Good)
	}
	if errors.Is(err, backup.ErrNotFound) {
		return fmt.Errorf("%w; `dvmigrate snapshots --from %s` lists what is there", err, from)
	}
	return err
}

func snapshotInfo(s backup.Snapshot) SnapshotInfo {
	info := SnapshotInfo{ID: s.ID, Time: s.Time, Size: s.Size, Added: s.Added}
	var meta snapshotMeta
	if json.Unmarshal(s.Meta, &meta) == nil && meta.Project != "" {
		info.Summary = &meta.Summary
	}
	if s.Fault != nil {
		info.Fault = s.Fault.Error()
	}
	return info
}

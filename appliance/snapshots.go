package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/backup"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// snapshotMeta is kept with every snapshot.
type snapshotMeta struct {
	Project    string `json:"project"`
	Tool       string `json:"tool"`
	Summary    Counts `json:"summary"`
	Generation uint64 `json:"generation"` // how often sources had been staged
	Audit      string `json:"audit"`      // head of the audit trail: proves later that it is what it was
}

// SnapshotInfo describes one snapshot.
type SnapshotInfo struct {
	ID         string    `json:"id"`
	Time       time.Time `json:"time"`
	Size       int64     `json:"size"`  // of the files when restored; 0 when locked
	Added      int64     `json:"added"` // that it took in the folder
	Encrypted  bool      `json:"encrypted"`
	Locked     bool      `json:"locked,omitempty"` // encrypted, and no key that opens it was given
	Generation uint64    `json:"generation,omitempty"`
	Summary    *Counts   `json:"summary,omitempty"`
	Project    string    `json:"project,omitempty"`
	Seal       string    `json:"seal,omitempty"`   // a hash over all of it, to be noted and given to restore
	Audit      string    `json:"audit,omitempty"`  // number and hash of the newest audit entry then
	Fault      string    `json:"fault,omitempty"`  // why it cannot be restored
	Copies     []string  `json:"copies,omitempty"` // where else it is, when it was taken just now
}

// snapshotDirs are the folder that a snapshot is taken into and the places that get a copy:
// as to says, or as the settings do. A distant place gets copies only.
func (p *Project) snapshotDirs(to []string) (dir string, copies []string) {
	if len(to) > 0 && backup.Distant(to[0]) {
		return p.Config.Path(p.Config.Snapshots.To), to
	}
	if len(to) > 0 {
		return to[0], to[1:]
	}
	return p.Config.Path(p.Config.Snapshots.To), p.copies()
}

// copies are the other places that the settings name.
func (p *Project) copies() []string {
	var places []string
	for _, to := range p.Config.Snapshots.Also {
		places = append(places, p.Config.Path(to))
	}
	return places
}

// access says how distant places are reached: as the settings say, where there are any, and as the
// variables that others of S3's clients know say else.
func access(c *config.Config, env func(string) (string, bool)) (backup.Access, error) {
	a, endpoint := backup.Access{Env: env}, ""
	if c != nil {
		s := c.Snapshots.S3
		endpoint, a.Region, a.PathStyle = s.Endpoint, s.Region, s.PathStyle
	}
	for _, name := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
		if v, _ := env(name); endpoint == "" {
			endpoint = v
		}
	}
	if endpoint == "" {
		return a, nil
	}
	var ok bool
	if a.Endpoint, ok = config.S3Server(endpoint); !ok {
		return a, errors.New("the S3 endpoint (snapshots.s3.endpoint or AWS_ENDPOINT_URL) is not of the form https://HOST or https://HOST:PORT")
	}
	return a, nil
}

// reach opens a place of snapshots, a distant one as access says; what is fetched of it is kept in
// the folder cache, "" for the system's temporary folder.
func reach(ctx context.Context, place, cache string, c *config.Config, env func(string) (string, bool)) (*backup.Place, error) {
	a, err := access(c, env)
	if err != nil {
		return nil, err
	}
	return backup.Reach(ctx, place, cache, a)
}

// snapshotKeys returns the keys that the settings name; the same ones each time, so that
// periodic snapshots share a data key.
func (p *Project) snapshotKeys() (*backup.Keyring, error) {
	p.keysOnce.Do(func() { p.keys, p.keysErr = keyring(p.Config, KeySource{}, p.o.Env) })
	return p.keys, p.keysErr
}

// Snapshot copies ledger, stage and settings into the first of the places to (none = as
// the settings say), verifies the copy, and copies it on into the others. Where the first
// is no folder, it is taken into the one of the settings and copied on from there. It may run while
// a load does. An error of a copy leaves the snapshot and the other copies.
func (p *Project) Snapshot(ctx context.Context, to []string) (SnapshotInfo, error) {
	return p.TakeSnapshot(ctx, to, unwatched)
}

// TakeSnapshot is Snapshot, which tells how far it is.
func (p *Project) TakeSnapshot(ctx context.Context, to []string, watch StageWatch) (info SnapshotInfo, err error) {
	dir, copies := p.snapshotDirs(to)
	args := append([]string{"--to", dir}, copies...)
	if p.o.Command == "snapshot" {
		args = p.o.Args
	}
	for _, place := range append([]string{dir}, copies...) { // before a long work: the name may be wrong
		if config.Distant(place) {
			if err := backup.CheckDistant(place); err != nil {
				return SnapshotInfo{}, err
			}
		}
	}
	end, err := p.record(ctx, "snapshot", args)
	if err != nil {
		return SnapshotInfo{}, err
	}
	defer func() { end(err, info.ID+", seal "+info.Seal) }()
	keys, err := p.snapshotKeys()
	if err != nil {
		return SnapshotInfo{}, err
	}
	s, err := p.Status(ctx)
	if err != nil {
		return SnapshotInfo{}, err
	}
	generation, err := p.stage.Meta(ctx, "generation")
	if err != nil {
		return SnapshotInfo{}, err
	}
	n, _ := strconv.ParseUint(generation, 10, 64) // the stage writes nothing else
	reached, err := access(p.Config, p.o.Env)
	if err != nil {
		return SnapshotInfo{}, err
	}
	k := p.Config.Snapshots.Keep
	o := backup.Options{Dir: dir, Logger: p.o.Log, Keys: keys, Access: reached,
		Keep: backup.Retention{Last: k.Last, Hourly: k.Hourly, Daily: k.Daily},
		Meta: snapshotMeta{Project: p.Config.Name, Tool: p.o.Version, Summary: s.Summary, Generation: n, Audit: s.Audit}}
	taken, err := backup.Take(ctx, o, watchedPart{p.ledger, sizeOf(p.ledgerPath()), watch}, watchedPart{p.stage, sizeOf(p.stagePath()), watch},
		backup.Files(filesPart, p.Config.Dir, p.projectFiles()))
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w\nfree space on the disk of %s, or choose another folder: dvmigrate snapshot --to DIR", err, dir)
	}
	if err != nil {
		return SnapshotInfo{}, err
	}
	info = snapshotInfo(taken)
	p.snapped.Store(&info.Time)
	var failed []error
	for _, place := range copies {
		watch("copying it to "+place, -1)
		if _, err := backup.Copy(ctx, o, taken.ID, place); err != nil {
			failed = append(failed, err)
			continue
		}
		info.Copies = append(info.Copies, place)
	}
	if err := errors.Join(failed...); err != nil {
		return info, fmt.Errorf("snapshot %s is in %s, but: %w", taken.ID, dir, err)
	}
	return info, nil
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
	add(mapsFolder) // what people decided, which nobody could tell again
	add(path.Join(c.Work, "project.json"))
	add(path.Join(c.Work, pinFile))
	add(path.Join(c.Work, undoFile)) // read after the ledger, so that it is not behind it
	add(path.Join(c.Work, rollbackFile))
	add(path.Join(c.Work, behindFile))
	add(path.Join(c.Work, profileName)) // what loads have measured, for estimates and the report
	if c.Snapshots.Sources {
		for _, s := range c.Sources {
			for _, pattern := range s.Path {
				found, _ := filepath.Glob(c.Path(pattern)) // a bad pattern was refused when it was staged
				for _, f := range found {
					if filepath.Dir(f) != filepath.Join(c.Dir, mapsFolder) { // that is in already
						add(f)
					}
				}
			}
		}
	}
	return files
}

// Snapshots lists the snapshots of a folder or a distant place, newest first. c is nil
// where there is no project to say how they are encrypted.
func Snapshots(ctx context.Context, from string, c *config.Config, k KeySource, o Options) ([]SnapshotInfo, error) {
	keys, err := keyring(c, k, o.Env)
	if err != nil {
		return nil, err
	}
	place, err := reach(ctx, from, "", c, o.Env)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	list, err := place.List(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := []SnapshotInfo{}
	for _, s := range list {
		out = append(out, snapshotInfo(s))
	}
	return out, nil
}

// VerifySnapshot reads all of a snapshot ("" = the newest), or one chunk in sample, and
// compares it with what was written.
func VerifySnapshot(ctx context.Context, from, id string, sample int, c *config.Config, k KeySource, o Options) (SnapshotInfo, error) {
	if !backup.Distant(from) && !exists(from) {
		return SnapshotInfo{}, fmt.Errorf("there is no folder %s with snapshots", from)
	}
	keys, err := keyring(c, k, o.Env)
	if err != nil {
		return SnapshotInfo{}, err
	}
	place, err := reach(ctx, from, "", c, o.Env)
	if err != nil {
		return SnapshotInfo{}, err
	}
	defer place.Close()
	s, err := place.Verify(ctx, id, keys, sample)
	if err != nil {
		return SnapshotInfo{}, explainSnapshot(from, err)
	}
	return snapshotInfo(s), nil
}

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

func explainSnapshot(from string, err error) error {
	var damaged *backup.DamagedError
	if errors.As(err, &damaged) && damaged.Good != "" {
		return fmt.Errorf("%w: restore it with --id %s", err, damaged.Good)
	}
	if errors.Is(err, backup.ErrNotFound) {
		return fmt.Errorf("%w; `dvmigrate snapshots --from %s` lists what is there", err, from)
	}
	return explainKeys(err)
}

func snapshotInfo(s backup.Snapshot) SnapshotInfo {
	info := SnapshotInfo{ID: s.ID, Time: s.Time, Size: s.Size, Added: s.Added, Encrypted: s.Encrypted, Locked: s.Locked, Seal: s.Seal}
	var meta snapshotMeta
	if json.Unmarshal(s.Meta, &meta) == nil && meta.Project != "" {
		info.Summary, info.Generation, info.Project, info.Audit = &meta.Summary, meta.Generation, meta.Project, meta.Audit
	}
	if s.Fault != nil {
		info.Fault = s.Fault.Error()
	}
	return info
}

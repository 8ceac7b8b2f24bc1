package appliance

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/backup"
	"dvmigrate/ledger"
)

// snapshotMeta is kept with every snapshot.
type snapshotMeta struct {
	Project    string `json:"project"`
	Set        string `json:"set,omitempty"` // tells two projects of one name apart; older snapshots have none
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
	args := []string{"snapshot"}
	for _, place := range append([]string{dir}, copies...) {
		args = append(args, "--to", place)
	}
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
	if err := p.ownFolder(dir, keys); err != nil {
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
		Meta: snapshotMeta{Project: p.Config.Name, Set: p.setText(), Tool: p.o.Version, Summary: s.Summary, Generation: n, Audit: s.Audit}}
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
	add(path.Join(c.Work, heirsFile))
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

// ownFolder refuses a folder in which another project has its snapshots: a restore takes the newest of
// all, and the older ones of all are removed together. Those of a project of the same name may be our
// own, from before its work folder was removed; so may those of a copy of it: that is told.
func (p *Project) ownFolder(dir string, keys *backup.Keyring) error {
	newest, found, err := backup.Newest(dir, keys)
	var meta snapshotMeta
	if err != nil || !found || json.Unmarshal(newest.Meta, &meta) != nil || meta.Project == "" {
		return nil // nothing is there, or nothing that we can read; to take one will say
	}
	switch taken := newest.Time.Local().Format(time.DateTime); {
	case meta.Project != p.Config.Name:
		return fmt.Errorf("%s has snapshots of the project %s, the newest of %s, and would mix them with those of %s: a restore takes the newest of all, and old ones of all are removed. Choose another folder: dvmigrate snapshot --to DIR, or snapshots.to in migration.yaml", dir, meta.Project, taken, p.Config.Name)
	case meta.Set != "" && meta.Set != p.setText() && p.o.Warn != nil:
		p.o.Warn(fmt.Sprintf("%s has snapshots of another project of the name %s, the newest of %s. Where that one is in use too, give each its own folder: a restore takes the newest of all, and old ones of all are removed", dir, meta.Project, taken))
	case meta.Set != "" && !p.remembers(meta.Audit) && p.o.Warn != nil:
		p.o.Warn(fmt.Sprintf("the newest snapshot in %s, of %s, was not taken by this copy of the project. If this one was restored from an older snapshot, that is as it should be, once. Else another copy is in use: only one may be, as each believes to know what the target has; stop one of them", dir, taken))
	}
	return nil
}

// remembers reports whether the audit trail has been at a head that was noted: what a copy of the project
// that goes on by itself has noted since, it has not. What cannot be told counts as remembered.
func (p *Project) remembers(noted string) bool {
	h, err := ledger.ParseAuditHead(noted)
	if err != nil || h.Seq == 0 {
		return true
	}
	found, err := p.ledger.Audit(h.Seq, 1)
	return err != nil || len(found) == 1 && found[0].Seq == h.Seq && found[0].Hash == hex.EncodeToString(h.Hash[:])
}

// setText is what tells this project from others of its name, as project.json has it.
func (p *Project) setText() string { return hex.EncodeToString(p.set[:]) }

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

package appliance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/progress"
	"dvmigrate/backup"
)

// draftFile is the certificate while a discard is under way, in the project folder: when
// the discard is killed, the next one goes on by it.
const draftFile = "discard.draft.json"

// DiscardOptions say what else is destroyed, and against which objection.
type DiscardOptions struct {
	Confirm     func(project string) error // asks whether it is meant; not called when a discard goes on
	Force       bool                       // although the last generation was not reconciled, or a place cannot be reached
	Also        []string                   // folders of snapshots that the settings do not name
	Certificate string                     // file of the certificate; "" = discarded-NAME.json in the project folder
}

// Discarded is how a discard ended.
type Discarded struct {
	File        string      `json:"file"`
	Fingerprint string      `json:"fingerprint"` // of the key that signed it
	Certificate Certificate `json:"certificate"`
}

// Discard destroys stage, ledger, snapshots, keys and temporary files of the project in
// dir and leaves a signed certificate. Killed half-way, it goes on when it is called
// again. The settings, transforms and source files stay.
func Discard(ctx context.Context, dir string, o DiscardOptions, open Options) (Discarded, error) {
	p, err := Open(ctx, dir, NoSchema, open)
	if err != nil {
		return Discarded{}, err
	}
	draft := filepath.Join(p.Config.Dir, draftFile)
	c, err := readDraft(draft)
	if err != nil {
		return Discarded{}, err
	}
	if c == nil {
		if c, err = p.draft(ctx, o, open); err != nil {
			return Discarded{}, err
		}
		if err := keepNote(draft, c); err != nil {
			return Discarded{}, err
		}
	}
	if err := p.destroy(ctx, c); err != nil {
		return Discarded{}, fmt.Errorf("%w\nrun `dvmigrate discard` again: it goes on where it was", err)
	}
	c.Ended = time.Now().UTC().Truncate(time.Second)
	out := o.Certificate
	if out == "" {
		out = filepath.Join(p.Config.Dir, "discarded-"+p.Config.Name+".json")
	}
	print, err := writeCertificate(out, *c)
	if err != nil {
		return Discarded{}, fmt.Errorf("write the certificate: %w", err)
	}
	if err := os.Remove(draft); err != nil {
		return Discarded{}, err
	}
	return Discarded{File: out, Fingerprint: print, Certificate: *c}, nil
}

func readDraft(path string) (*Certificate, error) {
	var c Certificate
	switch there, err := readNote(path, &c); {
	case !there && err == nil:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s, which a discard that was stopped has left, is damaged: %w; remove it to begin anew", path, err)
	}
	return &c, nil
}

// draft finds out what there is to destroy, and whether it may be.
func (p *Project) draft(ctx context.Context, o DiscardOptions, open Options) (*Certificate, error) {
	c := &Certificate{Version: 1, Project: p.Config.Name, Folder: p.Config.Dir, Tool: p.o.Version, Begun: time.Now().UTC().Truncate(time.Second),
		Tables: []TableStatus{}, Destroyed: []DestroyedFile{}, Snapshots: []DestroyedFolder{}}
	c.Host, _ = os.Hostname()
	if u, err := osuser.Current(); err == nil {
		c.User = u.Username
	}
	objections, err := p.objections(ctx, c, open)
	if err != nil {
		return nil, err
	}
	places := p.snapshotPlaces(o.Also)
	for _, dir := range places {
		found, err := p.snapshotFolder(ctx, dir, open)
		if err != nil {
			return nil, err
		}
		if c.Snapshots = append(c.Snapshots, found); found.Absent {
			objections = append(objections, "there is no folder "+dir+" with snapshots (is the share mounted?)")
		}
	}
	if len(objections) > 0 && !o.Force {
		return nil, fmt.Errorf("nothing was destroyed: %s\n--force destroys all the same, and the certificate says so", strings.Join(objections, "; "))
	}
	c.Forced = strings.Join(objections, "; ")
	if err := o.Confirm(p.Config.Name); err != nil {
		return nil, err
	}
	if err := p.noteDiscard(ctx, c, open); err != nil && !o.Force {
		return nil, fmt.Errorf("%w\nnothing was destroyed; --force destroys without a note in the audit trail", err)
	}
	if err := p.list(ctx, c, places); err != nil {
		return nil, err
	}
	return c, nil
}

// noteDiscard notes in the audit trail that all is about to be destroyed: who finds a copy of
// the ledger later, or a discard that was killed at once, reads it there.
func (p *Project) noteDiscard(ctx context.Context, c *Certificate, open Options) error {
	if c.Set == "" { // the project cannot be opened
		return nil
	}
	live, err := Open(ctx, p.Config.Dir, Loading, open)
	if err != nil {
		return err
	}
	defer live.Close()
	if _, err := live.note(ctx, NewHappened("discard", open.Args, c.Begun, nil, "confirmed: all is destroyed now")); err != nil {
		return err
	}
	c.AuditHead = live.ledger.AuditHead().String()
	return nil
}

// objections fills in how the migration stands, and says why it should not be discarded.
func (p *Project) objections(ctx context.Context, c *Certificate, open Options) ([]string, error) {
	live, err := Open(ctx, p.Config.Dir, Loading, open)
	var inUse *InUseError
	if errors.As(err, &inUse) || ctx.Err() != nil {
		return nil, err
	}
	if err != nil { // nothing staged, damaged, another version: it can be destroyed all the same
		return []string{"the project cannot be opened (" + strings.SplitN(err.Error(), "\n", 2)[0] + ")"}, nil
	}
	defer live.Close()
	s, err := live.Status(ctx)
	if err != nil {
		return nil, err
	}
	c.Summary, c.Tables, c.Set = s.Summary, s.Tables, hex.EncodeToString(live.set[:])
	if head := live.ledger.AuditHead(); head.Seq > 0 {
		c.AuditHead = head.String()
	}
	if c.Generation, err = live.stage.Meta(ctx, "generation"); err != nil {
		return nil, err
	}
	last, err := p.Reconciled()
	var objections []string
	switch {
	case err != nil:
		objections = append(objections, err.Error())
	case last == nil:
		objections = append(objections, "it was never compared with the target (dvmigrate reconcile)")
	case !last.Holds(c.Generation, c.Summary):
		objections = append(objections, "it was staged or loaded since it was last compared with the target (dvmigrate reconcile)")
	case !last.Pass:
		objections = append(objections, fmt.Sprintf("the last comparison with the target found %d mismatches", last.Mismatches))
	default:
		c.Reconciled = &last.Time
	}
	if n := c.Summary.Unprocessed + c.Summary.InFlight + c.Summary.Success; n > 0 {
		objections = append(objections, progress.Counted(n, "record", "is", "are")+" not done (dvmigrate load)")
	}
	return objections, nil
}

// snapshotPlaces are the places of snapshots, each once.
func (p *Project) snapshotPlaces(also []string) []string {
	places := append([]string{p.Config.Path(p.Config.Snapshots.To)}, p.copies()...)
	for _, dir := range also {
		if backup.Distant(dir) {
			places = append(places, dir)
		} else if abs, err := filepath.Abs(dir); err == nil {
			places = append(places, abs)
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// snapshotFolder counts the snapshots in a folder, and refuses another project's.
func (p *Project) snapshotFolder(ctx context.Context, dir string, open Options) (DestroyedFolder, error) {
	f := DestroyedFolder{Path: dir}
	// The folder beside the project is made by the first snapshot; others are stated.
	if !backup.Distant(dir) && !exists(dir) {
		f.Absent = dir != p.Config.Path(p.Config.Snapshots.To)
		return f, nil
	}
	keys, err := keyring(p.Config, KeySource{}, open.Env)
	if err != nil {
		return f, err
	}
	place, err := reach(ctx, dir, "", p.Config, open.Env)
	if err != nil {
		return f, err
	}
	defer place.Close()
	list, err := place.List(ctx, keys)
	if err != nil {
		return f, err
	}
	for _, s := range list {
		var meta snapshotMeta
		if json.Unmarshal(s.Meta, &meta) == nil && meta.Project != "" && meta.Project != p.Config.Name {
			return f, fmt.Errorf("nothing was destroyed: %s has a snapshot of another project, %s; move that away first", dir, meta.Project)
		}
		f.Snapshots++
		if s.Encrypted {
			f.Encrypted++
		}
	}
	return f, nil
}

// list writes down every file that is to be destroyed, keys first: from then on what was
// encrypted with them cannot be read, wherever else there is a copy of it.
func (p *Project) list(ctx context.Context, c *Certificate, places []string) error {
	key := filepath.Join(p.work(), keptKeyFile)
	if info, err := os.Stat(key); err == nil {
		c.Destroyed = append(c.Destroyed, DestroyedFile{Path: key, Kind: "key", Size: info.Size()})
	}
	for _, dir := range places {
		if backup.Distant(dir) {
			if err := p.listDistant(ctx, c, dir); err != nil {
				return err
			}
			continue
		}
		names, err := backup.Contents(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := addDestroyed(ctx, c, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return filepath.WalkDir(p.work(), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || path == key {
			return err
		}
		return addDestroyed(ctx, c, path)
	})
}

func addDestroyed(ctx context.Context, c *Certificate, path string) error {
	if slices.ContainsFunc(c.Destroyed, func(f DestroyedFile) bool { return f.Path == path }) {
		return nil // the snapshots lie in the work folder
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, reading{ctx, f})
	if err != nil {
		return err
	}
	c.Destroyed = append(c.Destroyed, DestroyedFile{Path: path, Kind: kindOf(path), Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// reading ends a long read when its context does.
type reading struct {
	ctx context.Context
	r   io.Reader
}

func (r reading) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(b)
}

func kindOf(path string) string {
	name := filepath.Base(path)
	switch {
	case strings.HasSuffix(name, ".manifest"):
		return "manifest"
	case strings.HasSuffix(name, ".pack"):
		return "pack"
	case strings.HasPrefix(name, "stage.duckdb.tmp"), strings.HasSuffix(name, ".tmp"):
		return "temporary"
	case strings.HasPrefix(name, "stage.duckdb"):
		return "stage"
	case strings.HasPrefix(name, "ledger.bolt"):
		return "ledger"
	case name == undoFile:
		return "former values"
	}
	return "other"
}

// destroy removes the files of the certificate, in its order, and what is then empty. A
// file that is gone was removed before the last kill.
func (p *Project) destroy(ctx context.Context, c *Certificate) error {
	for _, f := range c.Destroyed {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if f.Kind == "key" {
			if err := overwrite(f.Path, f.Size); err != nil {
				return err
			}
		}
		if backup.Distant(f.Path) {
			continue
		}
		if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("destroy: %w", err)
		}
	}
	for _, s := range c.Snapshots {
		if backup.Distant(s.Path) {
			if err := p.destroyDistant(ctx, c, s.Path); err != nil {
				return err
			}
			continue
		}
		_ = os.Remove(s.Path) // only when it is empty
	}
	if err := os.RemoveAll(p.work()); err != nil { // sockets, empty folders
		return fmt.Errorf("destroy: %w", err)
	}
	if temp := p.Config.Stage.Temp; temp != "" {
		left, _ := filepath.Glob(filepath.Join(p.Config.Path(temp), "stage.duckdb.tmp*"))
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("destroy: %w", err)
			}
		}
	}
	return nil
}

// overwrite writes zeros over a key. A disk may keep the old block all the same; that is
// why the project belongs on an encrypted volume.
func overwrite(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("destroy: %w", err)
	}
	_, err = f.Write(make([]byte, size))
	return errors.Join(err, f.Sync(), f.Close())
}

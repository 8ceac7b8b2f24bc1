package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"dvmigrate/backup/archive"
)

// Take takes a snapshot of the parts, in their order, and then removes the snapshots
// that o.Keep does not ask for. When it returns an error there is no new snapshot and
// the earlier ones are as they were. Trouble in removing old ones does not undo a
// snapshot: it is logged, and the next Take tries again.
func Take(ctx context.Context, o Options, parts ...part) (Snapshot, error) {
	began := time.Now()
	m, err := take(ctx, &o, parts)
	if err != nil {
		return Snapshot{}, fmt.Errorf("take snapshot (earlier ones are unharmed): %w", err)
	}
	s := describe(m)
	o.logger().Info("snapshot taken", "id", s.ID, "bytes", s.Size, "added", s.Added,
		"seconds", time.Since(began).Seconds())
	return s, nil
}

func take(ctx context.Context, o *Options, parts []part) (*archive.Manifest, error) {
	if len(parts) == 0 {
		return nil, errors.New("there is nothing to take it of")
	}
	meta, err := encodeMeta(o.Meta)
	if err != nil {
		return nil, err
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, err
	}
	unlock, err := archive.Lock(o.Dir, true)
	if err != nil {
		return nil, err
	}
	defer unlock()
	store := o.store()
	if err := store.Sweep(); err != nil {
		return nil, err
	}
	id, err := nextID(store)
	if err != nil {
		return nil, err
	}
	w, err := store.Create(id)
	if err != nil {
		return nil, err
	}
	m, err := write(ctx, store, w, parts, meta)
	if err != nil {
		w.Abort()
		return nil, err
	}
	if _, err := prune(store, o); err != nil {
		o.logger().Warn("old snapshots could not be removed", "error", err)
	}
	return m, nil
}

func encodeMeta(meta any) (json.RawMessage, error) {
	if meta == nil {
		return nil, nil
	}
	b, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return b, nil
}

// makeDir makes the folder, and its name durable, if it is not there.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make snapshot folder: %w", err)
	}
	if err := (archive.OS{}).SyncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return fmt.Errorf("make snapshot folder: %w", err)
	}
	return nil
}

// nextID returns an ID that sorts after all others, also when the clock was set back:
// the newest snapshot is the one with the greatest ID.
func nextID(store *archive.Store) (string, error) {
	ids, err := store.IDs()
	if err != nil {
		return "", err
	}
	now := time.Now()
	if len(ids) > 0 {
		newest, _ := archive.TimeOf(ids[0])
		if after := newest.Add(time.Millisecond); now.Before(after) {
			now = after
		}
	}
	return archive.NewID(now), nil
}

func write(ctx context.Context, store *archive.Store, w *archive.Writer, parts []part, meta json.RawMessage) (*archive.Manifest, error) {
	for _, p := range parts {
		if err := writePart(ctx, store, w, p); err != nil {
			return nil, fmt.Errorf("copy part %q: %w", p.Name(), err)
		}
	}
	return w.Commit(ctx, meta)
}

func writePart(ctx context.Context, store *archive.Store, w *archive.Writer, p part) error {
	spec := archive.PartSpec{Name: p.Name()}
	if f, ok := p.(interface{ FirstChunk() int }); ok {
		spec.FirstChunk = f.FirstChunk()
	}
	if f, ok := p.(interface{ Fingerprint() string }); ok {
		// Before the copy: a change during it must not pass for the state copied.
		spec.Fingerprint = f.Fingerprint()
	}
	if spec.Fingerprint != "" {
		reused, err := reusePart(ctx, store, w, spec)
		if reused || err != nil {
			return err
		}
	}
	return w.WritePart(ctx, spec, func(to io.Writer) error { return p.SnapshotTo(ctx, to) })
}

// reusePart takes a part over from the newest snapshot that has it, if its fingerprint
// is still the same.
func reusePart(ctx context.Context, store *archive.Store, w *archive.Writer, spec archive.PartSpec) (bool, error) {
	ids, err := store.IDs()
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		m, err := store.Manifest(id)
		if err != nil {
			continue // a damaged snapshot is no reason not to take a good one
		}
		if p, err := m.Part(spec.Name); err == nil {
			if p.Fingerprint != spec.Fingerprint {
				return false, nil
			}
			return w.ReusePart(ctx, m, p)
		}
	}
	return false, nil
}

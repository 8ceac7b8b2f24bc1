package backup

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dvmigrate/backup/archive"
)

// blob is a part in memory that can be restored.
type blob struct {
	name        string
	data        []byte
	fingerprint string
	first       int
	taken       int // calls of SnapshotTo
	restored    int // calls of RestoreFrom
}

func (b *blob) Name() string        { return b.name }
func (b *blob) Fingerprint() string { return b.fingerprint }
func (b *blob) FirstChunk() int     { return b.first }

func (b *blob) SnapshotTo(_ context.Context, w io.Writer) error {
	b.taken++
	_, err := w.Write(b.data)
	return err
}

func (b *blob) RestoreFrom(_ context.Context, r io.Reader) error {
	b.restored++
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	b.data = data
	return nil
}

// single is a part that is one file, which nobody else has open.
type single struct{ name, path string }

func (s *single) Name() string { return s.name }

func (s *single) SnapshotTo(_ context.Context, w io.Writer) error {
	from, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(w, from)
	return err
}

func (s *single) RestoreFrom(_ context.Context, r io.Reader) error {
	return archive.WriteFile(archive.OS{}, s.path, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// Verify reads a snapshot of a folder.
func Verify(ctx context.Context, dir, id string, keys *Keyring, sample int) (Snapshot, error) {
	return (&Place{name: dir, dir: dir}).Verify(ctx, id, keys, sample)
}

// noise returns n bytes that do not compress, the same for the same seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// mustTake takes a snapshot that must succeed.
func mustTake(t testing.TB, o Options, parts ...part) Snapshot {
	t.Helper()
	s, err := Take(context.Background(), o, parts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restored returns the content of one part of a snapshot.
func restored(t testing.TB, dir, id, name string) []byte {
	t.Helper()
	b := &blob{name: name}
	if _, err := restoreFrom(context.Background(), dir, id, nil, b); err != nil {
		t.Fatal(err)
	}
	return b.data
}

// checkFolder requires that the folder holds whole snapshots, the packs they need, the
// lock, and nothing else; and that the snapshots verify.
func checkFolder(t testing.TB, dir string) {
	t.Helper()
	all, err := listIn(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"lock"}
	store := archive.Open(dir, archive.OS{}, nil)
	for _, s := range all {
		if _, err := Verify(context.Background(), dir, s.ID, nil, 1); err != nil || s.Fault != nil {
			t.Errorf("snapshot %s: %v, %v", s.ID, s.Fault, err)
			continue
		}
		want = append(want, s.ID+".manifest")
		m, err := store.Manifest(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Packs {
			want = append(want, p.ID+".pack")
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if got := fileNames(t, dir); !slices.Equal(got, want) {
		t.Errorf("folder holds\n%s\nand should\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func fileNames(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// copyFolder returns a new folder with the same files.
func copyFolder(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "snapshots")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// damaged returns err as a *DamagedError.
func damaged(t testing.TB, err error) *DamagedError {
	t.Helper()
	var d *DamagedError
	if !errors.As(err, &d) {
		t.Fatalf("got %v, want a DamagedError", err)
	}
	return d
}

// restoreFrom is Place.Restore of a folder.
func restoreFrom(ctx context.Context, dir, id string, keys *Keyring, to ...restorer) (Snapshot, error) {
	return (&Place{name: dir, dir: dir}).Restore(ctx, id, keys, to...)
}

// listIn are the snapshots in a folder. One that does not exist has none.
func listIn(dir string, keys *Keyring) ([]Snapshot, error) {
	store := archive.Open(dir, archive.OS{}, keys)
	return list(store, store.CheckPacks)
}

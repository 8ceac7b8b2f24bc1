package backup

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"dvmigrate/backup/archive"
)

func TestCopyIsASnapshotFolder(t *testing.T) {
	ctx := context.Background()
	o := Options{Dir: t.TempDir(), Keep: Retention{Last: 2}}
	to := filepath.Join(t.TempDir(), "share", "crm")
	stage := &blob{name: "stage", data: noise(1, 3<<20)}
	var copied []int64
	var ids []string
	for i := range 4 {
		stage.data = bytes.Clone(stage.data)
		stage.data[i<<18] ^= 1 // one chunk
		s := mustTake(t, o, stage)
		n, err := Copy(ctx, o, s.ID, to)
		if err != nil {
			t.Fatal(err)
		}
		copied, ids = append(copied, n), append(ids, s.ID)
		checkFolder(t, to)
		if !bytes.Equal(restored(t, to, s.ID, "stage"), stage.data) {
			t.Errorf("copy %d comes back different", i)
		}
	}
	if copied[0] < 3<<20 || copied[3] > 1<<19 {
		t.Errorf("copied %v bytes", copied)
	}
	all, err := listIn(to, nil)
	if err != nil || len(all) != 2 || all[0].ID != ids[3] {
		t.Errorf("there are %v, %v", all, err)
	}
	if n, err := Copy(ctx, o, ids[3], to); n != 0 || err != nil {
		t.Errorf("again: %d bytes, %v", n, err)
	}
	os.RemoveAll(to) // the share was lost: the next copy brings all that its snapshot needs
	if _, err := Copy(ctx, o, ids[3], to); err != nil {
		t.Fatal(err)
	}
	checkFolder(t, to)
}

// The folder that is copied from was lost and begins anew: what the copy has stays.
func TestCopyKeepsWhatTheFolderHasLost(t *testing.T) {
	ctx := context.Background()
	to := t.TempDir()
	keep := Retention{Last: 2}
	first := Options{Dir: t.TempDir(), Keep: keep}
	var old, older Snapshot
	synctest.Test(t, func(t *testing.T) { // in the year 2000: before the third, however fast the machine
		old = mustTake(t, first, &blob{name: "a", data: noise(1, 1000)})
		older = mustTake(t, first, &blob{name: "a", data: noise(2, 1000)})
	})
	for _, s := range []Snapshot{old, older} {
		if _, err := Copy(ctx, first, s.ID, to); err != nil {
			t.Fatal(err)
		}
	}
	second := Options{Dir: t.TempDir(), Keep: keep}
	s := mustTake(t, second, &blob{name: "a", data: noise(3, 1000)})
	if _, err := Copy(ctx, second, s.ID, to); err != nil {
		t.Fatal(err)
	}
	checkFolder(t, to)
	all, err := listIn(to, nil)
	if err != nil || len(all) != 2 || all[1].ID != older.ID {
		t.Errorf("there are %v, %v", all, err)
	}
}

func TestCopyThatStopsIsInvisibleAndGoesOn(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := mustTake(t, o, &blob{name: "a", data: noise(1, 1<<20)})
	to := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Copy(ctx, o, s.ID, to); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), to) {
		t.Errorf("stopped: %v", err)
	}
	if all, err := listIn(to, nil); err != nil || len(all) != 0 {
		t.Errorf("a copy that was stopped shows: %v, %v", all, err)
	}
	// Killed in the middle of the pack, and right before the manifest.
	if err := os.WriteFile(filepath.Join(to, s.ID+".pack.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(context.Background(), o, s.ID, to); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, s.ID+".manifest")); err != nil {
		t.Fatal(err)
	}
	if n, err := Copy(context.Background(), o, s.ID, to); err != nil || n > 1<<16 {
		t.Errorf("goes on with %d bytes, %v", n, err)
	}
	checkFolder(t, to)
	unlock, err := archive.Lock(to, true)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := Copy(context.Background(), o, s.ID, to); !errors.Is(err, ErrLocked) {
		t.Errorf("in use: %v", err)
	}
}

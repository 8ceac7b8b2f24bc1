package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"syscall"
	"testing"
)

// The same as TestFullDisk, on a disk that really is full.
func TestFullDiskForReal(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	o := Options{Dir: filepath.Join(mount, "snapshots")}
	old := noise(1, 600_000)
	mustTake(t, o, &blob{name: "ledger", data: old})
	if _, err := Take(context.Background(), o, &blob{name: "ledger", data: noise(2, 3_000_000)}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	checkFolder(t, o.Dir)
	if !bytes.Equal(restored(t, o.Dir, "", "ledger"), old) {
		t.Error("the old snapshot comes back different")
	}
	mustTake(t, o, &blob{name: "ledger", data: noise(3, 900_000)}) // there is room again
}

// A pipe would make the snapshot wait for somebody who writes to it.
func TestPipeIsNotTaken(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Files("config", root, []string{"pipe"}).SnapshotTo(context.Background(), io.Discard); err == nil {
		t.Error("a pipe was taken")
	}
}

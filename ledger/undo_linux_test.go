package ledger

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestUndoOnAFullDisk: what does not find room is refused, as is everything after it, and all that was said to be
// durable is there when there is room again.
func TestUndoOnAFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	defer syscall.Unmount(disk, 0)
	path, filler := filepath.Join(disk, "undo"), filepath.Join(disk, "filler")
	must(t, os.WriteFile(filler, make([]byte, 256<<10), 0o600))
	u := undoAt(t, path, 1)
	rnd := rand.NewChaCha8([32]byte{})
	var err error
	kept := uint32(0)
	for ; err == nil && kept < 1000; kept++ {
		had := make([]byte, 3000) // that does not shrink
		_, _ = rnd.Read(had)
		err = u.Keep("account", FoundNot, []Image{{Seq: kept, Had: had, Wrote: []byte("w")}})
	}
	kept-- // the last was refused
	if !errors.Is(err, ErrFull) || kept < 10 {
		t.Fatalf("after %d images: %v", kept, err)
	}
	must(t, os.Remove(filler))
	if err := u.Claimed("account", Insert, []Range{{5, 6}}); !errors.Is(err, ErrFull) {
		t.Errorf("behind what may be half written something was added: %v", err)
	}
	must(t, u.Close())
	u = undoAt(t, path, 1)
	must(t, u.Keep("account", FoundNot, []Image{{Seq: kept, Had: []byte("h"), Wrote: []byte("w")}}))
	must(t, u.Close())
	u, err = ReadUndo(path, [16]byte{7}, Journaled{})
	must(t, err)
	if c := u.Since(1, "account"); c.Changed.Len() != int(kept)+1 || c.Made.Len() > 0 || len(u.Damages()) > 0 || len(images(t, u, 1, "account", Range{0, 1000})) != int(kept)+1 {
		t.Errorf("%d images are there, want %d; damaged is %v", c.Changed.Len(), kept+1, u.Damages())
	}
}

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var mounting struct {
	once sync.Once
	ok   bool
}

// canMount reports whether this process may mount a file system, as root may in most
// places.
func canMount(t *testing.T) bool {
	mounting.once.Do(func() {
		dir := filepath.Join(t.TempDir(), "probe")
		if os.Mkdir(dir, 0o700) == nil && syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m") == nil {
			mounting.ok = true
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	return mounting.ok
}

func cmdTmpfs(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "tmpfs DIR SIZE")
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// hasVolumes reports whether this process may make a file system in a file.
func hasVolumes(t *testing.T) bool {
	for _, program := range []string{"mkfs.ext4", "e2fsck", "losetup", "findmnt"} {
		if _, err := exec.LookPath(program); err != nil {
			return false
		}
	}
	return canMount(t) && exec.Command("losetup", "--find").Run() == nil
}

func cmdVolume(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "volume DIR SIZE|readonly|again")
	dir := ts.MkAbs(args[0])
	image := dir + ".img"
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			ts.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	mount := func() { run("mount", "-o", "loop,errors=remount-ro", image, dir) }
	switch args[1] {
	case "readonly": // as the system does it when the disk has a fault
		device := filepath.Base(run("findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint", dir))
		ts.Check(os.WriteFile(filepath.Join("/sys/fs/ext4", device, "trigger_fs_error"), []byte("1"), 0))
	case "again":
		run("umount", dir)
		_ = exec.Command("e2fsck", "-fy", image).Run() // its status says that it has repaired something
		mount()
	default:
		ts.Check(os.MkdirAll(dir, 0o700))
		run("truncate", "--size", args[1], image)
		run("mkfs.ext4", "-q", image)
		mount()
		ts.Defer(func() { _ = exec.Command("umount", "--lazy", dir).Run() })
	}
}

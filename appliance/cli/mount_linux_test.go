package cli

import (
	"os"
	"path/filepath"
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

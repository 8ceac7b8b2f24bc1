package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// defaultLockTimeout is how long Open waits for another process when Options say nothing.
const defaultLockTimeout = time.Second

// errPanicked marks an ErrDamaged that came as a panic: bbolt may then hold its own locks for ever.
var errPanicked = errors.New("bbolt panicked")

// guard runs fn and turns a panic of bbolt, which panics on damaged pages, and a fault on the mapped
// file into ErrDamaged.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %w: %v", ErrDamaged, errPanicked, r)
		}
	}()
	return fn()
}

// boltOptions are those of engines.md II 3: freelist as a map and on disk, a large map so that the writer
// need not remap under a reader (on Windows it would grow the file).
func boltOptions(o Options, f *os.File) *bolt.Options {
	mmap := 0
	if runtime.GOOS != "windows" && strconv.IntSize == 64 {
		mmap = 1 << 30
	}
	return &bolt.Options{
		Timeout:         o.lockTimeout(),
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mmap,
		MaxSize:         int(o.MaxSize),
		ReadOnly:        o.ReadOnly,
		NoStatistics:    true,
		OpenFile:        func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	}
}

// errReplaced: the file was replaced while its lock was waited for.
var errReplaced = errors.New("file was replaced")

// openBolt opens an existing file: lock, check of the page structure by plain reads, and only then bbolt,
// which would crash on a structure that is broken. On an error the file is closed and unchanged.
func openBolt(ctx context.Context, path string, o Options) (*bolt.DB, *os.File, error) {
	for {
		db, f, err := tryOpenBolt(ctx, path, o)
		if !errors.Is(err, errReplaced) {
			return db, f, err
		}
	}
}

func tryOpenBolt(ctx context.Context, path string, o Options) (_ *bolt.DB, _ *os.File, err error) {
	mode := os.O_RDWR
	if o.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = abandon(f) // also when bbolt panicked in the middle
		}
	}()
	if err := waitLock(ctx, f, !o.ReadOnly, o.lockTimeout()); err != nil {
		return nil, nil, err
	}
	if same, err := isAt(f, path); err != nil {
		return nil, nil, err
	} else if !same { // a restore or a compaction came first, and its lock is of the old file
		return nil, nil, errReplaced
	}
	if err := verifyPages(f); err != nil {
		return nil, nil, err
	}
	handOverLock(f)
	var db *bolt.DB
	err = guard(func() error {
		db, err = bolt.Open(path, 0, boltOptions(o, f))
		if errors.Is(err, berrors.ErrTimeout) {
			return ErrLocked
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return db, f, nil
}

// isAt reports whether the open file f is still the one at path.
func isAt(f *os.File, path string) (bool, error) {
	ours, err1 := f.Stat()
	there, err2 := os.Stat(path)
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	return os.SameFile(ours, there), nil
}

// closeBolt closes db and its file f; cause is why, or nil.
func closeBolt(db *bolt.DB, f *os.File, cause error) error {
	if errors.Is(cause, errPanicked) {
		return abandon(f)
	}
	return db.Close()
}

// abandon gives up a file that bbolt may still have mapped and locked.
func abandon(f *os.File) error {
	return errors.Join(unlock(f), f.Close())
}

// waitLock takes the lock that bbolt will take, so that nobody writes while the pages are verified.
func waitLock(ctx context.Context, f *os.File, exclusive bool, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, ErrLocked)
	defer cancel()
	for {
		held, err := tryLock(f, exclusive)
		if err != nil {
			return fmt.Errorf("lock ledger: %w", err)
		}
		if held {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// create makes a new ledger under a temporary name and gives it its own when it is whole and on disk
// (bbolt's own initialization is not atomic, etcd-io/bbolt#567). When another process was faster, its
// file stays and create is content.
func create(path string, set [16]byte) (err error) {
	temp, err := tempFile(path)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	db, err := bolt.Open(temp, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType, Timeout: time.Second})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error { return initialize(tx, set) })
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	switch err := os.Link(temp, path); {
	case err == nil || errors.Is(err, fs.ErrExist):
	default: // a file system without hard links
		if err := os.Rename(temp, path); err != nil {
			return err
		}
	}
	return syncDir(path)
}

// tempFile makes an empty file beside path and returns its name.
func tempFile(path string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// syncDir makes a rename or link in path's folder durable. Windows has no such thing.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// classify gives the errors of the disk and of bbolt the names of this package.
func classify(err error) error {
	if errors.Is(err, berrors.ErrMaxSizeReached) || errors.Is(err, errDiskFull) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

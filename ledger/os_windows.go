package ledger

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// errDiskFull is the system's error for a full disk.
const errDiskFull = windows.ERROR_DISK_FULL

// lockRegion is the byte that bbolt locks (bolt_windows.go, flock).
func lockRegion() *windows.Overlapped {
	return &windows.Overlapped{Offset: 1<<32 - 1, OffsetHigh: 1<<32 - 1}
}

// tryLock takes the lock that bbolt uses.
func tryLock(f *os.File, exclusive bool) (held bool, err error) {
	var flags uint32 = windows.LOCKFILE_FAIL_IMMEDIATELY
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, lockRegion())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// handOverLock gives the lock free for bbolt to take: unlike flock, a handle cannot lock a region twice.
// In the gap another process may come first; then bbolt finds the file locked.
func handOverLock(f *os.File) { _ = unlock(f) }

// unlock gives the lock free.
func unlock(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, lockRegion())
}

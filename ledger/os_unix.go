//go:build unix

package ledger

import (
	"errors"
	"os"
	"syscall"
)

// errDiskFull is the system's error for a full disk.
const errDiskFull = syscall.ENOSPC

// tryLock takes the flock that bbolt uses. bbolt gets the same open file and takes it once more, which
// flock allows, so it is held without a gap.
func tryLock(f *os.File, exclusive bool) (held bool, err error) {
	how := syscall.LOCK_NB | syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_NB | syscall.LOCK_EX
	}
	err = syscall.Flock(int(f.Fd()), how)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// handOverLock prepares for bbolt taking the lock.
func handOverLock(*os.File) {}

// unlock gives the lock free. Closing the file is not enough: a mapping that bbolt left keeps it open.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

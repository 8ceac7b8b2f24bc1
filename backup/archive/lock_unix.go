//go:build unix

package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Lock takes the folder for one call that changes it (exclusive), or for reading
// beside other readers. It never waits: while another holder is in the way the error
// wraps ErrLocked. The lock is the operating system's and ends with the process, so
// one left by a crash is no obstacle; the file itself stays. A reader of a folder
// without a lock file, such as a copy on a read-only medium, needs no lock.
func Lock(dir string, exclusive bool) (unlock func(), err error) {
	name := filepath.Join(dir, lockName)
	flag, how := os.O_RDONLY, syscall.LOCK_SH
	if exclusive {
		flag, how = os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if !exclusive && errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock snapshot folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if err == nil {
		return func() { f.Close() }, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

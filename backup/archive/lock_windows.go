package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// errSharingViolation is ERROR_SHARING_VIOLATION of the Windows API.
const errSharingViolation = syscall.Errno(32)

// Lock takes the folder for one call that changes it (exclusive), or for reading
// beside other readers. It never waits: while another holder is in the way the error
// wraps ErrLocked. The lock is the open handle's share mode and ends with the
// process, so one left by a crash is no obstacle; the file itself stays. A reader of a
// folder without a lock file, such as a copy on a read-only medium, needs no lock.
func Lock(dir string, exclusive bool) (unlock func(), err error) {
	name, err := syscall.UTF16PtrFromString(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("lock snapshot folder: %w", err)
	}
	access, share, create := uint32(syscall.GENERIC_READ), uint32(syscall.FILE_SHARE_READ), uint32(syscall.OPEN_EXISTING)
	if exclusive {
		access, share, create = syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, syscall.OPEN_ALWAYS
	}
	h, err := syscall.CreateFile(name, access, share, nil, create, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case err == nil:
		return func() { syscall.CloseHandle(h) }, nil
	case !exclusive && errors.Is(err, os.ErrNotExist):
		return func() {}, nil
	case errors.Is(err, errSharingViolation):
		err = ErrLocked
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

//go:build unix

package emulator

import (
	"errors"
	"os"
	"syscall"
)

// lockState keeps other processes out of the state file for as long as it is open.
func lockState(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errStateTaken
	}
	return err
}

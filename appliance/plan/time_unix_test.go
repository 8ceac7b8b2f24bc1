//go:build unix

package plan

import (
	"syscall"
	"time"
)

// processTime is the CPU time that this process has taken.
func processTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

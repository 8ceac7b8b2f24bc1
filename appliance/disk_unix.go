//go:build linux || darwin

package appliance

import "golang.org/x/sys/unix"

// diskOf is what is left on a folder's disk, and its size; -1 where it cannot be told.
func diskOf(folder string) (left, size int64) {
	var s unix.Statfs_t
	if unix.Statfs(folder, &s) != nil {
		return -1, -1
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize)
}

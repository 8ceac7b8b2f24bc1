//go:build unix

package duckstage

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// fileNumber tells a file from another one put in its place, and by the time of its last
// change of any kind from itself with its other times put back.
func fileNumber(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d:%d", st.Dev, st.Ino, changeTime(st))
	}
	return "0"
}

// inode is the file's number, which it keeps for as long as it exists.
func inode(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	return ""
}

// syncFolder makes a rename durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

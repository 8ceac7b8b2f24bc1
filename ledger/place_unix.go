//go:build unix

package ledger

import (
	"os"

	bolt "go.etcd.io/bbolt"
)

// putInPlace gives temp the name of a file that this process holds open and locked. Whoever waits for
// that lock finds out, once he has it, that it is of a file which is gone (openBolt).
func putInPlace(temp, path string, _ *bolt.DB) error {
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(path)
}

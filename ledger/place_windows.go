package ledger

import (
	"os"

	bolt "go.etcd.io/bbolt"
)

// putInPlace gives temp the name of a file that this process holds open: Windows replaces no open file,
// so it is closed first.
func putInPlace(temp, path string, held *bolt.DB) error {
	if err := held.Close(); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

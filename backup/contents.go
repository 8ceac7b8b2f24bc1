package backup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dvmigrate/backup/archive"
)

// Contents returns the names of the files that make a snapshot folder, in the order in
// which they are to be destroyed: manifests first, because without them, which carry the
// wrapped data key, encrypted packs are lost already; the lock last. Other files are not
// among them. A folder that does not exist has none.
func Contents(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if rank(e.Name()) < other {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, destruction)
	return names, nil
}

// other is the rank of what is no part of a snapshot folder.
const other = 3

// rank orders the files of a snapshot folder.
func rank(name string) int {
	base := strings.TrimSuffix(name, ".tmp")
	switch _, manifest := archive.IDOfManifest(base); {
	case manifest:
		return 0
	case archive.IsPack(base):
		return 1
	case filepath.Base(name) == "lock":
		return 2
	}
	return other
}

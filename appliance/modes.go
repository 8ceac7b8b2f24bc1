package appliance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"dvmigrate/backup"
)

// ownerOnly refuses a file or folder that others than its owner can read or write. On
// Windows the folder's permissions decide, which are not looked at.
func ownerOnly(path string) error {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" {
		return err
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return fmt.Errorf("%s is open to others than its owner (%v); run: chmod %s %q", path, info.Mode(), closed(info.Mode()), path)
	}
	return nil
}

// closed is the chmod argument that closes a file to others.
func closed(mode fs.FileMode) string {
	if mode.IsDir() {
		return "700"
	}
	return "600"
}

// openToOthers lists what holds the customers' data, or what protects it, and is open to
// others than its owner, with the command that closes it: the work folder and all in it,
// and the snapshot folders.
func (p *Project) openToOthers() []string {
	return openToOthers(p.work(), append([]string{p.Config.Path(p.Config.Snapshots.To)}, p.copies()...))
}

func openToOthers(work string, snapshots []string) []string {
	var found []string
	check := func(path string) {
		if err := ownerOnly(path); err != nil && !os.IsNotExist(err) {
			found = append(found, err.Error())
		}
	}
	// What lies in a closed folder is closed: nobody gets there.
	if check(work); len(found) > 0 {
		entries, _ := os.ReadDir(work)
		for _, e := range entries {
			if e.Type().IsRegular() || e.IsDir() {
				check(filepath.Join(work, e.Name()))
			}
		}
	}
	for _, dir := range slices.Compact(snapshots) {
		if backup.Distant(dir) {
			continue // who may read there is the service's to say
		}
		check(dir)
	}
	return found
}

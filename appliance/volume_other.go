//go:build !linux

package appliance

import "runtime"

// volumeOf cannot tell without an administrator's rights.
func volumeOf(dir string) Volume {
	v := Volume{Folder: dir, Encrypted: "unknown", How: "not seen from here"}
	if runtime.GOOS == "windows" {
		v.How = "ask BitLocker: manage-bde -status"
	}
	return v
}

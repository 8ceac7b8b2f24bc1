package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// volumeOf looks whether dm-crypt (LUKS) lies below a folder.
func volumeOf(dir string) Volume {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return Volume{Folder: dir, Encrypted: "unknown", How: err.Error()}
	}
	return volumeOn("/sys", "/proc/self/mountinfo", dir, uint64(st.Dev))
}

// volumeOn does so for a device number; sys and mounts are the kernel's, or a test's.
func volumeOn(sys, mounts, dir string, dev uint64) Volume {
	v := Volume{Folder: dir, Encrypted: "unknown"}
	number := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	if unix.Major(dev) == 0 { // btrfs, overlay and others have numbers of their own
		source := mountSource(mounts, number)
		var st syscall.Stat_t
		if !strings.HasPrefix(source, "/dev/") || syscall.Stat(source, &st) != nil {
			v.How = "its file system (" + source + ") does not say which disk it is on"
			return v
		}
		number = fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	}
	device, err := filepath.EvalSymlinks(filepath.Join(sys, "dev", "block", number))
	if err != nil {
		v.How = "the kernel does not tell of its disk " + number
		return v
	}
	if crypt := cryptBelow(device, 0); crypt != "" {
		v.Encrypted, v.How = "yes", "dm-crypt on "+crypt
		return v
	}
	v.Encrypted, v.How = "no", "no dm-crypt (LUKS) below "+filepath.Base(device)+"; what the disk or the cloud does by itself is not seen from here"
	return v
}

// cryptBelow returns the first device of dm-crypt at or below one, which may lie on
// others: a logical volume, a RAID.
func cryptBelow(device string, depth int) string {
	if b, err := os.ReadFile(filepath.Join(device, "dm", "uuid")); err == nil && strings.HasPrefix(string(b), "CRYPT-") {
		return filepath.Base(device)
	}
	below, _ := filepath.Glob(filepath.Join(device, "slaves", "*"))
	for _, link := range below {
		if next, err := filepath.EvalSymlinks(link); err == nil && depth < 8 {
			if crypt := cryptBelow(next, depth+1); crypt != "" {
				return crypt
			}
		}
	}
	return ""
}

// mountSource returns what is mounted with that device number.
func mountSource(mounts, number string) string {
	b, _ := os.ReadFile(mounts)
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 7 || fields[2] != number {
			continue
		}
		for i, f := range fields { // "-", the type, the source
			if f == "-" && i+2 < len(fields) {
				return fields[i+2]
			}
		}
	}
	return "unknown"
}

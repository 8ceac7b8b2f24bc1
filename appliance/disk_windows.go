package appliance

import "golang.org/x/sys/windows"

// diskOf is what is left on a folder's disk, and its size; -1 where it cannot be told.
func diskOf(folder string) (left, size int64) {
	path, err := windows.UTF16PtrFromString(folder)
	if err != nil {
		return -1, -1
	}
	var mine, all, free uint64
	if windows.GetDiskFreeSpaceEx(path, &mine, &all, &free) != nil {
		return -1, -1
	}
	return int64(mine), int64(all)
}

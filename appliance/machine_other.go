//go:build !linux

package appliance

// These systems are asked for disks only.

func busyTicks() (busy, all float64) { return 0, 0 }

func memoryOf() (total, available, own int64) { return -1, -1, -1 }

func networkBytes() (received, sent float64) { return 0, 0 }

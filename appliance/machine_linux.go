package appliance

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// The kernel's figures of the machine. What a file does not tell is not known.

// busyTicks are the processor's ticks since the start of the machine: busy ones, and all.
func busyTicks() (busy, all float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil || i > 8 { // the first is a name; guests are counted in user time already
			continue
		}
		all += n
		if i != 4 && i != 5 { // idle, waiting for a disk
			busy += n
		}
	}
	return busy, all
}

// memoryOf is the machine's memory, what of it a program may still have, and what this
// process has.
func memoryOf() (total, available, own int64) {
	total, available, own = -1, -1, -1
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		switch {
		case err != nil:
		case f[0] == "MemTotal:":
			total = n << 10
		case f[0] == "MemAvailable:":
			available = n << 10
		}
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := bytes.Fields(b); len(f) > 1 {
			if n, err := strconv.ParseInt(string(f[1]), 10, 64); err == nil {
				own = n * int64(os.Getpagesize())
			}
		}
	}
	return total, available, own
}

// networkBytes are what the machine's network cards have received and sent.
func networkBytes() (received, sent float64) {
	b, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 9 || strings.TrimSpace(name) == "lo" {
			continue
		}
		in, err1 := strconv.ParseFloat(f[0], 64)
		out, err2 := strconv.ParseFloat(f[8], 64)
		if err1 == nil && err2 == nil {
			received, sent = received+in, sent+out
		}
	}
	return received, sent
}

package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockHolders are the processes that hold a lock on a file, as far as the system tells: from
// /proc/locks, of which a line is "1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF".
func lockHolders(path string) []Owner {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	b, err := os.ReadFile("/proc/locks")
	if !ok || err != nil {
		return nil
	}
	var out []Owner
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], fmt.Sprintf(":%d", st.Ino)) {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			out = append(out, processOf(pid))
		}
	}
	return out
}

// processOf says what a process does: its arguments, and since when.
func processOf(pid int) Owner {
	o := Owner{PID: pid}
	dir := fmt.Sprintf("/proc/%d", pid)
	if info, err := os.Stat(dir); err == nil {
		o.Since = info.ModTime()
	}
	b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return o
	}
	_, args, _ := strings.Cut(strings.TrimRight(string(b), "\x00"), "\x00")
	o.Command = strings.ReplaceAll(args, "\x00", " ")
	return o
}

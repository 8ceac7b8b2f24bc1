package duckstage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// DuckDB replays a log beside a file without asking whether it belongs to that file: one
// that was left there when somebody put an older copy back, or another stage's, changes
// the data without a word, and one that is garbage is passed over (engines.md part I, 4).
// So the stage notes, in a small file beside its own, which state of the file the log
// goes with, and compares before DuckDB opens it.

// logNote says which state of the database file its log belongs to.
type logNote struct {
	Number    string `json:"number"`    // fileNumber without its times
	Iteration uint64 `json:"iteration"` // DuckDB counts its CHECKPOINTs
	Checksum  uint64 `json:"checksum"`  // of the header that this CHECKPOINT wrote
}

func notePath(path string) string { return path + ".log" }

// readNote reads the state of a database file: the newer of its two headers of 4,096
// bytes after the first, each with its checksum and then the iteration.
func readNote(f *os.File) (logNote, error) {
	info, err := f.Stat()
	if err != nil {
		return logNote{}, err
	}
	n := logNote{Number: inode(info)}
	for _, at := range []int64{4096, 8192} {
		var b [16]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return logNote{}, err
		}
		if i := binary.LittleEndian.Uint64(b[8:]); i >= n.Iteration {
			n.Iteration, n.Checksum = i, binary.LittleEndian.Uint64(b[:])
		}
	}
	return n, nil
}

// checkLog refuses a log that does not belong to the file at path. It is called before
// DuckDB has the file open.
func checkLog(path string) error {
	log, err := os.Open(logPath(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer log.Close()
	// The first entry gives the version of the log; its kind comes first.
	var head [4]byte
	n, _ := log.ReadAt(head[:], 0)
	if n == 0 {
		return nil // it was just begun
	}
	if !bytes.HasPrefix([]byte{0x64, 0, 0x62, 0x65}, head[:n]) {
		return refuseLog(path, "it is no log of DuckDB's")
	}
	b, err := os.ReadFile(notePath(path))
	var noted logNote
	if err != nil || json.Unmarshal(b, &noted) != nil {
		return nil // a release that left no note was killed here
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return refuseLog(path, "its file is gone")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := readNote(f)
	if err != nil {
		return nil // too short for a header: DuckDB says so better
	}
	// A process that was killed right after a CHECKPOINT had no time to note it.
	later := now.Number == noted.Number && now.Iteration > noted.Iteration
	if now.Iteration == noted.Iteration && now.Checksum == noted.Checksum || later {
		return nil
	}
	return refuseLog(path, fmt.Sprintf("it goes with CHECKPOINT %d of the stage, and the file has another state (%d)", noted.Iteration, now.Iteration))
}

func refuseLog(path, why string) error {
	return fmt.Errorf("open stage: %s: %w: %s", logPath(path), ErrLog, why)
}

// noteLog notes the state of the file, if that is a new one. Where that cannot be
// written, on a full disk say, there is no note, and nothing is compared.
func (s *Stage) noteLog() {
	if s.file == nil || s.ro {
		return
	}
	s.noteMu.Lock()
	defer s.noteMu.Unlock()
	now, err := readNote(s.file)
	if err == nil && s.note == now {
		return
	}
	if err == nil {
		err = writeNote(s.path, now)
	}
	if err != nil {
		os.Remove(notePath(s.path))
		now = logNote{}
	}
	s.note = now
}

func writeNote(path string, n logNote) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	next := notePath(path) + ".next"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		os.Remove(next)
		return err
	}
	return os.Rename(next, notePath(path))
}

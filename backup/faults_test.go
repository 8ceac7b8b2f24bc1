package backup

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"dvmigrate/backup/archive"
)

var errFault = errors.New("fault on order")

// faults are the operating system's files with one fault on order, and with a memory of
// what a power cut would take away: content that was not synced, and creations, renames
// and removals in a folder that was not synced after them.
type faults struct {
	archive.OS
	left  int  // operations that succeed before the fault; negative for no fault
	fatal bool // the machine has stopped: after the fault nothing succeeds
	room  int  // bytes that can be written before the disk is full; negative for any

	tripped bool
	shadow  string           // folder where removed files wait
	synced  map[string]int64 // files written: how much of them has been synced
	undo    []func() error   // for each change of the folder since it was synced
}

func newFaults(t testing.TB, left int, fatal bool) *faults {
	return &faults{left: left, fatal: fatal, room: -1, shadow: t.TempDir(), synced: make(map[string]int64)}
}

// step counts one operation.
func (f *faults) step() error {
	if f.tripped && f.fatal {
		return errFault
	}
	f.left--
	if f.left == -1 {
		f.tripped = true
		return errFault
	}
	return nil
}

func (f *faults) Create(name string) (archive.File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	file, err := f.OS.Create(name)
	if err != nil {
		return nil, err
	}
	f.synced[name] = 0
	f.undo = append(f.undo, func() error { return os.Remove(name) })
	return &faultyFile{File: file, faults: f, name: name}, nil
}

func (f *faults) Rename(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	if n, ok := f.synced[from]; ok {
		f.synced[to] = n
		delete(f.synced, from)
	}
	f.undo = append(f.undo, func() error { return os.Rename(to, from) })
	return f.OS.Rename(from, to)
}

func (f *faults) Remove(name string) error {
	if err := f.step(); err != nil {
		return err
	}
	delete(f.synced, name)
	kept := filepath.Join(f.shadow, filepath.Base(name))
	f.undo = append(f.undo, func() error { return os.Rename(kept, name) })
	err := os.Rename(name, kept)
	if err != nil {
		f.undo = f.undo[:len(f.undo)-1]
	}
	return err
}

func (f *faults) SyncDir(name string) error {
	if err := f.step(); err != nil {
		return err
	}
	f.undo = nil
	return f.OS.SyncDir(name)
}

// loss says which changes of an unsynced folder a power cut takes back.
type loss int

const (
	noNames loss = iota
	oldestName
	allNames
)

// powerCut leaves the folder as a power cut might: files end in the middle of what was
// not synced, and changes of the folder are lost, or not.
func (f *faults) powerCut(t testing.TB, loss loss) {
	t.Helper()
	for name, synced := range f.synced {
		info, err := os.Stat(name)
		if err == nil {
			err = os.Truncate(name, synced+(info.Size()-synced)/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	switch {
	case loss == oldestName && len(f.undo) > 0:
		// It may have been overtaken by a later change of the same file.
		if err := f.undo[0](); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	case loss == allNames:
		for i := len(f.undo) - 1; i >= 0; i-- {
			if err := f.undo[i](); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// faultyFile counts its operations with its faults.
type faultyFile struct {
	archive.File
	faults  *faults
	name    string
	written int64
}

func (f *faultyFile) Write(b []byte) (int, error) {
	if err := f.faults.step(); err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	if f.faults.room >= 0 {
		if f.faults.room < len(b) {
			n, _ := f.File.Write(b[:f.faults.room])
			return n, &os.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
		}
		f.faults.room -= len(b)
	}
	n, err := f.File.Write(b)
	f.written += int64(n)
	return n, err
}

func (f *faultyFile) Sync() error {
	if err := f.faults.step(); err != nil {
		return err
	}
	f.faults.synced[f.name] = f.written
	return f.File.Sync()
}

// Close always closes, and may report that it could not.
func (f *faultyFile) Close() error {
	return errors.Join(f.File.Close(), f.faults.step())
}

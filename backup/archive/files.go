package archive

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Files are the operations that change the folder. There is one way through which
// everything passes, so that a test can make any single step fail.
type Files interface {
	// Create makes the file, empty, for its owner only.
	Create(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes creations, renames and removals in the folder durable.
	SyncDir(name string) error
}

// File is a file being written.
type File interface {
	io.WriteCloser
	// Sync makes the content durable.
	Sync() error
}

// OS are the Files of the operating system.
type OS struct{}

// Create truncates a file that exists.
func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err // not f: a nil *os.File is not a nil File
	}
	return f, nil
}

// Rename replaces a file that exists.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes one file.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir does nothing on Windows, where a folder cannot be synced.
func (OS) SyncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}

// WriteFile makes a file appear under name, whole and durable, or not at all:
// fill writes it under name+".tmp", which is synced and renamed.
func WriteFile(files Files, name string, fill func(io.Writer) error) (err error) {
	tmp := name + tmpSuffix
	f, err := files.Create(tmp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			files.Remove(tmp)
		}
	}()
	if err := fill(f); err != nil {
		f.Close()
		return err
	}
	return publish(files, f, tmp, name)
}

// publish syncs and closes f, written as tmp, and gives it its name.
func publish(files Files, f File, tmp, name string) error {
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := files.Rename(tmp, name); err != nil {
		return err
	}
	return files.SyncDir(filepath.Dir(name))
}

package backup

import (
	"context"
	"fmt"
	"io"
	"os"

	"dvmigrate/backup/archive"
)

// SingleFile is a part that is one file of any size.
type SingleFile struct {
	name string
	path string
}

// File returns the part of that name made of the file at path.
//
// As a target it fits every part that is one file, whoever took it. The caller sees to
// what lies beside it: a DuckDB file must not find another one's .wal, which would be
// replayed into it silently (engines.md 4).
//
// As a part to take it is only for files that nobody writes and nobody has locked. Not
// for a DuckDB file in use: opening and closing it drops DuckDB's own lock in this
// process (engines.md 4, DANGER 2). The stage copies itself, through a descriptor
// that it holds open, and satisfies SnapshotTo by itself.
func File(name, path string) *SingleFile { return &SingleFile{name: name, path: path} }

// Name returns the name of the part.
func (f *SingleFile) Name() string { return f.name }

// SnapshotTo writes the file's content to w.
func (f *SingleFile) SnapshotTo(_ context.Context, w io.Writer) error {
	from, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("copy file: %w", err)
	}
	defer from.Close()
	if _, err := io.Copy(w, from); err != nil {
		return fmt.Errorf("copy file %s: %w", f.path, err)
	}
	return nil
}

// RestoreFrom replaces the file, once everything has been read and checked; until then
// it is written beside it, with ".tmp" after its name.
func (f *SingleFile) RestoreFrom(_ context.Context, r io.Reader) error {
	err := archive.WriteFile(archive.OS{}, f.path, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("restore file %s: %w", f.path, err)
	}
	return nil
}

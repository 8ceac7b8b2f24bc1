package duckstage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A snapshot is the bytes of the database file. When DuckDB could not fold its log
// into it first, because a reader was active, the log follows, and then a trailer:
//
//	bytes 0-7    "DVSTAGE1"
//	bytes 8-15   length of the database file, big-endian
//	bytes 16-23  length of the log, big-endian
//
// So the database's blocks keep their places, which lets a chunked backup find the
// unchanged ones, and a snapshot without a log is a DuckDB file as it is.
const (
	trailerMagic = "DVSTAGE1"
	trailerSize  = 24
)

// snapshotName is the stage's name in a set of snapshots.
const snapshotName = "stage"

// Name is the stage's name in a set of snapshots.
func (s *Stage) Name() string { return snapshotName }

// SnapshotTo writes a consistent copy to w. Who writes to the stage waits meanwhile;
// who reads does not.
func (s *Stage) SnapshotTo(ctx context.Context, w io.Writer) error {
	if s.path == "" {
		return errors.New("snapshot stage: it has no file")
	}
	if err := s.gate.Acquire(ctx, writers); err != nil {
		return fmt.Errorf("snapshot stage: %w", context.Cause(ctx))
	}
	defer s.gate.Release(writers)
	if err := s.fold(ctx); err != nil {
		return fmt.Errorf("snapshot stage: %w", err)
	}
	size, err := copyFile(ctx, w, s.file)
	if err != nil {
		return fmt.Errorf("snapshot stage: %w", err)
	}
	if err := s.copyLog(ctx, w, size); err != nil {
		return fmt.Errorf("snapshot stage: %w", err)
	}
	return nil
}

// fold writes the log into the database file where that is possible and needed. A
// reader of an older state forbids it; then the log is copied too.
func (s *Stage) fold(ctx context.Context) error {
	if s.ro || logSize(s.path) == 0 {
		return nil
	}
	if err := s.read(ctx, func(c *Conn) error { return c.Checkpoint(ctx) }); err != nil {
		return err
	}
	s.noteLog()
	return nil
}

// copyLog appends the log and the trailer when there is a log. Opening the log lets go
// of DuckDB's lock on it when it is closed; the lock on the database file, which every
// other process asks for first, stays.
func (s *Stage) copyLog(ctx context.Context, w io.Writer, size int64) error {
	if logSize(s.path) == 0 {
		return nil
	}
	log, err := os.Open(logPath(s.path))
	if err != nil {
		return err
	}
	defer log.Close()
	n, err := copyFile(ctx, w, log)
	if err != nil {
		return err
	}
	trailer := []byte(trailerMagic)
	trailer = binary.BigEndian.AppendUint64(trailer, uint64(size))
	trailer = binary.BigEndian.AppendUint64(trailer, uint64(n))
	_, err = w.Write(trailer)
	return err
}

// copyFile writes a file from its beginning, without moving its offset.
func copyFile(ctx context.Context, w io.Writer, f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); at < info.Size(); {
		if ctx.Err() != nil {
			return at, context.Cause(ctx)
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), info.Size()-at)], at)
		if n == 0 && err != nil {
			return at, err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return at, err
		}
		at += int64(n)
	}
	return info.Size(), nil
}

// Fingerprint is equal for two moments between which nothing was written: device, file
// number, size and times of the database file, and what its own tables say of its
// generation is in those, since every staging writes. It is empty, which compares with
// nothing, while there is a log: a snapshot folds that, and so changes the file.
func (s *Stage) Fingerprint() string {
	if s.file == nil || logSize(s.path) > 0 {
		return ""
	}
	info, err := s.file.Stat()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d", fileNumber(info), info.Size(), info.ModTime().UnixNano())
}

// FirstChunk is how much lies before the first of the file's blocks of 256 KiB: its three
// headers (engines.md III 6). Cut there, a block that has not changed is stored once.
func (s *Stage) FirstChunk() int { return 3 * 4096 }

func logPath(path string) string { return path + ".wal" }

func logSize(path string) int64 {
	info, err := os.Stat(logPath(path))
	if err != nil {
		return 0
	}
	return info.Size()
}

// Restorer puts a snapshot back in place of the stage in a file, which no process may
// have open.
type Restorer struct{ Path string }

// Name is the stage's name in a set of snapshots.
func (r Restorer) Name() string { return snapshotName }

// RestoreFrom reads a snapshot and replaces the file when it has all of it. The log of
// the file it replaces is removed: DuckDB would replay it into the new one without a
// word (engines.md part I, 4).
func (r Restorer) RestoreFrom(ctx context.Context, src io.Reader) error {
	if err := r.restore(ctx, src); err != nil {
		return fmt.Errorf("restore stage %s: %w", r.Path, err)
	}
	return nil
}

func (r Restorer) restore(ctx context.Context, src io.Reader) error {
	next := r.Path + ".restore"
	f, err := os.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(next)
	defer f.Close()
	size, err := io.Copy(writeBehind(ctx, f), src)
	if err != nil {
		return err
	}
	if err := splitLog(f, size, logPath(next)); err != nil {
		return err
	}
	defer os.Remove(logPath(next))
	defer os.Remove(notePath(next))
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := foldRestored(ctx, next); err != nil {
		return err
	}
	if err := os.Remove(logPath(r.Path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(next, r.Path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(r.Path))
}

// foldRestored opens the restored file, which proves that it is a stage, and closes it,
// which folds its log: one rename then puts all of it in place.
func foldRestored(ctx context.Context, path string) error {
	s, err := Open(ctx, path, Options{})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if n := logSize(path); n > 0 {
		return fmt.Errorf("%d bytes of log could not be folded", n)
	}
	return nil
}

// splitLog cuts the log and the trailer off, when the snapshot has them, and writes the
// log to its own file.
func splitLog(f *os.File, size int64, path string) error {
	trailer := make([]byte, trailerSize)
	if size < trailerSize {
		return fmt.Errorf("%w: the snapshot has only %d bytes", ErrDamaged, size)
	}
	if _, err := f.ReadAt(trailer, size-trailerSize); err != nil {
		return err
	}
	if string(trailer[:8]) != trailerMagic {
		return nil
	}
	main, log := int64(binary.BigEndian.Uint64(trailer[8:])), int64(binary.BigEndian.Uint64(trailer[16:]))
	if main < 0 || log < 0 || main > size || log > size || main+log+trailerSize != size {
		return fmt.Errorf("%w: the snapshot's lengths do not add up", ErrDamaged)
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(f, main, log))
	return errors.Join(err, out.Sync(), out.Close(), f.Truncate(main))
}

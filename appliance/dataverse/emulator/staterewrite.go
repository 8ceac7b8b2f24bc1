package emulator

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// rewriteAbove is the size from which a state file is worth rewriting when it is
// opened and most of it is history.
const rewriteAbove = 64 << 20

// liveBytes is about what a state file without history would have.
func (s *store) liveBytes() int64 {
	var n int64
	for i := range s.tables {
		d := &s.tables[i]
		n += d.arena.total - d.arena.dead + 20*int64(d.rows.n) + 24*int64(len(d.deleted))
	}
	for i := range s.links {
		n += 40 * int64(s.links[i][0].n)
	}
	for _, f := range s.files {
		n += int64(len(f.data))
	}
	return n
}

// rewriteState replaces the open state file by one that holds the present alone.
// The new file appears whole or not at all.
func (s *store) rewriteState(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+rewriting+"*")
	if err != nil {
		return fmt.Errorf("rewrite state: %w", err)
	}
	l := &stateLog{f: f}
	err = s.writeAll(l)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("rewrite state: %w", err)
	}
	if err := s.log.close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("rewrite state: %w", err)
	}
	if l.f, err = os.OpenFile(path, os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("rewrite state: %w", err)
	}
	if err := lockState(l.f); err != nil {
		return fmt.Errorf("rewrite state: %w", err)
	}
	s.log = l
	return syncFolder(path)
}

// rewriting is in the names of files that take the place of a state file.
const rewriting = ".rewriting-"

// dropRewrites removes what is left of rewrites that a kill interrupted.
func dropRewrites(path string) {
	left, _ := filepath.Glob(path + rewriting + "*")
	for _, name := range left {
		os.Remove(name)
	}
}

// syncFolder brings a rename to the disk, where the system can sync a folder.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("rewrite state: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && runtime.GOOS != "windows" {
		return fmt.Errorf("rewrite state: %w", err)
	}
	return nil
}

// writeAll writes everything in records of about a megabyte.
func (s *store) writeAll(l *stateLog) error {
	err := l.write([]byte(stateMagic), s.model.layout())
	if err == nil && s.model.kept != nil {
		err = l.write(nil, s.model.kept)
	}
	var rec []byte
	flush := func(least int) {
		if err == nil && len(rec) > least {
			err = l.write(nil, rec)
			rec = rec[:0]
		}
	}
	for _, g := range s.shared {
		rec = append(append(rec, 'S'), g[:]...)
	}
	flush(0)
	for i, t := range s.model.tables {
		d := &s.tables[i]
		d.rows.from(sqlOrder{}, func(k sqlOrder, at uint64) bool {
			rec = appendPut(rec, t, k.guid(), d.arena.get(at), 0)
			flush(1 << 20)
			return err == nil
		})
		for _, dead := range d.deleted {
			rec = binary.AppendUvarint(append(rec, 'T'), uint64(i))
			rec = binary.AppendUvarint(append(rec, dead.id[:]...), uint64(dead.version))
			flush(1 << 20)
		}
	}
	for i, m := range s.model.links {
		s.links[i][0].from(pair{}, func(p pair, version int64) bool {
			rec = appendLink(rec, m, p.a.guid(), p.b.guid(), false, version)
			flush(1 << 20)
			return err == nil
		})
	}
	for id, f := range s.files {
		rec = appendFile(rec, id, f)
		flush(1 << 20)
	}
	for c, n := range s.numbers {
		rec = appendNumber(rec, c, n)
	}
	rec = binary.AppendUvarint(append(rec, 'V'), uint64(s.version))
	rec = append(rec, 'E')
	flush(0)
	return err
}

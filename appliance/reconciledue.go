package appliance

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Which records a comparison found missing or different is kept of all of them, in <table>.due: two bits a record,
// packed. Their texts, in <table>.ndjson, would take a thousand times that, and are kept of some.

// dueSets are the staged rows whose records the target lacks, or has otherwise: row n is bit n%64 of word n/64.
type dueSets struct{ missing, different []uint64 }

func dueHas(set []uint64, seq uint32) bool {
	return int(seq/64) < len(set) && set[seq/64]&(1<<(seq%64)) != 0
}

// due keeps the sets of a table. Its file comes into its place with the others.
func (m *mismatchFiles) due(table string, missing, different []uint64) (err error) {
	f, err := os.CreateTemp(m.dir, table+".*.due.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	packed := gzip.NewWriter(w) // whose checksum is over all
	for _, set := range [][]uint64{missing, different} {
		err = errors.Join(err, binary.Write(packed, binary.LittleEndian, set))
	}
	if err = errors.Join(err, packed.Close(), w.Flush()); err == nil {
		m.dues[table] = f.Name()
	}
	return err
}

func (m *mismatchFiles) duePath(table string) string { return filepath.Join(m.dir, table+".due") }

// keptDue reads the sets that the last comparison has kept of a table, which has that many records.
func (p *Project) keptDue(table string, count uint32) (d dueSets, err error) {
	path := (&mismatchFiles{dir: filepath.Join(p.work(), reconciledFolder)}).duePath(table)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, errors.New("the last comparison does not say which records those are; run `dvmigrate reconcile` again first")
	}
	if err != nil {
		return d, err
	}
	defer f.Close()
	d.missing, d.different = make([]uint64, (uint64(count)+63)/64), make([]uint64, (uint64(count)+63)/64)
	packed, err := gzip.NewReader(bufio.NewReader(f))
	for _, set := range [][]uint64{d.missing, d.different} {
		if err == nil {
			err = binary.Read(packed, binary.LittleEndian, set)
		}
	}
	if err == nil { // and nothing follows; the checksum is compared there
		if _, err = packed.Read(make([]byte, 1)); err == io.EOF {
			return d, nil
		}
		err = errors.Join(err, errors.New("it is not of so many records"))
	}
	return d, fmt.Errorf("read %s: %w; run `dvmigrate reconcile` again first", path, err)
}

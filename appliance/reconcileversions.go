package appliance

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"dvmigrate/appliance/reconcile"
)

// work/reconciled/<table>.versions has, of each record, the row version at which it was last
// found equal to what is staged, in 8 bytes little-endian at 64 + 8 x its number; 0 = not
// known, or it was not equal. 120 million records take 1 GB. The header:
//
//	0   8  "DVMVERS1"
//	8  32  SHA-256 of what was compared: environment, project, columns
//	40  8  when the comparison began, in Unix seconds
//	48  8  how many records it found equal
//
// A file with another hash begins anew. Cells are written in place while records are
// compared, and each says the truth by itself; the header is written last, so that after a
// kill the former one holds: what was loaded since that one is read again. A comparison that
// was stopped thus leaves what it did for the next one (reconcileprogress.go). Nobody but this
// program's comparison needs it: without the file all is read.
const (
	versionsMagic  = "DVMVERS1"
	versionsHeader = 64
	versionsPage   = 8192 // cells
	versionsKept   = 64   // pages in memory
)

// versionFile is one such file; reconcile calls it from one goroutine at a time.
type versionFile struct {
	f      *os.File
	hash   [sha256.Size]byte
	since  uint32
	count  int64 // equal by the header
	equal  int64 // now, as far as noted
	began  int64
	fresh  bool // there was none of this hash
	pages  map[int64][]byte
	dirty  map[int64]bool
	failed error
}

// openVersions opens a table's file, or makes one.
func (p *Project) openVersions(table, shape string) (*versionFile, error) {
	pin, err := os.ReadFile(p.pinPath())
	if err != nil {
		return nil, err
	}
	v := &versionFile{began: time.Now().Unix(), pages: map[int64][]byte{}, dirty: map[int64]bool{}}
	v.hash = sha256.Sum256([]byte(fmt.Sprintf("%s\n%x\n%s\n%s", p.Config.Target.URL, p.set, pin, shape)))
	path := filepath.Join(p.work(), reconciledFolder, table+".versions")
	if v.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	var h [versionsHeader]byte
	n, err := v.f.ReadAt(h[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, v.f.Close())
	}
	if n < versionsHeader || string(h[:8]) != versionsMagic || !bytes.Equal(h[8:40], v.hash[:]) {
		if err := v.f.Truncate(0); err != nil {
			return nil, errors.Join(err, v.f.Close())
		}
		v.fresh = true
		return v, v.header(0, 0)
	}
	v.since, v.count = uint32(binary.LittleEndian.Uint64(h[40:])), int64(binary.LittleEndian.Uint64(h[48:]))
	v.equal = v.count
	return v, nil
}

func (v *versionFile) header(began, count int64) error {
	h := make([]byte, versionsHeader)
	copy(h, versionsMagic)
	copy(h[8:], v.hash[:])
	binary.LittleEndian.PutUint64(h[40:], uint64(began))
	binary.LittleEndian.PutUint64(h[48:], uint64(count))
	_, err := v.f.WriteAt(h, 0)
	return err
}

// page is the cells around seq, and where among them its own is.
func (v *versionFile) page(seq uint32) (number int64, cell []byte) {
	number = int64(seq) / versionsPage
	p := v.pages[number]
	if p == nil {
		if len(v.pages) >= versionsKept {
			v.write()
		}
		p = make([]byte, 8*versionsPage)
		if _, err := v.f.ReadAt(p, versionsHeader+number*8*versionsPage); err != nil && !errors.Is(err, io.EOF) {
			v.failed = errors.Join(v.failed, err)
		}
		v.pages[number] = p
	}
	at := 8 * (int64(seq) % versionsPage)
	return number, p[at : at+8]
}

// write writes the pages that have changed, and forgets all.
func (v *versionFile) write() {
	for number := range v.dirty {
		if _, err := v.f.WriteAt(v.pages[number], versionsHeader+number*8*versionsPage); err != nil {
			v.failed = errors.Join(v.failed, err)
		}
	}
	clear(v.pages)
	clear(v.dirty)
}

// sync puts what was noted on disk.
func (v *versionFile) sync() error {
	v.write()
	return errors.Join(v.failed, v.f.Sync())
}

// Equal implements reconcile.Versions.
func (v *versionFile) Equal(seq uint32) uint64 {
	_, cell := v.page(seq)
	return binary.LittleEndian.Uint64(cell)
}

// Note implements reconcile.Versions.
func (v *versionFile) Note(seq uint32, version uint64) {
	number, cell := v.page(seq)
	was := binary.LittleEndian.Uint64(cell)
	if was == version {
		return
	}
	binary.LittleEndian.PutUint64(cell, version)
	v.dirty[number] = true
	switch {
	case was == 0:
		v.equal++
	case version == 0:
		v.equal--
	}
}

// Since implements reconcile.Versions.
func (v *versionFile) Since() (began uint32, count int64) { return v.since, v.count }

// close keeps what was noted; whole says that the table was compared to its end.
func (v *versionFile) close(whole bool) error {
	v.write()
	err := v.failed
	if err == nil && (whole || v.since == 0) { // in a new file all is of this comparison
		err = v.header(v.began, v.equal)
	}
	return errors.Join(err, v.f.Close())
}

// versionFiles are those of one comparison.
type versionFiles struct {
	p    *Project
	open map[string]*versionFile
}

// of opens a table's file; the same one when the table is compared anew.
func (v *versionFiles) of(table, shape string) (reconcile.Versions, error) {
	if v.open[table] == nil {
		f, err := v.p.openVersions(table, shape)
		if err != nil {
			return nil, fmt.Errorf("keep the versions of records: %w", err)
		}
		v.open[table] = f
	}
	return v.open[table], nil
}

// close closes all; those of the tables were compared to their end.
func (v *versionFiles) close(tables []reconcile.TableResult) error {
	whole := map[string]bool{}
	for _, t := range tables {
		whole[t.Name] = true
	}
	var err error
	for name, f := range v.open {
		err = errors.Join(err, f.close(whole[name]))
	}
	clear(v.open)
	return err
}

package archive

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"sync"
)

// openPacks opens the packs of a manifest as they are needed and keeps them open.
// Several goroutines may use it.
type openPacks struct {
	store    *Store
	manifest *Manifest

	mu    sync.Mutex
	files []*os.File // guarded by mu; by index in manifest.Packs
}

// get returns a pack after its header and size have been checked. The error is a
// *DamageError.
func (o *openPacks) get(i uint32) (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.files == nil {
		o.files = make([]*os.File, len(o.manifest.Packs))
	}
	if o.files[i] == nil {
		f, err := o.store.openPack(o.manifest, o.manifest.Packs[i])
		if err != nil {
			return nil, err
		}
		o.files[i] = f
	}
	return o.files[i], nil
}

func (o *openPacks) close() {
	for _, f := range o.files {
		if f != nil {
			f.Close()
		}
	}
}

// read returns the stored bytes of chunk i of p in buf, whose capacity is maxStored.
func (o *openPacks) read(p *Part, i int, buf []byte) ([]byte, error) {
	c := &p.Chunks[i]
	f, err := o.get(c.Pack)
	var damage *DamageError
	if errors.As(err, &damage) {
		return nil, o.damage(p, i, damage.Fault, damage.Err)
	}
	b := buf[:c.Stored]
	if _, err := f.ReadAt(b, c.Offset); err != nil {
		return nil, o.damage(p, i, "cannot be read", err)
	}
	return b, nil
}

// damage says that chunk i of p is damaged.
func (o *openPacks) damage(p *Part, i int, fault string, err error) *DamageError {
	c := &p.Chunks[i]
	file := o.manifest.Packs[c.Pack].ID + packSuffix
	return &DamageError{File: file, Part: p.Name, Chunk: i, At: c.Offset, Fault: fault, Err: err}
}

// openPack opens a pack and checks its header and that it is as long as it was.
func (s *Store) openPack(m *Manifest, p Pack) (*os.File, error) {
	damage := &DamageError{File: p.ID + packSuffix}
	f, err := os.Open(s.packPath(p.ID))
	if errors.Is(err, fs.ErrNotExist) {
		damage.Fault = "is missing"
		return nil, damage
	}
	if err != nil {
		damage.Fault, damage.Err = "cannot be opened", err
		return nil, damage
	}
	if damage.Fault, damage.Err = packFault(f, m, p); damage.Fault != "" {
		f.Close()
		return nil, damage
	}
	return f, nil
}

func packFault(f *os.File, m *Manifest, p Pack) (fault string, err error) {
	info, err := f.Stat()
	if err != nil {
		return "cannot be read", err
	}
	if info.Size() < p.Size {
		return "is cut off", nil
	}
	want := header(packMagic, m.version, p.ID, m.Key)
	head := make([]byte, len(want))
	if _, err := f.ReadAt(head, 0); err != nil {
		return "cannot be read", err
	}
	if bytes.Equal(head, want) {
		return "", nil
	}
	if bytes.Equal(head[:10], want[:10]) && bytes.Equal(head[12:prefixSize], want[12:prefixSize]) && m.version > 1 {
		return "is the pack of another folder: it has another data key", nil
	}
	return "header differs", nil
}

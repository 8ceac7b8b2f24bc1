package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"dvmigrate/backup/archive"
)

// Place is where snapshots are read from: a folder, or a distant place. Of a distant one
// each file is fetched when it is first needed, whole, into a local folder: a snapshot
// takes there what it takes in the distance, until Close.
type Place struct {
	name  string
	dir   string           // the folder, or the local one
	shelf distant          // nil for a folder
	sizes map[string]int64 // of the files in the distance, when it was reached
}

// Reach opens a place. What is fetched of a distant one goes into a new folder in cache,
// in the system's folder for temporary files when cache is empty.
func Reach(ctx context.Context, name, cache string, a Access) (*Place, error) {
	if !Distant(name) {
		return &Place{name: name, dir: name}, nil
	}
	p := &Place{name: name}
	var err error
	if p.shelf, err = openDistant(ctx, name, a); err != nil {
		return nil, fmt.Errorf("look for snapshots in %s: %w", name, err)
	}
	if p.sizes, err = p.shelf.names(ctx); err != nil {
		return nil, fmt.Errorf("look for snapshots in %s: %w", name, err)
	}
	if p.dir, err = os.MkdirTemp(cache, ".dvmigrate-snapshots-*"); err != nil {
		return nil, fmt.Errorf("make a folder for what is fetched: %w", err)
	}
	return p, nil
}

// Close removes what was fetched.
func (p *Place) Close() error {
	if p.shelf == nil {
		return nil
	}
	return os.RemoveAll(p.dir)
}

// store is what is read of the place, as a folder.
func (p *Place) store(keys *Keyring) *archive.Store { return archive.Open(p.dir, archive.OS{}, keys) }

// lock keeps a folder's snapshots from being removed while they are read.
func (p *Place) lock() (unlock func(), err error) {
	if p.shelf != nil {
		return func() {}, nil
	}
	return archive.Lock(p.dir, false)
}

// ids returns the snapshots that are there, newest first.
func (p *Place) ids() ([]string, error) {
	if p.shelf == nil {
		return p.store(nil).IDs()
	}
	var ids []string
	for name := range p.sizes {
		if id, ok := archive.IDOfManifest(name); ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

// need fetches what a snapshot is made of. What is missing or damaged in the distance is
// for the reader of the snapshot to find.
func (p *Place) need(ctx context.Context, id string) error {
	if p.shelf == nil {
		return nil
	}
	if err := p.fetch(ctx, archive.ManifestFile(id)); err != nil {
		return err
	}
	m, err := p.store(nil).Outline(id)
	if err != nil {
		return nil
	}
	for _, name := range m.PackFiles() {
		if err := p.fetch(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// fetch brings one file here, unless it is here or is not there.
func (p *Place) fetch(ctx context.Context, name string) error {
	size, there := p.sizes[name]
	if _, err := os.Stat(filepath.Join(p.dir, name)); err == nil || !there {
		return nil
	}
	err := fetchFile(ctx, p.shelf, p.dir, name, size)
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("fetch %s from %s: %w: free space in %s; TMPDIR names another folder for `snapshots` and `snapshot verify`", name, p.name, err, filepath.Dir(p.dir))
	}
	if err != nil {
		return fmt.Errorf("fetch %s from %s: %w", name, p.name, err)
	}
	return nil
}

// List returns the snapshots of the place, newest first. A damaged one is listed with its
// Fault. Of a distant place all manifests are fetched, and no packs.
func (p *Place) List(ctx context.Context, keys *Keyring) ([]Snapshot, error) {
	store := p.store(keys)
	if p.shelf == nil {
		return list(store, store.CheckPacks)
	}
	for name := range p.sizes {
		if _, ok := archive.IDOfManifest(name); !ok {
			continue
		}
		if err := p.fetch(ctx, name); err != nil {
			return nil, err
		}
	}
	return list(store, p.checkSizes)
}

// checkSizes does for a distant place what can be done from its list of files.
func (p *Place) checkSizes(m *archive.Manifest) error {
	for i, name := range m.PackFiles() {
		switch size, there := p.sizes[name]; {
		case !there:
			return &archive.DamageError{File: name, Fault: "is missing"}
		case size < m.Packs[i].Size:
			return &archive.DamageError{File: name, Fault: "is cut off"}
		}
	}
	return nil
}

// Contents returns the names of the files that make the place, with their sizes in bytes,
// in the order in which they are to be destroyed: Contents of a folder says why.
func (p *Place) Contents() (names []string, sizes map[string]int64) {
	for name := range p.sizes {
		names = append(names, name)
	}
	slices.SortFunc(names, destruction)
	return names, p.sizes
}

// Remove removes one file of a distant place. One that is not there is no error.
func (p *Place) Remove(ctx context.Context, name string) error {
	if err := p.shelf.remove(ctx, name); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// Sweep takes back what uploads that were interrupted have left in a distant place.
func (p *Place) Sweep(ctx context.Context) error {
	if err := p.shelf.sweep(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// destruction compares the names of two files by when they are to be destroyed.
func destruction(a, b string) int {
	if r := rank(a) - rank(b); r != 0 {
		return r
	}
	return strings.Compare(a, b)
}

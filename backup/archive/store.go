package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Names of the files of a folder.
const (
	lockName       = "lock"
	tmpSuffix      = ".tmp"
	packSuffix     = ".pack"
	manifestSuffix = ".manifest"
)

// Store is a folder of snapshots. It holds nothing open between calls.
type Store struct {
	dir     string
	files   Files
	keys    *Keyring
	workers int
}

// Open returns the store in dir, which need not exist before something is written. The
// keys, which may be nil, open what is encrypted, and encrypt what is written.
func Open(dir string, files Files, keys *Keyring) *Store {
	return &Store{dir: dir, files: files, keys: keys, workers: min(runtime.GOMAXPROCS(0), 8)}
}

func (s *Store) packPath(id string) string     { return filepath.Join(s.dir, id+packSuffix) }
func (s *Store) manifestPath(id string) string { return filepath.Join(s.dir, id+manifestSuffix) }

// IDs returns the snapshots that have a manifest, damaged or not, newest first.
// A folder that does not exist has none.
func (s *Store) IDs() ([]string, error) {
	names, err := s.names(manifestSuffix)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		id := strings.TrimSuffix(name, manifestSuffix)
		if _, ok := TimeOf(id); ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

// names returns the names in the folder that end so.
func (s *Store) names(suffix string) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list snapshot folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Manifest reads and checks the manifest of a snapshot. The error wraps ErrNotFound,
// ErrDamaged, ErrVersion, ErrEncrypted or ErrWrongKey; any other comes from the operating
// system.
func (s *Store) Manifest(id string) (*Manifest, error) {
	o, err := s.outline(id)
	if err != nil {
		return nil, err
	}
	var key *dataKey
	if o.m.Encrypted() {
		if key, err = s.keys.unlock(o.m.Key, o.m.wrapped); errors.Is(err, ErrEncrypted) || errors.Is(err, ErrWrongKey) {
			return nil, fmt.Errorf("snapshot %s %w", id, err)
		} else if err != nil {
			return nil, &DamageError{File: id + manifestSuffix, Fault: err.Error()}
		}
	}
	m, err := o.read(key)
	if err != nil {
		return nil, manifestFault(id, err)
	}
	return m, nil
}

// Outline reads of a manifest what can be read without a key: its packs. The errors are
// those of Manifest.
func (s *Store) Outline(id string) (*Manifest, error) {
	o, err := s.outline(id)
	if err != nil {
		return nil, err
	}
	return o.m, nil
}

func (s *Store) outline(id string) (*outline, error) {
	if _, ok := TimeOf(id); !ok {
		return nil, fmt.Errorf("snapshot %q: %w", id, ErrNotFound)
	}
	f, err := os.Open(s.manifestPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("snapshot %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open manifest: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if len(b) > maxManifest {
		return nil, manifestFault(id, errors.New("is longer than a manifest can be"))
	}
	o, err := open(b)
	if err != nil {
		return nil, manifestFault(id, err)
	}
	if o.m.ID != id {
		return nil, manifestFault(id, errors.New("is the manifest of "+o.m.ID+", renamed"))
	}
	return o, nil
}

// manifestFault says which manifest has a fault.
func manifestFault(id string, err error) error {
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("%s: %w", id+manifestSuffix, err)
	}
	return &DamageError{File: id + manifestSuffix, Fault: err.Error()}
}

// CheckPacks checks that every pack that m needs is there, with its header and its
// size. It does not read the chunks.
func (s *Store) CheckPacks(m *Manifest) error {
	open := openPacks{store: s, manifest: m}
	defer open.close()
	for i := range m.Packs {
		if _, err := open.get(uint32(i)); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a snapshot, or what an attempt to write it left. Its chunks go with
// the next Sweep, unless another snapshot needs them. The caller holds the lock.
func (s *Store) Remove(id string) error {
	if err := s.files.Remove(s.manifestPath(id)); err != nil {
		return fmt.Errorf("remove snapshot: %w", err)
	}
	// The packs may go only after the manifest has gone for good.
	if err := s.files.SyncDir(s.dir); err != nil {
		return fmt.Errorf("remove snapshot: %w", err)
	}
	return nil
}

// removed removes a file and says whether it is gone.
func (s *Store) removed(name string) bool {
	err := s.files.Remove(name)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// Sweep removes what no snapshot needs: temporary files, and packs that no manifest
// names, which a crash or Remove left. While there is a manifest that cannot be read,
// all packs stay, because it is not known which of them it needs. The caller holds
// the lock.
func (s *Store) Sweep() error {
	tmps, err := s.names(tmpSuffix)
	if err != nil {
		return err
	}
	packs, err := s.names(packSuffix)
	if err != nil {
		return err
	}
	if len(packs) > 0 {
		needed, err := s.neededPacks()
		if err != nil {
			return err
		}
		packs = slices.DeleteFunc(packs, func(name string) bool {
			return needed == nil || needed[strings.TrimSuffix(name, packSuffix)]
		})
	}
	for _, name := range append(tmps, packs...) {
		if err := s.files.Remove(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("remove what no snapshot needs: %w", err)
		}
	}
	return nil
}

// neededPacks returns the IDs of the packs that some manifest names, or nil when a
// manifest cannot be read.
func (s *Store) neededPacks() (map[string]bool, error) {
	ids, err := s.IDs()
	if err != nil {
		return nil, err
	}
	needed := make(map[string]bool)
	for _, id := range ids {
		m, err := s.Outline(id)
		if err != nil {
			return nil, nil // for the caller of List and Verify to report
		}
		for _, p := range m.Packs {
			needed[p.ID] = true
		}
	}
	return needed, nil
}

// PackFiles returns the names of the files of the packs that m needs.
func (m *Manifest) PackFiles() []string {
	var names []string
	for _, p := range m.Packs {
		names = append(names, p.ID+packSuffix)
	}
	return names
}

// ManifestFile returns the name of a snapshot's manifest.
func ManifestFile(id string) string { return id + manifestSuffix }

// IDOfManifest returns the snapshot whose manifest has that file name.
func IDOfManifest(name string) (id string, ok bool) {
	id, ok = strings.CutSuffix(name, manifestSuffix)
	if ok {
		_, ok = TimeOf(id)
	}
	return id, ok
}

// IsPack says whether a file name is that of a pack.
func IsPack(name string) bool {
	id, ok := strings.CutSuffix(name, packSuffix)
	if ok {
		_, ok = TimeOf(id)
	}
	return ok
}

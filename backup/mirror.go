package backup

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dvmigrate/backup/archive"
)

// shelf is a place for copies of snapshots: files that never change once they are there.
type shelf interface {
	// names returns the files that are there, with their sizes in bytes.
	names(ctx context.Context) (map[string]int64, error)
	// put stores a file under its name, whole or not at all.
	put(ctx context.Context, name string, from content, size int64) error
	// get writes a file to w.
	get(ctx context.Context, name string, w io.Writer) error
	remove(ctx context.Context, name string) error
}

// Copy brings snapshot id of the folder o.Dir to another place, with the packs it needs
// that are not there yet, its manifest last; then it removes there what o.Keep does not
// ask for. The place is a folder, or a distant one (see Distant), reached as o.Access
// says. The copy in a folder is a snapshot folder itself. What is encrypted stays so:
// no key is needed. It returns the bytes copied.
func Copy(ctx context.Context, o Options, id, to string) (copied int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copy snapshot %s to %s: %w", id, to, err)
		}
	}()
	unlock, err := archive.Lock(o.Dir, false)
	if err != nil {
		return 0, err
	}
	defer unlock()
	there, done, err := openShelf(ctx, to, o.Access)
	if err != nil {
		return 0, err
	}
	defer done()
	store := archive.Open(o.Dir, archive.OS{}, nil)
	m, err := store.Outline(id)
	if err != nil {
		return 0, err
	}
	names, err := there.names(ctx)
	if err != nil {
		return 0, err
	}
	for _, file := range append(m.PackFiles(), archive.ManifestFile(id)) {
		n, err := copyFile(ctx, there, names, o.Dir, file)
		copied += n
		if err != nil {
			return copied, err
		}
	}
	if err := pruneShelf(ctx, there, o.Dir, o.Keep); err != nil {
		o.logger().Warn("old copies could not be removed", "to", to, "error", err)
	}
	if d, ok := there.(distant); ok {
		if err := d.sweep(ctx); err != nil { // a key may lack the right to
			o.logger().Warn("what interrupted uploads have left could not be removed", "to", to, "error", err)
		}
	}
	return copied, nil
}

// copyFile copies one file unless it is there. A pack of that name and size is the same
// pack: its name has a random part, and it never changes.
func copyFile(ctx context.Context, to shelf, names map[string]int64, dir, name string) (int64, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if size, ok := names[name]; ok && size == info.Size() {
		return 0, nil
	}
	if err := to.put(ctx, name, f, info.Size()); err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// pruneShelf removes the copies that are not to be kept, and the packs that no manifest
// there needs. A manifest that cannot be read keeps all packs.
func pruneShelf(ctx context.Context, there shelf, dir string, keep Retention) error {
	names, err := there.names(ctx)
	if err != nil {
		return err
	}
	var all []Snapshot
	for name := range names {
		if id, ok := archive.IDOfManifest(name); ok {
			at, _ := archive.TimeOf(id)
			all = append(all, Snapshot{ID: id, Time: at})
		}
	}
	slices.SortFunc(all, func(a, b Snapshot) int { return strings.Compare(b.ID, a.ID) })
	surplus := keep.surplus(all)
	for _, id := range surplus {
		if err := there.remove(ctx, archive.ManifestFile(id)); err != nil {
			return err
		}
		delete(names, archive.ManifestFile(id))
	}
	if len(surplus) == 0 {
		return nil
	}
	needed := make(map[string]bool)
	local := archive.Open(dir, archive.OS{}, nil)
	for name, size := range names {
		id, ok := archive.IDOfManifest(name)
		if !ok {
			continue
		}
		m, err := local.Outline(id)
		if err != nil {
			if m, err = fetchOutline(ctx, there, id, size); err != nil {
				return fmt.Errorf("no pack is removed, since %s cannot be read: %w", name, err)
			}
		}
		for _, pack := range m.PackFiles() {
			needed[pack] = true
		}
	}
	for name := range names {
		if archive.IsPack(name) && !needed[name] {
			if err := there.remove(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchOutline reads of a manifest on a shelf what needs no key.
func fetchOutline(ctx context.Context, there shelf, id string, size int64) (*archive.Manifest, error) {
	dir, err := os.MkdirTemp("", "dvmigrate-manifest-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := fetchFile(ctx, there, dir, archive.ManifestFile(id), size); err != nil {
		return nil, err
	}
	return archive.Open(dir, archive.OS{}, nil).Outline(id)
}

// fetchFile brings one file of a shelf into a folder, whole or not at all.
func fetchFile(ctx context.Context, there shelf, dir, name string, size int64) error {
	return archive.WriteFile(archive.OS{}, filepath.Join(dir, name), func(w io.Writer) error {
		n := &counter{}
		if err := there.get(ctx, name, io.MultiWriter(w, n)); err != nil {
			return err
		}
		if n.n != size {
			return fmt.Errorf("%s: %d of %d bytes came", name, n.n, size)
		}
		return nil
	})
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// folder is a shelf that is a folder: another disk, a mounted share.
type folder struct{ dir string }

func openFolder(dir string) (shelf, func(), error) {
	if err := makeDir(dir); err != nil {
		return nil, nil, err
	}
	unlock, err := archive.Lock(dir, true)
	if err != nil {
		return nil, nil, err
	}
	f := folder{dir}
	// What an interrupted copy has left. Packs without a manifest stay: the copy that
	// goes on where it was needs them.
	left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return f, unlock, nil
}

func (f folder) names(context.Context) (map[string]int64, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	names := make(map[string]int64)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			names[e.Name()] = info.Size()
		}
	}
	return names, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f folder) put(ctx context.Context, name string, from content, size int64) error {
	sum := crc32.New(castagnoli)
	path := filepath.Join(f.dir, name)
	err := archive.WriteFile(archive.OS{}, path, func(w io.Writer) error {
		n, err := io.Copy(io.MultiWriter(w, sum), reader{ctx, from})
		if err == nil && n != size {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := f.readBack(ctx, path, sum); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (f folder) readBack(ctx context.Context, path string, want hash.Hash32) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, reader{ctx, file}); err != nil {
		return err
	}
	if sum.Sum32() != want.Sum32() {
		return fmt.Errorf("%s is not what was written to it", path)
	}
	return nil
}

func (f folder) get(ctx context.Context, name string, w io.Writer) error {
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, reader{ctx, file})
	return err
}

func (f folder) remove(_ context.Context, name string) error {
	return os.Remove(filepath.Join(f.dir, name))
}

// reader ends a long read when its context does.
type reader struct {
	ctx  context.Context
	from io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(b)
}

// openShelf opens a place for copies by its name. In the distance nothing locks a place:
// that there is one project a place does, and the lock of the project's own folder.
func openShelf(ctx context.Context, to string, a Access) (shelf, func(), error) {
	if !Distant(to) {
		return openFolder(to)
	}
	d, err := openDistant(ctx, to, a)
	if err != nil {
		return nil, nil, err
	}
	return d, func() {}, nil
}

// content is a file to put somewhere: read from its beginning, or anywhere, by several at
// once.
type content interface {
	io.ReadSeeker
	io.ReaderAt
}

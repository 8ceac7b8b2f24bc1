package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/backup/archive"
)

// restoreDir is where FileSet.RestoreFrom keeps files until all have been checked.
const restoreDir = ".restore.tmp"

// FileSet is a part made of files in one folder, kept as a tar: a project's
// configuration, say. Files changed by their owner are written whole or not at all
// (style.md 3.11), so each is consistent; the set is as consistent as the owner keeps it.
type FileSet struct {
	name  string
	root  string
	paths []string
}

// Files returns the part of that name made of the files under root that paths name:
// slash-separated, relative to root. A path is a file or a folder with all that is in
// it, and must exist, or a pattern as of path.Match, which may match nothing. Links to
// files within root are followed, and come back as files; links out of root, links to
// folders inside a folder, and special files are an error. Empty folders are not kept.
func Files(name, root string, paths []string) *FileSet {
	return &FileSet{name: name, root: root, paths: slices.Clone(paths)}
}

// Name returns the name of the part.
func (s *FileSet) Name() string { return s.name }

// SnapshotTo writes the files to w, sorted by name, so that what has not changed gives
// the same bytes.
func (s *FileSet) SnapshotTo(ctx context.Context, w io.Writer) error {
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return fmt.Errorf("open folder of files: %w", err)
	}
	defer root.Close()
	names, err := s.find(root)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := addFile(tw, root, name); err != nil {
			return fmt.Errorf("copy file %s: %w", name, err)
		}
	}
	return tw.Close()
}

// find returns the names of all files, sorted, each once.
func (s *FileSet) find(root *os.Root) ([]string, error) {
	fsys := root.FS()
	var names []string
	for _, p := range s.paths {
		matches := []string{p}
		if strings.ContainsAny(p, `*?[\`) {
			var err error
			if matches, err = fs.Glob(fsys, p); err != nil {
				return nil, fmt.Errorf("find files %s: %w", p, err)
			}
		}
		for _, match := range matches {
			err := fs.WalkDir(fsys, match, func(name string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				if d.IsDir() {
					if d.Name() == restoreDir {
						return fs.SkipDir
					}
					return nil
				}
				names = append(names, name)
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("find files: %w", err)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func addFile(tw *tar.Writer, root *os.Root, name string) error {
	info, err := root.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // before it is opened: a pipe would wait for a writer
		return errors.New("is not a regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return err
	}
	err = tw.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     name,
		Size:     info.Size(),
		Mode:     int64(info.Mode().Perm()),
		ModTime:  info.ModTime(),
		Format:   tar.FormatPAX,
	})
	if err != nil {
		return err
	}
	if _, err := io.CopyN(tw, f, info.Size()); err == io.EOF {
		return errors.New("became shorter while it was being copied")
	} else if err != nil {
		return err
	}
	return nil
}

// RestoreFrom writes the files under root and replaces those of the same names; other
// files stay. Each appears whole, and none before all have been read and checked. A
// name that would lead out of root is refused, with everything.
func (s *FileSet) RestoreFrom(ctx context.Context, r io.Reader) (err error) {
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return fmt.Errorf("make folder for files: %w", err)
	}
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return fmt.Errorf("open folder for files: %w", err)
	}
	defer root.Close()
	if err := root.RemoveAll(restoreDir); err != nil { // of a restore that crashed
		return fmt.Errorf("clear folder for files: %w", err)
	}
	if err := root.Mkdir(restoreDir, 0o700); err != nil {
		return fmt.Errorf("make folder for files: %w", err)
	}
	defer func() { err = errors.Join(err, root.RemoveAll(restoreDir)) }()
	names, err := extract(ctx, root, r)
	if err != nil {
		return err
	}
	// The tar ends before the part does: only now has everything been checked.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return place(root, names)
}

// extract writes each file of a tar under its number in restoreDir and returns the
// names they are to get.
func extract(ctx context.Context, root *os.Root, r io.Reader) ([]string, error) {
	var names []string
	seen := make(map[string]bool)
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return names, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // checked below, in any case
			return nil, fmt.Errorf("read files: %w", err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if h.Typeflag != tar.TypeReg || h.Name != path.Clean(h.Name) || !filepath.IsLocal(filepath.FromSlash(h.Name)) {
			return nil, fmt.Errorf("restore file %q: not a plain file inside the folder", h.Name)
		}
		if seen[h.Name] {
			return nil, fmt.Errorf("restore file %q: is there twice", h.Name)
		}
		seen[h.Name] = true
		if err := extractFile(root, numbered(len(names)), h.FileInfo().Mode().Perm(), tr); err != nil {
			return nil, fmt.Errorf("restore file %s: %w", h.Name, err)
		}
		names = append(names, h.Name)
	}
}

func numbered(i int) string { return path.Join(restoreDir, strconv.Itoa(i)) }

func extractFile(root *os.Root, name string, mode fs.FileMode, r io.Reader) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// place gives the numbered files their names and makes these durable.
func place(root *os.Root, names []string) error {
	dirs := map[string]bool{".": true}
	for i, name := range names {
		for dir := path.Dir(name); !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return fmt.Errorf("restore file %s: %w", name, err)
		}
		if err := root.Rename(numbered(i), name); err != nil {
			return fmt.Errorf("restore file %s: %w", name, err)
		}
	}
	for dir := range dirs {
		if err := (archive.OS{}).SyncDir(filepath.Join(root.Name(), filepath.FromSlash(dir))); err != nil {
			return fmt.Errorf("restore files: %w", err)
		}
	}
	return nil
}

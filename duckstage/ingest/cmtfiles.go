package ingest

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// PackageFiles are the contents of file columns that the packages of a source have beside
// their data, as its rows name them: SOURCE:files/ID.bin.
type PackageFiles struct {
	source string
	zips   []*zip.ReadCloser
	shown  []string // of each zip
	files  map[string]*zip.File
}

// OpenPackageFiles opens the packages of a source of format CMT.
func OpenPackageFiles(src Source) (*PackageFiles, error) {
	inputs, err := src.inputs()
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", src.Name, err)
	}
	p := &PackageFiles{source: src.Name, files: map[string]*zip.File{}}
	for _, in := range inputs {
		z, err := zip.OpenReader(in.path)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("source %s: %s: not a zip file, as a package of the Configuration Migration Tool is: %w", src.Name, in.shown, err), p.Close())
		}
		p.zips, p.shown = append(p.zips, z), append(p.shown, in.shown)
		for _, f := range z.File {
			name, ok := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(f.Name, `\`, "/")), "files/")
			path := packagePath(src.Name, name)
			if _, there := p.files[path]; ok && name != "" && !there { // an id is given anew with every content: two of one id are the same
				p.files[path] = f
			}
		}
	}
	return p, nil
}

// packagePath is the path of a file of a package.
func packagePath(source, name string) string { return source + ":files/" + strings.ToLower(name) }

// Close lets go of the packages.
func (p *PackageFiles) Close() error {
	var err error
	for _, z := range p.zips {
		err = errors.Join(err, z.Close())
	}
	return err
}

// Has reports whether a path is one within the packages.
func (p *PackageFiles) Has(path string) bool { return strings.HasPrefix(path, p.source+":") }

// Len is how many files there are.
func (p *PackageFiles) Len() int { return len(p.files) }

// Each calls fn with each file. Its time is made of its checksum: each export gives all files
// another time, and every row with a file would have changed.
func (p *PackageFiles) Each(fn func(path string, size int64, modified time.Time) error) error {
	for path, f := range p.files {
		if err := fn(path, int64(f.UncompressedSize64), time.Unix(int64(f.CRC32), 0)); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a file by its path. It is an io.ReaderAt too, for who reads mostly forwards.
func (p *PackageFiles) Open(path string) (fs.File, error) {
	f, there := p.files[path]
	if !there {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w in %s", fs.ErrNotExist, strings.Join(p.shown, ", "))}
	}
	return &packageReader{f: f}, nil
}

// packageReader reads a packed file, from its beginning again where something before is asked for.
type packageReader struct {
	f *zip.File

	mu sync.Mutex // guards what follows
	r  io.ReadCloser
	at int64
}

func (r *packageReader) Stat() (fs.FileInfo, error) { return r.f.FileInfo(), nil }

func (r *packageReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rewind()
}

func (r *packageReader) rewind() (err error) {
	if r.r != nil {
		err = r.r.Close()
	}
	r.r, r.at = nil, 0
	return err
}

func (r *packageReader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(b)
	r.at += int64(n)
	return n, err
}

func (r *packageReader) open() (err error) {
	if r.r == nil {
		r.r, err = r.f.Open()
	}
	return err
}

// ReadAt is io.ReaderAt's.
func (r *packageReader) ReadAt(b []byte, offset int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offset < r.at {
		_ = r.rewind()
	}
	if err := r.open(); err != nil {
		return 0, err
	}
	skipped, err := io.CopyN(io.Discard, r.r, offset-r.at)
	if r.at += skipped; err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r.r, b)
	if r.at += int64(n); errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

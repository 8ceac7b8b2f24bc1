package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
)

// noFiles is the table of the stage that has nothing yet of the files' folder.
const noFiles = "CREATE TABLE IF NOT EXISTS dm.files (path VARCHAR, size BIGINT, modified TIMESTAMP); DELETE FROM dm.files"

// projectFiles are the files that transforms take content from: those of the folder, and those
// of packages, whose paths begin with their source's name.
type projectFiles struct {
	folder   fs.FS // nil: there is none
	packages []*ingest.PackageFiles
	faults   map[string]error // by source: why its packages cannot be read
	root     *os.Root
}

// Open is fs.FS's.
func (f *projectFiles) Open(path string) (fs.File, error) {
	if source, _, ok := strings.Cut(path, ":"); ok && f.faults[source] != nil {
		return nil, f.faults[source]
	}
	for _, p := range f.packages {
		if p.Has(path) {
			return p.Open(path)
		}
	}
	if f.folder == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return f.folder.Open(path)
}

func (f *projectFiles) close() {
	if f.root != nil {
		f.root.Close()
	}
	for _, p := range f.packages {
		_ = p.Close() // only read from
	}
}

// files opens what transforms take content from. A folder that is missing is a fault only where
// no package has files; paths cannot lead out of it. A package that is missing is one of whoever
// asks for a file of it: a load needs no other source.
func (p *Project) files() (*projectFiles, error) {
	out, packed := &projectFiles{faults: map[string]error{}}, 0
	for _, name := range slices.Sorted(maps.Keys(p.Config.Sources)) {
		if p.Config.Sources[name].Format != ingest.CMT {
			continue
		}
		src, err := p.source(name)
		if err == nil {
			var files *ingest.PackageFiles
			if files, err = ingest.OpenPackageFiles(src); err == nil {
				out.packages = append(out.packages, files)
				packed += files.Len()
			}
		}
		if err != nil {
			out.faults[name] = err
		}
	}
	folder := p.Config.Path(p.Config.Files)
	root, err := os.OpenRoot(folder)
	switch {
	case err == nil:
		out.root, out.folder = root, root.FS()
	case packed+len(out.faults) == 0 || !errors.Is(err, fs.ErrNotExist):
		out.close()
		return nil, fmt.Errorf("open the folder of the files, %s: %w", folder, err)
	}
	return out, nil
}

// listFiles notes in dm.files what lies in the folder of the files and in packages, where a
// transform takes content from there: the stage asks it for each row's file.
func (p *Project) listFiles(ctx context.Context, b *bound) error {
	at := slices.IndexFunc(b.tables, func(t *mapping.Table) bool { return len(t.Files()) > 0 })
	if at < 0 {
		return nil
	}
	files, err := p.files()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the transform of %s takes content from files, and there is no folder %s: put them there, or say with files: in migration.yaml where they are", b.tables[at].Name, p.Config.Path(p.Config.Files))
	}
	if err != nil {
		return err
	}
	defer files.close()
	for _, err := range files.faults {
		return err
	}
	err = p.stage.With(ctx, func(c *duckstage.Conn) error {
		return c.Tx(ctx, func() error {
			if _, err := c.Exec(ctx, noFiles); err != nil {
				return err
			}
			a, err := c.Appender(ctx, "dm", "files")
			if err != nil {
				return err
			}
			return errors.Join(appendFiles(ctx, a, files), a.Close())
		})
	})
	if err != nil {
		return fmt.Errorf("list the files of the transforms: %w", err)
	}
	return nil
}

// appendFiles appends path, size and time of every file. What is no plain file, such as a
// link, counts as not there.
func appendFiles(ctx context.Context, a *duckstage.Appender, files *projectFiles) error {
	b := a.Batch()
	flush := func() error {
		err := a.Append(b)
		b.Reset()
		return err
	}
	add := func(path string, size int64, modified time.Time) error {
		b.Columns[0].AppendText(path)
		b.Columns[1].Ints = append(b.Columns[1].Ints, size)
		b.Columns[2].Ints = append(b.Columns[2].Ints, modified.UnixMicro())
		if b.Rows++; b.Rows == duckstage.MaxAppend {
			return flush()
		}
		return nil
	}
	var err error
	if files.folder != nil {
		err = fs.WalkDir(files.folder, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || ctx.Err() != nil || !d.Type().IsRegular() {
				return errors.Join(err, context.Cause(ctx))
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			return add(path, info.Size(), info.ModTime())
		})
	}
	for _, p := range files.packages {
		if err == nil {
			err = p.Each(add)
		}
	}
	if err == nil {
		err = flush()
	}
	return errors.Join(err, a.Flush())
}

// openFiles gives what the tables' files are read from, if they have any. end lets go of it.
func (p *Project) openFiles(b *bound) (folder fs.FS, end func(), err error) {
	if !slices.ContainsFunc(b.tables, func(t *mapping.Table) bool { return len(t.Files()) > 0 }) {
		return nil, func() {}, nil
	}
	files, err := p.files()
	if err != nil {
		return nil, nil, err
	}
	return files, files.close, nil
}

// fileAnswer is what a dry run takes for the answer to a request with a part of a file; nil
// where it is another.
func fileAnswer(r *http.Request, path string) *http.Response {
	switch {
	case r.Header.Get("X-Ms-Transfer-Mode") == "chunked":
		res := answer200(r, "text/plain", "")
		res.Header.Set("Location", r.URL.Scheme+"://"+r.URL.Host+r.URL.Path+"?sessiontoken=none")
		return res
	case r.Header.Get("Content-Type") == "application/octet-stream":
		return &http.Response{StatusCode: http.StatusNoContent, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}
	case strings.HasSuffix(path, "BlocksUpload"), path == "UploadBlock":
		return answer200(r, "application/json", `{"FileContinuationToken":"none","AnnotationId":"`+nobodyID+`","ActivityMimeAttachmentId":"`+nobodyID+`"}`)
	}
	return nil
}

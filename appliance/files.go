package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
)

// noFiles is the table of the stage that has nothing yet of the files' folder.
const noFiles = "CREATE TABLE IF NOT EXISTS dm.files (path VARCHAR, size BIGINT, modified TIMESTAMP); DELETE FROM dm.files"

// listFiles notes in dm.files what lies in the folder of the files, where a transform takes
// content from there: the stage asks it for each row's file.
func (p *Project) listFiles(ctx context.Context, b *bound) error {
	at := slices.IndexFunc(b.tables, func(t *mapping.Table) bool { return len(t.Files()) > 0 })
	if at < 0 {
		return nil
	}
	folder := p.Config.Path(p.Config.Files)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return fmt.Errorf("the transform of %s takes content from files, and there is no folder %s: put them there, or say with files: in migration.yaml where they are", b.tables[at].Name, folder)
	}
	err := p.stage.With(ctx, func(c *duckstage.Conn) error {
		return c.Tx(ctx, func() error {
			if _, err := c.Exec(ctx, noFiles); err != nil {
				return err
			}
			a, err := c.Appender(ctx, "dm", "files")
			if err != nil {
				return err
			}
			return errors.Join(appendFiles(ctx, a, os.DirFS(folder)), a.Close())
		})
	})
	if err != nil {
		return fmt.Errorf("list the files of %s: %w", folder, err)
	}
	return nil
}

// appendFiles appends path, size and time of every file. What is no plain file, such as a
// link, counts as not there.
func appendFiles(ctx context.Context, a *duckstage.Appender, folder fs.FS) error {
	b := a.Batch()
	flush := func() error {
		err := a.Append(b)
		b.Reset()
		return err
	}
	err := fs.WalkDir(folder, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil || !d.Type().IsRegular() {
			return errors.Join(err, context.Cause(ctx))
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.Columns[0].AppendText(path)
		b.Columns[1].Ints = append(b.Columns[1].Ints, info.Size())
		b.Columns[2].Ints = append(b.Columns[2].Ints, info.ModTime().UnixMicro())
		if b.Rows++; b.Rows == duckstage.MaxAppend {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return errors.Join(err, a.Flush())
}

// openFiles gives the folder of the files to read from; paths cannot lead out of it. end
// lets go of it.
func (p *Project) openFiles(b *bound) (folder fs.FS, end func(), err error) {
	if !slices.ContainsFunc(b.tables, func(t *mapping.Table) bool { return len(t.Files()) > 0 }) {
		return nil, func() {}, nil
	}
	root, err := os.OpenRoot(p.Config.Path(p.Config.Files))
	if err != nil {
		return nil, nil, fmt.Errorf("open the folder of the files (files: in migration.yaml): %w", err)
	}
	return root.FS(), func() { root.Close() }, nil
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

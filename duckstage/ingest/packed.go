package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// DuckDB takes a packed file that was cut off for one that ends there: rows would be missing
// without a word. So such files are unpacked a second time, beside the reading, to see that
// they are whole.

// packedFault is what is wrong with a packed file.
type packedFault struct {
	shown string
	err   error
}

func (e *packedFault) Error() string {
	return fmt.Sprintf("%s is not whole, or damaged (%v): copy it anew", e.shown, e.err)
}

func (e *packedFault) Unwrap() error { return e.err }

// isPacked reports whether a file's name says that it is packed.
func isPacked(path string) bool {
	ext := filepath.Ext(strings.ToLower(path))
	return ext == ".gz" || ext == ".zst"
}

// checkPacked begins to look at the packed files; wait ends it and gives what was found.
func (r *run) checkPacked(ctx context.Context) (wait func() error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, in := range r.inputs {
		if isPacked(in.path) {
			g.Go(func() error { return wholePacked(ctx, in) })
		}
	}
	return g.Wait
}

func wholePacked(ctx context.Context, in input) error {
	f, err := openRaw(in.path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<18)
	for ctx.Err() == nil {
		_, err := f.Read(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &packedFault{in.shown, err}
		}
	}
	return context.Cause(ctx)
}

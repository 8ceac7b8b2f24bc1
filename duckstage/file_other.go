//go:build !linux

package duckstage

import (
	"context"
	"io"
	"os"
)

// writeBehind ends a long copy when its context does.
func writeBehind(ctx context.Context, f *os.File) io.Writer { return stoppable{ctx, f} }

type stoppable struct {
	ctx context.Context // of the one call it lives in
	f   *os.File
}

func (s stoppable) Write(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.f.Write(p)
}

package appliance

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// watchedPart is a part of a snapshot that tells how far its copy is. Copies of a large
// stage take minutes, in which nothing else would be said.
type watchedPart struct {
	of interface {
		Name() string
		SnapshotTo(ctx context.Context, w io.Writer) error
	}
	size  int64 // about how many bytes; 0 = not known
	watch StageWatch
}

// Name is part of backup's interface.
func (p watchedPart) Name() string { return p.of.Name() }

// SnapshotTo is part of backup's interface.
func (p watchedPart) SnapshotTo(ctx context.Context, w io.Writer) error {
	what, done := "copying the "+p.Name(), int64(0)
	p.watch(what, percent(0, p.size))
	return p.of.SnapshotTo(ctx, counting(w, func(n int) {
		done += int64(n)
		p.watch(what, min(percent(done, p.size), 100))
	}))
}

// FirstChunk is what the part asks of the archive, if anything.
func (p watchedPart) FirstChunk() int {
	if f, ok := p.of.(interface{ FirstChunk() int }); ok {
		return f.FirstChunk()
	}
	return 0
}

// Fingerprint is the part's, if it has one.
func (p watchedPart) Fingerprint() string {
	if f, ok := p.of.(interface{ Fingerprint() string }); ok {
		return f.Fingerprint()
	}
	return ""
}

// watchedTarget is what is brought back of a snapshot, telling how far that is.
type watchedTarget struct {
	of interface {
		Name() string
		RestoreFrom(ctx context.Context, r io.Reader) error
	}
	done  *atomic.Int64 // bytes of all parts
	size  int64
	watch StageWatch
}

// Name is part of backup's interface.
func (t watchedTarget) Name() string { return t.of.Name() }

// RestoreFrom is part of backup's interface.
func (t watchedTarget) RestoreFrom(ctx context.Context, r io.Reader) error {
	what := fmt.Sprintf("bringing back the %s", t.Name())
	return t.of.RestoreFrom(ctx, io.TeeReader(r, counting(io.Discard, func(n int) {
		t.watch(what, min(percent(t.done.Add(int64(n)), t.size), 100))
	})))
}

// byteCounter tells how many bytes each write took.
type byteCounter struct {
	to   io.Writer
	took func(n int)
}

func counting(to io.Writer, took func(n int)) io.Writer { return byteCounter{to, took} }

func (c byteCounter) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.took(n)
	return n, err
}

// unwatched is the watcher of work that nobody looks at.
func unwatched(string, float64) {}

// sizeOf is a file's size; 0 where it is not known.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

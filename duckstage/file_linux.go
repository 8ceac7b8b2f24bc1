package duckstage

import (
	"context"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// changeTime is the time of the last change of content, name or mode, in nanoseconds.
func changeTime(st *syscall.Stat_t) int64 { return st.Ctim.Nano() }

// writeBehind has the disk begin with what is written while more is to come, so that the
// sync at the end has little left to do.
func writeBehind(ctx context.Context, f *os.File) io.Writer { return &behind{ctx: ctx, f: f} }

type behind struct {
	ctx       context.Context // of the one call it lives in
	f         *os.File
	at, begun int64
}

// behindStep is how much is given to the disk at a time.
const behindStep = 8 << 20

func (b *behind) Write(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	n, err := b.f.Write(p)
	b.at += int64(n)
	if b.at-b.begun >= behindStep {
		// Only a hint: the sync at the end is what counts.
		_ = unix.SyncFileRange(int(b.f.Fd()), b.begun, b.at-b.begun, unix.SYNC_FILE_RANGE_WRITE)
		b.begun = b.at
	}
	return n, err
}

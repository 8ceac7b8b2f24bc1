package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"dvmigrate/backup/archive"
)

// restoring hands the parts of one snapshot to their targets, one after another. A target
// that has read all of its part waits there until all others have, too: a target puts
// what it has in place when it sees the end, and that must not happen before everything
// has been checked.
type restoring struct {
	store *archive.Store
	m     *archive.Manifest
}

// errAbandoned is what a waiting target gets when another part cannot be restored.
var errAbandoned = errors.New("another part cannot be restored")

func (r *restoring) run(ctx context.Context, to []restorer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := make(chan struct{}) // closed when all have been read
	results := make([]chan error, len(to))
	for i, t := range to {
		result, drained := make(chan error, 1), make(chan struct{})
		results[i] = result
		go func() {
			result <- r.store.ReadPart(ctx, r.m, t.Name(), func(from io.Reader) error {
				return t.RestoreFrom(ctx, &held{ctx: ctx, from: from, drained: drained, end: end})
			})
		}()
		select {
		case <-drained:
		case err := <-result: // it failed, or ended without asking for the end
			result <- err
			if err != nil {
				cancel(errAbandoned)
				for _, earlier := range results[:i] {
					<-earlier
				}
				return r.failed(t.Name(), nil, err)
			}
		}
	}
	close(end)
	var done []string
	var name string
	var failed error
	for i, t := range to {
		err := <-results[i]
		switch {
		case err == nil:
			done = append(done, t.Name())
		case failed == nil:
			name, failed = t.Name(), err
		}
	}
	if failed != nil {
		return r.failed(name, done, failed)
	}
	return nil
}

// failed says what a restore that failed has changed already.
func (r *restoring) failed(name string, done []string, err error) error {
	state := "nothing was changed"
	if len(done) > 0 {
		state = "restored already and to be restored again with the rest: " + strings.Join(done, ", ")
	}
	return fmt.Errorf("restore part %q of snapshot %s (%s): %w", name, r.m.ID, state, err)
}

// held is a part that has no end before the others do.
type held struct {
	ctx     context.Context // of the one Restore call it lives in
	from    io.Reader
	drained chan struct{}
	end     chan struct{}
	closed  bool
}

func (h *held) Read(b []byte) (int, error) {
	n, err := h.from.Read(b)
	if err == io.EOF {
		if err := h.wait(); err != nil {
			return n, err
		}
	}
	return n, err
}

// WriteTo spares io.Copy a buffer.
func (h *held) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, h.from)
	if err == nil {
		err = h.wait()
	}
	return n, err
}

func (h *held) wait() error {
	if !h.closed {
		h.closed = true
		close(h.drained)
	}
	select {
	case <-h.end:
		return nil
	case <-h.ctx.Done():
		return context.Cause(h.ctx)
	}
}

package dataverse

import (
	"context"
	"errors"
	"time"

	"dvmigrate/appliance/dataverse/pace"
)

// ErrStopping is the cause in an Error of a request that gave up waiting because of
// the context given to Stopping.
var ErrStopping = errors.New("no new request is begun")

// graceTime is how long a read goes on waiting once new requests are no longer begun:
// it settles what became of those that were.
const graceTime = 10 * time.Second

type stoppingKey struct{}

// Stopping returns a context for requests that are not begun any more when stop ends:
// what then waits for a permit, for a throttle to pass or for another attempt gives
// up at once, with nothing applied. What is under way comes to its end.
func Stopping(ctx, stop context.Context) context.Context {
	return context.WithValue(ctx, stoppingKey{}, stop)
}

// waits are the waits of one request. Most requests never wait, so their context is
// made when it is needed.
type waits struct {
	ctx  context.Context // the request's
	read bool
	wait context.Context
	over func()
}

// context is the context for a wait.
func (w *waits) context() context.Context {
	if w.wait == nil {
		w.wait, w.over = waiting(w.ctx, w.read)
	}
	return w.wait
}

// may reports whether a request may still be begun without waiting.
func (w *waits) may() bool {
	stop, _ := w.ctx.Value(stoppingKey{}).(context.Context)
	return w.ctx.Err() == nil && (stop == nil || stop.Err() == nil)
}

func (w *waits) done() {
	if w.over != nil {
		w.over()
	}
}

// waiting returns the context for the waits of a request; call the function when it
// is done.
func waiting(ctx context.Context, read bool) (context.Context, func()) {
	stop, _ := ctx.Value(stoppingKey{}).(context.Context)
	if stop == nil {
		return ctx, func() {}
	}
	wait, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(stop, func() {
		if !read {
			cancel(ErrStopping)
			return
		}
		timer := time.AfterFunc(graceTime, func() { cancel(ErrStopping) })
		context.AfterFunc(wait, func() { timer.Stop() })
	})
	return wait, func() {
		detach()
		cancel(nil)
	}
}

// backoff waits before another attempt.
func backoff(ctx context.Context, attempt int, e *Error, read bool) error {
	wait, done := waiting(ctx, read)
	defer done()
	return pace.Backoff(wait, attempt, e.RetryAfter)
}

// Pause waits, as before a record is looked for that a request may still be about to make.
// It gives up as a request does that waits for its permit.
func Pause(ctx context.Context, d time.Duration) error {
	wait, done := waiting(ctx, true)
	defer done()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-wait.Done():
		return context.Cause(wait)
	}
}

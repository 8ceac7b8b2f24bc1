package backup

import (
	"context"
	"errors"
	"time"
)

// Every calls take once an interval, in the caller's goroutine, until ctx ends, and
// returns why it ended. The first call comes after the first interval. A call that
// takes longer than the interval is followed by the next at once, but calls do not
// pile up. An error goes to report and the next call is made all the same: a full disk
// may have room again. A call that ctx cuts short is not reported.
func Every(ctx context.Context, interval time.Duration, take func(context.Context) error, report func(error)) error {
	if interval <= 0 {
		return errors.New("take snapshots: the interval must be greater than zero")
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := take(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
	}
}

package appliance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

// Lookout looks at a project from another process, for days: through the process that
// works on it while there is one, else in its files, which it holds open no longer than
// an answer takes, so that a load can begin at any moment.
type Lookout struct {
	dir  string
	o    Options
	open chan struct{} // has room for who has the files open: one at a time

	mu    sync.Mutex // protects what follows
	last  Status     // as the files were then
	gauge *gauge
	when  fileState // of the ledger, then

	figures  progress.Figures // the same, for metrics
	measured fileState
}

// NewLookout looks at the project in dir. It opens nothing yet.
func NewLookout(dir string, o Options) *Lookout {
	o.Warn = nil // once, by who opens it first, is enough
	return &Lookout{dir: dir, o: o, open: make(chan struct{}, 1)}
}

// Look gives fn the project to look at, with a context that ends when it takes too long.
func (l *Lookout) Look(ctx context.Context, fn func(context.Context, Viewer) error) error {
	return l.with(ctx, View, func(v Viewer) error {
		if _, ours := v.(*Project); ours {
			short, cancel := within(ctx)
			defer cancel()
			err := fn(short, v)
			if err != nil && short.Err() != nil && ctx.Err() == nil {
				return context.Cause(short)
			}
			return err
		}
		return fn(ctx, v)
	})
}

// Change is Look for what changes the ledger too.
func (l *Lookout) Change(ctx context.Context, fn func(Viewer) error) error {
	return l.with(ctx, Join, fn)
}

// lookTime is how long the files may be open: less than a load that begins waits for that.
const lookTime = readersTime - 2*time.Second

func (l *Lookout) with(ctx context.Context, open func(context.Context, string, Options) (Viewer, error), fn func(Viewer) error) error {
	if r := attach(l.dir, l.o); r != nil {
		defer r.Close()
		return fn(r)
	}
	select {
	case l.open <- struct{}{}:
		defer func() { <-l.open }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	v, err := open(ctx, l.dir, l.o)
	if err != nil {
		return err
	}
	defer v.Close()
	return fn(v)
}

// within is a context for a look at the files.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, lookTime, fmt.Errorf("it takes longer than the %v for which the project's files may be kept from a load that begins; ask with `dvmigrate sql`", lookTime))
}

// Status is how the migration stands. While nobody works on the project it is read again
// only when the ledger has changed.
func (l *Lookout) Status(ctx context.Context) (s Status, err error) {
	if r := attach(l.dir, l.o); r != nil {
		defer r.Close()
		return r.Status(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := config.LoadToLook(l.dir, l.o.Env)
	if err != nil {
		return s, err
	}
	if l.gauge == nil {
		l.gauge = newGauge(c)
	}
	machine := &progress.Pulse{Machine: l.gauge.read()}
	now := ledgerState(c)
	if now == l.when {
		s = l.last
		s.Pulse = machine
		return s, nil
	}
	err = l.Look(ctx, func(ctx context.Context, v Viewer) error {
		s, err = v.Status(ctx)
		return err
	})
	if err == nil && s.Running == nil {
		l.last, l.when = s, now
		s.Pulse = machine
	}
	return s, err
}

// ledgerState is by what it is told that the ledger has changed.
func ledgerState(c *config.Config) fileState {
	if info, err := os.Stat(filepath.Join(c.Path(c.Work), "ledger.bolt")); err == nil {
		return fileState{info.Size(), info.ModTime()}
	}
	return fileState{mtime: time.Unix(0, 0)}
}

// Figures are those of the project, by whoever has it open; while nobody has, they are read
// again only when the ledger has changed, however often metrics are collected.
func (l *Lookout) Figures(ctx context.Context) (f progress.Figures, err error) {
	if r := attach(l.dir, l.o); r != nil {
		defer r.Close()
		return r.Figures(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := config.LoadToLook(l.dir, l.o.Env)
	if err != nil {
		return f, err
	}
	now := ledgerState(c)
	if now == l.measured {
		return l.figures, nil
	}
	err = l.Look(ctx, func(ctx context.Context, v Viewer) error {
		f, err = v.Figures(ctx)
		return err
	})
	if err == nil && f.Live == nil {
		l.figures, l.measured = f, now
	}
	return f, err
}

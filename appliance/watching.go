package appliance

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/transform"
)

// Saved is what was saved in a project, and what is to be staged anew for it.
type Saved struct {
	Files []string // relative to the project
	StageOptions
}

// fileState tells whether a file is another one than before.
type fileState struct {
	size  int64
	mtime time.Time
}

// Watcher looks at the files that a staging is made of.
type Watcher struct {
	p    *Project
	seen map[string]fileState
}

// Watcher begins to watch the project's settings, schema, transforms, maps and source files
// as they are now. The project may be closed meanwhile.
func (p *Project) Watcher() *Watcher {
	w := &Watcher{p: p}
	w.seen = w.look()
	return w
}

// watchEvery is how often files are looked at; a change counts when nothing has changed
// for one more look, since editors and copies save in several steps.
const watchEvery = 300 * time.Millisecond

// Next waits for a change. It returns the context's error when that ends.
func (w *Watcher) Next(ctx context.Context) (Saved, error) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	last := w.seen
	for {
		select {
		case <-ctx.Done():
			return Saved{}, context.Cause(ctx)
		case <-ticker.C:
		}
		now := w.look()
		if maps.Equal(now, last) && !maps.Equal(now, w.seen) {
			c := w.change(now)
			w.seen = now
			return c, nil
		}
		last = now
	}
}

// look takes the state of every file that counts.
func (w *Watcher) look() map[string]fileState {
	c := w.p.Config
	patterns := []string{filepath.Join(c.Dir, config.File), c.Path(c.Schema)}
	for _, dir := range []string{c.Path(c.Transforms), filepath.Join(c.Path(c.Transforms), scriptFolder)} {
		patterns = append(patterns, filepath.Join(dir, "*.sql"))
	}
	for _, kind := range []string{"*.csv", "*.xlsx"} { // what texts of choices stand for, and who owners are
		patterns = append(patterns, filepath.Join(c.Dir, mapsFolder, kind))
	}
	for _, s := range c.Sources {
		for _, path := range s.Path {
			patterns = append(patterns, c.Path(path))
		}
	}
	found := map[string]fileState{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			paths = []string{pattern} // of a name that is a pattern by accident
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil {
				found[path] = fileState{info.Size(), info.ModTime()}
			}
		}
	}
	return found
}

// change says what is to be redone for the files that differ.
func (w *Watcher) change(now map[string]fileState) Saved {
	var c Saved
	settings, shared := false, false
	dir := w.p.Config.Path(w.p.Config.Transforms)
	paths := slices.Sorted(maps.Keys(now))
	for path := range w.seen {
		if _, there := now[path]; !there {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		if now[path] == w.seen[path] {
			continue
		}
		rel, err := filepath.Rel(w.p.Config.Dir, path)
		if err != nil {
			rel = path
		}
		c.Files = append(c.Files, filepath.ToSlash(rel))
		_, there := now[path]
		if sources := w.sourcesOf(path); len(sources) > 0 {
			c.Sources = append(c.Sources, sources...)
		} else if filepath.Dir(path) == dir && strings.HasSuffix(path, ".sql") && there {
			c.Tables = append(c.Tables, strings.TrimSuffix(filepath.Base(path), ".sql"))
		} else if table := w.mapOf(path); table != "" {
			c.Tables = append(c.Tables, table)
		} else if filepath.Base(path) == config.File {
			settings = true
		} else {
			shared = true
		}
	}
	switch {
	case settings:
		c.StageOptions = StageOptions{}
	case len(c.Sources) > 0:
		slices.Sort(c.Sources)
		c.Sources, c.Tables = slices.Compact(c.Sources), nil
	case shared: // what several transforms may use, or one that is gone
		c.Tables = nil
		for path := range now {
			if filepath.Dir(path) == dir {
				c.Tables = append(c.Tables, strings.TrimSuffix(filepath.Base(path), ".sql"))
			}
		}
		slices.Sort(c.Tables)
	}
	return c
}

// With is what redoes both what o and what other redoes.
func (o StageOptions) With(other StageOptions) StageOptions {
	whole := func(o StageOptions) bool { return len(o.Sources)+len(o.Tables) == 0 }
	union := func(a, b []string) []string { return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b)))) }
	switch {
	case whole(o) || whole(other):
		return StageOptions{}
	case len(o.Tables) == 0 || len(other.Tables) == 0:
		return StageOptions{Sources: union(o.Sources, other.Sources)}
	}
	return StageOptions{Sources: union(o.Sources, other.Sources), Tables: union(o.Tables, other.Tables)}
}

// mapOf is the table that the map of a choice in a file is of; "" where it is of none that a
// transform makes, or of several, as a workbook is.
func (w *Watcher) mapOf(path string) string {
	if filepath.Dir(path) != filepath.Join(w.p.Config.Dir, mapsFolder) || filepath.Ext(path) != ".csv" {
		return ""
	}
	table, _, _ := strings.Cut(filepath.Base(path), ".")
	if !exists(filepath.Join(w.p.Config.Path(w.p.Config.Transforms), table+".sql")) {
		return ""
	}
	return table
}

// sourcesOf are the sources that a file belongs to.
func (w *Watcher) sourcesOf(path string) []string {
	var out []string
	for name, s := range w.p.Config.Sources {
		for _, pattern := range s.Path {
			if match, err := filepath.Match(w.p.Config.Path(pattern), path); err == nil && match || w.p.Config.Path(pattern) == path {
				out = append(out, name)
				break
			}
		}
	}
	return out
}

// Places are where in the project's files an error is: faults with nothing but their place.
func Places(err error) []config.Fault {
	var faults config.Faults
	var table *transform.TableError
	var sqlError *duckstage.SQLError
	switch {
	case errors.As(err, &faults):
		return faults
	case errors.As(err, &table) && errors.As(err, &sqlError):
		return []config.Fault{{File: table.File, Line: sqlError.Line, Column: sqlError.Column}}
	}
	return nil
}

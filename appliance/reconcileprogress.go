package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"dvmigrate/appliance/reconcile"
)

// unfinishedFile says of each table how far a comparison had come that did not end
// (reconcile.Proven). It goes with the end of one. What it says holds only together with
// <table>.versions: where that began anew, nothing is proven.
const unfinishedFile = "unfinished.json"

// comparisonProgress is that file.
type comparisonProgress struct {
	path     string
	versions *versionFiles
	tables   map[string]*reconcile.Proven // that this comparison has begun
	before   map[string]*reconcile.Proven // of one that was interrupted
}

// openProgress reads what an interrupted comparison has left; with anew it forgets it.
func (p *Project) openProgress(v *versionFiles, anew bool) (*comparisonProgress, error) {
	c := &comparisonProgress{path: filepath.Join(p.work(), reconciledFolder, unfinishedFile), versions: v, tables: map[string]*reconcile.Proven{}}
	if anew {
		return c, c.end()
	}
	if _, err := readNote(c.path, &c.before); err != nil {
		c.before = nil // it is only there to save time
	}
	return c, nil
}

// Proven implements reconcile.Progress.
func (c *comparisonProgress) Proven(table string) *reconcile.Proven {
	if v := c.versions.open[table]; v == nil || v.fresh {
		return nil
	}
	return c.before[table]
}

// Keep implements reconcile.Progress.
func (c *comparisonProgress) Keep(table string, p *reconcile.Proven) error {
	if v := c.versions.open[table]; v != nil {
		if err := v.sync(); err != nil {
			return err
		}
	}
	c.tables[table] = p
	all := map[string]*reconcile.Proven{}
	for _, tables := range []map[string]*reconcile.Proven{c.before, c.tables} {
		for name, p := range tables {
			all[name] = p
		}
	}
	if err := keepNote(c.path, all); err != nil {
		return fmt.Errorf("keep how far the comparison is: %w", err)
	}
	return nil
}

// end forgets how far it was.
func (c *comparisonProgress) end() error {
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

package appliance

import (
	"context"
	"fmt"
	"strings"
)

// listDistant writes down the files of a distant place. They are not hashed: that would
// fetch them all.
func (p *Project) listDistant(ctx context.Context, c *Certificate, name string) error {
	place, err := reach(ctx, name, "", p.Config, p.o.Env)
	if err != nil {
		return err
	}
	defer place.Close()
	files, sizes := place.Contents()
	for _, file := range files {
		c.Destroyed = append(c.Destroyed, DestroyedFile{Path: awayPath(name, file), Kind: kindOf(file), Size: sizes[file]})
	}
	return nil
}

// awayPath is the certificate's name of a file in a distant place.
func awayPath(place, file string) string { return strings.TrimRight(place, "/") + "/" + file }

// destroyDistant removes the certificate's files from a distant place, in its order, and
// what interrupted uploads have left there.
func (p *Project) destroyDistant(ctx context.Context, c *Certificate, name string) error {
	place, err := reach(ctx, name, "", p.Config, p.o.Env)
	if err != nil {
		return fmt.Errorf("destroy: %w", err)
	}
	defer place.Close()
	for _, f := range c.Destroyed {
		file, there := strings.CutPrefix(f.Path, awayPath(name, ""))
		if !there || strings.Contains(file, "/") {
			continue
		}
		if err := place.Remove(ctx, file); err != nil {
			return fmt.Errorf("destroy: %w", err)
		}
	}
	if err := place.Sweep(ctx); err != nil {
		return fmt.Errorf("destroy: %w", err)
	}
	return nil
}

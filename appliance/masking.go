package appliance

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/duckstage/ingest"
)

// defaultShift is by how many days dates move at most where nothing is said.
const defaultShift = 180

// addMasks puts the masks of the settings into a source.
func (p *Project) addMasks(src *ingest.Source, masks map[string]config.Mask) error {
	if len(masks) == 0 || p.Config.Masking.Off {
		return nil
	}
	key, err := p.maskKey()
	if err != nil {
		return err
	}
	src.MaskKey, src.Masks = key, map[string]ingest.Mask{}
	for name, m := range masks {
		mask := ingest.Mask{Kind: m.As, By: m.By}
		if m.By != "" {
			mask.Days = cmp.Or(m.Days, defaultShift)
		}
		src.Masks[name] = mask
	}
	return nil
}

// maskKey is the key that values are masked with.
func (p *Project) maskKey() ([]byte, error) {
	m := p.Config.Masking
	if err := m.Key.Check("masking.key"); err != nil {
		return nil, err
	}
	if !m.Key.IsZero() {
		return []byte(m.Key.Reveal()), nil
	}
	path := p.Config.Path(m.KeyFile)
	if err := ownerOnly(path); err != nil {
		return nil, fmt.Errorf("the key for masking: %w", err)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key for masking: %w", err)
	}
	return bytes.TrimSpace(key), nil
}

// refuseMixedMasks makes sure that what the transforms are about to read is masked as the
// settings say: a source that was staged before they said so would bring its values on.
func (p *Project) refuseMixedMasks(ctx context.Context) error {
	var stale []string
	for _, name := range sourceNames(p.Config, nil) {
		src := ingest.Source{Name: name}
		if err := p.addMasks(&src, p.Config.Sources[name].Mask); err != nil {
			return err
		}
		was, err := p.stage.Meta(ctx, ingest.MaskFact(name))
		if err != nil {
			return err
		}
		staged, err := p.isStaged(ctx, name)
		if err != nil {
			return err
		}
		if staged && was != src.MaskNote() {
			stale = append(stale, name)
		}
	}
	if len(stale) > 0 {
		return fmt.Errorf("%s: staged with other masks, or another key, than the settings have now\nstage anew what is masked: dvmigrate stage %s", strings.Join(stale, ", "), strings.Join(stale, " "))
	}
	return nil
}

// isStaged reports whether a source was ever staged.
func (p *Project) isStaged(ctx context.Context, name string) (bool, error) {
	var n int64
	err := p.stage.Row(ctx, []any{&n}, "SELECT (SELECT count(*) FROM dm.sources WHERE name = ?) + (SELECT count(*) FROM dm.meta WHERE key = ?)", name, "relations of "+name)
	return n > 0, err
}

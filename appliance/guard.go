package appliance

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"dvmigrate/duckstage/transform"
)

// LossError says that the sources have lost so much since the last staging that they may
// not be whole. Nothing that was staged has changed.
type LossError struct {
	Losses []Loss
}

// Loss is one source that has shrunk, or one table of which many rows are gone.
type Loss struct {
	Source string  `json:"source,omitempty"`
	Table  string  `json:"table,omitempty"`
	Before int64   `json:"before"` // rows at the last staging
	Gone   int64   `json:"gone"`   // of them
	Allows float64 `json:"allows"` // the share of them that guard.gone or guard.fewer allows
}

func (e *LossError) Error() string {
	text := ""
	for _, l := range e.Losses {
		share := 100 * float64(l.Gone) / float64(l.Before)
		if l.Source != "" {
			text += fmt.Sprintf("source %s has %d rows fewer than the %d at the last staging (%.1f %%); guard.fewer allows %.4g %%\n", l.Source, l.Gone, l.Before, share, 100*l.Allows)
		} else {
			text += fmt.Sprintf("of the %d rows of %s at the last staging %d are gone (%.1f %%); guard.gone allows %.4g %%\n", l.Before, l.Table, l.Gone, share, 100*l.Allows)
		}
	}
	return text + "nothing that was staged has changed. Is every source whole? If this is meant, run it again with --accept-loss"
}

// fewLost is how many rows may always be gone: of a small table a few are a large share.
const fewLost = 100

// rowsKey is the stage's own fact with the rows that a source had at the last staging.
func rowsKey(source string) string { return "rows of " + source }

// checkShrunk compares the sources as they are read now with the last staging.
func (p *Project) checkShrunk(ctx context.Context, accept bool) error {
	allows := p.Config.Guard.FewerShare()
	if accept || allows == 0 {
		return nil
	}
	var losses []Loss
	err := p.eachSource(ctx, func(name string, rows int64) error {
		text, err := p.stage.Meta(ctx, rowsKey(name))
		if err != nil || text == "" {
			return err
		}
		before, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("read %s: %w", rowsKey(name), err)
		}
		if gone := before - rows; gone > fewLost && float64(gone) > allows*float64(before) {
			losses = append(losses, Loss{Source: name, Before: before, Gone: gone, Allows: allows})
		}
		return nil
	})
	if err != nil || len(losses) == 0 {
		return err
	}
	return &LossError{losses}
}

// keepRows notes how many rows the sources had at this staging.
func (p *Project) keepRows(ctx context.Context) error {
	return p.eachSource(ctx, func(name string, rows int64) error {
		return p.stage.SetMeta(ctx, rowsKey(name), strconv.FormatInt(rows, 10))
	})
}

func (p *Project) eachSource(ctx context.Context, each func(name string, rows int64) error) error {
	type source struct {
		name string
		rows int64
	}
	var all []source
	err := p.stage.Rows(ctx, `SELECT name, "rows" FROM dm.sources ORDER BY name`, nil, func(scan func(...any) error) error {
		var s source
		var rows sql.NullInt64
		err := scan(&s.name, &rows)
		s.rows = rows.Int64
		all = append(all, s)
		return err
	})
	if err != nil {
		return fmt.Errorf("list the sources: %w", err)
	}
	for _, s := range all {
		if err := each(s.name, s.rows); err != nil {
			return err
		}
	}
	return nil
}

// loss translates the transform's own guard.
func loss(err error) error {
	var gone *transform.GoneError
	if !errors.As(err, &gone) {
		return err
	}
	return &LossError{[]Loss{{Table: gone.Table, Before: gone.Rows, Gone: gone.Gone, Allows: gone.Allows}}}
}

// unproven are notes on sources whose feed cannot tell that a row is gone.
func (p *Project) unproven(names []string) (notes []string) {
	slices.Sort(names)
	for _, name := range names {
		if p.Config.Sources[name].Feed == "changes" {
			notes = append(notes, fmt.Sprintf("source %s delivers changes and no tombstones: rows that it has lost are not noticed, and their records stay", name))
		}
	}
	return notes
}

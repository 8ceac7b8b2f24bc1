package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage/transform"
	"dvmigrate/ledger"
)

// Mended is what came of a file of mended rows.
type Mended struct {
	Version int              `json:"version"`
	Table   string           `json:"table"`
	Rows    int64            `json:"rows"`    // of the file
	Changed int64            `json:"changed"` // of them, rows with another value than the transform yields
	Columns map[string]int64 `json:"columns"` // how many values of each column are mended
	Waiting int64            `json:"waiting"` // rows that the next load sends
	Held    int64            `json:"held"`    // rows that still do not fit: `errors` says why
	Left    []LeftRow        `json:"left"`    // rows that were left alone
	DryRun  bool             `json:"dryRun,omitempty"`
}

// LeftRow is a row of a file that was left alone.
type LeftRow struct {
	Line      int    `json:"line"`
	LegacyKey string `json:"legacyKey"`
	Why       string `json:"why"`
}

// RetryFrom takes a file that ExportFailures wrote and somebody mended: values that differ
// from what the transform yields take their place, in this staging and all that come, as
// long as the transform yields the same; its table is transformed anew, and the file's rows
// wait again. Rows that the target has are left alone. With dry nothing changes.
func (p *Project) RetryFrom(ctx context.Context, path string, dry bool, watch StageWatch) (r Mended, err error) {
	r = Mended{Version: 1, Columns: map[string]int64{}, Left: []LeftRow{}, DryRun: dry}
	file, err := readMended(path)
	if err != nil {
		return r, err
	}
	r.Table, r.Rows = file.table, int64(len(file.rows))
	if err := p.refuseUnsettled(); err != nil {
		return r, err
	}
	if !dry {
		end, err := p.record(ctx, "retry", p.o.Args)
		if err != nil {
			return r, err
		}
		defer func() {
			end(err, fmt.Sprintf("%s of %s mended, %d waiting again", progress.Counted(r.Changed, "row"), r.Table, r.Waiting))
		}()
	}
	if err := p.sync(ctx); err != nil {
		return r, err
	}
	specs, err := p.specs(ctx)
	if err != nil {
		return r, err
	}
	at := slices.IndexFunc(specs, func(t transform.Table) bool { return t.Name == file.table })
	if at < 0 {
		return r, fmt.Errorf("%s: there is no table %q in this project", path, file.table)
	}
	ranges, err := p.mayRetry(ctx, file, &r)
	if err != nil {
		return r, err
	}
	scripts, err := p.scripts()
	if err != nil {
		return r, err
	}
	mends, err := p.findMends(ctx, file, scripts, specs[at], &r)
	if err != nil || dry {
		return r, err
	}
	if len(mends) > 0 {
		watch("transforming "+file.table, -1)
		if err := transform.StoreMends(ctx, p.stage, scripts, specs[at], mends); err != nil {
			return r, file.explain(err)
		}
		if _, err := transform.Run(ctx, p.stage, scripts, specs[at:at+1], nil); err != nil {
			return r, err
		}
		if err := errors.Join(p.sync(ctx), p.createViews(ctx)); err != nil {
			return r, err
		}
	}
	return r, p.waitAgain(ctx, file.table, ranges, &r)
}

// waitAgain lets the rows wait, but for those that do not fit the target, and counts.
func (p *Project) waitAgain(ctx context.Context, table string, ranges []ledger.Range, r *Mended) error {
	if len(ranges) == 0 {
		return nil
	}
	f := ledger.Filter{Ranges: ranges}
	for c := range load.ClassNames() {
		if class := load.Class(c); class != load.ClassPrevalidate && class != load.ClassOrphan {
			f.Classes = append(f.Classes, uint8(c))
		}
	}
	if _, err := p.ledger.Retry(ctx, table, f); err != nil {
		return fmt.Errorf("retry %s: %w", table, err)
	}
	for _, one := range ranges {
		for seq := one.From; seq < one.To; seq++ {
			switch e, _ := p.ledger.Entry(table, seq); e.Flag {
			case ledger.Unprocessed, ledger.Success:
				r.Waiting++
			case ledger.Held:
				r.Held++
			}
		}
	}
	return nil
}

// mayRetry finds the rows of the file that may be sent, as records of the ledger, and
// leaves the others alone.
func (p *Project) mayRetry(ctx context.Context, f *mendedFile, r *Mended) ([]ledger.Range, error) {
	keys := make([]string, len(f.rows))
	for i := range f.rows {
		keys[i] = f.rows[i].key
	}
	seqs, err := p.keySeqs(ctx, f.table, keys)
	if err != nil {
		return nil, err
	}
	var chosen []uint32
	for i := range f.rows {
		row := &f.rows[i]
		seq, known := seqs[row.key]
		if !known {
			return nil, fmt.Errorf("%s:%d: %s has no row with legacy key '%s'; a spreadsheet may have changed it, such as 007 to 7", f.path, row.line, f.table, row.key)
		}
		e, _ := p.ledger.Entry(f.table, seq)
		switch {
		case e.Flag == ledger.Failed || e.Flag == ledger.Held || e.Flag == ledger.Unprocessed && e.Action != ledger.Nothing:
			chosen = append(chosen, seq)
			continue
		case e.Action == ledger.Nothing:
			row.left = true
			r.Left = append(r.Left, LeftRow{row.line, row.key, "its row is not supplied any more"})
		default:
			row.left = true
			r.Left = append(r.Left, LeftRow{row.line, row.key, "the target has it: it did not fail"})
		}
	}
	slices.Sort(chosen)
	var ranges []ledger.Range
	for _, seq := range chosen {
		ranges = addRange(ranges, seq)
	}
	return ranges, nil
}

// findMends compares the file with what the transform yields.
func (p *Project) findMends(ctx context.Context, f *mendedFile, scripts []transform.Script, spec transform.Table, r *Mended) ([]transform.Mend, error) {
	rows := make(map[string]*mendedRow, len(f.rows))
	for i := range f.rows {
		if row := &f.rows[i]; !row.left {
			rows[row.key] = row
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	var mends []transform.Mend
	var at []int
	err := transform.Yield(ctx, p.stage, scripts, spec, keysSQL(rows), func(key string, names, values []string) error {
		if at == nil {
			for _, name := range f.names {
				i := slices.Index(names, name)
				if i < 0 {
					return fmt.Errorf("%s:1: the transform of %s yields no column %q that could be mended; a remark of your own may stay if its name begins with dm_", f.path, f.table, name)
				}
				at = append(at, i)
			}
		}
		changed := false
		for k, i := range at {
			if value := rows[key].values[k]; !sameText(value, values[i]) {
				mends = append(mends, transform.Mend{Key: key, Column: names[i], Was: values[i], Value: value})
				r.Columns[names[i]]++
				changed = true
			}
		}
		if changed {
			r.Changed++
		}
		return nil
	})
	return mends, err
}

// sameText compares values of which one has gone through a file, where a line end is \n.
func sameText(a, b string) bool {
	return a == b || strings.ReplaceAll(a, "\r\n", "\n") == strings.ReplaceAll(b, "\r\n", "\n")
}

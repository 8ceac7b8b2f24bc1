package appliance

import (
	"context"
	"errors"

	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

// Viewer looks at a project: this process has it open, or asks the one that has.
type Viewer interface {
	Status(ctx context.Context) (Status, error)
	Failures(ctx context.Context, f FailureFilter) (FailureList, error)
	FailureGroups(ctx context.Context, f FailureFilter) (FailureGroups, error)
	// ExportFailures writes files; path is absolute.
	ExportFailures(ctx context.Context, f FailureFilter, path string) (Exported, error)
	// SQL answers one statement, which must only read. row is called for each row with the
	// columns' names and values: nil, bool, int64, float64, json.Number or string; once
	// with nil as values where there are no rows.
	SQL(ctx context.Context, query string, row func(names []string, values []any) error) error
	TakeSnapshot(ctx context.Context, to []string, watch StageWatch) (SnapshotInfo, error)
	// Audit reads a part of the audit trail.
	Audit(ctx context.Context, q AuditQuery) (AuditPage, error)
	// CheckLedger checks the whole ledger, against the stage too.
	CheckLedger(ctx context.Context) (LedgerReport, error)
	LedgerStats(ctx context.Context) (LedgerStats, error)
	// Figures are what is measured, for who collects metrics.
	Figures(ctx context.Context) (progress.Figures, error)
	// History is how the load that runs has done since it began.
	History(ctx context.Context) (progress.History, error)
	Steer(ctx context.Context, s Steer) (said string, err error)
	Looker
	Browser
	Close() error
}

// View opens a project to look at it, and changes nothing. While another process works
// on it, that one is asked.
func View(ctx context.Context, dir string, o Options) (Viewer, error) {
	return view(ctx, dir, Viewing, o)
}

// Join is View for what changes the ledger too, such as a snapshot, of which it notes
// that it was taken.
func Join(ctx context.Context, dir string, o Options) (Viewer, error) {
	return view(ctx, dir, Loading, o)
}

func view(ctx context.Context, dir string, mode Mode, o Options) (Viewer, error) {
	if r := attach(dir, o); r != nil { // at once, where opening would wait for the lock
		return r, nil
	}
	o.looking = mode == Viewing
	p, err := Open(ctx, dir, mode, o)
	var inUse *InUseError
	if err == nil {
		return p, nil
	} else if !errors.As(err, &inUse) {
		return nil, err
	}
	if r := attach(dir, o); r != nil { // it has begun meanwhile
		return r, nil
	}
	return nil, err
}

// SQL implements Viewer on the project's own stage. Whoever sits at this machine may read
// its files in a SELECT; nothing is written, and no setting of a load that runs is changed.
func (p *Project) SQL(ctx context.Context, query string, row func([]string, []any) error) error {
	err := p.rows(ctx, query, row)
	if errors.Is(err, duckstage.ErrNotQuery) {
		return errors.New("this statement was not run, as `dvmigrate sql` only reads: SELECT, FROM, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN; `dvmigrate sql --csv -c \"SELECT ...\" > FILE` writes rows to a file")
	}
	return err
}

// rows runs a query and calls row as SQL does.
func (p *Project) rows(ctx context.Context, query string, row func([]string, []any) error) error {
	var names []string
	var values []any
	return p.stage.Query(ctx, query, func(columns []duckstage.ColumnInfo, b *column.Batch) error {
		if names == nil {
			for _, c := range columns {
				names = append(names, c.Name)
			}
			values = make([]any, len(names))
		}
		if b.Rows == 0 {
			return row(names, nil)
		}
		for i := range b.Rows {
			for k := range b.Columns {
				values[k] = b.Columns[k].Value(i)
			}
			if err := row(names, values); err != nil {
				return err
			}
		}
		return nil
	})
}

package appliance

import (
	"context"
	"strings"
	"time"

	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// wholeRelations are the table functions about the ledger as a whole. They read what is kept, so they
// answer at once however many records there are.
func (p *Project) wholeRelations() []duckstage.TableFunc {
	return []duckstage.TableFunc{
		rowFunc("ledger_progress", p.progressRows, "table_name VARCHAR", "source BIGINT", "processed BIGINT", "success BIGINT", "in_flight BIGINT", "unprocessed BIGINT",
			"error BIGINT", "held BIGINT", "nothing BIGINT", "done_percent DOUBLE", "next_pass VARCHAR"),
		rowFunc("ledger_runs", p.runRows, "run BIGINT", "command VARCHAR", "started_at TIMESTAMP", "ended_at TIMESTAMP", "records BIGINT", "failed BIGINT", "seconds DOUBLE",
			"records_per_second DOUBLE", "note VARCHAR"),
		rowFunc("ledger_generations", p.generationRows, "number INTEGER", "name VARCHAR", "kind VARCHAR", "table_name VARCHAR", "inserts BIGINT", "updates BIGINT",
			"deletes BIGINT", "gone BIGINT", "planned_at TIMESTAMP", "begun_at TIMESTAMP", "finished_at TIMESTAMP"),
		rowFunc("ledger_reconciled", p.reconciledRows, "table_name VARCHAR", "compared_at TIMESTAMP", "generation VARCHAR", "loaded BIGINT", "in_target BIGINT", "missing BIGINT",
			"extra BIGINT", "different BIGINT", "duplicates BIGINT", "others BIGINT", "pass BOOLEAN", "failures VARCHAR"),
		rowFunc("ledger_audit", p.auditRows, "entry BIGINT", "at TIMESTAMP", "event VARCHAR", "of BIGINT", "command VARCHAR", "args VARCHAR", "user_name VARCHAR", "host VARCHAR",
			"pid BIGINT", "program VARCHAR", "fingerprint VARCHAR", "result VARCHAR", "failed BOOLEAN", "seconds DOUBLE", "hash VARCHAR"),
	}
}

// rowFunc is a table function that has its rows at once. Columns are "name TYPE"; values are string (an
// empty one is null), bool, int64, float64 and time.Time (the zero time is null).
func rowFunc(name string, rows func() ([][]any, error), columns ...string) duckstage.TableFunc {
	f := duckstage.TableFunc{Name: name}
	for _, c := range columns {
		name, kind, _ := strings.Cut(c, " ")
		f.Columns = append(f.Columns, duckstage.ColumnInfo{Name: name, SQLType: kind})
	}
	f.Open = func(context.Context, []any) (duckstage.Reading, error) {
		left, err := rows()
		fill := func(b *column.Batch, limit int, _ []bool) error {
			for ; len(left) > 0 && b.Rows < limit; left = left[1:] {
				for i, v := range left[0] {
					appendValue(&b.Columns[i], v, b.Rows)
				}
				b.Rows++
			}
			return nil
		}
		return duckstage.Reading{Rows: int64(len(left)), Fill: fill}, err
	}
	return f
}

func appendValue(c *column.Vector, v any, row int) {
	switch v := v.(type) {
	case string:
		appendText(c, v, row)
	case int64:
		c.Ints = append(c.Ints, v)
	case float64:
		c.Floats = append(c.Floats, v)
	case bool:
		n := int64(0)
		if v {
			n = 1
		}
		c.Ints = append(c.Ints, n)
	case time.Time:
		c.Ints = append(c.Ints, v.UnixMicro())
		if v.IsZero() {
			c.SetNull(row, chunk)
		}
	}
}

func (p *Project) progressRows() (rows [][]any, err error) {
	for _, t := range p.ledger.Tables() {
		counts := p.ledger.Counts(t.Name)
		s := tableStatus(t.Name, counts)
		done := 100.0
		if s.Source > 0 {
			done = 100 * float64(s.Processed) / float64(s.Source)
		}
		rows = append(rows, []any{t.Name, s.Source, s.Processed, s.Success, s.InFlight, s.Unprocessed, s.Error, s.Held, int64(counts.Action(ledger.Nothing)), done, s.Next})
	}
	return rows, nil
}

// runsShown is how many runs SQL shows, the newest.
const runsShown = 100_000

func (p *Project) runRows() (rows [][]any, err error) {
	runs, err := p.ledger.RunLog(runsShown)
	for _, r := range runs {
		end := r.End
		if end.IsZero() { // it goes on, or was killed
			rows = append(rows, []any{int64(r.ID), r.Command, r.Start, end, r.Records, r.Failed, 0.0, 0.0, r.Note})
			continue
		}
		seconds := end.Sub(r.Start).Seconds()
		rows = append(rows, []any{int64(r.ID), r.Command, r.Start, end, r.Records, r.Failed, seconds, float64(r.Records) / max(seconds, 0.001), r.Note})
	}
	return rows, err
}

func (p *Project) generationRows() (rows [][]any, err error) {
	all, err := p.ledger.Generations()
	for _, g := range all {
		for _, t := range p.ledger.Tables() {
			if c, ok := g.Tables[t.Name]; ok {
				rows = append(rows, []any{int64(g.Number), g.Name(), g.Kind, t.Name, c.Insert, c.Update, c.Delete, c.Gone, g.Planned, g.Begun, g.Finished})
			}
		}
	}
	return rows, err
}

func (p *Project) auditRows() (rows [][]any, err error) {
	for from := uint64(1); ; {
		list, err := p.ledger.Audit(from, 1000)
		if err != nil || len(list) == 0 {
			return rows, err
		}
		for _, e := range list {
			from = e.Seq + 1
			rows = append(rows, []any{int64(e.Seq), e.Time, e.Event, int64(e.Of), e.Command, strings.Join(e.Args, " "), e.User, e.Host, int64(e.PID), e.Version, e.Fingerprint,
				e.Result, e.Failed, e.Duration.Seconds(), e.Hash})
		}
	}
}

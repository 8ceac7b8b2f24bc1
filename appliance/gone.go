package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

var gonePolicy = map[string]load.Gone{"report": load.GoneReport, "delete": load.GoneDelete, "deactivate": load.GoneDeactivate}

// goneFaults are policies for gone rows that the table cannot follow.
func (p *Project) goneFaults(t *mapping.Table) config.Faults {
	policy := p.Config.Table(t.Name).Gone
	fault := func(message, hint string) config.Faults {
		f := p.Config.FaultAt("tables."+t.Name+".gone", fmt.Sprintf("table %s: %s", t.Name, message))
		f.Hint = hint
		return config.Faults{f}
	}
	switch {
	case policy == "deactivate" && t.Link != nil:
		return fault("links of an N:N relationship have no state", "use gone: delete, which takes them back")
	case policy == "deactivate":
		if _, err := load.InactiveBody(t.Schema); err != nil {
			return fault("gone: deactivate: "+err.Error(), "use gone: delete or report")
		}
	case policy == "delete" && partitioned(t):
		return fault("records in partitions of their own cannot be deleted: the partition of a row that is gone is not known", "use gone: report")
	}
	return nil
}

// partitioned reports whether the records of an elastic table are in partitions that the transform names, so
// that an id alone does not find them.
func partitioned(t *mapping.Table) bool {
	return t.Schema != nil && t.Schema.Kind == schema.Elastic && slices.ContainsFunc(t.Columns, func(c mapping.Column) bool { return c.LogicalName == "partitionid" })
}

// goneSince are the rows that went with a generation or a later one.
func (p *Project) goneSince(ctx context.Context, table, generation string) (map[uint32]bool, error) {
	gone := map[uint32]bool{}
	err := p.stage.Rows(ctx, `SELECT seq FROM dm.gone WHERE "table" = ? AND generation >= ?::UINTEGER`, []any{table, generation}, func(scan func(...any) error) error {
		var seq uint32
		if err := scan(&seq); err != nil {
			return err
		}
		gone[seq] = true
		return nil
	})
	return gone, err
}

// judgeGone finds how the rows that are gone are to be taken: which of them count as new, and
// whether their records stay (guard.go).
func (s *syncer) judgeGone(ctx context.Context) error {
	key := keptKey(s.table.Name)
	since, err := s.p.stage.Meta(ctx, key)
	if err != nil {
		return err
	}
	sources, err := s.p.unread(ctx, s.table.Name)
	if err != nil {
		return err
	}
	switch s.keeps = len(sources) > 0; {
	case s.keeps && since == "":
		return s.p.stage.SetMeta(ctx, key, s.table.Generation)
	case s.keeps:
		return nil
	case since == "":
		since = s.table.Generation
	default:
		s.caughtUp = true
	}
	if s.p.Config.Table(s.table.Name).Gone == "deactivate" {
		s.fresh, err = s.p.goneSince(ctx, s.table.Name, since)
	}
	return err
}

// caught forgets that records stayed, once what becomes of them is in the ledger.
func (s *syncer) caught(ctx context.Context) error {
	if !s.caughtUp {
		return nil
	}
	return s.p.stage.SetMeta(ctx, keptKey(s.table.Name), "")
}

// dm.deactivated has the rows that were gone and whose records were planned to become inactive, also
// when they are back, until that is loaded: such a record is made active again, if it is still as it
// was left (load.Settings.Reopens).
const deactivatedTable = `CREATE TABLE IF NOT EXISTS dm.deactivated ("table" VARCHAR, seq UINTEGER)`

// deactivated are the tables with such rows that are staged.
func (p *Project) deactivated(ctx context.Context) (map[string]bool, error) {
	tables := map[string]bool{}
	if known, err := p.knowsDeactivated(ctx); err != nil || !known {
		return tables, err
	}
	err := p.stage.Rows(ctx, `SELECT DISTINCT "table" FROM dm.deactivated`, nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		tables[name] = true
		return err
	})
	return tables, err
}

func (p *Project) knowsDeactivated(ctx context.Context) (bool, error) {
	var n int64
	err := p.stage.Row(ctx, []any{&n}, "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'dm' AND table_name = 'deactivated'")
	return n > 0, err
}

// forgetReopened forgets the rows of dm.deactivated that are back and loaded since. It looks before
// the generation is planned.
func (s *syncer) forgetReopened(ctx context.Context) error {
	if known, err := s.p.knowsDeactivated(ctx); err != nil || !known {
		return err
	}
	var done []string
	query := fmt.Sprintf(`SELECT d.seq FROM dm.deactivated d JOIN %s t ON t.dm_seq = d.seq WHERE d."table" = ? AND t.dm_change <> 'I'`, duckstage.Ident(s.table.Name))
	err := s.p.stage.Rows(ctx, query, []any{s.table.Name}, func(scan func(...any) error) error {
		var seq uint32
		err := scan(&seq)
		if e, _ := s.p.ledger.Entry(s.table.Name, seq); e.Flag == ledger.Processed {
			done = append(done, fmt.Sprint(seq))
		}
		return err
	})
	for some := range slices.Chunk(done, syncPiece) {
		if err == nil {
			_, err = s.p.stage.Exec(ctx, fmt.Sprintf(`DELETE FROM dm.deactivated WHERE "table" = %s AND seq IN (%s)`, duckstage.Quote(s.table.Name), strings.Join(some, ",")))
		}
	}
	return err
}

// keepDeactivated notes the rows whose records are about to be planned to become inactive.
func (s *syncer) keepDeactivated(ctx context.Context) error {
	if len(s.closed) == 0 {
		return nil
	}
	if _, err := s.p.stage.Exec(ctx, deactivatedTable); err != nil {
		return err
	}
	for _, r := range s.closed {
		if _, err := s.p.stage.Exec(ctx, fmt.Sprintf(`INSERT INTO dm.deactivated SELECT %[1]s, n::UINTEGER FROM range(%[2]d, %[3]d) r(n) WHERE NOT EXISTS (SELECT 1 FROM dm.deactivated d WHERE d."table" = %[1]s AND d.seq = n)`,
			duckstage.Quote(s.table.Name), r.From, r.To)); err != nil {
			return err
		}
	}
	s.closed = s.closed[:0]
	return nil
}

// planGone decides what becomes of a record whose row is not supplied any more. What the
// target does not have is withdrawn.
func (s *syncer) planGone(seq uint32, e ledger.Entry) {
	switch policy := s.p.Config.Table(s.table.Name).Gone; {
	case e.Action == ledger.Delete && e.Flag == ledger.Held && policy == "delete" && !s.keeps: // children that were to stay may have gone
		s.retry = addRange(s.retry, seq)
		s.carry(e)
	case e.Action == ledger.Nothing || e.Action == ledger.Delete:
		s.carry(e)
	case !inTarget(e):
		s.do(seq, ledger.Nothing)
	case policy == "delete" && !s.keeps:
		s.do(seq, ledger.Delete)
	case policy == "deactivate" && !s.keeps && (s.fresh[seq] || e.Action == ledger.Update && e.Flag != ledger.Processed):
		s.do(seq, ledger.Update)
		s.closed = addRange(s.closed, seq)
	case e.Flag != ledger.Processed: // an update or a later pass that no row is there for any more
		s.finished = addRange(s.finished, seq)
	}
}

// finish notes that nothing is owed to records any more.
func (s *syncer) finish(ctx context.Context) error {
	l, name := s.p.ledger, s.table.Name
	for _, r := range s.finished {
		for seq := r.From; seq < r.To; { // what a kill amid this has left is in flight already
			e, _ := l.Entry(name, seq)
			part := ledger.Range{From: seq, To: seq + 1}
			for part.To < r.To {
				if next, _ := l.Entry(name, part.To); (next.Flag == ledger.InFlight) != (e.Flag == ledger.InFlight) {
					break
				}
				part.To++
			}
			seq = part.To
			if e.Flag != ledger.InFlight {
				if err := errors.Join(l.Plan(ctx, name, []ledger.Planned{{Range: part, Action: ledger.Update}}), l.Claim(ctx, name, ledger.Main, []ledger.Range{part})); err != nil {
					return err
				}
			}
			if err := l.Settle(ctx, name, []ledger.Outcome{{Range: part, Result: ledger.ResultSuccess}}); err != nil {
				return err
			}
		}
	}
	s.finished = s.finished[:0]
	return nil
}

package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
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

// freshlyGone are the rows that went with the generation.
func (p *Project) freshlyGone(ctx context.Context, t stagedTable) (map[uint32]bool, error) {
	gone := map[uint32]bool{}
	err := p.stage.Rows(ctx, `SELECT seq FROM dm.gone WHERE "table" = ? AND generation = ?::UINTEGER`, []any{t.Name, t.Generation}, func(scan func(...any) error) error {
		var seq uint32
		if err := scan(&seq); err != nil {
			return err
		}
		gone[seq] = true
		return nil
	})
	return gone, err
}

// planGone decides what becomes of a record whose row is not supplied any more. What the
// target does not have is withdrawn.
func (s *syncer) planGone(seq uint32, e ledger.Entry) {
	switch policy := s.p.Config.Table(s.table.Name).Gone; {
	case e.Action == ledger.Nothing || e.Action == ledger.Delete:
	case !inTarget(e):
		s.do(seq, ledger.Nothing)
	case policy == "delete":
		s.do(seq, ledger.Delete)
	case policy == "deactivate" && (s.fresh[seq] || e.Action == ledger.Update && e.Flag != ledger.Processed):
		s.do(seq, ledger.Update)
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

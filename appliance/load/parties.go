package load

import (
	"context"
	"fmt"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// An activity's parties are made with it, within its create, so that one is there with the
// other. An update cannot carry them: they are replaced by a request of their own after it,
// and both are absolute, so that after a lost answer both are sent again. Bulk requests are
// not documented to take either (dataverse-web-api.md 4.8, 5.3).

// createBody is the body of a single create.
func (s *sender) createBody(i int) []byte {
	body := s.w.encoder.CreateBody(nil, s.j.record(i))
	if s.w.parties {
		return s.w.table.WithParties(body, s.j.party[i])
	}
	return body
}

func (s *sender) replaceParties(ctx context.Context, i int) error {
	return s.target.ReplaceParties(ctx, s.w.table.Schema, s.j.ids[i], s.w.table.PartyNav, mapping.PartiesBody(s.j.party[i]))
}

// holdParties holds back the waiting activities of which a party failed or is held.
func (l *Loader) holdParties(ctx context.Context, t *mapping.Table) error {
	for i := range t.Parties {
		p := &t.Parties[i]
		for k := range p.Targets {
			target := &p.Targets[k]
			if !target.Staged || l.missing(target.Table) == 0 {
				continue
			}
			if err := l.holdBehind(ctx, t, ledger.Main, p.PointsSQL(t.Name, target), p.LogicalName, target.Table); err != nil {
				return fmt.Errorf("hold back activities whose %s failed: %w", target.Table, err)
			}
		}
	}
	return nil
}

// translateParties is translate for the parties of a row.
func (f *feeder) translateParties(b *column.Batch, i int) (why string, err error) {
	for n := range f.w.table.Parties {
		p := &f.w.table.Parties[n]
		v := b.Column(p.LogicalName)
		if v == nil || v.Null(i) {
			continue
		}
		for k := range p.Targets {
			if !p.Targets[k].Kept {
				continue
			}
			table := p.Targets[k].Table
			err = p.Targets[k].EachID(v.TextAt(i), func(text []byte) error {
				staged, err := schema.ParseGUID(string(text))
				if err != nil {
					return err
				}
				id, known, err := f.l.keptID(table, staged)
				if !known {
					why = fmt.Sprintf("%s: Dataverse has given the %s it points to no id yet", p.LogicalName, table)
				}
				schema.GUID(id).Append(text[:0])
				return err
			})
			if why != "" || err != nil {
				return why, err
			}
		}
	}
	return "", nil
}

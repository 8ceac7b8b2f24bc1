package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// Where a relationship cascades an assignment, a parent that a load assigns takes its children along, and so
// does one that gets its owner back: children in its own table may have got theirs before. So owners are
// looked at again, until none is wrong: one round for each level of parents, and none of it is noted, since to
// look again does no harm.

// ownerRounds bounds the levels of parents; what a cascade leaves wrong beyond is for reconcile to find.
const ownerRounds = 20

const ownerReading = "_ownerid_value"

// Cascades reports whether an assignment of a record of a table may change the owners of these.
func Cascades(t *schema.Table, from string) bool {
	return slices.ContainsFunc(t.ManyToOne, func(r schema.Relationship) bool {
		how := r.Cascade["Assign"]
		return (from == "" || r.Target == from) && how != "" && how != "NoCascade"
	})
}

// wentAlong reports whether a record has the owner that it has since a parent was assigned, by this migration: the
// last change is ours, and what it was given is not what it has.
func (s *sender) wentAlong(name string, have map[string]any) bool {
	_, told := have[modifiedBy]
	return name == ownerReading && told && Cascades(s.w.table.Schema, "") && !s.l.changedBy(have)
}

// ownersAgain gives records that were restored their owners back once more, where a parent of them took
// them along.
func (l *Loader) ownersAgain(ctx, drain context.Context, t *mapping.Table, step plan.Step) error {
	if t.Lookup("ownerid") == nil || !Cascades(t.Schema, t.Name) {
		return nil
	}
	for range ownerRounds {
		var wrong atomic.Int64
		err := l.eachRestored(ctx, drain, t, step, l.back.Tables[t.Name].Restore, func(ctx context.Context, s *sender) error {
			n, err := s.assignAgain(ctx)
			wrong.Add(int64(n))
			return err
		})
		if errors.Is(err, dataverse.ErrStopping) {
			return ErrDrained
		}
		if err != nil || wrong.Load() == 0 {
			return err
		}
		l.o.Watch.Note(t.Name, fmt.Sprintf("%s had gone along with a parent that was assigned; owners are right again", progress.Counted(wrong.Load(), "record")))
	}
	return nil
}

// assignAgain assigns those of the job's records that went back and have another owner than they are to have, of
// which the last change is ours: a cascade is.
func (s *sender) assignAgain(ctx context.Context) (wrong int, err error) {
	of := map[schema.GUID]int{}
	var ids []schema.GUID
	for _, i := range s.j.all() {
		e, _ := s.l.book.Entry(s.w.table.Name, s.j.seqs[i])
		if _, had := s.j.formers[i].had[ownerReading]; had && e.Flag == ledger.Processed {
			of[s.j.ids[i]] = i
			ids = append(ids, s.j.ids[i])
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	var ops []dataverse.Op
	err = s.target.Records(ctx, s.w.table.Schema, ids, []string{modifiedBy, ownerReading}, func(id schema.GUID, row json.RawMessage) error {
		i, asked := of[id]
		var have map[string]any
		if err := decode(row, &have); err != nil || !asked {
			return err
		}
		had := s.j.formers[i].had[ownerReading]
		if s.sameStored(ownerReading, had, have[ownerReading]) || !s.l.back.Overwrite && s.l.changedBy(have) {
			return nil
		}
		body, err := s.writing(i, map[string]any{ownerReading: had})
		if err == nil { // else it was told when the record went back
			ops = append(ops, dataverse.UpdateOp(s.w.table.Schema, id, body))
		}
		return nil
	})
	if err != nil || len(ops) == 0 {
		return 0, err
	}
	_, err = s.target.Batch(ctx, ops) // what is refused is met in the next round
	if dataverse.KindOf(err) == dataverse.Lost || passesBy(err) {
		err = nil
	}
	return len(ops), err
}

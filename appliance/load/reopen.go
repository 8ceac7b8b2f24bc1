package load

import (
	"context"
	"encoding/json"
	"fmt"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/ledger"
)

// A record that was made inactive because its row was gone is made active again when the row is back,
// before it gets the row's values: many that are closed take no change. That is so only if it is still
// as it was left; a state that somebody else has given it stays.

// reopensColumn is of the stage's relation dm.deactivated: it is not null for such rows.
const reopensColumn = "dm_reopens"

// reopens reports whether the work may have such records.
func (w *work) reopens() bool {
	return w.settings.Reopens && w.update && w.pass != ledger.Files && w.removing == nil && w.table.Link == nil
}

func (w *work) deactivated() string {
	return fmt.Sprintf(`(SELECT DISTINCT seq AS dm_seq, true AS %s FROM dm.deactivated WHERE "table" = %s)`, reopensColumn, mapping.Quote(w.table.Name))
}

// reopen makes those of the set active that are to be, and returns the records that are to be sent on.
// On an error the others wait again.
func (s *sender) reopen(ctx context.Context, set []int) ([]int, error) {
	if len(s.j.reopens) == 0 || s.w.pass != ledger.Main {
		return set, nil
	}
	t := s.w.table.Schema
	of := map[schema.GUID]int{}
	var ids []schema.GUID
	for _, i := range set {
		if s.j.reopens[i] {
			of[s.j.ids[i]] = i
			ids = append(ids, s.j.ids[i])
		}
	}
	inactive, err := InactiveBody(t)
	if len(ids) == 0 || err != nil { // a table that has no such state has no such records
		return set, nil
	}
	var closed map[string]any
	if err := decode(inactive, &closed); err != nil {
		return nil, s.release(set, err)
	}
	var ops []dataverse.Op
	var those []int
	var images []ledger.Image
	columns := []string{"statecode", "statuscode"}
	if t.Column("modifiedby") != nil {
		columns = append(columns, modifiedBy)
	}
	err = s.target.Records(ctx, t, ids, columns, func(id schema.GUID, row json.RawMessage) error {
		var have map[string]any
		if err := decode(row, &have); err != nil {
			return err
		}
		i, asked := of[id]
		if !asked {
			return nil
		}
		left := s.w.settings.OnConflict == ConflictOverwrite || !s.l.changedByOthersLast(have) // it may have been so when its row went
		for name, v := range closed {
			left = left && sameValue(v, have[name])
		}
		if !left {
			if is, _ := stateIn(t, have); s.given(i, is) {
				s.j.owed[i] &^= mapping.OwesState
				s.w.keep([]string{"statecode"})
			}
			return nil
		}
		those, ops = append(those, i), append(ops, dataverse.UpdateOp(t, id, activeBody(t)))
		images = append(images, ledger.Image{Seq: s.j.seqs[i], Had: inactive, Wrote: activeBody(t)})
		return nil
	})
	if err == nil && s.w.keepsFormer() && len(images) > 0 {
		err = s.l.o.Undo.Keep(s.w.table.Name, ledger.FoundNot, images)
	}
	if err != nil {
		return nil, s.release(set, readBackError(err))
	}
	for len(ops) > 0 {
		n := min(len(ops), max(s.w.inBatch, fewEnough))
		if err := s.openSome(ctx, those[:n], ops[:n]); err != nil {
			return nil, s.release(s.open(set), err)
		}
		those, ops = those[n:], ops[n:]
	}
	return s.open(set), nil
}

// given reports whether a state that a record of such a row has is somebody's: neither the active one nor its row's.
func (s *sender) given(i int, is stateOf) bool {
	says := s.j.states[i]
	return s.w.settings.OnConflict != ConflictOverwrite && is.state > 0 && (is.state != says.state || says.status >= 0 && is.status != says.status)
}

// leaveGiven has the later passes leave such a state alone too, and returns the records that are to be sent on.
func (s *sender) leaveGiven(ctx context.Context, set []int) ([]int, error) {
	var back []int
	for _, i := range set {
		if len(s.j.reopens) > 0 && s.j.reopens[i] && s.j.owed[i]&mapping.OwesState != 0 {
			back = append(back, i)
		}
	}
	err := s.eachState(ctx, back, func(i int, is stateOf, there bool) {
		switch {
		case !there || !s.given(i, is):
		case s.w.pass == ledger.State:
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		default:
			s.j.owed[i] &^= mapping.OwesState
		}
	})
	return s.open(set), err
}

// openSome is one request of reopen. It is absolute: what has no answer waits for another sweep.
func (s *sender) openSome(ctx context.Context, set []int, ops []dataverse.Op) error {
	errs, err := s.target.Batch(ctx, ops)
	if err != nil {
		if dataverse.KindOf(err) == dataverse.Lost || passesBy(err) {
			return s.wait(ctx, set, err)
		}
		return err
	}
	for k, i := range set {
		switch err := errs[k]; {
		case err == nil:
		case dataverse.KindOf(err) == dataverse.Lost || passesBy(err):
			if err := s.wait(ctx, []int{i}, err); err != nil {
				return err
			}
		case refusedAlone(err) || dataverse.KindOf(err) == dataverse.NotFound:
			s.fail(i, err)
		default:
			return err
		}
	}
	return nil
}

package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// The codes with which a closed record refuses an update (dataverse-web-api.md 1.8, 17.12).
const (
	codeReadOnly = 0x8004022E
	codeInactive = 0x80040230
)

// A closed record may refuse a change of its columns. It may also have had the change before it was closed: the ledger was
// restored, and the target is ahead of it; then it is done. Otherwise it is opened, changed and closed again, in one change
// set, so that nobody ever finds it open; a state that an action of its own sets is left to the pass of states, which
// knows what the action takes, and so is one that the row is to get anyway. What is closed by an action and is not by
// its row, as when somebody has won an opportunity in the target, stays refused.

// isClosed reports whether the update of record i was refused since it is closed. Changed parties do not go through: they
// are replaced by a request of their own, which no change set takes.
func (s *sender) isClosed(i int, err error) bool {
	return s.w.update && s.w.removing == nil && closedRefusal(err) && !(s.w.parties && s.j.withParties(i))
}

func closedRefusal(err error) bool {
	var e *dataverse.Error
	return errors.As(err, &e) && (e.Code == codeInactive || e.Code == codeReadOnly)
}

// closedAs is the update that gives a record the state that it has, which was read, where it is closed; plain: no action
// of its own has to do it.
func closedAs(t *schema.Table, have map[string]any) (body []byte, state int64, plain bool) {
	code, ok := have["statecode"].(json.Number)
	if !ok || t.Kind == schema.Elastic {
		return nil, 0, false
	}
	state, err := code.Int64()
	if err != nil || state == 0 {
		return nil, 0, false
	}
	body = fmt.Appendf(nil, `{"statecode":%d}`, state)
	if status, ok := have["statuscode"].(json.Number); ok {
		body = fmt.Appendf(nil, `{"statecode":%d,"statuscode":%s}`, state, status)
	}
	return body, state, !mapping.ClosedByAction(t.LogicalName, state)
}

// refuse notes a record as failed that was refused by itself. An error stops the load.
func (s *sender) refuse(ctx context.Context, i int, err error) error {
	if s.isClosed(i, err) {
		return s.throughClosed(ctx, []int{i}, map[int]error{i: err})
	}
	s.fail(i, err)
	return nil
}

// throughClosed decides the records of a set whose updates were refused since they are closed.
func (s *sender) throughClosed(ctx context.Context, set []int, refused map[int]error) error {
	for most := max(1, min(s.w.inBatch, dataverse.MaxBatch/3)); len(set) > 0; set = set[min(most, len(set)):] {
		some := set[:min(most, len(set))]
		if err := s.someThroughClosed(ctx, some, refused); err != nil {
			return s.release(s.open(set), err)
		}
	}
	return nil
}

func (s *sender) someThroughClosed(ctx context.Context, set []int, refused map[int]error) error {
	t := s.w.table.Schema
	of, want, columns := map[schema.GUID]int{}, map[int]map[string]any{}, map[string]bool{"statecode": t.Column("statecode") != nil, "statuscode": t.Column("statuscode") != nil}
	maps.DeleteFunc(columns, func(_ string, there bool) bool { return !there })
	var ids []schema.GUID
	for _, i := range set {
		sent, err := s.written(i)
		if err != nil {
			return err
		}
		of[s.j.ids[i]], want[i] = i, sent
		ids = append(ids, s.j.ids[i])
		for name := range sent {
			columns[name] = true
		}
	}
	var around []int
	var ops []dataverse.Op
	var images []ledger.Image
	err := s.target.Records(ctx, t, ids, sorted(columns), func(id schema.GUID, row json.RawMessage) error {
		i, asked := of[id]
		var have map[string]any
		if err := decode(row, &have); err != nil || !asked {
			return err
		}
		if s.holds(want[i], have) {
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
			return nil
		}
		op, image := s.aroundClosed(i, have)
		if op != nil {
			around, ops = append(around, i), append(ops, *op)
		}
		if image != nil && !s.l.o.Undo.Made(s.w.table.Name, image.Seq) {
			images = append(images, *image)
		}
		return nil
	})
	if err == nil && len(images) > 0 {
		err = s.l.o.Undo.Keep(s.w.table.Name, ledger.FoundNot, images)
	}
	if err != nil {
		return readBackError(err)
	}
	for _, i := range without(s.open(set), around) {
		s.fail(i, refused[i])
	}
	return s.sendAround(ctx, around, ops)
}

// holds reports whether a record has all values that it is to get.
func (s *sender) holds(want, have map[string]any) bool {
	for name, v := range want {
		if !sameValue(v, have[name]) {
			return false
		}
	}
	return true
}

// aroundClosed is what opens a record, changes it and closes it again, and what is to be kept of its state; nil where it
// stays refused.
func (s *sender) aroundClosed(i int, have map[string]any) (*dataverse.Op, *ledger.Image) {
	t := s.w.table.Schema
	back, state, plain := closedAs(t, have)
	if back == nil {
		return nil, nil
	}
	ops := []dataverse.Op{dataverse.UpdateOp(t, s.j.ids[i], activeBody(t)), dataverse.UpdateOp(t, s.j.ids[i], s.w.encoder.UpdateBody(nil, s.j.record(i)))}
	switch owed := s.j.owed[i]&mapping.OwesState != 0; {
	case !owed && plain:
		op := dataverse.ChangeSetOp(append(ops, dataverse.UpdateOp(t, s.j.ids[i], back))...)
		return &op, nil
	case !owed && s.j.states[i] != state:
		return nil, nil
	}
	s.j.owed[i] |= mapping.OwesState
	op := dataverse.ChangeSetOp(ops...)
	if !s.w.keepsFormer() {
		return &op, nil
	}
	return &op, &ledger.Image{Seq: s.j.seqs[i], Had: back, Wrote: activeBody(t)}
}

// sendAround sends change sets, one a record. They are absolute: what has no answer waits for another sweep. Where one of
// them stops the load, the others keep their outcomes: one that was done has opened its record, and owes the state.
func (s *sender) sendAround(ctx context.Context, set []int, ops []dataverse.Op) error {
	if len(set) == 0 {
		return nil
	}
	errs, err := s.target.Batch(ctx, ops)
	if err != nil {
		if dataverse.KindOf(err) != dataverse.Lost && !passesBy(err) {
			return err
		}
		s.later(set, err)
		return nil
	}
	var stop error
	for k, i := range set {
		switch err := errs[k]; {
		case err == nil:
			s.w.around.Add(1)
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		case dataverse.KindOf(err) == dataverse.Lost || passesBy(err):
			s.later([]int{i}, err)
		case refusedAlone(err) || dataverse.KindOf(err) == dataverse.NotFound || dataverse.KindOf(err) == dataverse.Duplicate:
			s.fail(i, err)
		default:
			stop = s.stop([]int{i}, err)
		}
	}
	return stop
}

// stateAt is the state that row i of a batch says; -1: none.
func stateAt(b *column.Batch, i int) int64 {
	if v := b.Column("statecode"); v != nil && !v.Null(i) {
		return v.Ints[i]
	}
	return -1
}

// closesAgain lets records of which an update is sent once more owe their state, where an action sets it: the first may
// have opened them.
func (w *work) closesAgain(j *job) {
	for i := range j.states {
		if j.owed[i]&mapping.OwesState == 0 && mapping.ClosedByAction(w.table.Name, j.states[i]) {
			if e, _ := w.l.book.Entry(w.table.Name, j.seqs[i]); e.Attempts > 1 {
				j.owed[i] |= mapping.OwesState
			}
		}
	}
}

// sayAround tells how many closed records were changed.
func (l *Loader) sayAround(w *work) {
	if n := w.around.Load(); n > 0 {
		l.o.Watch.Note(w.table.Name, progress.Counted(n, "closed record", "was", "were")+" opened to be changed, and closed again")
	}
}

func decode(text []byte, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

// lookupRead is how a lookup is read (dataverse-web-api.md 4.6).
func lookupRead(column string) string { return "_" + column + "_value" }

// readName is how a column is read that is written under name: a lookup is written by
// its navigation property and read by its value (dataverse-web-api.md 4.6).
func (s *sender) readName(name string) string {
	nav, bind := strings.CutSuffix(name, "@odata.bind")
	if !bind {
		return name
	}
	for i := range s.w.table.Lookups {
		l := &s.w.table.Lookups[i]
		for _, target := range l.Targets {
			if target.Nav == nav {
				return lookupRead(l.LogicalName)
			}
		}
	}
	return name
}

// sameValue compares a value that is written with one that was read: numbers as
// numbers, times as times, a bound set(id) with the id; an empty text is null.
func sameValue(want, have any) bool {
	if want == "" {
		want = nil
	}
	if have == "" {
		have = nil
	}
	switch w := want.(type) {
	case json.Number:
		h, ok := have.(json.Number)
		a, okA := new(big.Rat).SetString(w.String())
		b, okB := new(big.Rat).SetString(h.String())
		return ok && okA && okB && a.Cmp(b) == 0
	case string:
		h, ok := have.(string)
		if !ok || w == h {
			return ok
		}
		if _, id, bound := strings.Cut(strings.TrimSuffix(w, ")"), "("); bound && strings.EqualFold(id, h) {
			return true
		}
		a, errA := time.Parse(time.RFC3339, w)
		b, errB := time.Parse(time.RFC3339, h)
		return errA == nil && errB == nil && a.Equal(b)
	}
	return want == have
}

package load

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
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
// set: nobody ever finds it open, and no stop leaves it so. Hence a record that is open, and whose row does not say so,
// somebody has opened. It is closed as it was, or as its row says where that owes it another state; by an action of its own,
// if need be, which makes a second closing activity. What is closed by an action and is not by its row, as when somebody
// has won an opportunity in the target, stays refused.

// aroundOps is how many operations bring one closed record through a change at most: it is opened, changed, brought to
// where the action takes it, and closed.
const aroundOps = 4

// isClosed reports whether the update of record i was refused since it is closed. Changed parties do not go through: they
// are replaced by a request of their own, which no change set takes.
func (s *sender) isClosed(i int, err error) bool {
	return s.w.update && s.w.removing == nil && closedRefusal(err) && !(s.w.parties && s.j.withParties(i))
}

func closedRefusal(err error) bool {
	var e *dataverse.Error
	return errors.As(err, &e) && (e.Code == codeInactive || e.Code == codeReadOnly)
}

// stateIn is the state of a record that was read, and whether that is a closed one.
func stateIn(t *schema.Table, have map[string]any) (is stateOf, closed bool) {
	is = stateOf{-1, -1}
	for name, into := range map[string]*int64{"statecode": &is.state, "statuscode": &is.status} {
		if n, ok := have[name].(json.Number); ok {
			if v, err := n.Int64(); err == nil {
				*into = v
			}
		}
	}
	return is, is.state > 0 && t.Kind != schema.Elastic
}

// defaultStatus is the status reason that a state comes with where none is said; -1: not known.
func defaultStatus(t *schema.Table, state int64) int64 {
	for _, c := range t.Columns {
		if o := c.Option(int32(state)); c.Type == schema.State && o != nil && o.DefaultStatus != nil {
			return int64(*o.DefaultStatus)
		}
	}
	return -1
}

// stateBody is the body of an update that gives a record a state.
func stateBody(t *schema.Table, to stateOf) []byte {
	if to.status < 0 {
		to.status = defaultStatus(t, to.state)
	}
	if to.status < 0 {
		return fmt.Appendf(nil, `{"statecode":%d}`, to.state)
	}
	return fmt.Appendf(nil, `{"statecode":%d,"statuscode":%d}`, to.state, to.status)
}

// activeBody is that of one that makes it active, with the status reason of new ones.
func activeBody(t *schema.Table) []byte { return stateBody(t, stateOf{0, -1}) }

// brings is what brings a record from one state to another. values are those that the record has then, by column, of
// which a closing activity carries some.
func brings(t *schema.Table, id schema.GUID, from, to stateOf, values map[string]any) ([]dataverse.Op, error) {
	c, needed, err := mapping.CloseAs(t, id, to.state, to.status, values)
	switch {
	case err != nil:
		return nil, err
	case !needed:
		return []dataverse.Op{dataverse.UpdateOp(t, id, stateBody(t, to))}, nil
	}
	return closes(t, id, from, &c), nil
}

// closes closes a record by an action, which takes it from some states only, and from no closed one.
func closes(t *schema.Table, id schema.GUID, from stateOf, c *mapping.Closing) []dataverse.Op {
	action := dataverse.ActionOp(c.Path, c.Body)
	if (c.From < 0 || from.state == c.From) && !slices.Contains(inactiveStates[t.LogicalName], from.state) {
		return []dataverse.Op{action}
	}
	return []dataverse.Op{dataverse.UpdateOp(t, id, fmt.Appendf(nil, `{"statecode":%d}`, max(c.From, 0))), action}
}

// together is one operation of some.
func together(ops []dataverse.Op) dataverse.Op {
	if len(ops) == 1 {
		return ops[0]
	}
	return dataverse.ChangeSetOp(ops...)
}

// around opens a record, changes it, and brings it into a state.
func around(t *schema.Table, id schema.GUID, change []byte, to stateOf, values map[string]any) (dataverse.Op, error) {
	ops := []dataverse.Op{dataverse.UpdateOp(t, id, activeBody(t)), dataverse.UpdateOp(t, id, change)}
	if to.state == 0 {
		ops[0] = dataverse.UpdateOp(t, id, stateBody(t, to))
		return dataverse.ChangeSetOp(ops...), nil
	}
	back, err := brings(t, id, stateOf{0, -1}, to, values)
	return dataverse.ChangeSetOp(append(ops, back...)...), err
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
	for most := max(1, min(s.w.inBatch, dataverse.MaxBatch/aroundOps)); len(set) > 0; set = set[min(most, len(set)):] {
		some := set[:min(most, len(set))]
		if err := s.someThroughClosed(ctx, some, refused); err != nil {
			return s.release(s.open(set), err)
		}
	}
	return nil
}

func (s *sender) someThroughClosed(ctx context.Context, set []int, refused map[int]error) error {
	t := s.w.table.Schema
	of, want, columns := map[schema.GUID]int{}, map[int]map[string]any{}, map[string]bool{}
	for _, name := range closedColumns(t) {
		columns[name] = true
	}
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
		op, image, err := s.aroundClosed(i, have, want[i])
		if err != nil {
			return err
		}
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

// stateColumns names the columns of a record's state.
func stateColumns(t *schema.Table) (names []string) {
	for _, name := range []string{"statecode", "statuscode"} {
		if t.Column(name) != nil {
			names = append(names, name)
		}
	}
	return names
}

// closedColumns names the columns that closing a record as it was asks for.
func closedColumns(t *schema.Table) []string {
	return append(stateColumns(t), mapping.CloseColumns(t)...)
}

// aroundClosed is what opens a record that was read, changes it and closes it again, and what is to be kept of its state;
// nil where it stays refused. want is what it gets.
func (s *sender) aroundClosed(i int, have, want map[string]any) (*dataverse.Op, *ledger.Image, error) {
	t, id := s.w.table.Schema, s.j.ids[i]
	is, closed := stateIn(t, have)
	to, change := is, s.updateBody(i)
	switch {
	case !closed:
		return nil, nil, nil
	case s.w.pass == ledger.State: // the change is the state
		op := dataverse.ChangeSetOp(dataverse.UpdateOp(t, id, activeBody(t)), dataverse.UpdateOp(t, id, change))
		return &op, nil, nil
	case s.w.update && s.j.owed[i]&mapping.OwesState != 0 && s.says(i).state >= 0: // of one that was found the state is left to its pass
		to = s.says(i)
	case s.closedByOthers(i, is):
		return nil, nil, nil
	}
	values := maps.Clone(have)
	maps.Copy(values, want)
	op, err := around(t, id, change, to, values)
	if err != nil || to == is || !s.w.keepsFormer() {
		return &op, nil, err
	}
	return &op, &ledger.Image{Seq: s.j.seqs[i], Had: stateBody(t, is), Wrote: stateBody(t, to)}, nil
}

// says is the state that the row of a record says; -1: none, or it was not asked for.
func (s *sender) says(i int) stateOf {
	if len(s.j.states) == 0 {
		return stateOf{-1, -1}
	}
	return s.j.states[i]
}

// closedByOthers reports whether a record was closed by an action, and its row does not say so.
func (s *sender) closedByOthers(i int, is stateOf) bool {
	return mapping.ClosedByAction(s.w.table.Schema.LogicalName, is.state) && s.says(i).state != is.state
}

// updateThrough updates a record that a later pass has to change, also where it is closed: then it is closed again as it
// was, as this pass has not looked whether somebody has changed that.
func (s *sender) updateThrough(ctx context.Context, i int, body []byte) error {
	id := s.j.ids[i]
	refused := s.target.Update(ctx, s.w.table.Schema, id, body)
	errs := []error{refused}
	err := giveClosed(ctx, s.w.table, s.target, []schema.GUID{id}, [][]byte{body}, errs, func(_ int, is stateOf) bool {
		return s.j.owed[i]&mapping.OwesState != 0 || !s.closedByOthers(i, is)
	})
	if refused != nil && err == nil && errs[0] == nil {
		s.w.around.Add(1)
	}
	return cmp.Or(err, errs[0])
}

// sendAround sends change sets, one a record. They are absolute: what has no answer waits for another sweep. Where one of
// them stops the load, the others keep their outcomes.
func (s *sender) sendAround(ctx context.Context, set []int, ops []dataverse.Op) error {
	if len(set) == 0 {
		return nil
	}
	errs, err := s.target.Batch(ctx, ops)
	switch {
	case dataverse.KindOf(err) == dataverse.TooBig && len(set) > 1 && ctx.Err() == nil:
		half := len(set) / 2
		if err := s.sendAround(ctx, set[:half], ops[:half]); err != nil {
			return s.release(s.open(set), err)
		}
		return s.sendAround(ctx, set[half:], ops[half:])
	case dataverse.KindOf(err) == dataverse.Lost || passesBy(err):
		return s.wait(ctx, set, err)
	case err != nil:
		return err
	}
	var stop error
	for k, i := range set {
		switch err := errs[k]; {
		case err == nil:
			s.w.around.Add(1)
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		case dataverse.KindOf(err) == dataverse.Lost || passesBy(err):
			if err := s.wait(ctx, []int{i}, err); err != nil {
				stop = err
			}
		case refusedAlone(err) || dataverse.KindOf(err) == dataverse.NotFound || dataverse.KindOf(err) == dataverse.Duplicate:
			s.fail(i, err)
		default:
			stop = s.stop([]int{i}, err)
		}
	}
	return stop
}

// intAt is the number in a row of a column; -1: none.
func intAt(v *column.Vector, i int) int64 {
	if v == nil || v.Null(i) {
		return -1
	}
	return v.Ints[i]
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

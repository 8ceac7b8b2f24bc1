package load

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/ledger"
)

// restoreWindow is how many consecutive records are restored at once: what they had is in memory.
const restoreWindow = 65_536

// former is what a record had before, and what it was given last, by column; the zero value: nothing.
type former struct {
	had, wrote map[string]any
}

// formers reads what the records of a range had: the oldest value of each column, since
// it is the one from before all that goes back.
func (l *Loader) formers(table string, r ledger.Range) (map[uint32]former, error) {
	found := map[uint32]former{}
	var fault error
	err := l.back.Images(table, r, func(m ledger.Image) {
		if len(m.Had) == 0 {
			return
		}
		var had, wrote map[string]any
		if err := decode(m.Had, &had); err != nil {
			fault = err
			return
		}
		if err := decode(m.Wrote, &wrote); err != nil {
			fault = err
			return
		}
		f, known := found[m.Seq]
		if !known {
			found[m.Seq] = former{had, wrote}
			return
		}
		for name := range had { // a lookup's table comes with its value
			if !strings.HasSuffix(name, targetNote) {
				delete(f.had, name+targetNote)
			}
		}
		maps.Copy(f.had, had)
		for name, v := range wrote {
			if _, newer := f.wrote[name]; !newer {
				f.wrote[name] = v
			}
		}
	})
	if err == nil {
		err = fault
	}
	if err != nil {
		return nil, fmt.Errorf("read what records of %s had: %w", table, err)
	}
	return found, nil
}

// eachRestored hands out the records of a set that were changed, in jobs with what they had, window by window:
// that is in memory.
func (l *Loader) eachRestored(ctx, drain context.Context, t *mapping.Table, step plan.Step, only *ledger.Ranges, do func(ctx context.Context, s *sender) error) error {
	list := only.List()
	for from := uint32(0); len(list) > 0 && from < list[len(list)-1].To; {
		first := only.Within(ledger.Range{From: from, To: list[len(list)-1].To})[0].From
		part := &ledger.Ranges{}
		part.Add(only.Within(ledger.Range{From: first, To: first + min(restoreWindow, ^uint32(0)-first)}))
		window := part.List()
		from = window[len(window)-1].To
		formers, err := l.formers(t.Name, ledger.Range{From: window[0].From, To: from})
		if err != nil {
			return err
		}
		err = l.eachOf(ctx, drain, l.backWork(t, step, Restore, ledger.Update, part), part, "true", func(ctx context.Context, s *sender) error {
			for _, seq := range s.j.seqs {
				s.j.formers = append(s.j.formers, formers[seq])
			}
			return do(ctx, s)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// returning is one record on its way back.
type returning struct {
	first  []byte // what is sent before body; nil: nothing
	body   []byte
	closes *dataverse.Op // in the place of body: what gives the record the other columns and closes it by an action
}

// restore gives the records of the set, which are claimed, what they had.
func (s *sender) restore(ctx context.Context, set []int, tries int) error {
	for len(set) > 0 {
		n := min(len(set), max(s.w.inBatch, fewEnough), dataverse.MaxBatch/aroundOps)
		if err := s.restoreEach(ctx, set[:n], tries); err != nil {
			return s.release(set[n:], err)
		}
		set = set[n:]
	}
	return nil
}

func (s *sender) restoreEach(ctx context.Context, set []int, tries int) error {
	back, err := s.returns(ctx, set)
	if err != nil {
		return s.release(set, readBackError(err))
	}
	set = s.open(set)
	early := slices.DeleteFunc(slices.Clone(set), func(i int) bool { return back[i].first == nil })
	send := func(part []int, body func(i int) []byte, done outcome) error {
		if len(part) == 0 {
			return nil
		}
		ops, ids, bodies := make([]dataverse.Op, len(part)), make([]schema.GUID, len(part)), make([][]byte, len(part))
		for k, i := range part {
			ids[k], bodies[k] = s.j.ids[i], body(i)
			if back[i].closes != nil {
				ops[k] = *back[i].closes
				continue
			}
			ops[k] = dataverse.UpdateOp(s.w.table.Schema, ids[k], bodies[k])
		}
		errs, err := s.target.Batch(ctx, ops)
		if err == nil {
			if err := giveClosed(ctx, s.w.table, s.target, ids, bodies, errs, nil); err != nil {
				return s.release(part, err) // what was done of them is absolute
			}
		}
		return s.removed(ctx, part, tries, errs, err, func(int) outcome { return done })
	}
	if err := send(early, func(i int) []byte { return back[i].first }, outcome{}); err != nil {
		return s.release(without(s.open(set), early), err)
	}
	return send(s.open(set), func(i int) []byte { return back[i].body }, outcome{result: ledger.ResultSuccess})
}

// returns reads the records as they are now and says what brings each back. Those that need nothing, or
// are left alone, get their outcome.
func (s *sender) returns(ctx context.Context, set []int) (map[int]returning, error) {
	t := s.w.table.Schema
	columns, of := map[string]bool{}, map[schema.GUID]int{}
	var ids []schema.GUID
	for _, i := range set {
		ids = append(ids, s.j.ids[i])
		of[s.j.ids[i]] = i
		for name := range s.j.formers[i].had {
			if !strings.HasSuffix(name, targetNote) {
				columns[name] = true
			}
		}
	}
	for _, name := range closedColumns(t) {
		columns[name] = true
	}
	if columns[ownerReading] && t.Column("modifiedby") != nil {
		columns[modifiedBy] = true
	}
	out := map[int]returning{}
	met := map[int]bool{}
	err := s.target.Records(ctx, t, ids, sorted(columns), func(id schema.GUID, row json.RawMessage) error {
		i, asked := of[id]
		var have map[string]any
		if err := decode(row, &have); err != nil || !asked {
			return err
		}
		met[i] = true
		s.asBefore(i, s.j.formers[i].wrote, have)
		r, err := s.wayBack(i, have)
		out[i] = r
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, i := range set {
		if !met[i] {
			s.j.results[i] = outcome{result: ledger.ResultFailed, reason: &ledger.Reason{Class: uint8(ClassMissing),
				Text: "the record is not in the target any more, and cannot be made again as it was"}}
		}
	}
	return out, nil
}

// wayBack says what gives a record back what it had.
func (s *sender) wayBack(i int, have map[string]any) (r returning, err error) {
	f := s.j.formers[i]
	var changed, texts []string
	back := map[string]any{}
	for name, had := range f.had {
		if strings.HasSuffix(name, targetNote) || s.sameStored(name, had, have[name]) {
			continue
		}
		back[name] = had
		if !s.l.back.Overwrite && !s.sameStored(name, f.wrote[name], have[name]) && !s.wentAlong(name, have) {
			changed = append(changed, name)
		}
	}
	if len(changed) > 0 {
		slices.Sort(changed)
		for _, name := range changed {
			texts = append(texts, fmt.Sprintf("%s is %s, had %s, was given %s", plainName(name), brief(have[name]), brief(f.had[name]), brief(f.wrote[name])))
		}
		s.j.results[i] = outcome{result: ledger.ResultHeld, reason: &ledger.Reason{Class: uint8(ClassConflict),
			Text: "somebody has changed the record in the target since it was loaded: " + strings.Join(texts, "; ") + "; --overwrite takes it back all the same"}}
		return r, nil
	}
	state, status := map[string]any{}, map[string]any{}
	for name, into := range map[string]map[string]any{"statecode": state, "statuscode": status} {
		if v, goes := back[name]; goes {
			into[name] = v
			delete(back, name)
		}
	}
	if len(state) > 0 { // a state is written with its status reason
		if had, kept := f.had["statuscode"]; kept {
			status = map[string]any{"statuscode": had}
		}
	}
	maps.Copy(status, state)
	return s.order(i, have, back, status)
}

// order puts the state before the other columns where it opens the record, and behind them else: a
// record that is closed takes no change. What an action has to close gets all in one change set.
func (s *sender) order(i int, have, back, state map[string]any) (r returning, err error) {
	fields, err := s.writing(i, back)
	if err != nil {
		s.j.results[i] = outcome{result: ledger.ResultFailed, reason: &ledger.Reason{Class: uint8(ClassOther), Text: err.Error()}}
		return r, nil
	}
	var sets []byte
	if len(state) > 0 {
		if sets, err = json.Marshal(state); err != nil {
			return r, err
		}
	}
	opens := state["statecode"] == json.Number("0")
	to, _ := stateIn(s.w.table.Schema, state)
	switch {
	case mapping.ClosedByAction(s.w.table.Schema.LogicalName, to.state):
		r.closes, err = s.closesBack(i, have, back, fields, to)
		return r, err
	case fields == nil && sets == nil:
		s.j.results[i] = outcome{result: ledger.ResultSuccess}
	case fields == nil || sets == nil:
		r.body = append(fields, sets...)
	case opens:
		r.first, r.body = sets, fields
	default:
		r.first, r.body = fields, sets
	}
	return r, nil
}

// closesBack closes a record as it was by an action of its own, and gives it the other columns that go back.
func (s *sender) closesBack(i int, have, back map[string]any, fields []byte, to stateOf) (*dataverse.Op, error) {
	t, id := s.w.table.Schema, s.j.ids[i]
	values := maps.Clone(have)
	maps.Copy(values, back)
	if fields != nil {
		op, err := around(t, id, fields, to, values)
		return &op, err
	}
	is, _ := stateIn(t, have)
	ops, err := brings(t, id, is, to, values)
	if err != nil {
		return nil, err
	}
	op := together(ops)
	return &op, nil
}

// writing is the body of an update with values that were read; nil for none.
func (s *sender) writing(i int, values map[string]any) ([]byte, error) {
	if len(values) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(values))
	for name, v := range values {
		l := s.w.table.Lookup(plainName(name))
		if l == nil || plainName(name) == name {
			out[name] = v
			continue
		}
		table, _ := s.j.formers[i].had[name+targetNote].(string)
		k := slices.IndexFunc(l.Targets, func(t mapping.Target) bool { return t.Table == table || v == nil || len(l.Targets) == 1 })
		if k < 0 {
			return nil, fmt.Errorf("%s pointed to the record %v of %s, which the lookup cannot be given any more", l.LogicalName, v, table)
		}
		var bound any
		if v != nil {
			bound = fmt.Sprintf("%s(%v)", l.Targets[k].EntitySet, v)
		}
		out[l.Targets[k].Nav+"@odata.bind"] = bound
	}
	return json.Marshal(out)
}

package load

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// Some states are set by an action and by no plain write (mapping.Closing). Rows that need
// one go to jobs of their own, the others of the table travel in bulk as ever. An action
// sent twice would be refused, or close the record a second time; so the state of the
// records is read before any is sent, which also settles what an earlier request did whose
// answer was lost, and what a target has that is ahead of the ledger. So no record need stay
// in flight. A record that is in another state first is brought to where the action takes it by the same change set, so
// that no stop leaves it there: whoever finds it in a state that is neither its row's nor the one before knows that
// somebody has given it.

// closings reads the rows of a batch that are closed by an action; nil where none is.
func (w *work) closings(b *column.Batch) (*mapping.ClosingRows, error) {
	if w.closer == nil {
		return nil, nil
	}
	return w.closer.Rows(b)
}

// stateOf is what state a record of the target is in.
type stateOf struct{ state, status int64 }

// reached reports whether the record is as the closing would leave it.
func (h stateOf) reached(c *mapping.Closing) bool {
	return h.state == c.State && (c.Status < 0 || h.status == c.Status)
}

// close closes the records of the set, which are claimed.
func (s *sender) close(ctx context.Context, set []int, tries int) error {
	for len(set) > 0 {
		n := min(len(set), max(s.w.inBatch, fewEnough), dataverse.MaxBatch/2) // closes gives two operations at most
		if err := s.closeEach(ctx, set[:n], tries); err != nil {
			return s.release(set[n:], err)
		}
		set = set[n:]
	}
	return nil
}

func (s *sender) closeEach(ctx context.Context, set []int, tries int) error {
	have, err := s.states(ctx, set)
	switch {
	case err != nil && passesBy(err):
		return s.closeAgain(ctx, set, tries, readBackError(err))
	case err != nil:
		return s.release(set, readBackError(err))
	}
	var open []int
	for _, i := range set {
		if h, there := have[s.j.ids[i]]; there && h.reached(&s.j.closings[i]) {
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
			continue
		}
		open = append(open, i)
	}
	if len(open) == 0 {
		return nil
	}
	return s.sendEach(ctx, open, tries, func(i int) dataverse.Op {
		c := &s.j.closings[i]
		h, there := have[s.j.ids[i]]
		switch {
		case !there:
			return dataverse.ActionOp(c.Path, c.Body)
		case h.state == c.State: // the status reason alone differs
			return dataverse.UpdateOp(s.w.table.Schema, s.j.ids[i], s.w.encoder.UpdateBody(nil, s.j.record(i)))
		}
		return together(closes(s.w.table.Schema, s.j.ids[i], h, c))
	})
}

// sendEach sends one operation a record in a $batch; with it the record is done.
// Those that are to be sent again are, from the start.
func (s *sender) sendEach(ctx context.Context, set []int, tries int, op func(i int) dataverse.Op) error {
	ops := make([]dataverse.Op, len(set))
	for k, i := range set {
		ops[k] = op(i)
	}
	errs, err := s.perform(ctx, ops)
	switch {
	case dataverse.KindOf(err) == dataverse.Lost:
		s.l.o.Watch.Note(s.w.table.Name, fmt.Sprintf("the answer to the closing of %s was lost, finding out what became of it: %s", progress.Counted(len(set), "record"), short(err)))
		return s.closeAgain(ctx, set, tries, err)
	case err != nil && passesBy(err):
		return s.closeAgain(ctx, set, tries, err)
	case err != nil:
		return s.stop(set, err)
	}
	var again, refused []int
	var last, stop error
	of := map[int]error{}
	for k, i := range set {
		switch err := errs[k]; {
		case err == nil:
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		case dataverse.KindOf(err) == dataverse.Lost || passesBy(err):
			again, last = append(again, i), err
		case refusedAlone(err) || dataverse.KindOf(err) == dataverse.NotFound:
			refused, of[i] = append(refused, i), err
		default:
			stop = s.stop([]int{i}, err)
		}
	}
	if err := s.closeRefused(ctx, refused, of); err != nil && stop == nil {
		stop = err
	}
	if stop != nil {
		return s.release(again, stop)
	}
	return s.closeAgain(ctx, again, tries, last)
}

// perform sends the operations in a $batch, or one a request where the table says so.
func (s *sender) perform(ctx context.Context, ops []dataverse.Op) ([]error, error) {
	if Message(s.w.message.Load()) != Single {
		return s.target.Batch(ctx, ops)
	}
	errs := make([]error, len(ops))
	for k, op := range ops {
		errs[k] = s.target.Do(ctx, op)
	}
	return errs, nil
}

// closeRefused decides records whose closing was refused: one that is in its state
// already, by a request that came late, is done.
func (s *sender) closeRefused(ctx context.Context, set []int, errs map[int]error) error {
	if len(set) == 0 {
		return nil
	}
	have, err := s.states(ctx, set)
	if err != nil {
		return s.release(set, readBackError(err))
	}
	for _, i := range set {
		if h, there := have[s.j.ids[i]]; there && h.reached(&s.j.closings[i]) {
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		} else {
			s.fail(i, errs[i])
		}
	}
	return nil
}

// closeAgain sends once more what was not applied or has no answer, which reads its state
// first.
func (s *sender) closeAgain(ctx context.Context, set []int, tries int, err error) error {
	switch {
	case len(set) == 0:
		return nil
	case ctx.Err() != nil:
		return s.release(set, err)
	case tries < maxTries:
		return s.close(ctx, set, tries+1)
	}
	s.later(set, err)
	return nil
}

// eachState calls fn with the states of the target's records, some hundred a request.
func (s *sender) eachState(ctx context.Context, set []int, fn func(i int, is stateOf, there bool)) error {
	for some := range slices.Chunk(set, fallbackBatch) {
		have, err := s.states(ctx, some)
		if err != nil {
			return err
		}
		for _, i := range some {
			is, there := have[s.j.ids[i]]
			fn(i, is, there)
		}
	}
	return nil
}

// states reads the states of the target's records; those that are not there are left out.
func (s *sender) states(ctx context.Context, set []int) (map[schema.GUID]stateOf, error) {
	t := s.w.table.Schema
	conditions := make([]string, len(set))
	for k, i := range set {
		conditions[k] = t.PrimaryID + " eq " + s.j.ids[i].String()
	}
	found := make(map[schema.GUID]stateOf, len(set))
	err := s.target.Matching(ctx, t, []string{"statecode", "statuscode"}, conditions, func(row json.RawMessage) error {
		var members map[string]any
		if err := decode(row, &members); err != nil {
			return err
		}
		text, _ := members[t.PrimaryID].(string)
		id, err := schema.ParseGUID(text)
		if err != nil {
			return fmt.Errorf("%s: %w", t.PrimaryID, err)
		}
		found[id], _ = stateIn(t, members) // an emulator that keeps no rows gives none: that is in no state that a closing asks for
		return nil
	})
	return found, err
}

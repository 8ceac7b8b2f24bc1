package load

import (
	"context"
	"regexp"
	"slices"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/ledger"
)

// each sends the records one by one within a $batch, so that each has its own
// answer.
func (s *sender) each(ctx context.Context, set []int, tries int) error {
	for len(set) > 0 {
		n := min(len(set), max(s.w.inBatch, fewEnough))
		if err := s.batch(ctx, set[:n], tries); err != nil {
			return s.release(set[n:], err)
		}
		set = set[n:]
	}
	return nil
}

// answers are the parts of a $batch that are still to be dealt with.
type answers struct {
	again []int     // not applied for a cause that passes
	doubt []int     // creates refused as duplicates, and whatever has no answer
	lost  []int     // of doubt, those without an answer
	found sightings // links that were there
	shut  []int     // updates refused since the record is closed
	errs  map[int]error
	last  error // of again
}

func (s *sender) batch(ctx context.Context, set []int, tries int) error {
	errs, err := s.sendBatch(ctx, set)
	if err != nil {
		return s.decideBatch(ctx, set, tries, err)
	}
	a := answers{errs: map[int]error{}}
	var stop error
	for k, i := range set {
		if err := s.part(ctx, i, errs[k], &a); err != nil {
			stop = err
		}
	}
	if stop == nil && len(a.shut) > 0 {
		stop = s.throughClosed(ctx, a.shut, a.errs)
	} else {
		s.release(a.shut, nil)
	}
	if stop != nil { // only what was lost stays in flight
		s.release(a.again, nil)
		for _, i := range a.doubt {
			if !slices.Contains(a.lost, i) {
				s.release([]int{i}, nil)
			}
		}
		return stop
	}
	if err := s.noteFound(ctx, a.found); err != nil {
		return s.release(a.again, err)
	}
	again, err := s.settleDoubt(ctx, &a)
	if err != nil {
		return s.release(a.again, err)
	}
	again = append(again, a.again...)
	slices.Sort(again)
	switch {
	case len(again) == 0:
	case tries < maxTries:
		return s.each(ctx, again, tries+1)
	default:
		s.later(again, a.last)
	}
	return nil
}

// part decides what the answer to one operation of a $batch tells; the rest is left
// in a. The error stops the load.
func (s *sender) part(ctx context.Context, i int, err error, a *answers) error {
	if err == nil {
		s.j.results[i] = outcome{result: ledger.ResultSuccess}
		return nil
	}
	switch dataverse.KindOf(err) {
	case dataverse.Duplicate:
		switch {
		case s.w.table.Link != nil: // linked already
			s.sight(&a.found, i)
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		case s.w.update:
			s.fail(i, err)
		default:
			a.doubt, a.errs[i] = append(a.doubt, i), err
		}
	case dataverse.Lost:
		a.doubt, a.lost, a.errs[i], a.last = append(a.doubt, i), append(a.lost, i), err, err
	case dataverse.RolledBack, dataverse.Transient, dataverse.TooBig:
		a.again, a.last = append(a.again, i), err
	case dataverse.RowFault, dataverse.NotFound, dataverse.Conflict:
		if s.isClosed(i, err) {
			a.shut, a.errs[i] = append(a.shut, i), err
			return nil
		}
		s.fail(i, err)
	default:
		return s.stop([]int{i}, err)
	}
	return nil
}

// settleDoubt decides single creates that were answered with a duplicate, or not
// at all: what is in the target under its id is done; a duplicate that is not
// there by id clashes on an alternate key; the others are to be sent again.
func (s *sender) settleDoubt(ctx context.Context, a *answers) (again []int, err error) {
	if len(a.doubt) == 0 {
		return nil, nil
	}
	if ctx.Err() != nil && len(a.lost) > 0 {
		return nil, a.last
	}
	rest := a.doubt
	if s.w.insert() {
		there := slices.DeleteFunc(slices.Clone(a.doubt), func(i int) bool { return slices.Contains(a.lost, i) })
		if rest, err = s.identify(ctx, there); err != nil {
			return nil, readBackError(err)
		}
		gone, err := s.readBackLost(ctx, a.lost)
		if err != nil {
			return nil, readBackError(err)
		}
		rest = append(rest, gone...)
	}
	for _, i := range rest {
		if err := a.errs[i]; dataverse.KindOf(err) == dataverse.Duplicate {
			s.fail(i, err)
		} else {
			again = append(again, i)
		}
	}
	return again, nil
}

// decideBatch acts on a $batch that failed as a whole.
func (s *sender) decideBatch(ctx context.Context, set []int, tries int, err error) error {
	switch dataverse.KindOf(err) {
	case dataverse.Lost:
		return s.lost(ctx, set, tries, err)
	case dataverse.TooBig:
		return s.tooBig(ctx, set, tries, err)
	case dataverse.RolledBack, dataverse.Transient:
		return s.again(ctx, set, tries, err)
	}
	return s.stop(set, err)
}

// singly sends each record in a request of its own.
func (s *sender) singly(ctx context.Context, set []int, tries int) error {
	for k, i := range set {
		if err := s.decide(ctx, set[k:k+1], tries, s.single(ctx, i)); err != nil {
			return s.release(set[k+1:], err)
		}
	}
	return nil
}

func (s *sender) single(ctx context.Context, i int) error {
	switch {
	case s.w.table.Link != nil:
		return s.target.Associate(ctx, s.w.link, s.j.links[i])
	case s.w.update && s.hasFile(i):
		return s.updateAttachment(ctx, i)
	case s.w.update:
		err := s.target.Update(ctx, s.w.table.Schema, s.j.ids[i], s.w.encoder.UpdateBody(nil, s.j.record(i)))
		if err != nil || !s.w.parties || !s.j.withParties(i) {
			return err
		}
		return s.replaceParties(ctx, i)
	}
	body := s.createBody(i)
	if s.hasFile(i) {
		return s.createAttachment(ctx, i, body)
	}
	if s.w.table.ServerIDs {
		id, err := s.target.CreateID(ctx, s.w.table.Schema, body)
		s.j.ids[i] = id
		return err
	}
	return s.target.Create(ctx, s.w.table.Schema, body)
}

// sendBatch sends a $batch, and notes the ids that records were given.
func (s *sender) sendBatch(ctx context.Context, set []int) ([]error, error) {
	if !s.w.insert() || !s.w.table.ServerIDs {
		return s.target.Batch(ctx, s.ops(set))
	}
	ids, errs, err := s.target.BatchIDs(ctx, s.ops(set))
	for n := range errs {
		s.j.ids[set[n]] = ids[n]
	}
	return errs, err
}

// ops are the single requests of a $batch.
func (s *sender) ops(set []int) []dataverse.Op {
	ops := make([]dataverse.Op, len(set))
	for k, i := range set {
		switch {
		case s.w.table.Link != nil:
			ops[k] = dataverse.AssociateOp(s.w.link, s.j.links[i])
		case s.w.update:
			ops[k] = dataverse.UpdateOp(s.w.table.Schema, s.j.ids[i], s.w.encoder.UpdateBody(nil, s.j.record(i)))
		default:
			ops[k] = dataverse.CreateOp(s.w.table.Schema, s.createBody(i))
		}
	}
	return ops
}

var guidText = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)

package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/ledger"
)

const (
	// maxTries is how often records are sent again for a cause that passes, on top of
	// what the client tries itself, before they wait for another sweep.
	maxTries = 4
	// maxAttempts is after how many claims a record that is never taken for a passing
	// cause is given up as failed.
	maxAttempts = 10
	// fewEnough is the size at which a refused bulk request is no longer halved but
	// sent as a $batch, whose parts are answered one by one.
	fewEnough = 16
)

// sender sends the records of one claimed job and notes each one's outcome.
type sender struct {
	l *Loader
	w *work
	j *job
}

// send sends the records in set, which are claimed, and settles in j.results what
// is certain. tries counts how often these were sent. An error stops the load;
// records without a result then stay in flight.
func (s *sender) send(ctx context.Context, set []int, tries int) error {
	if len(set) == 0 {
		return nil
	}
	if s.w.lookFirst.Load() && !s.w.update && s.w.table.Link == nil && tries == 0 {
		rest, err := s.readBack(ctx, set)
		if err != nil {
			return s.unsure(err)
		}
		s.w.lookFirst.Store(len(rest) < len(set))
		if len(rest) < len(set) {
			return s.send(ctx, rest, 1)
		}
	}
	if Message(s.w.message.Load()) != Bulk {
		return s.each(ctx, set, tries)
	}
	err := s.bulk(ctx, set)
	return s.decide(ctx, set, tries, err)
}

func (s *sender) bulk(ctx context.Context, set []int) error {
	body := s.j.bulk(set)
	if s.w.update {
		return s.l.target.UpdateMany(ctx, s.w.table.Schema, body, len(set))
	}
	return s.l.target.CreateMany(ctx, s.w.table.Schema, body, len(set))
}

// decide acts on the answer to one bulk request.
func (s *sender) decide(ctx context.Context, set []int, tries int, err error) error {
	if err == nil {
		s.note(set, outcome{result: ledger.ResultSuccess})
		return nil
	}
	switch dataverse.KindOf(err) {
	case dataverse.RowFault, dataverse.NotFound, dataverse.Conflict:
		return s.narrow(ctx, set, tries, err)
	case dataverse.Duplicate:
		return s.duplicate(ctx, set, tries, err)
	case dataverse.Lost:
		return s.lost(ctx, set, tries, err)
	case dataverse.RolledBack, dataverse.Transient:
		return s.again(ctx, set, tries, err)
	case dataverse.TooBig:
		s.shrink(len(set))
		if len(set) == 1 {
			s.fail(set, err)
			return nil
		}
		return s.halves(ctx, set, tries)
	case dataverse.Unsupported:
		s.w.message.Store(uint32(Batch))
		s.l.o.Watch.Note(s.w.table.Name, "does not take bulk requests; going on with $batch")
		return s.send(ctx, set, tries)
	case dataverse.Partial:
		return s.partial(ctx, set, tries, err)
	case dataverse.Throttled, dataverse.Stopped, dataverse.SignIn, dataverse.Setup, dataverse.Unreachable:
		return s.stop(set, err)
	}
	return err // of unknown kind: nothing is certain, so nothing is noted
}

// stop gives the records back, since nothing of them was applied, and ends the load.
func (s *sender) stop(set []int, err error) error {
	s.note(set, outcome{result: ledger.ResultReleased})
	return err
}

// unsure ends the load with records left in flight: only a look at the target can
// tell, and that failed too.
func (s *sender) unsure(err error) error { return fmt.Errorf("read records back: %w", err) }

// narrow searches a refused request for the guilty rows: by halves while it is
// large, then one by one in a $batch.
func (s *sender) narrow(ctx context.Context, set []int, tries int, err error) error {
	if len(set) == 1 {
		s.fail(set, err)
		return nil
	}
	if len(set) == len(s.j.seqs) {
		s.l.o.Watch.Note(s.w.table.Name, fmt.Sprintf("a request of %d records was refused, looking for the guilty ones: %s", len(set), short(err)))
	}
	if len(set) <= fewEnough {
		return s.each(ctx, set, tries)
	}
	return s.halves(ctx, set, tries)
}

func (s *sender) halves(ctx context.Context, set []int, tries int) error {
	half := len(set) / 2
	if err := s.send(ctx, set[:half], max(tries, 1)); err != nil {
		s.note(set[half:], outcome{result: ledger.ResultReleased}) // not applied: what they were part of was refused
		return err
	}
	return s.send(ctx, set[half:], max(tries, 1))
}

// shrink makes the table's following requests smaller.
func (s *sender) shrink(refused int) {
	n := int32(max(refused/2, 1))
	if old := s.w.batch.Load(); n < old && s.w.batch.CompareAndSwap(old, n) {
		s.l.o.Watch.Note(s.w.table.Name, fmt.Sprintf("requests were too big or too slow; going on with %d records each", n))
	}
}

// duplicate is a bulk create of which some record is there already: an earlier
// request whose answer was lost, or a target that is ahead of a restored ledger.
// Our ids are our own, so a record with one of them is ours.
func (s *sender) duplicate(ctx context.Context, set []int, tries int, err error) error {
	if s.w.update {
		return s.narrow(ctx, set, tries, err)
	}
	rest, rerr := s.readBack(ctx, set)
	if rerr != nil {
		return s.unsure(rerr)
	}
	if len(rest) == len(set) { // not by id: an alternate key is taken
		return s.narrow(ctx, set, tries, err)
	}
	s.w.lookFirst.Store(true)
	return s.send(ctx, rest, max(tries, 1))
}

// lost is a request without an answer. An update is absolute and may be sent
// again; of creates, the ids tell what was applied.
func (s *sender) lost(ctx context.Context, set []int, tries int, err error) error {
	if ctx.Err() != nil {
		return err // stopped at once: the next run looks them up
	}
	s.l.o.Watch.Note(s.w.table.Name, fmt.Sprintf("the answer to a request of %d records was lost, reading them back: %s", len(set), short(err)))
	rest := set
	if !s.w.update && s.w.table.Link == nil {
		var rerr error
		if rest, rerr = s.readBack(ctx, set); rerr != nil {
			return s.unsure(errors.Join(rerr, err))
		}
	}
	return s.again(ctx, rest, tries, err)
}

// again sends records once more that a passing cause kept out, within bounds.
func (s *sender) again(ctx context.Context, set []int, tries int, err error) error {
	if len(set) == 0 {
		return nil
	}
	if tries < maxTries {
		return s.send(ctx, set, tries+1)
	}
	if s.l.attempts(s.w, s.j.seqs[set[0]]) >= maxAttempts {
		s.fail(set, err)
		return nil
	}
	s.note(set, outcome{result: ledger.ResultReleased, counted: true})
	return nil
}

// attempts is how often a record was claimed.
func (l *Loader) attempts(w *work, seq uint32) int {
	for span := range l.book.Spans(w.table.Name, seq) {
		return int(span.Attempts)
	}
	return 0
}

// readBack notes as done what the target has of the set, and returns the rest.
func (s *sender) readBack(ctx context.Context, set []int) (rest []int, err error) {
	ids := make([]schema.GUID, len(set))
	for k, i := range set {
		ids[k] = s.j.ids[i]
	}
	found, err := s.l.target.Existing(ctx, s.w.table.Schema, ids)
	if err != nil {
		return nil, err
	}
	for _, i := range set {
		if _, ok := found[s.j.ids[i]]; ok {
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		} else {
			rest = append(rest, i)
		}
	}
	return rest, nil
}

// partial is a bulk request to an elastic table, where each record stands alone.
func (s *sender) partial(ctx context.Context, set []int, tries int, err error) error {
	var e *dataverse.Error
	if !errors.As(err, &e) {
		return err
	}
	bad := map[int]int{}
	for _, r := range e.Rows {
		bad[r.Index] = r.Status
	}
	var retry []int
	for k, i := range set {
		switch status, failed := bad[k]; {
		case !failed || status == http.StatusConflict && !s.w.update:
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		case status == http.StatusTooManyRequests || status >= 500:
			retry = append(retry, i)
		default:
			s.fail([]int{i}, err)
		}
	}
	return s.again(ctx, retry, tries, err)
}

// each sends the records one by one within a $batch, so that each has its own
// answer.
func (s *sender) each(ctx context.Context, set []int, tries int) error {
	errs, err := s.l.target.Batch(ctx, s.ops(set))
	if err != nil {
		return s.decideBatch(ctx, set, tries, err)
	}
	var again, doubt []int
	var last, stop error
	for k, i := range set {
		e := errs[k]
		switch dataverse.KindOf(e) {
		case 0:
			if e != nil {
				return e
			}
			s.note(set[k:k+1], outcome{result: ledger.ResultSuccess})
		case dataverse.Duplicate:
			if s.w.table.Link != nil { // linked already
				s.note(set[k:k+1], outcome{result: ledger.ResultSuccess})
			} else if s.w.update {
				s.fail(set[k:k+1], e)
			} else {
				doubt, last = append(doubt, i), e
			}
		case dataverse.Lost:
			doubt, last = append(doubt, i), e
		case dataverse.RolledBack, dataverse.Transient, dataverse.TooBig:
			again, last = append(again, i), e
		case dataverse.Throttled, dataverse.Stopped, dataverse.SignIn, dataverse.Setup, dataverse.Unreachable, dataverse.Unsupported:
			s.note(set[k:k+1], outcome{result: ledger.ResultReleased})
			stop = e
		default:
			s.fail(set[k:k+1], e)
		}
	}
	if stop != nil {
		s.note(again, outcome{result: ledger.ResultReleased})
		return stop
	}
	return errors.Join(s.settleDoubt(ctx, doubt, errs, set, tries), s.again(ctx, again, tries, last))
}

// settleDoubt decides single creates that were answered with a duplicate, or not
// at all: what is in the target under its id is done; a duplicate that is not
// there by id clashes on an alternate key.
func (s *sender) settleDoubt(ctx context.Context, doubt []int, errs []error, set []int, tries int) error {
	if len(doubt) == 0 {
		return nil
	}
	rest := doubt
	if !s.w.update && s.w.table.Link == nil {
		var err error
		if rest, err = s.readBack(ctx, doubt); err != nil {
			return s.unsure(err)
		}
	}
	byRecord := make(map[int]error, len(set))
	for k, i := range set {
		byRecord[i] = errs[k]
	}
	var again []int
	var last error
	for _, i := range rest {
		if e := byRecord[i]; dataverse.KindOf(e) == dataverse.Duplicate {
			s.fail([]int{i}, e)
		} else {
			again, last = append(again, i), e
		}
	}
	return s.again(ctx, again, tries, last)
}

// decideBatch acts on a $batch that failed as a whole.
func (s *sender) decideBatch(ctx context.Context, set []int, tries int, err error) error {
	switch dataverse.KindOf(err) {
	case dataverse.Lost:
		return s.lost(ctx, set, tries, err)
	case dataverse.TooBig:
		s.shrink(len(set))
		if len(set) == 1 {
			s.fail(set, err)
			return nil
		}
		return s.halves(ctx, set, tries)
	case dataverse.RolledBack, dataverse.Transient:
		return s.again(ctx, set, tries, err)
	case 0:
		return err
	}
	return s.stop(set, err)
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
			ops[k] = dataverse.CreateOp(s.w.table.Schema, s.w.encoder.CreateBody(nil, s.j.record(i)))
		}
	}
	return ops
}

// note gives the records one outcome.
func (s *sender) note(set []int, o outcome) {
	for _, i := range set {
		s.j.results[i] = o
	}
}

// fail notes records as failed for good.
func (s *sender) fail(set []int, err error) {
	s.note(set, outcome{result: ledger.ResultFailed, reason: reasonOf(err)})
}

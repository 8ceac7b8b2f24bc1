package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

const (
	// maxTries is how often records are sent again as they are for a cause that passes,
	// on top of what the client tries itself, before less is sent at once.
	maxTries = 2
	// maxAttempts is after how many claims for a pass a record that is never taken for a
	// passing cause is given up as failed.
	maxAttempts = 5
	// fewEnough is the size at which a bulk request that is refused for a passing cause is
	// no longer halved but sent as a $batch, whose parts are answered one by one.
	fewEnough = 16
	// maxRefusals is how many bulk requests of one job may be refused in the search for
	// guilty rows. Where there are more, halving costs more than a $batch of the rest.
	maxRefusals = 12
	// worthHalving is up to how many guilty rows in a refused request halving is worth
	// while: one costs two requests a halving and what is applied in vain in the halves that
	// hold it; a $batch applies all the others, but a record costs more there.
	worthHalving = 1.5
	// codeTooLarge says that a request's body is too large (dataverse-web-api.md 1.8).
	codeTooLarge = 0x8004418A
)

// sender sends the records of one claimed job and notes each one's outcome.
type sender struct {
	l *Loader
	w *work
	j *job

	target Target

	refusals int   // bulk requests of this job that were refused
	wasLost  bool  // the answer to a request was: what is there now may be from it
	looked   bool  // the job's records were read back: those left are not there by id
	passing  error // the last cause that kept records waiting
}

// send sends the records in set, which are claimed, and settles in j.results what
// is certain. tries counts how often these were sent. An error stops the load;
// records without a result then stay in flight.
func (s *sender) send(ctx context.Context, set []int, tries int) error {
	if len(set) == 0 {
		return nil
	}
	if s.w.removing != nil && !s.w.removing.deletes && !s.w.removing.restores && tries == 0 {
		rest, err := s.leaveInactive(ctx, set)
		if err != nil {
			return s.release(s.open(set), readBackError(err))
		}
		if set = rest; len(set) == 0 {
			return nil
		}
	}
	if tries == 0 && s.w.keepsFormer() && !s.w.looksFirst() {
		if err := s.keepFormer(ctx, set); err != nil {
			return s.release(set, readBackError(err))
		}
	}
	if s.w.removing != nil {
		return s.remove(ctx, set, tries)
	}
	if s.w.pass == ledger.Files {
		return s.sendFiles(ctx, set)
	}
	if s.w.pass != ledger.Main && tries == 0 {
		rest, err := s.leaveGiven(ctx, set)
		if err != nil {
			return s.release(s.open(set), readBackError(err))
		}
		if set = rest; len(set) == 0 {
			return nil
		}
	}
	if s.j.closings != nil {
		if tries == 0 && s.w.looksFirst() {
			rest, err := s.meetOthers(ctx, set)
			if err != nil {
				return s.release(set, readBackError(err))
			}
			set = rest
		}
		return s.close(ctx, set, tries)
	}
	if tries == 0 {
		rest, err := s.lookFirst(ctx, set)
		if err != nil {
			return err
		}
		if len(rest) < len(set) {
			return s.send(ctx, rest, 1)
		}
		if found := s.suspects(set, s.w.clues.known()); len(found) > 0 {
			return s.aside(ctx, found, set)
		}
	}
	switch Message(s.w.message.Load()) {
	case Bulk:
		if tries == 0 && s.w.mostRefused() {
			return s.each(ctx, set, 1)
		}
		err := s.bulk(ctx, set)
		if tries == 0 {
			s.w.first(err)
		}
		return s.decide(ctx, set, tries, err)
	case Single:
		return s.singly(ctx, set, tries)
	}
	return s.each(ctx, set, tries)
}

// lookFirst does what is due before records are sent for the first time, and gives those that are to be sent
// then. Those that the target has already, that others have changed, or that cannot be sent now are settled.
func (s *sender) lookFirst(ctx context.Context, set []int) (rest []int, err error) {
	if s.w.insert() && s.w.lookFirst.Load() {
		if rest, err = s.readBack(ctx, set); err != nil {
			return nil, s.stop(set, readBackError(err))
		}
		s.w.lookFirst.Store(len(rest) < len(set))
		if len(rest) < len(set) {
			return rest, nil
		}
	}
	rest = set
	if s.w.looksFirst() {
		if rest, err = s.meetOthers(ctx, set); err != nil {
			return nil, s.release(set, readBackError(err))
		}
	}
	if rest, err = s.reopen(ctx, rest); err != nil || len(rest) < len(set) {
		return rest, err
	}
	if s.w.matchesFirst() {
		s.wasLost = s.wasLost || s.l.book.Behind(s.w.table.Name)
		if rest, err = s.match(ctx, set); err != nil {
			return nil, s.stop(s.open(set), readBackError(err))
		}
	}
	return rest, nil
}

func (s *sender) bulk(ctx context.Context, set []int) error {
	body := s.j.bulk(set)
	if s.w.update {
		return s.target.UpdateMany(ctx, s.w.table.Schema, body, len(set))
	}
	if s.w.table.ServerIDs {
		ids, err := s.target.CreateManyIDs(ctx, s.w.table.Schema, body, len(set))
		for n, id := range ids {
			s.j.ids[set[n]] = id
		}
		return err
	}
	return s.target.CreateMany(ctx, s.w.table.Schema, body, len(set))
}

// decide acts on the answer to a request that was applied as a whole or not at all.
func (s *sender) decide(ctx context.Context, set []int, tries int, err error) error {
	if err == nil {
		s.note(set, outcome{result: ledger.ResultSuccess})
		return nil
	}
	if unreadable(err) {
		s.fail(set[0], err)
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
		return s.tooBig(ctx, set, tries, err)
	case dataverse.Unsupported:
		if Message(s.w.message.Load()) == Bulk {
			s.l.o.Watch.Note(s.w.table.Name, "does not take bulk requests; going on with $batch")
			s.w.message.Store(uint32(Batch))
			s.w.shrinkTo(s.w.inBatch)
			return s.send(ctx, set, tries)
		}
	case dataverse.Partial:
		return s.partial(ctx, set, tries, err)
	}
	return s.stop(set, err)
}

// stop ends the load. The records wait again if it is certain that nothing of them
// was applied.
func (s *sender) stop(set []int, err error) error {
	if k := dataverse.KindOf(err); k.Certain() {
		s.note(set, outcome{result: ledger.ResultReleased})
	}
	return err
}

// open are the records of the set without an outcome.
func (s *sender) open(set []int) []int {
	return slices.DeleteFunc(slices.Clone(set), func(i int) bool { return s.j.results[i].result != 0 })
}

func readBackError(err error) error { return fmt.Errorf("read records back: %w", err) }

// narrow searches a refused request for the guilty rows: those that the message
// names, else by halves while it is larger than a $batch, then one by one in one. Where
// several are to be expected, halves would only be refused again.
func (s *sender) narrow(ctx context.Context, set []int, tries int, err error) error {
	if len(set) == 1 {
		return s.refuse(ctx, set[0], err)
	}
	if s.refusals++; s.refusals == 1 {
		s.l.o.Watch.Note(s.w.table.Name, fmt.Sprintf("a request of %s was refused, looking for the guilty ones: %s", progress.Counted(len(set), "record"), short(err)))
	}
	if s.refusals > maxRefusals {
		return s.each(ctx, set, tries)
	}
	if named := s.named(set, err); len(named) > 0 && len(named) <= len(set)/2 {
		return s.apart(ctx, named, set, tries)
	}
	if len(set) <= max(s.w.inBatch, fewEnough) || s.w.bad.expected(len(set)) > worthHalving {
		return s.each(ctx, set, tries)
	}
	return s.halves(ctx, set, tries)
}

// aside lets suspects wait for the next sweep, where they meet others of their kind and
// fill a $batch.
func (s *sender) aside(ctx context.Context, found, set []int) error {
	if s.w.resweep || len(found) > len(set)/2 {
		return s.apart(ctx, found, set, 1)
	}
	s.note(found, outcome{result: ledger.ResultReleased})
	return s.send(ctx, without(set, found), 1)
}

// without is a set without some of its records; both are in order.
func without(set, some []int) []int {
	return slices.DeleteFunc(slices.Clone(set), func(i int) bool { _, found := slices.BinarySearch(some, i); return found })
}

// apart sends some records of a set so that each has its own answer, and the others
// together.
func (s *sender) apart(ctx context.Context, some, set []int, tries int) error {
	others := without(set, some)
	if err := s.each(ctx, some, tries); err != nil {
		return s.release(others, err)
	}
	return s.send(ctx, others, max(tries, 1))
}

func (s *sender) halves(ctx context.Context, set []int, tries int) error {
	half := len(set) / 2
	if err := s.send(ctx, set[:half], max(tries, 1)); err != nil {
		return s.release(set[half:], err) // what they were part of was not applied
	}
	return s.send(ctx, set[half:], max(tries, 1))
}

// release lets records wait again that certainly were not applied, when an error
// stops the load.
func (s *sender) release(set []int, err error) error {
	s.note(set, outcome{result: ledger.ResultReleased})
	return err
}

// tooBig sends less at once, now and from now on. A record alone may have met a slow
// moment, but never becomes smaller.
func (s *sender) tooBig(ctx context.Context, set []int, tries int, err error) error {
	var e *dataverse.Error
	switch {
	case len(set) == 1 && errors.As(err, &e) && (e.Status == http.StatusRequestEntityTooLarge || e.Code == codeTooLarge):
		s.fail(set[0], err)
		return nil
	case len(set) == 1:
		return s.again(ctx, set, tries, err)
	}
	s.refusals++
	if n := len(set) / 2; s.w.tooBig(len(set)) {
		s.l.o.Watch.Note(s.w.table.Name, fmt.Sprintf("requests were too big or too slow; going on with %s each", progress.Counted(n, "record")))
	}
	for len(set) > 0 {
		n := min(int(s.w.batch.Load()), len(set))
		if err := s.send(ctx, set[:n], max(tries, 1)); err != nil {
			return s.release(set[n:], err)
		}
		set = set[n:]
	}
	return nil
}

// duplicate is a create of which some record is there already: an earlier request
// whose answer was lost, or a target that is ahead of a restored ledger. Our ids are
// our own, so a record with one of them is ours (readBack knows the exception).
func (s *sender) duplicate(ctx context.Context, set []int, tries int, err error) error {
	switch {
	case s.w.table.Link != nil: // linked already
		var found sightings
		for _, i := range set {
			s.sight(&found, i)
		}
		if err := s.noteFound(ctx, found); err != nil {
			return s.release(set, err)
		}
		s.note(set, outcome{result: ledger.ResultSuccess})
		return nil
	case s.w.update, s.looked && len(set) > 1:
		return s.narrow(ctx, set, tries, err)
	}
	rest, rerr := s.identify(ctx, set)
	switch {
	case rerr != nil: // the request was refused, so nothing of it was applied
		return s.release(s.open(set), readBackError(rerr))
	case len(rest) == len(set): // not by id: an alternate key is taken
		return s.narrow(ctx, set, tries, err)
	}
	if !s.w.table.ServerIDs { // a key does not tell our records from those that were there before
		s.w.lookFirst.Store(true)
	}
	return s.send(ctx, rest, max(tries, 1))
}

// lost is a request without an answer. An update or a link is absolute and may be
// sent again; of creates, the ids tell what was applied.
func (s *sender) lost(ctx context.Context, set []int, tries int, err error) error {
	if ctx.Err() != nil {
		return err // stopped at once: the next run looks them up
	}
	s.l.o.Watch.Note(s.w.table.Name, fmt.Sprintf("the answer to a request of %s was lost, finding out what became of it: %s", progress.Counted(len(set), "record"), short(err)))
	rest, rerr := set, error(nil)
	if s.w.insert() {
		rest, rerr = s.readBackLost(ctx, set)
	} else {
		rerr = s.meet(ctx, set[0])
	}
	if rerr != nil {
		return readBackError(errors.Join(rerr, err))
	}
	s.looked = false // the request may be under way still
	return s.again(ctx, rest, tries, err)
}

// again sends records once more that a passing cause kept out: as they are, then in
// smaller requests, since some causes come with size and some with one row.
func (s *sender) again(ctx context.Context, set []int, tries int, err error) error {
	switch {
	case len(set) == 0:
		return nil
	case tries < maxTries:
		return s.send(ctx, set, tries+1)
	case len(set) == 1 || s.refusals >= maxRefusals:
		s.later(set, err)
		return nil
	}
	s.refusals++
	if len(set) <= fewEnough {
		return s.each(ctx, set, tries)
	}
	return s.halves(ctx, set, tries)
}

// later lets records wait for another sweep, or gives those up that were tried too
// often.
func (s *sender) later(set []int, err error) {
	s.passing = err
	for _, i := range set {
		if e, _ := s.l.book.Entry(s.w.table.Name, s.j.seqs[i]); e.Attempts >= maxAttempts+claimsBefore(s.j.owed[i], s.w.pass) {
			s.fail(i, err)
		} else {
			s.j.results[i] = outcome{result: ledger.ResultReleased, counted: true}
		}
	}
}

// wait is later for updates that are absolute, whether they were applied or not. Where the load stops it counts for
// nothing, and the error stops it.
func (s *sender) wait(ctx context.Context, set []int, err error) error {
	if ctx.Err() != nil {
		return s.release(set, err)
	}
	s.later(set, err)
	return nil
}

// meet reads one record, whatever it finds: a read waits for a target that does not
// answer, and then what was lost may be sent again.
func (s *sender) meet(ctx context.Context, i int) error {
	t, id := s.w.table.Schema, schema.GUID{}
	if link := s.w.table.Link; link == nil {
		id = s.j.ids[i]
	} else if end := s.l.o.Tables[link.Table1]; end != nil {
		t, id = end.Schema, s.j.links[i].ID1
	} else {
		return nil
	}
	_, err := s.target.Existing(ctx, t, []schema.GUID{id})
	return err
}

// readBack notes as done what the target has of the set, and returns the rest.
func (s *sender) readBack(ctx context.Context, set []int) (rest []int, err error) {
	if s.w.table.ServerIDs {
		return s.readBackByKey(ctx, set)
	}
	ids := make([]schema.GUID, len(set))
	for k, i := range set {
		ids[k] = s.j.ids[i]
	}
	found, err := s.target.Existing(ctx, s.w.table.Schema, ids)
	if err != nil {
		return nil, err
	}
	var there []int
	var seen sightings
	for _, i := range set {
		if _, ok := found[s.j.ids[i]]; !ok {
			rest = append(rest, i)
			continue
		}
		there = append(there, i)
		if s.w.table.KeepID { // an id of our own making tells that the record is ours, the source's does not
			s.sight(&seen, i)
		}
	}
	if err := s.noteFound(ctx, seen); err != nil {
		return nil, err
	}
	if s.l.book.Reused(s.w.table.Name) {
		if err := s.overwrite(ctx, there); err != nil {
			return rest, s.release(rest, err)
		}
	} else {
		s.note(there, outcome{result: ledger.ResultSuccess})
	}
	s.looked = s.looked || len(set) == len(s.j.seqs)
	return rest, nil
}

// overwrite gives records that were found by our ids the values of the rows that have these ids now,
// their state too: after the restore of a snapshot and a new staging they may have been other rows'.
func (s *sender) overwrite(ctx context.Context, set []int) error {
	err := s.updateMatched(ctx, set)
	for _, i := range set {
		s.j.results[i].matched = false // the id is the row's own
		if s.w.table.HasState() {
			s.j.owed[i] |= mapping.OwesState
		}
	}
	return err
}

// partial is a bulk request to an elastic table, where each record stands alone.
func (s *sender) partial(ctx context.Context, set []int, tries int, err error) error {
	var e *dataverse.Error
	errors.As(err, &e)
	bad := map[int]int{}
	for _, r := range e.Rows {
		bad[r.Index] = r.Status
	}
	var retry, taken []int
	for k, i := range set {
		switch status, failed := bad[k]; {
		case failed && status == http.StatusConflict && !s.w.update && s.l.book.Reused(s.w.table.Name):
			taken = append(taken, i)
		case !failed || status == http.StatusConflict && !s.w.update:
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		case status == http.StatusTooManyRequests || status >= 500:
			retry = append(retry, i)
		default:
			s.fail(i, err)
		}
	}
	if err := s.overwrite(ctx, taken); err != nil {
		return s.release(retry, err)
	}
	return s.again(ctx, retry, tries, err)
}

// note gives the records one outcome.
func (s *sender) note(set []int, o outcome) {
	for _, i := range set {
		s.j.results[i] = o
	}
}

// fail notes a record as failed for good.
func (s *sender) fail(i int, err error) {
	r := reasonOf(err)
	var e *dataverse.Error
	if s.w.table.Link == nil && errors.As(err, &e) && e.Kind == dataverse.NotFound && s.w.update && slices.Contains(e.IDs, s.j.ids[i]) {
		r.Class = uint8(ClassMissing)
	}
	s.j.results[i] = outcome{result: ledger.ResultFailed, reason: r}
	request, id := "", schema.GUID{}
	if e != nil {
		request = e.RequestID
	}
	if s.w.table.Link == nil && i < len(s.j.ids) {
		id = s.j.ids[i]
	}
	s.l.o.Log.Warn("record failed", "table", s.w.table.Name, "pass", s.w.pass.String(), "row", s.j.seqs[i], "record", id, "class", Class(r.Class).String(),
		"http", r.HTTP, "code", fmt.Sprintf("0x%08x", r.Code), "request", request, "message", r.Text)
}

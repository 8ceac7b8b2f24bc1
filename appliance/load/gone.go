package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// Gone is what becomes of the records whose rows are no longer supplied.
type Gone uint8

// What becomes of them.
const (
	GoneReport     Gone = iota // they stay; staging has counted them
	GoneDelete                 // they are deleted, and links taken back: action D
	GoneDeactivate             // they get the inactive state: action U, of a row that is gone
)

// The passes of gone records, as a watcher is told them.
const (
	Delete     = plan.Delete
	Deactivate = plan.Deactivate
)

// removing is how a work treats gone records; nil: it is of rows that are staged.
type removing struct {
	deletes  bool
	body     []byte // of a deactivation
	back     bool   // it is a rollback's (undo.go)
	restores bool   // records get what they had
}

// removeGone deletes or deactivates, after all that is to be written, in the reverse order
// of the plan: links and children before the records they point to.
func (l *Loader) removeGone(ctx, drain context.Context) error {
	return l.untilNoneWaits(ctx, func() error { return l.removeSteps(ctx, drain) })
}

func (l *Loader) removeSteps(ctx, drain context.Context) error {
	for _, step := range slices.Backward(l.o.Plan.Steps) {
		t := l.o.Tables[step.Table]
		if passOf(step.Pass) != ledger.Main || t == nil {
			continue
		}
		if l.toStop(drain) {
			return ErrDrained
		}
		if err := l.removeStep(ctx, drain, t, step); err != nil {
			return fmt.Errorf("load %s (%s): %w", step.Table, step.Pass, err)
		}
	}
	return nil
}

func (l *Loader) removeStep(ctx, drain context.Context, t *mapping.Table, step plan.Step) error {
	policy := l.o.Settings(t.Name).Gone
	waiting := func(a ledger.Action) int { return l.book.Counts(t.Name).Of(ledger.Unprocessed, ledger.Main, a) }
	if n := waiting(ledger.Delete); n > 0 && policy != GoneDelete {
		l.o.Watch.Note(t.Name, progress.Counted(n, "record", "waits", "wait")+" to be deleted, left alone since `gone` does not say delete any more")
	}
	switch {
	case policy == GoneDelete && waiting(ledger.Delete) > 0:
		step.Pass = Delete
		w := l.work(t, step, ledger.Main, mapping.Gone, ledger.Delete)
		w.sizer = nil
		w.removing = &removing{deletes: true}
		return l.run(ctx, drain, w)
	case policy == GoneDeactivate && waiting(ledger.Update) > 0:
		body, err := InactiveBody(t.Schema)
		if err != nil {
			return err
		}
		step.Pass = Deactivate
		w := l.work(t, step, ledger.Main, mapping.Gone, ledger.Update)
		w.sizer = nil
		w.removing = &removing{body: body}
		return l.run(ctx, drain, w)
	}
	return nil
}

// goneTable is the relation of a table's gone rows, with the columns of a scan; in a rollback, of
// all its rows.
func (l *Loader) goneTable(t *mapping.Table) string {
	if l.back != nil {
		return backTable(t)
	}
	ends := ""
	if t.Link != nil {
		ends = ", end1 AS " + mapping.Ident(t.Link.Column1) + ", end2 AS " + mapping.Ident(t.Link.Column2)
	}
	return fmt.Sprintf(`(SELECT seq AS dm_seq, 0::UTINYINT AS dm_owed, dm_id%s FROM dm.gone WHERE "table" = '%s')`, ends, t.Name)
}

// remove deletes or deactivates the records of the set, which are claimed.
func (s *sender) remove(ctx context.Context, set []int, tries int) error {
	if s.w.removing.restores {
		return s.restore(ctx, set, tries)
	}
	if s.w.removing.back && tries == 0 && s.w.table.Link == nil {
		rest, err := s.leaveOthers(ctx, set)
		if err != nil {
			return s.release(s.open(set), readBackError(err))
		}
		set = rest
	}
	if s.w.removing.deletes && !s.w.removing.back && tries == 0 {
		rest, err := s.leaveChanged(ctx, set)
		if err != nil {
			return s.release(s.open(set), readBackError(err))
		}
		set = rest
	}
	if s.w.removing.deletes && tries == 0 && s.w.table.Link == nil && s.l.o.TargetSeq != nil {
		rest, err := s.leaveParents(ctx, set)
		if err != nil {
			return s.release(s.open(set), readBackError(err))
		}
		set = rest
	}
	if s.w.removing.deletes && s.w.table.Link == nil && s.w.table.Schema.Kind == schema.Elastic {
		return s.removeMany(ctx, set, tries)
	}
	for len(set) > 0 {
		n := min(len(set), max(s.w.inBatch, fewEnough))
		if err := s.removeEach(ctx, set[:n], tries); err != nil {
			return s.release(set[n:], err)
		}
		set = set[n:]
	}
	return nil
}

// leaveChanged holds back gone records that somebody else has changed last, which a deletion would lose, unless
// on_conflict says overwrite, and returns the rest.
func (s *sender) leaveChanged(ctx context.Context, set []int) (rest []int, err error) {
	t := s.w.table.Schema
	if s.w.table.Link != nil || s.w.settings.OnConflict == ConflictOverwrite || len(s.l.o.Ours) == 0 || t.Column("modifiedby") == nil || t.Kind == schema.Virtual || len(set) == 0 {
		return set, nil
	}
	of, ids := make(map[schema.GUID]int, len(set)), make([]schema.GUID, len(set))
	for k, i := range set {
		of[s.j.ids[i]], ids[k] = i, s.j.ids[i]
	}
	reader := dataverse.NewSplitter([]string{modifiedBy})
	err = s.target.Records(ctx, t, ids, []string{modifiedBy}, func(id schema.GUID, row json.RawMessage) error {
		if err := reader.Split(row); err != nil {
			return err
		}
		if i, asked := of[id]; asked && s.l.others(reader.Text(0)) {
			s.j.results[i] = outcome{result: ledger.ResultHeld, reason: &ledger.Reason{Class: uint8(ClassConflict),
				Text: fmt.Sprintf("its row is gone, and it is not deleted: somebody has changed the record in the target since it was loaded (%s); on_conflict says what becomes of such rows", reader.Text(0))}}
		}
		return nil
	})
	return s.open(set), err
}

// removeEach sends a $batch. A record that is not there is done.
func (s *sender) removeEach(ctx context.Context, set []int, tries int) error {
	ops := make([]dataverse.Op, len(set))
	for k, i := range set {
		switch {
		case s.w.table.Link != nil:
			ops[k] = dataverse.DisassociateOp(s.w.link, s.j.links[i])
		case s.w.removing.deletes:
			ops[k] = dataverse.DeleteOp(s.w.table.Schema, s.j.ids[i])
		default:
			ops[k] = dataverse.UpdateOp(s.w.table.Schema, s.j.ids[i], s.w.removing.body)
		}
	}
	errs, err := s.target.Batch(ctx, ops)
	for k, err := range errs {
		if dataverse.KindOf(err) == dataverse.NotFound {
			errs[k] = nil
		}
	}
	return s.removed(ctx, set, tries, errs, err, func(int) outcome { return outcome{result: ledger.ResultSuccess} })
}

// removed acts on the answers to a $batch of one operation a record. What is done gets its outcome; the
// zero outcome leaves it open.
func (s *sender) removed(ctx context.Context, set []int, tries int, errs []error, err error, done func(i int) outcome) error {
	if err != nil {
		return s.removeFailed(ctx, set, tries, err)
	}
	var again, lost []int
	var last, stop error
	for k, i := range set {
		switch err := errs[k]; {
		case err == nil:
			s.j.results[i] = done(i)
		case dataverse.KindOf(err) == dataverse.Lost || deletedTwice(err):
			lost, last = append(lost, i), err
		case passesBy(err):
			again, last = append(again, i), err
		case refusedAlone(err) || dataverse.KindOf(err) == dataverse.NotFound:
			s.fail(i, err)
		default:
			stop = s.stop([]int{i}, err)
		}
	}
	if stop != nil { // what was lost stays in flight
		s.release(again, nil)
		return stop
	}
	return s.removeAgain(ctx, again, lost, tries, last)
}

// removeFailed acts on a request that failed as a whole.
func (s *sender) removeFailed(ctx context.Context, set []int, tries int, err error) error {
	switch {
	case dataverse.KindOf(err) == dataverse.Lost:
		return s.removeAgain(ctx, nil, set, tries, err)
	case passesBy(err):
		return s.removeAgain(ctx, set, nil, tries, err)
	}
	return s.stop(set, err)
}

// removeAgain sends once more what was not applied, and what was lost and is there still.
func (s *sender) removeAgain(ctx context.Context, again, lost []int, tries int, err error) error {
	if len(lost) > 0 {
		there, rerr := s.stillThere(ctx, lost)
		if rerr != nil {
			return s.release(again, readBackError(errors.Join(rerr, err)))
		}
		again = append(again, there...)
		slices.Sort(again)
	}
	switch {
	case len(again) == 0:
		return nil
	case tries < maxTries:
		return s.remove(ctx, again, tries+1)
	}
	s.later(again, err)
	return nil
}

// looks are the waits between the looks for records whose DELETE had no answer. Sent
// again while it still runs, it may wedge the row (dataverse-web-api.md 17, trap 41).
var looks = []time.Duration{0, 5 * time.Second, 25 * time.Second, 120 * time.Second}

// stillThere finds out which of the lost records the target has. A deactivation, or the
// taking back of a link, may simply be sent again.
func (s *sender) stillThere(ctx context.Context, set []int) ([]int, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !s.w.removing.deletes || s.w.table.Link != nil {
		return set, s.meet(ctx, set[0])
	}
	s.l.o.Watch.Note(s.w.table.Name, fmt.Sprintf("the answer to the deletion of %s was lost, finding out what became of it", progress.Counted(len(set), "record")))
	for _, wait := range looks {
		if err := dataverse.Pause(ctx, wait); err != nil {
			return nil, err
		}
		ids := make([]schema.GUID, len(set))
		for k, i := range set {
			ids[k] = s.j.ids[i]
		}
		found, err := s.target.Existing(ctx, s.w.table.Schema, ids)
		if err != nil {
			return nil, err
		}
		set = slices.DeleteFunc(slices.Clone(set), func(i int) bool {
			_, there := found[s.j.ids[i]]
			if !there {
				s.j.results[i] = outcome{result: ledger.ResultSuccess}
			}
			return !there
		})
		if len(set) == 0 {
			break
		}
	}
	return set, nil
}

// removeMany deletes from an elastic table, by DeleteMultiple. The partition is that of a
// record that named none: its id.
func (s *sender) removeMany(ctx context.Context, set []int, tries int) error {
	t := s.w.table.Schema
	body := []byte(bodyOpen)
	for k, i := range set {
		if k > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"@odata.type":"Microsoft.Dynamics.CRM.%s","%s":"%s","partitionid":"%s"}`, t.LogicalName, t.PrimaryID, s.j.ids[i], s.j.ids[i])
	}
	err := s.target.DeleteMany(ctx, t, append(body, bodyClose...), len(set))
	var e *dataverse.Error
	switch {
	case err == nil || dataverse.KindOf(err) == dataverse.NotFound && len(set) == 1:
		s.note(set, outcome{result: ledger.ResultSuccess})
		return nil
	case dataverse.KindOf(err) != dataverse.Partial || !errors.As(err, &e):
		return s.removeFailed(ctx, set, tries, err)
	}
	status := map[int]int{}
	for _, r := range e.Rows {
		status[r.Index] = r.Status
	}
	var again []int
	for k, i := range set {
		switch n := status[k]; {
		case n == 0 || n == http.StatusNotFound:
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		case n == http.StatusTooManyRequests || n >= 500:
			again = append(again, i)
		default:
			s.fail(i, err)
		}
	}
	return s.removeAgain(ctx, again, nil, tries, err)
}

// passesBy reports whether nothing was applied for a cause that passes.
func passesBy(err error) bool {
	k := dataverse.KindOf(err)
	return k == dataverse.RolledBack || k == dataverse.Transient || k == dataverse.TooBig
}

// refusedAlone reports whether the record is at fault, and no other.
func refusedAlone(err error) bool {
	k := dataverse.KindOf(err)
	return k == dataverse.RowFault || k == dataverse.Conflict || k == dataverse.Duplicate
}

// deletedTwice reports whether the service says that a DELETE of the record still runs.
func deletedTwice(err error) bool {
	var e *dataverse.Error
	return errors.As(err, &e) && strings.Contains(e.Message, "concurrent Delete")
}

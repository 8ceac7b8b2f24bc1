package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// A rollback is a load whose records go back: those that were changed get what they had, those
// that were made are deleted. It is planned in the ledger before it begins (U and D), claimed,
// sent and settled like any other, so that it can be killed at any moment and goes on. What
// somebody else has changed since is left, held with the reason, unless Overwrite is said.

// Restore and Clear are the passes of a rollback, besides Delete, as a watcher is told them.
const (
	Restore plan.Pass = "restore"
	Clear   plan.Pass = "clear"
)

// Back is what a rollback does with the records of one table: they wait for it in the ledger.
type Back struct {
	Delete  *ledger.Ranges // made by this migration: action D
	Maybe   *ledger.Ranges // of those: somebody else may have made them
	Restore *ledger.Ranges // changed by it: action U
}

// Rollback says what a rollback does.
type Rollback struct {
	Tables    map[string]Back
	Overwrite bool      // also what somebody else has changed since
	Begun     time.Time // when the first load began of what goes back: what is older was made by others
	// Images calls fn with what records of a range had, of each the newest first.
	Images func(table string, r ledger.Range, fn func(ledger.Image)) error
	// PageFrom is of how many records on Survey reads a table page by page, PageRows how many rows a page has;
	// 0 = surveyFrom, surveyPage.
	PageFrom, PageRows int
}

// Settle looks up what an earlier run has left in flight, and sends nothing.
func (l *Loader) Settle(ctx, drain context.Context) error {
	err := l.settleDoubts(dataverse.Stopping(ctx, drain))
	if errors.Is(err, dataverse.ErrStopping) {
		return ErrDrained
	}
	return err
}

// SettleBack is Settle for what a rollback has left in flight.
func (l *Loader) SettleBack(ctx, drain context.Context, o Rollback) error {
	l.back = &o
	return l.Settle(ctx, drain)
}

// RollBack takes the records back that wait for it. The tables come in an order in which nothing
// stands in the way of what follows: first what was changed gets what it had; then lookups are cleared
// that would keep others from being deleted; then links and children are deleted before what they
// point to.
func (l *Loader) RollBack(ctx, drain context.Context, o Rollback) error {
	if err := l.SettleBack(ctx, drain, o); err != nil {
		return err
	}
	do := func(step plan.Step, pass plan.Pass, one func(ctx, drain context.Context, t *mapping.Table, step plan.Step) error) error {
		t := l.o.Tables[step.Table]
		if passOf(step.Pass) != ledger.Main || t == nil {
			return nil
		}
		if drain.Err() != nil {
			return ErrDrained
		}
		if err := one(ctx, drain, t, step); err != nil {
			return fmt.Errorf("roll back %s (%s): %w", step.Table, pass, err)
		}
		return nil
	}
	if err := l.recallHeirs(); err != nil {
		return err
	}
	for _, step := range l.o.Plan.Steps {
		if err := do(step, Restore, l.restoreStep); err != nil {
			return err
		}
	}
	if err := l.giveBack(ctx, drain); err != nil {
		return err
	}
	for _, step := range l.o.Plan.Steps {
		if err := do(step, Clear, l.clearStep); err != nil {
			return err
		}
	}
	for table, b := range o.Tables { // for what a rollback that was stopped has kept back
		if _, err := l.waitAgain(ctx, table, b.Delete); err != nil {
			return err
		}
	}
	return l.untilNoneWaits(ctx, func() error {
		for _, step := range slices.Backward(l.o.Plan.Steps) {
			if err := do(step, Delete, l.unmakeStep); err != nil {
				return err
			}
		}
		return nil
	})
}

// backWork is a work of a rollback.
func (l *Loader) backWork(t *mapping.Table, step plan.Step, pass plan.Pass, action ledger.Action, only *ledger.Ranges) *work {
	step.Pass = pass
	w := l.work(t, step, ledger.Main, mapping.Gone, action)
	w.sizer, w.only = nil, only
	w.removing = &removing{back: true, deletes: pass == Delete, restores: pass == Restore}
	w.settings.Batch = fallbackBatch
	w.inBatch = fallbackBatch
	w.batch.Store(fallbackBatch)
	return w
}

func (l *Loader) restoreStep(ctx, drain context.Context, t *mapping.Table, step plan.Step) error {
	only := l.back.Tables[t.Name].Restore
	if only.Len() == 0 {
		return nil
	}
	if l.takesAlong(t.Name) {
		assigned, err := l.assignedBack(t.Name, only)
		if err == nil {
			err = l.lookBelow(ctx, drain, t, assigned, false)
		}
		if err != nil {
			return err
		}
	}
	if err := l.run(ctx, drain, l.backWork(t, step, Restore, ledger.Update, only)); err != nil {
		return err
	}
	return l.ownersAgain(ctx, drain, t, step)
}

// assignedBack are those of a table's records that get another owner when they go back.
func (l *Loader) assignedBack(table string, only *ledger.Ranges) (*ledger.Ranges, error) {
	set, list := &ledger.Ranges{}, only.List()
	err := l.back.Images(table, ledger.Range{From: list[0].From, To: list[len(list)-1].To}, func(m ledger.Image) {
		if bytes.Contains(m.Had, []byte(`"`+ownerReading+`"`)) && only.Has(m.Seq) {
			set.Add([]ledger.Range{ledger.One(m.Seq)})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read whose owners go back of %s: %w", table, err)
	}
	return set, nil
}

func (l *Loader) unmakeStep(ctx, drain context.Context, t *mapping.Table, step plan.Step) error {
	only := l.back.Tables[t.Name].Delete
	if only.Len() == 0 {
		return nil
	}
	return l.run(ctx, drain, l.backWork(t, step, Delete, ledger.Delete, only))
}

// backTable is the relation of all rows that a record may be of, staged or gone.
func backTable(t *mapping.Table, more ...string) string {
	staged, gone := "", ""
	if t.Link != nil {
		c1, c2 := mapping.Ident(t.Link.Column1), mapping.Ident(t.Link.Column2)
		staged, gone = ", "+c1+", "+c2, ", end1 AS "+c1+", end2 AS "+c2
	}
	for _, sql := range more {
		staged, gone = staged+", "+sql, gone+", true"
	}
	return fmt.Sprintf(`(SELECT dm_seq, 0::UTINYINT AS dm_owed, dm_id%s FROM %s UNION ALL SELECT seq, 0::UTINYINT, dm_id%s FROM dm.gone WHERE "table" = '%s')`,
		staged, mapping.Ident(t.Name), gone, t.Name)
}

// leaveOthers decides about records that are about to be deleted and that somebody else has changed,
// or perhaps made, and returns the rest.
func (s *sender) leaveOthers(ctx context.Context, set []int) (rest []int, err error) {
	asked := slices.DeleteFunc(slices.Clone(set), func(i int) bool {
		return s.l.back.Overwrite && !s.l.back.Tables[s.w.table.Name].Maybe.Has(s.j.seqs[i])
	})
	if len(asked) == 0 || len(makers(s.w.table.Schema)) == 0 {
		return set, nil
	}
	err = s.askMakers(ctx, asked, func(i int, why string) {
		if why != "" {
			s.j.results[i] = outcome{result: ledger.ResultHeld, reason: &ledger.Reason{Class: uint8(ClassConflict), Text: why}}
		}
	})
	return s.open(set), err
}

// makers are the columns of a table, as they are read, that say who made a record and who changed it last.
func makers(t *schema.Table) (read []string) {
	for _, c := range [...]struct{ name, reading string }{{"createdby", createdBy}, {"createdon", "createdon"}, {"modifiedby", modifiedBy}, {"modifiedon", "modifiedon"}} {
		if t.Column(c.name) != nil {
			read = append(read, c.reading)
		}
	}
	return read
}

// made is who made a record and who changed it last, each with the time; "": not known.
type made struct{ by, on, changedBy, changedOn string }

// madeReader finds what makers brings in rows, and what else is wanted of them.
func madeReader(more ...string) *dataverse.Splitter {
	return dataverse.NewSplitter(append([]string{createdBy, "createdon", modifiedBy, "modifiedon"}, more...))
}

// madeOf is what was read of the row that was split last.
func madeOf(row *dataverse.Splitter) made {
	return made{row.Text(0), row.Text(1), row.Text(2), row.Text(3)}
}

// askMakers reads who made records and who changed them last. found is called for those that are there:
// why is what keeps one from being deleted, "" = nothing.
func (s *sender) askMakers(ctx context.Context, set []int, found func(i int, why string)) error {
	of := make(map[schema.GUID]int, len(set))
	ids := make([]schema.GUID, len(set))
	for k, i := range set {
		of[s.j.ids[i]], ids[k] = i, s.j.ids[i]
	}
	t, reader := s.w.table.Schema, madeReader()
	return s.target.Records(ctx, t, ids, makers(t), func(id schema.GUID, row json.RawMessage) error {
		i, asked := of[id]
		if err := reader.Split(row); err != nil || !asked {
			return err
		}
		found(i, s.l.back.notOurs(s.l, s.w.table.Name, s.j.seqs[i], madeOf(reader)))
		return nil
	})
}

// notOurs is what keeps a record from being deleted, going by who made it and who changed it last;
// "" = nothing.
func (o *Rollback) notOurs(l *Loader, table string, seq uint32, m made) string {
	switch {
	case o.Tables[table].Maybe.Has(seq) && !l.madeByUs(m):
		return fmt.Sprintf("it is not certain that this migration made the record: it was made by %s on %s", m.by, m.on)
	case !o.Overwrite && l.others(m.changedBy):
		return fmt.Sprintf("somebody has changed the record in the target since it was loaded: %s on %s; --overwrite takes it back all the same", m.changedBy, m.changedOn)
	}
	return ""
}

// changedBy reports whether somebody else has changed a record last.
func (l *Loader) changedBy(have map[string]any) bool { return l.others(fmt.Sprint(have[modifiedBy])) }

// others reports whether an id is that of a user and not one of ours.
func (l *Loader) others(id string) bool {
	who, err := schema.ParseGUID(id)
	return err == nil && !slices.Contains(l.o.Ours, who)
}

// clockSlack is by how much the service's clock may be behind ours.
const clockSlack = 5 * time.Minute

// madeByUs reports whether a record is of this migration by who made it and when.
func (l *Loader) madeByUs(m made) bool {
	who, err := schema.ParseGUID(m.by)
	when, timeErr := time.Parse(time.RFC3339, m.on)
	return err == nil && slices.Contains(l.o.Ours, who) && timeErr == nil && when.After(l.back.Begun.Add(-clockSlack))
}

// clearStep empties the deferred lookups of a table by which its records, which are to be deleted,
// would keep others from being deleted before them: the table's way back would be a circle. Nothing is
// noted of it: that the records go is, and to empty a lookup twice does no harm.
func (l *Loader) clearStep(ctx, drain context.Context, t *mapping.Table, step plan.Step) error {
	only := l.back.Tables[t.Name].Delete
	body, filled := l.blocking(t, step.Deferred)
	if only.Len() == 0 || body == nil {
		return nil
	}
	w := l.backWork(t, step, Clear, ledger.Delete, only)
	w.removing.body = body
	err := l.eachOf(ctx, drain, w, only, filled, func(ctx context.Context, s *sender) error { return s.clear(ctx) })
	if errors.Is(err, dataverse.ErrStopping) {
		return ErrDrained
	}
	return err
}

// eachOf hands the records of a set out in jobs, some at once, that are of rows which meet an SQL
// condition. Where do writes, only those come that still wait for it.
func (l *Loader) eachOf(ctx, drain context.Context, w *work, only *ledger.Ranges, condition string, do func(ctx context.Context, s *sender) error) error {
	t := w.table
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(w.settings.Parallel, 1))
	j := w.jobs.Get().(*job)
	hand := func() error {
		full := j
		j = w.jobs.Get().(*job)
		if drain.Err() != nil {
			return ErrDrained
		}
		group.Go(func() error {
			defer w.put(full)
			return do(dataverse.Stopping(ctx, drain), &sender{l: l, w: w, j: full, target: w.target})
		})
		return ctx.Err()
	}
	list := only.List()
	columns := "dm_seq, dm_id"
	if t.Link != nil {
		columns = "dm_seq, " + mapping.Ident(t.Link.Column1) + ", " + mapping.Ident(t.Link.Column2)
	}
	query := fmt.Sprintf("SELECT %s FROM %s WHERE filled AND dm_seq >= %d AND dm_seq < %d", columns, backTable(t, "("+condition+") AS filled"), list[0].From, list[len(list)-1].To)
	err := l.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		for i := range b.Rows {
			seq := uint32(b.Column(mapping.Seq).Ints[i])
			if !only.Has(seq) || w.removing.body != nil && !l.waits(t.Name, seq) {
				continue
			}
			if err := l.addBack(j, b, seq, i); err != nil {
				return err
			}
			if len(j.seqs) >= w.inBatch {
				if err := hand(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && len(j.seqs) > 0 {
		err = hand()
	}
	if waitErr := group.Wait(); waitErr != nil {
		err = waitErr
	}
	return err
}

// waits reports whether a record still waits to be deleted.
func (l *Loader) waits(table string, seq uint32) bool {
	e, _ := l.book.Entry(table, seq)
	return e.Action == ledger.Delete && e.Flag == ledger.Unprocessed
}

// addBack adds the record of a row to a job, under its id in the target.
func (l *Loader) addBack(j *job, b *column.Batch, seq uint32, i int) error {
	t := j.w.table
	j.places, j.seqs, j.results = append(j.places, len(j.seqs)), append(j.seqs, seq), append(j.results, outcome{})
	if t.Link == nil {
		id, err := l.targetID(t.Name, b.Column(mapping.ID).UUIDs[i])
		j.ids = append(j.ids, id)
		return err
	}
	id1, err1 := l.targetID(t.Link.Table1, b.Column(t.Link.Column1).UUIDs[i])
	id2, err2 := l.targetID(t.Link.Table2, b.Column(t.Link.Column2).UUIDs[i])
	j.links = append(j.links, dataverse.Pair{ID1: id1, ID2: id2})
	return errors.Join(err1, err2)
}

// targetID is the id in the target of the record that an id in the stage stands for.
func (l *Loader) targetID(table string, staged [16]byte) (schema.GUID, error) {
	if t := l.o.Tables[table]; t == nil || !t.KeptIDs() {
		return staged, nil
	}
	id, _, err := l.keptID(table, staged)
	return id, err
}

// blocking is the update that empties those of the lookups which would keep what they point to from
// being deleted, and the condition on staged rows that one of them is filled; nil: there are none.
func (l *Loader) blocking(t *mapping.Table, deferred []string) (body []byte, filled string) {
	var conditions []string
	for i := range t.Lookups {
		k := &t.Lookups[i]
		if !slices.Contains(deferred, k.LogicalName) {
			continue
		}
		for _, r := range t.Schema.ManyToOne {
			if r.Column != k.LogicalName || r.Cascade["Delete"] != "Restrict" || l.back.Tables[r.Target].Delete.Len() == 0 {
				continue
			}
			body = append(body, fmt.Sprintf(`,"%s@odata.bind":null`, r.Nav)...)
			conditions = append(conditions, mapping.Ident(k.LogicalName)+" IS NOT NULL")
			break
		}
	}
	if body == nil {
		return nil, ""
	}
	body[0] = '{'
	return append(body, '}'), strings.Join(conditions, " OR ")
}

// clear empties the lookups of the job's records. What is refused will be met when it is deleted.
func (s *sender) clear(ctx context.Context) error {
	set, err := s.leaveOthers(ctx, s.j.all())
	if err != nil {
		return readBackError(err)
	}
	for tries := 0; len(set) > 0; tries++ {
		ops := make([]dataverse.Op, len(set))
		for k, i := range set {
			ops[k] = dataverse.UpdateOp(s.w.table.Schema, s.j.ids[i], s.w.removing.body)
		}
		errs, err := s.target.Batch(ctx, ops)
		switch k := dataverse.KindOf(err); {
		case err == nil:
		case (k == dataverse.Lost || passesBy(err)) && tries < maxTries && ctx.Err() == nil:
			continue
		case passesBy(err):
			return nil
		default:
			return err
		}
		var again []int
		for k, i := range set {
			if err := errs[k]; err != nil && (dataverse.KindOf(err) == dataverse.Lost || passesBy(err)) {
				again = append(again, i)
			}
		}
		if set = again; tries >= maxTries {
			return nil
		}
	}
	return nil
}

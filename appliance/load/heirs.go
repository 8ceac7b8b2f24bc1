package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// Where a relationship cascades an assignment, a record that gets another owner takes along those below it, to any
// depth. What of them is this migration's are its heirs. Without more, those whose row has not changed would keep an
// owner that nobody gave them, and those that have would look as if somebody had changed them. So before records of a
// table are assigned it is kept, durably, who their heirs are, and what owners these have in the target that are others than
// their rows say; in the end of the load each has the owner that it had, or that its own update gave it.
//
// A record that is not ours goes along: that is what the environment's own settings say of an assignment.

// heirBook finds heirs in the stage, and keeps them.
type heirBook interface {
	// Below are the heirs of records of a table, by table. With changed only those records count
	// whose owner is about to change.
	Below(ctx context.Context, table string, parents *ledger.Ranges, changed bool) (map[string]*ledger.Ranges, error)
	Kept() (Heirs, error) // the zero value: none
	Keep(Heirs) error     // returns when it is on the disk
}

// Heirs are records that may go along with one that is assigned.
type Heirs struct {
	Records map[string][]ledger.Range   `json:"records"`          // by table
	Owners  map[string]map[uint32]Owner `json:"owners,omitempty"` // of those that have another than their rows say
}

// Owner is the owner that a record had.
type Owner struct {
	ID    string `json:"id"`
	Table string `json:"table"`
	Own   bool   `json:"own,omitempty"` // the record waited for an update that assigns it
}

// heirs are those of a run.
type heirs struct {
	mu      sync.Mutex // protects owners; records change between works only
	records map[string]*ledger.Ranges
	owners  map[string]map[uint32]Owner
}

// recallHeirs reads what an earlier run has kept and not come to the end of.
func (l *Loader) recallHeirs() error {
	l.heirs = heirs{records: map[string]*ledger.Ranges{}, owners: map[string]map[uint32]Owner{}}
	if l.o.Heirs == nil {
		return nil
	}
	kept, err := l.o.Heirs.Kept()
	for table, list := range kept.Records {
		set := &ledger.Ranges{}
		set.Add(list)
		l.heirs.records[table] = set
	}
	maps.Copy(l.heirs.owners, kept.Owners)
	return err
}

func (l *Loader) keepHeirs() error {
	kept := Heirs{Records: map[string][]ledger.Range{}, Owners: l.heirs.owners}
	for table, set := range l.heirs.records {
		kept.Records[table] = set.List()
	}
	return l.o.Heirs.Keep(kept)
}

// lookBelow keeps who the heirs are of records that are about to be assigned.
func (l *Loader) lookBelow(ctx, drain context.Context, t *mapping.Table, parents *ledger.Ranges, changed bool) error {
	if l.o.Heirs == nil || parents.Len() == 0 || t.Lookup("ownerid") == nil || !l.takesAlong(t.Name) {
		return nil
	}
	below, err := l.o.Heirs.Below(ctx, t.Name, parents, changed)
	if err != nil {
		return fmt.Errorf("look for records that go along when %s are assigned: %w", t.Name, err)
	}
	found := false
	for _, table := range slices.Sorted(maps.Keys(below)) {
		fresh := below[table]
		fresh.Remove(l.heirs.records[table].List()) // of the others it is kept what they had before
		if fresh.Len() == 0 {
			continue
		}
		found = true
		if err := l.lookAtOwners(ctx, drain, table, fresh); err != nil {
			return fmt.Errorf("look at the owners of %s: %w", table, err)
		}
		if l.heirs.records[table] == nil {
			l.heirs.records[table] = &ledger.Ranges{}
		}
		l.heirs.records[table].Add(fresh.List())
		l.heirs.records[table].List() // so that Has may be called from many sides
	}
	if !found {
		return nil
	}
	return l.keepHeirs()
}

// takesAlong reports whether an assignment of a record of the table may change owners of records of ours.
func (l *Loader) takesAlong(table string) bool {
	for _, t := range l.o.Tables {
		if Cascades(t.Schema, table) {
			return true
		}
	}
	return false
}

// lookAtOwners notes which heirs have another owner than their rows say.
func (l *Loader) lookAtOwners(ctx, drain context.Context, table string, set *ledger.Ranges) error {
	return l.eachHeir(ctx, drain, table, set, func(ctx context.Context, t *mapping.Table, target Target, some []heir) error {
		return readOwners(ctx, t, target, some, func(h heir, owner, of, _ string) {
			if owner == "" || strings.EqualFold(owner, h.owner.ID) {
				return
			}
			l.heirs.mu.Lock()
			defer l.heirs.mu.Unlock()
			if l.heirs.owners[table] == nil {
				l.heirs.owners[table] = map[uint32]Owner{}
			}
			l.heirs.owners[table][h.seq] = Owner{owner, of, h.assigns}
		})
	})
}

// heir is one of them as its row says.
type heir struct {
	seq     uint32
	id      schema.GUID
	owner   Owner // the row's
	assigns bool  // the record waits for an update that assigns it
}

const (
	HeirsAtOnce = 2 * fallbackBatch // heirs that are read, and at most assigned, by one request
	manyHeirs   = 5000              // to look at so many takes a while, and is told
)

// eachHeir hands out the records of a set whose rows say an owner and that the target may have, some at once.
func (l *Loader) eachHeir(ctx, drain context.Context, table string, set *ledger.Ranges, do func(ctx context.Context, t *mapping.Table, target Target, some []heir) error) error {
	t := l.o.Tables[table]
	list := set.List()
	if n := set.Len(); n >= manyHeirs {
		l.o.Watch.Note(table, fmt.Sprintf("looking at the owners of %d records that may go along with parents that are assigned", n))
	}
	if t == nil || t.Lookup("ownerid") == nil || len(list) == 0 {
		return nil
	}
	group, working := errgroup.WithContext(ctx)
	settings := l.o.Settings(table)
	group.SetLimit(max(settings.Parallel, l.o.Parallel, 1))
	var some []heir
	hand := func() {
		full := some
		some = nil
		group.Go(func() error { return do(dataverse.Stopping(working, drain), t, l.o.Target(table), full) })
	}
	columns, from := "r.dm_seq, r.dm_id, r.ownerid AS ownerid, true AS assigns", mapping.Ident(table)+" r"
	if settings.Before && !settings.Whole {
		columns = "r.dm_seq, r.dm_id, r.ownerid AS ownerid, b." + changedColumn + " IS NULL OR list_contains(string_split(b." + changedColumn + ", ','), 'ownerid') AS assigns" // of a row that is not there nothing is known
		from += " LEFT JOIN " + mapping.Ident(table+BeforeSuffix) + " b USING (dm_seq)"
	}
	if len(t.Lookup("ownerid").Targets) > 1 {
		columns += ", r." + mapping.Ident("ownerid"+mapping.TargetSuffix)
	}
	query := fmt.Sprintf("SELECT %s FROM %s WHERE r.ownerid IS NOT NULL AND r.dm_seq >= %d AND r.dm_seq < %d ORDER BY r.dm_seq", columns, from, list[0].From, list[len(list)-1].To)
	err := l.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		for i := range b.Rows {
			h, ok, err := l.heirOf(t, b, i)
			if err != nil {
				return err
			}
			if ok && set.Has(h.seq) {
				if some = append(some, h); len(some) == HeirsAtOnce {
					hand()
				}
			}
		}
		if drain.Err() != nil {
			return ErrDrained
		}
		return working.Err()
	})
	if err == nil && len(some) > 0 {
		hand()
	}
	if waitErr := group.Wait(); waitErr != nil {
		err = waitErr
	}
	if errors.Is(err, dataverse.ErrStopping) {
		return ErrDrained
	}
	return err
}

// heirOf reads row i; not ok: the target does not have the record, or is to lose it.
func (l *Loader) heirOf(t *mapping.Table, b *column.Batch, i int) (h heir, ok bool, err error) {
	h.seq = uint32(b.Column(mapping.Seq).Ints[i])
	e, known := l.book.Entry(t.Name, h.seq)
	if !known || e.Action == ledger.Nothing || e.Action == ledger.Delete || e.Action == ledger.Insert && e.Pass == ledger.Main && e.Flag != ledger.Processed {
		return h, false, nil
	}
	owner := t.Lookup("ownerid")
	h.owner.Table = owner.Targets[0].Table
	if len(owner.Targets) > 1 {
		h.owner.Table = string(b.Column("ownerid" + mapping.TargetSuffix).TextAt(i))
	}
	h.assigns = e.Action == ledger.Update && e.Flag == ledger.Unprocessed && b.Column("assigns").Ints[i] != 0
	id, err := l.targetID(h.owner.Table, b.Column("ownerid").UUIDs[i])
	h.owner.ID = id.String()
	if err == nil {
		h.id, err = l.targetID(t.Name, b.Column(mapping.ID).UUIDs[i])
	}
	return h, true, err
}

// readOwners calls fn with the owners of heirs as the target has them and their tables, and who changed the records last.
func readOwners(ctx context.Context, t *mapping.Table, target Target, some []heir, fn func(h heir, owner, of, changedBy string)) error {
	of, ids := make(map[schema.GUID]heir, len(some)), make([]schema.GUID, len(some))
	for k, h := range some {
		of[h.id], ids[k] = h, h.id
	}
	columns := []string{ownerReading}
	if t.Schema.Column("modifiedby") != nil {
		columns = append(columns, modifiedBy)
	}
	reader := dataverse.NewSplitter([]string{ownerReading, ownerReading + targetNote, modifiedBy})
	return target.Records(ctx, t.Schema, ids, columns, func(id schema.GUID, row json.RawMessage) error {
		err := reader.Split(row)
		if h, asked := of[id]; asked && err == nil {
			fn(h, reader.Text(0), reader.Text(1), reader.Text(2))
		}
		return err
	})
}

// giveBack gives heirs that went along their owners back, parents first: who is assigned takes along again. So in the
// next round those are looked at that are below one that was assigned, and what was not answered or refused.
func (l *Loader) giveBack(ctx, drain context.Context) error {
	if len(l.heirs.records) == 0 {
		return nil
	}
	given, wrong := map[string]int64{}, 0
	look := l.heirs.records
	for range ownerRounds {
		g := &giving{given: map[string]*ledger.Ranges{}, open: map[string]*ledger.Ranges{}}
		for _, step := range l.o.Plan.Steps {
			if passOf(step.Pass) != ledger.Main || look[step.Table].Len() == 0 {
				continue
			}
			err := l.eachHeir(ctx, drain, step.Table, look[step.Table], func(ctx context.Context, t *mapping.Table, target Target, some []heir) error {
				return l.giveSome(ctx, t, target, some, g)
			})
			if err != nil {
				return err
			}
			given[step.Table] += int64(g.given[step.Table].Len())
		}
		if wrong = g.wrong; g.settled() {
			break
		}
		var err error
		if look, err = l.belowGiven(ctx, g); err != nil {
			return err
		}
	}
	for _, table := range slices.Sorted(maps.Keys(given)) {
		if n := given[table]; n > 0 {
			l.o.Watch.Note(table, progress.Counted(n, "record", "has", "have")+" the owner back from before a parent was assigned")
		}
	}
	if wrong > 0 {
		text := progress.Counted(wrong, "record", "does", "do") + " not take back the owner from before a parent was assigned; dvmigrate reconcile lists them"
		l.notes = append(l.notes, text)
		l.o.Watch.Note("", text)
	}
	l.heirs.records, l.heirs.owners = map[string]*ledger.Ranges{}, map[string]map[uint32]Owner{}
	return l.keepHeirs()
}

// giving is what came of one round of it, by table.
type giving struct {
	mu          sync.Mutex
	given, open map[string]*ledger.Ranges // were assigned; were refused, or not answered
	wrong, lost int                       // records that had another owner than they are to have; of these, not answered
}

func (g *giving) note(into map[string]*ledger.Ranges, table string, seq uint32) {
	if into[table] == nil {
		into[table] = &ledger.Ranges{}
	}
	into[table].Add([]ledger.Range{ledger.One(seq)})
}

// settled reports whether another round would change nothing.
func (g *giving) settled() bool { return len(g.given) == 0 && g.lost == 0 }

// belowGiven are the heirs that may have another owner since the last round.
func (l *Loader) belowGiven(ctx context.Context, g *giving) (map[string]*ledger.Ranges, error) {
	next := g.open
	for table, given := range g.given {
		if !l.takesAlong(table) {
			continue
		}
		below, err := l.o.Heirs.Below(ctx, table, given, false)
		if err != nil {
			return nil, fmt.Errorf("look for records that went along when %s were assigned: %w", table, err)
		}
		for name, set := range below {
			if next[name] == nil {
				next[name] = &ledger.Ranges{}
			}
			for _, r := range set.List() {
				next[name].Add(l.heirs.records[name].Within(r))
			}
		}
	}
	return next, nil
}

// giveSome assigns those of some heirs that have another owner than they are to have, where the last change is ours: a
// cascade is.
func (l *Loader) giveSome(ctx context.Context, t *mapping.Table, target Target, some []heir, g *giving) error {
	back, err := l.ownersBack(t, some)
	if err != nil {
		return err
	}
	var wrong []heir
	var ids []schema.GUID
	var bodies [][]byte
	var ops []dataverse.Op
	err = readOwners(ctx, t, target, some, func(h heir, owner, _, changedBy string) {
		due := l.dueOwner(t.Name, h)
		if owner, told := back[h.seq]; told {
			due = owner
		}
		targets := t.Lookup("ownerid").Targets
		k := slices.IndexFunc(targets, func(x mapping.Target) bool { return x.Table == due.Table })
		if strings.EqualFold(owner, due.ID) || k < 0 || l.others(changedBy) {
			return
		}
		body := fmt.Appendf(nil, `{"%s@odata.bind":"%s(%s)"}`, targets[k].Nav, targets[k].EntitySet, due.ID)
		wrong, ids, bodies, ops = append(wrong, h), append(ids, h.id), append(bodies, body), append(ops, dataverse.UpdateOp(t.Schema, h.id, body))
	})
	if err != nil || len(ops) == 0 {
		return err
	}
	errs, err := target.Batch(ctx, ops)
	if dataverse.KindOf(err) == dataverse.Lost || passesBy(err) { // they are looked at once more
		errs, err = slices.Repeat([]error{err}, len(ops)), nil
	} else if err == nil {
		err = giveClosed(ctx, t, target, ids, bodies, errs, nil)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrong += len(ops)
	for k, e := range errs {
		switch {
		case e == nil:
			g.note(g.given, t.Name, wrong[k].seq)
		case refusedAlone(e) || dataverse.KindOf(e) == dataverse.NotFound:
			g.note(g.open, t.Name, wrong[k].seq)
		default:
			g.lost++
			g.note(g.open, t.Name, wrong[k].seq)
		}
	}
	return err
}

// giveClosed changes those of some records that refused it since they are closed: each is opened for that and closed
// again as it was, in one change set. What has no state of its own stays refused, as a quote's products: its parent is
// closed. bodies are those of the updates, nil for what is none; errs gets what came of it. may says of which
// states; nil: of all.
func giveClosed(ctx context.Context, t *mapping.Table, target Target, ids []schema.GUID, bodies [][]byte, errs []error, may func(k int, is stateOf) bool) error {
	of := map[schema.GUID]int{}
	for k, id := range ids {
		if closedRefusal(errs[k]) && bodies[k] != nil {
			of[id] = k
		}
	}
	if len(of) == 0 || t.Schema.Column("statecode") == nil {
		return nil
	}
	var at []int
	var sets []dataverse.Op
	err := target.Records(ctx, t.Schema, slices.Collect(maps.Keys(of)), closedColumns(t.Schema), func(id schema.GUID, row json.RawMessage) error {
		k, asked := of[id]
		var have map[string]any
		if err := decode(row, &have); err != nil || !asked {
			return err
		}
		is, closed := stateIn(t.Schema, have)
		if !closed || may != nil && !may(k, is) {
			return nil
		}
		if err := decode(bodies[k], &have); err != nil { // what it is to get goes over what it has
			return err
		}
		op, err := around(t.Schema, id, bodies[k], is, have)
		at, sets = append(at, k), append(sets, op)
		return err
	})
	if err != nil {
		return readBackError(err)
	}
	for len(sets) > 0 && err == nil {
		n := min(len(sets), dataverse.MaxBatch/aroundOps)
		var answers []error
		answers, err = target.Batch(ctx, sets[:n])
		for k, e := range answers {
			errs[at[k]] = e
		}
		if dataverse.KindOf(err) == dataverse.Lost || passesBy(err) {
			for _, k := range at[:n] {
				errs[k] = err
			}
			err = nil // they are looked at once more
		}
		at, sets = at[n:], sets[n:]
	}
	return err
}

// dueOwner is the owner that an heir is to have in the end.
func (l *Loader) dueOwner(table string, h heir) Owner {
	l.heirs.mu.Lock()
	had, other := l.heirs.owners[table][h.seq]
	l.heirs.mu.Unlock()
	if !other {
		return h.owner
	}
	if e, _ := l.book.Entry(table, h.seq); had.Own && e.Action == ledger.Update && (e.Flag == ledger.Processed || e.Flag == ledger.Success) {
		return h.owner // its own update came to pass
	}
	return had
}

// ownersBack are the owners that heirs got back in a rollback, where it is theirs that went back.
func (l *Loader) ownersBack(t *mapping.Table, some []heir) (map[uint32]Owner, error) {
	if l.back == nil || len(l.back.Tables[t.Name].Restore.Within(ledger.Range{From: some[0].seq, To: some[len(some)-1].seq + 1})) == 0 {
		return nil, nil
	}
	formers, err := l.formers(t.Name, ledger.Range{From: some[0].seq, To: some[len(some)-1].seq + 1})
	out := map[uint32]Owner{}
	for _, h := range some {
		e, _ := l.book.Entry(t.Name, h.seq)
		id, had := formers[h.seq].had[ownerReading].(string)
		if had && e.Flag == ledger.Processed && l.back.Tables[t.Name].Restore.Has(h.seq) {
			table, _ := formers[h.seq].had[ownerReading+targetNote].(string)
			out[h.seq] = Owner{ID: id, Table: table}
		}
	}
	return out, err
}

// asBefore has an heir that was read have the owner that it had before it went along.
func (s *sender) asBefore(i int, want, have map[string]any) {
	wanted, assigns := want[ownerReading]
	if table := s.w.table.Name; assigns && s.l.heirs.records[table].Has(s.j.seqs[i]) && !s.l.changedByOthersLast(have) {
		s.l.heirs.mu.Lock()
		had, other := s.l.heirs.owners[table][s.j.seqs[i]]
		s.l.heirs.mu.Unlock()
		if other {
			have[ownerReading], have[ownerReading+targetNote] = had.ID, had.Table
		} else if bound, ok := wanted.(string); ok && s.l.back == nil {
			set, id, _ := strings.Cut(strings.TrimSuffix(bound, ")"), "(")
			have[ownerReading] = id
			for _, t := range s.w.table.Lookup("ownerid").Targets {
				if t.EntitySet == set {
					have[ownerReading+targetNote] = t.Table
				}
			}
		}
	}
}

// changedByOthersLast is changedBy where it was read who changed the record last.
func (l *Loader) changedByOthersLast(have map[string]any) bool {
	_, told := have[modifiedBy]
	return told && l.changedBy(have)
}

// keepsOwner notes that an heir's own update leaves it the owner that somebody has given it.
func (l *Loader) keepsOwner(table string, seq uint32) {
	l.heirs.mu.Lock()
	defer l.heirs.mu.Unlock()
	if had, ok := l.heirs.owners[table][seq]; ok {
		had.Own = false
		l.heirs.owners[table][seq] = had
	}
}

// waitingUpdates are the records of a table that wait for an update.
func (l *Loader) waitingUpdates(w *work) *ledger.Ranges {
	set := &ledger.Ranges{}
	for from := uint32(0); ; {
		spans := l.book.Next(w.table.Name, w.pass, from, window)
		if len(spans) == 0 {
			return set
		}
		for _, s := range w.meant(spans) {
			set.Add([]ledger.Range{s.Range})
		}
		from = spans[len(spans)-1].To
	}
}

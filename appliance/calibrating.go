package appliance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
)

// calibrator is one calibration under way.
type calibrator struct {
	p      *Project
	o      CalibrateOptions
	drain  context.Context
	bound  *bound
	target *users
	who    dataverse.Identity
	out    *Calibration
	begun  journal

	kept  map[string][]schema.GUID // the records that are there, by table
	doubt bool                     // an answer was lost: a record may still come
	all   []*Measure

	mu      sync.Mutex // protects what follows
	measure *Measure   // that requests count for; nil = none
	latency time.Duration
}

// sampleRow is a staged row on its way into the sandbox and out again.
type sampleRow struct {
	id             schema.GUID
	create, update []byte // as items of a bulk action
	dead           bool   // refused
}

// calibration is one table's part.
type calibration struct {
	*calibrator
	table  *mapping.Table
	client *dataverse.Client
	sizes  []int
	bulk   bool // the load would send it so
	rows   []*sampleRow
	pairs  []dataverse.Pair
	link   dataverse.Link
	told   bool // of a record that was refused in a batch
}

// latencyAsked is how often the latency is asked for.
const latencyAsked = 8

// run measures all tables. What it created is deleted, whatever happens.
func (c *calibrator) run(ctx context.Context) (err error) {
	if err := c.beginJournal(); err != nil {
		return err
	}
	defer func() {
		if e := c.cleanAfter(ctx, c.begun, c.doubt || err != nil); e != nil && err == nil {
			err = e
		}
	}()
	for range latencyAsked {
		if _, err := c.target.first().WhoAmI(ctx); err != nil {
			return err
		}
	}
	var done []*calibration
	for _, t := range c.out.Plan.Tables {
		if t.Skipped != "" {
			c.note("%s: %s", t.Table, t.Skipped)
			continue
		}
		k, err := c.table(ctx, t)
		if err != nil {
			return err
		}
		measure := k.writes
		if k.table.Link != nil {
			measure = k.links
		}
		if err := measure(ctx); err != nil {
			return err
		}
		done = append(done, k)
	}
	for _, k := range slices.Backward(done) {
		if k.table.Link != nil {
			continue
		}
		c.tell(k.table.Name, "delete")
		if err := k.timed(ctx, "delete", "delete", len(k.rows), k.deletePart); err != nil {
			return err
		}
	}
	return nil
}

func (c *calibrator) note(format string, args ...any) {
	c.out.Notes = append(c.out.Notes, fmt.Sprintf(format, args...))
}

func (c *calibrator) tell(table, what string) {
	if c.o.Begin != nil {
		c.o.Begin(table, what)
	}
}

// table prepares a table's part: as the load would send it, but as no other user.
func (c *calibrator) table(ctx context.Context, t CalibrationTable) (*calibration, error) {
	s := c.p.Config.Table(t.Table)
	h := s.Headers
	h.Impersonate, h.ImpersonateUser = "", ""
	way, err := c.target.route(h)
	if err != nil {
		return nil, err
	}
	k := &calibration{calibrator: c, table: c.bound.byName[t.Table], client: way.clients[0], sizes: t.Sizes}
	k.bulk = s.Message != "single" && s.Message != "batch"
	if k.table.Link != nil {
		if k.link, err = dataverse.NewLink(c.p.Schema, k.table.Link); err != nil {
			return nil, err
		}
		one, two := c.kept[k.table.Link.Table1], c.kept[k.table.Link.Table2]
		for i := range min(t.Records, len(one), len(two)) {
			k.pairs = append(k.pairs, dataverse.Pair{ID1: one[i], ID2: two[i]})
		}
		return k, nil
	}
	return k, k.read(ctx, c.begun.of(t.Table))
}

// writes creates, updates and upserts the table's records.
func (k *calibration) writes(ctx context.Context) error {
	k.tell(k.table.Name, "create")
	if err := k.timed(ctx, "insert", "create", len(k.rows), k.createPart); err != nil {
		return err
	}
	k.rows = slices.DeleteFunc(k.rows, func(r *sampleRow) bool { return r.dead })
	for _, r := range k.rows {
		k.kept[k.table.Name] = append(k.kept[k.table.Name], r.id)
	}
	k.tell(k.table.Name, "update")
	if err := k.timed(ctx, "update", "update", len(k.rows), k.updatePart); err != nil {
		return err
	}
	k.tell(k.table.Name, "upsert")
	return k.timed(ctx, "upsert", "upsert", len(k.rows), k.upsertPart)
}

// links links records to others, and unlinks them.
func (k *calibration) links(ctx context.Context) error {
	k.tell(k.table.Name, "link")
	err := k.timed(ctx, "link", "", len(k.pairs), func(ctx context.Context, from, to int, _ bool) error {
		return k.batch(ctx, from, to, func(i int) dataverse.Op { return dataverse.AssociateOp(k.link, k.pairs[i]) })
	})
	if err != nil {
		return err
	}
	return k.timed(ctx, "unlink", "", len(k.pairs), func(ctx context.Context, from, to int, _ bool) error {
		return k.batch(ctx, from, to, func(i int) dataverse.Op { return dataverse.DisassociateOp(k.link, k.pairs[i]) })
	})
}

// timed sends one action's requests one after the other, and measures all but the first.
// part sends the records from from up to to.
func (k *calibration) timed(ctx context.Context, action, bulk string, n int, part func(ctx context.Context, from, to int, bulk bool) error) error {
	m := &Measure{Table: k.table.Name, Pass: plan.Insert, Action: action, Message: plan.Batch, answers: []timed{}}
	inBulk := k.bulk && k.table.Schema != nil && k.table.Schema.CanBulk(bulk)
	switch {
	case k.table.Link != nil:
		m.Pass = plan.Link
	case inBulk:
		m.Message = plan.Bulk
	case k.p.Config.Table(k.table.Name).Message == "single":
		m.Message = plan.Single
	}
	began, at := time.Now(), 0
	for i, size := range portions(n, k.sizes) {
		if k.drain.Err() != nil {
			return errCalibrationStopped
		}
		if i > 0 {
			k.count(m)
		}
		err := part(ctx, at, at+size, inBulk)
		k.count(nil)
		if stop, err := k.refused(ctx, m, part, at, at+size, err); stop || err != nil {
			return err
		}
		at += size
	}
	m.Seconds = time.Since(began).Seconds()
	if m.Requests > 0 {
		k.all = append(k.all, m)
		k.out.Actions = append(k.out.Actions, k.timeOf(m))
	} else if n > 0 {
		k.note("%s: not one request was answered, so there is no figure for %s", m.Table, action)
	}
	return nil
}

func (c *calibrator) count(m *Measure) {
	c.mu.Lock()
	c.measure = m
	c.mu.Unlock()
}

func (c *calibrator) timeOf(m *Measure) CalibratedTime {
	m.PerRequest, m.PerRecord, m.Split = split(m.answers, c.latency)
	request, record := m.costs(c.latency)
	return CalibratedTime{Table: m.Table, Action: m.Action, Message: m.Message, Records: m.Records, Requests: m.Requests, Failed: m.Failed,
		Request: request.Seconds(), Record: record.Seconds()}
}

// refused deals with the error of a request. stop: the action is not gone on with.
func (k *calibration) refused(ctx context.Context, m *Measure, part func(context.Context, int, int, bool) error, from, to int, err error) (stop bool, _ error) {
	switch dataverse.KindOf(err) {
	case 0:
		return false, err
	case dataverse.SignIn, dataverse.Stopped, dataverse.Unreachable, dataverse.Throttled, dataverse.Transient:
		return false, err
	case dataverse.Setup:
		k.note("%s: %s is left out: %v", k.table.Name, m.Action, err)
		return true, nil
	case dataverse.Lost:
		k.doubt = true
		return false, k.settle(ctx, m, from, to)
	}
	if to-from > 1 { // one bad row costs the others nothing
		for i := from; i < to; i++ {
			if stop, err := k.refused(ctx, m, part, i, i+1, part(ctx, i, i+1, false)); stop || err != nil {
				return stop, err
			}
		}
		return false, nil
	}
	if m.Failed == 0 {
		k.note("%s: %s: a record was refused and is left out: %v", k.table.Name, m.Action, err)
	}
	m.Failed++
	if m.Action == "insert" {
		k.rows[from].dead = true
	}
	return false, nil
}

// settle finds out which of the records are there whose creation was not answered.
func (k *calibration) settle(ctx context.Context, m *Measure, from, to int) error {
	if m.Action != "insert" {
		return nil
	}
	var ids []schema.GUID
	for _, r := range k.rows[from:to] {
		ids = append(ids, r.id)
	}
	there, err := k.client.Existing(ctx, k.table.Schema, ids)
	if err != nil {
		return err
	}
	for _, r := range k.rows[from:to] {
		if _, ok := there[r.id]; !ok {
			r.dead = true
			m.Failed++
		}
	}
	return nil
}

func (k *calibration) createPart(ctx context.Context, from, to int, bulk bool) error {
	t, enc := k.table.Schema, k.encoder(mapping.Insert)
	if bulk {
		return k.client.CreateMany(ctx, t, targets(k.rows[from:to], func(r *sampleRow) []byte { return r.create }), to-from)
	}
	if to-from == 1 {
		return k.client.Create(ctx, t, enc.CreateBody(nil, k.rows[from].create))
	}
	return k.batch(ctx, from, to, func(i int) dataverse.Op { return dataverse.CreateOp(t, enc.CreateBody(nil, k.rows[i].create)) })
}

func (k *calibration) updatePart(ctx context.Context, from, to int, bulk bool) error {
	t, enc := k.table.Schema, k.encoder(mapping.Update)
	if bulk {
		return k.client.UpdateMany(ctx, t, targets(k.rows[from:to], func(r *sampleRow) []byte { return r.update }), to-from)
	}
	if to-from == 1 {
		return k.client.Update(ctx, t, k.rows[from].id, enc.UpdateBody(nil, k.rows[from].update))
	}
	return k.batch(ctx, from, to, func(i int) dataverse.Op {
		return dataverse.UpdateOp(t, k.rows[i].id, enc.UpdateBody(nil, k.rows[i].update))
	})
}

func (k *calibration) upsertPart(ctx context.Context, from, to int, bulk bool) error {
	t, enc := k.table.Schema, k.encoder(mapping.Update)
	if bulk {
		return k.client.UpsertMany(ctx, t, targets(k.rows[from:to], func(r *sampleRow) []byte { return r.update }), to-from)
	}
	return k.batch(ctx, from, to, func(i int) dataverse.Op {
		return dataverse.UpsertOp(t, k.rows[i].id, enc.UpdateBody(nil, k.rows[i].update))
	})
}

func (k *calibration) deletePart(ctx context.Context, from, to int, bulk bool) error {
	var ids []schema.GUID
	for _, r := range k.rows[from:to] {
		ids = append(ids, r.id)
	}
	return removeRecords(ctx, k.client, k.table.Schema, ids)
}

// batch sends a $batch; the first error of an operation stands for all.
func (k *calibration) batch(ctx context.Context, from, to int, op func(i int) dataverse.Op) error {
	ops := make([]dataverse.Op, 0, to-from)
	for i := from; i < to; i++ {
		ops = append(ops, op(i))
	}
	errs, err := k.client.Batch(ctx, ops)
	if err != nil {
		return err
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		if len(errs) == 1 || k.table.Link != nil {
			return err
		}
		if k.rows[from+i].dead = true; dataverse.KindOf(err) == dataverse.Lost {
			return err
		}
		if !k.told {
			k.note("%s: a record was refused and is left out: %v", k.table.Name, err)
		}
		k.told = true
	}
	return nil
}

// targets is the body of a bulk action.
func targets(rows []*sampleRow, item func(*sampleRow) []byte) []byte {
	body := []byte(`{"Targets":[`)
	for i, r := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, item(r)...)
	}
	return append(body, "]}"...)
}

// encoder writes the records with ids of ours, also where Dataverse would assign them.
func (k *calibration) encoder(w mapping.Write) *mapping.Encoder {
	t := *k.table
	t.ServerIDs = false
	return t.Encoder(w, k.bound.plan.Deferred(t.Name))
}

// read takes rows from all over the stage's table: with their own values, but new ids,
// without alternate keys, and with lookups to records that are there or to none.
func (k *calibration) read(ctx context.Context, ids []schema.GUID) error {
	seqs, err := k.chosen(ctx, len(ids))
	if err != nil {
		return err
	}
	insert, update := k.encoder(mapping.Insert), k.encoder(mapping.Update)
	var columns []string
	for _, name := range append(insert.StageColumns(), update.StageColumns()...) {
		if name = mapping.Ident(name); !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	query := "SELECT " + strings.Join(columns, ", ") + " FROM " + mapping.Ident(k.table.Name) + " WHERE dm_seq IN (" + strings.Join(seqs, ",") + ") ORDER BY dm_seq"
	there, err := k.existing(ctx, query)
	if err != nil {
		return err
	}
	return k.p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		created, err := insert.Rows(b)
		if err != nil {
			return err
		}
		updated, err := update.Rows(b)
		if err != nil {
			return err
		}
		k.rewrite(b, ids, there)
		for i := range b.Rows {
			k.rows = append(k.rows, &sampleRow{id: created.ID(i), create: created.AppendTarget(nil, i), update: updated.AppendTarget(nil, i)})
		}
		return nil
	})
}

// chosen are the numbers of n rows, spread over the table where it has more.
func (k *calibration) chosen(ctx context.Context, n int) ([]string, error) {
	table := duckstage.Ident(k.table.Name)
	var all int64
	if err := k.p.stage.Row(ctx, []any{&all}, "SELECT count(*) FROM "+table); err != nil {
		return nil, err
	}
	var seqs []string
	for _, step := range []int64{max(all/int64(n), 1), 1} { // the second time where too many are held
		seqs = nil
		query := fmt.Sprintf("SELECT dm_seq FROM %s WHERE dm_hold IS NULL AND dm_seq %% %d = 0 ORDER BY dm_seq LIMIT %d", table, step, n)
		err := k.p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var seq int64
			err := scan(&seq)
			seqs = append(seqs, fmt.Sprint(seq))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("choose rows of %s: %w", k.table.Name, err)
		}
		if len(seqs) == n {
			break
		}
	}
	return seqs, nil
}

// eachLookup goes through the values of lookups that are not null.
func (k *calibration) eachLookup(b *column.Batch, fn func(v *column.Vector, i int, target *mapping.Target)) {
	for n := range k.table.Lookups {
		l := &k.table.Lookups[n]
		v, tables := b.Column(l.LogicalName), b.Column(l.LogicalName+mapping.TargetSuffix)
		if v == nil || v.Type != column.UUID {
			continue
		}
		for i := range b.Rows {
			if v.Null(i) {
				continue
			}
			target := &l.Targets[0]
			if tables != nil {
				name := string(tables.TextAt(i))
				if at := slices.IndexFunc(l.Targets, func(t mapping.Target) bool { return t.Table == name }); at >= 0 {
					target = &l.Targets[at]
				}
			}
			fn(v, i, target)
		}
	}
}

// existing asks the sandbox for the records that are not of this migration and that
// lookups of the rows point to.
func (k *calibration) existing(ctx context.Context, query string) (map[schema.GUID]struct{}, error) {
	ids := map[string][]schema.GUID{}
	err := k.p.stage.Scan(ctx, query, nil, func(b *column.Batch) error {
		k.eachLookup(b, func(v *column.Vector, i int, target *mapping.Target) {
			if id := schema.GUID(v.UUIDs[i]); !target.Staged && !slices.Contains(ids[target.Table], id) {
				ids[target.Table] = append(ids[target.Table], id)
			}
		})
		return nil
	})
	there := map[schema.GUID]struct{}{}
	for table, of := range ids {
		t := k.p.Schema.Table(table)
		if err != nil || t == nil {
			continue
		}
		found, e := k.client.Existing(ctx, t, of)
		if kind := dataverse.KindOf(e); kind == dataverse.Setup || kind == dataverse.NotFound { // not readable: not bound
			continue
		} else if e != nil {
			err = e
		}
		for id := range found {
			there[id] = struct{}{}
		}
	}
	return there, err
}

// rewrite gives the rows their ids, and takes from them what would not be true in the
// sandbox.
func (k *calibration) rewrite(b *column.Batch, ids []schema.GUID, there map[schema.GUID]struct{}) {
	from := len(k.rows)
	own := b.Column(mapping.ID)
	for i := range b.Rows {
		own.UUIDs[i] = ids[from+i]
	}
	k.eachLookup(b, func(v *column.Vector, i int, target *mapping.Target) {
		_, found := there[schema.GUID(v.UUIDs[i])]
		if of := k.kept[target.Table]; target.Staged && len(of) > 0 {
			v.UUIDs[i] = of[(from+i)%len(of)]
		} else if target.Staged || !found {
			v.SetNull(i, b.Rows)
		}
	})
	for _, key := range k.table.Schema.Keys {
		for _, name := range key.Columns {
			if v := b.Column(name); v != nil && k.table.Lookup(name) == nil {
				for i := range b.Rows {
					v.SetNull(i, b.Rows)
				}
			}
		}
	}
}

// result is the run as the profile keeps it.
func (c *calibrator) result(began time.Time) ProfileRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := ProfileRun{Kind: plan.Calibrated, Start: began.UTC(), Seconds: time.Since(began).Seconds(), URL: c.p.Config.Target.Environment(), Organization: c.who.OrganizationID,
		Users: 1, Latency: c.latency, Hint: c.target.first().Limiter().Stats().Hint, Finished: true}
	for _, m := range c.all {
		r.Tables = append(r.Tables, *m)
	}
	c.out.Latency, c.out.Hint = c.latency.Seconds(), r.Hint
	return r
}

package appliance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
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

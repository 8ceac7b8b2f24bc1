package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/load"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// RollbackPlan is what a rollback would do, by the ledger and the journal of changes.
type RollbackPlan struct {
	Version     int             `json:"version"`
	Generations []string        `json:"generations"` // that go back, the newest first
	Tables      []RollbackTable `json:"tables"`      // in the order in which they are deleted
	Total       RollbackTable   `json:"total"`
	Requests    int64           `json:"requests"`         // about, with those that look who changed a record last
	Damage      []string        `json:"damage,omitempty"` // of the journal of changes, in words
	Apart       []string        `json:"apart,omitempty"`  // tables that stay, since their records are in partitions of their own
	UnderWay    bool            `json:"underWay,omitempty"`
	InFlight    int64           `json:"inFlight,omitempty"` // records of which it is looked up first what became of them
	Asked       bool            `json:"asked"`              // the target was: each table has what was found
	NotAsked    string          `json:"notAsked,omitempty"` // why it was not, where it was to be
}

// RollbackTable is what a rollback does with one table.
type RollbackTable struct {
	Name    string `json:"name"`
	Delete  int64  `json:"delete"`  // records that were made
	Restore int64  `json:"restore"` // records that were changed
	Lost    int64  `json:"lost"`    // records that were deleted: they are not made again
	Unknown int64  `json:"unknown"` // records of which the journal of changes does not tell: they stay
	Damaged int64  `json:"damaged"` // records whose former values cannot be read any more: they stay
	Maybe   int64  `json:"maybe"`   // of Delete: their maker is looked up first

	// Found is what of Delete and Restore would happen, going by what the target has now.
	Found *RollbackFound `json:"found,omitempty"`
}

// RollbackFound is what the target has of the records that would go back.
type RollbackFound = load.Found

func (t *RollbackTable) add(o RollbackTable) {
	t.Delete, t.Restore, t.Lost = t.Delete+o.Delete, t.Restore+o.Restore, t.Lost+o.Lost
	t.Unknown, t.Damaged, t.Maybe = t.Unknown+o.Unknown, t.Damaged+o.Damaged, t.Maybe+o.Maybe
}

// backSets are the records of one table that go back.
type backSets struct {
	load.Back
	There   *ledger.Ranges // records that were there when they were to be made
	Lost    *ledger.Ranges
	Unknown *ledger.Ranges
	Damaged *ledger.Ranges // changed, and what they had cannot be read
}

// resolve finds the generation and the tables that are meant.
func (p *Project) resolveRollback(ctx context.Context, o RollbackOptions, b *bound) (*rollbackNote, []string, error) {
	all, err := p.ledger.Generations()
	if err != nil {
		return nil, nil, err
	}
	n := &rollbackNote{Version: 1, Begun: time.Now().UTC().Truncate(time.Second), Overwrite: o.Overwrite, Stage: rollbackPlanning}
	var names []string
	for _, g := range slices.Backward(all) {
		if g.Begun.IsZero() {
			continue
		}
		names = append(names, g.Name())
		if o.Generation == "last" || o.Generation == g.Name() || o.Generation == fmt.Sprint(g.Number) || strings.ReplaceAll(g.Name(), " ", "-") == o.Generation {
			n.Since, n.Name = g.Number, g.Name()
			break
		}
	}
	switch {
	case len(names) == 0:
		return nil, nil, errors.New("nothing was loaded yet, so there is nothing to roll back")
	case o.Generation == "":
		return nil, nil, fmt.Errorf("say from which generation on: --generation full takes all back, --generation last the newest (there are %s)", strings.Join(names, ", "))
	case n.Since == 0:
		return nil, nil, fmt.Errorf("no generation %q was loaded; there are %s", o.Generation, strings.Join(names, ", "))
	}
	if err := p.rollbackTables(o, b, n); err != nil {
		return nil, nil, err
	}
	if len(o.Keys) > 0 {
		if err := p.knownKeys(ctx, FailureFilter{Tables: n.Tables, Keys: o.Keys}); err != nil {
			return nil, nil, err
		}
		n.Keyed, n.Keys = true, map[string][]ledger.Range{}
		for _, t := range n.Tables {
			found, err := p.keySeqs(ctx, t, o.Keys)
			if err != nil {
				return nil, nil, err
			}
			var set ledger.Ranges
			for _, seq := range found {
				set.Add([]ledger.Range{ledger.One(seq)})
			}
			n.Keys[t] = set.List()
		}
	}
	return n, names, nil
}

// rollbackTables chooses the tables, those first that are deleted first.
func (p *Project) rollbackTables(o RollbackOptions, b *bound, n *rollbackNote) error {
	for _, t := range o.Tables {
		if _, known := p.ledger.Table(t); !known {
			var names []string
			for _, t := range p.ledger.Tables() {
				names = append(names, t.Name)
			}
			return unknownName("table", t, names)
		}
	}
	var waves []string // in which records are made
	for _, s := range slices.Backward(b.plan.Steps) {
		if s.Pass != plan.Insert && s.Pass != plan.Link {
			continue
		}
		if w := fmt.Sprint(s.Wave + 1); !slices.Contains(waves, w) {
			waves = append(waves, w)
		}
		if _, known := p.ledger.Table(s.Table); !known || len(o.Tables) > 0 && !slices.Contains(o.Tables, s.Table) || o.Wave > 0 && s.Wave+1 != o.Wave {
			continue
		}
		n.Tables = append(n.Tables, s.Table)
		if t := b.byName[s.Table]; t != nil && partitioned(t) {
			n.Apart = append(n.Apart, s.Table)
		}
	}
	switch {
	case o.Wave > 0 && !slices.Contains(waves, fmt.Sprint(o.Wave)):
		return fmt.Errorf("in wave %d of the plan no records are made; they are in %s (dvmigrate plan)", o.Wave, strings.Join(waves, ", "))
	case len(n.Tables) == 0:
		return errors.New("no table is left that is meant; its transform has to be there, too")
	}
	for _, t := range o.Tables {
		if !slices.Contains(n.Tables, t) && o.Wave == 0 {
			return fmt.Errorf("table %s has no transform any more, and without one it is not known what its columns are; put it back first", t)
		}
	}
	return nil
}

// backSetsOf finds the records of a table that go back. Before the ledger is told, that is what
// the target has; afterwards, what waits or is done.
func (p *Project) backSetsOf(u *ledger.Undo, n *rollbackNote, table string) backSets {
	c, ever := u.Since(n.Since, table), u.Since(0, table)
	for _, made := range []*ledger.Ranges{c.Made, ever.Made} {
		made.Add(n.Along[table])
	}
	c.There.Remove(n.Along[table])
	s := backSets{Back: load.Back{Delete: &ledger.Ranges{}, Maybe: c.Maybe, Restore: &ledger.Ranges{}}, There: c.There, Lost: &ledger.Ranges{}, Unknown: &ledger.Ranges{}, Damaged: &ledger.Ranges{}}
	meant := &ledger.Ranges{}
	meant.Add([]ledger.Range{{From: 0, To: 1<<32 - 1}})
	if n.Keyed {
		meant = &ledger.Ranges{}
		meant.Add(n.Keys[table])
	}
	put := func(into, from *ledger.Ranges, span ledger.Span) {
		for _, r := range meant.Within(span.Range) {
			into.Add(from.Within(r))
		}
	}
	begun := p.begun(n.Since)
	// What was loaded in the second in which the generation began may be of the one before. A journal that was there
	// and tells all since then knows what is the generation's, so that the rest is not.
	told := !u.Began().IsZero() && !u.Began().After(begun) && !u.Incomplete(n.Since)
	for span := range p.ledger.Spans(table, 0) {
		switch {
		case n.Stage != rollbackPlanning:
			if span.Action == ledger.Delete {
				put(s.Delete, c.Made, span)
			} else if span.Action == ledger.Update {
				put(s.Restore, c.Changed, span)
			}
		case inTarget(span.Entry):
			put(s.Delete, c.Made, span)
			put(s.Restore, c.Changed, span)
			known := &ledger.Ranges{}
			known.Add(meant.Within(span.Range))
			switch {
			case span.Changed().Before(begun), told && span.Changed().Equal(begun):
				continue
			case span.Action == ledger.Insert:
				known.Remove(ever.Made.List())
				known.Remove(ever.There.List())
			case span.Action == ledger.Update && (u.Began().IsZero() || span.Changed().Before(u.Began())):
				known.Remove(c.Made.List())
				known.Remove(c.Changed.List())
			default:
				continue
			}
			s.Unknown.Add(known.List())
		case span.Action == ledger.Delete:
			put(s.Lost, c.Deleted, span)
		}
	}
	s.Restore.Remove(c.Made.List())
	if t := p.Schema.Table(table); t != nil && t.Kind == schema.Intersect { // a link that was there before has nothing to get back
		s.Restore = &ledger.Ranges{}
	}
	s.distrust(c.Damaged, u.Incomplete(n.Since))
	if slices.Contains(n.Apart, table) { // to delete by the id alone would be answered with "not there", which counts as done
		s.Unknown.Add(s.Delete.List())
		s.Unknown.Add(s.Restore.List())
		s.Delete, s.Restore = &ledger.Ranges{}, &ledger.Ranges{}
	}
	return s
}

// distrust takes out of what goes back what a damaged journal does not prove. Where it is not known what is
// missing, a record may have been there before, so that its maker is looked up, and what is told first of what
// it had may not be what it had first. Of a link nobody knows who made it: it goes by what is left.
func (s *backSets) distrust(damaged *ledger.Ranges, incomplete bool) {
	if incomplete {
		damaged, s.Maybe = &ledger.Ranges{}, &ledger.Ranges{}
		damaged.Add(s.Restore.List())
		s.Maybe.Add(s.Delete.List())
	}
	for _, r := range damaged.List() {
		s.Damaged.Add(s.Restore.Within(r))
	}
	s.Restore.Remove(s.Damaged.List())
}

// begun is when the first load of a generation began.
func (p *Project) begun(generation uint32) time.Time {
	all, err := p.ledger.Generations()
	for _, g := range all {
		if err == nil && g.Number == generation {
			return g.Begun.Truncate(time.Second) // as entries are
		}
	}
	return time.Time{}
}

// backRequest is how many records a request takes back.
const backRequest = 100

func (p *Project) rollbackPlan(b *bound, u *ledger.Undo, n *rollbackNote, names []string, sets map[string]backSets) RollbackPlan {
	r := RollbackPlan{Version: 1, Generations: names, Tables: []RollbackTable{}, Total: RollbackTable{Name: "total"}, Damage: p.undoDamage(u), Apart: n.Apart}
	for _, name := range n.Tables {
		s := sets[name]
		maybe := &ledger.Ranges{}
		for _, x := range s.Delete.List() {
			maybe.Add(s.Maybe.Within(x))
		}
		t := RollbackTable{Name: name, Delete: int64(s.Delete.Len()), Restore: int64(s.Restore.Len()), Lost: int64(s.Lost.Len()), Unknown: int64(s.Unknown.Len()), Damaged: int64(s.Damaged.Len()), Maybe: int64(maybe.Len())}
		if t.Delete+t.Restore+t.Lost+t.Unknown+t.Damaged == 0 {
			continue
		}
		deletes := (t.Delete + backRequest - 1) / backRequest
		r.Requests += 2 * (deletes + (t.Restore+backRequest-1)/backRequest)
		for _, child := range b.tables { // of which it is asked what is below
			r.Requests += deletes * int64(len(load.DeletesAlong(name, child)))
		}
		r.Tables = append(r.Tables, t)
		r.Total.add(t)
	}
	return r
}

// PlanRollback counts what a rollback would do, and changes nothing. Unless it is to be offline, or cannot, it
// looks up in the target what of that would happen; watch is told how far it is.
func (p *Project) PlanRollback(ctx context.Context, o RollbackOptions, watch StageWatch) (RollbackPlan, error) {
	b, err := p.bindStaged(ctx)
	if err != nil {
		return RollbackPlan{}, err
	}
	u, err := p.readUndo()
	if err != nil {
		return RollbackPlan{}, err
	}
	n, err := p.rolling()
	if err != nil {
		return RollbackPlan{}, err
	}
	names := []string{}
	underWay := n != nil
	if n != nil {
		names = append(names, n.Name)
	} else if n, names, err = p.resolveRollback(ctx, o, b); err != nil {
		return RollbackPlan{}, err
	}
	sets := p.allSets(u, n)
	if !underWay {
		if sets, err = p.gatherBack(ctx, b, u, n, o.Below); err != nil {
			return RollbackPlan{}, err
		}
	}
	if underWay && n.Stage != rollbackPlanning {
		p.dropDone(sets)
	}
	r := p.rollbackPlan(b, u, n, names, sets)
	r.UnderWay = underWay
	for _, t := range n.Tables {
		r.InFlight += int64(p.ledger.Counts(t).Flag(ledger.InFlight))
	}
	if err := p.refuseBelow(ctx, b, u, n, sets); err != nil || o.Offline || r.Total.Delete+r.Total.Restore == 0 {
		return r, err
	}
	return r, p.surveyRollback(ctx, b, u, n, sets, o, watch, &r)
}

// dropDone leaves of a rollback that is under way what is still to be done.
func (p *Project) dropDone(sets map[string]backSets) {
	for table, s := range sets {
		done := &ledger.Ranges{}
		for span := range p.ledger.Spans(table, 0) {
			if span.Flag != ledger.Unprocessed && span.Flag != ledger.InFlight {
				done.Add([]ledger.Range{span.Range})
			}
		}
		s.Delete.Remove(done.List())
		s.Restore.Remove(done.List())
	}
}

// surveyRollback looks up in the target what a rollback would do. That it cannot is noted: what ledger and journal
// say is worth something, too.
func (p *Project) surveyRollback(ctx context.Context, b *bound, u *ledger.Undo, n *rollbackNote, sets map[string]backSets, o RollbackOptions, watch StageWatch, r *RollbackPlan) error {
	for _, t := range n.Tables {
		if p.ledger.Behind(t) {
			r.NotAsked = "the ledger comes from a snapshot, and what the target has of " + t + " since is not known; run `dvmigrate load` first, which looks it up"
			return nil
		}
	}
	found, err := p.askRollback(ctx, b, u, n, sets, o, watch)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		r.NotAsked = err.Error()
		return nil
	}
	r.Asked, r.Total.Found = true, &RollbackFound{}
	for i := range r.Tables {
		f := found[r.Tables[i].Name]
		r.Tables[i].Found = &f
		r.Total.Found.Add(f)
	}
	return nil
}

func (p *Project) askRollback(ctx context.Context, b *bound, u *ledger.Undo, n *rollbackNote, sets map[string]backSets, o RollbackOptions, watch StageWatch) (map[string]RollbackFound, error) {
	target, err := p.meet(ctx, o.Load.PerUser, "")
	if err != nil {
		return nil, err
	}
	defer target.close()
	if len(p.ours(target)) == 0 && !o.Overwrite && !n.Overwrite {
		return nil, errNotOurs
	}
	if o.Load.Parallel == 0 {
		o.Load.Parallel = readersEach * len(target.each)
	}
	loader, err := p.backLoader(b, u, target, o.Load, progress.New())
	if err != nil {
		return nil, err
	}
	back := p.backOf(u, n, sets)
	back.Overwrite, back.PageFrom = back.Overwrite || o.Overwrite, o.pageFrom
	found, err := loader().Survey(ctx, back, percentOf("looking at ", watch))
	return found, p.explainTarget(err)
}

// backOf is what a load is told of a rollback.
func (p *Project) backOf(u *ledger.Undo, n *rollbackNote, sets map[string]backSets) load.Rollback {
	back := load.Rollback{Tables: map[string]load.Back{}, Overwrite: n.Overwrite, Begun: p.begun(n.Since),
		Images: func(table string, r ledger.Range, fn func(ledger.Image)) error {
			return u.Images(n.Since, table, r, fn)
		}}
	for t, s := range sets {
		back.Tables[t] = s.Back
	}
	return back
}

// gatherBack finds the records that go back with a rollback that was not planned yet.
func (p *Project) gatherBack(ctx context.Context, b *bound, u *ledger.Undo, n *rollbackNote, below bool) (map[string]backSets, error) {
	sets := p.allSets(u, n)
	if below {
		if err := p.takeBelow(ctx, b, u, n, sets); err != nil {
			return nil, err
		}
	}
	return p.takeAlong(ctx, b, u, n, sets)
}

func (p *Project) allSets(u *ledger.Undo, n *rollbackNote) map[string]backSets {
	sets := map[string]backSets{}
	for _, t := range n.Tables {
		sets[t] = p.backSetsOf(u, n, t)
	}
	return sets
}

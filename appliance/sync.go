package appliance

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/column"
	"dvmigrate/duckstage/transform"
	"dvmigrate/ledger"
)

// sync tells the ledger what the stage holds: which records are new, changed or
// gone, and which must not be sent. It is done once a staging and may be repeated
// at will: a table whose generation the ledger knows is left alone.
func (p *Project) sync(ctx context.Context) error {
	tables, err := p.stagedTables(ctx)
	if err != nil {
		return err
	}
	known := map[string]ledger.Table{}
	for _, t := range p.ledger.Tables() {
		known[t.Name] = t
	}
	before, err := p.supersededPlan()
	if err != nil {
		return err
	}
	var same []ledger.Table
	for _, t := range tables {
		if known[t.Name].Generation == t.Generation {
			same = append(same, known[t.Name])
			continue
		}
		if err := p.syncTable(ctx, t, known[t.Name].Generation, before != nil); err != nil {
			return fmt.Errorf("write the ledger of %s: %w", t.Name, err)
		}
	}
	if err := p.carryPlanned(ctx, same, before); err != nil {
		return fmt.Errorf("write what is planned: %w", err)
	}
	return p.ledger.EndPlanning(ctx)
}

// supersededPlan is what was planned by the newest staging, if no load of it has begun: what it
// planned and a later staging finds unchanged belongs to the later one's load, and is counted there.
// Else it is nil.
func (p *Project) supersededPlan() (map[string]ledger.PlannedCounts, error) {
	all, err := p.ledger.Generations()
	if err != nil {
		return nil, err
	}
	for _, g := range slices.Backward(all) {
		if !g.Planned.IsZero() { // else it is being planned: a staging was killed there
			if g.Begun.IsZero() {
				return g.Tables, nil
			}
			break
		}
	}
	return nil, nil
}

// carryPlanned counts what before planned of the tables that were not staged anew in the generation
// that is being planned, if one is.
func (p *Project) carryPlanned(ctx context.Context, same []ledger.Table, before map[string]ledger.PlannedCounts) error {
	all, err := p.ledger.Generations()
	if err != nil || len(all) == 0 || !all[len(all)-1].Planned.IsZero() {
		return err
	}
	now := all[len(all)-1].Tables
	for _, t := range same {
		counts, planned := before[t.Name]
		if _, done := now[t.Name]; !planned || done {
			continue
		}
		counts.Carried = counts.Insert + counts.Update + counts.Delete
		if err := p.ledger.DefinePlanned(ctx, t, counts); err != nil {
			return err
		}
	}
	return nil
}

// stagedTable is a table as the stage's catalogue has it.
type stagedTable struct {
	Name       string
	Number     uint16
	Generation string
	Next       uint32 // every seq is below
}

func (p *Project) stagedTables(ctx context.Context) ([]stagedTable, error) {
	var out []stagedTable
	query := "SELECT name, number, generation, next_seq FROM dm.tables WHERE data IS NOT NULL ORDER BY name"
	err := p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
		var t stagedTable
		var generation uint32
		var next int64
		if err := scan(&t.Name, &t.Number, &generation, &next); err != nil {
			return err
		}
		t.Generation, t.Next = strconv.FormatUint(uint64(generation), 10), uint32(next)
		out = append(out, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the staged tables: %w", err)
	}
	return out, nil
}

func (p *Project) syncTable(ctx context.Context, t stagedTable, before string, carries bool) error {
	// The generation is noted last, when everything of it is in the ledger.
	if err := p.ledger.Define(ctx, ledger.Table{Name: t.Name, Number: t.Number, Count: t.Next, Generation: before}); err != nil {
		return err
	}
	s := syncer{p: p, table: t, link: p.Schema.Link(t.Name) != nil, carries: carries}
	if err := s.judgeGone(ctx); err != nil {
		return fmt.Errorf("list the gone rows: %w", err)
	}
	if err := s.forgetReopened(ctx); err != nil {
		return fmt.Errorf("look for records that are active again: %w", err)
	}
	query := fmt.Sprintf(`SELECT dm_seq, dm_change, dm_hold FROM "%s" ORDER BY dm_seq`, t.Name)
	err := p.stage.Scan(ctx, query, nil, func(b *column.Batch) error { return s.take(ctx, b) })
	if err == nil {
		err = s.gone(t.Next)
	}
	if err == nil {
		err = s.flush(ctx)
	}
	if err == nil {
		err = s.caught(ctx)
	}
	if err != nil {
		return err
	}
	return p.ledger.DefinePlanned(ctx, ledger.Table{Name: t.Name, Number: t.Number, Count: t.Next, Generation: t.Generation}, s.planned)
}

// syncer gathers what is to be written for one table.
type syncer struct {
	p     *Project
	table stagedTable
	link  bool
	next  uint32          // the first seq not seen yet
	fresh map[uint32]bool // the rows that went with this generation, where that counts

	keeps    bool // records of rows that are gone stay, as a source was not read whole
	caughtUp bool // they stayed until now

	planned ledger.PlannedCounts
	carries bool // what an earlier staging planned, of which no load has begun, counts too

	plan  []ledger.Planned
	retry []ledger.Range
	holds []ledger.Holding

	finished []ledger.Range // nothing is owed any more
	whole    []ledger.Range // what the target holds of them is not certain any more
	closed   []ledger.Range // their rows are gone, and they are to be inactive
}

// syncPiece bounds how much is gathered before it is written.
const syncPiece = 10_000

func (s *syncer) take(ctx context.Context, b *column.Batch) error {
	seqs, change, hold := b.Column(mapping.Seq), b.Column("dm_change"), b.Column("dm_hold")
	for i := range b.Rows {
		seq := uint32(seqs.Ints[i])
		if err := s.gone(seq); err != nil {
			return err
		}
		s.next = seq + 1
		s.row(seq, string(change.TextAt(i)), hold, i)
		if len(s.plan)+len(s.retry)+len(s.holds) >= syncPiece {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// row decides what one staged row means for its record.
func (s *syncer) row(seq uint32, change string, hold *column.Vector, i int) {
	e, _ := s.p.ledger.Entry(s.table.Name, seq)
	waits := e.Flag == ledger.Unprocessed && e.Action != ledger.Nothing
	if e.Flag == ledger.Held && e.Class == uint8(load.ClassOrphan) && e.Action == ledger.Update && hold.Null(i) {
		s.whole = addRange(s.whole, seq)
	}
	switch {
	case e.Action == ledger.Nothing:
		s.do(seq, ledger.Insert)
		waits = true
	case change == "U" || change == "I":
		if inTarget(e) && !s.link {
			s.do(seq, ledger.Update)
		} else {
			s.do(seq, ledger.Insert)
		}
		waits = true
	case e.Flag == ledger.Held && e.Pass == ledger.Main && (hold.Null(i) || s.otherReason(seq, string(hold.TextAt(i)))):
		s.retry = addRange(s.retry, seq)
		waits = true
		s.carry(e)
	default:
		s.carry(e)
	}
	if waits && !hold.Null(i) {
		text := string(hold.TextAt(i))
		s.holds = append(s.holds, ledger.Holding{Range: ledger.One(seq), Reason: ledger.Reason{Class: uint8(holdClass(text)), Text: text}})
	}
}

// forgetBefore lets updates carry all columns of rows that were held since a row they point to was
// gone, and is back: when its record was deleted the service has emptied their lookups, which no
// staging knows. It comes before the plan, as a kill amid both must not forget it.
func (s *syncer) forgetBefore(ctx context.Context) error {
	if len(s.whole) == 0 {
		return nil
	}
	var table string
	err := s.p.stage.Row(ctx, []any{&table}, "SELECT coalesce(max(table_name), '') FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'dm' AND starts_with(table_name, ?)",
		fmt.Sprintf("before_%d_", s.table.Number))
	if err != nil || table == "" {
		return err
	}
	for some := range slices.Chunk(s.whole, 200) {
		var within []string
		for _, r := range some {
			within = append(within, fmt.Sprintf("dm_seq >= %d AND dm_seq < %d", r.From, r.To))
		}
		if _, err := s.p.stage.Exec(ctx, "DELETE FROM dm."+duckstage.Ident(table)+" WHERE "+strings.Join(within, " OR ")); err != nil {
			return err
		}
	}
	s.whole = s.whole[:0]
	return nil
}

// otherReason reports whether a row that is held is now held for something else, as when a
// column's map was written meanwhile.
func (s *syncer) otherReason(seq uint32, text string) bool {
	found, err := s.p.ledger.Failures(s.table.Name, seq, 1)
	if err != nil || len(found) != 1 || found[0].Seq != seq {
		return false
	}
	was := found[0].Text
	return was != text && (was == "" || len(text) <= wholeText || !strings.HasPrefix(text, was))
}

// wholeText is how long a text may be that the ledger keeps whole; it cuts longer ones.
const wholeText = 4 << 10

// inTarget reports whether the target has the record.
func inTarget(e ledger.Entry) bool {
	if e.Action == ledger.Delete {
		return e.Flag != ledger.Processed
	}
	return e.Flag == ledger.Processed || e.Flag == ledger.Success || e.Pass != ledger.Main || e.Action == ledger.Update
}

// holdClass tells an orphan from a row that does not fit.
func holdClass(text string) load.Class {
	if strings.HasPrefix(text, transform.FaultOrphan+" ") {
		return load.ClassOrphan
	}
	return load.ClassPrevalidate
}

// carry counts what stays planned of a record as an earlier staging has left it.
func (s *syncer) carry(e ledger.Entry) {
	if s.carries && e.Action != ledger.Nothing && e.Pass == ledger.Main && (e.Flag == ledger.Unprocessed || e.Flag == ledger.Held) {
		s.count(e.Action)
		s.planned.Carried++
	}
}

func (s *syncer) count(action ledger.Action) {
	switch action {
	case ledger.Insert:
		s.planned.Insert++
	case ledger.Update:
		s.planned.Update++
	case ledger.Delete:
		s.planned.Delete++
	case ledger.Nothing:
		s.planned.Gone++
	}
}

func (s *syncer) do(seq uint32, action ledger.Action) {
	s.count(action)
	if n := len(s.plan); n > 0 && s.plan[n-1].To == seq && s.plan[n-1].Action == action {
		s.plan[n-1].To++
		return
	}
	s.plan = append(s.plan, ledger.Planned{Range: ledger.One(seq), Action: action})
}

func addRange(ranges []ledger.Range, seq uint32) []ledger.Range {
	if n := len(ranges); n > 0 && ranges[n-1].To == seq {
		ranges[n-1].To++
		return ranges
	}
	return append(ranges, ledger.One(seq))
}

// gone plans the records up to seq that are no longer supplied.
func (s *syncer) gone(seq uint32) error {
	for ; s.next < seq; s.next++ {
		if e, ok := s.p.ledger.Entry(s.table.Name, s.next); ok {
			s.planGone(s.next, e)
		}
	}
	return nil
}

func (s *syncer) flush(ctx context.Context) error {
	l, name := s.p.ledger, s.table.Name
	if err := s.keepDeactivated(ctx); err != nil {
		return fmt.Errorf("keep which records become inactive: %w", err)
	}
	if err := s.forgetBefore(ctx); err != nil {
		return fmt.Errorf("look for rows whose lookups lead somewhere again: %w", err)
	}
	if len(s.plan) > 0 {
		if err := l.Plan(ctx, name, s.plan); err != nil {
			return err
		}
	}
	if len(s.retry) > 0 {
		if _, err := l.Retry(ctx, name, ledger.Filter{Flags: []ledger.Flag{ledger.Held}, Ranges: s.retry}); err != nil {
			return err
		}
	}
	if len(s.holds) > 0 {
		if err := l.Hold(ctx, name, s.holds); err != nil {
			return err
		}
	}
	s.plan, s.retry, s.holds = s.plan[:0], s.retry[:0], s.holds[:0]
	return s.finish(ctx)
}

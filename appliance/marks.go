package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/progress"
	"dvmigrate/ledger"
)

// An environment that was restored to an earlier state has most records still, and lacks without a word what the
// last loads changed. So a load, when it is over, looks when the target says that some of the records it
// was given last were changed (modifiedon, which only goes forward), and keeps that as marks in work/marks.json. The
// next load reads them again in the request that looks for emptied tables: a mark that has gone back, or all of them
// gone, tells of a restore. What was restored with all its marks is not told: one to a moment after the last load,
// and one after which as much was changed again.

// marksFile holds ids and times; snapshots do not have it, as after a restore of ours it would be of another time.
const marksFile = "marks.json"

const (
	marksEach  = 3 // records of each table
	marksFewer = 3 // with fewer than these, that all are gone tells nothing: users may have deleted them
)

// mark is a record as the target had it after a load.
type mark struct {
	Table   string    `json:"table"`
	Seq     uint32    `json:"row"`
	ID      string    `json:"id"`
	Changed time.Time `json:"changed"` // modifiedon
}

type marksNote struct {
	Version  int    `json:"version"`
	Marks    []mark `json:"marks"`
	Restored bool   `json:"restored,omitempty"` // a load has found the target so, and nothing was sent since
}

// marks reads them, and whether a load has found by them that the target was restored.
func (p *Project) marks() (marks []mark, restored bool, err error) {
	var n marksNote
	if _, err := readNote(p.workFile(marksFile), &n); err != nil {
		return nil, false, fmt.Errorf("read %s, which says how the target stood after the last load: %w", p.workFile(marksFile), err)
	}
	return n.Marks, n.Restored, nil
}

func (p *Project) writeMarks(marks []mark, restored bool) error {
	return keepNote(p.workFile(marksFile), marksNote{1, marks, restored})
}

// dropMarks forgets those of some tables, or all: it is known how they stand, and what they lack is to be sent again or
// accepted.
func (p *Project) dropMarks(tables ...string) error {
	if len(tables) == 0 {
		if err := os.Remove(p.workFile(marksFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	marks, restored, err := p.marks()
	if err != nil {
		return err
	}
	return p.writeMarks(slices.DeleteFunc(marks, func(m mark) bool { return slices.Contains(tables, m.Table) }), restored)
}

// renewMarks takes the marks as they are in the target now.
func (p *Project) renewMarks(ctx context.Context, b *bound, way *route) error {
	kept, asked, err := p.marked(b)
	if err != nil || len(asked) == 0 {
		return err
	}
	there, err := way.ExistingEach(ctx, asked)
	if err != nil {
		return fmt.Errorf("read when records were changed last: %w", err)
	}
	var marks []mark
	for i, a := range asked {
		for k, id := range a.IDs {
			if changed := there[i][id]; !changed.IsZero() {
				m := kept[i][k]
				m.Changed = changed.UTC()
				marks = append(marks, m)
			}
		}
	}
	return p.writeMarks(marks, false)
}

// markable reports whether a table's records can be marks.
func markable(t *mapping.Table) bool {
	return t.Link == nil && t.Schema.Kind != schema.Virtual && !partitioned(t) && t.Schema.Column(modifiedOn) != nil
}

// marksPatience is how long the end of a load waits for that: the target may just have gone away, and nothing is lost.
const marksPatience = 15 * time.Second

// keepMarks reads when records were changed that a load has written since begin; tables that it left alone keep the
// marks they have. The load is over: what goes wrong is logged.
func (p *Project) keepMarks(ctx context.Context, b *bound, target *users, begin time.Time) {
	ctx, cancel := context.WithTimeout(ctx, marksPatience)
	defer cancel()
	if err := p.newMarks(ctx, b, target, begin.Truncate(time.Second)); err != nil {
		p.o.Log.Warn("it is not kept how the target stood after this load, by which the next would tell that it was restored", "error", err)
	}
}

func (p *Project) newMarks(ctx context.Context, b *bound, target *users, begin time.Time) error {
	marks, _, err := p.marks()
	if err != nil {
		return err
	}
	var asked []dataverse.Asked
	seqs := map[string]map[schema.GUID]uint32{}
	for _, t := range b.tables {
		if !markable(t) {
			continue
		}
		of := map[schema.GUID]uint32{}
		var ids []schema.GUID
		for _, seq := range p.lastWritten(t.Name, begin) {
			found, err := p.targetIDs(ctx, t, []uint32{seq})
			if err != nil {
				return err
			}
			for _, id := range found {
				of[id], ids = seq, append(ids, id)
			}
		}
		if len(ids) > 0 {
			asked, seqs[t.Name] = append(asked, dataverse.Asked{Table: t.Schema, IDs: ids}), of
		}
	}
	if len(asked) == 0 {
		return nil
	}
	way, err := target.route(config.Headers{})
	if err != nil {
		return err
	}
	there, err := way.ExistingEach(ctx, asked)
	if err != nil {
		return err
	}
	for i, a := range asked {
		table := a.Table.LogicalName
		if len(there[i]) == 0 {
			continue
		}
		var of []mark
		for _, id := range a.IDs {
			if changed := there[i][id]; !changed.IsZero() {
				of = append(of, mark{table, seqs[table][id], id.String(), changed.UTC()})
			}
		}
		marks = slices.DeleteFunc(marks, func(m mark) bool {
			same := m.Table == table
			if same && len(of) < marksEach && !slices.ContainsFunc(of, func(n mark) bool { return n.Seq == m.Seq }) {
				of = append(of, m)
			}
			return same
		})
		marks = append(marks, of...)
	}
	return p.writeMarks(marks, false)
}

// lastWritten are the records of a table that were written last, since begin.
func (p *Project) lastWritten(table string, begin time.Time) (seqs []uint32) {
	var last []ledger.Span
	for s := range p.ledger.Spans(table, 0) {
		if !probed(s.Entry) || s.Flag == ledger.Unprocessed || s.Changed().Before(begin) {
			continue
		}
		at, _ := slices.BinarySearchFunc(last, s, func(a, b ledger.Span) int { return b.Changed().Compare(a.Changed()) })
		if last = slices.Insert(last, at, s); len(last) > marksEach {
			last = last[:marksEach]
		}
	}
	for _, s := range last {
		for seq := s.To; seq > s.From && len(seqs) < marksEach; seq-- {
			seqs = append(seqs, seq-1)
		}
	}
	return seqs
}

// TurnedBack says that records are in the target as they were before this project wrote them last.
type TurnedBack struct {
	Asked int    `json:"asked"` // records
	Older int    `json:"older"` // of them, changed last before they were seen after a load
	Gone  int    `json:"gone"`
	First string `json:"first,omitempty"` // one of the older ones, in words
}

func (t *TurnedBack) words() string {
	text := fmt.Sprintf("the target seems to have been restored to an earlier state since the last load: of %s that it wrote last", progress.Counted(int64(t.Asked), "record"))
	if t.Older > 0 {
		text += fmt.Sprintf(" %d have gone back (%s)", t.Older, t.First)
	}
	if t.Gone > 0 {
		text += map[bool]string{true: ", and", false: ""}[t.Older > 0] + fmt.Sprintf(" %d went missing", t.Gone)
	}
	return text
}

// marked are the marks of records that are to be in the target still, and what to ask for, a table each.
func (p *Project) marked(b *bound) (kept [][]mark, asked []dataverse.Asked, err error) {
	marks, _, err := p.marks()
	if err != nil {
		return nil, nil, err
	}
	for _, t := range b.tables {
		var some []mark
		var ids []schema.GUID
		for _, m := range marks {
			if e, ok := p.ledger.Entry(t.Name, m.Seq); m.Table != t.Name || !ok || !probed(e) || !markable(t) {
				continue
			}
			id, err := schema.ParseGUID(m.ID)
			if err != nil {
				return nil, nil, fmt.Errorf("read %s: %w", p.workFile(marksFile), err)
			}
			some, ids = append(some, m), append(ids, id)
		}
		if len(ids) > 0 {
			kept, asked = append(kept, some), append(asked, dataverse.Asked{Table: t.Schema, IDs: ids})
		}
	}
	return kept, asked, nil
}

// judgeMarks compares marks with what is there; nil: nothing tells of a restore.
func judgeMarks(kept [][]mark, asked []dataverse.Asked, there []map[schema.GUID]time.Time) *TurnedBack {
	var t TurnedBack
	for i, a := range asked {
		if there[i] == nil { // it may not be read
			continue
		}
		for k, id := range a.IDs {
			m := kept[i][k]
			changed, ok := there[i][id]
			switch t.Asked++; {
			case !ok:
				t.Gone++
			case !changed.IsZero() && changed.Before(m.Changed):
				if t.Older++; t.Older == 1 {
					t.First = fmt.Sprintf("%s %s was changed %s, and is now of %s", m.Table, m.ID, m.Changed.UTC().Format("2006-01-02 15:04:05 MST"), changed.UTC().Format("2006-01-02 15:04:05 MST"))
				}
			}
		}
	}
	if t.Older > 0 || t.Asked >= marksFewer && t.Gone == t.Asked {
		return &t
	}
	return nil
}

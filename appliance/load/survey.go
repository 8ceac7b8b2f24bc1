package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/plan"
	"dvmigrate/ledger"
)

// Found is what a rollback would do with the records of a table, going by what the target has now.
type Found struct {
	Delete  int64 `json:"delete"`  // would be deleted
	Restore int64 `json:"restore"` // would get back what they had
	Left    int64 `json:"left"`    // others have changed them, or may have made them
	Gone    int64 `json:"gone"`    // are not in the target any more
	Same    int64 `json:"same"`    // have what they had already
}

// Add adds what was found of another table.
func (f *Found) Add(o Found) {
	f.Delete, f.Restore, f.Left, f.Gone, f.Same = f.Delete+o.Delete, f.Restore+o.Restore, f.Left+o.Left, f.Gone+o.Gone, f.Same+o.Same
}

// Survey finds out what a rollback would do, by the rules by which it would, and does nothing. told is
// called from several goroutines, one at a time, with how many of the records were looked at.
func (l *Loader) Survey(ctx context.Context, o Rollback, told func(table string, done, total int64)) (map[string]Found, error) {
	l.back = &o
	total, done := int64(0), int64(0)
	for _, b := range o.Tables {
		total += int64(b.Delete.Len() + b.Restore.Len())
	}
	out := map[string]Found{}
	below, whole := map[string]*staying{}, &whole{tables: map[string]bool{}, kept: map[string]*ledger.Ranges{}}
	for _, step := range slices.Backward(l.o.Plan.Steps) { // what keeps a record from being deleted is below it
		t := l.o.Tables[step.Table]
		if passOf(step.Pass) != ledger.Main || t == nil {
			continue
		}
		v := &survey{l: l, step: step, table: t, below: below, whole: whole}
		below[t.Name] = &v.staying
		v.count = func(n int64) {
			done += n
			told(t.Name, done, total)
		}
		err := v.restores(ctx, o.Tables[t.Name].Restore)
		if err == nil {
			err = v.deletes(ctx, o.Tables[t.Name].Delete)
		}
		if err != nil {
			return nil, fmt.Errorf("look up what the target has of %s: %w", t.Name, err)
		}
		if err = v.leaveAbove(ctx); err != nil {
			return nil, fmt.Errorf("look up what is above what stays of %s: %w", t.Name, err)
		}
		out[t.Name] = v.found
	}
	return out, nil
}

// survey looks at the records of one table.
type survey struct {
	l     *Loader
	step  plan.Step
	table *mapping.Table
	below map[string]*staying // of the tables that were looked at
	whole *whole

	mu      sync.Mutex // guards what follows, and is held when count is called
	found   Found
	count   func(n int64)
	staying staying
	inTree  []inTree
	keptToo []uint32      // records that what tables below them tell keeps from being deleted
	told    ledger.Ranges // records that stay, and of which it is noted what they are below
}

func (v *survey) add(f Found) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.found.Add(f)
	v.count(f.Delete + f.Restore + f.Left + f.Gone + f.Same)
}

// restores looks at records that were changed.
func (v *survey) restores(ctx context.Context, only *ledger.Ranges) error {
	return v.l.eachRestored(ctx, ctx, v.table, v.step, only, func(ctx context.Context, s *sender) error {
		if _, err := s.returns(ctx, s.j.all()); err != nil {
			return err
		}
		v.restored(s)
		v.add(s.returning())
		return nil
	})
}

// returning counts what returns has found.
func (s *sender) returning() (f Found) {
	for _, r := range s.j.results {
		switch {
		case r.result == ledger.ResultSuccess:
			f.Same++
		case r.result == ledger.ResultHeld:
			f.Left++
		case r.reason != nil && Class(r.reason.Class) == ClassMissing:
			f.Gone++
		default: // what of a record cannot go back is told when the rest has
			f.Restore++
		}
	}
	return f
}

// deletes looks at records that were made: many by reading the table page by page, as far as that is
// worth it, the others by their ids.
func (v *survey) deletes(ctx context.Context, only *ledger.Ranges) error {
	if only.Len() == 0 {
		return nil
	}
	rest := only
	if only.Len() >= cmp.Or(v.l.back.PageFrom, surveyFrom) && v.table.Link == nil && v.l.o.TargetSeq != nil {
		var err error
		if rest, err = v.pages(ctx, only); err != nil {
			return err
		}
	}
	if rest.Len() == 0 {
		return nil
	}
	return v.l.eachOf(ctx, ctx, v.l.backWork(v.table, v.step, Delete, ledger.Delete, rest), rest, "true", func(ctx context.Context, s *sender) error {
		if v.table.Link != nil {
			return v.links(ctx, s)
		}
		var free, others []there
		err := s.askMakers(ctx, s.j.all(), func(i int, why string) {
			if x := (there{s.j.seqs[i], s.j.ids[i]}); why == "" {
				free = append(free, x)
			} else {
				others = append(others, x)
			}
		})
		if err != nil {
			return err
		}
		v.add(Found{Gone: int64(len(s.j.seqs) - len(free) - len(others))})
		v.leave(others...)
		v.counted(len(free) + len(others))
		return v.lookUnder(ctx, free, v.toLookUnder())
	})
}

const (
	surveyFrom = 10_000 // records from which on reading all of a table may be less than asking for each
	surveyPage = 5000   // rows of a page (dataverse-web-api.md 10.1)
)

// errEnough ends a reading of pages that find too little.
var errEnough = errors.New("enough was read")

// pages reads the table page by page, until that has cost half of what asking for each record would, and
// says which were not met. All that it tells of a table that it has read to its end.
func (v *survey) pages(ctx context.Context, only *ledger.Ranges) (rest *ledger.Ranges, err error) {
	t := v.table.Schema
	list := only.List()
	first := list[0].From
	met := make([]uint64, (list[len(list)-1].To-first)/64+1)
	page := cmp.Or(v.l.back.PageRows, surveyPage)
	rows, most := 0, max(only.Len()/fallbackBatch/2, 1)*page
	free, told := &ledger.Ranges{}, 0
	up := v.above()
	q := dataverse.Query{Select: slices.Concat([]string{t.PrimaryID}, makers(t), up.columns), OrderBy: t.PrimaryID, PageSize: page}
	reader := madeReader(append([]string{t.PrimaryID}, up.columns...)...)
	err = v.l.o.Target(v.table.Name).Rows(ctx, t, q, func(row json.RawMessage) error {
		if err := reader.Split(row); err != nil {
			return err
		}
		id, ok := reader.GUID(reader.Slot(t.PrimaryID))
		if !ok {
			return fmt.Errorf("read a row of the target: it has no %s", t.PrimaryID)
		}
		if rows++; rows%page == 0 {
			v.counted(told)
			if told = 0; rows >= most {
				return errEnough
			}
		}
		seq, ours := v.l.rowOf(v.table.Name, id)
		switch {
		case !ours || !only.Has(seq):
			up.keep(v, id, reader)
			return nil
		case met[(seq-first)/64]&(1<<((seq-first)%64)) != 0:
			return nil
		}
		met[(seq-first)/64] |= 1 << ((seq - first) % 64)
		if told++; v.l.back.notOurs(v.l, v.table.Name, seq, madeOf(reader)) == "" {
			free.Add([]ledger.Range{ledger.One(seq)})
			up.tree(v, id, seq, reader)
		} else {
			v.leave(there{seq, id})
			v.told.Add([]ledger.Range{ledger.One(seq)})
			up.stays(v, id, reader)
		}
		return nil
	})
	v.counted(told)
	rest = &ledger.Ranges{}
	for _, r := range list {
		for seq := r.From; seq < r.To; seq++ {
			if met[(seq-first)/64]&(1<<((seq-first)%64)) == 0 {
				rest.Add([]ledger.Range{ledger.One(seq)})
			}
		}
	}
	switch {
	case errors.Is(err, errEnough):
		v.inTree = nil
		return rest, v.free(ctx, free)
	case err != nil:
		return nil, err
	}
	v.whole.tables[v.table.Name] = true
	v.add(Found{Gone: int64(rest.Len())})
	return &ledger.Ranges{}, v.free(ctx, free)
}

// links looks which links are there.
func (v *survey) links(ctx context.Context, s *sender) error {
	k, f := v.table.Link, Found{Gone: int64(len(s.j.links))}
	var conditions []string
	for _, p := range s.j.links {
		conditions = append(conditions, fmt.Sprintf("(%s eq %s and %s eq %s)", k.Column1, schema.GUID(p.ID1), k.Column2, schema.GUID(p.ID2)))
	}
	q := dataverse.Query{Select: []string{k.Column1, k.Column2}, Filter: strings.Join(conditions, " or ")}
	err := s.target.Rows(ctx, v.table.Schema, q, func(json.RawMessage) error {
		f.Gone, f.Delete = f.Gone-1, f.Delete+1
		return nil
	})
	if err == nil {
		v.add(f)
	}
	return err
}

package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// links compares the pairs of an N:N relationship: the ids of the intersect table's
// own rows are the service's and say nothing, so a link is its pair.
type links struct {
	*comparison
	link   *schema.ManyToMany
	group  map[dataverse.Pair]*linkRow
	rows   int
	stored []string
}

// linkRow is a pair of the target.
type linkRow struct {
	times  int64 // it came in this group
	staged bool
}

func newLinks(w *comparison) *links {
	l := w.table.Link
	return &links{comparison: w, link: l, group: map[dataverse.Pair]*linkRow{}, stored: []string{mapping.Seq, l.Column1, l.Column2}}
}

func (l *links) run(ctx context.Context, c client) error {
	if err := l.forgiveGone(ctx); err != nil {
		return err
	}
	t := l.table.Schema
	q := dataverse.Query{Select: []string{l.link.Column1, l.link.Column2}, OrderBy: t.PrimaryID, PageSize: page}
	found := map[string]json.RawMessage{}
	err := c.Rows(ctx, t, q, func(row json.RawMessage) error {
		clear(found)
		if err := json.Unmarshal(row, &found); err != nil {
			return fmt.Errorf("read a row of the target: %w", err)
		}
		id1, err := guidMember(found, l.link.Column1)
		if err != nil {
			return err
		}
		id2, err := guidMember(found, l.link.Column2)
		if err != nil {
			return err
		}
		return l.add(ctx, dataverse.Pair{ID1: l.o.Staged(l.link.Table1, id1), ID2: l.o.Staged(l.link.Table2, id2)})
	})
	if err != nil {
		return err
	}
	return l.flush(ctx)
}

func (l *links) add(ctx context.Context, p dataverse.Pair) error {
	row := l.group[p]
	if row == nil {
		row = &linkRow{}
		l.group[p] = row
	}
	row.times++
	if l.rows++; l.rows >= groupRows {
		return l.flush(ctx)
	}
	return nil
}

// flush compares the pairs of the group with those that are staged.
func (l *links) flush(ctx context.Context) error {
	if len(l.group) == 0 {
		return nil
	}
	var ids1, ids2 strings.Builder
	part := ""
	for p := range l.group {
		ids1.WriteString(part + p.ID1.String())
		ids2.WriteString(part + p.ID2.String())
		part = separator
	}
	query := fmt.Sprintf(`SELECT s.%[1]s, s.%[2]s, s.%[3]s FROM %[4]s s JOIN (SELECT CAST(unnest(string_split(?, chr(31))) AS UUID) AS id1,
		CAST(unnest(string_split(?, chr(31))) AS UUID) AS id2) p ON s.%[2]s = p.id1 AND s.%[3]s = p.id2`,
		mapping.Ident(mapping.Seq), mapping.Ident(l.link.Column1), mapping.Ident(l.link.Column2), mapping.Ident(l.table.Name))
	err := l.scan(ctx, query, []any{ids1.String(), ids2.String()}, l.stored, func(v []*column.Vector, n int) error {
		for i := range n {
			l.meetPair(uint32(v[0].Ints[i]), dataverse.Pair{ID1: schema.GUID(v[1].UUIDs[i]), ID2: schema.GUID(v[2].UUIDs[i])})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.meetGonePairs(ctx); err != nil {
		return err
	}
	for p, row := range l.group {
		if !row.staged {
			l.stray(p, row)
		}
	}
	clear(l.group)
	l.rows = 0
	l.o.Watch(l.table.Name, l.result.Target, l.result.Source)
	return nil
}

// meetPair notes that the target has the link of staged row seq. Two staged rows may
// be the same link; its duplicates are counted for the first of them.
func (l *links) meetPair(seq uint32, p dataverse.Pair) {
	row := l.group[p]
	if row == nil {
		return
	}
	found := l.mismatch(p)
	if row.staged {
		if !l.seen.has(seq) {
			l.meet(seq, found)
		}
		return
	}
	row.staged = true
	for range row.times {
		l.meet(seq, found)
	}
}

// stray is a pair that nobody staged: extra when both its ends are records of this
// migration, for then nobody else should have linked them yet.
func (l *links) stray(p dataverse.Pair, row *linkRow) {
	if !l.ours(l.link.Table1, p.ID1) || !l.ours(l.link.Table2, p.ID2) {
		l.result.Others += row.times
		return
	}
	l.result.Extra += row.times
	m := l.mismatch(p)
	m.Kind = Extra
	l.found(example{Mismatch: m})
}

func (l *links) ours(table string, id schema.GUID) bool {
	if l.o.RecordSeq == nil {
		return false
	}
	_, ours := l.o.RecordSeq(table, id)
	return ours
}

func (l *links) mismatch(p dataverse.Pair) Mismatch {
	return Mismatch{Column: l.link.Column1 + "," + l.link.Column2, Got: p.ID1.String() + "," + p.ID2.String()}
}

package reconcile

import (
	"context"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// A row that the source no longer supplies leaves its relation and is kept, with
// number, id and legacy key, in the stage's dm.gone. Its record stays in the target
// and in the ledger, so it is neither missing nor one of the others.
const selectGone = `SELECT seq AS dm_seq, dm_id, legacy_key FROM dm.gone WHERE "table" = ?`

var goneColumns = []string{mapping.Seq, mapping.ID, mapping.LegacyKey}

// gone calls fn with the rows of the table that are gone; more narrows them down.
func (w *comparison) gone(ctx context.Context, more string, args []any, fn func(seq uint32, id schema.GUID, key string)) error {
	args = append([]any{w.table.Name}, args...)
	return w.scan(ctx, selectGone+more, args, goneColumns, func(v []*column.Vector, rows int) error {
		for i := range rows {
			fn(uint32(v[0].Ints[i]), schema.GUID(v[1].UUIDs[i]), string(v[2].TextAt(i)))
		}
		return nil
	})
}

// meetGone meets those of rows, whose ids were kept, that are gone from the stage.
func (r *records) meetGone(ctx context.Context, rows map[schema.GUID][]int) error {
	ids := make([]string, 0, len(rows))
	for id := range rows {
		ids = append(ids, id.String())
	}
	return r.gone(ctx, " AND "+isIn(mapping.ID, "UUID"), []any{strings.Join(ids, separator)}, func(seq uint32, id schema.GUID, _ string) {
		for _, row := range rows[id] {
			r.group.rows[row].matched = true
			r.meetRow(row, seq)
		}
	})
}

// forgiveGone leaves links that are gone from the stage out of the comparison, as one whose end was deleted went with
// it. Those that are met count again.
func (l *links) forgiveGone(ctx context.Context) error {
	return l.gone(ctx, "", nil, func(seq uint32, _ schema.GUID, _ string) {
		e, ok := l.book.Entry(l.table.Name, seq)
		if ok && expect(e).presence == present && l.seen.add(seq) {
			l.result.Source--
		}
	})
}

// meetGonePairs meets the pairs of the group that no row has and one that is gone had: such a link stays, unless it
// was to be taken back.
func (l *links) meetGonePairs(ctx context.Context) error {
	var ids1, ids2 []string
	for p, row := range l.group {
		if !row.staged {
			ids1, ids2 = append(ids1, p.ID1.String()), append(ids2, p.ID2.String())
		}
	}
	if len(ids1) == 0 {
		return nil
	}
	const query = `SELECT g.seq AS dm_seq, g.end1, g.end2 FROM dm.gone g JOIN (SELECT DISTINCT CAST(unnest(string_split(?, chr(31))) AS UUID) AS id1,
		CAST(unnest(string_split(?, chr(31))) AS UUID) AS id2) p ON g.end1 = p.id1 AND g.end2 = p.id2 WHERE g."table" = ?`
	args := []any{strings.Join(ids1, separator), strings.Join(ids2, separator), l.table.Name}
	return l.scan(ctx, query, args, []string{mapping.Seq, "end1", "end2"}, func(v []*column.Vector, rows int) error {
		for i := range rows {
			row := l.group[dataverse.Pair{ID1: schema.GUID(v[1].UUIDs[i]), ID2: schema.GUID(v[2].UUIDs[i])}]
			e, known := l.book.Entry(l.table.Name, uint32(v[0].Ints[i]))
			if row != nil && !row.staged && known && expect(e).presence != absent {
				row.staged = true
				l.result.Source += row.times
				l.result.Target += row.times
			}
		}
		return nil
	})
}

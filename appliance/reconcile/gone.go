package reconcile

import (
	"context"
	"strings"

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

// forgiveGone leaves links that are gone from the stage out of the comparison: their
// pairs are not known any more. In the target they are links that nobody staged.
func (l *links) forgiveGone(ctx context.Context) error {
	return l.gone(ctx, "", nil, func(seq uint32, _ schema.GUID, _ string) {
		e, ok := l.book.Entry(l.table.Name, seq)
		if ok && expect(e).presence == present && l.seen.add(seq) {
			l.result.Source--
		}
	})
}

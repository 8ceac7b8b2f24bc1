package reconcile

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// Of a table with very many records a sample may be read instead of all, by id: it finds
// missing records and different columns among those that were chosen, at random, and
// nothing that is extra or twice. If one in a hundred records were wrong, a sample of 1,000
// would miss it once in 23,000 times, however big the table is.

// sampleIDs is how many ids are handed to the client at once, which asks for 250 of them in
// one request.
const sampleIDs = 2500

// atRandom chooses n of the records that the target has by the ledger; all where there are
// no more.
func (w *comparison) atRandom(n int64) []uint32 {
	n = min(n, w.result.Source)
	nth := map[int64]bool{} // the how manieth they are
	for int64(len(nth)) < n {
		if n == w.result.Source {
			nth[int64(len(nth))] = true
		} else {
			nth[rand.Int64N(w.result.Source)] = true
		}
	}
	wanted := slices.Sorted(maps.Keys(nth))
	chosen := make([]uint32, 0, n)
	before := int64(0)
	for span := range w.book.Spans(w.table.Name, 0) {
		if expect(span.Entry).presence != present {
			continue
		}
		for len(wanted) > 0 && wanted[0] < before+int64(span.Len()) {
			chosen = append(chosen, span.From+uint32(wanted[0]-before))
			wanted = wanted[1:]
		}
		before += int64(span.Len())
	}
	return chosen
}

// sampled reads the records that were chosen and compares them.
func (w *comparison) sampled(ctx context.Context, c client) error {
	w.reads(c)
	w.shape.fields = slices.DeleteFunc(w.shape.fields, func(f field) bool { return f.party != nil }) // which come only in an $expand
	w.shape.stored = slices.DeleteFunc(w.shape.stored, func(name string) bool {
		return slices.ContainsFunc(w.table.Parties, func(p mapping.Parties) bool { return p.LogicalName == name })
	})
	t := w.table.Schema
	columns := members(t.PrimaryID, w.shape.fields)[1:]
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(w.o.Parallel, 1))
	for part := range slices.Chunk(w.only, sampleIDs) {
		ids, err := w.idsOf(ctx, part)
		if err != nil {
			return err
		}
		g.Go(func() error {
			r := newRecords(w, w.shape)
			err := c.Records(ctx, t, ids, columns, func(_ schema.GUID, row json.RawMessage) error { return r.add(row) })
			if err != nil {
				return err
			}
			return r.flush(ctx)
		})
	}
	return g.Wait()
}

// idsOf are the ids that rows have in the target. Rows that are gone from the stage are
// not looked for.
func (w *comparison) idsOf(ctx context.Context, seqs []uint32) ([]schema.GUID, error) {
	texts := make([]string, len(seqs))
	gone := make(map[uint32]bool, len(seqs))
	for i, seq := range seqs {
		texts[i] = strconv.FormatUint(uint64(seq), 10)
		gone[seq] = true
	}
	var ids []schema.GUID
	stored := []string{mapping.Seq, mapping.ID}
	err := w.scan(ctx, selectFrom(w.table.Name, stored)+" WHERE "+isIn(mapping.Seq, "UINTEGER"), []any{strings.Join(texts, separator)}, stored, func(v []*column.Vector, rows int) error {
		for i := range rows {
			delete(gone, uint32(v[0].Ints[i]))
			ids = append(ids, w.o.Kept(v[1].UUIDs[i]))
		}
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := range gone {
		w.seen.add(seq)
	}
	return ids, err
}

// missingOf counts those of the sample that were not seen.
func (w *comparison) missingOf() {
	for _, seq := range w.only {
		e, _ := w.book.Entry(w.table.Name, seq)
		switch {
		case w.moves(e):
			w.result.Moving++
		case !w.seen.has(seq):
			w.result.Missing++
			w.found(example{Mismatch: Mismatch{Kind: Missing}, seq: seq, staged: true})
		}
	}
}

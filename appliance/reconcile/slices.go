package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// A big table is read in slices by createdon, several at once: pages of one query come one
// after the other, each waiting for the one before. createdon never changes and is never
// null, so every record is in exactly one slice, however badly its bounds were guessed;
// that ids can be compared in a filter is documented nowhere (dataverse-web-api.md 10.1,
// 10.5). The bounds come from when the ledger saw the records written, or from the
// creation times that were staged for them.
const (
	sliceRows  = 4 * groupRows // a slice is worth its first page from here on
	slicesEach = 3             // slices for each reader, so that none waits long for the last
)

// records compares an ordinary table.
func (w *comparison) records(ctx context.Context, c client) error {
	w.reads(c)
	if w.o.Versions != nil && w.o.Values && w.shape.query.Expand == "" {
		shape := shapeText(w.shape.fields)
		var err error
		if w.known, err = w.o.Versions(w.table.Name, shape); err != nil {
			return err
		}
		if !w.full && w.byVersion() {
			w.shape = w.shape.narrowed(w.table.Schema)
		}
		w.resume(shape)
	}
	if w.o.Values && w.o.ReadBack != nil && !w.o.Moving {
		w.tallies = newTallies(w.shape.fields, w.rules)
	}
	if w.sizes != nil && !w.shape.narrow {
		if err := w.sizes.ahead(ctx); err != nil {
			return err
		}
	}
	bounds, err := w.slices(ctx)
	if err != nil {
		return err
	}
	done := make([]bool, len(bounds)+1)
	if w.proven != nil {
		w.proven.Bounds = bounds
		if len(w.proven.Done) != len(done) {
			w.proven.Done = make([]bool, len(done))
		}
		copy(done, w.proven.Done)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(w.o.Parallel, 1))
	for i, filter := range filtersOf(bounds) {
		shape := w.shape
		if done[i] {
			shape = shape.narrowed(w.table.Schema)
		}
		g.Go(func() error {
			if err := newRecords(w, shape).run(ctx, c, filter); err != nil {
				return err
			}
			return w.sliced(i)
		})
	}
	return g.Wait()
}

// slices are the bounds of a table's slices; none where it is read whole.
func (w *comparison) slices(ctx context.Context) ([]time.Time, error) {
	if w.result.Resumed != nil {
		return w.proven.Bounds, nil
	}
	n := w.result.Source / resumeRows
	if w.o.Parallel > 1 {
		n = max(n, min(w.result.Source/cmp.Or(w.o.SliceRows, sliceRows), int64(slicesEach*w.o.Parallel)))
	}
	if n < 2 || w.table.Schema.Column(createdOn) == nil {
		return nil, nil
	}
	weights, err := w.creationTimes(ctx)
	return bounds(weights, int(n)), err
}

// creationTimes counts records by the second, or the minute, in which they were created.
func (w *comparison) creationTimes(ctx context.Context) (map[int64]int64, error) {
	counts := map[int64]int64{}
	if slices.ContainsFunc(w.table.Columns, func(c mapping.Column) bool { return c.LogicalName == overriddenCreatedOn }) {
		name := mapping.Ident(overriddenCreatedOn)
		query := fmt.Sprintf("SELECT epoch(date_trunc('day', %s))::BIGINT AS day, count(*) AS n FROM %s WHERE %[1]s IS NOT NULL GROUP BY ALL", name, mapping.Ident(w.table.Name))
		err := w.scan(ctx, query, nil, []string{"day", "n"}, func(v []*column.Vector, rows int) error {
			for i := range rows {
				counts[v[0].Ints[i]] = v[1].Ints[i]
			}
			return nil
		})
		return counts, err
	}
	first, last := int64(1<<62), int64(0)
	for span := range w.book.Spans(w.table.Name, 0) {
		if t := int64(span.Time); t > 0 {
			first, last = min(first, t), max(last, t)
		}
	}
	step := int64(1)
	if last-first > 24*3600 {
		step = 60
	}
	for span := range w.book.Spans(w.table.Name, 0) {
		if span.Time > 0 {
			counts[int64(span.Time)/step*step] += int64(span.Len())
		}
	}
	return counts, nil
}

// bounds are up to n-1 times that part the records into n about equal slices.
func bounds(weights map[int64]int64, n int) []time.Time {
	var total, before int64
	for _, w := range weights {
		total += w
	}
	var out []time.Time
	for _, at := range slices.Sorted(maps.Keys(weights)) {
		if before*int64(n) >= total*int64(len(out)+1) && before > 0 {
			out = append(out, time.Unix(at, 0).UTC())
		}
		before += weights[at]
	}
	return out[:min(len(out), n-1)]
}

// filtersOf are conditions of which each record meets exactly one.
func filtersOf(bounds []time.Time) []string {
	filters := make([]string, len(bounds)+1)
	for i, b := range bounds {
		at := b.Format(time.RFC3339)
		filters[i] += createdOn + " lt " + at
		filters[i+1] = createdOn + " ge " + at + " and "
	}
	if last := len(bounds); last > 0 {
		filters[last] = createdOn + " ge " + bounds[last-1].Format(time.RFC3339)
	}
	return filters
}

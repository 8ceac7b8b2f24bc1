package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/column"
)

// A quick comparison has the service count and add: a request for up to 50,000 records in
// place of ten pages, and next to no bytes. The service refuses to aggregate more at once
// (dataverse-web-api.md 10.5), so it is asked by intervals of createdon, each cut in half
// until it is taken; the records of one second that are still too many, as of a source that
// knows only days, are read. What it cannot know is whose the records are: with others in
// the table its counts and sums include theirs, and only a deficit is a fault. So they do where
// a record of ours need not have what is staged, as when somebody changed it and its row is held.

const (
	tooManyToAggregate = 0x8004e023
	// aggregateAim is how many records an interval is meant to have, so that few are refused.
	aggregateAim = 30_000
)

// interval is a stretch of createdon, in Unix seconds: from, up to but not including to.
type interval struct{ from, to int64 }

func (i interval) filter() string {
	at := func(t int64) string { return time.Unix(t, 0).UTC().Format(time.RFC3339) }
	return fmt.Sprintf("%s ge %s and %[1]s lt %[3]s", createdOn, at(i.from), at(i.to))
}

// aggregates is one quick comparison of a table.
type aggregates struct {
	*comparison
	client client
	count  int64 // records, guarded by mu
}

// quick compares the counts and figures of a table.
func (w *comparison) quick(ctx context.Context, c client) error {
	w.shape = newShape(w)
	if w.o.ReadBack != nil && !w.o.Moving {
		w.tallies = slices.DeleteFunc(newTallies(w.shape.fields, w.rules), func(t *tally) bool { return !t.asked(&w.shape.fields[t.field]) })
	}
	w.result.Quick = true
	a := &aggregates{comparison: w, client: c}
	intervals, err := a.intervals(ctx)
	if err != nil {
		return err
	}
	g, asking := errgroup.WithContext(ctx)
	g.SetLimit(max(w.o.Parallel, 1))
	for _, i := range intervals {
		g.Go(func() error { return a.ask(asking, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	w.result.Target = a.count
	w.result.Missing, w.result.Others = max(0, w.result.Source-a.count), max(0, a.count-w.result.Source)
	if len(w.tallies) == 0 {
		return nil
	}
	return w.scan(ctx, "SELECT count(*)::BIGINT AS n FROM "+w.expected(), nil, []string{"n"}, func(v []*column.Vector, rows int) error {
		for i := range rows {
			w.result.Unsure = w.result.Source - v[0].Ints[i]
		}
		return nil
	})
}

// asked reports whether the service adds up the column, and groups by it: numbers, and
// choices. It does not count the values that are distinct over several intervals.
func (t *tally) asked(f *field) bool {
	t.seen = nil
	t.figure = t.figure && (f.kind == decimal || f.kind == float || f.kind == integer && !f.choice && !f.state)
	if t.group = t.group && (f.choice || f.state); !t.group {
		t.groups = nil
	}
	return t.figure || t.group
}

// intervals are the first ones to ask for; none where the table has no records.
func (a *aggregates) intervals(ctx context.Context) ([]interval, error) {
	t := a.table.Schema
	var ends [2]int64
	for k, order := range []string{createdOn + " asc", createdOn + " desc"} {
		found := false
		q := dataverse.Query{Select: []string{t.PrimaryID, createdOn}, OrderBy: order, Top: 1}
		err := a.client.Rows(ctx, t, q, func(row json.RawMessage) error {
			var r map[string]json.RawMessage
			if err := json.Unmarshal(row, &r); err != nil {
				return err
			}
			at, err := time.Parse(time.RFC3339, string(unquote(r[createdOn])))
			if err != nil {
				return fmt.Errorf("read a row of the target: %s: %w", createdOn, err)
			}
			ends[k], found = at.Unix(), true
			return nil
		})
		if err != nil || !found {
			return nil, err
		}
	}
	weights, err := a.creationTimes(ctx)
	if err != nil {
		return nil, err
	}
	from, out := ends[0], []interval{}
	for _, b := range bounds(weights, int(a.result.Source/aggregateAim)+1) {
		if at := b.Unix(); at > from && at <= ends[1] {
			out = append(out, interval{from, at})
			from = at
		}
	}
	return append(out, interval{from, ends[1] + 1}), nil
}

// ask has the service add up one interval, or the halves of it.
func (a *aggregates) ask(ctx context.Context, i interval) error {
	err := a.aggregate(ctx, i)
	var refused *dataverse.Error
	if !errors.As(err, &refused) || refused.Code != tooManyToAggregate {
		return err
	}
	middle := i.from + (i.to-i.from)/2
	if middle == i.from {
		return a.read(ctx, i)
	}
	if err := a.ask(ctx, interval{i.from, middle}); err != nil {
		return err
	}
	return a.ask(ctx, interval{middle, i.to})
}

// part is what one interval comes to; it counts only when all of it was answered.
type part struct {
	count   int64
	figures map[*tally]map[string]string // by s, l, m: sum, least, most
	groups  map[*tally]map[string]int64
}

func (a *aggregates) aggregate(ctx context.Context, i interval) error {
	p := part{figures: map[*tally]map[string]string{}, groups: map[*tally]map[string]int64{}}
	terms := []string{"$count as n"}
	for k, t := range a.tallies {
		if t.figure {
			name := a.shape.fields[t.field].read
			terms = append(terms, fmt.Sprintf("%s with sum as s%d,%[1]s with min as l%[2]d,%[1]s with max as m%[2]d", name, k))
		}
	}
	err := a.apply(ctx, i, "aggregate("+strings.Join(terms, ",")+")", func(r map[string]json.RawMessage) error {
		n, err := strconv.ParseInt(string(r["n"]), 10, 64)
		p.count = n
		for k, t := range a.tallies {
			p.figures[t] = map[string]string{}
			for _, of := range []string{"s", "l", "m"} {
				if raw := r[of+strconv.Itoa(k)]; t.figure && !isNull(raw) {
					p.figures[t][of] = string(unquote(raw))
				}
			}
		}
		return err
	})
	for _, t := range a.tallies {
		if err != nil || t.groups == nil {
			continue
		}
		f := &a.shape.fields[t.field]
		p.groups[t] = map[string]int64{}
		err = a.apply(ctx, i, "groupby(("+f.read+"),aggregate($count as n))", func(r map[string]json.RawMessage) error {
			n, err := strconv.ParseInt(string(r["n"]), 10, 64)
			value := ""
			if raw := r[f.read]; !isNull(raw) {
				value = string(groupOf(f, unquote(raw)))
			}
			p.groups[t][value] += n
			return err
		})
	}
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.take(p)
	return nil
}

func (a *aggregates) apply(ctx context.Context, i interval, what string, fn func(r map[string]json.RawMessage) error) error {
	return a.client.Rows(ctx, a.table.Schema, dataverse.Query{Apply: "filter(" + i.filter() + ")/" + what}, func(row json.RawMessage) error {
		var r map[string]json.RawMessage
		if err := json.Unmarshal(row, &r); err != nil {
			return fmt.Errorf("read an aggregate: %w", err)
		}
		return fn(r)
	})
}

// take adds an interval to the whole.
func (a *aggregates) take(p part) {
	a.count += p.count
	for t, f := range p.figures {
		if f["s"] == "" {
			continue // no record has a value
		}
		of := &a.shape.fields[t.field]
		if of.kind == float {
			x, _ := strconv.ParseFloat(f["s"], 64) // the service's own number
			t.floats += x
			t.extremesOf(of, f["l"])
			t.extremesOf(of, f["m"])
			continue
		}
		if n, ok := numberOf(f["s"]); ok {
			t.sum.add(n)
		}
		for _, text := range []string{f["l"], f["m"]} {
			if n, ok := numberOf(text); ok {
				t.extremes(text, n)
			}
		}
	}
	for t, groups := range p.groups {
		for value, n := range groups {
			t.count([]byte(value), n)
		}
	}
	a.o.Watch(a.table.Name, min(a.count, a.result.Source), a.result.Source)
}

// read adds up an interval that the service does not, from its records.
func (a *aggregates) read(ctx context.Context, i interval) error {
	var fields []field
	for _, t := range a.tallies {
		fields = append(fields, a.shape.fields[t.field])
	}
	p := part{figures: map[*tally]map[string]string{}, groups: map[*tally]map[string]int64{}}
	sums := map[*tally]*tally{}
	for _, t := range a.tallies {
		sums[t] = &tally{field: t.field, figure: t.figure}
		p.groups[t] = map[string]int64{}
	}
	t := a.table.Schema
	q := dataverse.Query{Select: members(t.PrimaryID, fields), Filter: i.filter(), OrderBy: t.PrimaryID, PageSize: page}
	split := dataverse.NewSplitter(q.Select)
	err := a.client.Rows(ctx, t, q, func(row json.RawMessage) error {
		if err := split.Split(row); err != nil {
			return fmt.Errorf("read a row of the target: %w", err)
		}
		p.count++
		for of, sum := range sums {
			f := &a.shape.fields[of.field]
			got := split.Member(f.read)
			sum.add(f, nil, 0, got, false)
			if of.groups != nil {
				value := ""
				if !isNull(got) {
					value = string(groupOf(f, unquote(got)))
				}
				p.groups[of][value]++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for of, sum := range sums {
		if sum.any {
			p.figures[of] = map[string]string{"s": sum.total(&a.shape.fields[of.field]), "l": sum.least, "m": sum.most}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.take(p)
	return nil
}

// quickly reports whether a table can be compared so.
func (o *Options) quickly(t *schema.Table) bool {
	return o.Quick && t.Column(createdOn) != nil
}

// concludeQuick adds what a quick comparison found amiss. The figures of a table that has
// others' records too, or of ours with other values than staged, include those, and say nothing.
func (t *TableResult) concludeQuick() {
	if !t.Quick || t.Others > 0 || t.Unsure > 0 {
		return
	}
	for _, f := range t.Figures {
		if !f.Same {
			t.Failures = append(t.Failures, fmt.Sprintf("%s of %s: %s loaded, %s in the target", f.Kind, f.Column, f.Staged, f.Target))
		}
	}
	differ := map[string]int{}
	for _, g := range t.Groups {
		if g.Staged != g.Target {
			differ[g.Column]++
		}
	}
	for _, g := range t.Groups {
		if n := differ[g.Column]; n > 0 {
			t.Failures = append(t.Failures, fmt.Sprintf("groups of %s that differ: %d", g.Column, n))
			delete(differ, g.Column)
		}
	}
}

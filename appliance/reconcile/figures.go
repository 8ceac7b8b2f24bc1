package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"time"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// Figures are what people compare first: sums, least, greatest and the number of distinct
// values of some columns, and how many records each owner, month or status has. The
// staged side is one query over the rows whose values the ledger says were written; the
// target's side is added up while the records are read. A value that counts as equal
// counts as staged, so that rounding to a column's digits makes no sum differ, and so
// does one that the load did not write.

const (
	// distinctMost bounds the memory of counting: values of all columns of a table, some 30
	// bytes each. Every column may have distinctLeast.
	distinctMost, distinctLeast = 1_000_000, 20_000
	// groupsMost is how many values a column may have for its groups to be counted, and
	// groupsShown how many of them a result has, those that differ first.
	groupsMost, groupsShown = 50_000, 500
)

// Figure is one figure of a column on both sides.
type Figure struct {
	Column string `json:"column"`
	Kind   string `json:"kind"` // sum, min, max, distinct
	Staged string `json:"staged"`
	Target string `json:"target"`
	Same   bool   `json:"same"`
}

// Group is how many records have one value of a column.
type Group struct {
	Column string `json:"column"` // times by month
	Value  string `json:"value"`  // "" = none
	Staged int64  `json:"staged"`
	Target int64  `json:"target"`
}

// tally adds up one column of the records that are read.
type tally struct {
	field  int // among the shape's
	sum    sum
	floats float64
	least  string
	most   string
	low    number // least and most as numbers
	high   number
	any    bool
	seen   map[uint64]struct{} // nil: too many, or not asked
	room   int                 // for them
	groups map[string]*int64   // nil: not asked, or too many
	text   []byte              // of the value that is added
	figure bool
	group  bool
}

// newTallies finds the columns that the rules name among the fields; where they name none,
// those of money, and owner, state, status and month of creation.
func newTallies(fields []field, r Rules) []*tally {
	var out []*tally
	for i := range fields {
		f := &fields[i]
		if !f.compared || f.party != nil || f.kind == fileName || f.kind == fileSize {
			continue
		}
		named := func(list []string) bool {
			return slices.Contains(list, f.name) || slices.Contains(list, f.read)
		}
		t := &tally{field: i}
		t.figure = named(r.Sums) || len(r.Sums) == 0 && f.money
		t.group = named(r.Groups) || len(r.Groups) == 0 && (f.owner || f.state || f.name == overriddenCreatedOn)
		if t.figure {
			t.seen = map[uint64]struct{}{}
		}
		if t.group {
			t.groups = map[string]*int64{}
		}
		if t.figure || t.group {
			out = append(out, t)
		}
	}
	for _, t := range out {
		t.room = max(distinctMost/len(out), distinctLeast)
	}
	return out
}

var seed = maphash.MakeSeed()

// add takes the value of one record: the staged one in row i, or what was read. It is called
// for each record and makes no text that nobody keeps.
func (t *tally) add(f *field, v *column.Vector, i int, got []byte, asStaged bool) {
	text := t.text[:0]
	if asStaged {
		text = f.appendWant(text, v, i)
	} else if !isNull(got) {
		text = append(text, unquote(got)...)
	}
	t.text = text
	if t.groups != nil {
		t.count(groupOf(f, text), 1)
	}
	if !t.figure || len(text) == 0 {
		return
	}
	one := f.canonical(text)
	if t.seen != nil {
		if t.seen[maphash.Bytes(seed, one)] = struct{}{}; len(t.seen) > t.room {
			t.seen = nil
		}
	}
	switch f.kind {
	case integer, decimal:
		n, ok := plainNumber(text)
		if !ok {
			n, ok = numberOf(string(text))
		}
		if !ok {
			return
		}
		t.sum.add(n)
		if !t.any || n.compare(t.low) < 0 || n.compare(t.high) > 0 {
			t.extremes(string(text), n)
		}
	case float:
		x, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return
		}
		t.floats += x
		t.extremesOf(f, string(text))
	case date, timestamp:
		if !t.any || string(one) < t.least || string(one) > t.most {
			t.extremesOf(f, string(one))
		}
	}
}

// count adds to a group.
func (t *tally) count(value []byte, n int64) {
	if have := t.groups[string(value)]; have != nil {
		*have += n
		return
	}
	if t.groups[string(value)] = &n; len(t.groups) > groupsMost {
		t.groups = nil
	}
}

// extremes takes a number into least and greatest.
func (t *tally) extremes(text string, n number) {
	if !t.any || n.compare(t.low) < 0 {
		t.least, t.low = text, n
	}
	if !t.any || n.compare(t.high) > 0 {
		t.most, t.high = text, n
	}
	t.any = true
}

// extremesOf takes another value.
func (t *tally) extremesOf(f *field, text string) {
	if !t.any || f.before(text, t.least) {
		t.least = text
	}
	if !t.any || f.before(t.most, text) {
		t.most = text
	}
	t.any = true
}

// canonical is the one form of equal values; it may be a part of the text.
func (f *field) canonical(text []byte) []byte {
	switch f.kind {
	case integer, decimal:
		return trimZeros(text)
	case float:
		if x, err := strconv.ParseFloat(string(text), 64); err == nil {
			return strconv.AppendFloat(nil, x+0, 'f', -1, 64) // + 0 makes 0 of -0
		}
	case date:
		return text[:min(len(text), len(time.DateOnly))]
	case timestamp:
		if len(text) == len("2006-01-02T15:04:05Z") && text[len(text)-1] == 'Z' {
			return text
		}
		if at, err := time.Parse(time.RFC3339, string(text)); err == nil {
			return at.UTC().AppendFormat(nil, time.RFC3339)
		}
	case guid:
		return bytes.ToLower(text)
	}
	return text
}

// before orders floats, and dates and times in their canonical form.
func (f *field) before(a, b string) bool {
	if f.kind != float {
		return a < b
	}
	x, _ := strconv.ParseFloat(a, 64) // both were read before
	y, _ := strconv.ParseFloat(b, 64)
	return x < y
}

// groupOf is the group of a value: a time's month, else the value.
func groupOf(f *field, text []byte) []byte {
	if f.kind == date || f.kind == timestamp {
		return text[:min(len(text), len("2006-01"))]
	}
	return f.canonical(text)
}

// tallyRow takes one record into the figures.
func (r *records) tallyRow(p pending, v []*column.Vector, i int) {
	for _, t := range r.tallies {
		t.add(&r.shape.fields[t.field], v[t.field+2], i, r.value(p.row, t.field), r.same[t.field])
	}
}

// figures asks the stage for its side, and puts both together.
func (w *comparison) figures(ctx context.Context) error {
	for _, t := range w.tallies {
		f := &w.shape.fields[t.field]
		if t.figure {
			if err := w.columnFigures(ctx, f, t); err != nil {
				return err
			}
		}
		if t.groups != nil {
			if err := w.columnGroups(ctx, f, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// expected is the staged rows whose values the target has, by the ledger.
func (w *comparison) expected() string {
	return mapping.Ident(w.table.Name) + " JOIN (" + w.o.ReadBack(w.table.Name) + ") USING (" + mapping.Seq + ")"
}

func (w *comparison) columnFigures(ctx context.Context, f *field, t *tally) error {
	name := mapping.Ident(f.name)
	sum, extreme, distinct := "NULL", "%s("+name+")", name
	switch f.kind {
	case integer, decimal:
		sum = "sum(" + name + ")"
	case float:
		sum = "sum(" + name + ")"
	case date:
		extreme = "strftime(%s(" + name + "), '%%Y-%%m-%%d')"
	case timestamp:
		extreme = "strftime(%s(" + name + "), '%%Y-%%m-%%dT%%H:%%M:%%SZ')"
		distinct = "date_trunc('second', " + name + ")"
	case text, choices:
		extreme, distinct = "NULL", "nullif("+name+", '')"
	default:
		extreme = "NULL"
	}
	least, most := extreme, extreme
	if extreme != "NULL" {
		least, most = fmt.Sprintf(extreme, "min"), fmt.Sprintf(extreme, "max")
	}
	columns := []string{"total", "least", "most", "different"}
	query := fmt.Sprintf("SELECT coalesce(%s::VARCHAR, '') AS total, coalesce(%s::VARCHAR, '') AS least, coalesce(%s::VARCHAR, '') AS most, count(DISTINCT %s)::VARCHAR AS different FROM %s",
		sum, least, most, distinct, w.expected())
	return w.scan(ctx, query, nil, columns, func(v []*column.Vector, rows int) error {
		for i := range rows {
			staged := func(k int) string { return string(v[k].TextAt(i)) }
			if sum != "NULL" {
				w.figure(f, "sum", staged(0), t.total(f))
			}
			if extreme != "NULL" {
				w.figure(f, "min", staged(1), t.least)
				w.figure(f, "max", staged(2), t.most)
			}
			if t.seen != nil {
				w.figure(f, "distinct", staged(3), strconv.Itoa(len(t.seen)))
			}
		}
		return nil
	})
}

// total is the sum; "" where there was no value.
func (t *tally) total(f *field) string {
	switch {
	case !t.any:
		return ""
	case f.kind == float:
		return strconv.FormatFloat(t.floats, 'g', -1, 64)
	}
	return t.sum.String()
}

func (w *comparison) figure(f *field, kind, staged, target string) {
	x := Figure{Column: f.shownAs(), Kind: kind, Staged: string(f.canonical([]byte(staged))), Target: string(f.canonical([]byte(target)))}
	if kind == "distinct" {
		x.Staged, x.Target = staged, target
	}
	x.Same = x.Staged == x.Target
	if f.kind == float && !x.Same {
		a, errA := strconv.ParseFloat(staged, 64)
		b, errB := strconv.ParseFloat(target, 64)
		x.Same = errA == nil && errB == nil && math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b), 1) // the order of adding
	}
	if w.o.Hide && f.maskable && !x.Same && kind != "distinct" {
		x.Target = hidden(x.Target)
	}
	w.result.Figures = append(w.result.Figures, x)
}

func (w *comparison) columnGroups(ctx context.Context, f *field, t *tally) error {
	value := mapping.Ident(f.name) + "::VARCHAR"
	switch f.kind {
	case date, timestamp:
		value = "strftime(" + mapping.Ident(f.name) + ", '%Y-%m')"
	}
	found := map[string]*Group{}
	at := func(value string) *Group {
		if found[value] == nil {
			found[value] = &Group{Column: f.shownAs(), Value: value}
		}
		return found[value]
	}
	query := fmt.Sprintf("SELECT coalesce(%s, '') AS of, count(*)::BIGINT AS n FROM %s GROUP BY ALL LIMIT %d", value, w.expected(), groupsMost+1)
	err := w.scan(ctx, query, nil, []string{"of", "n"}, func(v []*column.Vector, rows int) error {
		for i := range rows {
			text := v[0].TextAt(i)
			if f.lookup && len(text) > 0 {
				if id, err := schema.ParseGUID(string(text)); err == nil {
					text = w.o.Kept(id).Append(nil)
				}
			}
			at(string(groupOf(f, text))).Staged += v[1].Ints[i]
		}
		return nil
	})
	if err != nil || len(found) > groupsMost {
		return err
	}
	for value, n := range t.groups {
		at(value).Target = *n
	}
	groups := make([]Group, 0, len(found))
	for _, g := range found {
		if w.o.Hide && f.maskable && g.Staged == 0 {
			g.Value = hidden(g.Value)
		}
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(abs(b.Staged-b.Target), abs(a.Staged-a.Target)), cmp.Compare(b.Staged, a.Staged), cmp.Compare(a.Value, b.Value))
	})
	w.result.Groups = append(w.result.Groups, groups[:min(len(groups), groupsShown)]...)
	return nil
}

func abs(n int64) int64 { return max(n, -n) }

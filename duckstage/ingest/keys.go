package ingest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Rows of a database come in the order of a key of one or more columns, in ranges of it. A
// range is a condition in the server's own language, between two tuples of the key's values:
// whatever order the server gives them, by its collations and types, what is below a tuple and
// what is not are all rows, each once. A key needs not be unique for that; it only makes the
// ranges even. Where none is named, a table's own is taken.

// tableKey is what a server knows of how a table's rows are told apart: its primary key, or
// a unique index over columns that are never null. No columns: it has neither, or is a view.
type tableKey struct {
	columns []string
	nulls   bool // they may be null all the same (SQLite)

	// scattered says that the rows lie in another order, such as those of random UUIDs, so that
	// a range of the key has the server read most of the table; its places are to be read instead.
	scattered bool
}

// keyPart is a column of the key that is read by.
type keyPart struct {
	at      int    // among the columns that are read
	name    string // quoted
	text    string // selects a value of it as a text
	literal func(text string) string
}

// findKey takes the key that is named, or else that of the table.
func (d *dbSupply) findKey(ctx context.Context) error {
	var own tableKey
	if d.of.Table != "" {
		var err error
		if own, err = d.server.key(ctx, d.from); err != nil {
			return err
		}
	}
	wanted := d.of.Key
	if len(wanted) == 0 {
		wanted = own.columns
	}
	for _, name := range wanted {
		at := d.columnAt(name)
		switch {
		case at >= 0:
		case len(d.of.Key) == 0: // a column that SELECT * does not give
			d.key = nil
			return nil
		default:
			return fmt.Errorf("%s has no column %q to read by: its columns are %s", d.of.shown(), name, shownList(d.columnNames()))
		}
		p := keyPart{at: at, name: d.server.quote(d.columns[at].name)}
		p.text, p.literal = d.server.keyText(d.columns[at])
		d.key = append(d.key, p)
	}
	d.scattered = own.scattered && len(d.of.Key) == 0
	d.ownKey = len(wanted) > 0 && slices.EqualFunc(wanted, own.columns, strings.EqualFold)
	d.keyNulls = own.nulls || !d.ownKey
	return nil
}

// columnAt is the place of a column; -1 when there is none of that name.
func (d *dbSupply) columnAt(name string) int {
	if at := slices.IndexFunc(d.columns, func(c dbColumn) bool { return c.name == name }); at >= 0 {
		return at
	}
	return slices.IndexFunc(d.columns, func(c dbColumn) bool { return strings.EqualFold(c.name, name) })
}

func (d *dbSupply) columnNames() []string {
	names := make([]string, len(d.columns))
	for i, c := range d.columns {
		names[i] = c.name
	}
	return names
}

// keyColumns are the places of the key's columns.
func (d *dbSupply) keyColumns() []int {
	at := make([]int, len(d.key))
	for i, p := range d.key {
		at[i] = p.at
	}
	return at
}

// selectRange selects the rows of one range in the order of the key.
func (d *dbSupply) selectRange(label string) string {
	list := make([]string, len(d.columns))
	for i, c := range d.columns {
		list[i] = c.selected
	}
	q := "SELECT " + strings.Join(list, ", ") + " FROM " + d.from
	if label != "" {
		q += " WHERE " + label
	}
	if len(d.key) > 0 && !d.placed() {
		q += " ORDER BY " + d.keyList(func(p keyPart) string { return p.name })
	}
	return q
}

func (d *dbSupply) keyList(of func(keyPart) string) string {
	list := make([]string, len(d.key))
	for i, p := range d.key {
		list[i] = of(p)
	}
	return strings.Join(list, ", ")
}

// The sizes of a range: large enough that starting one costs nothing, small enough that
// little is read again after a kill.
const (
	rangeRows = 250_000
	maxRanges = 1000
)

// placer is a server that can cut a table by where its rows lie. That holds
// within one snapshot only: a row that is changed later lies elsewhere.
type placer interface {
	// places makes about n conditions that have each row in one of them; none where the
	// table's rows have no places.
	places(ctx context.Context, from string, n int64) ([]string, error)
}

// ranges makes conditions that cut the rows into pieces of about the same size. The
// first and the last are open, so that rows that are added later fall into one.
func (d *dbSupply) ranges(ctx context.Context, rows int64) ([]string, error) {
	size := cmp.Or(d.of.rows, rangeRows)
	n := min(max((rows+size-1)/size, 1), maxRanges)
	if rows >= 10_000 {
		n = max(n, int64(d.made.workers))
	}
	if n == 1 {
		return []string{""}, nil
	}
	if p, ok := d.server.(placer); ok && d.placed() {
		if labels, err := p.places(ctx, d.from, n); err != nil || len(labels) > 0 {
			return labels, err
		}
		d.scattered = false
	}
	if len(d.key) == 0 {
		if d.of.Parallel > 1 {
			d.made.notes = append(d.made.notes, "read with one connection: the table has neither a primary key nor a unique index over columns that are never null; name columns to cut it by with `key`")
		}
		return []string{""}, nil
	}
	bounds, err := d.bounds(ctx, rows, n)
	if err != nil || len(bounds) == 0 {
		return []string{""}, err
	}
	var labels []string
	for i := range len(bounds) + 1 {
		var low, high []string
		if i > 0 {
			low = bounds[i-1]
		}
		if i < len(bounds) {
			high = bounds[i]
		}
		labels = append(labels, d.between(low, high))
	}
	if d.keyNulls {
		none := make([]string, len(d.key))
		for i, p := range d.key {
			none[i] = p.name + " IS NULL"
		}
		labels = append(labels, strings.Join(none, " OR "))
	}
	return labels, nil
}

// placed reports whether a table is read by the places of its rows, as far as the server knows
// them: it has no key, or its rows lie in another order.
func (d *dbSupply) placed() bool {
	return (len(d.key) == 0 || d.scattered) && d.of.Table != "" && !d.narrowed
}

// between is the condition of the rows from one tuple on and before another; nil is open.
// What both begin with is said as equal, so that an index finds the range even where the
// key's first column has few values.
func (d *dbSupply) between(low, high []string) string {
	var terms []string
	same, last := 0, len(d.key)-1
	for low != nil && high != nil && same < last && low[same] == high[same] {
		terms = append(terms, d.key[same].name+" = "+low[same])
		same++
	}
	if low != nil {
		terms = append(terms, d.beyond(same, ">", low))
	}
	if high != nil {
		terms = append(terms, d.beyond(same, "<", high))
	}
	for _, p := range d.key[min(same+1, last+1):] {
		if d.keyNulls { // the order says nothing of these, and they have a range of their own
			terms = append(terms, p.name+" IS NOT NULL")
		}
	}
	return strings.Join(terms, " AND ")
}

// beyond says that the key's columns from at on are, as a tuple, not less (>) or less (<) than
// the values: in words that every server knows and looks up in an index.
func (d *dbSupply) beyond(at int, than string, values []string) string {
	name, value := d.key[at].name, values[at]
	switch {
	case at < len(d.key)-1:
		return fmt.Sprintf("%s %s= %s AND (%[1]s %[2]s %[3]s OR %s)", name, than, value, d.beyond(at+1, than, values))
	case than == ">":
		return name + " >= " + value
	}
	return name + " < " + value
}

// sparse is how many times as many numbers as rows there may be between the ends of a key for
// its ranges to be cut evenly: they have at most so many times their size then.
const sparse = 4

// bounds finds where ranges begin, as tuples of literals: evenly between the ends of whole
// numbers that lie close, which asks for an index's ends only, and by counting along the key
// for everything else.
func (d *dbSupply) bounds(ctx context.Context, rows, n int64) ([][]string, error) {
	if len(d.key) == 1 && strings.Contains(d.columns[d.key[0].at].stored, "INT") {
		bounds, err := d.evenBounds(ctx, rows, n)
		if err != nil || bounds != nil {
			return bounds, err
		}
	}
	found, err := d.alongKey(ctx, (rows+n-1)/n)
	if err != nil {
		return nil, err
	}
	var bounds [][]string
	for _, row := range found {
		if row = d.literals(row); len(bounds) == 0 || !slices.Equal(bounds[len(bounds)-1], row) {
			bounds = append(bounds, row)
		}
	}
	return bounds, nil
}

// literals writes the texts of a tuple as values in SQL.
func (d *dbSupply) literals(texts []string) []string {
	values := make([]string, len(texts))
	for i, p := range d.key {
		values[i] = p.literal(texts[i])
	}
	return values
}

// alongKey finds the tuple that begins each piece of so many rows but the first, in the key's order.
func (d *dbSupply) alongKey(ctx context.Context, size int64) (found [][]string, err error) {
	counter := 0
	texts := d.keyList(func(p keyPart) string { counter++; return fmt.Sprintf("%s AS dm_%d", p.text, counter) })
	names := d.keyList(func(p keyPart) string { return p.name })
	if d.of.Kind == MySQL && d.ownKey {
		// It would sort all rows to number them: 26 s for 2 M. Along an index it goes from one
		// tuple to the next.
		for where := ""; ; {
			next, err := d.server.list(ctx, fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT 1 OFFSET %d", texts, d.from, where, names, size))
			if err != nil || len(next) == 0 || len(found) == maxRanges {
				return found, err
			}
			found = append(found, next[0])
			where = " WHERE " + d.between(d.literals(next[0]), nil)
		}
	}
	counter = 0
	outer := d.keyList(func(keyPart) string { counter++; return fmt.Sprintf("dm_%d", counter) })
	where := ""
	if d.keyNulls {
		where = " WHERE " + strings.ReplaceAll(d.keyList(func(p keyPart) string { return p.name + " IS NOT NULL" }), ", ", " AND ")
	}
	return d.server.list(ctx, fmt.Sprintf("SELECT %s FROM (SELECT %s, row_number() OVER (ORDER BY %s) - 1 AS dm_n FROM %s%s) dm_rows WHERE dm_n > 0 AND dm_n %% %d = 0 ORDER BY dm_n",
		outer, texts, names, d.from, where, size))
}

// evenBounds cuts between the lowest and the highest of whole numbers; nil where they lie so
// far apart that the ranges would not be even.
func (d *dbSupply) evenBounds(ctx context.Context, rows, n int64) ([][]string, error) {
	key := d.key[0]
	ends, err := d.server.list(ctx, fmt.Sprintf("SELECT min(%[1]s), max(%[1]s) FROM %[2]s", key.name, d.from))
	if err != nil {
		return nil, err
	}
	low, err1 := strconv.ParseInt(ends[0][0], 10, 64)
	high, err2 := strconv.ParseInt(ends[0][1], 10, 64)
	width := float64(high) - float64(low)
	if err1 != nil || err2 != nil || low >= high || width >= math.MaxInt64 || width > sparse*float64(rows) {
		return nil, nil
	}
	var bounds [][]string
	for i := int64(1); i < n; i++ {
		b := strconv.FormatInt(low+int64(width*float64(i)/float64(n)), 10)
		if len(bounds) == 0 || bounds[len(bounds)-1][0] != b {
			bounds = append(bounds, []string{b})
		}
	}
	return bounds, nil
}

// plainNumber writes a number as it is, and what is none (NaN) as a text.
func plainNumber(literal func(string) string) func(string) string {
	return func(text string) string {
		if x, err := strconv.ParseFloat(text, 64); err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return literal(text)
		}
		return text
	}
}

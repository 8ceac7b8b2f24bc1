package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// example is a mismatch to be shown, before its legacy key is looked up.
type example struct {
	Mismatch
	seq    uint32
	staged bool // seq says which row of the stage it is about
}

// kindOrder is the order in which mismatches are shown.
var kindOrder = []string{Missing, Extra, Duplicate, Different}

// examples keeps the first mismatches of each kind.
type examples struct {
	limit  int
	byKind map[string][]example
}

// room reports whether another of the kind is wanted, so that nobody writes texts
// in vain.
func (x *examples) room(kind string) bool { return len(x.byKind[kind]) < x.limit }

func (x *examples) add(e example) {
	if !x.room(e.Kind) {
		return
	}
	if x.byKind == nil {
		x.byKind = map[string][]example{}
	}
	x.byKind[e.Kind] = append(x.byKind[e.Kind], e)
}

// pick takes as many as the limit allows, of each kind alike, so that many of one
// kind do not hide the others.
func (x *examples) pick() []example {
	taken, n := map[string]int{}, 0
	for more := true; more && n < x.limit; {
		more = false
		for _, kind := range kindOrder {
			if n < x.limit && taken[kind] < len(x.byKind[kind]) {
				taken[kind]++
				n++
				more = true
			}
		}
	}
	picked := make([]example, 0, n)
	for _, kind := range kindOrder {
		some := x.byKind[kind][:taken[kind]]
		slices.SortStableFunc(some, byRow)
		picked = append(picked, some...)
	}
	return picked
}

// byRow orders mismatches by staged row, those without one last: the stage gives
// rows in any order, and two runs should read alike.
func byRow(a, b example) int {
	switch {
	case a.staged != b.staged && a.staged:
		return -1
	case a.staged != b.staged:
		return 1
	case a.staged:
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.RecordID, b.RecordID))
	}
	return cmp.Compare(a.Got, b.Got)
}

// explain gives the mismatches to be shown their table, legacy key and record id.
func (w *comparison) explain(ctx context.Context) ([]Mismatch, error) {
	picked := w.examples.pick()
	names, err := w.names(ctx, picked)
	if err != nil {
		return nil, err
	}
	out := make([]Mismatch, 0, len(picked))
	for _, e := range picked {
		m := e.Mismatch
		m.Table = w.table.Name
		if n, ok := names[e.seq]; ok && e.staged {
			m.LegacyKey = n.key
			if m.Kind == Missing {
				m.RecordID, m.Column, m.Want = n.id, n.columns, n.pair
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// rowName is what a staged row is called: key and record id, or the pair of a link.
type rowName struct{ key, id, columns, pair string }

func (w *comparison) names(ctx context.Context, picked []example) (map[uint32]rowName, error) {
	var seqs []string
	for _, e := range picked {
		if e.staged {
			seqs = append(seqs, fmt.Sprint(e.seq))
		}
	}
	names := map[uint32]rowName{}
	if len(seqs) == 0 {
		return names, nil
	}
	list := []any{strings.Join(seqs, separator)}
	columns := []string{mapping.Seq, mapping.LegacyKey, mapping.ID}
	if l := w.table.Link; l != nil {
		columns = append(columns, l.Column1, l.Column2)
	}
	query := selectFrom(w.table.Name, columns) + " WHERE " + isIn(mapping.Seq, "UINTEGER")
	err := w.scan(ctx, query, list, columns, func(v []*column.Vector, rows int) error {
		for i := range rows {
			n := rowName{key: fmt.Sprint(v[1].Value(i))}
			if l := w.table.Link; l != nil {
				n.columns = l.Column1 + "," + l.Column2
				n.pair = fmt.Sprint(v[3].Value(i)) + "," + fmt.Sprint(v[4].Value(i))
			} else {
				n.id = schema.GUID(v[2].UUIDs[i]).String()
			}
			names[uint32(v[0].Ints[i])] = n
		}
		return nil
	})
	if err != nil || len(names) == len(seqs) {
		return names, err
	}
	err = w.gone(ctx, " AND "+isIn("seq", "UINTEGER"), list, func(seq uint32, id schema.GUID, key string) {
		names[seq] = rowName{key: key, id: id.String()}
	})
	return names, err
}

// separator parts the values of a list that is handed to SQL as one text. It cannot
// be in a value: Dataverse takes no control characters (dataverse-web-api.md 4.2).
const separator = "\x1f"

// isIn is the condition that a column's value is in the list that is the query's
// next argument: one text, so that thousands of values need not be parsed as SQL.
func isIn(name, sqlType string) string {
	return fmt.Sprintf("%s IN (SELECT CAST(unnest(string_split(?, chr(31))) AS %s))", mapping.Ident(name), sqlType)
}

func selectFrom(table string, columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = mapping.Ident(c)
	}
	return "SELECT " + strings.Join(quoted, ", ") + " FROM " + mapping.Ident(table)
}

// scan runs a query over the stage and hands on the named columns of each batch.
func (w *comparison) scan(ctx context.Context, query string, args []any, columns []string, fn func(v []*column.Vector, rows int) error) error {
	found := make([]*column.Vector, len(columns))
	err := w.stage.Scan(ctx, query, args, func(b *column.Batch) error {
		for i, name := range columns {
			if found[i] = b.Column(name); found[i] == nil {
				return fmt.Errorf("it has no column %s", name)
			}
		}
		return fn(found, b.Rows)
	})
	if err != nil {
		return fmt.Errorf("read the staged rows: %w", err)
	}
	return nil
}

const (
	shown  = 120 // bytes of a value in a mismatch
	before = 20  // of these, before the first difference
)

// excerpt cuts two long texts to where they first differ.
func excerpt(want, got string) (string, string) {
	if len(want) <= shown && len(got) <= shown {
		return want, got
	}
	start := 0
	for start < len(want) && start < len(got) && want[start] == got[start] {
		start++
	}
	start = max(0, start-before)
	return cut(want, start, shown), cut(got, start, shown)
}

// cut is at most so many bytes of a text, from start on.
func cut(s string, start, most int) string {
	for start > 0 && start < len(s) && !utf8.RuneStart(s[start]) {
		start--
	}
	start = min(start, len(s))
	end := min(start+most, len(s))
	for end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	text := s[start:end]
	if start > 0 {
		text = "…" + text
	}
	if end < len(s) {
		text += "…"
	}
	return text
}

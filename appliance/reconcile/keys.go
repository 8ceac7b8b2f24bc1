package reconcile

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
)

// key is an alternate key whose columns are all loaded.
type key struct {
	fields []int  // which of the table's fields
	lead   int    // the field by which the stage is asked for candidates
	name   string // the columns, joined by a comma
}

// bindKey finds the key's columns among the fields. It reports false when one of
// them is not loaded, or none is of a kind by which rows can be looked up: an
// alternate key of nothing but dates or decimals.
func bindKey(k schema.Key, fields []field) (key, bool) {
	out := key{lead: -1, name: strings.Join(k.Columns, ",")}
	for _, name := range k.Columns {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 || fields[i].name == overriddenCreatedOn {
			return key{}, false
		}
		out.fields = append(out.fields, i)
		if kind := fields[i].kind; out.lead < 0 && (kind == text || kind == integer || kind == guid) {
			out.lead = i
		}
	}
	return out, out.lead >= 0
}

// duplicates finds those of others, rows of the group that are not ours, that have
// the alternate key of a record of ours that the target has too. An active key
// does not allow that; one that was not active during the load does.
func (r *records) duplicates(ctx context.Context, others []int) error {
	for _, k := range r.shape.keys {
		candidates := map[string][]int{}
		for _, row := range others {
			if !r.group.rows[row].matched && r.hasKey(k, row) {
				lead := r.shape.fields[k.lead].keyGot(r.o.Collation, r.value(row, k.lead))
				candidates[lead] = append(candidates[lead], row)
			}
		}
		if len(candidates) == 0 {
			continue
		}
		if err := r.duplicatesOf(ctx, k, candidates); err != nil {
			return err
		}
	}
	return nil
}

// hasKey reports whether all of the key has values: with a null nothing is unique.
func (r *records) hasKey(k key, row int) bool {
	return !slices.ContainsFunc(k.fields, func(i int) bool { return isNull(r.value(row, i)) })
}

// duplicatesOf asks the stage for the rows with one of the leading values.
func (r *records) duplicatesOf(ctx context.Context, k key, candidates map[string][]int) error {
	columns := []string{mapping.Seq}
	for _, i := range k.fields {
		columns = append(columns, r.shape.fields[i].name)
	}
	leads := make([]string, 0, len(candidates))
	for lead := range candidates {
		leads = append(leads, lead)
	}
	lead := &r.shape.fields[k.lead]
	query := selectFrom(r.table.Name, columns) + " WHERE " + lead.keySQL(r.o.Collation) + " IN (SELECT unnest(string_split(?, chr(31))))"
	at := 1 + slices.Index(k.fields, k.lead)
	return r.scan(ctx, query, []any{strings.Join(leads, separator)}, columns, func(v []*column.Vector, n int) error {
		for i := range n {
			if v[at].Null(i) {
				continue
			}
			seq := uint32(v[0].Ints[i])
			if e, ok := r.book.Entry(r.table.Name, seq); !ok || expect(e).presence != present {
				continue
			}
			for _, row := range candidates[lead.keyWant(r.o.Collation, v[at], i)] {
				if !r.group.rows[row].matched && r.sameKey(k, v[1:], i, row) {
					r.group.rows[row].matched = true
					r.result.Duplicates++
					r.addDuplicate(k, v[1:], i, row, seq)
				}
			}
		}
		return nil
	})
}

func (r *records) sameKey(k key, v []*column.Vector, i, row int) bool {
	for n, at := range k.fields {
		if !r.shape.fields[at].sameKey(r.o.Collation, v[n], i, r.value(row, at)) {
			return false
		}
	}
	return true
}

func (r *records) addDuplicate(k key, v []*column.Vector, i, row int, seq uint32) {
	if !r.room(Duplicate) {
		return
	}
	var want, got []string
	for n, at := range k.fields {
		want = append(want, r.shape.fields[at].wantText(v[n], i))
		got = append(got, r.gotText(&r.shape.fields[at], r.value(row, at)))
	}
	m := Mismatch{Kind: Duplicate, RecordID: r.group.rows[row].id.String(), Column: k.name}
	m.Want, m.Got = excerpt(strings.Join(want, ","), strings.Join(got, ","))
	r.found(example{Mismatch: m, seq: seq, staged: true})
}

// sameKey compares like the service's index of alternate keys, by its collation and without
// regard to blanks at the end (dataverse-web-api.md 17, trap 44).
func (f *field) sameKey(c mapping.Collation, v *column.Vector, i int, got []byte) bool {
	if v.Null(i) {
		return false
	}
	if f.kind == text {
		return c.Key(string(v.TextAt(i))) == c.Key(string(unquote(got)))
	}
	return f.same(v, i, got)
}

// keySQL, keyWant and keyGot write a leading value alike: of a staged row in SQL and
// in a batch, and of a row of the target.
func (f *field) keySQL(c mapping.Collation) string {
	if f.kind == text {
		return c.KeySQL(mapping.Ident(f.name))
	}
	return "CAST(" + mapping.Ident(f.name) + " AS VARCHAR)"
}

func (f *field) keyWant(c mapping.Collation, v *column.Vector, i int) string {
	switch f.kind {
	case text:
		return c.Key(string(v.TextAt(i)))
	case integer:
		return strconv.FormatInt(v.Ints[i], 10)
	}
	return schema.GUID(v.UUIDs[i]).String()
}

func (f *field) keyGot(c mapping.Collation, got []byte) string {
	return c.Key(string(unquote(got)))
}

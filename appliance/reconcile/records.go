package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

const (
	// page is the most rows that the service gives at once (dataverse-web-api.md 10.1).
	page = 5000
	// A group of target rows is compared at once: several pages, because each scan of
	// the stage reads at least a row group, and for kept ids the whole id column.
	groupRows  = 50_000
	groupBytes = 32 << 20
)

// records compares the records of an ordinary table, or of a slice of it: each slice is
// read beside the others, and their groups are compared one after the other.
type records struct {
	*comparison
	shape *shape // that the slice is read in
	split *dataverse.Splitter
	slots []int  // of the fields in a row that was split
	same  []bool // of the fields of the row that is compared: what was staged, or what was not written
	group group
}

// shape is what is read of each record.
type shape struct {
	fields []field
	keys   []key
	stored []string // the stage's columns that a comparison reads
	query  dataverse.Query
	narrow bool // only ids, versions and alternate keys are read of every record (changed.go)
}

// group is some rows of the target, their values as JSON.
type group struct {
	rows   []targetRow
	values []extent // len(fields) a row
	arena  []byte
}

type targetRow struct {
	id       schema.GUID
	seq      uint32
	version  uint64
	assigned bool // the id is one that this migration assigned
	matched  bool // of an id that we did not assign: the row is ours, or a duplicate of ours
}

type extent struct{ from, to uint32 }

func newShape(w *comparison) *shape {
	s, t := &shape{}, w.table
	s.fields, s.keys = fieldsOf(t, w.o.Values, w.rules)
	s.stored = []string{mapping.Seq, mapping.ID}
	if w.o.Values {
		for _, f := range s.fields {
			s.stored = append(s.stored, f.name)
		}
	}
	s.query = dataverse.Query{Select: members(t.Schema.PrimaryID, s.fields), OrderBy: t.Schema.PrimaryID, PageSize: page, Expand: partyExpand(t, s.fields)}
	if s.query.Expand != "" {
		s.query.PageSize = partyPage
	}
	return s
}

// reads prepares for reading records of the table.
func (w *comparison) reads(c client) {
	w.shape, w.client = newShape(w), c
	w.sizes = newSizes(w)
}

// narrowed is the shape of a reading by versions.
func (s *shape) narrowed(t *schema.Table) *shape {
	n := *s
	n.narrow = true
	n.query.Select = members(t.PrimaryID, slices.DeleteFunc(slices.Clone(s.fields), func(f field) bool { return !inKey(t, f.name) }))
	return &n
}

// newRecords reads one slice.
func newRecords(w *comparison, s *shape) *records {
	r := &records{comparison: w, shape: s}
	names := []string{w.table.Schema.PrimaryID, etag}
	for _, f := range w.shape.fields {
		names = append(names, f.read)
	}
	r.split = dataverse.NewSplitter(names)
	for _, f := range w.shape.fields {
		r.slots = append(r.slots, r.split.Slot(f.read))
	}
	return r
}

func (r *records) run(ctx context.Context, c client, filter string) error {
	q := r.shape.query
	q.Filter = filter
	err := c.Rows(ctx, r.table.Schema, q, func(row json.RawMessage) error {
		if err := r.add(row); err != nil {
			return err
		}
		if len(r.group.rows) >= groupRows || len(r.group.arena) >= groupBytes {
			return r.flush(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.flush(ctx)
}

// add takes one row of the target into the group.
func (r *records) add(raw []byte) error {
	if err := r.split.Split(raw); err != nil {
		return fmt.Errorf("read a row of the target: %w", err)
	}
	var id schema.GUID
	if err := id.UnmarshalText(unquote(r.split.Member(r.table.Schema.PrimaryID))); err != nil {
		return fmt.Errorf("read a row of the target: %s: %w", r.table.Schema.PrimaryID, err)
	}
	row := targetRow{id: id, version: versionOf(r.split.Member(etag))}
	if r.o.RecordSeq != nil {
		row.seq, row.assigned = r.o.RecordSeq(r.table.Name, id)
	}
	g := &r.group
	g.rows = append(g.rows, row)
	for _, slot := range r.slots {
		from := uint32(len(g.arena))
		g.arena = append(g.arena, r.split.At(slot)...)
		g.values = append(g.values, extent{from, uint32(len(g.arena))})
	}
	return nil
}

// guidMember reads one id of a row.
func guidMember(found map[string]json.RawMessage, name string) (schema.GUID, error) {
	id, err := schema.ParseGUID(string(unquote(found[name])))
	if err != nil {
		return id, fmt.Errorf("read a row of the target: %s: %w", name, err)
	}
	return id, nil
}

// value is field k of a row of the group, in JSON.
func (r *records) value(row, k int) []byte {
	e := r.group.values[row*len(r.shape.fields)+k]
	return r.group.arena[e.from:e.to]
}

// flush compares the group: rows whose id we assigned by their number, other ids by
// what the stage has kept, and what remains by alternate key.
func (r *records) flush(ctx context.Context) error {
	if len(r.group.rows) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sizes != nil && !r.shape.narrow {
		all := make([]int, len(r.group.rows))
		for i := range all {
			all[i] = i
		}
		if err := r.sizes.resolve(ctx, &r.group, all); err != nil {
			return err
		}
	}
	var assigned, unknown []int
	for i := range r.group.rows {
		if r.group.rows[i].assigned {
			assigned = append(assigned, i)
		} else {
			unknown = append(unknown, i)
		}
	}
	if err := r.compareAssigned(ctx, assigned); err != nil {
		return err
	}
	if r.table.KeepID || r.o.RecordSeq == nil {
		if err := r.compareKept(ctx, unknown); err != nil {
			return err
		}
	}
	others := unknown[:0]
	for _, i := range unknown {
		if !r.group.rows[i].matched {
			others = append(others, i)
		}
	}
	r.result.Others += int64(len(others))
	if err := r.duplicates(ctx, others); err != nil {
		return err
	}
	r.group = group{rows: r.group.rows[:0], values: r.group.values[:0], arena: r.group.arena[:0]}
	r.o.Watch(r.table.Name, r.result.Target, r.result.Source)
	return nil
}

// pending is a row of the group that waits for its staged row.
type pending struct {
	row    int
	action ledger.Action
	expect expectation
	same   bool // its values need not be read: it is as it was when it was found equal
}

// meetRow notes that a row of the group is ours; ok is true when its values are to be
// compared.
func (r *records) meetRow(row int, seq uint32) (p pending, ok bool) {
	x, entry, again := r.meet(seq, Mismatch{RecordID: r.group.rows[row].id.String()})
	p = pending{row: row, action: entry.Action, expect: x}
	p.same = r.unchanged(p, seq, entry)
	return p, r.o.Values && x.values && !again
}

// compareAssigned compares the rows whose number is in their id.
func (r *records) compareAssigned(ctx context.Context, rows []int) error {
	var wanted []pending
	var full []int
	first, last := ^uint32(0), uint32(0)
	for _, row := range rows {
		seq := r.group.rows[row].seq
		p, ok := r.meetRow(row, seq)
		if !ok {
			continue
		}
		first, last = min(first, seq), max(last, seq)
		wanted = append(wanted, p)
		if !p.same {
			full = append(full, row)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := r.readInFull(ctx, full); err != nil {
		return err
	}
	at := r.index(wanted, first, last)
	query := selectFrom(r.table.Name, r.shape.stored) + " WHERE " + mapping.Ident(mapping.Seq) + " BETWEEN ? AND ?"
	args := []any{int64(first), int64(last)}
	if uint64(last-first) > 8*uint64(len(wanted)) { // mostly rows that are not wanted
		seqs := make([]string, 0, len(wanted))
		for _, p := range wanted {
			seqs = append(seqs, strconv.FormatUint(uint64(r.group.rows[p.row].seq), 10))
		}
		query += " AND " + isIn(mapping.Seq, "UINTEGER")
		args = append(args, strings.Join(seqs, separator))
	}
	return r.scan(ctx, query, args, r.shape.stored, func(v []*column.Vector, n int) error {
		for i := range n {
			seq := uint32(v[0].Ints[i])
			if k := at(seq); k >= 0 {
				if err := r.compareRow(wanted[k], seq, v, i); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// index finds a row among the wanted by its number, which is between first and last: in a
// list where they lie close, as they do unless few of a range are read. None: negative.
func (r *records) index(wanted []pending, first, last uint32) func(seq uint32) int {
	if uint64(last-first) > 32*uint64(len(wanted)) {
		at := make(map[uint32]int, len(wanted))
		for k, p := range wanted {
			at[r.group.rows[p.row].seq] = k
		}
		return func(seq uint32) int {
			if k, ok := at[seq]; ok {
				return k
			}
			return -1
		}
	}
	places := make([]uint32, last-first+1) // one more than the place; 0: none
	for k, p := range wanted {
		places[r.group.rows[p.row].seq-first] = uint32(k) + 1
	}
	return func(seq uint32) int { return int(places[seq-first]) - 1 }
}

// compareKept finds the rows whose id was kept from the source, and compares them.
func (r *records) compareKept(ctx context.Context, rows []int) error {
	if len(rows) == 0 {
		return nil
	}
	wanted := map[schema.GUID][]int{}
	ids := make([]string, len(rows))
	for k, row := range rows {
		id := r.group.rows[row].id
		wanted[id] = append(wanted[id], row)
		ids[k] = id.String()
	}
	query := selectFrom(r.table.Name, r.shape.stored) + " WHERE " + isIn(mapping.ID, "UUID")
	err := r.scan(ctx, query, []any{strings.Join(ids, separator)}, r.shape.stored, func(v []*column.Vector, n int) error {
		for i := range n {
			seq, id := uint32(v[0].Ints[i]), schema.GUID(v[1].UUIDs[i])
			same := wanted[id]
			delete(wanted, id)
			for _, row := range same {
				r.group.rows[row].matched = true
				p, ok := r.meetRow(row, seq)
				if !ok {
					continue
				}
				if !p.same {
					if err := r.readInFull(ctx, []int{row}); err != nil {
						return err
					}
				}
				if err := r.compareRow(p, seq, v, i); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || len(wanted) == 0 {
		return err
	}
	return r.meetGone(ctx, wanted)
}

// compareRow compares one row of the target with row i of the stage, whose columns
// are r.shape.stored.
func (r *records) compareRow(p pending, seq uint32, v []*column.Vector, i int) error {
	for k := range r.shape.fields {
		f, staged := &r.shape.fields[k], v[k+2]
		if staged.Type != vectorType[f.kind] {
			return fmt.Errorf("column %s is staged as %s, not as %s; stage it again", f.name, staged.Type, vectorType[f.kind])
		}
		if f.lookup && !staged.Null(i) {
			staged.UUIDs[i] = r.o.Kept(staged.UUIDs[i]) // the scan's rows are ours
		}
	}
	r.same = r.same[:0]
	for k := range r.shape.fields {
		f := &r.shape.fields[k]
		r.same = append(r.same, p.same || f.party == nil && r.equal(f, p, v[k+2], i, r.value(p.row, k)))
	}
	r.tallyRow(p, v, i)
	if err := r.sample(p, seq, v, i); err != nil {
		return err
	}
	if p.same {
		r.result.Unchanged++
		return nil
	}
	differs := false
	for k := range r.shape.fields {
		if r.same[k] {
			continue
		}
		f, staged, got := &r.shape.fields[k], v[k+2], r.value(p.row, k)
		if f.party != nil {
			if !f.written(p.action, p.expect) {
				continue
			}
			same, want, have, err := r.compareParties(f, staged, i, got)
			if err != nil {
				return err
			}
			if !same {
				differs = true
				r.differs(f.name, ClassParties)
				m := Mismatch{Kind: Different, Class: ClassParties, RecordID: r.group.rows[p.row].id.String(), Column: f.name}
				m.Want, m.Got = excerpt(want, have)
				r.found(example{Mismatch: m, seq: seq, staged: true})
			}
			continue
		}
		differs = true
		r.differs(f.shownAs(), f.class())
		if r.room(Different) {
			m := Mismatch{Kind: Different, Class: f.class(), RecordID: r.group.rows[p.row].id.String(), Column: f.shownAs()}
			m.Want, m.Got = excerpt(f.wantText(staged, i), r.gotText(f, got))
			r.found(example{Mismatch: m, seq: seq, staged: true})
		}
	}
	if differs {
		r.result.Different++
		r.due.different.add(seq)
	}
	r.noteEqual(p, seq, !differs)
	return nil
}

// equal reports whether a value counts as staged; so does one that the load did not write.
func (r *records) equal(f *field, p pending, staged *column.Vector, i int, got []byte) bool {
	return !f.written(p.action, p.expect) || f.lookup && !p.expect.lookups && isNull(got) || f.same(staged, i, got)
}

package mapping

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/duckstage/column"
)

// Write is which columns of a record a request carries.
type Write uint8

// The writes.
const (
	Insert  Write = iota // all but deferred lookups and state; null columns are left out
	Update               // like Insert, but null columns clear what the target has
	Lookups              // the deferred lookups alone
	Files                // images that no new record takes, as Base64; null columns clear what the target has
	State                // state and status reason alone
	Gone                 // no column: the id alone, or the two ends of a link
	Judged               // what an update and the passes after it write, files apart: by it a change of others is told
)

// Encoder appends the JSON of records for one kind of write. It is made once and
// used by many goroutines at once.
type Encoder struct {
	table  *Table
	fields []field
	typed  []byte // "@odata.type":"Microsoft.Dynamics.CRM.account"
	id     []byte // "accountid":"; empty where Dataverse assigns the id
	clear  bool
	state  bool // state and status reason alone

	parties []string // the columns of an activity's parties
	files   []string // the columns whose content comes from files and is sent beside the write
}

// field is one column on its way to JSON.
type field struct {
	name string
	kind fieldKind
	key  []byte // ,"name":
	open []byte // ,"name":"
	// of a lookup: for each target the key and the value up to the id,
	// "nav@odata.bind":"accounts(
	targets  []bound
	nullOnly bool // a deferred lookup in an update: cleared now, set by the second pass
	stays    bool // a state: null leaves what the target has
}

type bound struct {
	table string
	open  []byte
	null  []byte // "nav":null
}

type fieldKind uint8

const (
	plain fieldKind = iota
	date
	timestamp
	boolean
	lookup
	noon // of a date, for a column with a time: the same day in nearly every zone
)

// Encoder makes the encoder of one kind of write. deferred names the lookups that
// the plan leaves to the second pass.
func (t *Table) Encoder(w Write, deferred []string) *Encoder {
	e := &Encoder{table: t, clear: w == Update || w == Files || w == Judged, state: w == State || w == Judged}
	if t.Schema != nil {
		e.typed = []byte(`"@odata.type":"Microsoft.Dynamics.CRM.` + t.Schema.LogicalName + `"`)
		if w != Insert || !t.ServerIDs {
			e.id = []byte(`"` + t.Schema.PrimaryID + `":"`)
		}
	}
	for _, c := range t.Columns {
		if c.File && (w == Files || w == Update) && c.Late == (w == Files) {
			e.files = append(e.files, c.LogicalName)
		}
		changes := w == Update || w == Judged
		if w == Gone || isState(c) != (w == State) && w != Judged || c.Late != (w == Files) || c.File || w == Lookups || (changes && !c.Writable(true)) || (w == Insert && !c.Writable(false)) {
			continue
		}
		f := plainField(c, c.LogicalName)
		f.stays = isState(c)
		e.fields = append(e.fields, f)
	}
	for i := range t.Lookups {
		l := &t.Lookups[i]
		late := slices.Contains(deferred, l.LogicalName)
		changes := w == Update || w == Judged
		if w == Gone && t.Link == nil || w == State || w == Files || late != (w == Lookups) && !changes || (changes && !l.Writable(true)) || (w == Insert && !l.Writable(false)) {
			continue
		}
		f := lookupField(l)
		f.nullOnly = w == Update && late
		e.fields = append(e.fields, f)
	}
	if w == Insert || w == Update {
		for _, p := range t.Parties {
			e.parties = append(e.parties, p.LogicalName)
		}
	}
	return e
}

// plainField writes column c of the stage under a name.
func plainField(c Column, name string) field {
	key := "," + strconv.Quote(name) + ":"
	f := field{name: c.LogicalName, key: []byte(key), open: []byte(key + `"`)}
	switch c.SQLType {
	case "DATE":
		f.kind = date
	case "TIMESTAMP":
		f.kind = timestamp
	case "BOOLEAN":
		f.kind = boolean
	}
	return f
}

func lookupField(l *Lookup) field {
	f := field{name: l.LogicalName, kind: lookup}
	for _, t := range l.Targets {
		f.targets = append(f.targets, bound{
			table: t.Table,
			open:  fmt.Appendf(nil, `"%s@odata.bind":"%s(`, t.Nav, t.EntitySet),
			null:  fmt.Appendf(nil, `"%s@odata.bind":null`, t.Nav),
		})
	}
	return f
}

// Empty reports whether the write carries no column at all.
func (e *Encoder) Empty() bool { return len(e.fields) == 0 }

// CreateBody is the body of a single create for a record that AppendTarget wrote:
// the same without its @odata.type. It appends to dst.
func (e *Encoder) CreateBody(dst, target []byte) []byte {
	dst = append(dst, '{')
	rest := target[1+len(e.typed):]
	if rest[0] == ',' {
		rest = rest[1:]
	}
	return append(dst, rest...)
}

// UpdateBody is the body of a single update for a record that AppendTarget wrote:
// the same without its @odata.type and its id, which stands in the URL. It
// appends to dst.
func (e *Encoder) UpdateBody(dst, target []byte) []byte {
	dst = append(dst, '{')
	rest := target[1+len(e.typed)+1+len(e.id)+len(`00000000-0000-0000-0000-000000000000"`):]
	if rest[0] == ',' {
		rest = rest[1:]
	}
	return append(dst, rest...)
}

// StageColumns names the stage columns that the encoder reads; a scan must yield
// them, and ID, under these names.
func (e *Encoder) StageColumns() []string {
	names := []string{ID}
	for i := range e.fields {
		f := &e.fields[i]
		names = append(names, f.name)
		if len(f.targets) > 1 {
			names = append(names, f.name+TargetSuffix)
		}
	}
	return append(names, e.parties...)
}

// Rows reads the rows of one batch for an Encoder. It is not safe for concurrent
// use; make one a batch.
type Rows struct {
	e      *Encoder
	ids    *column.Vector
	values []*column.Vector
	tables []*column.Vector // the TargetSuffix column of each field, or nil
	fault  string           // of the row written last
	only   []bool           // the fields that are written; nil: all

	parties []*column.Vector // of the columns of an activity's parties
}

// Rows finds the encoder's columns in the batch. A missing one is an error: the
// scan did not ask for StageColumns.
func (e *Encoder) Rows(b *column.Batch) (*Rows, error) { return e.RowsAs(b, "") }

// RowsAs is Rows where the columns, but for ID, stand under names that begin with prefix.
func (e *Encoder) RowsAs(b *column.Batch, prefix string) (*Rows, error) {
	r := &Rows{e: e, ids: b.Column(ID), values: make([]*column.Vector, len(e.fields)), tables: make([]*column.Vector, len(e.fields))}
	if r.ids == nil || r.ids.Type != column.UUID {
		return nil, fmt.Errorf("encode %s: the batch has no column %s of record ids", e.table.Name, ID)
	}
	for i := range e.fields {
		f := &e.fields[i]
		if r.values[i] = b.Column(prefix + f.name); r.values[i] == nil {
			return nil, fmt.Errorf("encode %s: the batch has no column %s", e.table.Name, prefix+f.name)
		}
		if len(f.targets) > 1 {
			if r.tables[i] = b.Column(prefix + f.name + TargetSuffix); r.tables[i] == nil {
				return nil, fmt.Errorf("encode %s: the batch has no column %s", e.table.Name, prefix+f.name+TargetSuffix)
			}
		}
	}
	for _, name := range e.parties {
		v := b.Column(prefix + name)
		if v == nil || v.Type != column.Text {
			return nil, fmt.Errorf("encode %s: the batch has no column %s of parties", e.table.Name, name)
		}
		r.parties = append(r.parties, v)
	}
	return r, nil
}

// ID is the record id of row i.
func (r *Rows) ID(i int) schema.GUID { return schema.GUID(r.ids.UUIDs[i]) }

// AppendTarget appends row i as an item of a bulk action's Targets: with its
// @odata.type and record id, if that is ours (dataverse-web-api.md 6.1).
func (r *Rows) AppendTarget(dst []byte, i int) []byte {
	r.fault = ""
	dst = append(dst, '{')
	dst = append(dst, r.e.typed...)
	if len(r.e.id) > 0 {
		dst = r.appendID(append(dst, ','), i)
	}
	dst = r.appendFields(dst, i)
	return append(dst, '}')
}

// LinkIDs are the record ids at the two ends of the N:N link in row i, in the
// order of schema.ManyToMany.
func (r *Rows) LinkIDs(i int) (id1, id2 schema.GUID) {
	for k := range r.e.fields {
		id := schema.GUID(r.values[k].UUIDs[i])
		if r.e.fields[k].name == r.e.table.Link.Column1 {
			id1 = id
		} else {
			id2 = id
		}
	}
	return id1, id2
}

func (r *Rows) appendID(dst []byte, i int) []byte {
	dst = append(dst, r.e.id...)
	dst = schema.GUID(r.ids.UUIDs[i]).Append(dst)
	return append(dst, '"')
}

// appendFields appends each field that has a value, led by a comma.
func (r *Rows) appendFields(dst []byte, i int) []byte {
	for k := range r.e.fields {
		if r.only != nil && !r.only[k] {
			continue
		}
		f, v := &r.e.fields[k], r.values[k]
		if f.kind == lookup {
			dst = r.appendLookup(dst, f, v, r.tables[k], i)
			continue
		}
		null := v.Null(i)
		if !null && v.Type == column.Text {
			text := v.TextAt(i)
			if len(text) > 0 {
				dst = r.appendText(append(dst, f.open...), f, text)
				continue
			}
			null = true // an empty text is stored as null (4.1)
		}
		switch {
		case !null:
			dst = appendValue(dst, f, v, i)
		case r.e.clear && !f.stays:
			dst = append(append(dst, f.key...), "null"...)
		}
	}
	return dst
}

func (r *Rows) appendLookup(dst []byte, f *field, v, tables *column.Vector, i int) []byte {
	if v.Null(i) {
		if r.e.clear {
			dst = append(append(dst, ','), f.targets[0].null...)
		}
		return dst
	}
	if f.nullOnly {
		return dst
	}
	t := &f.targets[0]
	if tables != nil {
		name := tables.TextAt(i)
		for k := range f.targets {
			if f.targets[k].table == string(name) {
				t = &f.targets[k]
			}
		}
	}
	dst = append(append(dst, ','), t.open...)
	dst = schema.GUID(v.UUIDs[i]).Append(dst)
	return append(dst, ')', '"')
}

// noonOfDay makes a time of a date, the same day in nearly every zone.
const noonOfDay = "T12:00:00Z"

// appendValue appends a field with a value that is no text.
func appendValue(dst []byte, f *field, v *column.Vector, i int) []byte {
	switch f.kind {
	case date:
		return append(appendDate(append(dst, f.open...), v.Ints[i]), '"')
	case noon:
		return append(appendDate(append(dst, f.open...), v.Ints[i]), noonOfDay+`"`...)
	case timestamp:
		return append(appendTimestamp(append(dst, f.open...), v.Ints[i]), '"')
	case boolean:
		return strconv.AppendBool(append(dst, f.key...), v.Ints[i] != 0)
	}
	switch v.Type {
	case column.Int:
		return strconv.AppendInt(append(dst, f.key...), v.Ints[i], 10)
	case column.Float:
		return appendFloat(append(dst, f.key...), v.Floats[i])
	case column.Decimal:
		return column.AppendDecimal(append(dst, f.key...), v.Wide[i], int(v.Scale))
	case column.UUID:
		return append(schema.GUID(v.UUIDs[i]).Append(append(dst, f.open...)), '"')
	}
	return append(append(dst, f.key...), "null"...)
}

// appendFloat appends a number, or OData's text for what JSON has no number for.
func appendFloat(dst []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return append(dst, `"NaN"`...)
	case math.IsInf(x, 1):
		return append(dst, `"INF"`...)
	case math.IsInf(x, -1):
		return append(dst, `"-INF"`...)
	}
	return strconv.AppendFloat(dst, x, 'f', -1, 64)
}

package load

import (
	"fmt"
	"slices"
	"time"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// Where Dataverse assigns a table's record ids, or a staged row matches a record that was
// there before, the id in the stage only stands for the row: (table, number). The ledger
// keeps the real one, and it takes the other's place as rows are read, before anything is
// encoded.

// translate puts the kept ids in the place of the stage's, in the row of a batch that has
// come from a scan and is not used again: those of lookups and parties, and the record's own unless
// it is yet to get one. why is what keeps the row from being sent; "" = nothing.
func (f *feeder) translate(b *column.Batch, seq uint32, i int) (why string, err error) {
	for k := range f.w.table.Lookups {
		l := &f.w.table.Lookups[k]
		v := b.Column(l.LogicalName)
		if v == nil || v.Null(i) {
			continue
		}
		t := targetOf(l, b.Column(l.LogicalName+mapping.TargetSuffix), i)
		if t == nil || !t.Kept {
			continue
		}
		id, known, err := f.l.keptID(t.Table, v.UUIDs[i])
		if err != nil {
			return "", err
		}
		if !known {
			return fmt.Sprintf("%s: Dataverse has given the %s it points to no id yet", l.LogicalName, t.Table), nil
		}
		v.UUIDs[i] = id
	}
	if err := f.translateWas(b, i); err != nil {
		return "", err
	}
	if why, err := f.translateParties(b, i); why != "" || err != nil {
		return why, err
	}
	if !f.w.table.KeptIDs() || f.w.insert() {
		return "", nil
	}
	own := b.Column(mapping.ID)
	id, kept, err := f.l.book.ID(f.w.table.Name, seq)
	switch {
	case err != nil:
		return "", err
	case kept:
		own.UUIDs[i] = id
	case f.w.table.ServerIDs:
		return "the ledger has no id of the record, which Dataverse has assigned", nil
	}
	return "", nil
}

// translateWas is translate for what the lookups of a row had. An id that is not known stays: no record has it.
func (f *feeder) translateWas(b *column.Batch, i int) error {
	for k := range f.w.table.Lookups {
		l := &f.w.table.Lookups[k]
		v := b.Column(wasPrefix + l.LogicalName)
		if v == nil || v.Null(i) {
			continue
		}
		t := targetOf(l, b.Column(wasPrefix+l.LogicalName+mapping.TargetSuffix), i)
		if t == nil || !t.Kept {
			continue
		}
		id, known, err := f.l.keptID(t.Table, v.UUIDs[i])
		if err != nil {
			return err
		}
		if known {
			v.UUIDs[i] = id
		}
	}
	return nil
}

// targetOf is the table that a lookup points to in a row.
func targetOf(l *mapping.Lookup, names *column.Vector, i int) *mapping.Target {
	if len(l.Targets) == 1 {
		return &l.Targets[0]
	}
	for k := range l.Targets {
		if names != nil && l.Targets[k].Table == string(names.TextAt(i)) {
			return &l.Targets[k]
		}
	}
	return nil
}

// keptID is the id in the target of the row that an id in the stage stands for. An id
// that stands for no row is the target's own.
func (l *Loader) keptID(table string, staged [16]byte) (id [16]byte, known bool, err error) {
	seq, ours := l.o.RecordSeq(table, staged)
	if !ours {
		return staged, true, nil
	}
	id, kept, err := l.book.ID(table, seq)
	if err != nil || kept {
		return id, kept, err
	}
	return staged, !l.o.Tables[table].ServerIDs, nil
}

// recordIDs are the ids to keep of the job's records: those that are others than the
// stage's.
func (j *job) recordIDs() []ledger.RecordID {
	if !j.w.insert() || !j.w.table.KeptIDs() {
		return nil
	}
	var out []ledger.RecordID
	for i, r := range j.results {
		if r.result == ledger.ResultSuccess && (j.w.table.ServerIDs || r.matched) {
			out = append(out, ledger.RecordID{Seq: j.seqs[i], ID: j.ids[i]})
		}
	}
	return out
}

// lateTime is how long a request may still be at work whose answer was lost: the longest
// that the client waits for one, and more than a plug-in may take.
const lateTime = 150 * time.Second

// comesLate reports whether a record that is not there may be made by a request that is
// under way still, and then be there twice: no id of ours and no key in the target
// forbids it.
func (w *work) comesLate() bool { return w.table.ServerIDs && !uniqueMatch(w.table) }

// uniqueMatch reports whether the table has an alternate key on the columns that tell its
// records apart.
func uniqueMatch(t *mapping.Table) bool {
	return slices.ContainsFunc(t.Schema.Keys, func(k schema.Key) bool {
		if k.Inactive || len(k.Columns) != len(t.Match) {
			return false
		}
		return !slices.ContainsFunc(k.Columns, func(c string) bool { return !slices.Contains(t.Match, c) })
	})
}

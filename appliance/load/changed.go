package load

import (
	"dvmigrate/appliance/mapping"
	"dvmigrate/duckstage/column"
	"dvmigrate/ledger"
)

// BeforeSuffix names the relation that says what the target is known to hold of the rows
// that wait for an update: <table>_before (dm_seq, dm_changed, and the table's own columns).
// The stage makes it.
const BeforeSuffix = "_before"

const (
	changedColumn = "dm_changed"
	wasPrefix     = "dm_was_"
)

// beforeQuery is what the scan of an update reads beside the row: the columns, and the relation
// that has them; "" where nobody knows what the target holds.
func (w *work) beforeQuery() (columns []string, from string) {
	if w.settings.Whole {
		return []string{"NULL::VARCHAR AS " + changedColumn}, ""
	}
	columns, list := []string{changedColumn}, "dm_seq, "+changedColumn
	if w.looksFirst() {
		for _, c := range w.encoder.StageColumns() {
			if c != mapping.ID {
				was := mapping.Ident(wasPrefix + c)
				columns, list = append(columns, was), list+", "+mapping.Ident(c)+" AS "+was
			}
		}
	}
	return columns, " LEFT JOIN (SELECT " + list + " FROM " + mapping.Ident(w.table.Name+BeforeSuffix) + ") USING (dm_seq)"
}

// parts tells for the rows of one batch what of them has changed.
type parts struct {
	w       *work
	known   map[string]*mapping.Part // by the names of the columns
	whole   *mapping.Part
	changed *column.Vector // nil: updates carry all
	base    *mapping.Rows  // what the columns had; nil: nobody asks
	last    *mapping.Part
}

func (p *parts) begin(w *work, b *column.Batch) (err error) {
	if !w.partial {
		return nil
	}
	if p.known == nil {
		p.w, p.known, p.whole = w, map[string]*mapping.Part{}, w.encoder.Whole()
	}
	p.changed = b.Column(changedColumn)
	if w.looksFirst() && !w.settings.Whole {
		p.base, err = w.encoder.RowsAs(b, wasPrefix)
	}
	return err
}

// of is what of row i has changed; nil where updates carry all.
func (p *parts) of(i int) *mapping.Part {
	if p.changed == nil {
		return nil
	}
	if p.last = p.whole; p.changed.Null(i) {
		return p.last
	}
	names := p.changed.TextAt(i)
	known, ok := p.known[string(names)]
	if !ok {
		known = p.w.encoder.Part(string(names), p.w.l.o.Plan.Deferred(p.w.table.Name))
		p.known[string(names)] = known
	}
	p.last = known
	return known
}

// owes are the passes that an update of all columns owes whatever its row has: the record may be
// in any state, and what it has of a file goes when the row has it no more. A new record owes
// neither, and an update of the columns that changed only what these ask for (Part.Owed).
func (w *work) owes(action ledger.Action, part *mapping.Part) (owed uint8) {
	if action != ledger.Update || w.removing != nil || w.table.Link != nil || part != nil && !part.Whole() {
		return 0
	}
	if w.table.HasState() {
		owed = mapping.OwesState
	}
	if w.table.HasFiles() {
		owed |= mapping.OwesFiles
	}
	return owed
}

// was is the record of what the changed columns of the row last asked for had; nil where
// that is not known or not asked.
func (p *parts) was(i int) []byte {
	if p.base == nil || p.last == p.whole {
		return nil
	}
	p.base.Only(p.last)
	return p.base.AppendTarget(nil, i)
}

// addPart says of the record added last what of it has changed. If that is nothing that the
// work sends, the record has it already.
func (j *job) addPart(p *mapping.Part, was []byte) {
	i := len(j.seqs) - 1
	j.parts, j.was = append(j.parts, p), append(j.was, was)
	j.owed[i] = p.Owed(j.owed[i])
	if p.Empty() && j.results[i].result == 0 {
		j.kept++
		j.results[i] = outcome{result: ledger.ResultSuccess}
	}
}

// withParties reports whether a record's update has parties that may have changed; withFields,
// columns of the record itself; withFile, the content of a file.
func (j *job) withParties(i int) bool { return len(j.parts) == 0 || j.parts[i].Parties() }
func (j *job) withFields(i int) bool  { return len(j.parts) == 0 || j.parts[i].Fields() }
func (j *job) withFile(i int, c mapping.Column) bool {
	return len(j.parts) == 0 || j.parts[i].File(c.LogicalName)
}

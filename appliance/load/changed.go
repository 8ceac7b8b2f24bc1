package load

import (
	"slices"
	"strings"

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
		for _, c := range w.judge.StageColumns() {
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
	known   map[string]part // by the names of the columns
	whole   part
	changed *column.Vector // nil: updates carry all
	now     *mapping.Rows  // what the columns are to have, and
	base    *mapping.Rows  // what they had; nil: nobody asks
	last    part
}

// part is what of a row has changed: as far as the work sends it, and as far as changes of others
// are told by it. In the main pass that takes in what later passes send, as a row is held before
// anything of it is sent; in that of deferred lookups the state, as it decides how a closed record is closed again.
type part struct {
	sent, judged *mapping.Part
	known        bool // it is known what the target had of it
}

func (p *parts) begin(w *work, b *column.Batch) (err error) {
	if !w.knows {
		return nil
	}
	if p.known == nil {
		p.w, p.known, p.whole = w, map[string]part{}, part{sent: w.encoder.Whole()}
		if w.judge != nil {
			p.whole.judged = w.judge.Whole()
		}
	}
	p.changed = b.Column(changedColumn)
	if w.judge == nil {
		return nil
	}
	if p.now, err = w.judge.Rows(b); err == nil && !w.settings.Whole {
		p.base, err = w.judge.RowsAs(b, wasPrefix)
	}
	return err
}

// of is what of row i has changed and is sent; nil where updates carry all.
func (p *parts) of(i int) *mapping.Part {
	if p.changed == nil {
		return nil
	}
	if p.last = p.whole; p.changed.Null(i) {
		return p.last.sent
	}
	names := p.changed.TextAt(i)
	known, ok := p.known[string(names)]
	if !ok {
		known = p.w.part(string(names))
		p.known[string(names)] = known
	}
	p.last = known
	return known.sent
}

func (w *work) part(names string) part {
	deferred := w.l.o.Plan.Deferred(w.table.Name)
	p := part{sent: w.encoder.Part(names, deferred), known: true}
	if w.judge == nil {
		return p
	}
	if w.pass != ledger.Main {
		names = strings.Join(slices.DeleteFunc(strings.Split(names, ","), func(name string) bool {
			return !stateColumn(name) && !(w.pass == ledger.Lookups && slices.Contains(deferred, name))
		}), ",")
	}
	p.judged = w.judge.Part(names, nil)
	if w.pass == ledger.State { // a state goes whole, also where it is owed for another reason than that it has changed
		p.sent, p.known = w.encoder.Whole(), names != ""
	}
	return p
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

// want is the record of what changes of others are told by, of the row last asked for; nil where the
// record itself has all of it, or nobody asks.
func (p *parts) want(i int) []byte {
	switch {
	case p.now == nil || p.w.pass == ledger.State || p.w.pass == ledger.Lookups && !p.last.known:
		return nil
	case p.last.known && !p.last.sent.Later():
		return nil
	}
	p.now.Only(p.last.judged)
	return p.now.AppendTarget(nil, i)
}

// was is the record of what the changed columns of the row last asked for had; nil where
// that is not known or not asked.
func (p *parts) was(i int) []byte {
	if p.base == nil || !p.last.known {
		return nil
	}
	p.base.Only(p.last.judged)
	return p.base.AppendTarget(nil, i)
}

// addPart says of the record added last what of it has changed. If that is nothing that the
// work sends, the record has it already; but where a later pass sends something it is looked first
// whether somebody else has changed that.
func (j *job) addPart(p *mapping.Part, want, was []byte) {
	i := len(j.seqs) - 1
	j.parts, j.want, j.was = append(j.parts, p), append(j.want, want), append(j.was, was)
	j.owed[i] = p.Owed(j.owed[i])
	if p.Empty() && j.results[i].result == 0 && want == nil {
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

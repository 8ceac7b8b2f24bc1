package mapping

import (
	"slices"
	"strings"
)

// Part is some of the columns that an Encoder writes, and what a record owes for them.
type Part struct {
	only    []bool // by field; nil: all
	fields  bool   // there are some
	parties bool
	files   []string // that take their content from files
	owes    uint8
}

// Part is the columns with these names, which stand with commas between; a name that the
// encoder does not write counts only for the passes that are owed for it.
func (e *Encoder) Part(names string, deferred []string) *Part {
	p := &Part{only: make([]bool, len(e.fields))}
	for name := range strings.SplitSeq(names, ",") {
		switch {
		case name == "":
			continue
		case stateName(name):
			p.owes |= OwesState
		case slices.Contains(deferred, name):
			p.owes |= OwesLookups
		case slices.ContainsFunc(e.table.Columns, func(c Column) bool { return c.Late && c.LogicalName == name }):
			p.owes |= OwesFiles
		}
		if slices.Contains(e.files, name) {
			p.files = append(p.files, name)
		}
		for k := range e.fields { // a state and its reason go together
			if e.fields[k].name == name || e.state && stateName(name) && stateName(e.fields[k].name) {
				p.only[k], p.fields = true, true
			}
		}
		if slices.Contains(e.parties, name) {
			p.parties = true
		}
	}
	return p
}

// Whole is all that the encoder writes.
func (e *Encoder) Whole() *Part {
	return &Part{fields: len(e.fields) > 0, parties: len(e.parties) > 0, files: e.files}
}

func stateName(name string) bool { return name == "statecode" || name == "statuscode" }

// Whole reports whether it is all that the encoder writes.
func (p *Part) Whole() bool { return p.only == nil }

// Empty reports whether there is nothing to write.
func (p *Part) Empty() bool { return !p.fields && !p.parties && len(p.files) == 0 }

// Later reports whether a lookup or a state is among the columns that a pass of its own sends.
func (p *Part) Later() bool { return p.owes&(OwesLookups|OwesState) != 0 }

// Fields reports whether there is something to write in the record itself.
func (p *Part) Fields() bool { return p.fields }

// File reports whether a column that takes its content from files is among the columns.
func (p *Part) File(name string) bool { return slices.Contains(p.files, name) }

// Owed are the passes of owed that are due for these columns. Of a changed state, and of a
// changed file, also those that make a record active again or clear what it has, which a new
// record does not owe.
func (p *Part) Owed(owed uint8) uint8 {
	if p.only == nil {
		return owed
	}
	return owed&p.owes | p.owes&(OwesState|OwesFiles)
}

// Parties reports whether an activity's parties are among the columns.
func (p *Part) Parties() bool { return p.parties }

// Only makes the rows be written with these columns alone from now on.
func (r *Rows) Only(p *Part) { r.only = p.only }

package mapping

import (
	"slices"
	"strings"
)

// Part is some of the columns that an Encoder writes, and what a record owes for them.
type Part struct {
	only    []bool // by field; nil: all
	parties bool
	none    bool
	owes    uint8
}

// Part is the columns with these names, which stand with commas between; a name that the
// encoder does not write counts only for the passes that are owed for it.
func (e *Encoder) Part(names string, deferred []string) *Part {
	p := &Part{only: make([]bool, len(e.fields)), none: true}
	for name := range strings.SplitSeq(names, ",") {
		switch {
		case name == "":
			continue
		case stateName(name):
			p.owes |= OwesState
		case slices.Contains(deferred, name):
			p.owes |= OwesLookups
		}
		for k := range e.fields { // a state and its reason go together
			if e.fields[k].name == name || e.state && stateName(name) {
				p.only[k], p.none = true, false
			}
		}
		if slices.Contains(e.parties, name) {
			p.parties, p.none = true, false
		}
	}
	return p
}

// Whole is all that the encoder writes.
func (e *Encoder) Whole() *Part { return &Part{parties: len(e.parties) > 0} }

func stateName(name string) bool { return name == "statecode" || name == "statuscode" }

// Whole reports whether it is all that the encoder writes.
func (p *Part) Whole() bool { return p.only == nil }

// Empty reports whether there is nothing to write.
func (p *Part) Empty() bool { return p.none }

// Owed are the passes of owed that are due for these columns; of a changed state also the
// one that makes a record active again, which a new record does not owe.
func (p *Part) Owed(owed uint8) uint8 {
	if p.only == nil {
		return owed
	}
	return owed&p.owes | p.owes&OwesState
}

// Parties reports whether an activity's parties are among the columns.
func (p *Part) Parties() bool { return p.parties }

// Only makes the rows be written with these columns alone from now on.
func (r *Rows) Only(p *Part) { r.only = p.only }

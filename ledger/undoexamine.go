package ledger

import (
	"errors"
	"fmt"
)

// Examine checks a journal of changes that was read, whose checksums were compared by that: what is damaged, and
// that every entry is of records that the ledger knows.
func (u *Undo) Examine(tables []Table) *Part {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := &Part{Name: "journal of changes", Unit: "entries", Checked: int64(len(u.frames)), Faults: []string{}}
	counts := map[string]uint32{}
	for _, t := range tables {
		counts[t.Name] = t.Count
	}
	for i := range u.damages {
		d := &u.damages[i]
		p.fault(errors.New(d.String()))
	}
	for _, f := range u.frames {
		count, known := counts[f.table]
		switch last := f.ranges[len(f.ranges)-1].To; {
		case !known:
			p.fault(fmt.Errorf("the entry at byte %d is of table %s, which the ledger does not have", f.at, f.table))
		case last > count:
			p.fault(fmt.Errorf("the entry at byte %d is of record %d of %s, which has %d", f.at, last-1, f.table, count))
		}
	}
	return p
}

// Size is how many bytes the journal has, without what a crash left half written.
func (u *Undo) Size() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.size
}

// Torn is how many bytes a crash left half written at its end: the next load cuts them off.
func (u *Undo) Torn() int64 { return u.torn }

package ledger

import (
	"encoding/binary"
	"errors"
)

// numCells is the number of values of word.cell: 7 bits of flag, action and pass.
const numCells = 1 << 7

// Counts says how many of a table's records are in which state. It is a copy: it does not change.
type Counts struct {
	Total   uint32 // records of the table
	cells   [numCells]uint32
	classes [2][256]uint32 // Failed, Held by class
}

// sum adds the cells that choose takes.
func (c *Counts) sum(choose func(Entry) bool) (n int) {
	for i, k := range c.cells {
		if k != 0 && choose(word(i).entry(0)) {
			n += int(k)
		}
	}
	return n
}

// Flag is the number of records with flag f, whatever their action. Unprocessed includes Nothing.
func (c Counts) Flag(f Flag) int {
	return c.sum(func(e Entry) bool { return e.Flag == f })
}

// Action is the number of records whose action is a, whatever their flag.
func (c Counts) Action(a Action) int {
	return c.sum(func(e Entry) bool { return e.Action == a })
}

// Of is the number of records with flag f at pass p with action a.
func (c Counts) Of(f Flag, p Pass, a Action) int {
	return c.sum(func(e Entry) bool { return e.Flag == f && e.Pass == p && e.Action == a })
}

// Waiting is the number of records that Next would hand out for pass p.
func (c Counts) Waiting(p Pass) int {
	return c.sum(func(e Entry) bool { return e.Flag == waiting(p) && e.Pass == p && e.Action != Nothing })
}

// Class is the number of records with flag f (Failed or Held) and error class class.
func (c Counts) Class(f Flag, class uint8) int {
	if !f.failing() {
		return 0
	}
	return int(c.classes[f-Failed][class])
}

// add counts n records (may be negative) with word w.
func (c *Counts) add(w word, n int) {
	c.cells[w.cell()] += uint32(n)
	if f := w.flag(); f.failing() {
		c.classes[f-Failed][w.class()] += uint32(n)
	}
}

// classKey is the key of the first class of Failed in the stored form; those of Held follow.
const classKey = 0x100

// encode writes the counts that are not zero, ascending: key u16 (a cell, or classKey + 256 for Held +
// class), n u32. Total is not stored: it is the table's count.
func (c *Counts) encode() []byte {
	var b []byte
	put := func(key int, n uint32) {
		if n != 0 {
			b = binary.BigEndian.AppendUint16(b, uint16(key))
			b = binary.BigEndian.AppendUint32(b, n)
		}
	}
	for i, n := range c.cells {
		put(i, n)
	}
	for f := range c.classes {
		for class, n := range c.classes[f] {
			put(classKey+f<<8+class, n)
		}
	}
	return b
}

// decodeCounts is the reverse of encode.
func decodeCounts(b []byte, total uint32) (*Counts, error) {
	c := &Counts{Total: total}
	last := -1
	for ; len(b) >= 6; b = b[6:] {
		key, n := int(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint32(b[2:])
		switch {
		case key <= last || n == 0:
			return nil, errors.New("counts are not in order")
		case key < numCells:
			c.cells[key] = n
		case key >= classKey && key < classKey+2<<8:
			c.classes[(key-classKey)>>8][key&0xff] = n
		default:
			return nil, errors.New("count of an unknown state")
		}
		last = key
	}
	if len(b) != 0 {
		return nil, errors.New("counts are cut short")
	}
	return c, nil
}

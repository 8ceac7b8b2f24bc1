package emulator

import "encoding/binary"

// arena holds encoded rows end to end in large slabs, so that ten million rows are
// a few thousand objects to the collector. A slot is its capacity and length
// (uvarints) and the bytes; its place is slab<<32 | offset.
type arena struct {
	slabs [][]byte
	total int64 // bytes in slots
	dead  int64 // of them in slots no longer used
}

const maxSlab = 1 << 20

// put stores data in a new slot.
func (a *arena) put(data []byte) uint64 {
	need := len(data) + 2*binary.MaxVarintLen32
	last := len(a.slabs) - 1
	if last < 0 || cap(a.slabs[last])-len(a.slabs[last]) < need {
		a.slabs = append(a.slabs, make([]byte, 0, max(need, int(min(maxSlab, max(4096, a.total))))))
		last++
	}
	slab := a.slabs[last]
	at := len(slab)
	slab = binary.AppendUvarint(slab, uint64(len(data)))
	slab = binary.AppendUvarint(slab, uint64(len(data)))
	slab = append(slab, data...)
	a.slabs[last] = slab
	a.total += int64(len(slab) - at)
	return uint64(last)<<32 | uint64(at)
}

// get returns the bytes in a slot; they stay valid until the slot is replaced.
func (a *arena) get(at uint64) []byte {
	slot := a.slabs[at>>32][uint32(at):]
	_, n := binary.Uvarint(slot)
	l, m := binary.Uvarint(slot[n:])
	return slot[n+m : n+m+int(l)]
}

// replace stores data in the slot when it fits, else in a new one; it returns the
// place.
func (a *arena) replace(at uint64, data []byte) uint64 {
	slot := a.slabs[at>>32][uint32(at):]
	room, n := binary.Uvarint(slot)
	_, m := binary.Uvarint(slot[n:])
	if len(data) > int(room) || uvarintLen(len(data)) != m {
		a.drop(at)
		return a.put(data)
	}
	binary.PutUvarint(slot[n:], uint64(len(data)))
	copy(slot[n+m:], data)
	return at
}

// drop marks a slot unused.
func (a *arena) drop(at uint64) {
	slot := a.slabs[at>>32][uint32(at):]
	room, n := binary.Uvarint(slot)
	a.dead += int64(room) + int64(2*n)
}

// wasteful reports whether rewriting the arena would free at least half of much.
func (a *arena) wasteful() bool { return a.dead > 16<<20 && a.dead > a.total/2 }

func uvarintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}

package reconcile

import "dvmigrate/ledger"

// presence is whether the target has a record, by the ledger.
type presence uint8

const (
	absent  presence = iota // never sent, refused, held back, or deleted
	unsure                  // in flight: the answer was lost, and load has not looked it up yet
	present                 // its insert was applied
)

// expectation is what an entry of the ledger leads us to expect of the target.
type expectation struct {
	presence presence
	values   bool // what was written reads back; false while an update is yet to be sent
	lookups  bool // the deferred lookups too
	files    bool // the content of files too
	state    bool // state and status reason too
}

// expect is what the ledger's state machine (ledger/transition.go) says of the
// target. Each pass comes after the one before, so a record at a later pass has
// what the earlier ones write.
func expect(e ledger.Entry) expectation {
	done := e.Flag == ledger.Processed
	switch {
	case e.Action == ledger.Delete && (done || e.Flag == ledger.Success):
		return expectation{presence: absent}
	case e.Action == ledger.Delete && e.Flag == ledger.InFlight:
		return expectation{presence: unsure}
	case e.Action == ledger.Delete:
		return expectation{presence: present}
	case done, e.Flag == ledger.Success, e.Pass != ledger.Main:
		return expectation{presence: present, values: true, lookups: done || e.Pass > ledger.Lookups, files: done || e.Pass > ledger.Files, state: done}
	case e.Action == ledger.Update:
		return expectation{presence: present}
	case e.Flag == ledger.InFlight:
		return expectation{presence: unsure}
	}
	return expectation{presence: absent}
}

// ReadBackSQL selects dm_seq of the rows with presence and values from a relation of flags:
// dm_seq, action, flag and pass, as words.
func ReadBackSQL(flags string) string {
	return "SELECT dm_seq FROM " + flags + " WHERE action <> 'D' AND (flag IN ('S', 'P') OR pass <> 'main')"
}

// seqSet is a set of record numbers below a fixed count, one bit each: 15 MB for
// 120 million records.
type seqSet struct {
	bits  []uint64
	count uint32
}

func newSeqSet(count uint32) seqSet {
	return seqSet{bits: make([]uint64, (uint64(count)+63)/64), count: count}
}

func (s seqSet) has(seq uint32) bool {
	return seq < s.count && s.bits[seq/64]&(1<<(seq%64)) != 0
}

// add reports whether seq is new in the set. A seq beyond the count is always new.
func (s seqSet) add(seq uint32) bool {
	if seq >= s.count {
		return true
	}
	bit := uint64(1) << (seq % 64)
	fresh := s.bits[seq/64]&bit == 0
	s.bits[seq/64] |= bit
	return fresh
}

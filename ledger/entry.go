package ledger

import (
	"fmt"
	"time"
)

// Action is what is to be done with a record (method.md M3). Stored: the numbers are part of the format.
type Action uint8

// The actions.
const (
	Nothing Action = iota // N: the zero value; the record is in no plan and is owed nothing
	Insert                // I
	Update                // U
	Delete                // D

	numActions = 4
)

// String is the letter of method.md M3.
func (a Action) String() string { return letter("NIUD", uint8(a)) }

// Flag is how far a record is (method.md M3). Stored: the numbers are part of the format.
// transition.go says who moves a record out of each.
type Flag uint8

// The processing flags.
const (
	Unprocessed Flag = iota // U: the zero value; with an action other than Nothing it waits for the main pass
	InFlight                // F: claimed; sent, or about to be, and no outcome recorded yet
	Success                 // S: the target has the row and a later pass, Entry.Pass, is owed
	Processed               // P: everything this migration owes the record is done
	Failed                  // E: refused; Entry.Pass says at which step
	Held                    // H: held back without being sent; Entry.Pass says before which step

	numFlags = 6
)

// String is the letter of method.md M3.
func (f Flag) String() string { return letter("UFSPEH", uint8(f)) }

// failing reports whether entries with this flag have a Failure.
func (f Flag) failing() bool { return f == Failed || f == Held }

// Pass is the step a record is at or owes next. Stored: the numbers are part of the format.
type Pass uint8

// The passes, in their order.
const (
	Main    Pass = iota // the action itself: insert, update or delete
	Lookups             // lookups left empty at first because of a cycle
	Files               // file and image columns
	State               // state and status reason

	numPasses = 4
)

// String is the pass's name in messages.
func (p Pass) String() string {
	if p >= numPasses {
		return fmt.Sprintf("pass %d", uint8(p))
	}
	return [...]string{"main", "lookups", "files", "state"}[p]
}

func letter(letters string, i uint8) string {
	if int(i) >= len(letters) {
		return fmt.Sprintf("?%d", i)
	}
	return letters[i : i+1]
}

// maxAttempts is where Entry.Attempts stops counting.
const maxAttempts = 63

// Entry is what the ledger knows of one record.
type Entry struct {
	Action   Action
	Flag     Flag
	Pass     Pass   // Main for Processed
	Attempts uint8  // claims since the record was planned, less those released uncounted and those that ended held, unsent; stops at 63
	Class    uint8  // class of error, meaningful for Failed and Held only; the loader defines the classes
	Time     uint32 // unix seconds of the last change; 0: never changed
}

// Changed is Time as a time; the zero time when the entry never changed.
func (e Entry) Changed() time.Time {
	if e.Time == 0 {
		return time.Time{}
	}
	return time.Unix(int64(e.Time), 0).UTC()
}

// String shows the entry in messages: "I/E lookups, 3 attempts, class 7".
func (e Entry) String() string {
	s := fmt.Sprintf("%s/%s %s, %d attempts", e.Action, e.Flag, e.Pass, e.Attempts)
	if e.Flag.failing() {
		s += fmt.Sprintf(", class %d", e.Class)
	}
	return s
}

// Range is a stretch of records: From included, To not.
type Range struct{ From, To uint32 }

// Len is the number of records in the range.
func (r Range) Len() int { return int(r.To) - int(r.From) }

func (r Range) String() string { return fmt.Sprintf("[%d,%d)", r.From, r.To) }

// One is the range of a single record.
func One(seq uint32) Range { return Range{seq, seq + 1} }

// Span is a stretch of neighbouring records with equal entries.
type Span struct {
	Range
	Entry
}

// String resolves the two embedded Strings.
func (s Span) String() string { return s.Range.String() + " " + s.Entry.String() }

// word is an entry without its time as it is stored: bits 0-2 flag, 3-4 action, 5-6 pass,
// 7-12 attempts, 13-20 class. The frequent entries are small numbers, for the varints of page.go.
type word uint32

const maxWord word = 1<<21 - 1

func (e Entry) word() word {
	return word(e.Flag) | word(e.Action)<<3 | word(e.Pass)<<5 | word(e.Attempts)<<7 | word(e.Class)<<13
}

func (w word) flag() Flag { return Flag(w & 7) }

// cell numbers flag, action and pass together; it indexes Counts.
func (w word) cell() int { return int(w & 127) }

func (w word) class() uint8 { return uint8(w >> 13) }

func (w word) entry(t uint32) Entry {
	return Entry{
		Flag:     w.flag(),
		Action:   Action(w >> 3 & 3),
		Pass:     Pass(w >> 5 & 3),
		Attempts: uint8(w >> 7 & maxAttempts),
		Class:    w.class(),
		Time:     t,
	}
}

// valid reports whether a stored word can have been written by this package.
func (w word) valid() bool {
	return w <= maxWord && w.flag() < numFlags && checkEntry(w.entry(0)) == nil
}

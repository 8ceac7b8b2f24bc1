package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"sync"
	"time"
)

// Undo is the journal of what each generation did to the target, and of what records had before it
// changed them: what a way back needs and the entries do not keep. It is a file of its own beside the
// ledger, because it grows with the updates and is read only by a rollback, while the ledger stays small
// and is checked at every open. UNDO.md describes it byte by byte.
//
// A method that adds returns when what it added is durable, and only then may the request leave. It may
// say more than what happened: an intent whose request was refused, or sent a second time. Who reads
// it asks the ledger what the target has, and the oldest of several images counts.
//
// Its methods may be called from several goroutines. After a failed write every later one fails:
// what the disk holds is known only after a new open.
type Undo struct {
	path       string
	generation uint32

	mu      sync.Mutex // guards what follows, and the order of the file
	file    *os.File   // nil: open for reading only
	began   time.Time  // when the file was made
	size    int64
	synced  int64     // what lies before is on the disk
	marked  int64     // and the file itself says so of what lies before
	noted   Journaled // what the ledger knew of it when it was opened
	torn    int64     // bytes at the end that a crash left half written
	err     error
	frames  []undoFrame
	damages []Damage
	made    map[string]*Ranges // of this generation: records that were claimed to be made
	found   map[string]*Ranges // and of them those that were there before

	syncing sync.Mutex // one at a time; taken before mu
}

// Image is what a record had before it was changed.
type Image struct {
	Seq   uint32
	Had   []byte // values by column
	Wrote []byte // what it was given instead, by column
}

// Found says whether a record was there before this migration made it.
type Found uint8

// The findings.
const (
	FoundNot   Found = iota // the record is this migration's, or it was said before
	FoundMaybe              // it was there when it was to be made: from before, or from a request whose answer was lost
	FoundThere              // it was there from before
)

type undoKind uint8

const (
	undoClaimed undoKind = iota + 1 // records are about to be made, or deleted
	undoImages                      // what records have that are about to be changed
	undoMaybe                       // the same, of records that may have been there before
	undoThere                       // the same, of records that were
	undoBack                        // what generations from this one on did to records is undone
	undoMark                        // how much of the file is on the disk
)

// undoFrame is one addition to the journal.
type undoFrame struct {
	at         int64 // of the frame in the file
	damaged    bool  // its images cannot be read; what records they are of is known
	kind       undoKind
	action     Action // of undoClaimed
	generation uint32
	table      string
	ranges     []Range
}

const (
	undoMagic  = "dvmundo2"
	undoHead   = len(undoMagic) + 16 + 8 // the project's id and when the file was made follow
	frameHead  = 8                       // length and checksum
	maxFrame   = 1 << 28
	tornAtMost = 1 << 26 // what a crash may leave at the end that was never said to be durable
)

// OpenUndo opens the journal at path, or makes it. What a crash left half written at its end is cut
// off: nobody was told that it is durable. noted is what the ledger knows of it (Ledger.Journaled); generation is
// that of what is going to be added.
func OpenUndo(path string, set [16]byte, noted Journaled, generation uint32) (*Undo, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal of changes: %w", err)
	}
	u := &Undo{path: path, generation: generation, file: f, noted: noted}
	if err := u.begin(set); err != nil {
		f.Close()
		return nil, fmt.Errorf("open the journal of changes %s: %w", path, classify(err))
	}
	return u, nil
}

// begin reads what is there and goes on behind it.
func (u *Undo) begin(set [16]byte) error {
	end, err := u.read(u.file, set)
	if err != nil {
		return err
	}
	if end == 0 {
		if u.began = time.Now(); u.began.Unix() == u.noted.Began { // of which the ledger is not to think that it is the former one
			u.began = u.began.Add(time.Second)
		}
		head := append([]byte(undoMagic), set[:]...)
		if _, err := u.file.WriteAt(binary.BigEndian.AppendUint64(head, uint64(u.began.Unix())), 0); err != nil {
			return err
		}
		end = int64(undoHead)
	}
	// One that was cut short gets its length back: the hole is damage, and the mark behind it says so, and of whom.
	if err := u.file.Truncate(end); err != nil {
		return err
	}
	if slices.ContainsFunc(u.damages, func(d Damage) bool { return d.To > u.marked }) && u.noted.Generation > 0 {
		mark := framed(markPayload(u.noted.Generation, end))
		if _, err := u.file.WriteAt(mark, end); err != nil {
			return err
		}
		u.marked, end = end, end+int64(len(mark))
	}
	if err := errors.Join(u.file.Sync(), syncDir(u.path)); err != nil {
		return err
	}
	u.size, u.synced, u.torn = end, end, 0
	u.made, u.found = map[string]*Ranges{}, map[string]*Ranges{}
	for _, f := range u.frames {
		u.remember(f)
	}
	return nil
}

// Claimed notes that records are about to be made (Insert) or deleted (Delete).
func (u *Undo) Claimed(table string, action Action, ranges []Range) error {
	return u.add(undoFrame{kind: undoClaimed, action: action, table: table, ranges: ranges}, nil)
}

// Keep notes what records have that are about to be changed.
func (u *Undo) Keep(table string, found Found, images []Image) error {
	if len(images) == 0 {
		return nil
	}
	images = slices.Clone(images)
	slices.SortStableFunc(images, func(a, b Image) int { return int(int64(a.Seq) - int64(b.Seq)) })
	f := undoFrame{kind: undoImages + undoKind(found), table: table}
	for _, m := range images {
		f.ranges = addSeq(f.ranges, m.Seq)
	}
	body, err := packImages(images)
	if err != nil {
		return err
	}
	return u.add(f, body)
}

// Undone notes that what the generations from since on did to records is undone.
func (u *Undo) Undone(since uint32, table string, ranges []Range) error {
	return u.add(undoFrame{kind: undoBack, generation: since, table: table, ranges: ranges}, nil)
}

// Made reports whether this generation has made the record, so that it had nothing before.
func (u *Undo) Made(table string, seq uint32) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.made[table].Has(seq) && !u.found[table].Has(seq)
}

// add appends a frame and returns when it is durable. Those who come meanwhile share a sync.
func (u *Undo) add(f undoFrame, body []byte) error {
	if len(f.ranges) == 0 {
		return nil
	}
	f.ranges = slices.Clone(f.ranges)
	if f.kind != undoBack {
		f.generation = u.generation
	}
	end, err := u.write(f, framed(append(f.encode(), body...)))
	if err != nil {
		return err
	}
	u.syncing.Lock()
	defer u.syncing.Unlock()
	u.mu.Lock()
	written, done, err := u.size, u.synced >= end, u.err
	u.mu.Unlock()
	if done || err != nil {
		return err
	}
	if err := u.file.Sync(); err != nil {
		return u.fail(err)
	}
	u.mu.Lock()
	u.synced = written
	u.mu.Unlock()
	return nil
}

// framed puts length and checksum before a payload.
func framed(payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, frameHead+len(payload)), uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, crcTable))
	return append(b, payload...)
}

// write puts a frame behind the others, and before it how much is on the disk where that has become more.
func (u *Undo) write(f undoFrame, b []byte) (end int64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.err != nil:
		return 0, u.err
	case u.file == nil:
		return 0, ErrReadOnly
	}
	mark := u.mark()
	if _, err := u.file.WriteAt(append(mark, b...), u.size); err != nil {
		return 0, u.poison(err)
	}
	f.at = u.size + int64(len(mark))
	u.frames = append(u.frames, f)
	u.remember(f)
	u.size += int64(len(mark) + len(b))
	return u.size, nil
}

// mark is a frame that says how much is on the disk; empty where the file says it already. With mu held.
func (u *Undo) mark() []byte {
	if u.marked >= u.synced {
		return nil
	}
	u.marked = u.synced
	return framed(markPayload(u.generation, u.synced))
}

func (u *Undo) fail(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.poison(err)
}

// poison ends the journal as a failed commit ends the ledger: nothing is added after what
// may be half written. With mu held.
func (u *Undo) poison(err error) error {
	if err = classify(err); !errors.Is(err, ErrFull) {
		err = fmt.Errorf("%w: %w", ErrPoisoned, err)
	}
	u.err = fmt.Errorf("write the journal of changes %s: %w", u.path, err)
	return u.err
}

// remember keeps what Made has to know.
func (u *Undo) remember(f undoFrame) {
	in := func(m map[string]*Ranges) *Ranges {
		if m[f.table] == nil {
			m[f.table] = &Ranges{}
		}
		return m[f.table]
	}
	switch {
	case f.kind == undoBack && f.generation <= u.generation:
		in(u.made).Remove(f.ranges)
		in(u.found).Remove(f.ranges)
	case f.generation != u.generation:
	case f.kind == undoClaimed && f.action == Insert:
		in(u.made).Add(f.ranges)
	case f.kind == undoMaybe || f.kind == undoThere:
		in(u.found).Add(f.ranges)
	}
}

// Close closes the file. What was added is durable already; the file says so then.
func (u *Undo) Close() error {
	if u.file == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if mark := u.mark(); u.err == nil && mark != nil {
		if _, err := u.file.WriteAt(mark, u.size); err == nil && u.file.Sync() == nil { // without it nothing is lost
			u.size += int64(len(mark))
			u.synced = u.size
		}
	}
	return u.file.Close()
}

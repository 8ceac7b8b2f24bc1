package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
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

	mu     sync.Mutex // guards what follows, and the order of the file
	file   *os.File   // nil: open for reading only
	size   int64
	err    error
	frames []undoFrame
	made   map[string]*Ranges // of this generation: records that were claimed to be made
	found  map[string]*Ranges // and of them those that were there before

	syncing sync.Mutex // taken before mu
	synced  int64      // guarded by syncing
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
)

// undoFrame is one addition to the journal.
type undoFrame struct {
	at         int64 // of the frame in the file
	kind       undoKind
	action     Action // of undoClaimed
	generation uint32
	table      string
	ranges     []Range
}

const (
	undoMagic  = "dvmundo1"
	undoHead   = len(undoMagic) + 16 // the project's id follows
	frameHead  = 8                   // length and checksum
	maxFrame   = 1 << 28
	tornAtMost = 1 << 26 // what a crash may leave at the end that was never said to be durable
)

// OpenUndo opens the journal at path, or makes it. What a crash left half written at its end is cut
// off: nobody was told that it is durable. generation is that of what is going to be added.
func OpenUndo(path string, set [16]byte, generation uint32) (*Undo, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal of changes: %w", err)
	}
	u := &Undo{path: path, generation: generation, file: f}
	if err := u.begin(set); err != nil {
		f.Close()
		return nil, fmt.Errorf("open the journal of changes %s: %w", path, classify(err))
	}
	return u, nil
}

// ReadUndo reads the journal at path, without changing it. One that is not there is empty.
func ReadUndo(path string, set [16]byte) (*Undo, error) {
	u := &Undo{path: path}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of changes: %w", err)
	}
	defer f.Close()
	if _, err := u.read(f, set); err != nil {
		return nil, fmt.Errorf("read the journal of changes %s: %w", path, err)
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
		head := append([]byte(undoMagic), set[:]...)
		if _, err := u.file.WriteAt(head, 0); err != nil {
			return err
		}
		end = int64(undoHead)
	}
	if err := errors.Join(u.file.Truncate(end), u.file.Sync(), syncDir(u.path)); err != nil {
		return err
	}
	u.size, u.synced = end, end
	u.made, u.found = map[string]*Ranges{}, map[string]*Ranges{}
	for _, f := range u.frames {
		u.remember(f)
	}
	return nil
}

// read lists the frames and says where they end; 0 where not even the head is whole.
func (u *Undo) read(f *os.File, set [16]byte) (end int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, undoHead)
	switch _, err := io.ReadFull(r, head); {
	case (err == io.EOF || err == io.ErrUnexpectedEOF) && info.Size() < int64(undoHead):
		return 0, nil
	case err != nil:
		return 0, err
	case string(head[:len(undoMagic)]) != undoMagic:
		return 0, ErrNotLedger
	case [16]byte(head[len(undoMagic):]) != set && set != [16]byte{}:
		return 0, ErrOtherSet
	}
	end = int64(undoHead)
	var buf []byte
	for {
		payload, err := readFrame(r, buf, info.Size()-end)
		var frame undoFrame
		if err == nil {
			frame, _, err = parseFrame(payload)
		}
		if err != nil {
			if left := info.Size() - end; left > tornAtMost {
				return 0, fmt.Errorf("%w: %v at byte %d, and %d more follow", ErrDamaged, err, end, left)
			}
			return end, nil
		}
		buf = payload
		frame.at = end
		u.frames = append(u.frames, frame)
		end += frameHead + int64(len(payload))
	}
}

// readFrame reads a frame's payload, of which at most left bytes with the head can be there.
func readFrame(r io.Reader, buf []byte, left int64) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxFrame || int64(n) > left-frameHead {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	if crc32.Checksum(buf, crcTable) != binary.BigEndian.Uint32(head[4:]) {
		return nil, errors.New("a checksum that is wrong")
	}
	return buf, nil
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
	payload := append(f.encode(), body...)
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(payload, crcTable))
	end, err := u.write(f, append(head, payload...))
	if err != nil {
		return err
	}
	u.syncing.Lock()
	defer u.syncing.Unlock()
	if u.synced >= end {
		return nil
	}
	u.mu.Lock()
	end, err = u.size, u.err
	u.mu.Unlock()
	if err != nil {
		return err
	}
	if err := u.file.Sync(); err != nil {
		return u.fail(err)
	}
	u.synced = end
	return nil
}

func (u *Undo) write(f undoFrame, b []byte) (end int64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.err != nil:
		return 0, u.err
	case u.file == nil:
		return 0, ErrReadOnly
	}
	if _, err := u.file.WriteAt(b, u.size); err != nil {
		return 0, u.poison(err)
	}
	f.at = u.size
	u.frames = append(u.frames, f)
	u.remember(f)
	u.size += int64(len(b))
	return u.size, nil
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

// Close closes the file. What was added is durable already.
func (u *Undo) Close() error {
	if u.file == nil {
		return nil
	}
	return u.file.Close()
}

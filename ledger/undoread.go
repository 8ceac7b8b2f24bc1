package ledger

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"time"
)

// What is wrong in a journal of changes is one of two things. A crash leaves its end half written: nobody
// was told that that is durable, and it is cut off. Damage strikes what was durable: it is left as it
// is, and passed over. Marks in the file tell one from the other: each says how much was on the disk when it was
// written; and so does the ledger, which also knows of what is no longer there, as the file was cut short.

// Damage is a part of the journal of changes that cannot be read.
type Damage struct {
	From, To int64 // bytes of the file
	// Table and Ranges say whose former values it held; Table is "" where that cannot be read either.
	Table  string
	Ranges []Range
	// First and Last are the generations of which it may have told.
	First, Last uint32
}

// Known reports whether it is known which records it told of.
func (d *Damage) Known() bool { return d.Table != "" }

func (d *Damage) String() string {
	where := fmt.Sprintf("bytes %d to %d cannot be read", d.From, d.To)
	if !d.Known() {
		return where + ": what they told is not known"
	}
	set := Ranges{}
	set.Add(d.Ranges)
	return fmt.Sprintf("%s: what %d records of %s had", where, set.Len(), d.Table)
}

// Damages are the parts that cannot be read.
func (u *Undo) Damages() []Damage {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.damages)
}

// Incomplete reports whether something that the generations from since on did may be missing, and it is
// not known of which records.
func (u *Undo) Incomplete(since uint32) bool {
	return slices.ContainsFunc(u.Damages(), func(d Damage) bool { return !d.Known() && d.Last >= since })
}

// Began is when the journal was begun: of what was loaded before it knows nothing. The zero time where there
// is none.
func (u *Undo) Began() time.Time { return u.began }

// ReadUndo reads the journal at path, without changing it. One that is not there is empty. noted is what the
// ledger knew of it before.
func ReadUndo(path string, set [16]byte, noted Journaled) (*Undo, error) {
	u := &Undo{path: path, noted: noted}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of changes: %w", err)
	}
	defer f.Close()
	if u.size, err = u.read(f, set); err != nil {
		return nil, fmt.Errorf("read the journal of changes %s: %w", path, err)
	}
	return u, nil
}

// read lists the frames and says where they end; 0 where not even the head is whole.
func (u *Undo) read(f *os.File, set [16]byte) (end int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	head := make([]byte, undoHead)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	switch magic := string(head[:min(n, len(undoMagic))]); {
	case magic == "dvmundo1": // of before the first release
		return 0, ErrFormat
	case magic != undoMagic[:len(magic)]:
		return 0, ErrNotLedger
	case n >= len(undoMagic)+16 && [16]byte(head[len(undoMagic):]) != set && set != [16]byte{}:
		return 0, ErrOtherSet
	case n < undoHead: // cut short when it was made
		u.torn = info.Size()
		return 0, nil
	}
	u.began = time.Unix(int64(binary.BigEndian.Uint64(head[len(undoMagic)+16:])), 0)
	s := undoScan{u: u, file: f, size: info.Size(), at: int64(undoHead)}
	if err := s.run(); err != nil {
		return 0, err
	}
	return s.finish(), nil
}

// undoScan goes through a journal.
type undoScan struct {
	u          *Undo
	file       *os.File
	size       int64 // of the file when it began: others may add to it meanwhile
	at         int64
	buf        []byte
	generation uint32 // of who wrote what was read last
}

// readPiece is how much is read at once.
const readPiece = 1 << 20

// run lists what is there, with the damages that something follows.
func (s *undoScan) run() error {
	for s.at < s.size {
		r := bufio.NewReaderSize(io.NewSectionReader(s.file, s.at, s.size-s.at), int(min(readPiece, s.size-s.at)))
		err := s.frames(r)
		if err == nil || !errors.Is(err, errFrame) {
			return err
		}
		next, images, err := s.pass()
		if err != nil || next == s.size && images == nil {
			return err
		}
		d := Damage{From: s.at, To: next, First: max(s.generation, 1), Last: ^uint32(0)}
		if images != nil {
			images.damaged, images.at = true, s.at
			s.u.frames = append(s.u.frames, *images)
			d.Table, d.Ranges, d.First, d.Last = images.table, images.ranges, images.generation, images.generation
		}
		s.u.damages = append(s.u.damages, d)
		s.at = next
	}
	return nil
}

// frames lists whole frames from at on; errFrame: there is one that is not.
func (s *undoScan) frames(r io.Reader) error {
	for s.at < s.size {
		payload, err := readFrame(r, s.buf, s.size-s.at)
		if err != nil {
			return err
		}
		s.buf = payload
		frame, body, err := parseFrame(payload)
		if err != nil {
			return err
		}
		frame.at = s.at
		if frame.kind == undoMark {
			end, err := markEnd(body)
			if err != nil {
				return err
			}
			if end == s.at { // of itself it says nothing, and needs no other
				end += frameHead + int64(len(payload))
			}
			s.u.marked = max(s.u.marked, end)
		} else {
			s.u.frames = append(s.u.frames, frame)
		}
		if frame.kind != undoBack {
			s.wroteBy(frame.generation)
		}
		s.at += frameHead + int64(len(payload))
	}
	return nil
}

// wroteBy learns which generation was at work, and so how far the damages before may tell of.
func (s *undoScan) wroteBy(generation uint32) {
	s.generation = generation
	for i := range s.u.damages {
		if d := &s.u.damages[i]; d.Last == ^uint32(0) {
			d.Last = generation
		}
	}
}

// pass finds where to go on behind the frame at at, which is not whole: behind it, if its length is right, else
// at the next mark, else at the end. Images whose head is whole are told.
func (s *undoScan) pass() (next int64, images *undoFrame, err error) {
	head := make([]byte, frameHead)
	if _, err := s.file.ReadAt(head, s.at); err == nil {
		n := int64(binary.BigEndian.Uint32(head))
		next = s.at + frameHead + n
		if n > 0 && n <= maxFrame && next <= s.size {
			payload := make([]byte, n)
			if _, err := s.file.ReadAt(payload, s.at+frameHead); err != nil {
				return 0, nil, err
			}
			if next == s.size || s.whole(next) { // the length is right
				if f, _, err := parseFrame(payload); err == nil && f.kind.hasImages() {
					images = &f
				}
				if images != nil || next < s.size {
					return next, images, nil
				}
			}
		}
	}
	next, err = s.nextMark()
	return next, nil, err
}

// whole reports whether a frame at an offset is.
func (s *undoScan) whole(at int64) bool {
	payload, err := readFrame(io.NewSectionReader(s.file, at, s.size-at), nil, s.size-at)
	if err == nil {
		_, _, err = parseFrame(payload)
	}
	return err == nil
}

// nextMark looks for a mark behind at.
func (s *undoScan) nextMark() (int64, error) {
	buf := make([]byte, min(readPiece, s.size-s.at)+int64(len(undoMagic))-1)
	for from := s.at + 1; from < s.size; from += readPiece {
		n, err := s.file.ReadAt(buf, from)
		if err != nil && err != io.EOF {
			return 0, err
		}
		for found, k := buf[:n], 0; ; k++ {
			i := bytes.Index(found[k:], []byte(undoMagic))
			if i < 0 {
				break
			}
			k += i
			if at := from + int64(k) - markMagicAt; at > s.at && s.whole(at) {
				return at, nil
			}
		}
	}
	return s.size, nil
}

// finish tells what a crash left from what was damaged, and says where the journal goes on.
func (s *undoScan) finish() int64 {
	u, end := s.u, s.at
	if s.at < s.size && s.size-s.at > tornAtMost {
		u.damages = append(u.damages, Damage{From: s.at, To: s.size, First: max(s.generation, 1), Last: ^uint32(0)})
		end = s.size
	}
	durable := u.marked
	if u.noted.Began == u.began.Unix() {
		durable = max(durable, u.noted.Length)
	} else {
		u.noted = Journaled{}
	}
	if end < durable { // it was cut short, or its end is damage and no crash's
		d := Damage{From: end, To: max(durable, s.size), First: max(s.generation, 1), Last: u.noted.Generation}
		u.damages, end = append(u.damages, d), d.To
	}
	crash := slices.IndexFunc(u.damages, func(d Damage) bool { return d.From >= durable && s.size-d.From <= tornAtMost })
	if crash >= 0 { // nobody was told that anything from there on is durable
		end = u.damages[crash].From
		u.damages = u.damages[:crash]
		u.frames = slices.DeleteFunc(u.frames, func(f undoFrame) bool { return f.at >= end })
	}
	u.torn = max(s.size-end, 0)
	return end
}

// readFrame reads a frame's payload, of which at most left bytes with the head can be there.
func readFrame(r io.Reader, buf []byte, left int64) ([]byte, error) {
	var head [frameHead]byte
	if err := readWhole(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxFrame || int64(n) > left-frameHead {
		return nil, fmt.Errorf("%w: it has %d bytes", errFrame, n)
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	if err := readWhole(r, buf); err != nil {
		return nil, err
	}
	if crc32.Checksum(buf, crcTable) != binary.BigEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", errFrame)
	}
	return buf, nil
}

// readWhole is io.ReadFull, for which the file's end is a frame that is cut short.
func readWhole(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it is cut short", errFrame)
	}
	return err
}

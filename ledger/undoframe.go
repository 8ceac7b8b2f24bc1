package ledger

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
)

var errFrame = errors.New("a frame that contradicts itself")

// encode is the frame without its images.
func (f *undoFrame) encode() []byte {
	b := []byte{byte(f.kind), byte(f.action)}
	b = binary.BigEndian.AppendUint32(b, f.generation)
	b = binary.AppendUvarint(b, uint64(len(f.table)))
	b = append(b, f.table...)
	b = binary.AppendUvarint(b, uint64(len(f.ranges)))
	last := uint32(0)
	for _, r := range f.ranges {
		b = binary.AppendVarint(b, int64(r.From)-int64(last))
		b = binary.AppendUvarint(b, uint64(r.Len()))
		last = r.To
	}
	if f.kind.hasImages() { // so that it is known whose images cannot be read
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crcTable))
	}
	return b
}

func (k undoKind) hasImages() bool { return k == undoImages || k == undoMaybe || k == undoThere }

// markPayload says that what lies before end is on the disk. The magic in it is what is looked for behind a
// damaged place.
func markPayload(generation uint32, end int64) []byte {
	f := undoFrame{kind: undoMark, generation: generation}
	return binary.BigEndian.AppendUint64(append(f.encode(), undoMagic...), uint64(end))
}

// markMagicAt is where in a mark, with its head, the magic is.
const markMagicAt = frameHead + 6 + 2

// markEnd reads what a mark says.
func markEnd(body []byte) (int64, error) {
	if len(body) != len(undoMagic)+8 || string(body[:len(undoMagic)]) != undoMagic {
		return 0, errFrame
	}
	return int64(binary.BigEndian.Uint64(body[len(undoMagic):])), nil
}

// parseFrame reads a frame; images are its packed images.
func parseFrame(b []byte) (f undoFrame, images []byte, err error) {
	if len(b) < 6 {
		return f, nil, errFrame
	}
	f.kind, f.action, f.generation = undoKind(b[0]), Action(b[1]), binary.BigEndian.Uint32(b[2:])
	r := bytes.NewReader(b[6:])
	n, err := binary.ReadUvarint(r)
	if err != nil || n > uint64(r.Len()) || f.kind == 0 || f.kind > undoMark || f.action >= numActions {
		return f, nil, errFrame
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return f, nil, errFrame
	}
	f.table = string(name)
	n, err = binary.ReadUvarint(r)
	if err != nil || n > uint64(r.Len())/2 { // each takes two bytes at least
		return f, nil, errFrame
	}
	f.ranges = make([]Range, 0, n)
	last := int64(0)
	for range n {
		from, err1 := binary.ReadVarint(r)
		length, err2 := binary.ReadUvarint(r)
		from += last
		if err1 != nil || err2 != nil || from < 0 || length == 0 || length > 1<<32-1 || from+int64(length) > 1<<32-1 {
			return f, nil, errFrame
		}
		last = from + int64(length)
		f.ranges = append(f.ranges, Range{uint32(from), uint32(last)})
	}
	images = b[len(b)-r.Len():]
	if f.kind.hasImages() {
		if len(images) < 4 || binary.BigEndian.Uint32(images) != crc32.Checksum(b[:len(b)-r.Len()], crcTable) {
			return f, nil, errFrame
		}
		images = images[4:]
	}
	return f, images, nil
}

// packImages writes images, which ascend, as one compressed text: neighbours have much in common.
func packImages(images []Image) ([]byte, error) {
	var raw []byte
	for _, m := range images {
		raw = binary.AppendUvarint(raw, uint64(m.Seq))
		for _, text := range [][]byte{m.Had, m.Wrote} {
			raw = binary.AppendUvarint(raw, uint64(len(text)))
			raw = append(raw, text...)
		}
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

// unpackImages calls fn with each image. Its texts are fn's to keep.
func unpackImages(packed []byte, fn func(Image)) error {
	raw, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	number := func() uint64 {
		v, n := binary.Uvarint(raw)
		if n <= 0 {
			err = errFrame
			return 0
		}
		raw = raw[n:]
		return v
	}
	text := func() []byte {
		n := number()
		if err != nil || n > uint64(len(raw)) {
			err = errFrame
			return nil
		}
		t := raw[:n:n]
		raw = raw[n:]
		return t
	}
	for len(raw) > 0 {
		m := Image{Seq: uint32(number()), Had: text(), Wrote: text()}
		if err != nil {
			return err
		}
		fn(m)
	}
	return nil
}

// live calls fn with the frames of a table from the generation since on, the newest first, each with the
// records for which it was not undone later.
func (u *Undo) live(since uint32, table string, fn func(f undoFrame)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	type back struct {
		generation uint32
		ranges     []Range
	}
	var backs []back
	for _, f := range slices.Backward(u.frames) {
		switch {
		case f.table != table:
			continue
		case f.kind == undoBack:
			backs = append(backs, back{f.generation, f.ranges})
			continue
		case f.generation < since:
			continue
		}
		for _, b := range backs {
			if b.generation <= f.generation {
				left := &Ranges{}
				left.Add(f.ranges)
				left.Remove(b.ranges)
				f.ranges = left.List()
			}
		}
		if len(f.ranges) > 0 {
			fn(f)
		}
	}
}

// Changes is what generations did to a table's records.
type Changes struct {
	Made    *Ranges // records that they made, or were about to
	Maybe   *Ranges // of those: it is not certain that they were not there before
	Changed *Ranges // records that they changed, or were about to, and of which it is kept what they had
	There   *Ranges // records that were there when they were to be made
	Deleted *Ranges // records that they deleted, or were about to
	Damaged *Ranges // of Changed: what some of them had cannot be read any more
}

// Since is what the generations from since on did to a table's records and what is not undone.
func (u *Undo) Since(since uint32, table string) Changes {
	c := Changes{&Ranges{}, &Ranges{}, &Ranges{}, &Ranges{}, &Ranges{}, &Ranges{}}
	u.live(since, table, func(f undoFrame) {
		switch {
		case f.kind == undoClaimed && f.action == Delete:
			c.Deleted.Add(f.ranges)
		case f.kind == undoClaimed:
			c.Made.Add(f.ranges)
		case f.kind == undoMaybe:
			c.Maybe.Add(f.ranges)
			c.Changed.Add(f.ranges)
		case f.kind == undoThere:
			c.There.Add(f.ranges)
			c.Changed.Add(f.ranges)
		default:
			c.Changed.Add(f.ranges)
		}
		if f.damaged {
			c.Damaged.Add(f.ranges)
		}
	})
	c.Made.Remove(c.There.List())
	c.Maybe.Remove(c.There.List())
	return c
}

// Images calls fn with what records of a range had, as the generations from since on found it: of one
// record the newest first.
func (u *Undo) Images(since uint32, table string, r Range, fn func(Image)) error {
	var frames []undoFrame
	u.live(since, table, func(f undoFrame) {
		if f.kind != undoClaimed && !f.damaged && f.ranges[0].From < r.To && f.ranges[len(f.ranges)-1].To > r.From {
			frames = append(frames, f)
		}
	})
	if len(frames) == 0 {
		return nil
	}
	file, err := os.Open(u.path)
	if err != nil {
		return err
	}
	defer file.Close()
	var buf []byte
	for _, f := range frames {
		meant := &Ranges{}
		meant.Add(f.ranges)
		buf, err = u.imagesOf(file, f, buf, func(m Image) {
			if r.From <= m.Seq && m.Seq < r.To && meant.Has(m.Seq) {
				fn(m)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// imagesOf calls fn with each image of a frame, which buf is for; it returns that, larger perhaps.
func (u *Undo) imagesOf(file *os.File, f undoFrame, buf []byte, fn func(Image)) ([]byte, error) {
	payload, err := readFrame(io.NewSectionReader(file, f.at, maxFrame+frameHead), buf, maxFrame+frameHead)
	if err != nil {
		return buf, fmt.Errorf("read the journal of changes %s: %w: %w", u.path, ErrDamaged, err)
	}
	whole, packed, err := parseFrame(payload)
	if err != nil || whole.table != f.table {
		return payload, fmt.Errorf("read the journal of changes %s: %w: byte %d", u.path, ErrDamaged, f.at)
	}
	if err := unpackImages(packed, fn); err != nil {
		return payload, fmt.Errorf("read the journal of changes %s: %w: byte %d", u.path, err, f.at)
	}
	return payload, nil
}

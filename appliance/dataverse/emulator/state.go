package emulator

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"dvmigrate/appliance/dataverse/schema"
)

// The state file is a log of transactions. It is written before a change is
// answered, so that an answered change outlives the process (it is left to the
// system to bring it to the disk). Its bytes:
//
//	"DVMEMUL1"                      magic and version
//	record*                         length uint32, CRC-32C uint32 (both little endian), payload
//
// The first record is the layout: what tables, columns and relationships the rows
// were encoded for. Where the schema was altered since the start, the second is 'M' and
// the schema as JSON (stateschema.go). Every other record is one transaction, a sequence of
//
//	'S' id[16]                      the next id of the shared list
//	'P' table id[16] length row     a row, new or changed (numbers are uvarints)
//	'D' table id[16] version        a deletion
//	'L' link id[16] id[16] version  a link made
//	'U' link id[16] id[16] version  a link removed
//	'N' table column number         an auto-number column's last number
//	'F' id[16] (length text)*3      a file: its name, type and bytes
//	'T' table id[16] version        a deletion from before the file was rewritten
//	'V' version                     the last version given out before that
//	'E'                             the rows that exist from the start are all there
//
// A file without an 'E' is one whose making was interrupted, and is begun again. A last record that is torn is cut off when the file is opened: it was never
// answered.
const stateMagic = "DVMEMUL1"

// maxStateRecord bounds what a record may claim to hold.
const maxStateRecord = 1 << 30

var errStateTaken = errors.New("another emulator has it open; end that one, or give each a file of its own")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stateLog is the open state file; nil methods do nothing. store.mu protects it.
type stateLog struct {
	f    *os.File
	size int64
	buf  []byte
}

// openState replays a state file into the store and leaves it open for appending.
// fresh says that the file is new.
func (s *store) openState(path string) (fresh bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, fmt.Errorf("open state: %w", err)
	}
	if err := lockState(f); err != nil {
		f.Close()
		return false, fmt.Errorf("open state %s: %w", path, err)
	}
	dropRewrites(path)
	l := &stateLog{f: f}
	if fresh, err = s.replay(l); err != nil {
		f.Close()
		return false, fmt.Errorf("open state %s: %w", path, err)
	}
	if !s.seeded {
		fresh, l.size = true, 0
		s.wipe()
	}
	if err := f.Truncate(l.size); err != nil {
		f.Close()
		return false, fmt.Errorf("open state: cut the torn end: %w", err)
	}
	if _, err := f.Seek(l.size, io.SeekStart); err != nil {
		f.Close()
		return false, fmt.Errorf("open state: %w", err)
	}
	s.log = l
	if fresh {
		return true, l.write([]byte(stateMagic), s.model.layout())
	}
	if l.size > rewriteAbove && l.size > 2*s.liveBytes() {
		return false, s.rewriteState(path)
	}
	return false, nil
}

// endSeed marks the state file as having all rows that exist from the start.
func (s *store) endSeed() error {
	if s.log == nil {
		return nil
	}
	return s.appendState([]byte{'E'})
}

var errTorn = errors.New("torn")

// replay reads the records that are whole and sets l.size to where they end.
func (s *store) replay(l *stateLog) (fresh bool, err error) {
	info, err := l.f.Stat()
	if err != nil {
		return false, err
	}
	r := bufio.NewReaderSize(l.f, 1<<20)
	magic := make([]byte, len(stateMagic))
	if _, err := io.ReadFull(r, magic); err != nil {
		return true, nil // nothing, or a start that was torn
	}
	if string(magic) != stateMagic {
		return false, errors.New("it is not a state file of the emulator")
	}
	at := int64(len(magic))
	for n := 0; ; n++ {
		payload, err := readState(r, info.Size()-at)
		if errors.Is(err, errTorn) {
			return n == 0, nil
		}
		if err != nil {
			return false, fmt.Errorf("byte %d: %w", at, err)
		}
		at += 8 + int64(len(payload))
		if n == 1 && bytes.HasPrefix(payload, []byte{'M'}) {
			l.size = at
			continue
		}
		if n == 0 {
			if !bytes.Equal(payload, s.model.layout()) {
				return false, errors.New("it was written with another schema")
			}
		} else if err := s.apply(payload); err != nil {
			return false, fmt.Errorf("byte %d: %w", at, err)
		}
		l.size = at
	}
}

// stateLacks reports whether there is a state file in whose layout a table is not: an
// older one, from when the table was not kept.
func stateLacks(path, table string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	r := bufio.NewReader(f)
	magic := make([]byte, len(stateMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != stateMagic {
		return false
	}
	layout, err := readState(r, maxStateRecord)
	return err == nil && !bytes.Contains(append([]byte("\n"), layout...), []byte("\ntable "+table+"\n"))
}

// readState reads one record of the left bytes. errTorn means that it is the last
// and not whole.
func readState(r io.Reader, left int64) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, errTorn
	}
	n := int64(binary.LittleEndian.Uint32(head[:4]))
	if n > maxStateRecord || n > left-8 {
		return nil, errTorn
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, err
	}
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		if n == left-8 {
			return nil, errTorn
		}
		return nil, errors.New("the checksum is wrong")
	}
	return payload, nil
}

// append writes a transaction, the shared ids it brought in first.
func (s *store) appendState(log []byte) error {
	var shared []byte
	for _, g := range s.newShared {
		shared = append(append(shared, 'S'), g[:]...)
	}
	if err := s.log.write(nil, shared, log); err != nil {
		return err
	}
	s.newShared = nil
	return nil
}

// write appends a record made of parts, after a prefix outside any record. What
// cannot be written whole is cut off again.
func (l *stateLog) write(prefix []byte, parts ...[]byte) error {
	l.buf = append(l.buf[:0], prefix...)
	head := len(l.buf)
	l.buf = append(l.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, p := range parts {
		l.buf = append(l.buf, p...)
	}
	payload := l.buf[head+8:]
	binary.LittleEndian.PutUint32(l.buf[head:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(l.buf[head+4:], crc32.Checksum(payload, castagnoli))
	if _, err := l.f.WriteAt(l.buf, l.size); err != nil {
		l.f.Truncate(l.size)
		return fmt.Errorf("write state: %w", err)
	}
	l.size += int64(len(l.buf))
	return nil
}

func (l *stateLog) close() error {
	if l == nil {
		return nil
	}
	if err := l.f.Sync(); err != nil {
		l.f.Close()
		return fmt.Errorf("close state: %w", err)
	}
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("close state: %w", err)
	}
	return nil
}

// layout describes how rows are encoded, for telling whether a file fits.
func (m *model) layout() []byte {
	var b []byte
	for _, t := range m.tables {
		b = fmt.Appendf(b, "table %s\n", t.LogicalName)
		for _, c := range t.cols {
			b = fmt.Appendf(b, "%s %d", c.LogicalName, c.storage)
			for _, target := range c.targets {
				b = append(append(b, ' '), target.LogicalName...)
			}
			b = append(b, '\n')
		}
	}
	for _, l := range m.links {
		b = fmt.Appendf(b, "link %s %s %s\n", l.SchemaName, l.Table1, l.Table2)
	}
	return b
}

func appendPut(dst []byte, t *table, id schema.GUID, data []byte, version int64) []byte {
	if data == nil {
		dst = binary.AppendUvarint(append(dst, 'D'), uint64(t.idx))
		dst = append(dst, id[:]...)
		return binary.AppendUvarint(dst, uint64(version))
	}
	dst = binary.AppendUvarint(append(dst, 'P'), uint64(t.idx))
	dst = append(dst, id[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...)
}

func appendLink(dst []byte, m *manyToMany, a, b schema.GUID, removed bool, version int64) []byte {
	op := byte('L')
	if removed {
		op = 'U'
	}
	dst = binary.AppendUvarint(append(dst, op), uint64(m.idx))
	dst = append(append(dst, a[:]...), b[:]...)
	return binary.AppendUvarint(dst, uint64(version))
}

func appendNumber(dst []byte, c *column, n int64) []byte {
	dst = binary.AppendUvarint(append(dst, 'N'), uint64(c.t.idx))
	dst = binary.AppendUvarint(dst, uint64(c.idx))
	return binary.AppendUvarint(dst, uint64(n))
}

// opReader takes a transaction apart; bad is set when it does not add up.
type opReader struct {
	b   []byte
	bad bool
}

func (r *opReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad = true
		return make([]byte, 16)[:min(n, 16)]
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *opReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// below reads a number that must be less than most.
func (r *opReader) below(most int) int {
	v := r.uint()
	if v >= uint64(most) {
		r.bad = true
		return -1
	}
	return int(v)
}

func (r *opReader) guid() schema.GUID { return schema.GUID(r.take(16)) }

// apply replays one transaction. The payload's checksum was right, so that what
// does not add up is a mistake of the program that wrote it.
func (s *store) apply(payload []byte) error {
	r := &opReader{b: payload}
	for len(r.b) > 0 && !r.bad {
		switch op := r.take(1)[0]; op {
		case 'S':
			s.share(r.guid())
			s.newShared = nil
		case 'P', 'D':
			s.applyRow(r, op)
		case 'L', 'U':
			i := r.below(len(s.model.links))
			a, b, version := r.guid(), r.guid(), int64(r.uint())
			if r.bad {
				break
			}
			s.version = max(s.version, version)
			if op == 'L' {
				s.addLink(s.model.links[i], a, b, version)
			} else {
				s.removeLink(s.model.links[i], a, b)
			}
		case 'N':
			t := r.below(len(s.model.tables))
			if r.bad {
				break
			}
			if c := r.below(len(s.model.tables[t].cols)); !r.bad {
				s.numbers[s.model.tables[t].cols[c]] = int64(r.uint())
			}
		case 'T':
			t, id, version := r.below(len(s.model.tables)), r.guid(), int64(r.uint())
			if !r.bad {
				s.tables[t].deleted = append(s.tables[t].deleted, tombstone{id, version})
			}
		case 'F':
			id := r.guid()
			f := &file{name: string(r.take(r.uint())), mime: string(r.take(r.uint())), data: bytes.Clone(r.take(r.uint()))}
			if !r.bad {
				s.files[id] = f
			}
		case 'V':
			s.version = max(s.version, int64(r.uint()))
		case 'E':
			s.seeded = true
		default:
			r.bad = true
		}
	}
	if r.bad {
		return errors.New("the record does not add up")
	}
	return nil
}

func (s *store) applyRow(r *opReader, op byte) {
	i := r.below(len(s.model.tables))
	id := r.guid()
	n := r.uint() // the row's length, or the deletion's version
	if r.bad {
		return
	}
	t, d := s.model.tables[i], &s.tables[i]
	var old, data []byte
	if at, ok := d.rows.get(orderOf(id)); ok {
		old = bytes.Clone(d.arena.get(at))
	}
	version := int64(n)
	if op == 'P' {
		data = r.take(n)
		if r.bad {
			return
		}
		version = rowVersion(data)
	} else if t.ChangeTracking {
		d.deleted = append(d.deleted, tombstone{id, version})
	}
	if old == nil && data == nil {
		r.bad = true
		return
	}
	s.version = max(s.version, version)
	s.swap(t, id, old, data)
	s.dropReplaced(t, old, data)
}

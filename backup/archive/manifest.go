package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Sizes and limits of the format, version 1 (FORMAT.md).
const (
	// ChunkSize is the most a chunk holds before compression, in bytes. DuckDB's
	// blocks are as big; see PartSpec.FirstChunk.
	ChunkSize = 256 << 10

	version       = 1
	manifestMagic = "DVMSNAPM"
	packMagic     = "DVMSNAPP"
	headerSize    = 8 + 2 + 1 + 1 + idLength
	chunkEntry    = sha256.Size + 4 + 8 + 4 + 4 + 4 + 1

	maxMeta     = 1 << 20
	maxName     = 255
	maxManifest = 1 << 30
)

// flagZstd in Chunk.Flags: the stored bytes are one zstd frame. No other flag exists yet.
const flagZstd = 1

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// Chunk says where a piece of a part is stored, and what it must be.
type Chunk struct {
	Hash   Hash   // of the content
	Pack   uint32 // index in Manifest.Packs
	Offset int64  // in the pack
	Stored uint32 // bytes in the pack
	Raw    uint32 // bytes of content, 1 to ChunkSize
	CRC    uint32 // CRC-32C of the stored bytes
	Flags  uint8
}

// Pack is a pack file that a manifest needs.
type Pack struct {
	ID   string // the snapshot that wrote it
	Size int64  // of the whole file
}

// Part is one stream of a snapshot.
type Part struct {
	Name        string
	Fingerprint string // what the owner said of the content's state; may be empty
	Size        int64
	// Digest is the SHA-256 over each chunk's hash and length, in order: it is
	// equal for equal content that was cut alike.
	Digest Hash
	Chunks []Chunk
}

// Manifest is the list of everything a snapshot consists of.
type Manifest struct {
	ID    string
	Meta  json.RawMessage // the caller's, valid JSON or empty
	Packs []Pack
	Parts []Part
}

// Part returns the part of that name, or an error that wraps ErrNotFound.
func (m *Manifest) Part(name string) (*Part, error) {
	for i := range m.Parts {
		if m.Parts[i].Name == name {
			return &m.Parts[i], nil
		}
	}
	return nil, fmt.Errorf("snapshot %s has no part %q: %w", m.ID, name, ErrNotFound)
}

// digest is what Part.Digest must be for these chunks.
func digest(chunks []Chunk) Hash {
	h := sha256.New()
	var n [4]byte
	for i := range chunks {
		h.Write(chunks[i].Hash[:])
		binary.BigEndian.PutUint32(n[:], chunks[i].Raw)
		h.Write(n[:])
	}
	return Hash(h.Sum(nil))
}

// ValidName says whether name can name a part: 1 to 255 bytes of printable UTF-8.
func ValidName(name string) bool {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// header returns the first bytes of a pack or a manifest.
func header(magic, id string) []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, 0, 0) // flags, reserved
	return append(b, id...)
}

// encode returns the manifest's bytes with the checksum at their end.
func (m *Manifest) encode() []byte {
	b := header(manifestMagic, m.ID)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Meta)))
	b = append(b, m.Meta...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Packs)))
	for _, p := range m.Packs {
		b = append(b, p.ID...)
		b = binary.BigEndian.AppendUint64(b, uint64(p.Size))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Parts)))
	for i := range m.Parts {
		b = m.Parts[i].append(b)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func (p *Part) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Name)))
	b = append(b, p.Name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Fingerprint)))
	b = append(b, p.Fingerprint...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Size))
	b = append(b, p.Digest[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.Chunks)))
	for i := range p.Chunks {
		c := &p.Chunks[i]
		b = append(b, c.Hash[:]...)
		b = binary.BigEndian.AppendUint32(b, c.Pack)
		b = binary.BigEndian.AppendUint64(b, uint64(c.Offset))
		b = binary.BigEndian.AppendUint32(b, c.Stored)
		b = binary.BigEndian.AppendUint32(b, c.Raw)
		b = binary.BigEndian.AppendUint32(b, c.CRC)
		b = append(b, c.Flags)
	}
	return b
}

// errCut is the fault of a manifest that states more than it has.
var errCut = errors.New("a length in it leads past its end")

// decode reads a manifest and checks everything that can be checked without the
// packs. What it accepts, encode turns into the same bytes. Errors are faults for
// a DamageError, or wrap ErrVersion.
func decode(b []byte) (*Manifest, error) {
	if len(b) < headerSize+sha256.Size || string(b[:8]) != manifestMagic {
		return nil, errors.New("is not a manifest")
	}
	body := b[:len(b)-sha256.Size]
	if sha256.Sum256(body) != Hash(b[len(body):]) {
		return nil, errors.New("checksum differs")
	}
	if err := checkHeader(body); err != nil {
		return nil, err
	}
	d := decoder{b: body[12:]}
	m := &Manifest{ID: string(d.take(idLength))}
	m.Meta = json.RawMessage(d.take(int(min(d.u32(), maxMeta+1))))
	d.packs(m)
	// The smallest part has an empty fingerprint and no chunks.
	for range d.count(2 + 2 + 8 + sha256.Size + 4) {
		m.Parts = append(m.Parts, d.part())
	}
	if d.err == nil && len(d.b) > 0 {
		d.err = errors.New("has bytes after its end")
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, m.validate()
}

// checkHeader checks what is common to packs and manifests, after the magic.
func checkHeader(b []byte) error {
	if v := binary.BigEndian.Uint16(b[8:]); v != version {
		return fmt.Errorf("version %d: %w", v, ErrVersion)
	}
	if b[10] != 0 || b[11] != 0 {
		return fmt.Errorf("flags %#02x %#02x: %w", b[10], b[11], ErrVersion)
	}
	return nil
}

// decoder takes bytes from the front of b; after the first error it gives zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n > len(d.b) {
		d.err = errors.Join(d.err, errCut)
		d.b = nil
		return nil
	}
	t := d.b[:n]
	d.b = d.b[n:]
	return t
}

func (d *decoder) u16() int {
	if b := d.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) i64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// count reads how many entries of at least size bytes follow, and refuses a number
// that the bytes left cannot hold: what is allocated for them stays in proportion.
func (d *decoder) count(size int) int {
	n := int64(d.u32())
	if n*int64(size) > int64(len(d.b)) {
		d.err = errors.Join(d.err, errCut)
		return 0
	}
	return int(n)
}

func (d *decoder) packs(m *Manifest) {
	n := d.count(idLength + 8)
	m.Packs = make([]Pack, n)
	for i := range m.Packs {
		m.Packs[i] = Pack{ID: string(d.take(idLength)), Size: d.i64()}
	}
}

func (d *decoder) part() Part {
	p := Part{
		Name:        string(d.take(d.u16())),
		Fingerprint: string(d.take(d.u16())),
		Size:        d.i64(),
	}
	copy(p.Digest[:], d.take(sha256.Size))
	p.Chunks = make([]Chunk, d.count(chunkEntry))
	for i := range p.Chunks {
		e := d.take(chunkEntry)
		p.Chunks[i] = Chunk{
			Hash:   Hash(e[:32]),
			Pack:   binary.BigEndian.Uint32(e[32:]),
			Offset: int64(binary.BigEndian.Uint64(e[36:])),
			Stored: binary.BigEndian.Uint32(e[44:]),
			Raw:    binary.BigEndian.Uint32(e[48:]),
			CRC:    binary.BigEndian.Uint32(e[52:]),
			Flags:  e[56],
		}
	}
	return p
}

// validate checks what the fields say of each other.
func (m *Manifest) validate() error {
	if _, ok := TimeOf(m.ID); !ok {
		return errors.New("has no valid ID")
	}
	if len(m.Meta) > maxMeta || len(m.Meta) > 0 && !json.Valid(m.Meta) {
		return errors.New("has metadata that are too long or not JSON")
	}
	packs := make(map[string]bool, len(m.Packs))
	for _, p := range m.Packs {
		if _, ok := TimeOf(p.ID); !ok || packs[p.ID] || p.Size < headerSize {
			return fmt.Errorf("names a pack %q that cannot be", p.ID)
		}
		packs[p.ID] = true
	}
	names := make(map[string]bool, len(m.Parts))
	for i := range m.Parts {
		p := &m.Parts[i]
		if !ValidName(p.Name) || names[p.Name] {
			return fmt.Errorf("names a part %q twice or not as allowed", p.Name)
		}
		names[p.Name] = true
		if err := p.validate(m.Packs); err != nil {
			return fmt.Errorf("part %q: %w", p.Name, err)
		}
	}
	return nil
}

func (p *Part) validate(packs []Pack) error {
	var size int64
	for i := range p.Chunks {
		c := &p.Chunks[i]
		if c.Flags&^flagZstd != 0 {
			return fmt.Errorf("chunk %d has flags %#02x: %w", i, c.Flags, ErrVersion)
		}
		if c.Raw == 0 || c.Raw > ChunkSize || c.Stored == 0 || c.Stored > c.Raw ||
			c.Flags&flagZstd == 0 && c.Stored != c.Raw {
			return fmt.Errorf("chunk %d has impossible lengths", i)
		}
		if int64(c.Pack) >= int64(len(packs)) || c.Offset < headerSize ||
			c.Offset > packs[c.Pack].Size-int64(c.Stored) {
			return fmt.Errorf("chunk %d lies outside its pack", i)
		}
		size += int64(c.Raw)
	}
	if size != p.Size || digest(p.Chunks) != p.Digest {
		return errors.New("its chunks are not the whole part")
	}
	return nil
}

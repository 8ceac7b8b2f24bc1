package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Sizes and limits of the format (FORMAT.md).
const (
	// ChunkSize is the most a chunk holds before compression, in bytes. DuckDB's
	// blocks are as big; see PartSpec.FirstChunk.
	ChunkSize = 256 << 10

	version       = 2 // that is written; 1 can be read
	manifestMagic = "DVMSNAPM"
	packMagic     = "DVMSNAPP"
	prefixSize    = 8 + 2 + 1 + 1 + idLength
	headerSize    = prefixSize + len(KeyID{})
	maxStored     = ChunkSize + sealOverhead
	chunkEntry    = sha256.Size + 4 + 8 + 4 + 4 + 4 + 1

	maxMeta     = 1 << 20
	maxName     = 255
	maxManifest = 1 << 30
)

// Flags of a chunk: the stored bytes are one zstd frame; they are sealed, the frame
// inside.
const (
	flagZstd   = 1
	flagSealed = 2
)

// flagEncrypted of a pack or a manifest: its content is sealed.
const flagEncrypted = 1

// Hash names content: BLAKE3-256, keyed where it is encrypted; in version 1 SHA-256.
type Hash [32]byte

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
	Key   KeyID           // of the data key that all of it is encrypted with; zero is none
	Meta  json.RawMessage // the caller's, valid JSON or empty
	Packs []Pack
	Parts []Part
	// Seal is the checksum of the manifest that was read, and so of all that the snapshot
	// holds: whoever noted it knows the snapshot again. Writing takes no notice of it.
	Seal Hash

	version uint16
	wrapped []byte   // the data key, in an age file
	key     *dataKey // the data key, opened
}

// Encrypted says whether a key is needed to read more than the list of packs.
func (m *Manifest) Encrypted() bool { return m.Key != KeyID{} }

// packHeader is the length of the header of the manifest's packs.
func (m *Manifest) packHeader() int64 {
	if m.version == 1 {
		return prefixSize
	}
	return int64(headerSize)
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

// validName says whether name can name a part: 1 to 255 bytes of printable UTF-8.
func validName(name string) bool {
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
func header(magic string, version uint16, id string, key KeyID) []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	var flags byte
	if key != (KeyID{}) {
		flags = flagEncrypted
	}
	b = append(b, flags, 0)
	b = append(b, id...)
	if version == 1 {
		return b
	}
	return append(b, key[:]...)
}

// encode returns the manifest's bytes with the checksum at their end.
func (m *Manifest) encode() []byte {
	b := header(manifestMagic, version, m.ID, m.Key)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.wrapped)))
	b = append(b, m.wrapped...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Packs)))
	for _, p := range m.Packs {
		b = append(b, p.ID...)
		b = binary.BigEndian.AppendUint64(b, uint64(p.Size))
	}
	body := m.encodeBody()
	if m.Encrypted() {
		body = m.key.manifest.Seal(nil, nil, body, b)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, body...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// encodeBody returns what is sealed where the snapshot is encrypted.
func (m *Manifest) encodeBody() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(m.Meta)))
	b = append(b, m.Meta...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Parts)))
	for i := range m.Parts {
		b = m.Parts[i].append(b)
	}
	return b
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

// outline is a manifest as far as it can be read without a key.
type outline struct {
	m      *Manifest
	before []byte // what stands before the body; a sealed body is bound to it
	body   []byte
}

// open reads a manifest's checksum and outline. Errors are faults for a DamageError, or
// wrap ErrVersion.
func open(b []byte) (*outline, error) {
	if len(b) < prefixSize+sha256.Size || string(b[:8]) != manifestMagic {
		return nil, errors.New("is not a manifest")
	}
	all := b[:len(b)-sha256.Size]
	if sha256.Sum256(all) != [sha256.Size]byte(b[len(all):]) {
		return nil, errors.New("checksum differs")
	}
	m := &Manifest{version: binary.BigEndian.Uint16(all[8:]), Seal: Hash(b[len(all):])}
	encrypted := all[10] == flagEncrypted
	if m.version == 0 || m.version > version {
		return nil, fmt.Errorf("version %d: %w", m.version, ErrVersion)
	}
	if all[10]&^flagEncrypted != 0 || encrypted && m.version == 1 || all[11] != 0 {
		return nil, fmt.Errorf("flags %#02x %#02x: %w", all[10], all[11], ErrVersion)
	}
	d := decoder{b: all[12:]}
	m.ID = string(d.take(idLength))
	if m.version == 1 {
		return openFirst(m, d)
	}
	copy(m.Key[:], d.take(len(m.Key)))
	m.wrapped = bytes.Clone(d.take(d.u16()))
	d.packs(m)
	o := &outline{m: m, before: all[:len(all)-len(d.b)]}
	o.body = d.take(int(d.u32()))
	if d.err == nil && len(d.b) > 0 {
		d.err = errTail
	}
	if d.err == nil && (m.Encrypted() != encrypted || encrypted != (len(m.wrapped) > 0)) {
		d.err = errors.New("says in one place that it is encrypted and in another that it is not")
	}
	return o, d.err
}

// openFirst is open for version 1, where the packs stand after the metadata.
func openFirst(m *Manifest, d decoder) (*outline, error) {
	meta := d.b
	d.take(int(min(d.u32(), maxMeta+1)))
	o := &outline{m: m, body: meta[:len(meta)-len(d.b)]}
	d.packs(m)
	o.body = append(bytes.Clone(o.body), d.b...)
	return o, d.err
}

// read reads the body with the key that it needs, and checks everything that can be
// checked without the packs. What it accepts, encode turns into the same bytes, unless
// they are sealed. Errors are faults.
func (o *outline) read(key *dataKey) (*Manifest, error) {
	m, body := o.m, o.body
	if key != nil {
		var err error
		if body, err = key.manifest.Open(nil, nil, body, o.before); err != nil {
			return nil, errors.New("does not decrypt: it was changed, or belongs to another folder")
		}
		m.key = key
	}
	d := decoder{b: body}
	m.Meta = json.RawMessage(d.take(int(min(d.u32(), maxMeta+1))))
	// The smallest part has an empty fingerprint and no chunks.
	for range d.count(2 + 2 + 8 + sha256.Size + 4) {
		m.Parts = append(m.Parts, d.part())
	}
	if d.err == nil && len(d.b) > 0 {
		d.err = errTail
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, m.validate()
}

// errTail is the fault of a manifest that goes on.
var errTail = errors.New("has bytes after its end")

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
		if _, ok := TimeOf(p.ID); !ok || packs[p.ID] || p.Size < m.packHeader() {
			return fmt.Errorf("names a pack %q that cannot be", p.ID)
		}
		packs[p.ID] = true
	}
	names := make(map[string]bool, len(m.Parts))
	for i := range m.Parts {
		p := &m.Parts[i]
		if !validName(p.Name) || names[p.Name] {
			return fmt.Errorf("names a part %q twice or not as allowed", p.Name)
		}
		names[p.Name] = true
		if err := p.validate(m); err != nil {
			return fmt.Errorf("part %q: %w", p.Name, err)
		}
	}
	return nil
}

func (p *Part) validate(m *Manifest) error {
	var sealed uint8
	var extra uint32
	if m.Encrypted() {
		sealed, extra = flagSealed, sealOverhead
	}
	var size int64
	for i := range p.Chunks {
		c := &p.Chunks[i]
		if c.Flags&^flagZstd != sealed {
			return fmt.Errorf("chunk %d has flags %#02x: %w", i, c.Flags, ErrVersion)
		}
		if c.Raw == 0 || c.Raw > ChunkSize || c.Stored <= extra || c.Stored-extra > c.Raw ||
			c.Flags&flagZstd == 0 && c.Stored-extra != c.Raw {
			return fmt.Errorf("chunk %d has impossible lengths", i)
		}
		if int64(c.Pack) >= int64(len(m.Packs)) || c.Offset < m.packHeader() ||
			c.Offset > m.Packs[c.Pack].Size-int64(c.Stored) {
			return fmt.Errorf("chunk %d lies outside its pack", i)
		}
		size += int64(c.Raw)
	}
	if size != p.Size || digest(p.Chunks) != p.Digest {
		return errors.New("its chunks are not the whole part")
	}
	return nil
}

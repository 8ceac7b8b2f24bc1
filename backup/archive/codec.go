package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
)

// castagnoli is the polynomial of CRC-32C, which processors compute in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// codec hashes, compresses and seals single chunks, and the other way; several
// goroutines may share it.
type codec struct {
	enc     *zstd.Encoder
	dec     *zstd.Decoder
	version uint16   // of the format, which says how a chunk is hashed
	key     *dataKey // nil when nothing is encrypted
	keyed   *blake3.Hasher
}

// newCodec returns a codec for the chunks of a manifest and that many goroutines at
// once. Each direction takes its memory when it is first used.
func newCodec(workers int, m *Manifest) (*codec, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(workers),
		zstd.WithWindowSize(ChunkSize),
		zstd.WithEncoderCRC(false), // the chunk has its own, and a SHA-256
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(workers),
		zstd.WithDecoderMaxMemory(ChunkSize),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	c := &codec{enc: enc, dec: dec, version: m.version, key: m.key}
	if c.key != nil {
		if c.keyed, err = blake3.NewKeyed(c.key.names); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// hash names content: BLAKE3, keyed where the snapshot is encrypted, so that the name
// tells nobody without the key what the content is or what it equals. Version 1 has
// SHA-256.
func (c *codec) hash(raw []byte) Hash {
	switch {
	case c.version == 1:
		return sha256.Sum256(raw)
	case c.keyed == nil:
		return blake3.Sum256(raw)
	}
	h := c.keyed.Clone()
	h.Write(raw)
	var sum Hash
	h.Sum(sum[:0])
	return sum
}

func (c *codec) close() {
	c.enc.Close()
	c.dec.Close()
}

// encode returns the bytes to store for raw, whose hash is h, and their flags. They are
// in one of the buffers, or raw itself.
func (c *codec) encode(raw []byte, h Hash, zipped, sealed []byte) (stored []byte, flags uint8) {
	stored = raw
	if z := c.enc.EncodeAll(raw, zipped[:0]); len(z) < len(raw) {
		stored, flags = z, flagZstd
	}
	if c.key == nil {
		return stored, flags
	}
	flags |= flagSealed
	return c.key.chunks.Seal(sealed[:0], nil, stored, bound(h, uint32(len(raw)), flags)), flags
}

// bound is what a sealed chunk is bound to: other content, another length or other flags
// do not open, so that no chunk can stand in another's place. The key binds it to the
// folder.
func bound(h Hash, raw uint32, flags uint8) []byte {
	b := make([]byte, 0, len(h)+5)
	b = append(b, h[:]...)
	b = binary.BigEndian.AppendUint32(b, raw)
	return append(b, flags)
}

// intact returns nil if stored is what was written for the chunk, else the fault.
func (c *Chunk) intact(stored []byte) error {
	if len(stored) != int(c.Stored) || crc32.Checksum(stored, castagnoli) != c.CRC {
		return errors.New("checksum of the stored bytes differs")
	}
	return nil
}

// decode returns the content of chunk, in buf or in stored itself, which it may
// overwrite. It allocates nothing beyond buf, whose capacity must be ChunkSize. The
// error is a fault.
func (c *codec) decode(chunk *Chunk, stored, buf []byte) ([]byte, error) {
	if err := chunk.intact(stored); err != nil {
		return nil, err
	}
	raw := stored
	if sealed := chunk.Flags&flagSealed != 0; sealed != (c.key != nil) {
		return nil, errors.New("is encrypted where the snapshot is not, or the other way round")
	} else if sealed {
		var err error
		raw, err = c.key.chunks.Open(stored[:0], nil, stored, bound(chunk.Hash, chunk.Raw, chunk.Flags))
		if err != nil {
			return nil, errors.New("is not the chunk that belongs here: it does not decrypt")
		}
	}
	if chunk.Flags&flagZstd != 0 {
		var err error
		if raw, err = c.dec.DecodeAll(raw, buf[:0:min(int(chunk.Raw), cap(buf))]); err != nil {
			return nil, fmt.Errorf("does not decompress: %w", err)
		}
	}
	if len(raw) != int(chunk.Raw) || c.hash(raw) != chunk.Hash {
		return nil, errors.New("hash of the content differs")
	}
	return raw, nil
}

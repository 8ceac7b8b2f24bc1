package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// castagnoli is the polynomial of CRC-32C, which processors compute in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// codec compresses and decompresses single chunks; several goroutines may share it.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// newCodec returns a codec for that many goroutines at once. Each direction takes
// its memory when it is first used.
func newCodec(workers int) (*codec, error) {
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
	return &codec{enc: enc, dec: dec}, nil
}

func (c *codec) close() {
	c.enc.Close()
	c.dec.Close()
}

// encode returns the bytes to store for raw, in buf where they fit, or raw itself.
func (c *codec) encode(raw, buf []byte) (stored []byte, flags uint8) {
	if z := c.enc.EncodeAll(raw, buf[:0]); len(z) < len(raw) {
		return z, flagZstd
	}
	return raw, 0
}

// intact returns nil if stored is what was written for the chunk, else the fault.
func (c *Chunk) intact(stored []byte) error {
	if len(stored) != int(c.Stored) || crc32.Checksum(stored, castagnoli) != c.CRC {
		return errors.New("checksum of the stored bytes differs")
	}
	return nil
}

// decode returns the content of chunk, in buf or in stored itself. It allocates
// nothing beyond buf, whose capacity must be ChunkSize. The error is a fault.
func (c *codec) decode(chunk *Chunk, stored, buf []byte) ([]byte, error) {
	if err := chunk.intact(stored); err != nil {
		return nil, err
	}
	raw := stored
	if chunk.Flags&flagZstd != 0 {
		var err error
		if raw, err = c.dec.DecodeAll(stored, buf[:0:min(int(chunk.Raw), cap(buf))]); err != nil {
			return nil, fmt.Errorf("does not decompress: %w", err)
		}
	}
	if len(raw) != int(chunk.Raw) || sha256.Sum256(raw) != chunk.Hash {
		return nil, errors.New("hash of the content differs")
	}
	return raw, nil
}

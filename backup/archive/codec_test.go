package archive

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/zeebo/blake3"
)

// describe returns the chunk that has body as the stored form of raw.
func describe(raw, body []byte, flags uint8) *Chunk {
	return &Chunk{
		Hash:   blake3.Sum256(raw),
		Stored: uint32(len(body)),
		Raw:    uint32(len(raw)),
		CRC:    crc32.Checksum(body, castagnoli),
		Flags:  flags,
	}
}

func TestChunksAreCompressedWhereItPays(t *testing.T) {
	c, err := newCodec(1, &Manifest{version: version})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for name, test := range map[string]struct {
		raw   []byte
		flags uint8
	}{
		"text":     {text(1, ChunkSize), flagZstd},
		"zeros":    {make([]byte, ChunkSize), flagZstd},
		"noise":    {noise(1, ChunkSize), 0},
		"one byte": {[]byte{7}, 0},
	} {
		body, flags := c.encode(test.raw, Hash{}, make([]byte, 0, ChunkSize+1024), nil)
		if flags != test.flags || len(body) > len(test.raw) {
			t.Errorf("%s: %d bytes for %d, flags %d", name, len(body), len(test.raw), flags)
		}
		raw, err := c.decode(describe(test.raw, body, flags), body, make([]byte, 0, ChunkSize))
		if err != nil || !bytes.Equal(raw, test.raw) {
			t.Errorf("%s does not come back: %v", name, err)
		}
	}
}

func TestEveryDamagedByteOfAChunkIsSeen(t *testing.T) {
	c, err := newCodec(1, &Manifest{version: version})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	raw := text(2, 3000)
	body, flags := c.encode(raw, Hash{}, nil, nil)
	chunk := describe(raw, body, flags)
	for i := range body {
		bad := bytes.Clone(body)
		bad[i] ^= 1
		if _, err := c.decode(chunk, bad, make([]byte, 0, ChunkSize)); err == nil {
			t.Errorf("byte %d changed, but not seen by its CRC", i)
		}
		// The same with a CRC that fits: then the hash has to see it.
		fits := *chunk
		fits.CRC = crc32.Checksum(bad, castagnoli)
		if got, err := c.decode(&fits, bad, make([]byte, 0, ChunkSize)); err == nil && !bytes.Equal(got, raw) {
			t.Errorf("byte %d changed, but not seen by its hash", i)
		}
	}
}

// A frame that promises or unpacks to more than the chunk may be stops at the chunk.
func TestChunkThatUnpacksToTooMuchIsRefused(t *testing.T) {
	c, err := newCodec(1, &Manifest{version: version})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	bomb, _ := c.encode(make([]byte, 64<<20), Hash{}, nil, nil)
	chunk := describe(make([]byte, ChunkSize), bomb, flagZstd)
	buf := make([]byte, 0, ChunkSize)
	if _, err := c.decode(chunk, bomb, buf); err == nil { // warms the decoder up, too
		t.Error("64 MiB passed for a chunk")
	}
	if n := testing.AllocsPerRun(10, func() { c.decode(chunk, bomb, buf) }); n > 10 {
		t.Errorf("%v allocations to refuse it", n)
	}
}

func FuzzDecodeChunk(f *testing.F) {
	c, err := newCodec(1, &Manifest{version: version})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.close)
	zipped, _ := c.encode(text(1, 5000), Hash{}, nil, nil)
	f.Add(zipped, uint32(5000), uint8(flagZstd))
	f.Add([]byte("plain"), uint32(5), uint8(0))
	f.Fuzz(func(t *testing.T, body []byte, raw uint32, flags uint8) {
		// What a chunk may hold comes back as it was.
		if len(body) > 0 && len(body) <= ChunkSize {
			stored, how := c.encode(body, Hash{}, nil, nil)
			back, err := c.decode(describe(body, stored, how), stored, make([]byte, 0, ChunkSize))
			if err != nil || !bytes.Equal(back, body) {
				t.Errorf("%d bytes do not come back: %v", len(body), err)
			}
		}
		// Anything else is refused without a panic, or is what its hash says.
		chunk := &Chunk{Stored: uint32(len(body)), Raw: raw%ChunkSize + 1, CRC: crc32.Checksum(body, castagnoli), Flags: flags}
		got, err := c.decode(chunk, body, make([]byte, 0, ChunkSize))
		if err == nil && (len(got) != int(chunk.Raw) || blake3.Sum256(got) != chunk.Hash) {
			t.Error("accepted something else than the chunk says")
		}
	})
}

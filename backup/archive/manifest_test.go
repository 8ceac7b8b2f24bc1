package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

// sample is a manifest with one of everything.
func sample() *Manifest {
	m := &Manifest{
		ID:      "20261122T120000.000Z-0123abcd",
		version: version,
		Meta:    []byte(`{"project":"demo"}`),
		Packs: []Pack{
			{ID: "20261122T110000.000Z-00000000", Size: 1000},
			{ID: "20261122T120000.000Z-0123abcd", Size: int64(headerSize) + 300},
		},
		Parts: []Part{
			{Name: "ledger", Fingerprint: "g1", Size: 500, Chunks: []Chunk{
				{Hash: Hash{1}, Pack: 0, Offset: 49, Stored: 100, Raw: 200, CRC: 7, Flags: flagZstd},
				{Hash: Hash{2}, Pack: 1, Offset: 49, Stored: 300, Raw: 300, CRC: 8},
			}},
			{Name: "empty"},
		},
	}
	for i := range m.Parts {
		m.Parts[i].Digest = digest(m.Parts[i].Chunks)
	}
	return m
}

func TestManifestComesBack(t *testing.T) {
	b := sample().encode()
	m, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.encode(), b) {
		t.Error("decoded and encoded again, the bytes differ")
	}
	p, err := m.Part("ledger")
	if err != nil || p.Chunks[1] != sample().Parts[0].Chunks[1] {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := m.Part("stage"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a part that is not there: %v", err)
	}
}

// The format is what FORMAT.md says: a change of these bytes is a new version.
func TestManifestBytesStay(t *testing.T) {
	b := sample().encode()
	const want = "c0ba09da"
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:4]) != want {
		t.Errorf("the manifest of sample has changed: %x, %d bytes", sum[:4], len(b))
	}
}

func TestEveryDamagedByteOfAManifestIsSeen(t *testing.T) {
	b := sample().encode()
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if _, err := decode(c); err == nil {
			t.Errorf("byte %d changed, but not seen", i)
		}
		if _, err := decode(b[:i]); err == nil {
			t.Errorf("cut off at byte %d, but not seen", i)
		}
	}
	if _, err := decode(append(b, 0)); err == nil {
		t.Error("a byte too many was not seen")
	}
}

// decode reads a manifest that is not encrypted.
func decode(b []byte) (*Manifest, error) {
	o, err := open(b)
	if err != nil {
		return nil, err
	}
	return o.read(nil)
}

// seal puts a checksum behind bytes, as a program would that writes nonsense.
func seal(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestManifestThatCannotBeIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *Manifest)
		want   string
	}{
		{"a chunk that begins in the pack's header", func(m *Manifest) { m.Parts[0].Chunks[0].Offset = 48 }, "outside its pack"},
		{"a chunk that ends behind its pack", func(m *Manifest) { m.Parts[0].Chunks[1].Offset = 50 }, "outside its pack"},
		{"a chunk at a negative offset", func(m *Manifest) { m.Parts[0].Chunks[0].Offset = -5 }, "outside its pack"},
		{"a chunk at an offset that overflows", func(m *Manifest) { m.Parts[0].Chunks[0].Offset = 1<<63 - 1 }, "outside its pack"},
		{"a pack that is not listed", func(m *Manifest) { m.Parts[0].Chunks[0].Pack = 2 }, "outside its pack"},
		{"a chunk larger than chunks are", func(m *Manifest) { m.Parts[0].Chunks[0].Raw = ChunkSize + 1 }, "impossible lengths"},
		{"a chunk of nothing", func(m *Manifest) { m.Parts[0].Chunks[0].Raw = 0 }, "impossible lengths"},
		{"a raw chunk of two lengths", func(m *Manifest) { m.Parts[0].Chunks[1].Raw = 301 }, "impossible lengths"},
		{"a part that is longer than its chunks", func(m *Manifest) { m.Parts[0].Size++ }, "not the whole part"},
		{"a part with another digest", func(m *Manifest) { m.Parts[1].Digest[0] = 1 }, "not the whole part"},
		{"two parts of one name", func(m *Manifest) { m.Parts[1].Name = "ledger" }, "twice"},
		{"a part without a name", func(m *Manifest) { m.Parts[1].Name = "" }, "not as allowed"},
		{"a part name with a line break", func(m *Manifest) { m.Parts[1].Name = "a\nb" }, "not as allowed"},
		{"a pack that is a path", func(m *Manifest) { m.Packs[0].ID = "../../../../../etc/passwd/abc" }, "cannot be"},
		{"a pack twice", func(m *Manifest) { m.Packs[0].ID = m.Packs[1].ID }, "cannot be"},
		{"an ID that is no time", func(m *Manifest) { m.ID = "20261322T120000.000Z-0123abcd" }, "no valid ID"},
		{"metadata that are not JSON", func(m *Manifest) { m.Meta = []byte("{") }, "not JSON"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := sample()
			test.change(m)
			_, err := decode(m.encode())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestWhatANewerReleaseWroteIsNotCalledDamaged(t *testing.T) {
	body := sample().encode()
	body = body[:len(body)-sha256.Size]
	for name, at := range map[string]int{"version": 9, "flags": 10, "reserved": 11} {
		b := bytes.Clone(body)
		b[at] = 4
		if _, err := decode(seal(b)); !errors.Is(err, ErrVersion) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	m := sample()
	m.Parts[0].Chunks[0].Flags |= 4
	if _, err := decode(m.encode()); !errors.Is(err, ErrVersion) {
		t.Errorf("chunk flags: got %v", err)
	}
}

func TestIDs(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 789_999_999, time.FixedZone("", 3600))
	id := NewID(at)
	if !strings.HasPrefix(id, "20260203T030506.789Z-") {
		t.Errorf("got %s", id)
	}
	if got, ok := TimeOf(id); !ok || !got.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("got %v %v", got, ok)
	}
	if later := NewID(at.Add(time.Millisecond)); later <= id {
		t.Errorf("%s does not sort after %s", later, id)
	}
	for _, bad := range []string{"", "x", id + "0", id[:28] + "G", "20260203T030506,789Z-00000000", "20260203T030506.789Z/00000000"} {
		if _, ok := TimeOf(bad); ok {
			t.Errorf("%q passes for an ID", bad)
		}
	}
}

func FuzzDecodeManifest(f *testing.F) {
	whole := sample().encode()
	f.Add(whole[:len(whole)-sha256.Size])
	f.Add((&Manifest{ID: "20261122T120000.000Z-0123abcd"}).encode()[:headerSize+18])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := seal(body)
		m, err := decode(b)
		if err == nil && m.version == version && !m.Encrypted() && !bytes.Equal(m.encode(), b) {
			t.Error("what decodes does not encode to the same bytes")
		}
	})
}

package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// someone is a key pair of a test.
type someone struct{ secret, public string }

func newSomeone(t testing.TB) someone {
	t.Helper()
	secret, public, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return someone{secret, public}
}

func newRing(t testing.TB, k Keys) *Keyring {
	t.Helper()
	r, err := NewKeyring(k)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newSealed returns a store that encrypts to who, and can open.
func newSealed(t testing.TB, who someone) *Store {
	t.Helper()
	s := Open(t.TempDir(), OS{}, newRing(t, Keys{Recipients: []string{who.public}, Identities: []string{who.secret}}))
	t.Cleanup(func() { checkStore(t, s) })
	return s
}

// as returns the same folder with other keys.
func as(s *Store, r *Keyring) *Store { return Open(s.dir, OS{}, r) }

func readAll(s *Store, id, name string) ([]byte, error) {
	m, err := s.Manifest(id)
	if err != nil {
		return nil, err
	}
	var got bytes.Buffer
	err = s.ReadPart(context.Background(), m, name, func(r io.Reader) error {
		_, err := io.Copy(&got, r)
		return err
	})
	return got.Bytes(), err
}

func TestEncryptedSnapshotTellsNothing(t *testing.T) {
	who := newSomeone(t)
	s := newSealed(t, who)
	data := slices.Concat(text(1, 3*ChunkSize), noise(1, ChunkSize))
	m := save(t, s, map[string][]byte{"ledger": data, "again": data})
	if !bytes.Equal(load(t, as(s, newRing(t, Keys{Identities: []string{who.secret}})), m.ID, "ledger"), data) {
		t.Error("comes back different")
	}
	for _, file := range []string{s.packPath(m.ID), s.manifestPath(m.ID)} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, needle := range [][]byte{[]byte("account contact"), []byte("ledger"), noise(1, 64), m.key.secret} {
			if bytes.Contains(b, needle) {
				t.Errorf("%s has %q in it", filepath.Base(file), needle)
			}
		}
	}
	p, _ := m.Part("ledger")
	other := newSealed(t, who)
	q, _ := save(t, other, map[string][]byte{"ledger": data}).Part("ledger")
	plain := newStore(t)
	r, _ := save(t, plain, map[string][]byte{"ledger": data}).Part("ledger")
	if p.Chunks[0].Hash == q.Chunks[0].Hash || p.Chunks[0].Hash == r.Chunks[0].Hash {
		t.Error("the name of a chunk shows that its content is the same elsewhere")
	}
	if size := packSize(t, s, m.ID); size > int64(2*ChunkSize) {
		t.Errorf("what is twice in it takes %d bytes", size)
	}
}

func TestWrongKeyIsRefusedByName(t *testing.T) {
	who := newSomeone(t)
	s := newSealed(t, who)
	m := save(t, s, map[string][]byte{"a": text(1, 1000)})
	for name, test := range map[string]struct {
		ring *Keyring
		want error
	}{
		"no keys":            {nil, ErrEncrypted},
		"only a public key":  {newRing(t, Keys{Recipients: []string{who.public}}), ErrEncrypted},
		"another's identity": {newRing(t, Keys{Identities: []string{newSomeone(t).secret}}), ErrWrongKey},
		"a passphrase":       {newRing(t, Keys{Passphrase: "open sesame", work: 10}), ErrWrongKey},
	} {
		_, err := as(s, test.ring).Manifest(m.ID)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), m.ID) {
			t.Errorf("%s: %v", name, err)
		}
		o, err := as(s, test.ring).Outline(m.ID)
		if err != nil || !o.Encrypted() || len(o.Packs) != 1 || as(s, test.ring).CheckPacks(o) != nil {
			t.Errorf("%s: the outline needs no key: %+v, %v", name, o, err)
		}
		if err := as(s, test.ring).Sweep(); err != nil || packSize(t, s, m.ID) == 0 {
			t.Errorf("%s: sweeping has removed what is needed: %v", name, err)
		}
	}
}

// Every byte of an encrypted manifest counts, also with a checksum that fits.
func TestChangedEncryptedManifestIsRefused(t *testing.T) {
	who := newSomeone(t)
	s := newSealed(t, who)
	m := save(t, s, map[string][]byte{"a": text(1, 1000)})
	whole, err := os.ReadFile(s.manifestPath(m.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(s.manifestPath(m.ID), whole, 0o600)
	for i := 0; i < len(whole)-sha256.Size; i += 1 + i/100 {
		for _, fits := range []bool{false, true} {
			b := bytes.Clone(whole)
			b[i] ^= 4
			if fits {
				b = seal(b[:len(b)-sha256.Size])
			}
			if err := os.WriteFile(s.manifestPath(m.ID), b, 0o600); err != nil {
				t.Fatal(err)
			}
			fresh := as(s, newRing(t, Keys{Identities: []string{who.secret}})) // which remembers no data key
			if _, err := fresh.Manifest(m.ID); err == nil || !strings.Contains(err.Error(), m.ID) {
				t.Fatalf("byte %d changed (checksum fits: %v): %v", i, fits, err)
			}
		}
	}
}

func TestDamageOfEncryptedPacksIsNamed(t *testing.T) {
	who := newSomeone(t)
	s := newSealed(t, who)
	data := noise(1, 4*ChunkSize)
	m := save(t, s, map[string][]byte{"a": data})
	other := newSealed(t, who)
	n := save(t, other, map[string][]byte{"a": data})
	whole, err := os.ReadFile(s.packPath(m.ID))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other.packPath(n.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(s.packPath(m.ID), whole, 0o600)
	copy(foreign[12:], m.ID) // as if somebody had renamed it with care
	size := maxStored
	first, second := whole[headerSize:headerSize+size], whole[headerSize+size:headerSize+2*size]
	for name, test := range map[string]struct {
		pack []byte
		want string
	}{
		"a flipped bit":         {flipped(whole, headerSize+size+100), `part "a", chunk 1`},
		"cut off":               {whole[:len(whole)-1], "is cut off"},
		"two blocks swapped":    {slices.Concat(whole[:headerSize], second, first, whole[headerSize+2*size:]), `part "a", chunk`},
		"a pack of another":     {foreign, "another folder"},
		"a block from another":  {slices.Concat(whole[:headerSize], foreign[headerSize:headerSize+size], whole[headerSize+size:]), `part "a", chunk 0`},
		"the header of another": {slices.Concat(foreign[:headerSize], whole[headerSize:]), "another folder"},
	} {
		if err := os.WriteFile(s.packPath(m.ID), test.pack, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readAll(s, m.ID, "a")
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), m.ID+packSuffix) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// The checksum of the stored bytes is no secret: whoever can write it, too, is stopped by
// the seal, which is bound to the content's name, its length and the folder's key.
func TestSealedChunkOpensOnlyInItsPlace(t *testing.T) {
	key, err := newDataKey(newRing(t, Keys{Recipients: []string{newSomeone(t).public}}).to)
	if err != nil {
		t.Fatal(err)
	}
	another, err := newDataKey(newRing(t, Keys{Recipients: []string{newSomeone(t).public}}).to)
	if err != nil {
		t.Fatal(err)
	}
	newSealing := func(k *dataKey) *codec {
		c, err := newCodec(1, &Manifest{version: version, key: k})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		return c
	}
	c, d := newSealing(key), newSealing(another)
	chunkOf := func(c *codec, raw []byte) (*Chunk, []byte) {
		h := c.hash(raw)
		body, flags := c.encode(raw, h, nil, nil)
		return &Chunk{Hash: h, Stored: uint32(len(body)), Raw: uint32(len(raw)), CRC: crc32.Checksum(body, castagnoli), Flags: flags}, body
	}
	one, oneBody := chunkOf(c, noise(1, 1000))
	_, twoBody := chunkOf(c, noise(2, 1000))
	_, farBody := chunkOf(d, noise(1, 1000))
	buf := make([]byte, 0, ChunkSize)
	if raw, err := c.decode(one, bytes.Clone(oneBody), buf); err != nil || !bytes.Equal(raw, noise(1, 1000)) {
		t.Fatalf("does not come back: %v", err)
	}
	for name, body := range map[string][]byte{"another chunk": twoBody, "the same content in another folder": farBody, "one bit": flipped(oneBody, 50)} {
		fits := *one
		fits.CRC = crc32.Checksum(body, castagnoli)
		if _, err := c.decode(&fits, bytes.Clone(body), buf); err == nil || !strings.Contains(err.Error(), "does not decrypt") {
			t.Errorf("%s: %v", name, err)
		}
	}
	unsealed := *one
	unsealed.Flags = 0
	if _, err := c.decode(&unsealed, bytes.Clone(oneBody), buf); err == nil {
		t.Error("an unsealed chunk passed in an encrypted snapshot")
	}
}

// A whole snapshot of another folder, put under this one's names, needs this one's packs.
func TestManifestOfAnotherFolderFindsNoPack(t *testing.T) {
	who := newSomeone(t)
	s, other := newSealed(t, who), newSealed(t, who)
	m := save(t, s, map[string][]byte{"a": noise(1, 1000)})
	n := save(t, other, map[string][]byte{"a": noise(2, 1000)})
	b, err := os.ReadFile(other.manifestPath(n.ID))
	if err != nil {
		t.Fatal(err)
	}
	pack, err := os.ReadFile(s.packPath(m.ID))
	if err != nil {
		t.Fatal(err)
	}
	copy(pack[12:], n.ID)
	write(t, s.manifestPath(n.ID), b)
	write(t, s.packPath(n.ID), pack)
	if _, err := readAll(s, n.ID, "a"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "another folder") {
		t.Errorf("got %v", err)
	}
	os.Remove(s.manifestPath(n.ID))
	os.Remove(s.packPath(n.ID))
}

func write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNextProcessStoresOnlyWhatChanged(t *testing.T) {
	who := newSomeone(t)
	data := noise(1, 10*ChunkSize)
	keep := filepath.Join(t.TempDir(), "work", "snapshot.key")
	for name, test := range map[string]struct {
		keys Keys
		anew bool
	}{
		"recipients, the data key is kept": {keys: Keys{Recipients: []string{who.public}, Keep: keep}},
		"recipients, nothing is kept":      {keys: Keys{Recipients: []string{who.public}}, anew: true},
		"a passphrase":                     {keys: Keys{Passphrase: "open sesame", work: 10, Keep: keep + "2"}},
	} {
		s := Open(t.TempDir(), OS{}, newRing(t, test.keys))
		save(t, s, map[string][]byte{"a": data})
		s = as(s, newRing(t, test.keys))
		second := save(t, s, map[string][]byte{"a": data})
		if anew := packSize(t, s, second.ID) > 0; anew != test.anew {
			t.Errorf("%s: stored anew: %v", name, anew)
		}
		test.keys.Identities = []string{who.secret}
		if !bytes.Equal(load(t, as(s, newRing(t, test.keys)), second.ID, "a"), data) {
			t.Errorf("%s: comes back different", name)
		}
	}
	info, err := os.Stat(keep)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kept key: %v, %v", info, err)
	}
	if _, err := os.Stat(keep + "2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a passphrase's data key is kept: %v", err)
	}
}

// When those who may restore change, so does the data key: who has left cannot read on.
func TestOtherRecipientsGetAnotherDataKey(t *testing.T) {
	old, young := newSomeone(t), newSomeone(t)
	keep := filepath.Join(t.TempDir(), "snapshot.key")
	s := Open(t.TempDir(), OS{}, newRing(t, Keys{Recipients: []string{old.public}, Keep: keep}))
	first := save(t, s, map[string][]byte{"a": noise(1, 1000)})
	s = as(s, newRing(t, Keys{Recipients: []string{young.public}, Keep: keep}))
	second := save(t, s, map[string][]byte{"a": noise(1, 1000)})
	if first.Key == second.Key || packSize(t, s, second.ID) == 0 {
		t.Error("the data key is the old one")
	}
	s = as(s, newRing(t, Keys{Identities: []string{old.secret}}))
	if _, err := s.Manifest(second.ID); !errors.Is(err, ErrWrongKey) {
		t.Errorf("who has left can still read: %v", err)
	}
	load(t, s, first.ID, "a")
}

func TestWrongPassphraseIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	s := Open(t.TempDir(), OS{}, newRing(t, Keys{Passphrase: "open sesame", work: 10}))
	save(t, s, map[string][]byte{"a": noise(1, 1000)})
	s = as(s, newRing(t, Keys{Passphrase: "open seasme", work: 10}))
	if _, err := s.Create(NewID(clock)); !errors.Is(err, ErrWrongKey) || strings.Contains(err.Error(), "seasme") {
		t.Errorf("got %v", err)
	}
}

func TestBadKeysAreRefusedAndNotShown(t *testing.T) {
	who := newSomeone(t)
	for name, test := range map[string]struct {
		keys Keys
		want string
	}{
		"a secret key as recipient": {Keys{Recipients: []string{who.secret}}, "this is a secret key"},
		"no public key":             {Keys{Recipients: []string{"age1nonsense"}}, `"age1nonsense": not an age public key`},
		"a damaged secret key":      {Keys{Identities: []string{strings.ToLower(who.secret)[:60]}}, "not an age secret key"},
		"both":                      {Keys{Recipients: []string{who.public}, Passphrase: "x"}, "not both"},
	} {
		_, err := NewKeyring(test.keys)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(strings.ToUpper(err.Error()), strings.ToUpper(who.secret[20:50])) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the first release wrote can be read, restored from and added to.
func TestVersionOneIsRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/version1")); err != nil {
		t.Fatal(err)
	}
	s := Open(dir, OS{}, nil)
	data := append(text(1, 600000), noise(1, 3000)...)
	for range 2 {
		if !bytes.Equal(load(t, s, "20261122T120100.000Z-00000002", "stage"), data) ||
			!bytes.Equal(load(t, s, "20261122T120000.000Z-00000001", "ledger"), noise(7, 2000)) {
			t.Error("comes back different")
		}
		m := save(t, s, map[string][]byte{"stage": data}) // version 2, beside them
		if !bytes.Equal(load(t, s, m.ID, "stage"), data) {
			t.Error("the new one comes back different")
		}
		if err := s.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
	checkStore(t, s)
	flip(t, s.packPath("20261122T120000.000Z-00000001"), 5000)
	if _, err := readAll(s, "20261122T120100.000Z-00000002", "stage"); !errors.Is(err, ErrDamaged) {
		t.Errorf("damage in a pack of version 1: %v", err)
	}
}

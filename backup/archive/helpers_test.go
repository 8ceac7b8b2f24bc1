package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newStore returns a store in a new folder. When the test ends, everything that the
// folder lists must be whole and nothing must lie about.
func newStore(t testing.TB) *Store {
	t.Helper()
	s := Open(t.TempDir(), OS{}, nil)
	t.Cleanup(func() { checkStore(t, s) })
	return s
}

func checkStore(t testing.TB, s *Store) {
	t.Helper()
	ids, err := s.IDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		m, err := s.Manifest(id)
		if err == nil {
			err = s.Verify(context.Background(), m, Content)
		}
		if err != nil {
			t.Errorf("snapshot %s at the end: %v", id, err)
		}
	}
	tmps, err := filepath.Glob(filepath.Join(s.dir, "*"+tmpSuffix))
	if err != nil || len(tmps) > 0 {
		t.Errorf("left behind: %v %v", tmps, err)
	}
}

// clock gives every snapshot of the tests a minute of its own.
var clock = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// save writes one snapshot of named contents, in the order of their names' bytes.
func save(t testing.TB, s *Store, parts map[string][]byte, specs ...PartSpec) *Manifest {
	t.Helper()
	ids, err := s.IDs()
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(NewID(clock.Add(time.Duration(len(ids)) * time.Minute)))
	if err != nil {
		t.Fatal(err)
	}
	if specs == nil {
		for name := range parts {
			specs = append(specs, PartSpec{Name: name})
		}
	}
	for _, spec := range specs {
		err := w.WritePart(context.Background(), spec, func(to io.Writer) error {
			_, err := to.Write(parts[spec.Name])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.Commit(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// load returns the content of a part.
func load(t testing.TB, s *Store, id, name string) []byte {
	t.Helper()
	m, err := s.Manifest(id)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	err = s.ReadPart(context.Background(), m, name, func(r io.Reader) error {
		_, err := io.Copy(&got, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got.Bytes()
}

// noise returns n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// text returns n bytes that compress well.
func text(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, seed))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString([]string{"account ", "contact ", "lead ", "opportunity "}[rnd.IntN(4)])
	}
	return []byte(b.String()[:n])
}

// packSize returns how long the snapshot's own pack is, zero without one.
func packSize(t testing.TB, s *Store, id string) int64 {
	t.Helper()
	info, err := os.Stat(s.packPath(id))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// flip changes one byte of a file.
func flip(t testing.TB, name string, at int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0x40
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

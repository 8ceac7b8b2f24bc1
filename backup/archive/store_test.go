package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestPartsOfAllSizesComeBack(t *testing.T) {
	s := newStore(t)
	sizes := []int{0, 1, ChunkSize - 1, ChunkSize, ChunkSize + 1, 3 * ChunkSize, 41*ChunkSize + 17}
	parts := make(map[string][]byte)
	var specs []PartSpec
	for _, size := range sizes {
		for _, first := range []int{0, 1, 12288, ChunkSize} {
			name := fmt.Sprintf("%d bytes, first chunk %d", size, first)
			parts[name] = slices.Concat(text(uint64(size), size/2), noise(uint64(size+first), size-size/2))
			specs = append(specs, PartSpec{Name: name, FirstChunk: first})
		}
	}
	m := save(t, s, parts, specs...)
	for _, spec := range specs {
		if !bytes.Equal(load(t, s, m.ID, spec.Name), parts[spec.Name]) {
			t.Errorf("%s: comes back different", spec.Name)
		}
		p, _ := m.Part(spec.Name)
		if spec.FirstChunk > 0 && p.Size > int64(spec.FirstChunk) && int(p.Chunks[0].Raw) != spec.FirstChunk {
			t.Errorf("%s: first chunk has %d bytes", spec.Name, p.Chunks[0].Raw)
		}
	}
}

// However the owner writes and the taker reads, the chunks are the same.
func TestPiecesInWhichAPartIsWrittenDoNotMatter(t *testing.T) {
	s := newStore(t)
	data := text(3, 5*ChunkSize+100)
	want := save(t, s, map[string][]byte{"part": data})
	for name, fill := range map[string]func(io.Writer) error{
		"pieces of 1000": func(w io.Writer) error {
			for b := range slices.Chunk(data, 1000) {
				if _, err := w.Write(b); err != nil {
					return err
				}
			}
			return nil
		},
		"copied": func(w io.Writer) error { _, err := io.Copy(w, bytes.NewBuffer(data)); return err },
		"reader that gives half": func(w io.Writer) error {
			_, err := io.Copy(w, iotest.HalfReader(struct{ io.Reader }{bytes.NewReader(data)}))
			return err
		},
		"reader that gives an end with its data": func(w io.Writer) error {
			_, err := io.Copy(w, iotest.DataErrReader(struct{ io.Reader }{bytes.NewReader(data)}))
			return err
		},
	} {
		w, err := s.Create(NewID(clock))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WritePart(context.Background(), PartSpec{Name: "part"}, fill); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if w.m.Parts[0].Digest != want.Parts[0].Digest {
			t.Errorf("%s: cut differently", name)
		}
		w.Abort()
	}
	err := s.ReadPart(context.Background(), want, "part", func(r io.Reader) error {
		return iotest.TestReader(struct{ io.Reader }{r}, data)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestChunkIsStoredOnce(t *testing.T) {
	s := newStore(t)
	data := noise(1, 100*ChunkSize)
	first := save(t, s, map[string][]byte{"a": data, "b": data})
	if got, max := packSize(t, s, first.ID), int64(len(data)+1000); got > max {
		t.Errorf("two equal parts take %d bytes, more than %d", got, max)
	}
	if same := save(t, s, map[string][]byte{"a": data}); packSize(t, s, same.ID) != 0 {
		t.Error("an unchanged part makes a pack")
	}
	data = bytes.Clone(data)
	copy(data[50*ChunkSize:], "changed")
	changed := save(t, s, map[string][]byte{"a": data})
	if got, want := packSize(t, s, changed.ID), int64(headerSize)+int64(ChunkSize); got != want {
		t.Errorf("1 %% changed takes %d bytes, not %d", got, want)
	}
	if !bytes.Equal(load(t, s, changed.ID, "a"), data) {
		t.Error("comes back different")
	}
}

func TestDamagedChunkIsStoredAnewByTheNextSnapshot(t *testing.T) {
	s := newStore(t)
	data := noise(1, 10*ChunkSize)
	first := save(t, s, map[string][]byte{"a": data})
	flip(t, s.packPath(first.ID), int64(headerSize)+3*ChunkSize+5)
	second := save(t, s, map[string][]byte{"a": data})
	if got, want := packSize(t, s, second.ID), int64(headerSize)+int64(ChunkSize); got != want {
		t.Errorf("one damaged chunk takes %d bytes, not %d", got, want)
	}
	if !bytes.Equal(load(t, s, second.ID, "a"), data) {
		t.Error("comes back different")
	}
	flip(t, s.packPath(first.ID), int64(headerSize)+3*ChunkSize+5) // whole again, for the cleanup
}

// Of a pack that is hardly needed any more the rest is stored anew, so that it can go.
func TestChunksOfASparsePackAreStoredAnew(t *testing.T) {
	s := newStore(t)
	data := noise(1, 20*ChunkSize)
	first := save(t, s, map[string][]byte{"a": data})
	half := slices.Concat(data[:10*ChunkSize], noise(2, 10*ChunkSize))
	if m := save(t, s, map[string][]byte{"a": half}); len(m.Packs) != 2 {
		t.Errorf("half of a pack is used: %d packs", len(m.Packs))
	}
	rest := slices.Concat(data[:3*ChunkSize], half[10*ChunkSize:])
	if m := save(t, s, map[string][]byte{"a": rest}); len(m.Packs) != 2 {
		t.Errorf("at the time half of the pack was used: %d packs", len(m.Packs))
	}
	last := save(t, s, map[string][]byte{"a": rest})
	if len(last.Packs) != 2 || slices.ContainsFunc(last.Packs, func(p Pack) bool { return p.ID == first.ID }) {
		t.Errorf("still needs the first pack: %v", last.Packs)
	}
	if got, want := packSize(t, s, last.ID), int64(headerSize)+int64(3*ChunkSize); got != want {
		t.Errorf("takes %d bytes, not %d", got, want)
	}
}

func TestPartIsTakenOverUnlessItIsDamaged(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	data := noise(1, 5*ChunkSize)
	first := save(t, s, map[string][]byte{"a": data}, PartSpec{Name: "a", Fingerprint: "same"})
	w, err := s.Create(NewID(clock.AddDate(0, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := w.ReusePart(ctx, first, &first.Parts[0]); !ok || err != nil {
		t.Fatalf("got %v %v", ok, err)
	}
	second, err := w.Commit(ctx, []byte(`{"n":2}`))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(load(t, s, second.ID, "a"), data) || second.Parts[0].Fingerprint != "same" {
		t.Error("comes back different")
	}
	flip(t, s.packPath(first.ID), int64(headerSize)+1)
	if w, err = s.Create(NewID(clock.AddDate(0, 0, 2))); err != nil {
		t.Fatal(err)
	}
	if ok, err := w.ReusePart(ctx, first, &first.Parts[0]); ok || err != nil {
		t.Errorf("damaged: got %v %v", ok, err)
	}
	w.Abort()
	flip(t, s.packPath(first.ID), int64(headerSize)+1)
}

func TestReaderGivesNoEndBeforeEverythingIsChecked(t *testing.T) {
	s := newStore(t)
	m := save(t, s, map[string][]byte{"a": noise(1, 30*ChunkSize)})
	at := int64(headerSize) + 29*ChunkSize
	flip(t, s.packPath(m.ID), at)
	defer flip(t, s.packPath(m.ID), at)
	for name, take := range map[string]func(io.Reader) error{
		"reads all":     func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err },
		"reads nothing": func(r io.Reader) error { return nil },
		"reads a little": func(r io.Reader) error {
			_, err := io.ReadFull(r, make([]byte, 100))
			return err
		},
		"hides the error": func(r io.Reader) error {
			if _, err := io.Copy(io.Discard, r); err != nil {
				return errors.New("something is wrong")
			}
			return nil
		},
	} {
		err := s.ReadPart(context.Background(), m, "a", take)
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Part != "a" || damage.Chunk != 29 || damage.At != at {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMemoryDoesNotGrowWithThePart(t *testing.T) {
	s := newStore(t)
	const size = 96 << 20
	piece := text(1, ChunkSize)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w, err := s.Create(NewID(clock))
	if err != nil {
		t.Fatal(err)
	}
	err = w.WritePart(context.Background(), PartSpec{Name: "a"}, func(to io.Writer) error {
		for i := range size / ChunkSize {
			copy(piece, fmt.Sprint(i))
			if _, err := to.Write(piece); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// Everything ever allocated, not only what was held at a time.
	if got := after.TotalAlloc - before.TotalAlloc; got > size/2 {
		t.Errorf("writing %d bytes allocated %d", size, got)
	}
	before = after
	err = s.ReadPart(context.Background(), m, "a", func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size/2 {
		t.Errorf("reading %d bytes allocated %d", size, got)
	}
}

func TestWriterStopsWhenItsContextEnds(t *testing.T) {
	s := newStore(t)
	w, err := s.Create(NewID(clock))
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("time for bed")
	ctx, cancel := context.WithCancelCause(context.Background())
	err = w.WritePart(ctx, PartSpec{Name: "endless"}, func(to io.Writer) error {
		for i := uint64(0); ; i++ {
			if i == 5 {
				cancel(why)
			}
			if _, err := to.Write(noise(i, ChunkSize)); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	w.Abort()
	if names, _ := filepath.Glob(filepath.Join(s.dir, "*")); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestWhatTheWriterRefuses(t *testing.T) {
	s := newStore(t)
	w, err := s.Create(NewID(clock))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	nothing := func(io.Writer) error { return nil }
	ctx := context.Background()
	if err := w.WritePart(ctx, PartSpec{Name: "a"}, nothing); err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]PartSpec{
		"a name twice":           {Name: "a"},
		"no name":                {},
		"a first chunk too long": {Name: "b", FirstChunk: ChunkSize + 1},
		"a long fingerprint":     {Name: "b", Fingerprint: strings.Repeat("x", 256)},
	} {
		if err := w.WritePart(ctx, spec, nothing); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := w.Commit(ctx, []byte("no json")); err == nil {
		t.Error("metadata that are not JSON were accepted")
	}
	if _, err := s.Create("yesterday"); err == nil {
		t.Error("an ID that is none was accepted")
	}
}

func TestSweepRemovesOnlyWhatNoSnapshotNeeds(t *testing.T) {
	s := newStore(t)
	data := noise(1, 4*ChunkSize)
	first := save(t, s, map[string][]byte{"a": data})
	second := save(t, s, map[string][]byte{"a": data, "b": noise(2, 10)})
	third := save(t, s, map[string][]byte{"c": noise(3, 10)})
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	orphan := NewID(clock.AddDate(0, 0, 1))
	write(orphan+packSuffix, "left by a crash")
	write(orphan+manifestSuffix+tmpSuffix, "left by a crash")
	write("notes.txt", "not ours")
	if err := errors.Join(s.Remove(first.ID), s.Remove(third.ID)); err != nil {
		t.Fatal(err)
	}
	unreadable := NewID(clock.AddDate(0, 0, 2))
	write(unreadable+manifestSuffix, "nonsense")
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if packs, _ := s.names(packSuffix); len(packs) != 4 {
		t.Errorf("with an unreadable manifest packs were removed: %v", packs)
	}
	if err := errors.Join(s.Remove(unreadable), s.Sweep()); err != nil {
		t.Fatal(err)
	}
	names, _ := s.names("")
	want := []string{first.ID + packSuffix, "notes.txt", second.ID + manifestSuffix, second.ID + packSuffix}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("left are %v, not %v", names, want)
	}
}

// TestHoldLock is not a test of its own: TestLock runs it as another process.
func TestHoldLock(t *testing.T) {
	dir := os.Getenv("ARCHIVE_TEST_LOCK")
	if dir == "" {
		t.Skip("only for TestLock")
	}
	unlock, err := Lock(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	fmt.Println("locked")
	select {}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	if unlock, err := Lock(dir, false); err != nil {
		t.Errorf("a reader of a folder without a lock file: %v", err)
	} else {
		unlock()
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldLock$")
	cmd.Env = append(os.Environ(), "ARCHIVE_TEST_LOCK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("locked"))); err != nil {
		t.Fatal(err)
	}
	for _, exclusive := range []bool{true, false} {
		if _, err := Lock(dir, exclusive); !errors.Is(err, ErrLocked) {
			t.Errorf("while another process has it: %v", err)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	unlock, err := Lock(dir, true)
	if err != nil {
		t.Fatalf("after the other process was killed: %v", err)
	}
	if _, err := Lock(dir, true); !errors.Is(err, ErrLocked) {
		t.Errorf("while this process has it: %v", err)
	}
	unlock()
	one, err1 := Lock(dir, false)
	two, err2 := Lock(dir, false)
	if err1 != nil || err2 != nil {
		t.Fatalf("two readers: %v, %v", err1, err2)
	}
	one()
	two()
}

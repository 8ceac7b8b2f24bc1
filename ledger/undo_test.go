package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func undoAt(t *testing.T, path string, generation uint32) *Undo {
	t.Helper()
	u, err := OpenUndo(path, [16]byte{7}, Journaled{}, generation)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// images are the images of a table as text, of each record the newest first.
func images(t *testing.T, u *Undo, since uint32, table string, r Range) map[uint32]string {
	t.Helper()
	out := map[uint32]string{}
	if err := u.Images(since, table, r, func(m Image) { out[m.Seq] += string(m.Had) + ">" + string(m.Wrote) + ";" }); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestUndoAgainstAModel adds at random, opens anew between, and compares what was made, found,
// changed and deleted since each generation with maps.
func TestUndoAgainstAModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "undo")
	type fact struct {
		generation uint32
		kind       string
		text       string
	}
	model := map[uint32][]fact{}
	u := undoAt(t, path, 1)
	generation := uint32(1)
	for step := range 400 {
		from := uint32(rnd.IntN(200))
		r := Range{from, from + 1 + uint32(rnd.IntN(8))}
		each := func(f fact) {
			for seq := r.From; seq < r.To; seq++ {
				model[seq] = append(model[seq], f)
			}
		}
		var err error
		switch n := rnd.IntN(10); {
		case n < 3:
			err = u.Claimed("a", Insert, []Range{r})
			each(fact{generation, "made", ""})
		case n < 4:
			err = u.Claimed("a", Delete, []Range{r})
			each(fact{generation, "deleted", ""})
		case n < 8:
			var list []Image
			had := strings.Repeat(fmt.Sprint(step), 40)
			for seq := r.From; seq < r.To; seq++ {
				list = append(list, Image{Seq: seq, Had: []byte(had), Wrote: []byte("w")})
			}
			found := Found(rnd.IntN(3))
			err = u.Keep("a", found, list)
			each(fact{generation, []string{"not", "maybe", "there"}[found], had + ">w;"})
		case n < 9:
			since := 1 + uint32(rnd.IntN(int(generation)))
			err = u.Undone(since, "a", []Range{r})
			for seq := r.From; seq < r.To; seq++ {
				model[seq] = slices.DeleteFunc(model[seq], func(f fact) bool { return f.generation >= since })
			}
		default:
			u.Close()
			generation += uint32(rnd.IntN(2))
			u = undoAt(t, path, generation)
		}
		if err == nil {
			err = u.Claimed("b", Insert, []Range{r}) // another table's are not mixed in
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read, err := ReadUndo(path, [16]byte{7}, Journaled{})
	if err != nil {
		t.Fatal(err)
	}
	for since := uint32(1); since <= generation; since++ {
		c := read.Since(since, "a")
		got := images(t, read, since, "a", Range{50, 150})
		want := map[uint32]string{}
		for seq := range uint32(210) {
			has := map[string]bool{}
			for _, f := range model[seq] {
				if f.generation < since {
					continue
				}
				has[f.kind] = true
				if f.text != "" && 50 <= seq && seq < 150 {
					want[seq] = f.text + want[seq]
				}
			}
			for name, pair := range map[string][2]bool{
				"made": {c.Made.Has(seq), has["made"] && !has["there"]}, "maybe": {c.Maybe.Has(seq), has["maybe"] && !has["there"]},
				"there": {c.There.Has(seq), has["there"]}, "deleted": {c.Deleted.Has(seq), has["deleted"]},
				"changed": {c.Changed.Has(seq), has["not"] || has["maybe"] || has["there"]},
			} {
				if pair[0] != pair[1] {
					t.Fatalf("since %d, record %d: %s is %v, want %v", since, seq, name, pair[0], pair[1])
				}
			}
			if since == generation {
				if made := has["made"] && !has["there"] && !has["maybe"]; u.Made("a", seq) != made {
					t.Fatalf("record %d: made in this generation is %v, want %v", seq, !made, made)
				}
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("since %d: images %v, want %v", since, got, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want its owner's only", info.Mode(), err)
	}
}

// TestUndoCutShort: whatever a crash leaves of what was added last, the rest is there, and the journal
// goes on behind it.
func TestUndoCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo")
	u := undoAt(t, path, 1)
	if err := u.Claimed("a", Insert, []Range{{0, 9}}); err != nil {
		t.Fatal(err)
	}
	first := u.size
	if err := u.Keep("a", FoundNot, []Image{{Seq: 12, Had: []byte("h"), Wrote: []byte("w")}}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path) // before it is closed
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		cut := slices.Clone(whole[:n])
		if n == len(whole) {
			cut[n-1] ^= 1 // a page that did not come to the disk
		}
		if err := os.WriteFile(path, cut, 0o600); err != nil {
			t.Fatal(err)
		}
		u := undoAt(t, path, 1)
		if got, want := u.Since(1, "a").Made.Len(), map[bool]int{true: 9}[int64(n) >= first]; got != want || len(u.Damages()) > 0 {
			t.Fatalf("cut at %d: %d records were made, want %d; damaged is %v", n, got, want, u.Damages())
		}
		if err := u.Claimed("a", Insert, []Range{{20, 21}}); err != nil {
			t.Fatal(err)
		}
		u.Close()
		if u = undoAt(t, path, 1); !u.Made("a", 20) || u.Since(1, "a").Changed.Len() != 0 || len(u.Damages()) > 0 {
			t.Fatalf("cut at %d: what was added then is not there, or what was cut is", n)
		}
		u.Close()
	}
	for name, text := range map[string]string{"another project's": undoMagic + strings.Repeat("x", 16), "another file": strings.Repeat("y", 40)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenUndo(path, [16]byte{7}, Journaled{}, 1); !errors.Is(err, ErrOtherSet) && !errors.Is(err, ErrNotLedger) {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestUndoFromManySides: what each was told is durable is there.
func TestUndoFromManySides(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo")
	u := undoAt(t, path, 3)
	var all sync.WaitGroup
	for i := range uint32(8) {
		all.Go(func() {
			for k := range uint32(20) {
				if err := u.Claimed("a", Insert, []Range{One(i*100 + k)}); err != nil || !u.Made("a", i*100+k) {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
	read, err := ReadUndo(path, [16]byte{7}, Journaled{})
	if err != nil || read.Since(1, "a").Made.Len() != 160 {
		t.Errorf("%d records, %v", read.Since(1, "a").Made.Len(), err)
	}
	if err := read.Claimed("a", Insert, []Range{One(1)}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("add to one that is open for reading: %v", err)
	}
}

func FuzzUndoFrame(f *testing.F) {
	frame := undoFrame{kind: undoImages, generation: 3, table: "account", ranges: []Range{{3, 9}, {20, 21}}}
	body, err := packImages([]Image{{Seq: 3, Had: []byte("a"), Wrote: []byte("b")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(frame.encode(), body...))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, images, err := parseFrame(b)
		if err != nil {
			return
		}
		again, rest, err := parseFrame(append(frame.encode(), images...))
		if err != nil || !slices.Equal(again.ranges, frame.ranges) || again.table != frame.table || string(rest) != string(images) {
			t.Errorf("%+v became %+v, %v", frame, again, err)
		}
		_ = unpackImages(images, func(Image) {})
	})
}

// TestReset: plan, claim and settle in one, or none of them.
func TestReset(t *testing.T) {
	l := newTest(t, 1)
	ctx := context.Background()
	if err := l.Define(ctx, Table{Name: "a", Number: 9, Count: 10}); err != nil {
		t.Fatal(err)
	}
	if err := l.Reset(ctx, "a", []Range{{0, 4}}, Update, false); err != nil {
		t.Fatal(err)
	}
	if err := l.Reset(ctx, "a", []Range{{2, 6}}, Insert, true); err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint32]string{0: "U/U main, 1 attempts", 2: "I/P main, 1 attempts", 5: "I/P main, 1 attempts", 6: "N/U main, 0 attempts"} {
		if e, _ := l.Entry("a", seq); e.String() != want {
			t.Errorf("record %d: %v, want %s", seq, e, want)
		}
	}
	if err := l.Plan(ctx, "a", []Planned{{Range{7, 8}, Insert}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Claim(ctx, "a", Main, []Range{{7, 8}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Reset(ctx, "a", []Range{{6, 8}}, Update, true); !errors.Is(err, ErrTransition) {
		t.Errorf("a record in flight: %v", err)
	}
	if e, _ := l.Entry("a", 6); e.Action != Nothing {
		t.Errorf("the record before it: %v", e)
	}
}

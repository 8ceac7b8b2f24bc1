package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// threeGenerations writes a journal of three generations with frames of every kind and says where the
// first byte of each generation is.
func threeGenerations(t *testing.T, path string) (starts [4]int64) {
	t.Helper()
	for g := uint32(1); g <= 3; g++ {
		u := undoAt(t, path, g)
		starts[g] = u.size
		at := g * 1000
		must(t, u.Claimed("account", Insert, []Range{{at, at + 100}}))
		for found := FoundNot; found <= FoundThere; found++ {
			var images []Image
			for k := range uint32(20) {
				images = append(images, Image{Seq: 20*uint32(found) + k, Had: fmt.Appendf(nil, "had %d of %d", g, k), Wrote: fmt.Appendf(nil, "wrote %d of %d", g, k)})
			}
			must(t, u.Keep([]string{"account", "contact"}[g%2], found, images))
		}
		must(t, u.Claimed("contact", Delete, []Range{{at, at + 10}}))
		if g == 3 {
			must(t, u.Undone(3, "account", []Range{{3000, 3050}}))
		}
		must(t, u.Close())
	}
	return starts
}

// told is all that a journal says of what the generations from since on did.
func told(t *testing.T, u *Undo, since uint32) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, table := range []string{"account", "contact"} {
		c := u.Since(since, table)
		for name, set := range map[string]*Ranges{"made": c.Made, "maybe": c.Maybe, "there": c.There, "changed": c.Changed, "deleted": c.Deleted} {
			out[table+" "+name] = fmt.Sprint(set.List())
		}
		out[table+" images"] = images(t, u, since, table, Range{0, 1 << 20})
	}
	return out
}

// TestUndoDamaged strikes a journal of three generations at every byte, and at random stretches: it opens all the
// same, says what is damaged, keeps it, tells the truth of all generations that the damage does not concern, and is
// never silent about what it lost.
func TestUndoDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo")
	starts := threeGenerations(t, path)
	sound, err := os.ReadFile(path)
	must(t, err)
	whole, err := ReadUndo(path, [16]byte{7}, Journaled{})
	must(t, err)
	want := map[uint32]map[string]any{}
	for since := uint32(1); since <= 3; since++ {
		want[since] = told(t, whole, since)
	}
	lastMark := len(sound) - (frameHead + len(markPayload(3, 0))) // it only says that all before it is on the disk
	known, unknown := 0, 0
	check := func(what string, struck []byte, from int) {
		t.Helper()
		must(t, os.WriteFile(path, struck, 0o600))
		u, err := ReadUndo(path, [16]byte{7}, Journaled{})
		must(t, err)
		list := u.Damages()
		if (len(list) == 0) != (from >= lastMark) {
			t.Fatalf("%s: the damage is told as %v", what, list)
		}
		for since := uint32(1); since <= 3; since++ {
			if u.Incomplete(since) {
				unknown++
				if list[len(list)-1].To < starts[since] {
					t.Fatalf("%s: what came from generation %d on is called incomplete", what, since)
				}
				continue
			}
			got := told(t, u, since)
			for table, set := range map[string]*Ranges{"account": u.Since(since, "account").Damaged, "contact": u.Since(since, "contact").Damaged} {
				known += set.Len()
				missing := map[uint32]bool{}
				images := got[table+" images"].(map[uint32]string)
				for seq, text := range want[since][table+" images"].(map[uint32]string) {
					if images[seq] != text {
						missing[seq] = true
					}
					if missing[seq] != set.Has(seq) {
						t.Fatalf("%s: since %d record %d of %s had %q, told is %q, damaged is %v", what, since, seq, table, text, images[seq], set.Has(seq))
					}
				}
				delete(got, table+" images")
			}
			for name, v := range got {
				if !reflect.DeepEqual(v, want[since][name]) {
					t.Fatalf("%s: since %d %s is %v, want %v", what, since, name, v, want[since][name])
				}
			}
		}
		if from >= lastMark || from%97 != 0 { // each costs some waits for the disk
			return
		}
		w := undoAt(t, path, 4)
		must(t, w.Claimed("account", Insert, []Range{{9000, 9001}}))
		must(t, w.Close())
		after, err := os.ReadFile(path)
		must(t, err)
		if !bytes.HasPrefix(after, struck) {
			t.Fatalf("%s: the next load has changed what was there", what)
		}
		if w = undoAt(t, path, 4); !w.Made("account", 9000) || len(w.Damages()) != len(list) || w.Incomplete(4) {
			t.Fatalf("%s: after the next load %v is damaged, and what that did is there: %v", what, w.Damages(), w.Made("account", 9000))
		}
		w.Close()
	}
	for i := undoHead; i < len(sound); i += 2 {
		struck := bytes.Clone(sound)
		struck[i] ^= 0x40
		check(fmt.Sprint("byte ", i), struck, i)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		from := undoHead + rnd.IntN(lastMark-undoHead)
		to := min(from+1+rnd.IntN(200), lastMark)
		struck := bytes.Clone(sound)
		clear(struck[from:to])
		if bytes.Equal(struck, sound) {
			continue
		}
		check(fmt.Sprintf("zeroes from %d to %d", from, to), struck, from)
	}
	if known == 0 || unknown == 0 {
		t.Errorf("%d records and %d generations were struck: the test proves nothing", known, unknown)
	}
}

// TestUndoHeadDamaged: what cannot be this project's journal is refused and left as it is.
func TestUndoHeadDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo")
	threeGenerations(t, path)
	sound, err := os.ReadFile(path)
	must(t, err)
	for i := range undoHead - 8 {
		struck := bytes.Clone(sound)
		struck[i] ^= 0x40
		must(t, os.WriteFile(path, struck, 0o600))
		if _, err := OpenUndo(path, [16]byte{7}, Journaled{}, 4); !errors.Is(err, ErrNotLedger) && !errors.Is(err, ErrOtherSet) {
			t.Errorf("byte %d: %v", i, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, struck) {
			t.Errorf("byte %d: the file was changed", i)
		}
	}
}

// TestUndoMissing: where there is no journal, one begins, and says since when.
func TestUndoMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo")
	u, err := ReadUndo(path, [16]byte{7}, Journaled{})
	if err != nil || !u.Began().IsZero() || u.Since(1, "account").Made.Len() > 0 {
		t.Errorf("%v, begun %v", err, u.Began())
	}
	must(t, undoAt(t, path, 1).Close())
	again := undoAt(t, path, 1)
	if read, err := ReadUndo(path, [16]byte{7}, Journaled{}); err != nil || read.Began().IsZero() || !read.Began().Equal(again.Began()) {
		t.Errorf("%v, begun %v and %v", err, read.Began(), again.Began())
	}
}

// TestUndoExamine: entries of records that the ledger does not know are faults, as damage is.
func TestUndoExamine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo")
	starts := threeGenerations(t, path)
	u, err := ReadUndo(path, [16]byte{7}, Journaled{})
	must(t, err)
	tables := []Table{{Name: "account", Count: 3100}, {Name: "contact", Count: 3010}}
	if p := u.Examine(tables); len(p.Faults) > 0 || p.Checked != 16 {
		t.Errorf("%+v", p)
	}
	tables[0].Count--
	if p := u.Examine(tables[:1]); len(p.Faults)+int(p.More) != 10 || !strings.Contains(strings.Join(p.Faults, "\n"), "of record 3099 of account, which has 3099") ||
		!strings.Contains(strings.Join(p.Faults, "\n"), "table contact, which the ledger does not have") {
		t.Errorf("%+v", p)
	}
	b, err := os.ReadFile(path)
	must(t, err)
	b[starts[2]+300] ^= 1
	must(t, os.WriteFile(path, b[:len(b)-3], 0o600))
	tables[0].Count++
	u, err = ReadUndo(path, [16]byte{7}, Journaled{})
	must(t, err)
	if p := u.Examine(tables); len(p.Faults) != 1 || !strings.Contains(p.Faults[0], "cannot be read") || u.Torn() == 0 || u.Size() >= int64(len(b)) {
		t.Errorf("%+v, %d torn of %d", p, u.Torn(), u.Size())
	}
}

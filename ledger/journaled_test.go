package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestUndoCutOff: wherever the file was cut off, as long as the ledger knows that it was longer, that is
// damage, which stays told when more was added, and reaches no generation that began later.
func TestUndoCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo")
	threeGenerations(t, path)
	sound, err := os.ReadFile(path)
	must(t, err)
	whole, err := ReadUndo(path, [16]byte{7}, Journaled{})
	must(t, err)
	noted := Journaled{whole.Began().Unix(), int64(len(sound)), 3}
	for n := undoHead; n < len(sound); n++ {
		must(t, os.WriteFile(path, sound[:n], 0o600))
		u, err := ReadUndo(path, [16]byte{7}, noted)
		must(t, err)
		if d := u.Damages(); len(d) != 1 || d[0].To != noted.Length || !d[0].Known() && !u.Incomplete(3) || u.Torn() != 0 {
			t.Fatalf("cut at %d: damaged is %v, torn are %d", n, d, u.Torn())
		}
		if n%61 != 0 { // each costs some waits for the disk
			continue
		}
		if u, err = OpenUndo(path, [16]byte{7}, noted, 4); err == nil {
			err = u.Close() // and is killed before anything is added
		}
		must(t, err)
		w, err := OpenUndo(path, [16]byte{7}, noted, 4)
		must(t, err)
		must(t, w.Claimed("account", Insert, []Range{{9000, 9001}}))
		must(t, w.Close())
		if after, _ := os.ReadFile(path); !bytes.HasPrefix(after, sound[:n]) {
			t.Fatalf("cut at %d: the next load has changed what was there", n)
		}
		for _, noted := range []Journaled{w.Durable(), {}} {
			u, err = ReadUndo(path, [16]byte{7}, noted)
			must(t, err)
			if !u.Since(4, "account").Made.Has(9000) || len(u.Damages()) == 0 || u.Incomplete(4) {
				t.Fatalf("cut at %d: after the next load damaged is %v", n, u.Damages())
			}
		}
	}
}

// TestUndoStruckAtItsEnd: what was struck behind the last mark after a kill is no crash's where the ledger knows
// that it was on the disk.
func TestUndoStruckAtItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo")
	u := undoAt(t, path, 1)
	must(t, u.Claimed("account", Insert, []Range{{0, 9}}))
	noted := u.Durable()
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)-2] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	for known, want := range map[Journaled]int{noted: 1, {}: 0, {noted.Began - 9, noted.Length, 1}: 0} {
		if u, err = ReadUndo(path, [16]byte{7}, known); err != nil || len(u.Damages()) != want || (u.Torn() > 0) == (want > 0) {
			t.Errorf("noted %v: %v, damaged is %v, torn are %d", known, err, u.Damages(), u.Torn())
		}
	}
}

// TestJournaled: each commit notes how much of the journal is on the disk, and closing the ledger the rest; a
// journal that is made anew is not taken for the former one.
func TestJournaled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "undo")
	l, err := Open(t.Context(), filepath.Join(dir, "ledger"), Options{})
	must(t, err)
	must(t, l.Define(t.Context(), Table{Name: "account", Number: 1, Count: 10}))
	must(t, l.Plan(t.Context(), "account", []Planned{{Range{0, 10}, Insert}}))
	u := undoAt(t, path, 1)
	must(t, l.Accompany(t.Context(), u))
	if n := l.Journaled(); n != (Journaled{u.Began().Unix(), int64(undoHead), 1}) {
		t.Errorf("an empty journal: %v", n)
	}
	must(t, u.Claimed("account", Insert, []Range{{0, 9}}))
	must(t, l.Claim(t.Context(), "account", Main, []Range{{0, 9}}))
	if n := l.Journaled(); n != u.Durable() || n.Length <= int64(undoHead) {
		t.Errorf("after a claim %v is noted, %v on the disk", n, u.Durable())
	}
	must(t, u.Close())
	must(t, l.Close())
	l, err = Open(t.Context(), l.path, Options{ReadOnly: true})
	must(t, err)
	defer l.Close()
	info, err := os.Stat(path)
	must(t, err)
	if n := l.Journaled(); n.Length != info.Size() || n != u.Durable() {
		t.Errorf("closed, %v is noted, %v on the disk, the file has %d", n, u.Durable(), info.Size())
	}
	u, err = OpenUndo(path, [16]byte{7}, l.Journaled(), 1)
	must(t, err)
	must(t, u.Close())
	if after, err := os.Stat(path); err != nil || after.Size() != info.Size() {
		t.Errorf("opened and closed, the file has %d bytes, had %d", after.Size(), info.Size())
	}
	must(t, os.Remove(path))
	again, err := OpenUndo(path, [16]byte{7}, l.Journaled(), 1)
	must(t, err)
	defer again.Close()
	if len(again.Damages()) > 0 || again.Durable().Began == l.Journaled().Began {
		t.Errorf("made anew: %v, %v", again.Damages(), again.Durable())
	}
}

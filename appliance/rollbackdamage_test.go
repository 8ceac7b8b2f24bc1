package appliance

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// undoEntry is where in a journal of changes the first entry of a kind, an action and a generation
// begins that is of accounts (ledger/UNDO.md).
func undoEntry(t *testing.T, journal []byte, kind, action, generation byte) int {
	t.Helper()
	at := bytes.Index(journal, append([]byte{kind, action, 0, 0, 0, generation, byte(len("account"))}, "account"...))
	if at < 0 {
		t.Fatal("the journal has no such entry")
	}
	return at
}

// undoMarkEnd is where the last mark ends that a generation wrote.
func undoMarkEnd(t *testing.T, journal []byte, generation byte) int {
	t.Helper()
	at := bytes.LastIndex(journal, append([]byte{6, 0, 0, 0, 0, generation, 0, 0}, "dvmundo2"...))
	if at < 0 {
		t.Fatal("the journal has no mark")
	}
	return at + 8 + 8 + 8
}

// TestRollbackWithADamagedJournal: what is damaged is told and counted, the rest goes back, loads go on, and
// nothing that the journal does not prove is deleted or overwritten.
func TestRollbackWithADamagedJournal(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {batch: 5}")
	stageAndLoad(t, dir, url)
	full := inTargetNow(t, url)
	editSource(t, dir, "a.csv", "account 1", "changed 1", "account 2", "changed 2", "account 5", "changed 5")
	stageAndLoad(t, dir, url)
	loaded := inTargetNow(t, url)
	path := filepath.Join(dir, "work", undoFile)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		b := slices.Clone(sound)
		b[at] ^= 0x10
		return b
	}
	images := flip(undoEntry(t, sound, 2, 0, 2) + 40) // what accounts had before delta 1
	claims := flip(undoEntry(t, sound, 1, 1, 1))      // that the full load made accounts
	other := flip(3)

	for _, c := range []struct {
		what, generation string
		journal          []byte
		want             RollbackTable
		sound            bool
		told, refused    string
	}{
		{"sound", "last", sound, RollbackTable{Restore: 3}, true, "in order", ""},
		{"what records had is damaged", "last", images, RollbackTable{Damaged: 3}, false, "what 3 records of account had", ""},
		{"and all goes back", "full", images, RollbackTable{Delete: 32}, false, "cannot be read", ""},
		{"a claim is damaged", "full", claims, RollbackTable{Delete: 24, Unknown: 5, Damaged: 3, Maybe: 24}, false, "what they told is not known", ""},
		{"a claim of an earlier generation", "last", claims, RollbackTable{Restore: 3}, false, "cannot be read", ""},
		{"its end is half written", "last", append(slices.Clone(sound), sound[32:60]...), RollbackTable{Restore: 3}, true, "28 bytes half written", ""},
		{"it was cut off where a mark ends", "last", sound[:undoMarkEnd(t, sound, 1)], RollbackTable{}, false, "what they told is not known", ""},
		{"and all of that goes back", "full", sound[:undoMarkEnd(t, sound, 1)], RollbackTable{Delete: 32, Maybe: 32}, false, "what they told is not known", ""},
		{"it is missing", "full", nil, RollbackTable{Unknown: 32}, true, "there is none", ""},
		{"it is another file", "last", other, RollbackTable{}, false, "file is not a ledger", "put back the project's own"},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.journal == nil {
				os.Remove(path)
			} else if err := os.WriteFile(path, c.journal, 0o600); err != nil {
				t.Fatal(err)
			}
			p := reopen(t, dir, Viewing, url)
			defer p.Close()
			c.want.Name = "total"
			plan, err := p.PlanRollback(t.Context(), RollbackOptions{Generation: c.generation, Offline: true}, nil)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%v, want %s", err, c.refused)
				}
			} else if err != nil || plan.Total != c.want || (len(plan.Damage) > 0) == c.sound {
				t.Errorf("%v, %+v, want %+v; damaged is %v", err, plan.Total, c.want, plan.Damage)
			}
			report, err := p.CheckLedger(t.Context())
			part := report.Parts[len(report.Parts)-1]
			text := strings.Join(part.Faults, "\n") + part.Note
			if text == "" {
				text = "in order"
			}
			if err != nil || !report.Sound || report.UndoSound != c.sound || !strings.Contains(text, c.told) {
				t.Errorf("%v, check: sound %v, %s, advice %s", err, report.UndoSound, text, report.Advice)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, c.journal) {
				t.Error("looking has changed the journal")
			}
		})
	}

	load := LoadOptions{SnapshotEvery: -1}
	p := reopen(t, dir, Loading, url) // the journal is another file still
	if _, err := p.Load(t.Context(), t.Context(), load); err == nil || !strings.Contains(err.Error(), "put it away to go on without") {
		t.Errorf("a load beside another file: %v", err)
	}
	for what, journal := range map[string][]byte{"is damaged": images, "was missing": nil} {
		if err := os.WriteFile(path, journal, 0o600); err != nil {
			t.Fatal(err)
		}
		if journal == nil {
			os.Remove(path)
		}
		noted := ""
		u, err := p.openUndo(t.Context(), func(_, text string) { noted += text })
		if err != nil || !strings.Contains(noted, what) {
			t.Fatalf("%s: %v, noted: %s", what, err, noted)
		}
		u.Close()
	}
	p.Close()

	if err := os.WriteFile(path, images, 0o600); err != nil {
		t.Fatal(err)
	}
	p = reopen(t, dir, Loading, url)
	r, err := p.Rollback(t.Context(), t.Context(), RollbackOptions{Generation: "last", Load: load})
	if err != nil || r.Left+r.Back != 0 {
		t.Errorf("only what is damaged: %v, %+v", err, r)
	}
	p.Close()
	editSource(t, dir, "a.csv", "account 3", "changed 3")
	editSource(t, dir, "c.csv", "C1,A1", "C1,A2")
	stageAndLoad(t, dir, url)
	p = reopen(t, dir, Loading, url)
	r, err = p.Rollback(t.Context(), t.Context(), RollbackOptions{Generation: "delta 1", Load: load})
	if d := strings.Join(differences(full, inTargetNow(t, url)), " "); err != nil || r.Back != 2 || r.Left != 3 || d != "A1 A2 A5" {
		t.Errorf("%v, %d went back, %d did not; %s are not as after the full load", err, r.Back, r.Left, d)
	}
	list, err := os.ReadFile(r.List)
	if err != nil || strings.Count(string(list), "left alone") != 3 || !strings.Contains(string(list), "that is damaged") {
		t.Errorf("%v, %s", err, list)
	}
	requireAllLoaded(t, p) // what went back is sent again, the rest counts as loaded
	p.Close()
	if d := strings.Join(differences(loaded, inTargetNow(t, url)), " "); d != "A3 C1" {
		t.Errorf("loaded again, %s differ", d)
	}
}

package appliance

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestVersionFile: what is noted is there when the file is opened again, over many more
// pages than are kept in memory; a comparison that did not end leaves the time of the one
// before; another shape or environment begins anew.
func TestVersionFile(t *testing.T) {
	p := sampleProject(t, "http://127.0.0.1:1", func(string) {})
	folder := filepath.Join(p.work(), reconciledFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	pin := func(text string) {
		if err := os.WriteFile(p.pinPath(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pin("organization 1")
	open := func(shape string) *versionFile {
		v, err := p.openVersions("account", shape)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	model, r := map[uint32]uint64{}, rand.New(rand.NewPCG(1, 2))
	const most = 200 * versionsPage
	since := uint32(0)
	for round := range 4 {
		v := open("a")
		equal := int64(0)
		for _, version := range model {
			if version > 0 {
				equal++
			}
		}
		if began, count := v.Since(); began != since || round > 0 && round != 3 && count != equal {
			t.Errorf("round %d: since %d and %d equal, want %d and %d", round, began, count, since, equal)
		}
		for range 3000 {
			seq := r.Uint32N(most)
			if got := v.Equal(seq); got != model[seq] {
				t.Fatalf("round %d: version of %d is %d, want %d", round, seq, got, model[seq])
			}
			model[seq] = r.Uint64N(3) * 1_000_000_007
			v.Note(seq, model[seq])
		}
		whole := round != 2 // the third is interrupted
		if whole {
			since = uint32(v.began)
		}
		if err := v.close(whole); err != nil {
			t.Fatal(err)
		}
	}
	for seq, version := range model {
		v := open("a")
		if got := v.Equal(seq); got != version {
			t.Errorf("version of %d is %d, want %d", seq, got, version)
		}
		v.close(false)
		break
	}
	if v := open("b"); v.since != 0 || v.count != 0 || v.Equal(r.Uint32N(most)) != 0 {
		t.Error("another shape does not begin anew")
	}
	open("a").close(true)
	pin("organization 2")
	if v := open("a"); v.since != 0 {
		t.Error("another environment does not begin anew")
	}
}

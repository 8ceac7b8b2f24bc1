package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/reconcile"
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

// TestInterruptedComparisonGoesOn: one that is stopped in its second table leaves the first on
// disk; the next one, of another process, reads of that ids and versions, says so, and leaves
// nothing behind. With Anew all is read in full, and nothing is proven where the versions are
// gone.
func TestInterruptedComparisonGoesOn(t *testing.T) {
	p, url := comparedProject(t, "sources: {companies: {path: companies.csv}}\n")
	path := filepath.Join(p.work(), reconciledFolder, unfinishedFile)
	interrupt := func() {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		_, err := p.Reconcile(ctx, ReconcileOptions{Values: true, Limit: 20}, func(step string, _ float64) {
			if step == "comparing contact" {
				stop()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("it ended with %v", err)
		}
		var left map[string]*reconcile.Proven
		b, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(b, &left) != nil || len(left) != 1 || left["account"] == nil {
			t.Fatalf("it left %s: %v", b, err)
		}
		left["account"].Began = left["account"].Began.Add(time.Minute) // as if the load had been a minute before
		if b, err = json.Marshal(left); err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	compare := func(o ReconcileOptions) reconcile.Result {
		t.Helper()
		o.Values, o.Limit = true, 20
		r, err := p.Reconcile(t.Context(), o, func(string, float64) {})
		if err != nil || !r.Pass {
			t.Fatalf("%v, %+v", err, r)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the end leaves %v", err)
		}
		return r
	}
	interrupt()
	dir := filepath.Dir(p.work())
	p.Close()
	p = reopen(t, dir, Loading, url)
	r := compare(ReconcileOptions{})
	if a := r.Tables[0]; a.Unchanged != 12 || a.Resumed == nil || a.Resumed.Done != 1 || a.Resumed.Of != 1 || r.Tables[1].Resumed != nil || r.Tables[1].Unchanged != 0 {
		t.Errorf("gone on: %+v", r.Tables)
	}
	if notes := ComparisonNotes(r); !strings.Contains(strings.Join(notes, "\n"), "interrupted when it had compared 1 of 1 ranges") {
		t.Errorf("it says %q", notes)
	}
	interrupt()
	if r := compare(ReconcileOptions{Anew: true}); r.Tables[0].Resumed != nil || r.Tables[0].Unchanged != 0 {
		t.Errorf("anew: %+v", r.Tables[0])
	}
	interrupt()
	if err := os.Remove(filepath.Join(p.work(), reconciledFolder, "account.versions")); err != nil {
		t.Fatal(err)
	}
	if r := compare(ReconcileOptions{}); r.Tables[0].Resumed != nil || r.Tables[0].Unchanged != 0 {
		t.Errorf("without versions: %+v", r.Tables[0])
	}
	if err := os.WriteFile(path, []byte("{broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	compare(ReconcileOptions{})
}

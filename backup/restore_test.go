package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/backup/archive"
)

// flipByte changes one byte of a file; a negative place counts from its end.
func flipByte(t testing.TB, name string, at int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x10
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamage(t *testing.T) {
	base := t.TempDir()
	shared := noise(1, 600_000)
	olderData := bytes.Clone(shared)
	older := mustTake(t, Options{Dir: base}, &blob{name: "ledger", data: []byte("old")}, &blob{name: "stage", data: olderData})
	newer := mustTake(t, Options{Dir: base}, &blob{name: "ledger", data: []byte("new")}, &blob{name: "stage", data: noise(2, 600_000)})
	pack, manifest := newer.ID+".pack", newer.ID+".manifest"
	tests := []struct {
		name   string
		damage func(t *testing.T, dir string)
		file   string // named by the errors
		listed bool   // List sees it without reading the chunks
	}{
		{"a byte in the pack", func(t *testing.T, dir string) { flipByte(t, filepath.Join(dir, pack), 300_000) }, pack, false},
		{"the last byte of the pack", func(t *testing.T, dir string) { flipByte(t, filepath.Join(dir, pack), -1) }, pack, false},
		{"the header of the pack", func(t *testing.T, dir string) { flipByte(t, filepath.Join(dir, pack), 3) }, pack, true},
		{"the pack cut off", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, pack), 500_000) }, pack, true},
		{"the pack missing", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, pack)) }, pack, true},
		{"another pack in its place", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, older.ID+".pack"), filepath.Join(dir, pack)); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(base, older.ID+".pack"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, older.ID+".pack"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, pack, true},
		{"a byte in the manifest", func(t *testing.T, dir string) { flipByte(t, filepath.Join(dir, manifest), 60) }, manifest, true},
		{"the manifest cut off", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, manifest), 200) }, manifest, true},
		{"the manifest empty", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, manifest), 0) }, manifest, true},
		{"another manifest in its place", func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, older.ID+".manifest"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, manifest), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, manifest, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := copyFolder(t, base)
			test.damage(t, dir)
			ctx := context.Background()

			all, err := listIn(dir, nil)
			if err != nil || len(all) != 2 {
				t.Fatalf("listed %v, %v", all, err)
			}
			if (all[0].Fault != nil) != test.listed || all[1].Fault != nil {
				t.Errorf("listed with %v and %v", all[0].Fault, all[1].Fault)
			}
			d := damaged(t, verify(dir, ""))
			if d.ID != newer.ID || d.Good != older.ID || !strings.Contains(d.Error(), test.file) {
				t.Errorf("verify: %v", d)
			}
			to, stage := &blob{name: "ledger"}, &blob{name: "stage"}
			_, err = restoreFrom(ctx, dir, "", nil, to, stage)
			d = damaged(t, err)
			if d.ID != newer.ID || d.Good != older.ID || to.data != nil || stage.data != nil {
				t.Errorf("restore: %v; targets have %d and %d bytes", err, len(to.data), len(stage.data))
			}
			for _, want := range []string{test.file, "nothing was changed", "choose snapshot " + older.ID} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("restore says %q, not %q", err, want)
				}
			}
			if !bytes.Equal(restored(t, dir, d.Good, "stage"), olderData) {
				t.Error("the older one comes back different")
			}
			next := mustTake(t, Options{Dir: dir}, &blob{name: "stage", data: noise(2, 600_000)})
			if _, err := Verify(ctx, dir, next.ID, nil, 1); err != nil {
				t.Errorf("the next snapshot: %v", err)
			}
		})
	}
}

func truncate(t *testing.T, name string, size int64) {
	t.Helper()
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func TestDamageThatEverySnapshotShares(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	stage := &blob{name: "stage", data: noise(1, 600_000)}
	first := mustTake(t, o, stage)
	mustTake(t, o, stage)
	flipByte(t, filepath.Join(o.Dir, first.ID+".pack"), 1000)
	_, err := restoreFrom(context.Background(), o.Dir, "", nil, stage)
	d := damaged(t, err)
	if d.Good != "" || !strings.Contains(err.Error(), "no other snapshot") || !strings.Contains(err.Error(), `part "stage", chunk 0 at byte 49`) {
		t.Errorf("got %v", err)
	}
	if !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("%v is not archive.ErrDamaged", err)
	}
}

// The second part turns out to be damaged when the first has been read.
func TestDamageThatComesUpDuringRestore(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := mustTake(t, o, &blob{name: "ledger", data: []byte("x")}, &blob{name: "stage", data: noise(1, 10<<20)})
	target := filepath.Join(t.TempDir(), "stage.duckdb")
	if err := os.WriteFile(target, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	ledger := &blob{name: "ledger"}
	_, err := restoreFrom(context.Background(), o.Dir, "", nil, ledger, &spoiler{
		single: &single{"stage", target},
		spoil:  func() { flipByte(t, filepath.Join(o.Dir, s.ID+".pack"), -1) },
	})
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), s.ID+".pack") || ledger.data != nil {
		t.Errorf("got %v; the ledger has %q", err, ledger.data)
	}
	if b, _ := os.ReadFile(target); string(b) != "as it was" {
		t.Error("the file under its final name was changed")
	}
	if names := fileNames(t, filepath.Dir(target)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

type spoiler struct {
	*single
	spoil func()
}

func (s *spoiler) RestoreFrom(ctx context.Context, r io.Reader) error {
	s.spoil()
	return s.single.RestoreFrom(ctx, r)
}

// brokenTarget reads its part and cannot put it in place.
type brokenTarget struct {
	blob
	err error
}

func (b *brokenTarget) RestoreFrom(_ context.Context, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return errors.Join(err, b.err)
}

func TestRestoreSaysWhatIsInPlaceWhenATargetFails(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	mustTake(t, o, &blob{name: "ledger", data: []byte("x")}, &blob{name: "stage", data: noise(1, 1<<20)})
	full := errors.New("no space left")
	_, err := restoreFrom(context.Background(), o.Dir, "", nil, &brokenTarget{blob: blob{name: "ledger"}, err: full}, &blob{name: "stage"})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), `part "ledger"`) || !strings.Contains(err.Error(), "restored already and to be restored again with the rest: stage") {
		t.Errorf("got %v", err)
	}
}

// verify returns only the error of Verify.
func verify(dir, id string) error {
	_, err := Verify(context.Background(), dir, id, nil, 1)
	return err
}

func TestRestoreRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	ctx := context.Background()
	ledger := &blob{name: "ledger", data: []byte("x")}
	if _, err := restoreFrom(ctx, dir, "", nil, ledger); !errors.Is(err, ErrNotFound) {
		t.Errorf("no folder: %v", err)
	}
	s := mustTake(t, Options{Dir: dir}, ledger)
	for _, id := range []string{"../../etc/passwd", "20260101T000000.000Z-00000000"} {
		if _, err := restoreFrom(ctx, dir, id, nil, ledger); !errors.Is(err, ErrNotFound) {
			t.Errorf("snapshot %s: %v", id, err)
		}
	}
	if _, err := restoreFrom(ctx, dir, s.ID, nil); err == nil {
		t.Error("no target: no error")
	}
	if _, err := restoreFrom(ctx, dir, s.ID, nil, ledger, &blob{name: "stage"}); !errors.Is(err, ErrNotFound) || ledger.restored > 0 {
		t.Errorf("a part that is not there: %v, ledger restored %d times", err, ledger.restored)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := restoreFrom(stopped, dir, "", nil, ledger); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

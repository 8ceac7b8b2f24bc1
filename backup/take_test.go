package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/backup/archive"
)

func TestSnapshotComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "snapshots")
	var logged strings.Builder
	o := Options{
		Dir:    dir,
		Meta:   map[string]any{"project": "demo", "epoch": 7},
		Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	}
	ledger := &blob{name: "ledger", data: noise(1, 700_000)}
	stage := &blob{name: "stage", data: bytes.Repeat([]byte("row "), 500_000), first: 12288}
	empty := &blob{name: "empty"}
	s := mustTake(t, o, ledger, stage, empty)
	checkFolder(t, dir)
	for _, b := range []*blob{ledger, stage, empty} {
		if !bytes.Equal(restored(t, dir, "", b.name), b.data) {
			t.Errorf("%s comes back different", b.name)
		}
	}
	all, err := listIn(dir, nil)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	got := all[0]
	if got.ID != s.ID || got.Fault != nil || got.Size != 2_700_000 || got.Added < 700_000 || got.Added > 800_000 {
		t.Errorf("listed as %+v", got)
	}
	if len(got.Parts) != 3 || got.Parts[1] != (PartInfo{Name: "stage", Size: 2_000_000, Chunks: 9}) {
		t.Errorf("parts listed as %+v", got.Parts)
	}
	var meta struct {
		Project string
		Epoch   int
	}
	if err := json.Unmarshal(got.Meta, &meta); err != nil || meta.Project != "demo" || meta.Epoch != 7 {
		t.Errorf("metadata %s, %v", got.Meta, err)
	}
	if !strings.Contains(logged.String(), s.ID) {
		t.Errorf("logged %q", &logged)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, s.ID + ".pack": 0o600, s.ID + ".manifest": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q has mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestSecondSnapshotStoresOnlyWhatChanged(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	// A DuckDB file: three header blocks of 4 KiB, then blocks of 256 KiB.
	stage := &blob{name: "stage", data: noise(1, 12288+100*archive.ChunkSize), first: 12288}
	first := mustTake(t, o, stage)
	copy(stage.data, "a new header")
	copy(stage.data[12288+40*archive.ChunkSize:], noise(2, archive.ChunkSize)) // exactly one block
	second := mustTake(t, o, stage)
	if max := int64(archive.ChunkSize + 12288 + 100); second.Added > max {
		t.Errorf("1 %% changed adds %d bytes to %d, more than %d", second.Added, first.Added, max)
	}
	if third := mustTake(t, o, stage); third.Added != 0 {
		t.Errorf("nothing changed adds %d bytes", third.Added)
	}
	if !bytes.Equal(restored(t, o.Dir, "", "stage"), stage.data) {
		t.Error("comes back different")
	}
	checkFolder(t, o.Dir)
}

func TestPartWithTheSameFingerprintIsNotRead(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	stage := &blob{name: "stage", data: noise(1, 1_000_000), fingerprint: "generation 1"}
	ledger := &blob{name: "ledger", data: noise(2, 1000)}
	first := mustTake(t, o, ledger, stage)
	mustTake(t, o, ledger) // one without the stage between
	mustTake(t, o, ledger, stage)
	if stage.taken != 1 || ledger.taken != 3 {
		t.Errorf("stage was read %d times, ledger %d", stage.taken, ledger.taken)
	}
	if !bytes.Equal(restored(t, o.Dir, "", "stage"), stage.data) {
		t.Error("comes back different")
	}
	flipByte(t, filepath.Join(o.Dir, first.ID+".pack"), -1)
	mustTake(t, o, ledger, stage)
	if stage.taken != 2 {
		t.Errorf("what was stored is damaged, but stage was read %d times", stage.taken)
	}
	if !bytes.Equal(restored(t, o.Dir, "", "stage"), stage.data) {
		t.Error("comes back different after damage")
	}
	stage.data, stage.fingerprint = noise(3, 1_000_000), "generation 2"
	mustTake(t, o, ledger, stage)
	if stage.taken != 3 || !bytes.Equal(restored(t, o.Dir, "", "stage"), stage.data) {
		t.Errorf("a new generation: stage was read %d times", stage.taken)
	}
}

// meddler is a part that calls something while it is being copied.
type meddler struct {
	blob
	call func()
}

func (m *meddler) SnapshotTo(ctx context.Context, w io.Writer) error {
	m.call()
	return m.blob.SnapshotTo(ctx, w)
}

func TestOnlyOneWorksInAFolder(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	ctx := context.Background()
	ledger := &blob{name: "ledger", data: []byte("x")}
	mustTake(t, o, ledger)
	mustTake(t, o, &meddler{blob: *ledger, call: func() {
		if _, err := Take(ctx, o, ledger); !errors.Is(err, ErrLocked) {
			t.Errorf("second Take: %v", err)
		}
		if _, err := restoreFrom(ctx, o.Dir, "", nil, ledger); !errors.Is(err, ErrLocked) {
			t.Errorf("Restore: %v", err)
		}
		if all, err := listIn(o.Dir, nil); err != nil || len(all) != 1 {
			t.Errorf("List: %v %v", all, err)
		}
		if _, err := Verify(ctx, o.Dir, "", nil, 1); err != nil {
			t.Errorf("Verify: %v", err)
		}
	}})
	checkFolder(t, o.Dir)
}

func TestFailedTakeLeavesNothing(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	good := &blob{name: "ledger", data: noise(1, 600_000)}
	mustTake(t, o, good)
	before := fileNames(t, o.Dir)
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, take := range map[string]func() error{
		"a part fails": func() error {
			good.data = noise(2, 600_000)
			_, err := Take(ctx, o, good, failingPart{broken})
			if !errors.Is(err, broken) || !strings.Contains(err.Error(), `"failing"`) {
				t.Errorf("got %v", err)
			}
			return err
		},
		"two parts of one name": func() error { _, err := Take(ctx, o, good, good); return err },
		"no parts":              func() error { _, err := Take(ctx, o); return err },
		"metadata are no JSON": func() error {
			o := o
			o.Meta = func() {}
			_, err := Take(ctx, o, good)
			return err
		},
		"stopped": func() error {
			ctx, cancel := context.WithCancel(ctx)
			_, err := Take(ctx, o, good, &meddler{blob: blob{name: "b", data: noise(9, 20<<20)}, call: cancel})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			return err
		},
	} {
		if err := take(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after := fileNames(t, o.Dir); !slices.Equal(after, before) {
			t.Errorf("%s: folder holds %v", name, after)
		}
	}
	checkFolder(t, o.Dir)
}

type failingPart struct{ err error }

func (f failingPart) Name() string { return "failing" }
func (f failingPart) SnapshotTo(_ context.Context, w io.Writer) error {
	if _, err := w.Write(noise(7, 1_000_000)); err != nil {
		return err
	}
	return f.err
}

func TestFullDisk(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	old := noise(1, 600_000)
	mustTake(t, o, &blob{name: "ledger", data: old})
	before := fileNames(t, o.Dir)
	for _, room := range []int{0, 20, 41, 100_000, 600_000, 1_000_050, 1_000_200} {
		f := newFaults(t, -1, false)
		f.room = room
		o := o
		o.files = f
		_, err := Take(context.Background(), o, &blob{name: "ledger", data: noise(2, 1_000_000)})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "earlier ones are unharmed") {
			t.Errorf("room for %d bytes: %v", room, err)
		}
		if after := fileNames(t, o.Dir); !slices.Equal(after, before) {
			t.Errorf("room for %d bytes: folder holds %v", room, after)
		}
	}
	if !bytes.Equal(restored(t, o.Dir, "", "ledger"), old) {
		t.Error("the old snapshot comes back different")
	}
	checkFolder(t, o.Dir)
}

// TestCrashAtEveryStep lets every single operation of a Take fail in turn, from the
// first to the last: once, so that it can clean up, or by a power cut that takes back
// what was not synced, with more or fewer of the names. The Take removes the older of
// two snapshots and its pack, too.
func TestCrashAtEveryStep(t *testing.T) {
	base := t.TempDir()
	contents := make(map[string][]byte)
	keep := Retention{Last: 2}
	for _, data := range [][]byte{noise(5, 900_000), slices.Concat(noise(1, 600_000), noise(10, 300_000))} {
		contents[mustTake(t, Options{Dir: base, Keep: keep}, &blob{name: "ledger", data: data}).ID] = data
	}
	fresh := slices.Concat(noise(1, 600_000), noise(20, 300_000))
	for name, way := range map[string]struct {
		fatal bool
		loss  loss
	}{
		"an operation fails once":       {fatal: false},
		"power cut, no name is lost":    {fatal: true, loss: noNames},
		"power cut, one name is lost":   {fatal: true, loss: oldestName},
		"power cut, all names are lost": {fatal: true, loss: allNames},
	} {
		t.Run(name, func(t *testing.T) {
			steps := 0
			for ; ; steps++ {
				dir := copyFolder(t, base)
				f := newFaults(t, steps, way.fatal)
				s, err := Take(context.Background(), Options{Dir: dir, Keep: keep, files: f}, &blob{name: "ledger", data: fresh})
				if way.fatal { // at the latest when all is done
					f.powerCut(t, way.loss)
				}
				checkAfterCrash(t, steps, dir, contents, fresh, s, err)
				again := mustTake(t, Options{Dir: dir, Keep: keep}, &blob{name: "ledger", data: fresh})
				if !bytes.Equal(restored(t, dir, again.ID, "ledger"), fresh) {
					t.Errorf("step %d: the next snapshot comes back different", steps)
				}
				checkFolder(t, dir)
				if !f.tripped {
					break
				}
			}
			if steps < 15 {
				t.Errorf("only %d steps were found", steps)
			}
		})
	}
}

// checkAfterCrash requires that the folder lists only whole snapshots with their own
// content, the newest of the base or the fresh one among them.
func checkAfterCrash(t *testing.T, step int, dir string, contents map[string][]byte, fresh []byte, s Snapshot, err error) {
	t.Helper()
	all, lerr := listIn(dir, nil)
	if lerr != nil || len(all) < 2 {
		t.Fatalf("step %d: %d snapshots, %v", step, len(all), lerr)
	}
	var newest string // of those that were there before
	for id := range contents {
		newest = max(newest, id)
	}
	seen := make(map[string]bool)
	for _, one := range all {
		seen[one.ID] = true
		want, ok := contents[one.ID]
		if !ok {
			want = fresh
		}
		if one.Fault != nil || !bytes.Equal(restored(t, dir, one.ID, "ledger"), want) {
			t.Errorf("step %d: snapshot %s is not whole: %v", step, one.ID, one.Fault)
		}
	}
	if !seen[newest] {
		t.Errorf("step %d: the snapshot before is lost", step)
	}
	if err == nil && !seen[s.ID] {
		t.Errorf("step %d: Take succeeded, but the snapshot is not there", step)
	}
}

// In a bubble it is the year 2000: long before the first snapshot was taken.
func TestNewestIsTheLastTakenAlsoWhenTheClockIsSetBack(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	first := mustTake(t, o, &blob{name: "ledger", data: []byte("before")})
	synctest.Test(t, func(t *testing.T) {
		if time.Now().After(first.Time) {
			t.Fatal("the clock was not set back")
		}
		second := mustTake(t, o, &blob{name: "ledger", data: []byte("after")})
		if second.ID <= first.ID || !second.Time.After(first.Time) {
			t.Errorf("%s does not come after %s", second.ID, first.ID)
		}
	})
	if got := restored(t, o.Dir, "", "ledger"); string(got) != "after" {
		t.Errorf("the newest is %q", got)
	}
}

// liar is a disk that changes one bit of what it is given.
type liar struct {
	archive.OS
	at int64 // which byte of which kind of file
	in string
}

func (l *liar) Create(name string) (archive.File, error) {
	f, err := l.OS.Create(name)
	if err != nil || !strings.Contains(name, l.in) {
		return f, err
	}
	return &lyingFile{File: f, at: l.at}, nil
}

type lyingFile struct {
	archive.File
	at int64 // counts down
}

func (l *lyingFile) Write(b []byte) (int, error) {
	if l.at >= 0 && l.at < int64(len(b)) {
		b = bytes.Clone(b)
		b[l.at] ^= 1
	}
	l.at -= int64(len(b))
	return l.File.Write(b)
}

func TestWhatIsWrittenWrongIsNoticedBeforeTheSnapshotCounts(t *testing.T) {
	for _, in := range []string{".pack", ".manifest"} {
		for _, at := range []int64{0, 45, 150} {
			o := Options{Dir: t.TempDir(), files: &liar{in: in, at: at}}
			_, err := Take(context.Background(), o, &blob{name: "ledger", data: noise(1, 300_000)})
			if !errors.Is(err, archive.ErrDamaged) {
				t.Errorf("byte %d of %s: %v", at, in, err)
			}
			if names := fileNames(t, o.Dir); !slices.Equal(names, []string{"lock"}) {
				t.Errorf("byte %d of %s: left behind %v", at, in, names)
			}
		}
	}
}

// What a crash left may be what fills the disk: it goes before anything is written.
func TestLeftoversGoFirst(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	mustTake(t, o, &blob{name: "ledger", data: []byte("x")})
	before := fileNames(t, o.Dir)
	orphan := archive.NewID(time.Now())
	for _, name := range []string{orphan + ".pack", orphan + ".pack.tmp", orphan + ".manifest.tmp"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte("left by a crash"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustTake(t, o, &meddler{blob: blob{name: "ledger"}, call: func() {
		if names := fileNames(t, o.Dir); !slices.Equal(names, before) {
			t.Errorf("while the first part is copied there are %v", names)
		}
	}})
}

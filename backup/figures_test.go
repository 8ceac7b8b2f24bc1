package backup

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// figuresVar makes TestFigures run, with that many MiB of stage, 2048 for the published
// figures. It takes a few minutes then, and eight times that on the disk.
const figuresVar = "DVMIGRATE_SNAPSHOT_FIGURES"

// TestFigures measures snapshots beside restic, with its defaults, and beside cp, on the
// same files in one run. Without figuresVar it is a small run
// of our side only, which must succeed.
func TestFigures(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv(figuresVar))
	if err != nil {
		size = 8
	}
	f := &figures{T: t, dir: t.TempDir(), runs: 1}
	if err == nil {
		f.runs = 3
	}
	f.stage, f.ledger = filepath.Join(f.dir, "stage"), filepath.Join(f.dir, "ledger")
	f.fill(f.stage, int64(size)<<20)
	f.fill(f.ledger, int64(size)<<20/20)
	copied := f.measure("cp + fsync", func(int) { f.copy() })
	first, second, restored := f.ours("plain", nil)
	who := newPerson(t)
	sealedFirst, sealedSecond, sealedRestored := f.ours("encrypted", who)
	t.Logf("encryption adds %.0f %% to the first, %.0f %% to the second, %.0f %% to the restore",
		100*(sealedFirst/first-1), 100*(sealedSecond/second-1), 100*(sealedRestored/restored-1))
	t.Logf("restore: %.2f x cp + fsync", restored/copied)
	if _, err := exec.LookPath("restic"); err != nil || os.Getenv(figuresVar) == "" {
		return
	}
	a, b, c := f.restic()
	t.Logf("first: %.2f x restic; second: %.2f x; restore: %.2f x", first/a, second/b, restored/c)
}

type figures struct {
	*testing.T
	dir, stage, ledger string
	runs               int
}

// newPerson returns keys that encrypt and open.
func newPerson(t testing.TB) *Keyring {
	t.Helper()
	secret, public, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeyring(Keys{Recipients: []string{public}, Identities: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// fill writes a file like a DuckDB's or a ledger's: numbers that ascend, words that
// repeat, and a half that does not compress.
func (f *figures) fill(name string, size int64) {
	rnd := rand.New(rand.NewPCG(1, uint64(size)))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = make([]byte, 4+rnd.IntN(12))
		for j := range words[i] {
			words[i][j] = byte('a' + rnd.IntN(26))
		}
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	f.must(err)
	w := bufio.NewWriterSize(file, 1<<20)
	var row []byte
	for n := int64(0); n < size; n += int64(len(row)) {
		row = binary.BigEndian.AppendUint64(row[:0], uint64(n))
		row = append(row, words[rnd.IntN(len(words))]...)
		for range 2 {
			row = binary.LittleEndian.AppendUint64(row, rnd.Uint64())
		}
		_, err = w.Write(row)
		f.must(err)
	}
	f.must(w.Flush())
	f.must(file.Truncate(size))
	f.must(file.Close())
}

// change changes one block of 256 KiB in a hundred, another one each time.
func (f *figures) change(run int) {
	file, err := os.OpenFile(f.stage, os.O_RDWR, 0)
	f.must(err)
	info, err := file.Stat()
	f.must(err)
	block := make([]byte, 256<<10)
	rnd := rand.NewChaCha8([32]byte{byte(run)})
	for at := int64(run) << 18; at+int64(len(block)) < info.Size(); at += 100 << 18 {
		rnd.Read(block)
		_, err := file.WriteAt(block, at)
		f.must(err)
	}
	f.must(file.Close())
}

func (f *figures) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// measure returns the median seconds of the runs.
func (f *figures) measure(what string, run func(n int)) float64 {
	var took []float64
	for n := range f.runs {
		begin := time.Now()
		run(n)
		took = append(took, time.Since(begin).Seconds())
	}
	slices.Sort(took)
	f.Logf("%-24s %6.2f s (%.2f)", what, took[len(took)/2], took)
	return took[len(took)/2]
}

func (f *figures) copy() {
	for _, name := range []string{f.stage, f.ledger} {
		from, err := os.Open(name)
		f.must(err)
		to, err := os.Create(name + ".copy")
		f.must(err)
		_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1<<20))
		f.must(err)
		f.must(to.Sync())
		from.Close()
		f.must(to.Close())
		f.must(os.Remove(name + ".copy"))
	}
}

func (f *figures) ours(how string, keys *Keyring) (first, second, restored float64) {
	ctx := context.Background()
	dir := filepath.Join(f.dir, "snapshots "+how)
	var s Snapshot
	take := func() {
		var err error
		s, err = Take(ctx, Options{Dir: dir, Keys: keys}, File("ledger", f.ledger), File("stage", f.stage))
		f.must(err)
	}
	first = f.measure(how+", first", func(n int) {
		if n > 0 {
			f.must(os.RemoveAll(dir))
		}
		take()
	})
	f.Logf("%d MiB of %d", s.Added>>20, s.Size>>20)
	f.measure(how+", nothing changed", func(int) { take() })
	for round := range f.runs { // the change itself is not measured
		f.change(round)
		second = max(second, f.once(take))
	}
	f.Logf("%-24s %6.2f s at most, %d MiB new", how+", 1 % changed", second, s.Added>>20)
	restored = f.measure(how+", restore", func(int) {
		_, err := Restore(ctx, dir, "", keys, File("ledger", f.ledger+".back"), File("stage", f.stage+".back"))
		f.must(err)
		f.must(os.Remove(f.stage + ".back"))
	})
	f.must(os.RemoveAll(dir))
	return first, second, restored
}

func (f *figures) once(run func()) float64 {
	begin := time.Now()
	run()
	return time.Since(begin).Seconds()
}

func (f *figures) restic() (first, second, restored float64) {
	repo := filepath.Join(f.dir, "restic")
	run := func(args ...string) {
		cmd := exec.Command("restic", append([]string{"-q", "-r", repo}, args...)...)
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR="+filepath.Join(f.dir, "cache"))
		if out, err := cmd.CombinedOutput(); err != nil {
			f.Fatalf("restic: %v: %s", err, out)
		}
	}
	first = f.measure("restic, first", func(int) {
		f.must(os.RemoveAll(repo))
		run("init")
		run("backup", f.ledger, f.stage)
	})
	for round := range f.runs {
		f.change(100 + round)
		second = max(second, f.once(func() { run("backup", f.ledger, f.stage) }))
	}
	f.Logf("%-24s %6.2f s at most", "restic, 1 % changed", second)
	to := filepath.Join(f.dir, "restic restored")
	restored = f.measure("restic, restore", func(int) {
		run("restore", "latest", "--target", to)
		f.must(os.RemoveAll(to))
	})
	return first, second, restored
}

package appliance

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"dvmigrate/backup"
	"dvmigrate/duckstage"
	"dvmigrate/ledger"
)

// snapshotFigures makes TestSnapshotFigures measure, with a stage of that many MiB, 2048 for the
// published figures. It takes minutes then, and eight times that on the disk.
const snapshotFigures = "DVMIGRATE_SNAPSHOT_FIGURES"

// TestSnapshotFigures measures snapshots of a real stage and ledger, and their restore as `restore` does
// it, with the checks of both files, beside restic with its defaults and beside cp + fsync, all in turn
// on the same files. Without the variable it is a small run of our side, which must bring back what was.
func TestSnapshotFigures(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv(snapshotFigures))
	f := &snapshotRun{T: t, dir: t.TempDir(), rounds: 3, took: map[string][]float64{}}
	if err != nil {
		size, f.rounds = 4, 1
	}
	f.fill(int64(size) << 20)
	secret, public, err := backup.NewIdentity()
	f.must(err)
	keys, err := backup.NewKeyring(backup.Keys{Recipients: []string{public}, Identities: []string{secret}})
	f.must(err)
	_, err = exec.LookPath("restic")
	restic := err == nil && os.Getenv(snapshotFigures) != ""
	for round := range f.rounds {
		f.time("cp + fsync", f.copy)
		f.ours("plain", nil, round)
		f.ours("encrypted", keys, round)
		if restic {
			f.restic(round)
		}
	}
	for _, what := range []string{"first", "unchanged", "1 % changed", "restore"} {
		line := fmt.Sprintf("%-12s", what)
		for _, how := range []string{"plain", "encrypted", "restic"} {
			line += fmt.Sprintf("  %s %.2f s (%.2f)", how, f.median(how+" "+what), f.took[how+" "+what])
		}
		if restic {
			line += fmt.Sprintf("  %.2f x restic, encrypted %.2f x", f.median("plain "+what)/f.median("restic "+what), f.median("encrypted "+what)/f.median("restic "+what))
		}
		if what == "restore" {
			line += fmt.Sprintf("  %.2f x cp + fsync %.2f s (%.2f), encrypted %.2f x", f.median("plain "+what)/f.median("cp + fsync"), f.median("cp + fsync"), f.took["cp + fsync"], f.median("encrypted "+what)/f.median("cp + fsync"))
		}
		t.Log(line)
	}
}

type snapshotRun struct {
	*testing.T
	dir    string
	stage  *duckstage.Stage
	ledger *ledger.Ledger
	rows   uint32
	next   uint32 // record that the ledger claims next
	rounds int
	took   map[string][]float64 // seconds, by what was done
}

func (f *snapshotRun) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *snapshotRun) time(what string, do func()) {
	began := time.Now()
	do()
	f.took[what] = append(f.took[what], time.Since(began).Seconds())
}

func (f *snapshotRun) median(what string) float64 {
	list := slices.Sorted(slices.Values(f.took[what]))
	if len(list) == 0 {
		return 0
	}
	return list[len(list)/2]
}

func (f *snapshotRun) path(name string) string { return filepath.Join(f.dir, name) }

func (f *snapshotRun) files() []string {
	return []string{f.path("stage.duckdb"), f.path("ledger.bolt")}
}

// fill makes a stage of about that many bytes, and a ledger of its rows, of which half are done and one
// in a hundred of those failed.
func (f *snapshotRun) fill(size int64) {
	ctx := f.Context()
	var err error
	f.stage, err = duckstage.Open(ctx, f.path("stage.duckdb"), duckstage.Options{})
	f.must(err)
	f.Cleanup(func() { _ = f.stage.Close() })
	const piece = 20_000
	row := "SELECT range::UINTEGER AS dm_seq, 'A-' || range AS legacy_key, uuid() AS dm_id, 'Customer number ' || range %% 90001 AS name, (random() * 1e6)::DECIMAL(12, 2) AS amount, 'Main Street ' || range %% 997 AS street, md5(range::VARCHAR) AS note FROM range(%d, %d)"
	for n := uint32(piece); ; n = min(2*n, 1_000_000) {
		statement := "INSERT INTO account " + row
		if f.rows == 0 {
			statement = "CREATE TABLE account AS " + row
		}
		_, err := f.stage.Exec(ctx, fmt.Sprintf(statement, f.rows, f.rows+n))
		f.must(err)
		f.rows += n
		f.checkpoint()
		info, err := os.Stat(f.path("stage.duckdb"))
		f.must(err)
		if info.Size() >= size {
			break
		}
	}
	f.ledger, err = ledger.Open(ctx, f.path("ledger.bolt"), ledger.Options{})
	f.must(err)
	f.Cleanup(func() { _ = f.ledger.Close() })
	f.must(f.ledger.Define(ctx, ledger.Table{Name: "account", Number: 1, Count: f.rows}))
	f.must(f.ledger.Plan(ctx, "account", []ledger.Planned{{Range: ledger.Range{From: 0, To: f.rows}, Action: ledger.Insert}}))
	f.load(f.rows / 2)
}

func (f *snapshotRun) checkpoint() {
	_, err := f.stage.Exec(f.Context(), "CHECKPOINT")
	f.must(err)
}

// load has the ledger note about so many records as done.
func (f *snapshotRun) load(records uint32) {
	for end := f.next + records; f.next < end; {
		to := min(f.next+50_000, end)
		r := ledger.Range{From: f.next, To: to}
		var out []ledger.Outcome
		for seq := f.next; seq < to; seq += 100 {
			out = append(out, ledger.Outcome{Range: ledger.One(seq), Result: ledger.ResultFailed, Reason: ledger.Reason{Class: 3, HTTP: 400, Text: fmt.Sprintf("Record '%d' is refused.", seq)}})
			if rest := (ledger.Range{From: seq + 1, To: min(seq+100, to)}); rest.Len() > 0 {
				out = append(out, ledger.Outcome{Range: rest, Result: ledger.ResultSuccess})
			}
		}
		f.must(f.ledger.Claim(f.Context(), "account", ledger.Main, []ledger.Range{r}))
		f.must(f.ledger.Settle(f.Context(), "account", out))
		f.next = to
	}
}

// change changes one in a hundred rows, others each time, and lets the load go on.
func (f *snapshotRun) change() {
	from := f.next % (f.rows / 100 * 99)
	_, err := f.stage.Exec(f.Context(), fmt.Sprintf("UPDATE account SET name = name || '!', amount = amount + 1, note = md5(note) WHERE dm_seq >= %d AND dm_seq < %d", from, from+f.rows/100))
	f.must(err)
	f.checkpoint()
	f.load(f.rows / 100)
}

// copy copies both files as cp does, and syncs them. The readers and writers are hidden, lest the kernel
// clone the file where it can.
func (f *snapshotRun) copy() {
	for _, name := range f.files() {
		from, err := os.Open(name)
		f.must(err)
		to, err := os.Create(name + ".copy")
		f.must(err)
		_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1<<20))
		f.must(err)
		f.must(to.Sync())
		f.must(to.Close())
		f.must(from.Close())
		f.must(os.Remove(name + ".copy"))
	}
}

func (f *snapshotRun) ours(how string, keys *backup.Keyring, round int) {
	ctx, dir, back := context.Background(), f.path("snapshots "+how), f.path("back "+how)
	var last backup.Snapshot
	take := func() {
		var err error
		last, err = backup.Take(ctx, backup.Options{Dir: dir, Keys: keys}, f.ledger, f.stage)
		f.must(err)
	}
	f.time(how+" first", take)
	added := last.Added
	f.time(how+" unchanged", take)
	f.change()
	f.time(how+" 1 % changed", take)
	if round == 0 {
		f.Logf("%s: %d rows, %d MiB, stored %d MiB; of 1 %% changed %d MiB", how, f.rows, last.Size>>20, added>>20, last.Added>>20)
	}
	f.must(os.Mkdir(back, 0o700))
	f.time(how+" restore", func() {
		place, err := backup.Reach(ctx, dir, "", backup.Access{})
		f.must(err)
		_, err = place.Restore(ctx, "", keys, ledger.Store{Path: filepath.Join(back, "ledger.bolt")}, duckstage.Restorer{Path: filepath.Join(back, "stage.duckdb")})
		f.must(err)
	})
	l, err := ledger.Open(ctx, filepath.Join(back, "ledger.bolt"), ledger.Options{ReadOnly: true})
	f.must(err)
	if c := l.Counts("account"); c != f.ledger.Counts("account") {
		f.Error("the ledger comes back different")
	}
	f.must(l.Close())
	f.must(os.RemoveAll(dir))
	f.must(os.RemoveAll(back))
}

func (f *snapshotRun) restic(int) {
	repo, back := f.path("restic"), f.path("back restic")
	run := func(args ...string) {
		cmd := exec.Command("restic", append([]string{"-q", "-r", repo}, args...)...)
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR="+f.path("cache"))
		if out, err := cmd.CombinedOutput(); err != nil {
			f.Fatalf("restic: %v: %s", err, out)
		}
	}
	save := func() { run(append([]string{"backup"}, f.files()...)...) }
	run("init")
	f.time("restic first", save)
	f.time("restic unchanged", save)
	f.change()
	f.time("restic 1 % changed", save)
	f.time("restic restore", func() { run("restore", "latest", "--target", back) })
	f.must(os.RemoveAll(repo))
	f.must(os.RemoveAll(back))
}

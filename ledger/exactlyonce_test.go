package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The property that all of this is for: no sequence of crashes makes a record succeed twice or vanish.
// A small load runs against a target that is not idempotent; it dies at every one of its steps in turn,
// and the load after that at every one of its own. A step is a commit, which may die before or after
// it is on the disk, or a request, which may die before or after the target has applied it.

// errDied is what a step that the process does not survive returns.
var errDied = errors.New("the process died")

// world is the target, the disk, and how long the process has to live.
type world struct {
	path    string
	applied map[uint32]int // inserts by record
	patched map[uint32]int // lookups by record
	life    int            // steps left; negative: for ever
	late    bool           // it dies after the step has had its effect
}

// step counts one step; dies says that it is the last one.
func (w *world) step() (dies bool) {
	w.life--
	return w.life == 0
}

// commit is the fault hook: a process that died commits nothing more.
func (w *world) commit(when faultTime) error {
	if when == beforeCommit && w.step() && !w.late || w.life < 0 && w.life > -1000 {
		return errDied
	}
	if when == afterCommit && w.life == 0 {
		return errDied
	}
	return nil
}

// send applies records unless the process dies first; lost: it died before it heard of it.
func (w *world) send(to map[uint32]int, r Range) (lost bool) {
	dies := w.step()
	if dies && !w.late {
		return true
	}
	for seq := r.From; seq < r.To; seq++ {
		to[seq]++
	}
	return dies
}

const worldRecords, worldBatch = 4, 2

// load runs one process: what is in flight is looked up, then every pass goes on. It returns errDied, or
// nil when nothing waits.
func (w *world) load(ctx context.Context) error {
	l, err := Open(ctx, w.path, Options{fault: w.commit})
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	for _, s := range l.InFlight("account") {
		for seq := s.From; seq < s.To; seq++ {
			there := w.applied
			if s.Pass == Lookups {
				there = w.patched
			}
			o := Outcome{Range: One(seq), Result: ResultReleased}
			if there[seq] > 0 {
				o.Result = ResultSuccess
				if s.Pass == Main {
					o.Next = Lookups
				}
			}
			if err := l.Settle(ctx, "account", []Outcome{o}); err != nil {
				return err
			}
		}
	}
	for _, pass := range []Pass{Main, Lookups} {
		for spans := l.Next("account", pass, 0, worldBatch); len(spans) > 0; spans = l.Next("account", pass, 0, worldBatch) {
			r := spans[0].Range
			if err := l.Claim(ctx, "account", pass, []Range{r}); err != nil {
				return err
			}
			to, next := w.applied, Lookups
			if pass == Lookups {
				to, next = w.patched, Main
			}
			if w.send(to, r) {
				return errDied
			}
			if err := l.Settle(ctx, "account", []Outcome{{Range: r, Result: ResultSuccess, Next: next}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// steps is how many steps one undisturbed load takes: opening is none, for it decides nothing.
const worldSteps = 2 * worldRecords / worldBatch * 3

func TestNoSequenceOfCrashesMakesARecordSucceedTwiceOrVanish(t *testing.T) {
	t.Parallel()
	l := newTest(t, worldRecords)
	closeTest(t, l)
	fresh, err := os.ReadFile(l.path)
	must(t, err)
	for first := 1; first <= worldSteps; first++ {
		t.Run(fmt.Sprintf("first crash at step %d", first), func(t *testing.T) {
			path, crashes := filepath.Join(memoryDir(t), "ledger.bolt"), 0
			for second := range worldSteps + worldRecords {
				for lateness := range 4 {
					if second > 0 || lateness < 2 {
						w := &world{path: path, applied: map[uint32]int{}, patched: map[uint32]int{}}
						must(t, os.WriteFile(w.path, fresh, 0o600))
						crashes += w.live(t, []int{first, second, 0}, lateness)
					}
				}
			}
			if crashes < worldSteps {
				t.Errorf("%d crashes prove little", crashes)
			}
		})
	}
}

// memoryDir is a folder in memory, where there is one: the steps of this test are many, and what a crash
// leaves of them is decided by the hook and not by the disk.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "ledger-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// live runs one process after the other, each with so many steps to live (0: for ever), and requires that
// every record was applied once at the end.
func (w *world) live(t *testing.T, lives []int, lateness int) (crashes int) {
	ctx := t.Context()
	for i, life := range lives {
		w.life, w.late = life, lateness>>i&1 == 1
		if life == 0 {
			w.life = -1000 // it lives
		}
		err := w.load(ctx)
		if err != nil && !errors.Is(err, errDied) {
			t.Fatalf("crashes at %v: %v", lives, err)
		}
		if err != nil {
			crashes++
		}
	}
	for seq := range uint32(worldRecords) {
		if w.applied[seq] != 1 || w.patched[seq] != 1 {
			t.Fatalf("crashes at %v, late %02b: record %d was inserted %d times and patched %d times", lives, lateness, seq, w.applied[seq], w.patched[seq])
		}
	}
	after, err := Open(ctx, w.path, Options{ReadOnly: true})
	must(t, err)
	must(t, after.Check(ctx))
	if c := after.Counts("account"); c.Flag(Processed) != worldRecords {
		t.Fatalf("crashes at %v, late %02b: %d are processed", lives, lateness, c.Flag(Processed))
	}
	must(t, after.Close())
	return crashes
}

// A commit that fails, whether or not it reached the disk, stops the ledger; what was acknowledged and
// nothing that contradicts it is there after the next open. Where the disk keeps failing, it stays so.
func TestAFailedSyncPoisonsAndTheNextOpenIsRight(t *testing.T) {
	t.Parallel()
	errSync := errors.New("input/output error")
	for _, when := range []faultTime{beforeCommit, afterCommit} {
		for at := range 6 {
			t.Run(fmt.Sprintf("commit %d, reached the disk: %t", at, when == afterCommit), func(t *testing.T) {
				ctx, l := t.Context(), newTest(t, 100)
				closeTest(t, l)
				left := at
				l, err := Open(ctx, l.path, Options{fault: func(now faultTime) error {
					if now != when {
						return nil
					}
					if left--; left >= 0 {
						return nil
					}
					return errSync
				}})
				must(t, err)
				acked := 0
				for err == nil {
					if err = l.Claim(ctx, "account", Main, []Range{One(uint32(acked))}); err == nil {
						acked++
					}
				}
				wantErr(t, err, ErrPoisoned)
				wantErr(t, err, errSync)
				_, err = l.Record(ctx, AuditEntry{Event: AuditBegin})
				wantErr(t, err, ErrPoisoned)
				wantErr(t, l.EndPlanning(ctx), ErrPoisoned)
				if c := l.Counts("account"); c.Flag(InFlight) != acked || acked != at {
					t.Errorf("memory shows %d in flight, %d were acknowledged", c.Flag(InFlight), acked)
				}
				wantErr(t, l.Close(), ErrPoisoned)
				l = openTest(t, l.path, Options{})
				want := acked
				if when == afterCommit {
					want++ // in doubt, and shown as such
				}
				if c := l.Counts("account"); c.Flag(InFlight) != want {
					t.Errorf("%d in flight after the new open, want %d", c.Flag(InFlight), want)
				}
			})
		}
	}
}

// Reading changes no byte, also of a ledger whose process was killed, and several may read at once.
func TestReadersChangeNothingAndKeepOutWritersOnly(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 5000)
	must(t, l.Claim(ctx, "account", Main, []Range{{0, 10}}))
	path := writeCopy(t, l) // as a kill would leave it
	before := must1(os.ReadFile(path))(t)
	info := must1(os.Stat(path))(t)
	must(t, os.Chmod(path, 0o400))
	var readers []*Ledger
	for range 4 {
		r, err := Open(ctx, path, Options{ReadOnly: true})
		must(t, err)
		readers = append(readers, r)
		if n := len(r.InFlight("account")); n != 1 {
			t.Errorf("%d spans in flight", n)
		}
		must1(r.Stats())(t)
		must1(r.Newest("account", Filter{}, 10))(t)
		wantErr(t, r.Claim(ctx, "account", Main, []Range{One(20)}), ErrReadOnly)
	}
	must(t, os.Chmod(path, 0o600))
	_, err := Open(ctx, path, Options{LockTimeout: 1})
	wantErr(t, err, ErrLocked)
	for _, r := range readers {
		must(t, r.Close())
	}
	if after := must1(os.ReadFile(path))(t); !bytes.Equal(before, after) || must1(os.Stat(path))(t).ModTime() != info.ModTime() {
		t.Error("the file was changed")
	}
	openTest(t, path, Options{})
}

package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// swollen is a closed ledger of which most is free: many failures, all of them retried.
func swollen(t *testing.T) string {
	t.Helper()
	ctx, l := t.Context(), newTest(t, 40_000)
	for from := uint32(0); from < 40_000; from += 10_000 {
		var hs []Holding
		for seq := from; seq < from+10_000; seq++ {
			hs = append(hs, Holding{One(seq), Reason{Class: 1, Text: fmt.Sprintf("'%060d'", seq)}})
		}
		must(t, l.Hold(ctx, "account", hs))
	}
	_, err := l.Retry(ctx, "account", Filter{Ranges: []Range{{100, 40_000}}})
	must(t, err)
	_, err = l.Record(ctx, AuditEntry{Event: AuditBegin, Command: "load"})
	must(t, err)
	closeTest(t, l)
	return l.path
}

func TestCompactGivesBackWhatRetriesLeft(t *testing.T) {
	ctx, path := t.Context(), swollen(t)
	l := openTest(t, path, Options{})
	want, stats := content(t, l), must1(l.Stats())(t)
	closeTest(t, l)
	before, after, err := Store{Path: path}.Compact(ctx)
	must(t, err)
	if before != stats.File || after > before/10 || stats.Free < before*8/10 {
		t.Errorf("%d bytes before, %d after; statistics: %+v", before, after, stats)
	}
	l = openTest(t, path, Options{})
	if content(t, l) != want {
		t.Error("the content differs")
	}
	if _, err := l.VerifyAudit(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	left, err := os.ReadDir(t.TempDir())
	must(t, err)
	for _, e := range left {
		t.Errorf("%s is left over", e.Name())
	}
}

// must1 is must for calls that return a value as well.
func must1[V any](v V, err error) func(testing.TB) V {
	return func(t testing.TB) V {
		must(t, err)
		return v
	}
}

func TestCompactLeavesALedgerInUseAndADamagedOneAlone(t *testing.T) {
	t.Parallel()
	l := newTest(t, 10)
	_, _, err := Store{Path: l.path}.Compact(t.Context())
	wantErr(t, err, ErrLocked)
	must(t, l.Claim(t.Context(), "account", Main, []Range{One(1)}))

	b := sample(t)
	bad := bytes.ReplaceAll(b, []byte("text "), []byte("Text "))
	path := writeFile(t, bad)
	_, _, err = Store{Path: path}.Compact(t.Context())
	wantErr(t, err, ErrDamaged)
	if after := must1(os.ReadFile(path))(t); !bytes.Equal(after, bad) {
		t.Error("the damaged file was changed")
	}
}

// Who waits for the lock of a file that is replaced meanwhile gets the new file, not the old one.
func TestWhoWaitsForTheLockOfAReplacedFileGetsTheNewOne(t *testing.T) {
	path := swollen(t)
	db, f, err := openBolt(t.Context(), path, Options{})
	must(t, err)
	opened := make(chan error, 1)
	var waiting *Ledger
	go func() {
		var err error
		waiting, err = Open(context.Background(), path, Options{LockTimeout: time.Minute})
		opened <- err
	}()
	temp := must1(tempFile(path))(t)
	must(t, compactInto(temp, db))
	must(t, os.Rename(temp, path))
	must(t, closeBolt(db, f, nil))
	must(t, <-opened)
	must(t, waiting.Claim(t.Context(), "account", Main, []Range{One(200)}))
	must(t, waiting.Close())
	l := openTest(t, path, Options{})
	if e, _ := l.Entry("account", 200); e.Flag != InFlight {
		t.Errorf("the claim went into a file that is gone: %s", e)
	}
}

func TestNewestListsTheLatestFailuresFirst(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 3*pageSize)
	hold := func(seqs ...uint32) {
		var hs []Holding
		for _, seq := range seqs {
			hs = append(hs, Holding{One(seq), Reason{Class: uint8(seq % 2), Text: fmt.Sprint("of ", seq)}})
		}
		must(t, l.Hold(ctx, "account", hs))
	}
	hold(5000, 7, 9000)
	older(l, 3)
	hold(8, 5001)
	older(l, 5)
	hold(6000, 1, 2)
	seqs := func(f Filter, n int) (out []uint32) {
		list, err := l.Newest("account", f, n)
		must(t, err)
		for _, f := range list {
			if f.Text != fmt.Sprint("of ", f.Seq) {
				t.Errorf("record %d has the reason %q", f.Seq, f.Text)
			}
			out = append(out, f.Seq)
		}
		return out
	}
	for _, c := range []struct {
		f    Filter
		n    int
		want []uint32
	}{
		{Filter{}, 1000, []uint32{1, 2, 6000, 8, 5001, 7, 5000, 9000}},
		{Filter{}, 4, []uint32{1, 2, 6000, 8}},
		{Filter{}, 1, []uint32{1}},
		{Filter{Classes: []uint8{1}}, 3, []uint32{1, 5001, 7}},
		{Filter{Flags: []Flag{Failed}}, 3, nil},
		{Filter{}, 0, nil},
	} {
		if got := seqs(c.f, c.n); !slices.Equal(got, c.want) {
			t.Errorf("%+v, %d: %v, want %v", c.f, c.n, got, c.want)
		}
	}
	must(t, errors.Join(l.Check(ctx)))
	_, err := l.Newest("nobody", Filter{}, 3)
	wantErr(t, err, ErrUnknownTable)
}

// older makes all failures of account some seconds older, in memory and on the disk: a test cannot wait.
func older(l *Ledger, seconds uint32) {
	_ = l.submit(context.Background(), &request{alone: func() error {
		b := newBatch(l)
		t := l.tables["account"]
		for n, p := range t.pages {
			runs := p.decode()
			for i := range runs {
				if runs[i].word.flag().failing() {
					runs[i].time -= seconds
				}
			}
			b.pages[pageKey{t, uint32(n)}] = runs
		}
		for s := range spans(t.pages, Range{0, t.Count}) {
			if s.Flag.failing() {
				for seq := s.From; seq < s.To; seq++ {
					f, err := l.Failures("account", seq, 1)
					if err != nil {
						return err
					}
					b.reasons = append(b.reasons, reasonOp{t, One(seq), &f[0].Reason, s.Entry.word(), s.Time - seconds})
				}
			}
		}
		return l.commit(b)
	}})
}

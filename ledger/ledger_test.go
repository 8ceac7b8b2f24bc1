package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashVariable); path != "" {
		os.Exit(crashChild(path))
	}
	os.Exit(m.Run())
}

// openTest opens the ledger at path; at the end of the test it is checked as a whole and closed.
func openTest(t testing.TB, path string, o Options) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeTest(t, l) })
	return l
}

// closeTest checks and closes l; a second time it does nothing.
func closeTest(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Check(context.Background()); err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// newTest is a new ledger with table account of count records, all planned for insert.
func newTest(t testing.TB, count uint32) *Ledger {
	t.Helper()
	l := openTest(t, filepath.Join(t.TempDir(), "ledger.bolt"), Options{})
	must(t, l.Define(t.Context(), Table{Name: "account", Number: 1, Count: count, Generation: "g1"}))
	must(t, l.Plan(t.Context(), "account", []Planned{{Range{0, count}, Insert}}))
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr fails unless err is target.
func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
}

// letters shows a table as text: one word a record, such as "IU" or "IS+lookups".
func letters(l *Ledger, name string) (out []string) {
	for s := range l.Spans(name, 0) {
		for range s.Len() {
			w := s.Action.String() + s.Flag.String()
			if s.Pass != Main {
				w += "+" + s.Pass.String()
			}
			out = append(out, w)
		}
	}
	return out
}

func wantLetters(t *testing.T, l *Ledger, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, letters(l, "account")); d != "" {
		t.Fatal(d)
	}
}

func TestARecordGoesRoundThroughTwoPasses(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 4)
	wantLetters(t, l, "IU", "IU", "IU", "IU")
	must(t, l.Claim(ctx, "account", Main, []Range{{0, 3}}))
	wantLetters(t, l, "IF", "IF", "IF", "IU")
	must(t, l.Settle(ctx, "account", []Outcome{
		{Range: One(2), Result: ResultFailed, Reason: Reason{Class: 4, HTTP: 400, Code: 0x80040217, Text: "gone 12"}},
		{Range: One(0), Result: ResultSuccess, Next: Lookups},
		{Range: One(1), Result: ResultSuccess},
	}))
	wantLetters(t, l, "IS+lookups", "IP", "IE", "IU")
	if got := l.Next("account", Lookups, 0, 10); len(got) != 1 || got[0].Range != One(0) {
		t.Fatalf("next lookups: %v", got)
	}
	must(t, l.Claim(ctx, "account", Lookups, []Range{One(0)}))
	must(t, l.Settle(ctx, "account", []Outcome{{Range: One(0), Result: ResultFailed, Reason: Reason{Text: "no parent"}}}))
	wantLetters(t, l, "IE+lookups", "IP", "IE", "IU")
	if n, err := l.Retry(ctx, "account", Filter{}); n != 2 || err != nil {
		t.Fatalf("retry: %d, %v", n, err)
	}
	wantLetters(t, l, "IS+lookups", "IP", "IU", "IU")
	if e, ok := l.Entry("account", 0); !ok || e.Attempts != 2 {
		t.Errorf("attempts are not kept: %s", e)
	}
}

func TestAStepThatIsNotAllowedRejectsTheWholeRequest(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 5000)
	must(t, l.Claim(ctx, "account", Main, []Range{One(4500)}))
	before := slices.Collect(l.Spans("account", 0))
	counts := l.Counts("account")

	err := l.Claim(ctx, "account", Main, []Range{{0, 100}, {4000, 5000}})
	var te *TransitionError
	if !errors.As(err, &te) || te.Range != One(4500) || te.Entry.Flag != InFlight || !errors.Is(err, ErrTransition) {
		t.Fatalf("got %v", err)
	}
	wantErr(t, l.Settle(ctx, "account", []Outcome{
		{Range: One(4500), Result: ResultFailed, Reason: Reason{Text: "x"}},
		{Range: One(4501), Result: ResultSuccess},
	}), ErrTransition)
	wantErr(t, l.Settle(ctx, "account", []Outcome{{Range: One(4500), Result: ResultSuccess}, {Range: Range{4999, 5001}, Result: ResultSuccess}}), ErrRange)
	wantErr(t, l.Claim(ctx, "account", Main, []Range{{7, 7}}), ErrRange)
	wantErr(t, l.Claim(ctx, "contact", Main, []Range{{0, 1}}), ErrUnknownTable)
	if err := l.Settle(ctx, "account", []Outcome{{Range: One(4500)}}); err == nil {
		t.Error("an outcome without result is taken")
	}
	if d := cmp.Diff(before, slices.Collect(l.Spans("account", 0))); d != "" || counts != l.Counts("account") {
		t.Errorf("a rejected request changed something: %s", d)
	}
	if fs, err := l.Failures("account", 0, 10); len(fs) != 0 || err != nil {
		t.Errorf("a rejected request left failures: %v, %v", fs, err)
	}
}

func TestDefineExtendsAndRefusesContradictions(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 3)
	must(t, l.Define(ctx, Table{Name: "account", Number: 1, Count: 3, Generation: "g1"}))
	must(t, l.Define(ctx, Table{Name: "account", Number: 1, Count: 5, Generation: "g2"}))
	wantLetters(t, l, "IU", "IU", "IU", "NU", "NU")
	wantErr(t, l.Define(ctx, Table{Name: "account", Number: 1, Count: 4}), ErrConflict)
	wantErr(t, l.Define(ctx, Table{Name: "account", Number: 2, Count: 5}), ErrConflict)
	wantErr(t, l.Define(ctx, Table{Name: "contact", Number: 1, Count: 5}), ErrConflict)
	wantErr(t, l.Define(ctx, Table{Number: 3}), ErrConflict)
	must(t, l.Define(ctx, Table{Name: "contact", Number: 0}))
	want := []Table{{"account", 1, 5, "g2"}, {"contact", 0, 0, ""}}
	if d := cmp.Diff(want, l.Tables()); d != "" {
		t.Error(d)
	}
	if c := l.Counts("account"); c.Total != 5 || c.Of(Unprocessed, Main, Nothing) != 2 || c.Waiting(Main) != 3 {
		t.Errorf("counts: %d, %d, %d", c.Total, c.Of(Unprocessed, Main, Nothing), c.Waiting(Main))
	}
}

func TestNextHandsOutAtMostSoManyAcrossPages(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 3*pageSize+10)
	must(t, l.Claim(ctx, "account", Main, []Range{{10, 2 * pageSize}}))
	must(t, l.Plan(ctx, "account", []Planned{{One(2*pageSize + 5), Nothing}}))
	var got []Range
	for _, s := range l.Next("account", Main, 5, pageSize+6) {
		got = append(got, s.Range)
	}
	want := []Range{{5, 10}, {2 * pageSize, 2*pageSize + 5}, {2*pageSize + 6, 3 * pageSize}, {3 * pageSize, 3*pageSize + 2}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if l.Next("account", Files, 0, 10) != nil || l.Next("nobody", Main, 0, 10) != nil || l.Next("account", Main, 1<<31, 10) != nil {
		t.Error("something waits where nothing does")
	}
	if f := l.InFlight("account"); len(f) != 2 || f[0].Range != (Range{10, pageSize}) || f[1].Range != (Range{pageSize, 2 * pageSize}) {
		t.Errorf("in flight: %v", f)
	}
}

func TestFailuresArePagedAndKeepTheirExactText(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 2500)
	var holdings []Holding
	var want []Failure
	for seq := range uint32(2100) {
		r := Reason{Class: uint8(seq % 5), HTTP: 404, Code: 0x80040217, Text: fmt.Sprintf("Contact With Id = %08x-d9cb-469f-a165-70867728950e Does Not Exist", seq)}
		switch seq % 3 {
		case 1:
			r.Text = ""
		case 2:
			r.Text = fmt.Sprintf("odd \x01 %d", seq)
		}
		holdings = append(holdings, Holding{One(seq), r})
		want = append(want, Failure{Seq: seq, Reason: r})
	}
	must(t, l.Hold(ctx, "account", holdings))
	var got []Failure
	for from := uint32(0); ; {
		page, err := l.Failures("account", from, 1<<30)
		must(t, err)
		if len(page) == 0 {
			break
		}
		if len(page) > maxFailures {
			t.Fatalf("%d failures in one read", len(page))
		}
		got = append(got, page...)
		from = page[len(page)-1].Seq + 1
	}
	for i := range got {
		if e, _ := l.Entry("account", got[i].Seq); got[i].Entry != e || e.Flag != Held {
			t.Fatalf("failure %+v, entry %s", got[i], e)
		}
		got[i].Entry = Entry{}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(l.texts) != 1 {
		t.Errorf("%d templates for one kind of text", len(l.texts))
	}
	c := l.Counts("account")
	if c.Class(Held, 3) != 420 || c.Class(Failed, 3) != 0 || c.Flag(Held) != 2100 || c.Class(Unprocessed, 3) != 0 {
		t.Errorf("counts by class: %d %d %d", c.Class(Held, 3), c.Class(Failed, 3), c.Flag(Held))
	}
	_, err := l.Failures("nobody", 0, 1)
	wantErr(t, err, ErrUnknownTable)
}

func TestRetryMovesOnlyWhatTheFilterChooses(t *testing.T) {
	const n = 3 * retryPiece
	ctx, l := t.Context(), newTest(t, n)
	must(t, l.Claim(ctx, "account", Main, []Range{{0, n}}))
	var out []Outcome
	for seq := uint32(0); seq < n; seq += 2 {
		out = append(out, Outcome{Range: One(seq), Result: ResultFailed, Reason: Reason{Class: uint8(seq / 2 % 2), Text: "no"}})
	}
	for seq := uint32(1); seq < n; seq += 2 {
		out = append(out, Outcome{Range: One(seq), Result: ResultHeld, Reason: Reason{Class: 1}})
	}
	must(t, l.Settle(ctx, "account", out))
	for _, c := range []struct {
		f    Filter
		want int
	}{
		{Filter{Flags: []Flag{Failed}, Classes: []uint8{0}, Ranges: []Range{{0, 8}, {n - 8, n + 100}}}, 4},
		{Filter{Flags: []Flag{Processed}}, 0},
		{Filter{Passes: []Pass{Lookups}}, 0},
		{Filter{Classes: []uint8{0}}, n/4 - 4},
		{Filter{Flags: []Flag{Held}}, n / 2},
		{Filter{}, n / 4},
	} {
		if got, err := l.Retry(ctx, "account", c.f); got != c.want || err != nil {
			t.Errorf("%+v: moved %d, want %d, %v", c.f, got, c.want, err)
		}
	}
	counts := l.Counts("account")
	if got := counts.Waiting(Main); got != n {
		t.Errorf("%d wait, want %d", got, n)
	}
	if fs, err := l.Failures("account", 0, 1); len(fs) != 0 || err != nil {
		t.Errorf("failures left: %v, %v", fs, err)
	}
}

// How they share commits is TestCommitTakesThoseOfTheLastOne.
func TestManyCallersAtOnce(t *testing.T) {
	const workers, rounds, size = 32, 20, 50
	ctx, l := t.Context(), newTest(t, workers*rounds*size)
	var wg sync.WaitGroup
	for w := range uint32(workers) {
		wg.Go(func() {
			for i := range uint32(rounds) {
				r := Range{(w*rounds + i) * size, (w*rounds + i + 1) * size}
				if err := l.Claim(ctx, "account", Main, []Range{r}); err != nil {
					t.Error(err)
				}
				if e, _ := l.Entry("account", r.From); e.Flag != InFlight {
					t.Errorf("claimed record is %s", e)
				}
				if err := l.Settle(ctx, "account", []Outcome{
					{Range: One(r.From), Result: ResultFailed, Reason: Reason{Class: 2, Text: fmt.Sprint("bad ", r.From)}},
					{Range: Range{r.From + 1, r.To}, Result: ResultSuccess}}); err != nil {
					t.Error(err)
				}
				for range l.Spans("account", r.From) {
					break
				}
				l.Counts("account")
				if i%8 == 0 {
					if _, err := l.Failures("account", r.From, 3); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	c := l.Counts("account")
	if c.Flag(Processed) != workers*rounds*(size-1) || c.Flag(Failed) != workers*rounds {
		t.Errorf("processed %d, failed %d", c.Flag(Processed), c.Flag(Failed))
	}
}

func TestRunLogKeepsRunsNewestFirst(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 1)
	first, err := l.StartRun(ctx, Run{By: "ann", Command: "load"})
	must(t, err)
	must(t, l.EndRun(ctx, Run{ID: first, By: "ann", Command: "load", Records: 7}))
	must(t, l.Close())
	l = openTest(t, l.path, Options{})
	second, err := l.StartRun(ctx, Run{By: "bob"})
	must(t, err)
	got, err := l.RunLog(10)
	must(t, err)
	if len(got) != 2 || got[0].ID != second || got[0].By != "bob" || !got[0].End.IsZero() || got[1].ID != first || got[1].Records != 7 || got[1].End.IsZero() {
		t.Errorf("runs: %+v", got)
	}
	if got, err := l.RunLog(1); len(got) != 1 || err != nil {
		t.Errorf("last run: %v, %v", got, err)
	}
	if l.EndRun(ctx, Run{ID: 9}) == nil {
		t.Error("a run that never began can end")
	}
}

func TestAClosedOrReadOnlyLedgerTakesNoChanges(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 2)
	must(t, l.Close())
	must(t, l.Close())
	wantErr(t, l.Claim(ctx, "account", Main, []Range{One(0)}), ErrClosed)
	wantLetters(t, l, "IU", "IU")

	r := openTest(t, l.path, Options{ReadOnly: true})
	r2 := openTest(t, l.path, Options{ReadOnly: true})
	wantErr(t, r.Claim(ctx, "account", Main, []Range{One(0)}), ErrReadOnly)
	wantLetters(t, r2, "IU", "IU")
	_, err := Open(ctx, filepath.Join(t.TempDir(), "none"), Options{ReadOnly: true})
	wantErr(t, err, os.ErrNotExist)
	wantErr(t, l.RestoreFrom(ctx, nil), ErrOpen)
}

func TestACancelledContextIsHeededBeforeTheRequestIsTaken(t *testing.T) {
	l := newTest(t, 2)
	cause := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	wantErr(t, l.Claim(ctx, "account", Main, []Range{One(0)}), cause)
	wantLetters(t, l, "IU", "IU")
}

func TestEpochCountsOpensForWriting(t *testing.T) {
	l := newTest(t, 1)
	if l.Epoch() != 1 {
		t.Errorf("epoch of a new ledger is %d", l.Epoch())
	}
	must(t, l.Close())
	r := openTest(t, l.path, Options{ReadOnly: true})
	must(t, r.Close())
	if l = openTest(t, l.path, Options{}); l.Epoch() != 2 {
		t.Errorf("epoch is %d after a second open", l.Epoch())
	}
}

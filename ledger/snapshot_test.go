package ledger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// part is what package backup asks of a ledger.
type part interface {
	Name() string
	SnapshotTo(ctx context.Context, w io.Writer) error
	RestoreFrom(ctx context.Context, r io.Reader) error
}

var (
	_ part = (*Ledger)(nil)
	_ part = Store{}
)

func TestSnapshotIsOneMomentAndRestoresAsBehind(t *testing.T) {
	t.Parallel()
	ctx, l := t.Context(), newTest(t, 10)
	must(t, l.Claim(ctx, "account", Main, []Range{{0, 4}}))
	must(t, l.Settle(ctx, "account", []Outcome{{Range: Range{0, 2}, Result: ResultSuccess}}))
	if l.Behind("account") || !l.restored.At.IsZero() {
		t.Error("a new ledger counts as restored")
	}
	want := slices.Collect(l.Spans("account", 0))
	var b bytes.Buffer
	must(t, l.SnapshotTo(ctx, &b))
	must(t, l.Settle(ctx, "account", []Outcome{{Range: Range{2, 4}, Result: ResultSuccess}}))

	s := Store{Path: l.path}
	wantErr(t, s.RestoreFrom(ctx, bytes.NewReader(b.Bytes())), ErrLocked)
	must(t, l.Close())
	before := time.Now().Add(-time.Second)
	must(t, s.RestoreFrom(ctx, bytes.NewReader(b.Bytes())))
	l = openTest(t, l.path, Options{})
	if got := slices.Collect(l.Spans("account", 0)); !slices.Equal(got, want) {
		t.Errorf("restored %v, want %v", got, want)
	}
	if !l.Behind("account") || l.restored.At.Before(before) {
		t.Errorf("behind %v, restored %s", l.Behind("account"), l.restored.At)
	}
	must(t, l.CaughtUp(ctx, "account"))
	must(t, l.Define(ctx, Table{Name: "account", Number: 1, Count: 20}))
	must(t, l.Close())
	l = openTest(t, l.path, Options{})
	if l.Behind("account") {
		t.Error("caught up is forgotten")
	}
	wantErr(t, l.CaughtUp(ctx, "nobody"), ErrUnknownTable)
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(l.path), ".*.tmp")); len(left) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSnapshotOfAClosedLedgerEqualsOneOfAnOpenOne(t *testing.T) {
	ctx, l := t.Context(), newTest(t, 5000)
	must(t, l.Close())
	s := Store{Path: l.path}
	if s.Name() != "ledger.bolt" || l.Name() != s.Name() {
		t.Errorf("names are %s and %s", s.Name(), l.Name())
	}
	var b bytes.Buffer
	must(t, s.SnapshotTo(ctx, &b))
	other := Store{Path: filepath.Join(t.TempDir(), "new.bolt")}
	must(t, other.RestoreFrom(ctx, &b))
	openTest(t, other.Path, Options{})
	wantErr(t, l.SnapshotTo(ctx, &b), ErrClosed)
}

func TestABrokenSnapshotLeavesTheLedgerAlone(t *testing.T) {
	ctx, b := t.Context(), sample(t)
	l := newTest(t, 5)
	must(t, l.Close())
	want, err := os.ReadFile(l.path)
	must(t, err)
	s := Store{Path: l.path, Set: [16]byte{1}}
	broken := bytes.Clone(b)
	for i := 8192; i < len(broken); i += 100 {
		broken[i] ^= 0x10
	}
	cause := errors.New("stopped")
	stopped, cancel := context.WithCancelCause(ctx)
	cancel(cause)
	wantErr(t, s.RestoreFrom(ctx, bytes.NewReader(broken)), ErrDamaged)
	wantErr(t, s.RestoreFrom(ctx, bytes.NewReader(b[:len(b)/2])), ErrDamaged)
	wantErr(t, s.RestoreFrom(ctx, bytes.NewReader(nil)), ErrDamaged)
	wantErr(t, s.RestoreFrom(ctx, bytes.NewReader(b)), ErrOtherSet)
	wantErr(t, s.RestoreFrom(stopped, bytes.NewReader(b)), cause)
	if got, err := os.ReadFile(l.path); err != nil || !bytes.Equal(got, want) {
		t.Error("the ledger was changed")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(l.path), ".*.tmp")); len(left) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Snapshots are taken while others claim and settle; each is a whole ledger.
func TestSnapshotsDuringALoadAreConsistent(t *testing.T) {
	const records = 1 << 20
	ctx, l := t.Context(), newTest(t, records)
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for seq := uint32(0); ; seq += 100 {
			if seq+100 > records { // a disk that costs nothing
				<-stop
				done <- nil
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			r := Range{seq, seq + 100}
			err := errors.Join(
				l.Claim(ctx, "account", Main, []Range{r}),
				l.Settle(ctx, "account", []Outcome{
					{Range: Range{r.From, r.To - 1}, Result: ResultSuccess},
					{Range: One(r.To - 1), Result: ResultFailed, Reason: Reason{Text: "no"}}}))
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for range 5 {
		var b bytes.Buffer
		must(t, l.SnapshotTo(ctx, &b))
		must(t, Check(ctx, writeFile(t, b.Bytes())))
	}
	close(stop)
	must(t, <-done)
}

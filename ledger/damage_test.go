package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// sample is a whole ledger file of some pages, with failures and texts, as bytes.
func sample(t testing.TB) []byte {
	t.Helper()
	ctx, l := t.Context(), newTest(t, 40*pageSize)
	for n := range uint32(10) {
		must(t, l.Define(ctx, Table{Name: fmt.Sprint("table ", n), Number: 10 + uint16(n), Count: 100 * n}))
	}
	var ranges []Range
	var out []Outcome
	r := rand.New(rand.NewPCG(1, 1))
	for seq := uint32(0); seq < 40*pageSize; seq += 1 + r.Uint32N(600) {
		ranges = append(ranges, One(seq))
		out = append(out, Outcome{Range: One(seq), Result: ResultFailed, Reason: Reason{Class: 3, Text: fmt.Sprintf("text %c of '%d'", 'a'+seq%26, seq)}})
	}
	must(t, l.Claim(ctx, "account", Main, ranges))
	must(t, l.Settle(ctx, "account", out[:len(out)-3]))
	_, err := l.StartRun(ctx, Run{By: "test"})
	must(t, err)
	must(t, l.Close())
	var b bytes.Buffer
	must(t, Store{Path: l.path}.SnapshotTo(ctx, &b))
	return b.Bytes()
}

// content is everything a ledger says, for comparison.
func content(t testing.TB, l *Ledger) string {
	t.Helper()
	var b bytes.Buffer
	for _, tab := range l.Tables() {
		fmt.Fprintln(&b, tab, l.Counts(tab.Name), slices.Collect(l.Spans(tab.Name, 0)))
		fs, err := l.Failures(tab.Name, 0, maxFailures)
		must(t, err)
		fmt.Fprintln(&b, fs)
	}
	return b.String()
}

// writeFile puts b into a new file.
func writeFile(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.bolt")
	must(t, os.WriteFile(path, b, 0o600))
	return path
}

// refused opens a broken file and requires an error among targets and the file as it was.
func refused(t *testing.T, what string, b []byte, targets ...error) {
	t.Helper()
	path := writeFile(t, b)
	l, err := Open(t.Context(), path, Options{})
	if err == nil {
		_ = l.Close()
		t.Errorf("%s: it opens", what)
		return
	}
	if !slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) }) {
		t.Errorf("%s: %v", what, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
		t.Errorf("%s: the file was changed", what)
	}
	// The lock must be free again.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	if held, err := tryLock(f, true); !held || err != nil {
		t.Errorf("%s: the lock is still held: %v", what, err)
	}
}

func TestAFileThatIsNoLedgerIsNamedAndLeftAlone(t *testing.T) {
	refused(t, "an empty file", nil, ErrDamaged)
	refused(t, "one byte", []byte{7}, ErrNotLedger)
	refused(t, "text", bytes.Repeat([]byte("accountid;name\n"), 5000), ErrNotLedger)
	refused(t, "zeroes", make([]byte, 1<<16), ErrNotLedger)

	path := filepath.Join(t.TempDir(), "other.bolt")
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Close())
	b, err := os.ReadFile(path)
	must(t, err)
	refused(t, "another program's bbolt file", b, ErrNotLedger)

	_, err = Open(t.Context(), t.TempDir(), Options{})
	if err == nil {
		t.Error("a folder opens")
	}
	_, err = Open(t.Context(), filepath.Join(t.TempDir(), "no", "ledger.bolt"), Options{})
	wantErr(t, err, os.ErrNotExist)
}

func TestAnotherFormatVersionIsNamedAndLeftAlone(t *testing.T) {
	path := writeFile(t, sample(t))
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error {
		return put(tx.Bucket(bucketMeta), keyFormat, binary.BigEndian.AppendUint16(nil, formatVersion+1))
	}))
	must(t, db.Close())
	b, err := os.ReadFile(path)
	must(t, err)
	refused(t, "a later version", b, ErrFormat)
}

func TestACutFileIsDamagedWhereverItIsCut(t *testing.T) {
	t.Parallel()
	b := sample(t)
	cuts := []int{1, 15, 16, 79, 80, 1000, 4095, 4096, 4097, 4096 + 80, 8191, 8192, 8193, len(b) - 1, len(b) - 4096}
	for n := 12288; n < len(b); n += 5000 {
		cuts = append(cuts, n)
	}
	for _, n := range cuts {
		refused(t, fmt.Sprintf("cut at %d of %d", n, len(b)), b[:n], ErrDamaged, ErrNotLedger)
	}
}

// Every flipped byte is either noticed, by Open or by Check, or makes no difference.
func TestAFlippedByteIsNoticedOrHarmless(t *testing.T) {
	t.Parallel()
	b := sample(t)
	good := openTest(t, writeFile(t, b), Options{})
	want := content(t, good)
	r := rand.New(rand.NewPCG(7, 7))
	opened, harmless, found := 0, 0, 0
	for base := 0; base < len(b); base += 4096 {
		offsets := []int{0, 2, 8, 9, 10, 11, 12, 15, 16, 17, 20, 21, 24, 28, 40, 48}
		for range 4 {
			offsets = append(offsets, r.IntN(4096))
		}
		for _, off := range offsets {
			at := base + off
			bad := bytes.Clone(b)
			bad[at] ^= byte(1 << r.IntN(8))
			if r.IntN(4) == 0 {
				bad[at] = ^b[at]
			}
			path := writeFile(t, bad)
			l, err := Open(t.Context(), path, Options{})
			if err != nil {
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotLedger) && !errors.Is(err, ErrFormat) {
					t.Errorf("byte %d: %v", at, err)
				}
				if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
					t.Errorf("byte %d: the file was changed", at)
				}
				found++
				continue
			}
			opened++
			if err := l.Check(t.Context()); err != nil {
				wantErr(t, err, ErrDamaged)
			} else if harmless++; content(t, l) != want {
				t.Errorf("byte %d: nothing is noticed and the content differs", at)
			}
			must(t, l.Close())
		}
	}
	t.Logf("%d pages: %d found by Open, %d by Check, %d harmless", len(b)/4096, found, opened-harmless, harmless)
	if found == 0 || harmless == 0 {
		t.Error("the flips prove nothing")
	}
}

func TestDamageWithinAValueIsFoundByCheckOfTheFile(t *testing.T) {
	b := sample(t)
	at := bytes.LastIndex(b, []byte("text \x01"[:5])) // an interned text
	if at < 0 {
		t.Fatal("the sample has no text")
	}
	must(t, Check(t.Context(), writeFile(t, b)))
	bad := bytes.Clone(b)
	for i := 0; ; i++ { // the newest copy is one of several: change all
		j := bytes.Index(bad[i:], []byte("text "))
		if j < 0 {
			break
		}
		i += j
		bad[i] = 'T'
	}
	wantErr(t, Check(t.Context(), writeFile(t, bad)), ErrDamaged)
}

func TestALedgerInUseIsReportedAsLockedAtOnce(t *testing.T) {
	l := newTest(t, 1)
	start := time.Now()
	_, err := Open(t.Context(), l.path, Options{LockTimeout: 50 * time.Millisecond})
	wantErr(t, err, ErrLocked)
	_, err = Open(t.Context(), l.path, Options{ReadOnly: true, LockTimeout: 50 * time.Millisecond})
	wantErr(t, err, ErrLocked)
	if d := time.Since(start); d > time.Minute {
		t.Errorf("it took %s", d)
	}
	must(t, l.Claim(t.Context(), "account", Main, []Range{One(0)}))
}

func TestAnotherProjectsLedgerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.bolt")
	l := openTest(t, path, Options{Set: [16]byte{1}})
	must(t, l.Close())
	_, err := Open(t.Context(), path, Options{Set: [16]byte{2}})
	wantErr(t, err, ErrOtherSet)
	openTest(t, path, Options{})
}

// A full disk poisons the ledger; what was acknowledged, and nothing else, is there after a new open.
func TestAFullDiskPoisonsAndLosesNothingAcknowledged(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "ledger.bolt")
	l, err := Open(ctx, path, Options{MaxSize: 1 << 20})
	must(t, err)
	must(t, l.Define(ctx, Table{Name: "account", Number: 1, Count: 1 << 20}))
	must(t, l.Plan(ctx, "account", []Planned{{Range{0, 1 << 20}, Insert}}))
	acked := uint32(0)
	for err == nil {
		var hs []Holding
		for seq := acked; seq < acked+100; seq++ {
			hs = append(hs, Holding{One(seq), Reason{Class: 1, Text: fmt.Sprintf("'%0100d'", seq)}})
		}
		if err = l.Hold(ctx, "account", hs); err == nil {
			acked += 100
		}
	}
	wantErr(t, err, ErrPoisoned)
	wantErr(t, err, ErrFull)
	wantErr(t, l.Claim(ctx, "account", Main, []Range{One(1 << 19)}), ErrPoisoned)
	wantErr(t, l.Define(ctx, Table{Name: "contact", Number: 2}), ErrPoisoned)
	if c := l.Counts("account"); c.Flag(Held) != int(acked) {
		t.Errorf("memory shows %d held, %d were acknowledged", c.Flag(Held), acked)
	}
	wantErr(t, l.Close(), ErrFull)

	l = openTest(t, path, Options{}) // unclean: checks everything
	if c := l.Counts("account"); acked == 0 || c.Flag(Held) != int(acked) {
		t.Errorf("%d held after the new open, %d were acknowledged", c.Flag(Held), acked)
	}
	must(t, l.Claim(ctx, "account", Main, []Range{One(1 << 19)}))
}

// Any other failure of a commit, and damage that bbolt panics on, poison the ledger too.
func TestATroubledDiskPoisonsAndNeverPanics(t *testing.T) {
	for _, c := range []struct {
		name   string
		harm   func(t *testing.T, l *Ledger)
		target error
	}{
		{"writing fails", func(t *testing.T, l *Ledger) { must(t, l.file.Close()) }, os.ErrClosed},
		{"pages are overwritten", func(t *testing.T, l *Ledger) {
			f, err := os.OpenFile(l.path, os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt(make([]byte, 1<<18), 8192)
			must(t, errors.Join(err, f.Close()))
		}, ErrDamaged},
		{"the file is cut", func(t *testing.T, l *Ledger) { must(t, os.Truncate(l.path, 8192)) }, ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, path := t.Context(), writeFile(t, sample(t))
			l, err := Open(ctx, path, Options{})
			must(t, err)
			want := slices.Collect(l.Spans("account", 0))
			c.harm(t, l)
			err = l.Claim(ctx, "account", Main, []Range{One(1)})
			wantErr(t, err, ErrPoisoned)
			wantErr(t, err, c.target)
			wantErr(t, l.Plan(ctx, "account", []Planned{{One(9), Insert}}), ErrPoisoned)
			if !slices.Equal(want, slices.Collect(l.Spans("account", 0))) {
				t.Error("memory shows what is not on the disk")
			}
			if c.target == ErrDamaged {
				_, err := l.Failures("account", 0, 10)
				wantErr(t, err, ErrDamaged)
			}
			wantErr(t, l.Close(), ErrPoisoned)
			wantErr(t, l.Claim(ctx, "account", Main, []Range{One(1)}), ErrClosed)
			if l, err := Open(ctx, path, Options{}); err == nil {
				must(t, l.Close())
			} else {
				wantErr(t, err, ErrDamaged)
			}
		})
	}
}

// FuzzOpen overwrites a ledger file at two places and opens it: whatever comes, nothing panics.
func FuzzOpen(f *testing.F) {
	b := sample(f)
	f.Add(uint32(8192), []byte{0xff, 0xff}, uint32(4096+16+8), []byte{1})
	f.Add(uint32(16+32), []byte{9, 9, 9}, uint32(4096+16+32), []byte{9, 9, 9})
	f.Fuzz(func(t *testing.T, at1 uint32, with1 []byte, at2 uint32, with2 []byte) {
		bad := bytes.Clone(b)
		copy(bad[int(at1)%len(bad):], with1)
		copy(bad[int(at2)%len(bad):], with2)
		l, err := Open(t.Context(), writeFile(t, bad), Options{})
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotLedger) && !errors.Is(err, ErrFormat) {
				t.Error(err)
			}
			return
		}
		if err := l.Check(t.Context()); err != nil {
			wantErr(t, err, ErrDamaged)
		}
		must(t, l.Close())
	})
}

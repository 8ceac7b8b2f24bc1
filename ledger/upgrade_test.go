package ledger

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/google/go-cmp/cmp"
)

// versionOne is a ledger file that the release with format 1 wrote, and what that release said of it.
func versionOne(t testing.TB) (file []byte, says string) {
	t.Helper()
	z, err := os.Open("testdata/version1.bolt.gz")
	must(t, err)
	defer z.Close()
	r, err := gzip.NewReader(z)
	must(t, err)
	file, err = io.ReadAll(r)
	must(t, err)
	text, err := os.ReadFile("testdata/version1.txt")
	must(t, err)
	return file, string(text)
}

// contentAndRuns is what testdata/version1.txt has.
func contentAndRuns(t testing.TB, l *Ledger) string {
	t.Helper()
	runs, err := l.RunLog(10)
	must(t, err)
	return content(t, l) + fmt.Sprintln(runs)
}

func TestAFileOfVersionOneIsReadWithoutAChangeAndUpgradedWhenItIsWritten(t *testing.T) {
	t.Parallel()
	file, want := versionOne(t)
	path := writeFile(t, file)
	set := [16]byte{1, 2, 3}

	l, err := Open(t.Context(), path, Options{Set: set, ReadOnly: true})
	must(t, err)
	if d := cmp.Diff(want, contentAndRuns(t, l)); d != "" {
		t.Error(d)
	}
	must(t, l.Check(t.Context()))
	if g, err := l.Generations(); len(g) != 0 || err != nil {
		t.Error(g, err)
	}
	if a, err := l.Audit(0, 10); len(a) != 0 || err != nil {
		t.Error(a, err)
	}
	must(t, l.Close())
	must(t, Check(t.Context(), path))
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(file, after) {
		t.Error("reading changed the file")
	}

	l = openTest(t, path, Options{Set: set})
	if d := cmp.Diff(want, contentAndRuns(t, l)); d != "" {
		t.Error(d)
	}
	_, err = l.Record(t.Context(), AuditEntry{Event: AuditBegin, Command: "load"})
	must(t, err)
	must(t, l.Claim(t.Context(), "account", Main, []Range{{4200, 4300}}))
	closeTest(t, l)
	r, err := Examine(t.Context(), path)
	must(t, err)
	if r.Format != formatVersion || r.Err() != nil {
		t.Errorf("format %d: %v", r.Format, r.Err())
	}
}

func TestACopyOfVersionOneIsRestoredAsOneOfThisVersion(t *testing.T) {
	file, _ := versionOne(t)
	s := Store{Path: t.TempDir() + "/ledger.bolt"}
	must(t, s.RestoreFrom(t.Context(), bytes.NewReader(file)))
	l := openTest(t, s.Path, Options{})
	if !l.Behind("account") || l.restored.At.IsZero() {
		t.Error("the copy is not marked as restored")
	}
}

// A crash in the middle of an upgrade leaves either version: it is one transaction.
func TestAnUpgradeIsOneTransaction(t *testing.T) {
	file, want := versionOne(t)
	path := writeFile(t, file)
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	tx, err := db.Begin(true)
	must(t, err)
	must(t, upgrade(tx))
	must(t, tx.Rollback())
	must(t, db.Close())
	l, err := Open(t.Context(), path, Options{ReadOnly: true})
	must(t, err)
	if d := cmp.Diff(want, contentAndRuns(t, l)); d != "" {
		t.Error(d)
	}
	must(t, l.Close())
}

package duckstage

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/duckstage/column"
)

func openTest(t *testing.T, path string, o Options) *Stage {
	t.Helper()
	s, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newStage(t *testing.T) *Stage {
	t.Helper()
	return openTest(t, filepath.Join(t.TempDir(), "stage.duckdb"), Options{})
}

func mustExec(t *testing.T, s *Stage, query string, args ...any) {
	t.Helper()
	if _, err := s.Exec(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, s *Stage, query string) (n int64) {
	t.Helper()
	if err := s.Row(t.Context(), []any{&n}, query); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTemporaryFolderIsMade: what does not fit in memory goes to a folder that nobody has made.
func TestTemporaryFolderIsMade(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "stage.duckdb"), Options{Temp: filepath.Join(dir, "not", "there"), Memory: "60MB", Threads: 1})
	mustExec(t, s, "CREATE TABLE source.a AS SELECT hash(range) AS h, range AS i FROM range(6000000) ORDER BY h")
	if n := count(t, s, "SELECT count(*) FROM source.a"); n != 6000000 {
		t.Errorf("%d rows", n)
	}
}

func TestSnapshotDuringAReadAndAfterAWrite(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a AS SELECT range AS i FROM range(300000)")
	if err := s.SetMeta(t.Context(), "colour", "blue"); err != nil {
		t.Fatal(err)
	}
	var snap bytes.Buffer
	rows := 0
	err := s.Scan(t.Context(), "SELECT i FROM source.a", nil, func(b *column.Batch) error {
		if rows == 0 {
			if err := s.SetMeta(t.Context(), "colour", "green"); err != nil {
				return err
			}
			if err := s.SnapshotTo(t.Context(), &snap); err != nil {
				return err
			}
		}
		rows += b.Rows
		return nil
	})
	if err != nil || rows != 300000 {
		t.Fatalf("scan = %d rows, %v", rows, err)
	}
	t.Logf("snapshot with trailer: %v", bytes.Contains(snap.Bytes(), []byte(trailerMagic)))
	mustExec(t, s, "DROP TABLE source.a")
	path := filepath.Join(t.TempDir(), "other.duckdb")
	if err := (Restorer{path}).RestoreFrom(t.Context(), &snap); err != nil {
		t.Fatal(err)
	}
	r := openTest(t, path, Options{})
	if n := count(t, r, "SELECT count(*) FROM source.a"); n != 300000 {
		t.Errorf("restored rows = %d", n)
	}
	if v, _ := r.Meta(t.Context(), "colour"); v != "green" {
		t.Errorf("restored meta = %q", v)
	}
}

func TestDescribePointsIntoTheText(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE source.a (id INTEGER, name VARCHAR)")
	for _, c := range []struct {
		name, query string
		line, col   int
		message     string
	}{
		{"an unknown column", "-- größe\nSELECT id,\n  nme FROM a", 3, 3, "nme"},
		{"a syntax error", "SELECT id\nFORM a", 2, 6, "syntax error"},
		{"an unknown table", "SELECT 1\nFROM\n nosuch", 3, 2, "nosuch"},
		{"an unknown function", "SELECT 'ä', nofun(id) FROM a", 1, 13, "nofun"},
		{"a second statement", "SELECT 1; -- done\n DROP TABLE a;", 2, 2, "only one statement"},
		{"no statement", " -- nothing\n", 1, 1, "no statement"},
		{"not a select", "\nDELETE FROM a", 2, 1, "must be a SELECT"},
		{"a parameter", "SELECT ? FROM a", 1, 1, "parameters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Describe(t.Context(), c.query)
			var e *SQLError
			if !errors.As(err, &e) {
				t.Fatalf("error = %v", err)
			}
			if e.Line != c.line || e.Column != c.col || !strings.Contains(e.Message, c.message) {
				t.Errorf("error = %d:%d %q hint %q, want %d:%d %q", e.Line, e.Column, e.Message, e.Hint, c.line, c.col, c.message)
			}
		})
	}
}

func TestOpenRefusals(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	foreign := filepath.Join(dir, "foreign.duckdb")
	if err := os.WriteFile(foreign, []byte(strings.Repeat("x", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, foreign, Options{}); !errors.Is(err, ErrNotStage) {
		t.Errorf("foreign file: %v", err)
	}
	path := filepath.Join(dir, "stage.duckdb")
	s, err := Open(ctx, path, Options{Set: [16]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, path, Options{Set: [16]byte{1}}); !errors.As(err, new(*LockedError)) {
		t.Errorf("second open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, path, Options{Set: [16]byte{2}}); !errors.Is(err, ErrOtherSet) {
		t.Errorf("other set: %v", err)
	}
	s = openTest(t, path, Options{})
	if s.Set() != [16]byte{1} {
		t.Errorf("set = %v", s.Set())
	}
}

package duckstage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"dvmigrate/duckstage/column"
)

// childVar makes the test binary one of the processes below; its value is the command
// and the stage's path.
const childVar = "DUCKSTAGE_TEST_CHILD"

func TestMain(m *testing.M) {
	if command, path, ok := strings.Cut(os.Getenv(childVar), " "); ok {
		if err := child(command, path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child opens the stage, says so, and waits for its standard input to end.
func child(command, path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path, Options{ReadOnly: command == "read"})
	if err != nil {
		return err
	}
	if command == "write" {
		if _, err := s.Exec(ctx, "CREATE TABLE dm.source_9 AS SELECT 1 AS a; CREATE TABLE dm.new_raw_1 AS SELECT 2 AS b; CREATE TABLE main.kept AS SELECT 3 AS c"); err != nil {
			return err
		}
		if _, err := s.Scratch(); err != nil {
			return err
		}
		if err := os.MkdirAll(s.temp, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.temp, "left.tmp"), []byte("secret"), 0o600); err != nil {
			return err
		}
	}
	if command == "log" {
		for _, q := range []string{"CREATE TABLE main.kept AS SELECT 0 AS a WHERE false; CHECKPOINT",
			"SET GLOBAL checkpoint_threshold='1GB'", "INSERT INTO kept VALUES (1)", "INSERT INTO kept VALUES (2)"} {
			if _, err := s.Exec(ctx, q); err != nil {
				return err
			}
		}
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return s.Close()
}

// startChild starts a child and waits until it has the stage open. Stop ends it in
// order, Kill does not.
func startChild(t *testing.T, command, path string) (stop func(), process *os.Process) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+command+" "+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	return func() {
		in.Close()
		cmd.Wait() // a killed child has no good status
	}, cmd.Process
}

func newPath(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stage.duckdb")
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnotherProcessIsNamed(t *testing.T) {
	path := newPath(t)
	stop, process := startChild(t, "hold", path)
	_, err := Open(t.Context(), path, Options{})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != process.Pid || filepath.Base(locked.Process) != filepath.Base(os.Args[0]) {
		t.Errorf("error = %v, want process %d of %s", err, process.Pid, os.Args[0])
	}
	if _, err := Open(t.Context(), path, Options{ReadOnly: true}); !errors.As(err, &locked) {
		t.Errorf("to read: %v", err)
	}
	stop()
	openTest(t, path, Options{})
}

func TestReadersShareAStage(t *testing.T) {
	path := newPath(t)
	stop, _ := startChild(t, "read", path)
	defer stop()
	s := openTest(t, path, Options{ReadOnly: true})
	if n := count(t, s, "SELECT count(*) FROM dm.tables"); n != 0 {
		t.Errorf("tables = %d", n)
	}
	if _, err := s.Exec(t.Context(), "CREATE TABLE x (a INT)"); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("writing to a stage opened to read: %v", err)
	}
	if err := s.SnapshotTo(t.Context(), io.Discard); err != nil {
		t.Errorf("snapshot: %v", err)
	}
}

func TestASnapshotKeepsTheLock(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path, Options{})
	if err := s.SnapshotTo(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if s.Fingerprint() == "" {
		t.Error("no fingerprint after a snapshot, which has folded the log")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"=hold "+path)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by") || !strings.Contains(string(out), strconv.Itoa(os.Getpid())) {
		t.Errorf("another process got the stage after a snapshot: %s, %v", out, err)
	}
}

func TestWhatAKilledProcessLeavesIsCleared(t *testing.T) {
	path := newPath(t)
	stop, process := startChild(t, "write", path)
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	stop()
	left, _ := filepath.Glob(path + ".tmp*")
	if len(left) != 2 {
		t.Fatalf("the child left %v", left)
	}
	s := openTest(t, path, Options{})
	if left, _ = filepath.Glob(path + ".tmp*"); len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
	if n := count(t, s, "SELECT count(*) FROM duckdb_tables() WHERE table_name IN ('source_9', 'new_raw_1')"); n != 0 {
		t.Errorf("%d half-made tables left", n)
	}
	if n := count(t, s, "SELECT c FROM kept"); n != 3 {
		t.Errorf("a committed table was lost: %d", n)
	}
}

func TestDamagedFiles(t *testing.T) {
	whole, err := os.ReadFile(newPath(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		want   error
	}{
		{"a flipped byte in a header", func(b []byte) []byte { b[4096+20] ^= 1; b[8192+20] ^= 1; return b }, ErrDamaged},
		{"a flipped byte in the catalogue", func(b []byte) []byte {
			for at := 12288 + 100; at < len(b); at += 1000 {
				b[at] ^= 0xFF
			}
			return b
		}, ErrDamaged},
		{"a file cut short", func(b []byte) []byte { return b[:9000] }, ErrDamaged},
		{"a file without its end", func(b []byte) []byte { return b[:len(b)-100_000] }, ErrDamaged},
		{"no DuckDB file", func(b []byte) []byte { copy(b[8:], "XXXX"); return b }, ErrNotStage},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "stage.duckdb")
			if err := os.WriteFile(path, c.damage(bytes.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), path, Options{})
			if !errors.Is(err, c.want) {
				t.Errorf("error = %v, want %v", err, c.want)
			}
			if err == nil {
				s.Close()
			}
		})
	}
}

func TestForeignAndOtherFormats(t *testing.T) {
	path := newPath(t)
	s := openTest(t, path, Options{})
	if err := s.SetMeta(t.Context(), "format", "99"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrVersion) {
		t.Errorf("other format: %v", err)
	}
	foreign := newPath(t)
	s = openTest(t, foreign, Options{})
	exec := func(q string) {
		t.Helper()
		if _, err := s.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE main.mine (a INT); DROP SCHEMA dm CASCADE")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), foreign, Options{}); !errors.Is(err, ErrNotStage) {
		t.Errorf("somebody else's DuckDB file: %v", err)
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "no.duckdb"), Options{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file to read: %v", err)
	}
}

func TestClosedStage(t *testing.T) {
	s := newStage(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Exec(t.Context(), "SELECT 1"); !errors.Is(err, ErrClosed) {
		t.Errorf("exec: %v", err)
	}
	if err := s.Scan(t.Context(), "SELECT 1", nil, func(*column.Batch) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("scan: %v", err)
	}
}

func TestMemoryStage(t *testing.T) {
	s, err := OpenMemory(t.Context(), Options{Memory: "200MB", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustExec(t, s, "CREATE TABLE source.a (id INTEGER)")
	if cols, err := s.Describe(t.Context(), "SELECT id, 'x' AS t FROM a"); err != nil || len(cols) != 2 || cols[0].SQLType != "INTEGER" {
		t.Errorf("columns = %v, %v", cols, err)
	}
	if err := s.SnapshotTo(t.Context(), io.Discard); err == nil {
		t.Error("a stage in memory has no snapshot")
	}
}

func TestFingerprintChangesWithTheContent(t *testing.T) {
	s := newStage(t)
	fingerprint := func() string {
		t.Helper()
		if err := s.SnapshotTo(t.Context(), io.Discard); err != nil {
			t.Fatal(err)
		}
		return s.Fingerprint()
	}
	first := fingerprint()
	if again := fingerprint(); again != first {
		t.Errorf("an unchanged stage went from %s to %s", first, again)
	}
	if err := s.SetMeta(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	if s.Fingerprint() == first {
		t.Error("a write did not show before the snapshot")
	}
	if fingerprint() == first {
		t.Error("a write did not show after the snapshot")
	}
}

// How a process behaves that was killed between two commits of which DuckDB has folded
// the first: file and log belong together. Then somebody puts an older copy of the file
// back by hand, or another stage's, and leaves the log where it is.
func TestLogOfAnotherFileIsRefused(t *testing.T) {
	path := newPath(t)
	older, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stop, process := startChild(t, "log", path)
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	stop()
	log, err := os.ReadFile(path + ".wal")
	if err != nil || len(log) == 0 {
		t.Fatalf("the child left no log: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	note, err := os.ReadFile(path + ".log")
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(newPath(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		file, log []byte
		want      error // nil: both rows are there, or only the first
		rows      int64
	}{
		{"as it was left", whole, log, nil, 2},
		{"an older copy of the file", older, log, ErrLog, 0},
		{"another stage's file", other, log, ErrLog, 0},
		{"a log that is garbage", whole, bytes.Repeat([]byte("garbage "), 500), ErrLog, 0},
		{"a log with a flipped byte", whole, flip(log, 40), ErrDamaged, 0},
		{"a log cut in its last entry", whole, log[:len(log)-1], nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "stage.duckdb")
			if err := errors.Join(os.WriteFile(path, c.file, 0o600), os.WriteFile(path+".wal", c.log, 0o600), os.WriteFile(path+".log", note, 0o600)); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), path, Options{})
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), path+".wal") {
				t.Errorf("error = %v, want %v that names the log", err, c.want)
			}
			if err == nil {
				if n := count(t, s, "SELECT count(*) FROM kept"); n != c.rows {
					t.Errorf("%d rows, want %d", n, c.rows)
				}
				s.Close()
			}
		})
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func TestRestoreRefusesWhatIsNoSnapshot(t *testing.T) {
	path := newPath(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	trailer := append(bytes.Clone(before), []byte(trailerMagic+"\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x09")...)
	for name, content := range map[string][]byte{"nothing": nil, "noise": bytes.Repeat([]byte("x"), 9000), "half": before[:len(before)/2], "wrong lengths": trailer} {
		if err := (Restorer{path}).RestoreFrom(t.Context(), bytes.NewReader(content)); err == nil {
			t.Errorf("%s was restored", name)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refused restore has changed the stage: %v", err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}

// A log that cannot be folded, since a reader holds an older state, comes along.
func TestSnapshotWithItsLog(t *testing.T) {
	s := newStage(t)
	mustExec(t, s, "CREATE TABLE main.a AS SELECT range AS i FROM range(50000); CHECKPOINT")
	mustExec(t, s, "SET GLOBAL checkpoint_threshold='1GB'")
	mustExec(t, s, "INSERT INTO a SELECT range + 50000 FROM range(10)")
	var snap bytes.Buffer
	size, err := copyFile(t.Context(), &snap, s.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.copyLog(t.Context(), &snap, size); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(snap.Bytes()[snap.Len()-trailerSize:], []byte(trailerMagic)) {
		t.Fatal("the snapshot has no log")
	}
	path := filepath.Join(t.TempDir(), "stage.duckdb")
	if err := os.WriteFile(path+".wal", []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (Restorer{path}).RestoreFrom(t.Context(), &snap); err != nil {
		t.Fatal(err)
	}
	if n := count(t, openTest(t, path, Options{}), "SELECT count(*) FROM a"); n != 50010 {
		t.Errorf("restored rows = %d", n)
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small disk: %s", out)
	}
	defer exec.Command("umount", "-l", dir).Run()
	path := filepath.Join(dir, "stage.duckdb")
	s, err := Open(t.Context(), path, Options{Memory: "200MB"})
	if err != nil {
		t.Fatal(err)
	}
	write := func(q string) error {
		_, err := s.Exec(t.Context(), q)
		return err
	}
	if err := write("CREATE TABLE main.a AS SELECT range AS i FROM range(1000)"); err != nil {
		t.Fatal(err)
	}
	if err := write("SET GLOBAL checkpoint_threshold='1GB'"); err != nil {
		t.Fatal(err)
	}
	var committed int64
	for err = nil; err == nil && committed < 1000; {
		if err = write("INSERT INTO a SELECT (hash(range) >> 1)::BIGINT FROM range(100000)"); err == nil {
			committed++
		}
	}
	t.Logf("after %d inserts: %v", committed, err)
	err = write("CHECKPOINT")
	t.Logf("checkpoint: %v", err)
	var fatal *FatalError
	if errors.As(err, &fatal) {
		if !fatal.DiskFull {
			t.Errorf("fatal error = %+v", fatal)
		}
		if err := write("SELECT 1"); !errors.As(err, &fatal) {
			t.Errorf("after a fatal error: %v", err)
		}
	} else if err == nil || !strings.Contains(err.Error(), "free space and run again") {
		t.Errorf("checkpoint on a full disk: %v", err)
	}
	s.Close()
	if out, err := exec.Command("mount", "-o", "remount,size=200m", dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	s = openTest(t, path, Options{Memory: "200MB"})
	err = write("CREATE TABLE main.big AS SELECT hash(range)::VARCHAR || hash(range + 1)::VARCHAR AS t FROM range(30000000)")
	if err == nil || !strings.Contains(err.Error(), "free space and run again") {
		t.Errorf("a table that does not fit: %v", err)
	}
	if n := count(t, s, "SELECT count(*) FROM a"); n != 1000+100000*committed {
		t.Errorf("%d rows after reopening, %d were committed", n, 1000+100000*committed)
	}
	s.Close()
}

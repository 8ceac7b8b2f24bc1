package sample

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/appliance/config"

	"github.com/google/go-cmp/cmp"
)

func mustWrite(t *testing.T, o Options) (string, Summary) {
	t.Helper()
	dir := t.TempDir()
	s, err := Write(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

// contents reads every file below dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		all[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEqualOptionsGiveEqualFiles(t *testing.T) {
	o := Options{Records: 700, Faults: 40, Seed: 3}
	a, first := mustWrite(t, o)
	b, second := mustWrite(t, o)
	if d := cmp.Diff(first, second); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(contents(t, a), contents(t, b)); d != "" {
		t.Error(d)
	}
	o.Seed++
	c, third := mustWrite(t, o)
	if d := cmp.Diff(first, third); d != "" {
		t.Errorf("another seed changed the counts: %s", d)
	}
	if x, y := contents(t, a), contents(t, c); x["sources/deals.csv"] == y["sources/deals.csv"] {
		t.Error("another seed gave the same deals")
	}
}

func TestRecordsAreMetExactly(t *testing.T) {
	for _, n := range []int{0, 50, 51, 77, 99, 100, 333, 1999, 12345} {
		for _, faults := range []int{0, n / 20, n / 10} {
			t.Run(fmt.Sprint(n, " records, ", faults, " faults"), func(t *testing.T) {
				_, s := mustWrite(t, Options{Records: n, Faults: faults})
				sum, wrong := 0, 0
				for _, rows := range s.Tables {
					sum += rows
				}
				for _, rows := range s.Faults {
					wrong += rows
				}
				want := n
				if n == 0 {
					want = DefaultRecords
				}
				if sum != want || sum != s.Records {
					t.Errorf("%d rows in the tables, Records %d", sum, s.Records)
				}
				if wrong != faults {
					t.Errorf("%d faults: %v", wrong, s.Faults)
				}
			})
		}
	}
}

func TestAProjectIsNotOverwrittenUnlessForced(t *testing.T) {
	dir, _ := mustWrite(t, Options{Records: 50})
	before := contents(t, dir)
	if _, err := Write(dir, Options{Records: 60}); !errors.Is(err, ErrExists) {
		t.Errorf("error %v, want ErrExists", err)
	}
	if d := cmp.Diff(before, contents(t, dir)); d != "" {
		t.Errorf("the refused call changed files: %s", d)
	}
	mine := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, Options{Records: 60, Force: true}); err != nil {
		t.Fatal(err)
	}
	after := contents(t, dir)
	if after["notes.txt"] != "mine" || after["sources/CUST.csv"] == before["sources/CUST.csv"] {
		t.Error("Force must replace the sample's files and leave others alone")
	}
}

func TestImpossibleNumbersAreRefused(t *testing.T) {
	for _, o := range []Options{{Records: 49}, {Records: -1}, {Records: maxRecords + 1}, {Records: 100, Faults: 11}, {Records: 100, Faults: -1}} {
		dir := t.TempDir()
		if _, err := Write(dir, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
		if len(contents(t, dir)) > 0 {
			t.Errorf("%+v left files", o)
		}
	}
}

func TestAFileThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "x.csv")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("disk full")
	err := writeWhole(target, func(f *os.File) error {
		f.WriteString("half")
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	if d := cmp.Diff(map[string]string{"x.csv": "old"}, contents(t, dir)); d != "" {
		t.Error(d)
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	if os.PathSeparator == '\\' {
		t.Skip("Windows has no such modes")
	}
	dir, _ := mustWrite(t, Options{Records: 50})
	for name := range contents(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestTheSettingsAreValid(t *testing.T) {
	dir, s := mustWrite(t, Options{Records: 50})
	c, err := config.Load(dir, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for name, source := range c.Sources {
		for _, p := range source.Path {
			found, _ := filepath.Glob(c.Path(p))
			if len(found) == 0 {
				t.Errorf("source %s: no file %s", name, p)
			}
			for _, f := range found {
				rel, _ := filepath.Rel(dir, f)
				used[filepath.ToSlash(rel)] = true
			}
		}
	}
	for path := range s.Sources {
		if !used[path] {
			t.Errorf("%s is not in %s", path, projectFile)
		}
	}
	for name := range c.Tables {
		if s.Tables[name] == 0 {
			t.Errorf("%s has settings for the table %s, which gets no rows", projectFile, name)
		}
	}
	if name := "emulator-seed.json"; contents(t, dir)[name] != string(Seed()) || !bytes.Equal(Schema(), []byte(contents(t, dir)["schema.json"])) {
		t.Error("Schema or Seed are not the files of the project")
	}
	for _, name := range []string{"README.md", "transform/account.sql", "maps/user.csv"} {
		if strings.TrimSpace(contents(t, dir)[name]) == "" {
			t.Errorf("%s is missing", name)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		if _, err := Write(dir, Options{Records: 200_000, Faults: 100, Force: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(200_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func TestAProjectOfOnesOwnBegins(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := WriteBegin(dir, false); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(dir, func(string) (string, bool) { return "", false }); err != nil {
		t.Fatalf("its settings are not valid: %v", err)
	}
	if err := WriteBegin(dir, false); !errors.Is(err, ErrExists) {
		t.Fatalf("error %v, want ErrExists", err)
	}
}

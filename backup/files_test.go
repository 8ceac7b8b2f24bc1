package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// tree makes a folder with these files.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// contents returns all files under root.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		rel, _ := filepath.Rel(root, name)
		files[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFilesComeBack(t *testing.T) {
	root := tree(t, map[string]string{
		"migration.yaml":         "project: demo",
		"schema.json":            "{}",
		"transform/1_trim.sql":   "select 1",
		"transform/2_join.sql":   "select 2",
		"transform/notes.txt":    "not asked for",
		"maps/deep/er/owner.csv": "a,b",
		"ledger.bolt":            "not asked for",
		"empty.yaml":             "",
	})
	paths := []string{"schema.json", "migration.yaml", "empty.yaml", "transform/*.sql", "maps", "sources*", "migration.*"}
	o := Options{Dir: t.TempDir()}
	mustTake(t, o, Files("config", root, paths))
	if again := mustTake(t, o, Files("config", root, paths)); again.Added != 0 {
		t.Error("the same files give other bytes")
	}
	to := tree(t, map[string]string{"migration.yaml": "older and longer content", "mine.txt": "stays"})
	to = filepath.Join(to, ".")
	if _, err := restoreFrom(context.Background(), o.Dir, "", nil, Files("config", to, nil)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"migration.yaml":         "project: demo",
		"schema.json":            "{}",
		"transform/1_trim.sql":   "select 1",
		"transform/2_join.sql":   "select 2",
		"maps/deep/er/owner.csv": "a,b",
		"empty.yaml":             "",
		"mine.txt":               "stays",
	}
	got := contents(t, to)
	for name := range got {
		if got[name] != want[name] {
			t.Errorf("%s is %q, not %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, not %d", len(got), len(want))
	}
	if info, err := os.Stat(filepath.Join(to, "migration.yaml")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	fresh := filepath.Join(t.TempDir(), "not", "there", "yet")
	if _, err := restoreFrom(context.Background(), o.Dir, "", nil, Files("config", fresh, nil)); err != nil {
		t.Error(err)
	}
}

func TestFilesThatCannotBeTaken(t *testing.T) {
	root := tree(t, map[string]string{"a.txt": "a", "dir/b.txt": "b"})
	outside := tree(t, map[string]string{"secret": "s"})
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("a.txt", "inside")
	link(filepath.Join(outside, "secret"), "outside")
	link("../dir", "dir/folder")
	for _, bad := range []string{"missing.txt", "outside", "dir", "../x", "/etc/passwd", "[", ""} {
		if err := Files("config", root, []string{bad}).SnapshotTo(context.Background(), io.Discard); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	var b bytes.Buffer
	if err := Files("config", root, []string{"inside"}).SnapshotTo(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := Files("config", to, nil).RestoreFrom(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, to); got["inside"] != "a" {
		t.Errorf("a link inside comes back as %v", got)
	}
}

// tarOf makes a tar of headers whose content is their own name.
func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Mode = 0o600
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, h.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRestoredFilesStayInTheirFolder(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	tests := []struct {
		name string
		bad  []tar.Header
	}{
		{"a name that climbs out", []tar.Header{file("../out")}},
		{"a name that climbs out in the middle", []tar.Header{file("a/../../out")}},
		{"a name that is not clean", []tar.Header{file("a//b")}},
		{"an absolute name", []tar.Header{file("/tmp/out")}},
		{"no name", []tar.Header{file(".")}},
		{"a link", []tar.Header{{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "../.."}}},
		{"a hard link", []tar.Header{{Typeflag: tar.TypeLink, Name: "link", Linkname: "/etc/passwd"}}},
		{"a device", []tar.Header{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}}},
		{"a folder", []tar.Header{{Typeflag: tar.TypeDir, Name: "folder/"}}},
		{"a name twice", []tar.Header{file("x"), file("x")}},
		{"a name through a link that leads out", []tar.Header{file("escape/out")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			parent := t.TempDir()
			outside := filepath.Join(parent, "outside")
			root := filepath.Join(parent, "root")
			if err := errors.Join(os.Mkdir(root, 0o700), os.Mkdir(outside, 0o700), os.Symlink(outside, filepath.Join(root, "escape"))); err != nil {
				t.Fatal(err)
			}
			err := Files("config", root, nil).RestoreFrom(context.Background(), bytes.NewReader(tarOf(t, test.bad...)))
			if err == nil {
				t.Error("was restored")
			}
			if left := append(fileNames(t, parent), fileNames(t, root)...); !slices.Equal(left, []string{"outside", "root", "escape"}) {
				t.Errorf("left behind: %v", left)
			}
			if left := fileNames(t, outside); len(left) > 0 {
				t.Errorf("outside the folder: %v", left)
			}
		})
	}
}

func TestFilesAppearOnlyWhenAllHasBeenChecked(t *testing.T) {
	whole := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "a"}, tar.Header{Typeflag: tar.TypeReg, Name: "b"})
	damage := errors.New("hash differs")
	for _, cut := range []int{0, 100, 512, 600, 1024, len(whole) - 1, len(whole)} {
		root := tree(t, map[string]string{"a": "as it was", restoreDir + "/0": "left by a crash"})
		r := io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(damage))
		err := Files("config", root, nil).RestoreFrom(context.Background(), r)
		if !errors.Is(err, damage) {
			t.Errorf("damage at byte %d: %v", cut, err)
		}
		if got := contents(t, root); len(got) != 1 || got["a"] != "as it was" {
			t.Errorf("damage at byte %d: folder holds %v", cut, got)
		}
	}
}

func TestFileThatShrinksWhileItIsCopiedIsAnError(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(name, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Files("config", filepath.Dir(name), []string{"a"}).SnapshotTo(context.Background(), &shrinker{name: name})
	if err == nil || !strings.Contains(err.Error(), "became shorter") {
		t.Errorf("got %v", err)
	}
}

// shrinker is a writer that shortens a file at the first write.
type shrinker struct{ name string }

func (s *shrinker) Write(b []byte) (int, error) { return len(b), os.Truncate(s.name, 10) }

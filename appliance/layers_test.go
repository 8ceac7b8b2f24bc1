package appliance_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers says which of our packages each package may import. A package that is
// not listed fails the test: a new room is a decision.
var layers = map[string][]string{
	"":              {"appliance/cli"},
	"appliance/cli": {"appliance", "appliance/config", "appliance/console", "appliance/guide", "appliance/progress", "appliance/sample", "appliance/dataverse/emulator", "appliance/dataverse/schema"},
	"appliance": {"appliance/config", "appliance/load", "appliance/reconcile", "appliance/preflight", "appliance/plan", "appliance/mapping", "appliance/progress",
		"appliance/dataverse", "appliance/dataverse/schema", "appliance/dataverse/identity", "appliance/dataverse/pace",
		"duckstage", "duckstage/column", "duckstage/ingest", "duckstage/mask", "duckstage/transform", "ledger", "backup"},
	"appliance/load":               {"duckstage/column", "ledger", "appliance/dataverse", "appliance/dataverse/schema", "appliance/plan", "appliance/mapping", "appliance/progress"},
	"appliance/reconcile":          {"duckstage/column", "ledger", "appliance/dataverse", "appliance/dataverse/schema", "appliance/mapping"},
	"appliance/preflight":          {"appliance/dataverse/schema", "appliance/mapping"},
	"appliance/plan":               {"appliance/dataverse/schema", "appliance/mapping"},
	"duckstage/ingest":             {"duckstage", "duckstage/column", "duckstage/mask"},
	"duckstage/transform":          {"duckstage", "duckstage/column"},
	"appliance/mapping":            {"duckstage/column", "appliance/dataverse/schema"},
	"appliance/console":            {"appliance/progress"},
	"appliance/dataverse":          {"appliance/dataverse/schema", "appliance/dataverse/pace"},
	"appliance/dataverse/emulator": {"appliance/dataverse/schema"},
	"duckstage":                    {"duckstage/column"},
	"backup":                       {"backup/archive"},
	"ledger":                       nil,
	"backup/archive":               nil,
	"duckstage/column":             nil,
	"duckstage/mask":               nil,
	"appliance/dataverse/schema":   nil,
	"appliance/dataverse/pace":     nil,
	"appliance/dataverse/identity": nil,
	"appliance/config":             nil,
	"appliance/progress":           nil,
	"appliance/sample":             nil,
	"appliance/guide":              nil,
}

// homes says in which package each outside dependency lives.
var homes = map[string][]string{
	"github.com/duckdb/duckdb-go":                                {"duckstage"},
	"github.com/duckdb/duckdb-go-bindings":                       {"duckstage"},
	"go.etcd.io/bbolt":                                           {"ledger"},
	"github.com/klauspost/compress":                              {"backup/archive", "duckstage/ingest"},
	"filippo.io/age":                                             {"backup/archive"},
	"github.com/zeebo/blake3":                                    {"backup/archive"},
	"github.com/jackc/pgx":                                       {"duckstage/ingest"},
	"github.com/go-sql-driver/mysql":                             {"duckstage/ingest"},
	"github.com/microsoft/go-mssqldb":                            {"duckstage/ingest"},
	"modernc.org/sqlite":                                         {"duckstage/ingest"},
	"github.com/Azure/azure-sdk-for-go":                          {"appliance/dataverse/identity", "backup"},
	"github.com/minio/minio-go":                                  {"backup"},
	"github.com/johannesboyne/gofakes3":                          nil, // tests only
	"github.com/prometheus/client_golang":                        {"appliance/console"},
	"github.com/prometheus/common":                               nil, // tests only
	"github.com/wneessen/go-mail":                                {"appliance"},
	"gopkg.in/natefinch/lumberjack.v2":                           {"appliance"},
	"github.com/spf13/pflag":                                     {"appliance/cli"},
	"go.yaml.in/yaml":                                            {"appliance/config"},
	"golang.org/x/text":                                          {"duckstage/ingest", "appliance/mapping", "appliance/dataverse/emulator"},
	"golang.org/x/crypto/x509roots/fallback":                     {""},
	"golang.org/x/sync":                                          {"appliance/load", "appliance/reconcile", "duckstage", "duckstage/ingest", "backup", "backup/archive"},
	"golang.org/x/sys":                                           {"ledger", "backup", "duckstage", "appliance", "appliance/cli"},
	"golang.org/x/term":                                          {"appliance/cli"},
	"github.com/google/go-cmp":                                   nil, // tests only
	"github.com/chromedp":                                        nil, // tests only
	"github.com/rogpeppe/go-internal":                            nil, // tests only
	"github.com/google/uuid":                                     {"duckstage"},
	"github.com/AzureAD/microsoft-authentication-library-for-go": {"appliance/dataverse/identity"},
}

// pure packages have no way to reach a file, a network, a database or a clock.
var pure = []string{"appliance/plan", "appliance/mapping", "appliance/dataverse/schema", "duckstage/column", "duckstage/mask"}

var impure = []string{"net", "net/http", "os", "os/exec", "database/sql", "syscall"}

// TestLayers parses every file itself: what a child process reads, the test cache
// would not see.
func TestLayers(t *testing.T) {
	root := ".."
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if pkg == "." {
			pkg = ""
		}
		seen[pkg] = true
		allowed, known := layers[pkg]
		if !known {
			t.Errorf("%s: package %q is not in the layers map", path, pkg)
			return nil
		}
		checkImports(t, path, pkg, allowed)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		if !seen[pkg] {
			if _, err := os.Stat(filepath.Join(root, pkg)); err == nil {
				continue
			}
			t.Errorf("layers names package %q, which does not exist", pkg)
		}
	}
	delete(seen, "appliance/guide") // text that ships must be in a file of its own: beyond the count
	if len(seen) > 25 {
		t.Errorf("%d packages; 25 is the limit", len(seen))
	}
}

// TestTourNamesEveryFile: the package comment of appliance says of each of its files where it belongs.
func TestTourNamesEveryFile(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, found := strings.Cut(string(doc), "// Where to look")
	if !found {
		t.Fatal("doc.go has no tour")
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return name == "doc.go" || strings.HasSuffix(name, "_test.go") })
	named := map[string]bool{}
	for line := range strings.Lines(tour) {
		if _, names, ok := strings.Cut(strings.TrimPrefix(line, "//\t"), "  "); ok && strings.HasPrefix(line, "//\t") {
			for name := range strings.SplitSeq(strings.TrimSpace(names), ", ") {
				named[name] = false
			}
		}
	}
	for _, file := range files {
		home := ""
		for name := range named {
			if strings.HasPrefix(file, name) && len(name) > len(home) {
				home = name
			}
		}
		if home == "" {
			t.Errorf("%s: doc.go names no part that it belongs to", file)
			continue
		}
		named[home] = true
	}
	for name, there := range named {
		if !there {
			t.Errorf("doc.go names files that begin with %q, and there are none", name)
		}
	}
}

func checkImports(t *testing.T, path, pkg string, allowed []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	test := strings.HasSuffix(path, "_test.go")
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		switch {
		case test: // a test may look at more: it is not shipped
		case name == "dvmigrate" || strings.HasPrefix(name, "dvmigrate/"):
			if ours := strings.TrimPrefix(strings.TrimPrefix(name, "dvmigrate"), "/"); !slices.Contains(allowed, ours) {
				t.Errorf("%s: package %q must not import %q", path, pkg, ours)
			}
		case name == "testing" || strings.HasPrefix(name, "testing/"):
			t.Errorf("%s: a file that ships imports %s", path, name)
		case slices.Contains(pure, pkg) && slices.Contains(impure, name):
			t.Errorf("%s: package %q is pure and must not import %s", path, pkg, name)
		case strings.Contains(strings.SplitN(name, "/", 2)[0], "."):
			checkHome(t, path, pkg, name)
		}
	}
}

func checkHome(t *testing.T, path, pkg, name string) {
	t.Helper()
	for module, where := range homes {
		if name == module || strings.HasPrefix(name, module+"/") {
			if !slices.Contains(where, pkg) {
				t.Errorf("%s: %s has its home in %v", path, module, where)
			}
			return
		}
	}
	t.Errorf("%s: %s has no home: add a line to homes and to README's table", path, name)
}

package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSnapshotsOfTwoProjectsInOneFolder: one restore would bring back the other's newest, so that
// another name is refused, and another project of the same name is told.
func TestSnapshotsOfTwoProjectsInOneFolder(t *testing.T) {
	dir := stagedSample(t, "")
	folder := filepath.Join(t.TempDir(), "snapshots")
	var warnings []string
	take := func(dir string) error {
		t.Helper()
		p := reopen(t, dir, Loading, "")
		defer p.Close()
		p.o.Warn = func(text string) { warnings = append(warnings, text) }
		_, err := p.Snapshot(t.Context(), []string{folder})
		return err
	}
	for range 2 { // its own are no others
		if err := take(dir); err != nil || len(warnings) != 0 {
			t.Fatal(err, warnings)
		}
	}
	other := stagedSample(t, "")
	if err := take(other); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], folder+" has snapshots of another project of the name ") {
		t.Errorf("a project of the same name: %v, %q", err, warnings)
	}
	settings := filepath.Join(dir, "migration.yaml")
	text, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(settings, []byte(strings.Replace(string(text), "\nname: ", "\nname: not-", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := take(dir); err == nil || !strings.Contains(err.Error(), "Choose another folder: dvmigrate snapshot --to DIR") {
		t.Errorf("a project of another name: %v", err)
	}
	entries, err := filepath.Glob(filepath.Join(folder, "*.manifest"))
	if err != nil || len(entries) != 3 {
		t.Error(entries, err)
	}
}

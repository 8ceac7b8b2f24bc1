package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/ledger"
)

// TestTwoCopiesOfOneProjectAreNoticed: a project that is restored while the first goes on takes its snapshots into the
// same folder; each sees there what the other has taken.
func TestTwoCopiesOfOneProjectAreNoticed(t *testing.T) {
	dir := stagedSample(t, "")
	folder := filepath.Join(t.TempDir(), "snapshots")
	take := func(dir string) (warnings []string) {
		t.Helper()
		p := reopen(t, dir, Loading, "")
		defer p.Close()
		p.o.Warn = func(text string) { warnings = append(warnings, text) }
		if _, err := p.ledger.Record(t.Context(), ledger.AuditEntry{Event: ledger.AuditBegin, Command: "load"}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Snapshot(t.Context(), []string{folder}); err != nil {
			t.Fatal(err)
		}
		return warnings
	}
	if w := take(dir); len(w) > 0 {
		t.Fatal(w)
	}
	second := filepath.Join(t.TempDir(), "second")
	if _, err := Restore(t.Context(), RestoreOptions{From: folder, Dest: second, Watch: func(string, float64) {}}, Options{Env: targetAt("")}); err != nil {
		t.Fatal(err)
	}
	if w := take(second); len(w) > 0 {
		t.Errorf("restored from the newest: %q", w)
	}
	for _, dir := range []string{dir, second} {
		if w := take(dir); len(w) != 1 || !strings.Contains(w[0], "another copy is in use") {
			t.Errorf("two go on side by side: %q", w)
		}
	}
	if w := take(second); len(w) > 0 {
		t.Errorf("the last one alone: %q", w)
	}
}

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

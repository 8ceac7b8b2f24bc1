package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/backup"
)

// TestForgedSnapshotIsKnownByItsSeal: a recipient is a public key, so whoever can write to the
// folder can put a later snapshot there which opens with the right secret key. The seal that
// was noted tells it from ours.
func TestForgedSnapshotIsKnownByItsSeal(t *testing.T) {
	secret, public, err := backup.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	identity, safe := filepath.Join(t.TempDir(), "key"), t.TempDir()
	if err := os.WriteFile(identity, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	take := func() SnapshotInfo {
		dir := stagedSample(t, "")
		edit(t, filepath.Join(dir, "migration.yaml"), "snapshots: {every: 10m,", "snapshots: {encrypt: {recipients: ["+public+"]}, every: 10m,")
		p := reopen(t, dir, Loading, "")
		info, err := p.Snapshot(t.Context(), []string{safe})
		if err != nil {
			t.Fatal(err)
		}
		list, err := p.Audit(t.Context(), AuditQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if last := list.Entries[len(list.Entries)-1]; !strings.Contains(last.Result, info.Seal) {
			t.Errorf("the audit trail says %q, without the seal %s", last.Result, info.Seal)
		}
		p.Close()
		return info
	}
	ours, forged := take(), take()
	if len(ours.Seal) != 64 || ours.Seal == forged.Seal || !forged.Encrypted {
		t.Fatalf("%+v, %+v", ours, forged)
	}
	dest := filepath.Join(t.TempDir(), "restored")
	o := RestoreOptions{From: safe, Dest: dest, Keys: KeySource{IdentityFile: identity}, Seal: ours.Seal}
	if _, err := Restore(t.Context(), o, Options{Env: targetAt("")}); err == nil || !strings.Contains(err.Error(), forged.Seal) {
		t.Errorf("the forged snapshot: %v", err)
	}
	if exists(dest) {
		t.Error("something was restored all the same")
	}
	o.ID, o.Seal = ours.ID, strings.ToUpper(ours.Seal)
	if back, err := Restore(t.Context(), o, Options{Env: targetAt("")}); err != nil || back.Seal != ours.Seal {
		t.Errorf("ours: %v, %+v", err, back)
	}
}

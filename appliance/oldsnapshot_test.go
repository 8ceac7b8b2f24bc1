package appliance

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// snapshotOf takes a snapshot, and is the folder with it.
func snapshotOf(t *testing.T, p *Project) (safe string) {
	t.Helper()
	safe = t.TempDir()
	if _, err := p.Snapshot(t.Context(), []string{safe}); err != nil {
		t.Fatal(err)
	}
	return safe
}

// restoredFrom restores the newest snapshot into a folder of its own.
func restoredFrom(t *testing.T, safe, url string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "restored")
	if _, err := Restore(t.Context(), RestoreOptions{From: safe, Dest: dir}, Options{Env: targetAt(url)}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRestoreOfASnapshotBeforeADelta: the disk is lost after a delta was loaded, and the only
// snapshot is older than all of its inserts, updates, states, links and deletes. Loaded again
// from there, the target is as it was, and nothing is created twice.
func TestRestoreOfASnapshotBeforeADelta(t *testing.T) {
	var created atomic.Int64 // requests that create records or links
	url := environment(t, 16, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "CreateMultiple") {
			created.Add(1)
		}
		return false
	})
	dir := goneProject(t, url, "account: {gone: delete}\n  contact: {gone: delete}\n  contactleads: {gone: delete}\n  lead: {gone: deactivate}")
	stageAndLoad(t, dir, url)
	// The delta: a3, c3 and two links go, l6 is deactivated, twelve more of each come, and what
	// was there is renamed or is in another state.
	supply(t, dir, 20, "a3", "c3", "n3", "n5", "l6", "n6")
	edit(t, filepath.Join(dir, "a.csv"), "A1,account 1,1", "A1,renamed,0")
	edit(t, filepath.Join(dir, "a.csv"), "A2,account 2,0", "A2,account 2,1")
	edit(t, filepath.Join(dir, "c.csv"), "C2,A2", "C2,A9")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	safe := snapshotOf(t, p)
	requireAllLoaded(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		return strings.Join([]string{keysIn(t, url, "accounts", "name"), keysIn(t, url, "contacts", "lastname"), keysIn(t, url, "contacts", "_parentcustomerid_value"),
			keysIn(t, url, "leads", "subject"), keysIn(t, url, "contactleadscollection", "contactleadid")}, "\n")
	}
	before := state()
	if !strings.Contains(before, "renamed/0 account 2/1") || strings.Contains(before, "C3/") || !strings.Contains(before, "C19/") {
		t.Fatalf("the delta did not do what it should:\n%s", before)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	restored := restoredFrom(t, safe, url)
	created.Store(0)
	p = reopen(t, restored, Loading, url)
	requireAllLoaded(t, p)
	if n := created.Load(); n > 0 {
		t.Errorf("%d requests create records that are there", n)
	}
	if after := state(); after != before {
		t.Errorf("the target was\n%s\nand is\n%s", before, after)
	}
	r, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 5}, func(string, float64) {})
	if s := r.Summary; err != nil || s.Missing+s.Extra+s.Different+s.Duplicates > 0 || s.Target == 0 {
		t.Errorf("reconcile: %v, %+v", err, r)
	}
}

// TestReopenedAfterARestore: the source makes a record active again that the target has closed,
// and the ledger was restored before that was sent, so that what the target holds is not known:
// nothing is staged before that was looked at.
func TestReopenedAfterARestore(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {gone: report}")
	stageAndLoad(t, dir, url)
	edit(t, filepath.Join(dir, "a.csv"), "A1,account 1,1", "A1,renamed,0")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	safe := snapshotOf(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	restored := restoredFrom(t, safe, url)
	supply(t, restored, 8)
	p = reopen(t, restored, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err == nil || !strings.Contains(err.Error(), "was restored from a snapshot, and the target may be ahead of it") {
		t.Errorf("staged before the target was looked at: %v", err)
	}
	requireAllLoaded(t, p)
	if accounts := keysIn(t, url, "accounts", "name"); !strings.Contains(accounts, "renamed/0") {
		t.Errorf("accounts %s", accounts)
	}
}

// TestIdsOfRowsOfALostStaging: the disk is lost after a delta was loaded, the snapshot is from
// before its staging, and the next supply lacks one of the delta's rows, so that the others get
// the numbers and ids of their neighbours, which the target has. Each record gets what the row
// with its id says now; none is taken for loaded as it is. The last of the delta's records is
// nobody's then, and reconcile shows it.
func TestIdsOfRowsOfALostStaging(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "lead: {gone: report}")
	stageAndLoad(t, dir, url)
	p := reopen(t, dir, Staging, url)
	safe := snapshotOf(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(dir, "l.csv"), "L7", "L7\nL8\nL9\nL10\nL11")
	stageAndLoad(t, dir, url)
	restored := restoredFrom(t, safe, url)
	p = reopen(t, restored, Loading, url)
	requireAllLoaded(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	supply(t, restored, 8)
	edit(t, filepath.Join(restored, "l.csv"), "L7", "L7\nL9\nL10\nL11")
	p = reopen(t, restored, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	requireAllLoaded(t, p)
	r, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 5}, func(string, float64) {})
	if s := r.Summary; err != nil || s.Missing+s.Different > 0 || s.Extra != 1 {
		t.Errorf("reconcile: %v, %+v", err, r)
	}
	if leads := keysIn(t, url, "leads", "subject"); strings.Contains(leads, "L8") || !strings.Contains(leads, "L9") {
		t.Errorf("leads %s", leads)
	}
}

// TestValuesThatWentBackAfterALostDelta: the disk is lost after a delta was loaded, the snapshot is
// from before its staging, and the source then says again what it said before. The first load gives
// the records that the lost delta has changed the values of their rows, and no others; what somebody
// else has changed meanwhile stays. What changes afterwards is no conflict.
func TestValuesThatWentBackAfterALostDelta(t *testing.T) {
	url, e := emulated(t, 16, nil)
	dir := goneProject(t, url, "account: {gone: report}")
	stageAndLoad(t, dir, url)
	p := reopen(t, dir, Staging, url)
	safe := snapshotOf(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(dir, "a.csv"), "A1,account 1,1", "A1,renamed,0")
	edit(t, filepath.Join(dir, "a.csv"), "A3,account 3", "A3,renamed too")
	edit(t, filepath.Join(dir, "c.csv"), "C2,A2", "C2,A5")
	stageAndLoad(t, dir, url)
	for _, row := range plainRows(t, url, "accounts") {
		if row["accountnumber"] != "A4" {
			continue
		}
		sendAs(t, url+"/api/data/v9.2/accounts("+row["accountid"].(string)+")", `{"name":"by hand"}`)
	}
	restored := restoredFrom(t, safe, url)
	before := e.Stats()
	p = reopen(t, restored, Loading, url)
	requireAllLoaded(t, p)
	after := e.Stats()
	if after.Created != before.Created || after.Updated-before.Updated != 6 { // two accounts with their states, and a contact with its parent, which is a deferred lookup
		t.Errorf("%d created, %d updated", after.Created-before.Created, after.Updated-before.Updated)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	accounts := keysIn(t, url, "accounts", "name")
	if want := "account 1/1 account 2/0 account 3/1 by hand/0"; !strings.Contains(accounts, want) {
		t.Errorf("accounts %s, want %s", accounts, want)
	}
	supply(t, restored, 8) // the source says what it said at first
	edit(t, filepath.Join(restored, "a.csv"), "A3,account 3", "A3,another name")
	p = reopen(t, restored, Staging, url)
	r, err := p.Stage(t.Context(), nil, func(string, float64) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range r.Tables {
		if table.Changed != map[string]int64{"account": 1}[table.Name] {
			t.Errorf("%+v", table)
		}
	}
	requireAllLoaded(t, p)
	c, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 5}, func(string, float64) {})
	if s := c.Summary; err != nil || s.Missing+s.Extra > 0 || s.Different != 1 || c.Tables[0].Mismatches[0].LegacyKey != "A4" {
		t.Errorf("reconcile: %v, %+v", err, c)
	}
}

package appliance

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

// TestRestoredBehindOurBack: an environment that is put back to before a delta has most of its records, and the
// next delta is told so, until what it lacks waits again.
func TestRestoredBehindOurBack(t *testing.T) {
	url, earlier, restored := emptiable(t)
	dir := goneProject(t, url, "account: {}")
	twin := filepath.Join(t.TempDir(), "twin") // the same rows with the same ids, for the earlier state
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := os.CopyFS(twin, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restored.Store(true)
	p = reopen(t, twin, Loading, url)
	requireAllLoaded(t, p)
	p.Close()
	restored.Store(false)
	stageAndLoad(t, dir, url)

	edit(t, filepath.Join(dir, "c.csv"), "C7,A7\n", "C7,A7\nC+,\nC++,\nC+++,\n")
	edit(t, filepath.Join(dir, "a.csv"), "account 2,0", "account 2,1") // what waits later changes another column
	stageAndLoad(t, dir, url)
	p = stageChangedAccount(t, dir, url)
	restored.Store(true)
	was, before := entries(p), earlier.Stats()
	_, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	var got *EmptiedError
	if !errors.As(err, &got) || got.Restored == nil || got.Restored.Gone != 3 {
		t.Fatalf("load: %v, %+v", err, got)
	}
	if after := earlier.Stats(); after.Updated != before.Updated || strings.Join(entries(p), "\n") != strings.Join(was, "\n") {
		t.Errorf("something was sent: %+v, before %+v", after, before)
	}
	if r, err := p.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 5}, func(string, float64) {}); err != nil || r.Summary.Missing != 3 {
		t.Fatalf("reconcile: %v, %+v", err, r.Summary)
	}
	if r, err := p.RetryReconciled(t.Context(), nil); err != nil || r.Records != 3 {
		t.Fatalf("retry: %v, %+v", err, r)
	}
	if r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1}); err != nil || r.Summary.Left()+r.Summary.Error > 0 {
		t.Fatalf("load of what it lacks: %v, %+v", err, r.Summary)
	}
	if got := keysIn(t, url, "accounts", "name"); !strings.Contains(got, "account two/1") {
		t.Errorf("the account does not have what both deltas changed: %s", got)
	}
	if n := strings.Count(keysIn(t, url, "contacts", "lastname"), "C"); n != 11 {
		t.Errorf("%d contacts, want 11", n)
	}
}

// stageChangedAccount stages a changed account, and no more.
func stageChangedAccount(t *testing.T, dir, url string) *Project {
	t.Helper()
	edit(t, filepath.Join(dir, "a.csv"), "account 2,", "account two,")
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	if n := p.waiting(); n != 1 {
		t.Fatalf("%d records wait, want 1", n)
	}
	return p
}

// TestMarksAreKept: a load keeps when its newest records were changed; what users change or delete afterwards tells of
// no restore.
func TestMarksAreKept(t *testing.T) {
	url := environment(t, 16, nil)
	dir := goneProject(t, url, "account: {}")
	stageAndLoad(t, dir, url)
	p := stageChangedAccount(t, dir, url)
	marks, _, err := p.marks()
	if err != nil || len(marks) != 9 {
		t.Fatalf("%v, %+v, want three of each of three tables", err, marks)
	}
	for _, m := range marks {
		if m.Changed.IsZero() || time.Since(m.Changed) > time.Hour {
			t.Errorf("%+v", m)
		}
	}
	for i, m := range marks {
		set := url + "/api/data/v9.2/" + p.Schema.Table(m.Table).EntitySet + "(" + m.ID + ")"
		switch {
		case m.Table == "account":
			sendRaw(t, http.MethodPatch, set, `{"telephone1":"1"}`)
		case i%3 > 0:
			sendRaw(t, http.MethodDelete, set, "")
		}
	}
	if r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1}); err != nil || r.Summary.Left() > 0 {
		t.Errorf("load: %v, %+v", err, r.Summary)
	}
	now, _, err := p.marks()
	accounts := 0
	for _, m := range now {
		if m.Table == "account" {
			if accounts++; m.Changed.Before(marks[0].Changed) {
				t.Errorf("%+v is older than before", m)
			}
		}
	}
	if err != nil || len(now) != 9 || accounts != 3 {
		t.Errorf("%v, %+v", err, now)
	}
}

// TestJudgeMarks: one that has gone back tells of a restore, and all that are gone.
func TestJudgeMarks(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 11, 30, 20, 0, s, 0, time.UTC) }
	ids := []schema.GUID{{15: 1}, {15: 2}, {15: 3}}
	table := &schema.Table{LogicalName: "account"}
	for name, x := range map[string]struct {
		there   map[schema.GUID]time.Time
		want    string
		records int
	}{
		"as they were":             {map[schema.GUID]time.Time{ids[0]: at(5), ids[1]: at(5), ids[2]: at(5)}, "", 3},
		"changed since":            {map[schema.GUID]time.Time{ids[0]: at(6), ids[1]: at(5), ids[2]: at(5)}, "", 3},
		"one is older":             {map[schema.GUID]time.Time{ids[0]: at(4), ids[1]: at(5), ids[2]: at(5)}, "of 3 records that it wrote last 1 have gone back (account 01 was changed 2026-11-30 20:00:05 UTC, and is now of 2026-11-30 20:00:04 UTC)", 3},
		"users have deleted two":   {map[schema.GUID]time.Time{ids[0]: at(5)}, "", 3},
		"all are gone":             {map[schema.GUID]time.Time{}, "of 3 records that it wrote last 3 went missing", 3},
		"two of two are gone":      {map[schema.GUID]time.Time{}, "", 2},
		"it may not be read":       {nil, "", 3},
		"it does not say any more": {map[schema.GUID]time.Time{ids[0]: {}, ids[1]: {}, ids[2]: {}}, "", 3},
		"older, and one is gone":   {map[schema.GUID]time.Time{ids[0]: at(4), ids[1]: at(5)}, "), and 1 went missing", 3},
	} {
		var kept []mark
		for range x.records {
			kept = append(kept, mark{Table: "account", ID: "01", Changed: at(5)})
		}
		got := judgeMarks([][]mark{kept}, []dataverse.Asked{{Table: table, IDs: ids[:x.records]}}, []map[schema.GUID]time.Time{x.there})
		switch {
		case got == nil && x.want != "":
			t.Errorf("%s: nothing is told", name)
		case got != nil && (x.want == "" || !strings.Contains(got.words(), x.want)):
			t.Errorf("%s: %s, want %q", name, got.words(), x.want)
		}
	}
}

// readsMarks reports whether a request asks when records were changed last, as it is asked about a load.
func readsMarks(request string) bool {
	return strings.Contains(request, "modifiedon&$filter=")
}

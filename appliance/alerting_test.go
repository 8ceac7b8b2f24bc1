package appliance

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/progress"
)

// TestALoadTellsHowItEnded: by a webhook that takes it, while another refuses and a third
// does not get it; the load is as well as ever, and a load that cannot begin is told too.
func TestALoadTellsHowItEnded(t *testing.T) {
	var mu sync.Mutex // protects got
	var got []Call
	hooks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			http.NotFound(w, r)
			return
		}
		var c Call
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil || r.URL.Path != "/duty" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, c)
	}))
	defer hooks.Close()
	url := environment(t, 4, nil)
	dir := stagedSample(t, url)
	edit(t, filepath.Join(dir, "migration.yaml"), "snapshots:", "alerts: {to: {duty: {webhook: \"${DUTY}\"}, gone: {webhook: \"${GONE}\"}, still: {webhook: \"${STILL}\", only: [still]}}}\nsnapshots:")
	target := url
	load := func() (LoadResult, []string, error) {
		var warned []string
		p, err := Open(t.Context(), dir, Loading, Options{Warn: func(m string) { warned = append(warned, m) }, Env: func(name string) (string, bool) {
			v, ok := map[string]string{"DVMIGRATE_TARGET_URL": target, "DUTY": hooks.URL + "/duty", "GONE": hooks.URL + "/gone", "STILL": hooks.URL + "/still"}[name]
			return v, ok
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
		return r, warned, err
	}
	r, warned, err := load()
	if err != nil || r.Summary.Unprocessed+r.Summary.InFlight > 0 {
		t.Errorf("%+v %v", r.Summary, err)
	}
	if n := slices.IndexFunc(warned, func(w string) bool { return strings.Contains(w, "alerts do not arrive by gone: HTTP 404") }); n < 0 {
		t.Errorf("warned %q", warned)
	}
	target = "http://127.0.0.1:1"
	if _, _, err = load(); err == nil {
		t.Error("a load without a target")
	}
	if len(got) != 2 || got[0].Rule != progress.LoadEnded || got[0].Text != "load is done: "+r.did() || !strings.HasPrefix(got[1].Text, "load has stopped: ") || got[1].Project != "sample-crm" {
		t.Errorf("called with %+v", got)
	}
}

func TestNewcomers(t *testing.T) {
	path := filepath.Join(t.TempDir(), identitiesFile)
	sign := func(ids ...byte) string {
		u := &users{}
		for _, id := range ids {
			u.each, u.ids = append(u.each, &user{name: "application user"}), append(u.ids, schema.GUID{id})
		}
		fresh, err := noteUsers(path, u)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(fresh, ", ")
	}
	for _, c := range []struct {
		ids  []byte
		want string
	}{
		{[]byte{1, 2}, ""}, {[]byte{2}, ""}, {[]byte{2, 3}, "application user user 03000000-0000-0000-0000-000000000000"}, {[]byte{3, 1}, ""},
	} {
		if got := sign(c.ids...); got != c.want {
			t.Errorf("%v: new are %q, want %q", c.ids, got, c.want)
		}
	}
}

// TestObservationOfALoad: what the rules are shown of a tracker.
func TestObservationOfALoad(t *testing.T) {
	p := sampleProject(t, "http://127.0.0.1:1", nil)
	a := &alerter{p: p, begun: time.Now()}
	tracker := progress.New()
	if o := a.observe(time.Now()); !o.Idle || !o.Snapshot.IsZero() || o.DiskLeft == 0 {
		t.Errorf("before the load: %+v", o)
	}
	tracker.Phase("load")
	tracker.Begin("account", "insert", 100)
	tracker.Sent("account", "insert", 30, 5, 2)
	tracker.Skipped("account", "insert", 1)
	p.tracker.Store(tracker)
	begun := time.Now()
	a.loading.Store(&begun)
	o := a.observe(time.Now())
	if o.Idle || o.Step != "account insert" || o.Left != 62 || o.Done != 30 || o.Failed != 5 || o.Moved != 38 || !o.Snapshot.Equal(begun) {
		t.Errorf("%+v", o)
	}
	later := begun.Add(time.Hour)
	p.snapped.Store(&later)
	tracker.Pause()
	if o := a.observe(time.Now()); !o.Idle || !o.Snapshot.Equal(later) {
		t.Errorf("paused: %+v", o)
	}
}

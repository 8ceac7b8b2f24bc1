package appliance

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/progress"
)

// TestFiguresOfALoad: what is measured while requests are on their way, and afterwards; from
// this process and through the socket it is the same.
func TestFiguresOfALoad(t *testing.T) {
	var mu sync.Mutex // protects what follows
	var dir string
	var after, asked progress.Figures
	url := environment(t, 4, func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodPost || dir == "" || asked.Live != nil && asked.Live.Total.Done > 0 {
			return false
		}
		r2 := attach(dir, Options{Env: func(name string) (string, bool) { return "", false }})
		if r2 == nil {
			return false
		}
		defer r2.Close()
		var err error
		if asked, err = r2.Figures(t.Context()); err != nil {
			t.Error(err)
		}
		return false
	})
	staged := stagedSample(t, url)
	mu.Lock()
	dir = staged
	mu.Unlock()
	p := reopen(t, staged, Loading, url)
	r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	if after, err = p.Figures(t.Context()); err != nil {
		t.Fatal(err)
	}
	flags := map[string]int64{}
	for _, c := range after.Records {
		flags[c.Flag] += c.Count
	}
	if flags["P"] != r.Summary.Processed || flags["H"] != r.Summary.Held || after.Commits == 0 || after.Live != nil || len(after.Requests) > 0 {
		t.Errorf("afterwards: %v of %+v, %+v", flags, r.Summary, after)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	l := NewLookout(staged, Options{Env: targetAt(url)})
	for range 2 { // from the files, then from what is kept
		if f, err := l.Figures(t.Context()); err != nil || len(f.Records) != len(after.Records) || f.Commits != 0 {
			t.Errorf("from outside: %v, %+v", err, f)
		}
	}
	if asked.Project != "sample-crm" || asked.Live == nil || asked.Live.Phase != "load" || len(asked.Requests) == 0 || len(asked.Answers) == 0 || len(asked.Live.Events) > 0 {
		t.Errorf("while it ran: %+v", asked)
	}
	for _, q := range asked.Requests {
		if q.User != "1" || q.Count == 0 || q.Kind == "" {
			t.Errorf("requests: %+v", q)
		}
	}
}

func TestTally(t *testing.T) {
	count := newTally()
	for _, x := range []dataverse.Exchange{
		{Op: "Create", Took: 70 * time.Millisecond, Status: 204, Records: 1, Bytes: 10}, {Op: "Create", Took: 100 * time.Millisecond, Status: 429},
		{Op: "Create", Took: 300 * time.Second, Kind: dataverse.Lost}, {Op: "Update", Took: time.Second, Status: 204},
	} {
		count.observe("a", x)
	}
	count.observe("b", dataverse.Exchange{Op: "Create", Status: 204})
	var f progress.Figures
	count.add(&f)
	want := []progress.RequestCount{{Kind: "Create", Status: "204", User: "a", Count: 1}, {Kind: "Create", Status: "204", User: "b", Count: 1}, {Kind: "Create", Status: "429", User: "a", Count: 1},
		{Kind: "Create", Status: "none", User: "a", Count: 1}, {Kind: "Update", Status: "204", User: "a", Count: 1}}
	if len(f.Requests) != len(want) {
		t.Fatalf("%+v", f.Requests)
	}
	for i := range want {
		if f.Requests[i] != want[i] {
			t.Errorf("%+v, want %+v", f.Requests[i], want[i])
		}
	}
	a := f.Answers[0]
	if a.Count != 4 || a.Within[0] != 1 || a.Within[1] != 3 || a.Within[len(a.Within)-1] != 3 || a.Records != 1 || a.Bytes != 10 {
		t.Errorf("%+v", a)
	}
}

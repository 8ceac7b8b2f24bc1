package appliance

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestLoadAsSeveralUsers: a load as three users, one of which the service holds off all
// along: every record arrives, the other two carry it, and each table's requests ask
// for what its settings say, also inside a batch and in requests for links.
func TestLoadAsSeveralUsers(t *testing.T) {
	var mu sync.Mutex
	sent := map[string]int{} // writes by user
	asks := map[string]map[string]bool{}
	url := environment(t, 16, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		mu.Lock()
		defer mu.Unlock()
		if user := r.Header.Get("Authorization"); user == "Bearer two" {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "300")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":{"code":"0x80072322","message":"Number of requests exceeded the limit of 6000 over time window of 300 seconds."}}`)
			sent[user]++
			return true
		} else {
			sent[user]++
		}
		note := func(path string, bypass bool) {
			set, _, _ := strings.Cut(path, "/")
			set, _, _ = strings.Cut(set, "?")
			set, _, _ = strings.Cut(set, "(")
			if strings.Contains(path, "/$ref") {
				set = "link of " + set
			}
			what := ""
			if bypass {
				what = "bypass"
			}
			if _, tag, ok := strings.Cut(path, "tag="); ok {
				what += " tag " + tag
			}
			if asks[set] == nil {
				asks[set] = map[string]bool{}
			}
			asks[set][strings.TrimSpace(what)] = true
		}
		const api, bypass = "/api/data/v9.2/", "MSCRM.BypassBusinessLogicExecution: CustomSync\r\n"
		if path := strings.TrimPrefix(r.URL.RequestURI(), api); path != "$batch" {
			note(path, r.Header.Get("MSCRM.BypassBusinessLogicExecution") == "CustomSync")
			return false
		}
		for part := range strings.SplitSeq(string(body), "Content-Transfer-Encoding: binary\r\n\r\n") {
			if _, rest, ok := strings.Cut(part, api); ok && !strings.HasPrefix(part, "--") {
				path, _, _ := strings.Cut(rest, " HTTP/1.1")
				if readsMarks(path) {
					continue
				}
				note(path, strings.Contains(part, bypass))
			}
		}
		return false
	})
	dir := sampleProject(t, url, func(dir string) {
		file := filepath.Join(dir, "migration.yaml")
		edit(t, file, "load: {parallel: 8}", "load: {parallel: 8, batch: 5, headers: {tag: all, bypass: sync}}")
		edit(t, file, "contoso_equipment: {batch: 50}", "lead: {message: single, headers: {tag: lead}}\n  contact: {message: batch}\n  account: {headers: {}}\n  contactleads: {headers: {tag: link}}")
	}).Config.Dir
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"DVMIGRATE_TARGET_URL": url, "DVMIGRATE_TOKEN": "one two\nthree"}
	p, err := Open(t.Context(), dir, Loading, Options{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1})
	if err != nil || r.Summary.Processed != r.Summary.Source {
		t.Fatalf("%v, %+v", err, r)
	}
	if sent["Bearer one"] == 0 || sent["Bearer three"] == 0 || sent["Bearer two"] == 0 || sent["Bearer two"] > 8 {
		t.Errorf("sent by user: %v", sent)
	}
	for set, want := range map[string]string{"leads": "tag lead", "contacts": "bypass tag all", "accounts": "", "products": "bypass tag all",
		"contoso_equipments": "bypass tag all"} {
		if len(asks[set]) != 1 || !asks[set][want] {
			t.Errorf("requests for %s ask for %v, want %q", set, asks[set], want)
		}
	}
	links := map[string]bool{}
	for set, what := range asks {
		for ask := range what {
			if strings.HasPrefix(set, "link of") {
				links[ask] = true
			}
		}
	}
	if len(links) != 2 || !links["tag link"] || !links["bypass tag all"] {
		t.Errorf("requests for links ask for %v", links)
	}
}

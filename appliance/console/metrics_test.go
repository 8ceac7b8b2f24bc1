package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"dvmigrate/appliance/guide"
	"dvmigrate/appliance/progress"
)

// full has a value for every metric.
type full struct{ err error }

func (f full) Figures(context.Context) (progress.Figures, error) {
	t := progress.New()
	t.Phase("stage")
	t.Phase("load")
	t.Begin("account", "insert", 100)
	t.Sent("account", "insert", 60, 3, 2)
	live := t.Snapshot()
	at := time.Unix(1796457600, 0)
	return progress.Figures{Project: "acme", Version: "1.0", Live: &live, Commits: 7, Committed: 0.5, Snapshot: at, Finish: at, Deadline: at, LogLost: 2,
		Records:  []progress.RecordCount{{Table: "account", Action: "I", Flag: "P", Count: 60}, {Table: "account", Action: "I", Flag: "U", Count: 35}},
		Requests: []progress.RequestCount{{Kind: "CreateMultiple", Status: "204", User: "1", Count: 5}, {Kind: "CreateMultiple", Status: "429", User: "1", Count: 2}, {Kind: "$batch", Status: "none", User: "a\"b\\c\n", Count: 1}},
		Answers:  []progress.AnswerTimes{{Kind: "CreateMultiple", Count: 7, Seconds: 3.5, Within: [len(progress.AnswerBounds)]uint64{0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7}, Records: 63, Bytes: 1000}},
		Queues:   map[string]int{"ledger": 1, "requests": 2}, Firing: []progress.Rule{progress.DiskLow}, Channels: map[string]int{"duty": 1},
		Pulse: &progress.Pulse{Users: []progress.User{{Name: "1", InFlight: 4, Window: 8, Throttled: map[string]int64{progress.LimitRequests: 2, "other": 0},
			Limits: []progress.Use{{Limit: progress.LimitRequests, Used: 3000, Most: 6000}, {Limit: progress.LimitTime, Used: 1, Most: 1200}, {Limit: progress.LimitAtOnce, Used: 4, Most: 8}}}},
			Machine: progress.Machine{Disks: []progress.Disk{{Use: "work", Left: 5}, {Use: "snapshots", Left: 7}, {Use: "work", Left: 5}}}},
	}, f.err
}

// scrape reads the metrics as Prometheus does: names of families, and each sample's value.
func scrape(t *testing.T, f Figurer) (names []string, values map[string]float64) {
	t.Helper()
	s := httptest.NewServer(Metrics(f, nil))
	defer s.Close()
	res, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatal(res.Status, res.Header)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	values = map[string]float64{}
	for name, family := range families {
		names = append(names, name)
		for _, m := range family.Metric {
			key := name
			for _, l := range m.Label {
				key += " " + l.GetValue()
			}
			values[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	return names, values
}

func TestMetricsAreReadByPrometheus(t *testing.T) {
	names, values := scrape(t, full{})
	for _, d := range descriptions {
		name := nameOf(d)
		if !slices.Contains(names, name) {
			t.Errorf("%s has no sample", name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is missing: %v", name, names)
		}
	}
	for key, want := range map[string]float64{
		"dvmigrate_records I P acme account": 60, "dvmigrate_outcomes_total done insert acme account": 60, "dvmigrate_requests_total CreateMultiple acme 429 1": 2,
		"dvmigrate_requests_total $batch acme none a\"b\\c\n": 1, "dvmigrate_limit_used_ratio requests acme 1": 0.5, "dvmigrate_request_seconds CreateMultiple acme": 3.5,
		"dvmigrate_alert_firing disk acme": 1, "dvmigrate_alert_firing still acme": 0, "dvmigrate_queue_depth acme requests": 2, "dvmigrate_up acme": 1,
		"dvmigrate_predicted_finish_timestamp_seconds acme": 1796457600, "dvmigrate_records_remaining acme": 35,
	} {
		if got, ok := values[key]; !ok || got != want {
			t.Errorf("%q is %v, %v; want %v", key, got, ok, want)
		}
	}
	if _, values = scrape(t, full{errors.New("in use")}); values["dvmigrate_up acme"] != 0 || len(values) < 10 {
		t.Errorf("a project that cannot be looked at: %v", values)
	}
}

// nameOf is a metric's name.
func nameOf(m metric) string {
	return regexp.MustCompile(`fqName: "([a-z_]+)"`).FindStringSubmatch(m.String())[1]
}

// TestGuideAndFilesNameWhatThereIs: every metric is in the guide, and the dashboard and the
// rules use no other.
func TestGuideAndFilesNameWhatThereIs(t *testing.T) {
	page, err := os.ReadFile("../guide/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, d := range descriptions {
		known[nameOf(d)] = true
		if !strings.Contains(string(page), "`"+strings.TrimPrefix(nameOf(d), "dvmigrate_")) {
			t.Errorf("the guide lacks %s", nameOf(d))
		}
	}
	used := regexp.MustCompile(`dvmigrate_[a-z_]+`)
	seen := map[string]bool{}
	for _, f := range guide.Files("monitoring") {
		seen[f.Name] = true
		var v any
		err := yaml.Unmarshal(f.Data, &v)
		if strings.HasSuffix(f.Name, ".json") {
			err = json.Unmarshal(f.Data, &v)
		}
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		for _, name := range used.FindAllString(string(f.Data), -1) {
			if !known[name] && !known[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")] {
				t.Errorf("%s uses %s, which is no metric", f.Name, name)
			}
		}
	}
	if !seen["dashboard.json"] || !seen["rules.yml"] || !seen["prometheus.yml"] {
		t.Errorf("files %v", seen)
	}
}

func TestMetricsHaveAnAddressOfTheirOwn(t *testing.T) {
	s, err := ListenMetrics("0", Metrics(full{}, nil))
	if err != nil || s.Open() || !strings.HasPrefix(s.URL(), "http://127.0.0.1:") {
		t.Fatal(err, s)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	res, err := http.Get(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !strings.Contains(string(b), "dvmigrate_up") {
		t.Error(err, string(b))
	}
	var inUse *InUseError
	if _, err := ListenMetrics(strings.TrimSuffix(strings.TrimPrefix(s.URL(), "http://"), "/metrics"), nil); !errors.As(err, &inUse) {
		t.Errorf("a port that is taken: %v", err)
	}
	if _, err := ListenMetrics("here:there:9", nil); err == nil {
		t.Error("an address that is none")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestConsoleGivesMetricsToThisMachine: others need to be in.
func TestConsoleGivesMetricsToThisMachine(t *testing.T) {
	s := &Server{o: Options{Metrics: Metrics(full{}, nil)}, access: newAccess(true, "1", map[string]bool{})}
	for from, want := range map[string]int{"127.0.0.1:5000": 200, "[::1]:5000": 200, "10.1.2.3:5000": 403} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.RemoteAddr = from
		s.metrics(w, r)
		if w.Code != want {
			t.Errorf("from %s: %d, want %d", from, w.Code, want)
		}
	}
}

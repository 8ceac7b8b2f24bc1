package appliance

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dvmigrate/appliance/reconcile"
)

// found is all that a Looker finds out without the target, without what differs from one
// moment to the next.
func found(t *testing.T, v Looker) map[string]any {
	t.Helper()
	out := map[string]any{}
	keep := func(name string, value any, err error) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		out[name] = value
	}
	quiet := func(string, float64) {}
	plan, err := v.Plan(t.Context())
	keep("plan", plan, err)
	golive := time.Date(2027, 3, 26, 18, 0, 0, 0, time.UTC)
	estimate, err := v.Estimate(t.Context(), EstimateOptions{Users: 2, Window: time.Hour, Rates: map[string]float64{"account": 50}, GoLive: golive})
	keep("estimate", estimate, err)
	// The clocks change in the window's night.
	runbook, err := v.Cutover(t.Context(), CutoverOptions{Window: "2027-03-27 20:00/2027-03-28 22:00", Zone: "Europe/Berlin", After: golive, Fixed: UsualFixed()})
	keep("cutover", runbook, err)
	var shown []string
	for _, d := range runbook.Dates {
		shown = append(shown, d.At.In(runbook.Window.Start.Location()).String())
	}
	keep("dates", shown, nil)
	preview, err := v.Preview(t.Context(), "contact", nil, 5)
	keep("preview", preview, err)
	profile, err := v.Profile(t.Context(), nil, quiet)
	keep("profile", profile, err)
	check, err := v.CheckData(t.Context(), nil, quiet)
	keep("check", check, err)
	keep("name", v.Settings().Name, nil)
	return out
}

// TestLookingIsTheSameFromAnotherProcess: what the process that works on the project answers
// is what a process finds that has it to itself.
func TestLookingIsTheSameFromAnotherProcess(t *testing.T) {
	dir := stagedSample(t, "")
	p := reopen(t, dir, Viewing, "")
	own := found(t, p)
	p.Close()
	reopen(t, dir, Loading, "")
	v, err := View(t.Context(), dir, Options{Env: targetAt("")})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, ok := v.(*remote); !ok {
		t.Fatalf("the project is open twice, as %T", v)
	}
	asked := found(t, v)
	for name := range own {
		if diff := cmp.Diff(timeless(t, own[name]), timeless(t, asked[name])); diff != "" {
			t.Errorf("%s: own (-), asked (+):\n%s", name, diff)
		}
	}
	if _, err := v.Preview(t.Context(), "kontact", nil, 5); err == nil || !strings.Contains(err.Error(), "contact") {
		t.Errorf("an unknown table: %v", err)
	}
}

// timeless is a value as JSON, without what it took to find it out.
func timeless(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	var out any
	if err = errors.Join(err, json.Unmarshal(b, &out)); err != nil {
		t.Fatal(err)
	}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if _, measured := v["columns"]; measured || v["findings"] != nil || v["rows"] != nil && v["held"] != nil {
				delete(v, "seconds")
			}
			for _, one := range v {
				strip(one)
			}
		case []any:
			for _, one := range v {
				strip(one)
			}
		}
	}
	strip(out)
	return out
}

// stagedSample is the sample project, staged.
func stagedSample(t *testing.T, url string) string {
	t.Helper()
	dir := sampleProject(t, url, nil).Config.Dir
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// environmentThatHolds is an environment that answers nothing sent to contacts until release is
// closed; inflight is, once such a request is there.
func environmentThatHolds(t *testing.T) (url string, inflight, release chan struct{}) {
	inflight, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	url = environment(t, 4, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "contacts") {
			once.Do(func() { close(inflight) })
			<-release
		}
		return false
	})
	return url, inflight, release
}

// TestLookingWhileALoadRuns: another process plans, estimates, checks and compares with the
// target while records are on their way; what the load changes meanwhile is no mismatch.
func TestLookingWhileALoadRuns(t *testing.T) {
	url, inflight, release := environmentThatHolds(t)
	dir := stagedSample(t, url)
	p, ended := loadMeanwhile(t, dir, url)
	<-inflight
	v, err := Join(t.Context(), dir, Options{Command: "reconcile", Env: targetAt(url)})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	found(t, v)
	compared := func() reconcile.Result {
		t.Helper()
		r, err := v.Reconcile(t.Context(), ReconcileOptions{Values: true, Limit: 5, Args: []string{"reconcile", "--by", "another"}}, func(string, float64) {})
		if s := r.Summary; err != nil || s.Missing+s.Extra+s.Different+s.Duplicates > 0 {
			t.Errorf("reconcile: %v, %+v", err, r)
		}
		return r
	}
	if r := compared(); r.Summary.Source == 0 {
		t.Error("nothing was loaded yet, so that nothing was compared")
	}
	status, err := p.Status(t.Context())
	if err != nil || status.Summary.InFlight == 0 {
		t.Fatalf("nothing is in flight any more: %v, %+v", err, status.Summary)
	}
	if exists(filepath.Join(dir, "work", reconciledFile)) {
		t.Error("a comparison during a load counts for a discard")
	}
	close(release)
	for running := true; running; { // over and over, while records move
		select {
		case err := <-ended:
			if running = false; err != nil {
				t.Fatal(err)
			}
		default:
			compared()
		}
	}
	compared()
	if !exists(filepath.Join(dir, "work", reconciledFile)) {
		t.Error("a comparison after a load does not count for a discard")
	}
	page, err := v.Audit(t.Context(), AuditQuery{Prove: true})
	if err != nil || page.Fault != "" {
		t.Fatal(err, page.Fault)
	}
	last := page.Entries[len(page.Entries)-2]
	if last.Command != "reconcile" || len(last.Args) != 3 {
		t.Errorf("the trail has %+v", last)
	}
}

// loadMeanwhile begins a load of a staged project, and tells how it ended.
func loadMeanwhile(t *testing.T, dir, url string) (*Project, <-chan error) {
	t.Helper()
	p, err := Open(t.Context(), dir, Loading, Options{Command: "load", Env: targetAt(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // closed already, perhaps
	ended := make(chan error, 1)
	go func() {
		_, err := p.Load(t.Context(), t.Context(), LoadOptions{})
		ended <- err
	}()
	return p, ended
}

func targetAt(url string) func(string) (string, bool) {
	return func(name string) (string, bool) { return url, name == "DVMIGRATE_TARGET_URL" }
}

// TestWhatHasOtherSettingsIsNotAsked: a calibration signs in to a sandbox.
func TestWhatHasOtherSettingsIsNotAsked(t *testing.T) {
	dir := stagedSample(t, "")
	p, err := Open(t.Context(), dir, Loading, Options{Command: "calibrate", Env: targetAt("")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	v, err := View(t.Context(), dir, Options{Env: targetAt("")})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var inUse *InUseError
	if _, err := v.Plan(t.Context()); !errors.As(err, &inUse) || inUse.Owner.Command != "calibrate" {
		t.Errorf("plan: %v", err)
	}
	if _, err := v.Status(t.Context()); err != nil {
		t.Errorf("status: %v", err)
	}
	// What another process met is what this one would have.
	w := httptest.NewRecorder()
	answer(w, nil, &SignInError{Err: errors.New("no token")})
	var rep reply
	if err := json.Unmarshal(w.Body.Bytes(), &rep); err != nil {
		t.Fatal(err)
	}
	var signIn *SignInError
	if err := rep.answered(); !errors.As(err, &signIn) || err.Error() != (&SignInError{Err: errors.New("no token")}).Error() {
		t.Errorf("sign in: %v", err)
	}
}

// TestWhoLooksNeedsNoSecrets: in a second terminal, or on the machine of who estimates, the secrets are
// not there. Whoever needs one is told which.
func TestWhoLooksNeedsNoSecrets(t *testing.T) {
	dir := stagedSample(t, "")
	settings := filepath.Join(dir, "migration.yaml")
	text, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^target:\n(  .*\n)+`).ReplaceAll(text, nil)
	text = append(text, "\ntarget: {url: https://acme.crm4.dynamics.com, auth: client-secret, tenant: a.com, client: 0f8fad5b-d9cb-469f-a165-70867728950e, secret: \"${NOT_HERE}\"}\nmasking: {key: \"${NOR_HERE}\"}\n"...)
	if err := os.WriteFile(settings, text, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Env: func(string) (string, bool) { return "", false }}
	v, err := View(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Status(t.Context()); err != nil {
		t.Error(err)
	}
	p := v.(*Project)
	if _, err := p.Estimate(t.Context(), EstimateOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := p.meet(t.Context(), 0, ""); err == nil || !strings.Contains(err.Error(), "`target.secret` needs the environment variable NOT_HERE") {
		t.Errorf("sign in: %v", err)
	}
	if _, err := p.maskKey(); err == nil || !strings.Contains(err.Error(), "`masking.key` needs the environment variable NOR_HERE") {
		t.Errorf("mask: %v", err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Join(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), "NOT_HERE") {
		t.Errorf("who changes something: %v", err)
	}
}

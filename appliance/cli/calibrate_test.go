package cli

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance"
	"dvmigrate/appliance/dataverse/emulator"
)

// calibrate is a calibration of the staged sample in another environment than the load's.
func calibrate(dir, url string, args ...string) *exec.Cmd {
	return dvmigrate(append([]string{"-C", dir, "calibrate", "--target", url, "--json"}, args...)...)
}

func stagedProject(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "crm")
	if err := copyStaged(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func exported(t *testing.T, e *emulator.Server) string {
	t.Helper()
	var b bytes.Buffer
	if err := e.ExportAll(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// calibrated runs a calibration to its end, and requires that nothing is left of it.
func calibrated(t *testing.T, c *exec.Cmd, dir string, e *emulator.Server, before string) appliance.Calibration {
	t.Helper()
	var r appliance.Calibration
	if err := json.Unmarshal(mustRun(t, c, 0), &r); err != nil {
		t.Fatal(err)
	}
	if after := exported(t, e); after != before {
		t.Errorf("the environment is not as before: %d bytes were %d", len(after), len(before))
	}
	if _, err := os.Stat(filepath.Join(dir, "work", "calibration.json")); err == nil {
		t.Error("the list of its records is left")
	}
	return r
}

// TestCalibrateLeavesNothing: every table's four actions are measured, and links; with faults too.
func TestCalibrateLeavesNothing(t *testing.T) {
	t.Parallel()
	dir, e := stagedProject(t), newEmulator(t)
	server := httptest.NewServer(e)
	defer server.Close()
	before := exported(t, e)
	r := calibrated(t, calibrate(dir, server.URL, "--records", "12"), dir, e, before)
	seen := map[string]bool{}
	for _, a := range r.Actions {
		seen[a.Table+" "+a.Action] = true
		if a.Failed > 0 || a.Records == 0 {
			t.Errorf("%+v", a)
		}
	}
	for _, table := range r.Plan.Tables {
		actions := []string{"insert", "update", "upsert", "delete"}
		if seen[table.Table+" link"] {
			actions = []string{"link", "unlink"}
		}
		for _, action := range actions {
			if !seen[table.Table+" "+action] {
				t.Errorf("%s of %s is not measured; notes %q", action, table.Table, r.Notes)
			}
		}
	}
	for _, rule := range killFaults {
		f, err := emulator.ParseFault(rule)
		if err != nil {
			t.Fatal(err)
		}
		e.Order(f)
	}
	calibrated(t, calibrate(dir, server.URL, "--records", "10", "--table", "account"), dir, e, before)
}

// TestEstimateUsesCalibration: what was measured is kept, and the next estimate counts with it. How fast
// the server is tells how fast at least the figures say it is: the machine adds what it likes.
func TestEstimateUsesCalibration(t *testing.T) {
	dir := stagedProject(t)
	e, err := (&emulatorCommand{noLimits: true, latency: 4 * time.Millisecond, perRequest: 20 * time.Millisecond, perRecord: 2 * time.Millisecond}).server(&Env{dir: staged})
	if err != nil {
		t.Fatal(err)
	}
	e.Reset()
	server := httptest.NewServer(e)
	defer server.Close()
	r := calibrated(t, calibrate(dir, server.URL, "--table", "account", "--records", "100"), dir, e, exported(t, e))
	a := r.Actions[0]
	if a.Table != "account" || a.Action != "insert" || r.Latency < 0.004 || a.Request+a.Record <= 0 {
		t.Errorf("latency %v, %+v", r.Latency, a)
	}
	var estimate struct {
		Rows []struct{ Table, Pass, Basis string }
	}
	if err := json.Unmarshal(mustRun(t, dvmigrate("-C", dir, "estimate", "--json"), 0), &estimate); err != nil {
		t.Fatal(err)
	}
	for _, row := range estimate.Rows {
		if (row.Table == "account") != (row.Basis == "calibrated") {
			t.Errorf("%+v", row)
		}
	}
}

// TestKilledCalibrationIsCleanedUp kills calibrations at writes, before and after they are
// applied; the next one leaves the environment as it was.
func TestKilledCalibrationIsCleanedUp(t *testing.T) {
	t.Parallel()
	dir, e := stagedProject(t), newEmulator(t)
	server := httptest.NewServer(e)
	defer server.Close()
	before := exported(t, e)
	for i, at := range []int64{3, 20} {
		target := &trap{Server: e, at: at, after: i == 0}
		server.Config.Handler = target
		c, started := calibrate(dir, server.URL, "--records", "20", "--table", "account", "--table", "contact"), make(chan struct{})
		target.kill = func() {
			<-started
			_ = c.Process.Kill()
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		close(started)
		if _ = c.Wait(); c.ProcessState.ExitCode() != -1 {
			t.Fatalf("it was not killed at write %d", at)
		}
	}
	if exported(t, e) == before {
		t.Error("no kill left a record: the test proves nothing")
	}
	server.Config.Handler = e
	r := calibrated(t, calibrate(dir, server.URL, "--records", "20", "--table", "account"), dir, e, before)
	if r.Earlier == 0 {
		t.Error("nothing of the killed calibration was deleted")
	}
}

// TestCalibrateRefusesWhatIsLoaded: the environment of the settings, and the one that the
// project is pinned to, by whatever address; nothing is written there.
func TestCalibrateRefusesWhatIsLoaded(t *testing.T) {
	t.Parallel()
	dir, e := stagedProject(t), newEmulator(t)
	server := httptest.NewServer(e)
	defer server.Close()
	into := func(c *exec.Cmd) *exec.Cmd {
		c.Env = append(c.Env, "DVMIGRATE_TARGET_URL="+server.URL)
		return c
	}
	refused := func(c *exec.Cmd, want string) {
		t.Helper()
		before := exported(t, e)
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, %s; want %q", err, out, want)
		}
		if exported(t, e) != before {
			t.Error("something was written")
		}
	}
	refused(into(dvmigrate("-C", dir, "calibrate")), "--yes-this-is-a-sandbox "+server.URL)
	refused(into(dvmigrate("-C", dir, "calibrate", "--yes-this-is-a-sandbox", "http://127.0.0.1:1")), "is not the address to calibrate")
	refused(dvmigrate("-C", dir, "calibrate", "--target", "http://acme.example"), "use https")
	mustRun(t, loadInto(dir, server.URL), 0)
	refused(calibrate(dir, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)), "is the environment that this project loads")
	said := into(dvmigrate("-C", dir, "calibrate", "--json", "--records", "10", "--yes-this-is-a-sandbox", server.URL))
	calibrated(t, said, dir, e, exported(t, e))
}

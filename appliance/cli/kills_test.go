package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
)

// killsVariable says how often TestKillsAtRandomMoments kills a load: 12 if it is not set, 50 in .ci/run;
// 1,000 take some 15 minutes on a quiet machine (go test ./appliance/cli -run Kills -timeout 60m -v).
const killsVariable = "DVMIGRATE_KILLS"

// killFaults strike while the loads are killed: answers that are lost, requests that are not done, limits.
var killFaults = []string{
	"kind=reset-after,p=0.03,seed=1", "kind=503-after,p=0.02,seed=2", "kind=reset-before,p=0.02,seed=3",
	"kind=deadlock,p=0.02,seed=4", "kind=half-batch,p=0.03,seed=5", "kind=cut,p=0.02,seed=6",
}

// TestKillsAtRandomMoments kills loads with SIGKILL, at a write or at any moment, until each of several
// projects is loaded all the same: nothing lost, nothing twice, the ledger sound after every kill.
func TestKillsAtRandomMoments(t *testing.T) {
	want := 12
	if text := os.Getenv(killsVariable); text != "" {
		var err error
		if want, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", killsVariable, err)
		}
	}
	r := rand.New(rand.NewPCG(uint64(want), 0)) // chance enough is in when a process is hit
	kills, records, doubtful, began := 0, 0, 0, time.Now()
	for n := 1; kills < want; n++ {
		k, d := killedProject(t, r, want-kills)
		kills, doubtful = kills+k, doubtful+d
		records += 600
		t.Logf("project %d: %d kills, %d records in doubt; %d kills in %v", n, k, d, kills, time.Since(began).Round(time.Second))
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d records, %d in doubt after a kill: lost 0, twice 0", kills, records, doubtful)
	if doubtful == 0 {
		t.Error("no kill left a record in flight: the test proves little")
	}
}

// killedProject loads one project, killing at most so many times, and requires that all is there once.
func killedProject(t *testing.T, r *rand.Rand, most int) (kills, doubtful int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "crm")
	if err := copyStaged(dir); err != nil {
		t.Fatal(err)
	}
	e := newEmulator(t)
	for _, rule := range killFaults {
		f, err := emulator.ParseFault(rule)
		if err != nil {
			t.Fatal(err)
		}
		e.Order(f)
	}
	server := httptest.NewServer(e)
	defer server.Close()
	for kills < most {
		target := &trap{Server: e, at: int64(1 + r.IntN(5)), after: r.IntN(2) == 0}
		late := time.Duration(-1)
		if r.IntN(3) == 0 { // at any moment, not at a write
			target.at, late = 0, time.Duration(r.IntN(250))*time.Millisecond
		}
		server.Config.Handler = target
		if !killedLoad(t, dir, server.URL, target, late) {
			break // it was faster
		}
		kills++
		doubtful += soundLedger(t, dir)
	}
	e.ClearFaults()
	server.Config.Handler = e
	mustRun(t, loadInto(dir, server.URL), 0)
	requireOnce(t, dir, e)
	soundLedger(t, dir)
	return kills, doubtful
}

// killedLoad runs a load until it is killed; false when it came to its end before.
func killedLoad(t *testing.T, dir, url string, target *trap, late time.Duration) bool {
	t.Helper()
	c := loadInto(dir, url)
	c.Env = append(c.Env, "DVMIGRATE_LOAD_BATCH=7")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	started := make(chan struct{})
	target.kill = func() {
		<-started
		_ = c.Process.Kill()
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	if late >= 0 {
		timer := time.AfterFunc(late, func() { _ = c.Process.Kill() })
		defer timer.Stop()
	}
	_ = c.Wait()
	switch c.ProcessState.ExitCode() {
	case -1:
		return true
	case 0:
		return false
	}
	t.Fatalf("the load ended with status %d:\n%s", c.ProcessState.ExitCode(), &out)
	return false
}

// soundLedger requires a sound ledger and says how many records are in flight.
func soundLedger(t *testing.T, dir string) (inFlight int) {
	t.Helper()
	if out, err := dvmigrate("-C", dir, "ledger", "check").CombinedOutput(); err != nil {
		t.Fatalf("ledger check: %v\n%s", err, out)
	}
	var s struct{ Summary struct{ InFlight int } }
	if err := json.Unmarshal(mustRun(t, dvmigrate("-C", dir, "status", "--json"), 0), &s); err != nil {
		t.Fatal(fmt.Errorf("status: %w", err))
	}
	return s.Summary.InFlight
}

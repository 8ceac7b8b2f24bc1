package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dvmigrate/appliance/dataverse/emulator"
)

// trap is a Dataverse that kills the loader at one of its writes: the nth request
// that is not a GET, before it is applied or after. What the dead process cannot read
// is then answered into the void.
type trap struct {
	*emulator.Server
	at    int64 // kill at this write; 0 = never
	after bool  // once it is applied, its answer lost
	seen  atomic.Int64
	kill  func()
}

func (t *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || t.seen.Add(1) != t.at {
		t.Server.ServeHTTP(w, r)
		return
	}
	if !t.after {
		t.kill()
		return
	}
	t.Server.ServeHTTP(httptest.NewRecorder(), r)
	t.kill()
}

// newEmulator is an environment with the sample's schema and what it holds from the
// start.
func newEmulator(t *testing.T) *emulator.Server {
	t.Helper()
	e, err := (&emulatorCommand{noLimits: true}).server(&Env{dir: staged})
	if err != nil {
		t.Fatal(err)
	}
	e.Reset()
	return e
}

// TestKilledLoadIsExactlyOnce kills the loader at the first 20 of the 23 writes that the load
// of the staged sample takes, in the inserts, the second pass, the links and the
// states, in turn before the write is applied and after, and loads on.
func TestKilledLoadIsExactlyOnce(t *testing.T) {
	for i := range 20 {
		at, after := int64(i+1), i%2 == 1
		t.Run(fmt.Sprintf("write %d, applied %t", at, after), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "crm")
			if err := copyStaged(dir); err != nil {
				t.Fatal(err)
			}
			target := &trap{Server: newEmulator(t), at: at, after: after}
			server := httptest.NewServer(target)
			defer server.Close()
			killLoad(t, dir, server.URL, target)
			mustRun(t, loadInto(dir, server.URL), 0)
			requireOnce(t, dir, target.Server)
		})
	}
}

// TestRestoreWhenTargetIsAhead loses the project's disk at several places after a
// snapshot was taken, and loads on from the snapshot.
func TestRestoreWhenTargetIsAhead(t *testing.T) {
	for _, at := range []int64{3, 7, 11, 15, 19} {
		t.Run(fmt.Sprintf("lost at write %d", at), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dir, safe, restored := filepath.Join(root, "crm"), filepath.Join(root, "safe"), filepath.Join(root, "restored")
			if err := copyStaged(dir); err != nil {
				t.Fatal(err)
			}
			// The snapshot is taken in the middle of the load, two writes before the loss.
			first := &trap{Server: newEmulator(t), at: at - 2, after: true}
			server := httptest.NewServer(first)
			defer server.Close()
			killLoad(t, dir, server.URL, first)
			mustRun(t, dvmigrate("-C", dir, "snapshot", "--to", safe), 0)
			second := &trap{Server: first.Server, at: 2, after: true}
			server.Config.Handler = second
			killLoad(t, dir, server.URL, second)
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			server.Config.Handler = first.Server
			mustRun(t, dvmigrate("restore", "--from", safe, restored), 0)
			mustRun(t, loadInto(restored, server.URL), 0)
			requireOnce(t, restored, first.Server)
		})
	}
}

// loadInto is a load of the project in dir into the target at url.
func loadInto(dir, url string) *exec.Cmd {
	c := dvmigrate("-C", dir, "load", "--parallel", "2")
	c.Env = append(c.Env, "DVMIGRATE_TARGET_URL="+url, "DVMIGRATE_LOAD_BATCH=100")
	return c
}

// killLoad loads until the trap kills the loader.
func killLoad(t *testing.T, dir, url string, trap *trap) {
	t.Helper()
	c, started := loadInto(dir, url), make(chan struct{})
	trap.kill = func() {
		<-started
		_ = c.Process.Kill()
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	err := c.Wait()
	if c.ProcessState.ExitCode() != -1 {
		t.Fatalf("the load was to be killed at write %d, and ended by itself after %d: %v\n%s", trap.at, trap.seen.Load(), err, &out)
	}
}

// mustRun runs a command to its end and requires its exit status.
func mustRun(t *testing.T, c *exec.Cmd, want int) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if c.ProcessState == nil || c.ProcessState.ExitCode() != want {
		t.Fatalf("%s: %v, want exit status %d\n%s%s", strings.Join(c.Args, " "), err, want, &out, &errs)
	}
	return out.Bytes()
}

// requireOnce requires that every staged record is in the target, each created once,
// and that target and ledger agree.
func requireOnce(t *testing.T, dir string, e *emulator.Server) {
	t.Helper()
	var s struct {
		Summary struct{ Source, Processed int64 }
		Tables  []struct {
			Name   string
			Source int
		}
	}
	if err := json.Unmarshal(mustRun(t, dvmigrate("-C", dir, "status", "--json"), 0), &s); err != nil {
		t.Fatal(err)
	}
	if s.Summary.Source == 0 || s.Summary.Processed != s.Summary.Source {
		t.Errorf("%d of %d records are processed", s.Summary.Processed, s.Summary.Source)
	}
	stats, rows, links := e.Stats(), 0, 0
	for _, table := range s.Tables {
		if strings.HasPrefix(table.Name, "contactleads") || strings.HasSuffix(table.Name, "_contact") {
			links += table.Source
			continue
		}
		rows += table.Source
		if stats.Rows[table.Name] != table.Source {
			t.Errorf("%s: %d rows in the target, %d in the source", table.Name, stats.Rows[table.Name], table.Source)
		}
	}
	var deals bytes.Buffer
	if err := e.Export(&deals, "opportunity"); err != nil {
		t.Fatal(err)
	}
	rows += bytes.Count(deals.Bytes(), []byte("\n")) - bytes.Count(deals.Bytes(), []byte(`"statecode":0`)) // each closed once, by an activity
	there := 0
	for _, n := range stats.Links {
		there += n
	}
	if stats.Created != int64(rows) || stats.Associated != int64(links) || there != links {
		t.Errorf("created %d rows of %d, %d links of %d (%d there)", stats.Created, rows, stats.Associated, links, there)
	}
	if stats.Duplicates != 0 {
		t.Errorf("%d times something was sent that was there already", stats.Duplicates)
	}
}

// TestKilledStageLeavesEarlierStage kills a second staging, of changed sources, at
// several moments. The project is as before or as after, never between; staging again
// and loading ends as if nothing had happened.
func TestKilledStageLeavesEarlierStage(t *testing.T) {
	for i := range 8 {
		t.Run(fmt.Sprintf("after %d ms", 150*i), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "crm")
			if err := copyStaged(dir); err != nil {
				t.Fatal(err)
			}
			before := addLeads(t, dir)
			c := dvmigrate("-C", dir, "stage")
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(150*i)*time.Millisecond, func() { _ = c.Process.Kill() })
			_ = c.Wait() // killed, or done before: both are to leave a whole project
			timer.Stop()
			leads := strings.TrimSpace(string(mustRun(t, dvmigrate("-C", dir, "sql", "--csv", "-c", "SELECT count(*) FROM lead"), 0)))
			if !strings.HasSuffix(leads, fmt.Sprint("\n", before)) && !strings.HasSuffix(leads, fmt.Sprint("\n", before+2)) {
				t.Errorf("the stage has %s leads, want %d or %d", leads, before, before+2)
			}
			mustRun(t, dvmigrate("-C", dir, "stage"), 0)
			e := newEmulator(t)
			server := httptest.NewServer(e)
			defer server.Close()
			mustRun(t, loadInto(dir, server.URL), 0)
			requireOnce(t, dir, e)
			if got := e.Stats().Rows["lead"]; got != before+2 {
				t.Errorf("the target has %d leads, want %d", got, before+2)
			}
		})
	}
}

// addLeads adds two lines to the project's leads and returns how many there were.
func addLeads(t *testing.T, dir string) int {
	t.Helper()
	path := filepath.Join(dir, "sources", "leads.csv")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	last := lines[len(lines)-1]
	_, rest, _ := strings.Cut(last, ",")
	b = append(b, "L-900001,"+rest+"\nL-900002,"+rest+"\n"...)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return len(lines) - 1
}

// TestKilledSnapshotHarmsNoOther kills a snapshot as soon as it has begun to write.
// The older one can still be restored, and the next one is taken.
func TestKilledSnapshotHarmsNoOther(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir, safe := filepath.Join(root, "crm"), filepath.Join(root, "safe")
	if err := copyStaged(dir); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dvmigrate("-C", dir, "snapshot", "--to", safe), 0)
	for i := range 5 {
		before := entries(t, safe)
		c := dvmigrate("-C", dir, "snapshot", "--to", safe)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = c.Wait()
			close(ended)
		}()
		for begun := false; !begun; begun = !maps.Equal(before, entries(t, safe)) {
			select {
			case <-ended: // before it could be killed, on a slow day
				if maps.Equal(before, entries(t, safe)) {
					t.Fatal("the snapshot ended and wrote nothing")
				}
			case <-time.After(time.Millisecond):
			}
		}
		_ = c.Process.Kill()
		<-ended
		mustRun(t, dvmigrate("restore", "--from", safe, filepath.Join(root, fmt.Sprint("restored", i))), 0)
	}
	mustRun(t, dvmigrate("-C", dir, "snapshot", "--to", safe), 0)
	mustRun(t, dvmigrate("restore", "--from", safe, filepath.Join(root, "last")), 0)
	if got := mustRun(t, dvmigrate("-C", filepath.Join(root, "last"), "status", "--json"), 0); !bytes.Contains(got, []byte(`"source": `+fixtureRecords)) {
		t.Errorf("restored: %s", got)
	}
	if list := mustRun(t, dvmigrate("snapshots", "--from", safe, "--json"), 0); bytes.Contains(list, []byte(`"fault"`)) {
		t.Errorf("a snapshot is damaged:\n%s", list)
	}
}

// entries lists what is in a folder.
func entries(t *testing.T, dir string) map[string]bool {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, e := range list {
		out[e.Name()] = true
	}
	return out
}

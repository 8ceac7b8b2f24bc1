package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// pagingCeiling is how many records a second one user can read within the service
// protection limits, whatever the server's own speed: pages of 5,000 and 6,000 requests in
// 300 s (dataverse-web-api.md 8.1, 10.1).
const pagingCeiling = 5000 * 6000 / 300

// TestReconcileFigures loads accounts of 12 columns into an emulator in a process of its
// own, with the documented limits, and compares them row by row: with one reader, with four,
// and by versions, three times each, in turn. It prints records a second over both whole runs, their
// ratio to pagingCeiling, and CPU time a million records. It takes
// DVMIGRATE_RECONCILE_FIGURES, the number of records; without it it does nothing.
func TestReconcileFigures(t *testing.T) {
	records, err := strconv.Atoi(os.Getenv("DVMIGRATE_RECONCILE_FIGURES"))
	if err != nil {
		t.Skip("set DVMIGRATE_RECONCILE_FIGURES to a number of records, such as 1000000")
	}
	dir := filepath.Join(t.TempDir(), "project")
	speedProject(t, dir, records)
	emulator := dvmigrate("-C", dir, "emulator", "--json", "--listen", "127.0.0.1:0", "--limit-requests", "6000")
	said, err := emulator.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	emulator.Stderr = io.Discard
	if err := emulator.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = emulator.Process.Kill()
		_ = emulator.Wait()
	}()
	line, err := bufio.NewReader(said).ReadBytes('\n')
	var where struct{ URL string }
	if err != nil || json.Unmarshal(line, &where) != nil {
		t.Fatalf("the emulator says %q: %v", line, err)
	}
	target := "DVMIGRATE_TARGET_URL=" + where.URL
	load := dvmigrate("-C", dir, "load", "--snapshot-every", "0")
	load.Env = append(load.Env, target, "DVMIGRATE_LOAD_BATCH=1000")
	mustRun(t, load, 0)
	best := map[string]float64{}
	for range 3 {
		for _, way := range []string{"--parallel=1", "--parallel=4", "--changed"} {
			c := dvmigrate("-C", dir, "reconcile", "--json", way)
			c.Env = append(c.Env, target)
			var out, errs bytes.Buffer
			c.Stdout, c.Stderr = &out, &errs
			if err := c.Run(); err != nil {
				t.Fatalf("%v: %s%s", err, &errs, &out)
			}
			var r struct{ Tables []struct{ Seconds float64 } }
			if err := json.Unmarshal(out.Bytes(), &r); err != nil || len(r.Tables) != 1 {
				t.Fatalf("%v: %s", err, &out)
			}
			rate := float64(records) / r.Tables[0].Seconds
			cpu := (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds() * 1e6 / float64(records)
			t.Logf("%-12s %7.0f records/s, %.2f of the paging ceiling of one user, %.1f s of CPU time a million", way, rate, rate/pagingCeiling, cpu)
			best[way] = max(best[way], rate)
		}
	}
	one := best["--parallel=1"]
	t.Logf("best: %.2f of the paging ceiling; 4 slices at once %.2f, by versions %.2f times the records a second of one reader", one/pagingCeiling, best["--parallel=4"]/one, best["--changed"]/one)
}

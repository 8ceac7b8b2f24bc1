//go:build unix

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"dvmigrate/appliance/sample"
)

const speedSettings = `version: 1
name: speed
target: {url: http://127.0.0.1:1, auth: none}
sources:
  companies: {path: accounts.csv, types: text}
snapshots: {every: 0s}
`

const speedTransform = `SELECT no AS legacy_key, no AS accountnumber, name, phone AS telephone1, mail AS emailaddress1, street AS address1_line1,
  city AS address1_city, zip AS address1_postalcode, country AS address1_country, emp AS numberofemployees, revenue,
  hold AS creditonhold, strptime(created, '%Y-%m-%d %H:%M:%S') AS overriddencreatedon
FROM companies
`

// TestSpeed compares dvmigrate with the npm package dynamics-web-api, in one run, in turn,
// against a target that answers at once in a process of its own (this one): the same
// accounts of 12 columns, 100 and 500 a request. It prints records a second and the
// client's CPU time a million records, dvmigrate's from DuckDB to the ledger. It takes
// DVMIGRATE_SPEED, the number of records, and npm; without the variable it does nothing.
func TestSpeed(t *testing.T) {
	records, err := strconv.Atoi(os.Getenv("DVMIGRATE_SPEED"))
	if err != nil {
		t.Skip("set DVMIGRATE_SPEED to a number of records, such as 200000")
	}
	root := t.TempDir()
	staged, npm := filepath.Join(root, "staged"), filepath.Join(root, "npm")
	speedProject(t, staged, records)
	if err := os.CopyFS(npm, os.DirFS(filepath.Join("testdata", "speed"))); err != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = npm
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	target := httptest.NewServer(http.HandlerFunc(answerAtOnce))
	defer target.Close()
	for _, batch := range []int{100, 500} {
		var ours, theirs float64
		for round := range 3 {
			dir := filepath.Join(root, fmt.Sprint("run", batch, round))
			if err := os.CopyFS(dir, os.DirFS(staged)); err != nil {
				t.Fatal(err)
			}
			load := dvmigrate("-C", dir, "load", "--json")
			load.Env = append(load.Env, "DVMIGRATE_TARGET_URL="+target.URL, fmt.Sprint("DVMIGRATE_LOAD_BATCH=", batch))
			ours = max(ours, speedOf(t, "dvmigrate", batch, records, load))
			node := exec.Command("node", "run.mjs", target.URL, filepath.Join(staged, "accounts.csv"), fmt.Sprint(records), fmt.Sprint(batch), "20")
			node.Dir = npm
			theirs = max(theirs, speedOf(t, "dynamics-web-api", batch, records, node))
		}
		t.Logf("%d a request: %.1f times the records a second of dynamics-web-api", batch, ours/theirs)
		if ours < 5*theirs {
			t.Errorf("%d a request: %.1f times dynamics-web-api, want 5", batch, ours/theirs)
		}
	}
}

// speedOf runs a client and returns records a second, by the client's own clock.
func speedOf(t *testing.T, name string, batch, records int, c *exec.Cmd) float64 {
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &errs)
	}
	var r struct{ Seconds float64 }
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Seconds <= 0 {
		t.Fatalf("%s says %q: %v", name, &out, err)
	}
	rate := float64(records) / r.Seconds
	cpu := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	t.Logf("%-16s %3d a request: %7.0f records/s, %5.2f s of CPU time a million", name, batch, rate, cpu.Seconds()*1e6/float64(records))
	return rate
}

// answerAtOnce takes every request, and gives as many ids as it holds records.
func answerAtOnce(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal")
	w.Header().Set("x-ms-dop-hint", "20")
	if r.Method == http.MethodGet {
		fmt.Fprint(w, `{"UserId":"00000000-0000-4000-8000-000000000001","BusinessUnitId":"00000000-0000-4000-8000-000000000002","OrganizationId":"00000000-0000-4000-8000-000000000003","value":[]}`)
		return
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return
	}
	records := bytes.Count(body, []byte(`"@odata.type"`))
	fmt.Fprintf(w, `{"Ids":[%s]}`, strings.TrimSuffix(strings.Repeat(`"00000000-0000-4000-8000-000000000001",`, records), ","))
}

func speedProject(t *testing.T, dir string, records int) {
	t.Helper()
	var csv bytes.Buffer
	csv.WriteString("no,name,phone,mail,street,city,zip,country,emp,revenue,hold,created\n")
	cities := []string{"Málaga", "Leipzig", "Boston", "Zürich", "Lyon", "Kraków"}
	for i := range records {
		fmt.Fprintf(&csv, "N-%08d,Company %d & Sons Ltd,+49 341 %d,info@kunde%d.example,Hauptstraße %d,%s,%05d,DE,%d,%d.%02d,%t,2021-08-%02d 12:34:00\n",
			i, i, 100000+i, i, i%900, cities[i%6], i%100000, i%5000, i*37%99999, i%100, i%7 == 0, 1+i%28)
	}
	if err := os.MkdirAll(filepath.Join(dir, "transform"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"accounts.csv": csv.Bytes(), "migration.yaml": []byte(speedSettings), "schema.json": sample.Schema(),
		filepath.Join("transform", "account.sql"): []byte(speedTransform)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, dvmigrate("-C", dir, "stage"), 0)
}

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
// against one target that answers at once in a process of its own: the same accounts of
// 12 columns, 100 and 500 a request, 20 requests at once. It prints records a second and
// the CPU time a million records of the client, start included and dvmigrate's from DuckDB
// to the ledger, and of the target. It takes DVMIGRATE_SPEED, the number of records, and
// npm; without the variable it does nothing.
func TestSpeed(t *testing.T) {
	records, err := strconv.Atoi(os.Getenv("DVMIGRATE_SPEED"))
	if err != nil {
		t.Skip("set DVMIGRATE_SPEED to a number of records, such as 1000000")
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
	for _, batch := range []int{100, 500} {
		var ours, theirs float64
		for round := range 3 {
			dir := filepath.Join(root, fmt.Sprint("run", batch, round))
			if err := os.CopyFS(dir, os.DirFS(staged)); err != nil {
				t.Fatal(err)
			}
			ours = max(ours, speedOf(t, "dvmigrate", batch, records, func(url string) *exec.Cmd {
				load := dvmigrate("-C", dir, "load", "--json")
				load.Env = append(load.Env, "DVMIGRATE_TARGET_URL="+url, fmt.Sprint("DVMIGRATE_LOAD_BATCH=", batch))
				return load
			}))
			theirs = max(theirs, speedOf(t, "dynamics-web-api", batch, records, func(url string) *exec.Cmd {
				node := exec.Command("node", "run.mjs", url, filepath.Join(staged, "accounts.csv"), fmt.Sprint(records), fmt.Sprint(batch), "20")
				node.Dir = npm
				return node
			}))
		}
		t.Logf("%d a request: %.1f times the records a second of dynamics-web-api", batch, ours/theirs)
		if ours < 5*theirs {
			t.Errorf("%d a request: %.1f times dynamics-web-api, want 5", batch, ours/theirs)
		}
	}
}

// speedOf runs a client against a new target and returns records a second, by the client's
// own clock.
func speedOf(t *testing.T, name string, batch, records int, client func(url string) *exec.Cmd) float64 {
	target := exec.Command("answer-at-once")
	stop, err := target.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := target.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		t.Fatalf("start the target: %v", err)
	}
	c := client("http://" + strings.TrimSpace(address))
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &errs)
	}
	stop.Close()
	if err := target.Wait(); err != nil {
		t.Fatalf("target: %v", err)
	}
	var r struct{ Seconds float64 }
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Seconds <= 0 {
		t.Fatalf("%s says %q: %v", name, &out, err)
	}
	rate := float64(records) / r.Seconds
	cpu := func(s *os.ProcessState) float64 {
		return (s.UserTime() + s.SystemTime()).Seconds() * 1e6 / float64(records)
	}
	t.Logf("%-16s %3d a request: %7.0f records/s, %5.2f s of CPU time a million, the target %5.2f s", name, batch, rate, cpu(c.ProcessState), cpu(target.ProcessState))
	return rate
}

// answerAtOnce is a target that takes every request and gives as many ids as it holds
// records, until standard input ends. It says its address first. Written on the bare
// connection, so that it costs a fraction of what a client does.
func answerAtOnce() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerConn(c)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func answerConn(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	var body, ids, out []byte
	for {
		length, reads := 0, false
		for first := true; ; first = false {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			line = bytes.TrimSpace(line)
			if first {
				reads = bytes.HasPrefix(line, []byte(http.MethodGet))
			} else if len(line) == 0 {
				break
			}
			if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
			}
		}
		body = slices.Grow(body[:0], length)[:length]
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		ids = append(ids[:0], `{"Ids":[`...)
		for range bytes.Count(body, []byte(`"@odata.type"`)) {
			ids = append(ids, `"00000000-0000-4000-8000-000000000001",`...)
		}
		ids = append(bytes.TrimSuffix(ids, []byte(",")), "]}"...)
		if reads {
			ids = append(ids[:0], `{"UserId":"00000000-0000-4000-8000-000000000001","BusinessUnitId":"00000000-0000-4000-8000-000000000002","OrganizationId":"00000000-0000-4000-8000-000000000003","value":[]}`...)
		}
		out = fmt.Appendf(out[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/json; odata.metadata=minimal\r\nx-ms-dop-hint: 20\r\nContent-Length: %d\r\n\r\n%s", len(ids), ids)
		if _, err := c.Write(out); err != nil {
			return
		}
	}
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
